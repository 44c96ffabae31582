import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_allclose, assert_array_equal

from patchdistill.evaluation.spherical import weighted_mean
from patchdistill.relational.pooling import SIGNS, STATISTICS, cell_weights, pool_map

# In steps, so that no fourth power vanishes.
VALUES = st.integers(-1000, 1000).map(lambda thousandths: thousandths / 1000)
MAPS = hnp.arrays(np.float64, hnp.array_shapes(min_dims=3, max_dims=3, max_side=6), elements=VALUES)


def repeated(values, counts):
    """The cells as often as they weigh."""
    return np.repeat(values.ravel(), counts.ravel())


@given(MAPS, st.integers(0, 10**6))
def test_pools_as_if_every_cell_were_there_as_often_as_it_weighs(distortions, seed):
    counts = np.random.default_rng(seed).integers(0, 4, distortions.shape[1:])
    counts.flat[0] += 1
    pooled = pool_map(distortions, counts)
    assert pooled.shape == (len(distortions), len(SIGNS), len(STATISTICS)) == (len(distortions), 2, 4)
    for channel, of_channel in zip(distortions, pooled, strict=True):
        for sign, found in zip((1, -1), of_channel, strict=True):
            values = np.maximum(sign * repeated(channel, counts), 0)
            n_worst = len(values) / 10
            ordered, whole = np.sort(values)[::-1], int(n_worst)
            in_part = ordered[whole] * (n_worst - whole) if whole < len(values) else 0
            expected = [np.mean(values**p) ** (1 / p) for p in (1, 2, 4)] + [
                (ordered[:whole].sum() + in_part) / n_worst
            ]
            assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_worst_tenth_of_a_hundred_cells_is_the_mean_of_ten():
    values = np.random.default_rng(0).permutation(np.linspace(0, 1, 100)).reshape(1, 10, 10)
    assert_allclose(pool_map(values)[0, 0, 3], np.linspace(0, 1, 100)[-10:].mean(), rtol=1e-12)


@given(MAPS, st.integers(0, 10**6))
def test_more_of_either_side_lowers_no_number(distortions, seed):
    rng = np.random.default_rng(seed)
    further = distortions + np.sign(distortions) * rng.random(distortions.shape) * rng.integers(0, 2, distortions.shape)
    grown, before = pool_map(further), pool_map(distortions)
    assert (grown[..., :3] >= before[..., :3]).all()  # exactly: rounding keeps the order
    assert (grown[..., 3] >= before[..., 3] * (1 - 1e-14)).all()


@given(MAPS)
def test_the_other_sign_swaps_the_sides_and_units_go_through(distortions):
    pooled = pool_map(distortions)
    assert_array_equal(pool_map(-distortions), pooled[:, ::-1])
    assert_allclose(pool_map(distortions / 4), pooled / 4, rtol=1e-12)
    assert_array_equal(pool_map(distortions, np.full(distortions.shape[1:], 0.25)), pool_map(distortions, None))
    assert_array_equal(pool_map(0 * distortions), 0)


@given(MAPS)
def test_later_statistics_are_larger(distortions):
    pooled = pool_map(distortions)
    assert (np.diff(pooled[..., :3]) >= -1e-12).all()
    assert (pooled[..., 3] >= pooled[..., 0] - 1e-12).all()
    assert (pooled <= 1 + 1e-12).all()


def test_takes_float32():
    distortions = np.random.default_rng(0).uniform(-1, 1, (2, 3, 4)).astype(np.float32)
    assert_array_equal(pool_map(distortions), pool_map(distortions.astype(np.float64)))
    assert pool_map(distortions).dtype == np.float64


@pytest.mark.parametrize(("height", "width"), [(16, 24), (17, 30), (5, 3), (8, 9)])
def test_weights_are_the_pixels_of_cells(height, width):
    weights = cell_weights(height, width)
    for i, row in enumerate(weights):
        for j, found in enumerate(row):
            assert found == np.ones((height, width))[8 * i : 8 * i + 8, 8 * j : 8 * j + 8].size
    assert weights.sum() == height * width


@pytest.mark.parametrize(("height", "width"), [(32, 64), (50, 100)])
def test_weights_of_panoramas_give_the_mean_over_the_sphere(height, width):
    values = np.random.default_rng(0).random((-(-height // 8), -(-width // 8)))
    pixels = np.kron(values, np.ones((8, 8)))[:height, :width]
    pooled = pool_map(values[None], cell_weights(height, width, "panorama"))
    assert_allclose(pooled[0, 0, 0], weighted_mean(pixels), rtol=1e-12)


@pytest.mark.parametrize(
    ("distortions", "weights", "message"),
    [
        (np.zeros((2, 2)), None, r"The map has shape \(2, 2\), but \(n_channels, h, w\)"),
        (np.zeros((1, 0, 2)), None, r"with cells in it"),
        (np.full((1, 2, 2), np.nan), None, "holds NaN or infinity"),
        (np.zeros((1, 2, 2)), np.ones((2, 3)), r"weights has shape \(2, 3\), but the map has \(2, 2\) cells"),
        (np.zeros((1, 2, 2)), np.zeros((2, 2)), "not all 0"),
        (np.zeros((1, 2, 2)), [[1, -1], [1, 1]], "at least 0"),
        (np.zeros((1, 2, 2)), [[1, np.nan], [1, 1]], "must be finite"),
        (np.zeros((1, 2, 2)), [[1, np.inf], [1, 1]], "must be finite"),
    ],
)
def test_refuses_what_cannot_be_pooled(distortions, weights, message):
    with pytest.raises(ValueError, match=message):
        pool_map(distortions, weights)


def test_refuses_other_geometries():
    with pytest.raises(ValueError, match='geometry=\'sphere\' is unknown; use "flat" or "panorama"'):
        cell_weights(8, 8, "sphere")
