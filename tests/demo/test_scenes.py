import numpy as np
import pytest

from patchdistill.demo.scenes import find_scenes, load_scene

pytest.importorskip("skimage")
Image = pytest.importorskip("PIL.Image")


def test_bundled_scenes_are_there_in_color_and_small():
    paths, longest_side = find_scenes()
    assert len(paths) >= 8
    for path in paths.values():
        pixels = load_scene(path, longest_side)
        assert max(pixels.shape) <= longest_side == 512
        assert np.ptp(pixels.astype(int), axis=2).max() > 20  # no gray picture among them


def test_folder_is_shrunk_never_enlarged(tmp_path):
    for name, size in {"wide.png": (2048, 1024), "wide.jpg": (40, 50), "tall.png": (50, 60)}.items():
        Image.new("RGB", size).save(tmp_path / name)
    paths, longest_side = find_scenes(tmp_path)
    assert list(paths) == ["tall", "wide.jpg", "wide.png"]
    assert load_scene(paths["wide.png"], longest_side).shape == (640, 1280, 3)
    assert load_scene(paths["tall"], longest_side).shape == (60, 50, 3)


def test_refuses_too_few_and_too_small(tmp_path):
    Image.new("RGB", (3000, 40)).save(tmp_path / "strip.png")
    with pytest.raises(ValueError, match="at least two are needed"):
        find_scenes(tmp_path)
    with pytest.raises(ValueError, match="3000 x 40 pixels, 1280 x 17 at the size used here"):
        load_scene(tmp_path / "strip.png", 1280)
