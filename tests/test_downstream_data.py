"""The data of the downstream study: distortions, labels, patches, features, and the cache."""

import _downstream_data
import numpy as np
import pytest
from _distortions import CLEAN, LEVELS, distort, missing_kinds
from _downstream_data import FEATURES, load_livec, load_panoramas, panorama_table
from _random_cnn import RandomCNN
from scipy import signal
from sklearn.datasets import load_sample_images

from patchdistill.evaluation import ws_gms, ws_ssim

Image = pytest.importorskip("PIL.Image")


def photograph(scene=0, height=128, width=256):
    image = Image.fromarray(load_sample_images().images[scene])
    return np.asarray(image.resize((width, height), Image.Resampling.LANCZOS))


@pytest.mark.parametrize("kind", LEVELS)
def test_each_level_loses_more_than_the_one_before(kind):
    if kind in missing_kinds():
        pytest.skip(missing_kinds()[kind])
    reference = photograph()
    versions = [distort(reference, kind, level) for level in (1, 2, 3, 4, 5)]
    assert all(version.shape == reference.shape and version.dtype == np.uint8 for version in versions)
    for measure in (ws_ssim, ws_gms):
        labels = [1.0] + [measure(reference, version) for version in versions]
        assert (np.diff(labels) < 0).all()
    # No codec shifts colors or brightness.
    np.testing.assert_allclose(versions[0].mean(axis=(0, 1)), reference.mean(axis=(0, 1)), atol=0.7)


def test_blur_goes_on_across_the_seam():
    image = photograph()
    np.testing.assert_array_equal(
        distort(np.roll(image, 90, axis=1), "blur", 5), np.roll(distort(image, "blur", 5), 90, axis=1)
    )


