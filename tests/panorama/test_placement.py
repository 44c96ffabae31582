import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from patchdistill.panorama import (
    angular_distance,
    crop_centers,
    crop_positions,
    cut_over_seam,
    fibonacci_directions,
    latitude_positions,
    random_directions,
    to_sphere,
    to_vectors,
)

RNG = np.random.default_rng(0)


@st.composite
def layouts(draw):
    size = draw(st.integers(1, 40))
    height = size + draw(st.integers(0, 100))
    return height, 2 * height, draw(st.integers(1, 300)), size


def rows_of(top, left):
    rows = np.unique(top)
    return rows, [np.sort(left[top == row]) for row in rows]


@given(layouts())
def test_rows_follow_the_cosine_exactly(layout):
    height, width, n_patches, size = layout
    top, left = latitude_positions(*layout)
    assert top.shape == left.shape == (n_patches,)
    assert top.min() >= 0 and top.max() + size <= height and left.min() >= 0 and left.max() < width
    # As many rows as the spacing along the equator asks for, where there is room for them.
    rows = round((np.pi / 2 * n_patches * height / width) ** 0.5)
    rows = max(1, min(rows, height - size + 1))
    tops = np.round(np.linspace(0, height - size, rows)) if rows > 1 else np.round([(height - size) / 2])
    share = np.sin(np.pi * (tops + size / 2) / height)
    counts = (top[:, None] == tops).sum(axis=0)
    assert counts.sum() == n_patches
    assert (np.abs(counts - n_patches * share / share.sum()) < 1).all()


@given(layouts())
def test_crops_of_a_row_are_equally_far_apart(layout):
    height, width, n_patches, size = layout
    for lefts in rows_of(*latitude_positions(*layout))[1]:
        gaps = np.diff(np.append(lefts, lefts[0] + width))
        assert np.ptp(gaps) <= 2 and gaps.sum() == width


def test_rows_are_shifted_by_half_a_step_in_turn():
    top, left = latitude_positions(640, 1280, 180, 64)
    for i, lefts in enumerate(rows_of(top, left)[1]):
        first = np.sort((lefts + 32) % 1280)[0]
        assert first == pytest.approx(0 if i % 2 else 1280 / len(lefts) / 2, abs=0.51)


