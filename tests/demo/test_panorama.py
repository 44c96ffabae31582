import io
import itertools
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from patchdistill import select_patches
from patchdistill.datasets import make_panoramas
from patchdistill.demo import figures
from patchdistill.demo.panorama import (
    find_panorama,
    patches_to_show,
    select_on_panorama,
    spoil_right_half,
    spoiled_shares,
)
from patchdistill.demo.scenes import load_scene
from patchdistill.demo.wording import example_title
from patchdistill.embedding import PatchStatistics
from patchdistill.panorama import latitude_positions, tangent_views

pytest.importorskip("skimage")
pytest.importorskip("matplotlib")
Image = pytest.importorskip("PIL.Image")


@pytest.fixture(scope="module")
def part():
    return select_on_panorama({}, 128, 36)


@pytest.fixture(scope="module")
def places():
    return latitude_positions(128, 256, 36, 16)


def write(folder, sizes):
    rng = np.random.default_rng(0)
    for name, (width, height) in sizes.items():
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(folder / f"{name}.png")
    return {name: folder / f"{name}.png" for name in sizes}


def test_panorama_is_the_first_picture_twice_as_wide_as_high(tmp_path):
    sizes = {"high": (64, 128), "nearly": (128, 65), "wider": (129, 64), "first": (128, 64), "second": (256, 128)}
    paths = write(tmp_path, sizes)
    assert find_panorama(paths) == "first"
    assert find_panorama({name: paths[name] for name in ("high", "nearly", "wider")}) is None
    assert find_panorama({}) is None


def test_picture_of_the_user_is_taken_and_shrunk_never_enlarged(tmp_path):
    paths = write(tmp_path, {"square": (128, 128), "wide": (256, 128)})
    for height, expected in ((64, 64), (512, 128)):
        part = select_on_panorama(paths, height, 12)
        assert (part.results["picture"], part.results["height"], part.results["width"]) == (
            "wide",
            expected,
            2 * expected,
        )
        reference = load_scene(paths["wide"], 2 * expected)
        np.testing.assert_array_equal(part.image[:, :expected], reference[:, :expected])
        assert (part.image[:, expected:] != reference[:, expected:]).mean() > 0.9


def test_without_such_a_picture_it_is_synthetic(tmp_path):
    part = select_on_panorama(write(tmp_path, {"square": (64, 64)}), 64, 12)
    assert part.results["picture"] is None
    np.testing.assert_array_equal(part.image[:, :64], make_panoramas(1, 64)[0, :, :64])


def test_right_half_is_spoiled_and_nothing_else():
    clean = make_panoramas(1, 48)[0]
    image, mask = spoil_right_half(clean)
    stream = io.BytesIO()
    Image.fromarray(clean[:, 48:]).save(stream, "JPEG", quality=5)
    np.testing.assert_array_equal(image[:, 48:], np.asarray(Image.open(stream)))
    np.testing.assert_array_equal(image[:, :48], clean[:, :48])
    np.testing.assert_array_equal(mask, np.broadcast_to(np.where(np.arange(96) < 48, 0, 255)[:, None], mask.shape))
    np.testing.assert_array_equal(clean, make_panoramas(1, 48)[0])  # the input is left alone


def test_selection_is_that_of_crops_in_rows(part, places):
    top, left = places
    wrapped = np.concatenate([part.image, part.image[:, :16]], axis=1)
    crops = np.stack([wrapped[y : y + 16, x : x + 16] for y, x in zip(top, left, strict=True)])
    expected = select_patches(PatchStatistics().transform([crops])[0], normalize="columns")
    np.testing.assert_array_equal(part.selection.indices, expected.indices)
    np.testing.assert_allclose(part.selection.weights, expected.weights, rtol=1e-9)
    assert part.results["n_kept"] == len(expected.indices) == 17  # 45 % of 36
    assert part.results["n_outliers"] == len(expected.outliers)


def test_shares_are_counted_over_the_pixels_of_the_patches(part, places):
    columns = (places[1][:, None] + np.arange(16)) % 256
    of_patch = (columns >= 128).mean(axis=1)
    assert ((of_patch > 0) & (of_patch < 1)).any()  # some reach over the middle
    shares, kept = part.results["spoiled"], part.selection.indices
    assert shares["all"] == pytest.approx(of_patch.mean())
    assert shares["kept"] == pytest.approx(of_patch[kept].mean())
    assert shares["weighted"] == pytest.approx(np.average(of_patch[kept], weights=part.selection.weights))
    assert shares["kept"] != pytest.approx(shares["weighted"])


def choice(indices, weights, outliers=()):
    return SimpleNamespace(indices=np.array(indices), weights=np.array(weights), outliers=np.array(outliers, dtype=int))


def test_shares_by_hand():
    spoiled = np.array([0.0, 1.0, 0.5, 1.0, 0.0])
    shares = spoiled_shares(spoiled, choice([2, 4], [0.7, 0.3], outliers=[0, 1, 3]))
    assert shares["all"] == pytest.approx(0.5) and shares["kept"] == pytest.approx(0.25)
    assert shares["weighted"] == pytest.approx(0.35) and shares["outliers"] == pytest.approx(2 / 3)
    assert spoiled_shares(spoiled, choice([1], [1.0]))["outliers"] is None


@pytest.mark.parametrize("n_kept", [1, 3, 6, 7])
def test_spread_of_random_patches_is_that_over_all_choices(n_kept):
    spoiled = np.array([0.0, 0.0, 1.0, 0.3, 0.9, 1.0, 0.25])
    means = [np.mean(some) for some in itertools.combinations(spoiled, n_kept)]
    shares = spoiled_shares(spoiled, choice(range(n_kept), np.full(n_kept, 1 / n_kept)))
    assert shares["random_sd"] == pytest.approx(np.std(means), abs=1e-12)