def test_noise_is_seeded():
    image = np.full((40, 80, 3), 128, dtype=np.uint8)
    first, again, other = (distort(image, "noise", 3, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert np.std(first) == pytest.approx(LEVELS["noise"][2], rel=0.05)


def test_without_ffmpeg_its_kinds_are_named_and_left_out(monkeypatch, tmp_path, data_dir):
    monkeypatch.setenv("PATH", str(tmp_path))
    missing_kinds.cache_clear()
    try:
        assert missing_kinds() == dict.fromkeys(("AVC", "HEVC"), "the program ffmpeg is not installed")
        assert {record.kind for record in panorama_table(limit=1)} == {CLEAN, "JPEG", "JPEG 2000", "blur", "noise"}
    finally:
        missing_kinds.cache_clear()


def test_an_error_of_ffmpeg_is_told():
    if "AVC" in missing_kinds():
        pytest.skip(missing_kinds()["AVC"])
    with pytest.raises(RuntimeError, match="ffmpeg .* failed"):
        distort(np.zeros((15, 15, 3), np.uint8), "AVC", 1)


def test_random_network_is_a_convolution():
    patches = np.random.default_rng(1).integers(0, 256, (3, 17, 20, 3), dtype=np.uint8)
    network = RandomCNN(seed=5, channels=(4, 5, 6))
    expected = []
    for patch in patches:
        x, row = (patch / 255 - 0.45) / 0.25, []
        for weights in network.weights:
            kernels = weights.reshape(3, 3, x.shape[2], -1)
            full = [signal.correlate(x, kernels[..., k], mode="valid")[::2, ::2, 0] for k in range(kernels.shape[3])]
            x = np.maximum(np.stack(full, axis=-1), 0)
            row.append(x.mean(axis=(0, 1)))
        expected.append(np.log(np.concatenate(row) + 0.01))
    features = network(patches)
    assert features.dtype == np.float32 and features.shape == (3, 15)
    np.testing.assert_allclose(features, expected, atol=1e-5)


def test_random_network_treats_patches_alone_and_keeps_their_strength():
    patches = np.concatenate(
        [photograph(scene).reshape(2, 64, 4, 64, 3).swapaxes(1, 2).reshape(8, 64, 64, 3) for scene in (0, 1)]
    )
    features = RandomCNN()(patches)
    assert features.shape == (16, 448)
    np.testing.assert_allclose(features[:1], RandomCNN()(patches[:1]), rtol=1e-5)
    assert (features != RandomCNN(seed=1)(patches)).any()
    layers = [np.exp(layer).mean() for layer in np.split(features, [64, 192], axis=1)]
    assert max(layers) < 5 * min(layers)


def test_random_network_does_not_see_brightness():
    patches = np.random.default_rng(0).integers(50, 150, (2, 32, 32, 3), dtype=np.uint8)
    np.testing.assert_allclose(RandomCNN()(patches + 40), RandomCNN()(patches), atol=1e-4)


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    return cache, load_panoramas(cache, smoke=True)


def test_panoramas_in_small(smoke, tmp_path):
    _, data = smoke
    n = 3 * (1 + 2 * 2)
    assert data.scenes.shape == data.kinds.shape == data.levels.shape == (n,)
    assert data.scenes.dtype.kind == data.kinds.dtype.kind == "U" and len(set(data.scenes)) == 3
    assert set(zip(data.kinds, data.levels.tolist(), strict=True)) == {
        ("clean", 0), ("JPEG", 2), ("JPEG", 4), ("blur", 2), ("blur", 4)
    }  # fmt: skip
    for name, width in zip(FEATURES, (131, 448), strict=True):
        bags = data.features[name]
        assert bags.values.shape == (n * 24, width) and bags.values.dtype == np.float32
        assert np.isfinite(bags.values).all()
        assert {"top", "left", "lat", "lon"} <= set(bags.fields)
        assert bags.ids[1] == f"{data.scenes[1]}_JPEG_2"
    for labels in data.labels.values():
        assert labels.shape == (n,)
        np.testing.assert_allclose(labels[data.kinds == CLEAN], 1)
        assert (np.diff(labels.reshape(3, 5)[:, 1:3]) < 0).all() and (np.diff(labels.reshape(3, 5)[:, 3:]) < 0).all()
    again = load_panoramas(tmp_path, limit=1, smoke=True)
    np.testing.assert_array_equal(again.features["RandomCNN"].values, data.features["RandomCNN"][:5].values)


def test_what_is_in_the_cache_is_not_computed_again(smoke, monkeypatch, capsys):
    cache, data = smoke
    files = sorted(cache.iterdir())
    assert len(files) == 15 and all(file.suffix == ".npz" for file in files)
    capsys.readouterr()
    monkeypatch.setattr(_downstream_data, "_compute", None)
    again = load_panoramas(cache, smoke=True)
    np.testing.assert_array_equal(again.labels["ws_gms"], data.labels["ws_gms"])
    assert capsys.readouterr().err == ""


def test_a_run_that_was_stopped_goes_on_and_workers_change_nothing(smoke, tmp_path, monkeypatch, capsys):
    _, data = smoke
    compute, done = _downstream_data._compute, []

    def stop_at_the_fourth(record, *arguments):
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(record)
        compute(record, *arguments)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(_downstream_data, "_compute", stop_at_the_fourth)
        load_panoramas(tmp_path, limit=1, smoke=True)
    assert len(list(tmp_path.iterdir())) == 3
    capsys.readouterr()
    rest = load_panoramas(tmp_path, limit=1, smoke=True, n_jobs=2)
    assert "3 of 5 images were finished before" in capsys.readouterr().err
    for name in FEATURES:
        np.testing.assert_array_equal(rest.features[name].values, data.features[name][:5].values)
    assert rest.labels["ws_ssim"].tolist() == data.labels["ws_ssim"][:5].tolist()


def test_a_file_that_could_not_be_finished_leaves_nothing(tmp_path, monkeypatch):
    def half(stream, **arrays):
        stream.write(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "savez", half)
    with pytest.raises(OSError, match="No space left"):
        load_panoramas(tmp_path, smoke=True, limit=1)
    assert not list(tmp_path.iterdir())


def names(records):
    return _downstream_data._names(records, _downstream_data.describe_panorama, _downstream_data.SMOKE, "panoramas")


def test_the_name_of_a_file_depends_on_all_that_decides_its_content(tmp_path, monkeypatch):
    path = tmp_path / "scene.png"
    Image.fromarray(photograph()).save(path)
    records = [record._replace(path=path) for record in panorama_table(limit=1, smoke=True)]
    before = names(records)
    assert len(set(before)) == 5 and before == names(records)

    def changed(records=records):
        return [a != b for a, b in zip(names(records), before, strict=True)]

    with monkeypatch.context() as patch:
        patch.setitem(LEVELS, "blur", (0.5, 0.9, 1.3, 2.2, 4.5))
        assert changed() == [False, False, False, True, False]
    with monkeypatch.context() as patch:
        patch.setattr(_downstream_data, "RandomCNN", lambda: RandomCNN(seed=1))
        assert all(changed())
    with monkeypatch.context() as patch:
        patch.setattr(_downstream_data, "SMOKE", _downstream_data.Scale(24, 32, (64, 128)))
        assert all(changed())
    assert all(changed([record._replace(scene="other") for record in records]))
    Image.fromarray(photograph(1)).save(path)
    assert all(changed())


def test_rated_photographs(tmp_path, monkeypatch):
    folder = tmp_path / "data" / "rated" / "livec"
    (folder / "images").mkdir(parents=True)
    for name, scene in (("b", 0), ("a", 1), ("c", 1)):
        Image.fromarray(photograph(scene, 96, 96)).save(folder / "images" / f"{name}.png")
    (folder / "livec_mos.csv").write_text("file,mos\nb.png,62.5\na.png,4.75\nc.png,1\n")
    monkeypatch.setenv("PATCHDISTILL_TEST_DATA", str(tmp_path / "data"))
    data = load_livec(tmp_path / "cache", limit=2, smoke=True)
    assert data.labels["mos"].tolist() == [62.5, 4.75]
    assert data.scenes.tolist() == ["b", "a"] and data.levels.tolist() == [0, 0] and not data.missing
    for name, width in zip(FEATURES, (131, 448), strict=True):
        assert data.features[name].values.shape == (48, width)
        assert {"top", "left"} <= set(data.features[name].fields)
    assert len(list((tmp_path / "cache").iterdir())) == 2


@pytest.mark.parametrize("load", [load_panoramas, load_livec])
def test_data_that_are_not_there_are_asked_for(load, tmp_path, monkeypatch):
    monkeypatch.setenv("PATCHDISTILL_TEST_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="Set PATCHDISTILL_TEST_DATA"):
        load(tmp_path / "cache")