@pytest.mark.parametrize("n_patches", [7, 60, 180, 500])
def test_rows_mirror_each_other_at_the_equator(n_patches):
    rows, lefts = rows_of(*latitude_positions(640, 1280, n_patches, 64))
    counts = np.array([len(row) for row in lefts])
    assert_array_equal(rows + rows[::-1], 576)
    # With one left over, the northern of two rows gets it.
    assert np.abs(counts - counts[::-1]).sum() <= 2 and (counts - counts[::-1])[: len(counts) // 2].min(initial=0) >= 0


def share_of_bands(lat, edges):
    return np.histogram(lat, edges)[0] / len(lat)


@pytest.mark.parametrize("rule", ["latitude", "fibonacci", "random"])
def test_density_follows_the_cosine_within_five_percent(rule):
    n_patches, height, size = 200_000, 2048, 2
    if rule == "latitude":
        top, left = latitude_positions(height, 2 * height, n_patches, size)
        lon, lat = crop_centers(top, left, height, 2 * height, size)
    elif rule == "fibonacci":
        lon, lat = fibonacci_directions(n_patches)
    else:
        lon, lat = random_directions(n_patches, random_state=0)
    edges = np.linspace(-90, 90, 10)
    law = np.diff(np.sin(np.deg2rad(edges))) / 2  # the integral of the cosine over a band
    assert_allclose(share_of_bands(lat, edges), law, rtol=0.05)
    assert_allclose(share_of_bands(lon, np.linspace(-180, 180, 13)), 1 / 12, rtol=0.05)


def test_fibonacci_zones_have_equal_areas_and_meridians_turn_by_the_golden_angle():
    lon, lat = fibonacci_directions(1000)
    assert_allclose(np.diff(np.sin(np.deg2rad(lat))), -2 / 1000)
    assert np.sin(np.deg2rad(lat[0])) == pytest.approx(1 - 1 / 1000)
    golden_ratio = (1 + 5**0.5) / 2
    assert_allclose(np.diff(lon) % 360, 360 / golden_ratio**2)
    assert lon.min() >= -180 and lon.max() < 180


def cap_discrepancy(lon, lat, n_caps=2000):
    """Largest error over many caps of estimating their areas by counting (spherical cap discrepancy)."""
    rng = np.random.default_rng(1)
    centers = rng.normal(size=(n_caps, 3))
    centers /= np.linalg.norm(centers, axis=1, keepdims=True)
    heights = rng.uniform(-1, 1, n_caps)  # a cap above height h has the share (1 - h) / 2 of the sphere
    inside = to_vectors(lon, lat) @ centers.T >= heights
    return np.abs(inside.mean(axis=0) - (1 - heights) / 2).max()


@pytest.mark.parametrize("n_patches", [20, 180, 1000])
def test_fibonacci_covers_the_sphere_more_evenly_than_chance(n_patches):
    random = [cap_discrepancy(*random_directions(n_patches, seed)) for seed in range(10)]
    assert cap_discrepancy(*fibonacci_directions(n_patches)) < 0.8 * min(random)


def test_random_directions_are_uniform_and_belong_to_the_seed():
    lon, lat = random_directions(2000, random_state=0)
    assert stats.kstest(lon, stats.uniform(-180, 360).cdf).pvalue > 0.01
    assert stats.kstest(np.sin(np.deg2rad(lat)), stats.uniform(-1, 2).cdf).pvalue > 0.01
    assert abs(stats.spearmanr(lon, lat).statistic) < 0.05
    assert_array_equal(random_directions(2000, random_state=0), (lon, lat))
    assert (random_directions(2000, random_state=1)[0] != lon).all()


@given(layouts(), st.integers(0, 2**32 - 1))
def test_crops_are_found_again_from_their_centers(layout, seed):
    height, width, n_patches, size = layout
    rng = np.random.default_rng(seed)
    top, left = rng.integers(0, height - size + 1, n_patches), rng.integers(0, width, n_patches)
    lon, lat = crop_centers(top, left, height, width, size)
    assert (np.abs(lat) < 90).all() and lon.min() >= -180 and lon.max() < 180
    assert_array_equal(crop_positions(lon, lat, height, width, size), (top, left))
    # The center is the mean of the outermost pixels' directions.
    expected = to_sphere(top + (size - 1) / 2, left + (size - 1) / 2, height, width)
    assert_allclose(angular_distance(lon, lat, *expected), 0, atol=1e-6)


@given(layouts(), st.floats(-400, 400), st.floats(-90, 90))
def test_crops_come_as_close_as_they_fit(layout, lon, lat):
    height, width, _, size = layout
    top, left = crop_positions([lon], [lat], height, width, size)
    assert 0 <= top[0] <= height - size and 0 <= left[0] < width
    center_lon, center_lat = crop_centers(top, left, height, width, size)
    pixel = 360 / width
    assert abs((center_lon[0] - lon + 180) % 360 - 180) <= pixel / 2 + 1e-9
    if top[0] not in (0, height - size):
        assert abs(center_lat[0] - lat) <= pixel / 2 + 1e-9
    else:
        assert abs(center_lat[0]) <= abs(lat) + pixel / 2 + 1e-9 or height - size < 2


def test_crops_go_on_across_the_seam():
    image = RNG.integers(0, 256, (32, 64, 3), dtype=np.uint8)
    top, left = np.array([3, 16, 0]), np.array([60, 5, 63])
    expected = [np.roll(image, -column, axis=1)[row : row + 16, :16] for row, column in zip(top, left, strict=True)]
    patches = cut_over_seam(image, top, left, 16)
    assert patches.dtype == np.uint8
    assert_array_equal(patches, expected)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: latitude_positions(10, 20, 4, 11), "patch_size=11 does not fit into a panorama of 10 x 20.*Lower"),
        (lambda: latitude_positions(10, 20, 0, 4), "at least 1; got 0 and 4"),
        (lambda: latitude_positions(10, 20, 4, 0), "at least 1; got 4 and 0"),
        (lambda: crop_positions([0], [0], 10, 20, 11), "patch_size=11 does not fit into a panorama"),
        (lambda: crop_positions([0], [91], 10, 20, 4), "lat=91"),
    ],
)
def test_impossible_places(call, message):
    with pytest.raises(ValueError, match=message):
        call()