def test_patches_shown_are_one_of_each_half_and_the_farthest_from_the_equator(part):
    clean, spoiled, farthest = part.shown
    lat, left = np.abs(part.patches.field("lat", 0)), part.patches.field("left", 0)
    weights = dict(zip(part.selection.indices.tolist(), part.selection.weights.tolist(), strict=True))
    halves = {clean: left + 16 <= 128, spoiled: (left >= 128) & (left + 16 <= 256)}
    for chosen, half in halves.items():
        rivals = [i for i in weights if half[i]]
        assert chosen in rivals
        assert lat[chosen] == min(lat[rivals])
        assert weights[chosen] == max(weights[i] for i in rivals if lat[i] == lat[chosen])
    assert lat[farthest] == max(lat[i] for i in weights)
    for i, told in zip(part.shown, part.results["shown"], strict=True):
        fields = {name: part.patches.field(name, 0)[i] for name in ("lon", "lat")}
        assert told == {**fields, "weight": weights[i]}


def test_patches_shown_are_fewer_where_a_half_has_none_or_one_is_both():
    weights, lat = np.array([0.2, 0.5, 0.3, 0.0]), np.array([0.0, 10.0, -60.0, 80.0])
    kept = np.array([0, 1, 2])
    assert patches_to_show(kept, weights, np.array([0.0, 0.0, 0.5, 1.0]), lat) == [0, 2]
    assert patches_to_show(kept, weights, np.array([0.0, 0.0, 1.0, 1.0]), lat) == [0, 2]
    assert patches_to_show(kept, weights, np.array([0.5, 0.5, 0.5, 1.0]), lat) == [2]


def test_patches_that_stand_apart_are_counted(monkeypatch, places):
    outliers = np.array([1, 8, 20])
    monkeypatch.setattr(
        "patchdistill.demo.panorama.select_patches",
        lambda *patches, **options: replace(select_patches(*patches, **options), outliers=outliers),
    )
    results = select_on_panorama({}, 128, 36).results
    columns = (places[1][outliers, None] + np.arange(16)) % 256
    assert results["n_outliers"] == 3
    assert results["spoiled"]["outliers"] == pytest.approx((columns >= 128).mean())


def test_patches_are_no_smaller_than_can_be_described_and_grow_with_the_panorama(tmp_path):
    paths = write(tmp_path, {"tiny": (64, 32)})
    assert select_on_panorama(paths, 512, 180).results["patch_size"] == 16
    assert select_on_panorama({}, 200, 12).results["patch_size"] == 25


def test_constant_panorama_has_numbers_all_the_same(tmp_path):
    Image.new("RGB", (128, 64), (90, 120, 150)).save(tmp_path / "flat.png")
    part = select_on_panorama({"flat": tmp_path / "flat.png"}, 64, 12)
    numbers = [value for value in part.results["spoiled"].values() if value is not None]
    assert np.isfinite(numbers).all()
    assert figures.draw_panorama(part).startswith(b"\x89PNG")


@pytest.fixture(scope="module")
def drawn(part):
    """The figure itself; the bytes of the file cannot be looked into."""
    kept = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "_png", lambda figure, dpi: kept.append(figure))
        figures.draw_panorama(part)
    return kept[0]


def test_figure_has_the_panorama_and_each_shown_patch_twice(drawn, part):
    panorama, *small = drawn.axes
    np.testing.assert_array_equal(panorama.images[0].get_array(), part.image)
    assert "17 of 36 patches kept" in panorama.get_title()
    (line,) = panorama.lines
    assert line.get_xdata()[0] == 127.5  # between the columns of the two halves
    pixels = [ax.images[0].get_array() for ax in small if ax.images]
    assert len(pixels) == 6
    for i, crop, view in zip(part.shown, pixels[::2], pixels[1::2], strict=True):
        lon, lat, fov = (part.patches.field(name, 0)[i] for name in ("lon", "lat", "fov"))
        np.testing.assert_array_equal(crop, part.patches.field("pixels", 0)[i])
        np.testing.assert_array_equal(view, tangent_views(part.image, [lon], [lat], fov, 16)[0])


def test_titles_and_marks_tell_which_patch_is_which(drawn, part):
    _, below = drawn.subfigs
    titles = [f"{mark}: {example_title(shown)}" for mark, shown in enumerate(part.results["shown"], start=1)]
    assert [small.get_suptitle() for small in below.subfigs] == titles
    panorama = drawn.axes[0]
    assert [text.get_text() for text in panorama.texts] == ["1", "2", "3"]
    outlines = {tuple(np.add(patch.get_xy(), 0.5)) for patch in panorama.patches if patch.get_width() == 16}
    for text, i in zip(panorama.texts, part.shown, strict=True):
        left, top = (part.patches.field(name, 0)[i] for name in ("left", "top"))
        assert text.xy == (left, top)
        assert {(left, top), (left - 256, top)} <= outlines


def test_it_is_the_same_every_time(part):
    again = select_on_panorama({}, 128, 36)
    assert again.results == part.results
    np.testing.assert_array_equal(again.image, part.image)
    assert figures.draw_panorama(again) == figures.draw_panorama(part)


def test_it_needs_no_package_beyond_those_of_the_demonstration():
    script = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(['pandas', 'yaml', 'statsmodels']))\n"
        "from patchdistill.demo.panorama import select_on_panorama\n"
        "print(select_on_panorama({}, 32, 12).results['n_kept'])"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ran.stdout.strip() == "6", ran.stderr
