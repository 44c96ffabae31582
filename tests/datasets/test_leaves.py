import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import kstest, kurtosis

from patchdistill.datasets import dead_leaves, synthetic
from patchdistill.datasets import leaves as module


@pytest.fixture(scope="module")
def grays():
    return np.stack([dead_leaves(128, random_state=seed) for seed in range(12)]).mean(axis=-1)


@given(st.integers(0, 10**6), st.integers(1, 14), st.integers(1, 14))
def test_the_first_disc_that_holds_a_pixel_is_seen_there(seed, height, width):
    """Point by point: a disc holds what is no farther from its center than its radius."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 15))
    center = rng.uniform(-8, 22, (n, 2))
    radius = rng.choice([0.3, 1.0, 3.0, 8.0, 30.0, np.inf], n) * rng.uniform(0.9, 1, n)
    rows, columns = np.arange(height)[:, None, None] + 0.5, np.arange(width)[:, None] + 0.5
    holds = np.hypot(rows - center[:, 0], columns - center[:, 1]) <= radius
    expected = np.where(holds.any(axis=-1), holds.argmax(axis=-1), -1)
    assert_array_equal(module.front_discs(center, radius, height, width), expected)


@pytest.fixture
def drawn(monkeypatch):
    """Centers and radii in pixels, height and width, and the leaves seen."""
    calls = []
    front_discs = module.front_discs

    def record(*discs):
        seen = front_discs(*discs)
        calls.append((*discs, seen))
        return seen

    monkeypatch.setattr(module, "front_discs", record)
    return calls


@pytest.mark.parametrize(("height", "width"), [(50, 50), (40, 90), (90, 40)])
def test_leaves_are_spread_evenly_and_their_radii_follow_the_third_power(drawn, height, width):
    dead_leaves(height, width, random_state=1)
    center, radius, _, _, _ = drawn[0]
    unit = min(height, width)
    assert kstest(center[:, 0], "uniform", (-unit, height + 2 * unit)).pvalue > 0.01
    assert kstest(center[:, 1], "uniform", (-unit, width + 2 * unit)).pvalue > 0.01
    assert_allclose(len(center), 8000 / (4 * np.pi) * (height + 2 * unit) * (width + 2 * unit) / unit**2, atol=1)

    def distribution(r):
        """Of the density r^-3 between 1/50 and 1."""
        return (0.02**-2 - r**-2) / (0.02**-2 - 1)

    assert kstest(radius[:-1] / unit, distribution).pvalue > 0.01


def test_every_pixel_lies_on_a_leaf_and_hardly_any_on_the_last(drawn):
    for seed in range(12):
        dead_leaves(64, random_state=seed)
    seen = np.array([call[-1] for call in drawn])
    assert seen.min() >= 0
    last = len(drawn[0][1]) - 1
    assert 0 < (seen == last).mean() < 0.01  # the law of large numbers says 0.002
    assert len(np.unique(seen[0])) > 100


def test_pixels_and_leaves_lie_in_one_plane_without_distortion(drawn, monkeypatch):
    places = []
    monkeypatch.setattr(module, "paint_leaves", lambda *arguments: places.append(arguments))
    dead_leaves(30, 50)
    leaf, points, centers, _, _ = places[0]
    center, _, height, width, seen = drawn[0]
    assert_array_equal(leaf, seen)
    corners, expected = points[[0, 0, -1, -1], [0, -1, 0, -1]], np.array([[0, 0], [0, 49], [29, 0], [29, 49]]) / 30
    for i in range(4):
        assert_allclose(
            np.linalg.norm(corners - corners[i], axis=1), np.linalg.norm(expected - expected[i], axis=1), atol=1e-6
        )
    rows, columns = np.mgrid[:height, :width] + 0.5
    flat = np.hypot(rows - center[leaf, 0], columns - center[leaf, 1]) / 30
    assert_allclose(np.linalg.norm(points - centers[leaf], axis=-1), flat, atol=1e-5)


def test_is_uint8_of_the_size_asked_for():
    picture = dead_leaves(20, 33)
    assert picture.dtype == np.uint8 and picture.shape == (20, 33, 3)
    assert dead_leaves(17).shape == (17, 17, 3)
    assert dead_leaves(1).shape == (1, 1, 3)
    picture = dead_leaves(64)
    assert picture.std() > 30 and (picture == 0).mean() < 0.15 and (picture == 255).mean() < 0.15


def test_same_seed_same_bytes():
    first = dead_leaves(24, random_state=5)
    assert first.tobytes() == dead_leaves(24, random_state=5).tobytes()
    assert first.tobytes() == dead_leaves(24, random_state=np.random.RandomState(5)).tobytes()
    assert (dead_leaves(24, random_state=6) != first).mean() > 0.5
    assert dead_leaves(24).tobytes() == dead_leaves(24, random_state=0).tobytes()


@pytest.mark.parametrize(("height", "width"), [(32, 32), (20, 44)])
def test_a_picture_is_the_same_at_every_size(height, width):
    """Blocks of three pixels have the center of the large pixel in their middle."""
    assert_allclose(dead_leaves(3 * height, 3 * width)[1::3, 1::3], dead_leaves(height, width), atol=1)


def test_leaves_take_their_colors_from_the_palette(drawn, monkeypatch):
    """Without light and texture, leaves have the colors of the palette with a small spread."""
    palette = np.array([[0.2, 0.7, 0.3], [0.8, 0.3, 0.6], [0.3, 0.3, 0.7]])
    monkeypatch.setattr(synthetic, "draw_texture", lambda points, rng: np.zeros(points.shape[:2], np.float32))
    monkeypatch.setattr(module, "_PLANE", np.zeros((2, 3)))
    pictures = np.stack([dead_leaves(64, palette=palette, random_state=seed) for seed in range(4)]) / 255
    firsts = [np.unravel_index(np.unique(call[-1], return_index=True)[1], (64, 64)) for call in drawn]
    colors = np.concatenate([picture[first] for picture, first in zip(pictures, firsts, strict=True)])
    distance = np.linalg.norm(colors[:, None] - palette, axis=-1)
    nearest = distance.argmin(axis=1)
    assert_allclose(np.bincount(nearest, minlength=3) / len(nearest), 1 / 3, atol=0.05)
    assert_allclose((colors - palette[nearest]).mean(axis=0), 0, atol=0.01)
    assert_allclose((colors - palette[nearest]).std(axis=0), 0.07, atol=0.005)


def painted(monkeypatch, texture, shift):
    """Leaves of middle gray, one per pixel, seen at a distance from their centers."""
    monkeypatch.setattr(synthetic, "draw_texture", lambda points, rng: np.full(points.shape[:2], texture, np.float32))
    centers = np.random.default_rng(0).uniform(-1, 1, (4000, 3))
    points = (centers + shift).reshape(40, 100, 3).astype(np.float32)
    leaf = np.arange(4000).reshape(40, 100)
    rng = np.random.RandomState(0)
    return synthetic.paint_leaves(leaf, points, centers, rng, np.full((1, 3), 0.5)).reshape(4000, 3) / 255


def test_light_and_texture_of_a_leaf_are_its_own(monkeypatch):
    flat = painted(monkeypatch, 0.0, [0.0, 0.0, 0.0])
    assert_allclose(flat.std(axis=0), 0.07, rtol=0.05)
    for shift in ([1, 0, 0], [0, 0.6, 0.8]):
        lit = painted(monkeypatch, 0.0, shift)
        light = lit - flat
        assert_allclose(light.std(axis=0), 0.12, rtol=0.05)
        assert_allclose(light.mean(axis=0), 0, atol=0.01)
        inside = ((lit > 0) & (lit < 1)).all(axis=1)
        assert np.ptp(light[inside], axis=1).max() < 1.1 / 255  # the same in all channels
    contrast = (painted(monkeypatch, 1.0, [0.0, 0.0, 0.0]) - flat)[(flat < 0.6).all(axis=1), 0]
    assert_allclose(contrast.mean(), 0.7 * 0.07, rtol=0.1)
    assert_allclose(contrast.std(), np.sqrt(0.7) * 0.07, rtol=0.1)


def test_palettes_are_seen_and_change_nothing_else():
    reds = dead_leaves(64, palette=[[0.8, 0.1, 0.1], [0.6, 0.2, 0.2]]).mean(axis=(0, 1))
    assert reds[0] > reds[1:].max() + 80
    assert dead_leaves(16, palette=[[0, 0, 0.0]]).tobytes() == dead_leaves(16, palette=np.zeros((1, 3))).tobytes()
    without = dead_leaves(64).mean(axis=(0, 1))
    assert np.ptp(without) < 40


def test_texture_is_of_one_kind_all_over_the_picture(grays):
    """Neither rows nor columns nor parts of the picture have a contrast of their own."""
    detail = np.abs(np.diff(grays, axis=2)).mean(axis=0)
    for part in (detail[:64], detail[64:], detail[:, :64], detail[:, 64:]):
        assert_allclose(part.mean(), detail.mean(), rtol=0.25)
    across = np.abs(np.diff(grays, axis=1)).mean()
    assert_allclose(across, detail.mean(), rtol=0.15)


def test_gradients_have_heavy_tails(grays):
    for axis in (1, 2):
        assert kurtosis(np.diff(grays, axis=axis), axis=None, fisher=False) > 8  # 3 for a Gaussian


def test_power_falls_with_the_square_of_frequency(grays):
    """About 2 in photographs, on circles of the plane of frequencies."""
    window = np.hanning(128)
    flat = (grays - grays.mean(axis=(1, 2), keepdims=True)) * window[:, None] * window
    power = (np.abs(np.fft.fft2(flat)) ** 2).mean(axis=0)
    side = np.abs(np.fft.fftfreq(128, 1 / 128))
    radius = np.hypot(side[:, None], side).round().astype(int)
    on_circles = np.bincount(radius.ravel(), power.ravel()) / np.bincount(radius.ravel())
    frequency = np.arange(3, 48)
    slope = np.polyfit(np.log(frequency), np.log(on_circles[frequency]), 1)[0]
    assert -2.8 < slope < -1.8


@pytest.mark.parametrize("sides", [(0,), (8, 0), (-3,), (8.0,), (8, "8")])
def test_refuses_sides_that_are_none(sides):
    with pytest.raises(ValueError, match="height and width must be ints of at least 1; got"):
        dead_leaves(*sides)


@pytest.mark.parametrize(
    ("palette", "message"),
    [
        ([0.1, 0.2, 0.3], r"must have shape \(n_colors, 3\) .* got \(3,\)"),
        (np.zeros((0, 3)), r"at least one color; got \(0, 3\)"),
        (np.zeros((4, 4)), r"got \(4, 4\)"),
        ([[0, 128, 255]], r"lie in \[0, 1\]; got 0 to 255"),
        ([[0, -0.5, 1]], "got -0.5 to 1"),
        ([[0, np.nan, 1]], "got nan to nan"),
    ],
)
def test_refuses_what_is_no_palette(palette, message):
    with pytest.raises(ValueError, match=message):
        dead_leaves(8, palette=palette)
