import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import fft, ndimage

from patchdistill.relational import features
from patchdistill.relational.features import EVEN, HALO, ODD, binomial, cell_mean, pair_features, wide

KERNEL = np.array([1, 4, 6, 4, 1]) / 16


def picture(height=48, width=64, seed=0):
    return np.random.default_rng(seed).random((3, height, width)).astype(np.float32)


def odd_of(a, b, name):
    return pair_features(a, b)[0][ODD.index(name)]


def even_of(a, b, name):
    return pair_features(a, b)[1][EVEN.index(name)]


def test_features_have_names_of_their_own():
    odd, even = pair_features(picture(), picture(seed=1))
    assert odd.shape == (len(ODD), 6, 8) and even.shape == (len(EVEN), 6, 8)
    assert odd.dtype == even.dtype == np.float32
    assert len(set(ODD)) == len(ODD) and len(set(EVEN)) == len(EVEN)


@given(
    seed=st.integers(0, 1000), flat=st.sampled_from([None, 0.0, 1.0]), rows=st.integers(4, 6), columns=st.integers(4, 6)
)
@settings(max_examples=20)
def test_places_changed_change_the_sign_of_odd_features_alone(seed, flat, rows, columns):
    a = picture(8 * rows, 8 * columns, seed)
    b = picture(8 * rows, 8 * columns, seed + 1) if flat is None else np.full_like(a, flat)
    (odd, even), (odd_back, even_back) = pair_features(a, b), pair_features(b, a)
    assert_array_equal(odd_back, -odd)
    assert_array_equal(even_back, even)
    assert np.isfinite(odd).all() and np.isfinite(even).all()
    assert not pair_features(a, a)[0].any()


def test_batches_are_single_pictures():
    a, b = np.stack([picture(seed=0), picture(seed=1)]), np.stack([picture(seed=2), picture(seed=3)])
    odd, even = pair_features(a, b)
    for i in range(2):
        one_odd, one_even = pair_features(a[i], b[i])
        assert_allclose(odd[i], one_odd, atol=1e-5)
        assert_allclose(even[i], one_even, atol=1e-5)


@pytest.mark.parametrize("step", [1, 2])
def test_binomial_equals_that_of_scipy(step):
    x = np.random.default_rng(0).random((2, 20, 30))
    kernel = np.zeros(4 * step + 1)
    kernel[::step] = KERNEL
    expected = ndimage.convolve1d(ndimage.convolve1d(x, kernel, axis=1, mode="reflect"), kernel, axis=2, mode="reflect")
    assert_allclose(binomial(x, step), expected, atol=1e-14)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_binomial_of_less_than_its_reach(size):
    x = np.random.default_rng(0).random((size, size))
    expected = ndimage.convolve1d(ndimage.convolve1d(x, KERNEL, axis=0, mode="reflect"), KERNEL, axis=1, mode="reflect")
    assert_allclose(binomial(x), expected, atol=1e-14)


def test_wide_has_a_deviation_of_twenty_pixels():
    impulse = np.zeros((41, 41))
    impulse[20, 20] = 1
    places = 8 * (np.arange(41) - 20)
    assert_allclose(np.sqrt(wide(impulse).sum(axis=0) @ places**2), 8 * np.sqrt(1 + 4), rtol=1e-12)
    assert 17 < 8 * np.sqrt(5) < 20
    assert_allclose(wide(impulse).sum(), 1)


def test_cell_mean_is_the_mean_of_squares():
    x = np.random.default_rng(0).random((2, 16, 24))
    assert_allclose(cell_mean(x)[1, 1, 2], x[1, 8:16, 16:24].mean())
    assert_allclose(cell_mean(x, 4)[0, 3, 5], x[0, 12:16, 20:24].mean())


@pytest.mark.parametrize("axis", [-1, -2])
def test_there_is_no_step_behind_the_last_pixel(axis):
    x = np.random.default_rng(0).random((16, 24))
    last = np.take(x, [-1], axis)
    assert_allclose(features._step(x, axis, np), np.diff(x, axis=axis, append=last))


def test_means_of_luma_and_colors():
    a, b = np.full((3, 32, 32), 0.5, np.float32), np.full((3, 32, 32), 0.25, np.float32)
    a[0] = 0.7
    assert_allclose(odd_of(a, b, "luma"), 0.25 + 0.2 * 0.299, atol=1e-6)
    assert_allclose(odd_of(a, b, "red"), 0.2 * 0.5, atol=1e-6)
    assert_allclose(even_of(a, b, "luma"), 0.75 + 0.2 * 0.299, atol=1e-6)


def test_energies_of_bands():
    gray = np.repeat(np.random.default_rng(0).random((1, 32, 32)).astype(np.float32), 3, axis=0)
    other = (gray * 0.5 + 0.25).astype(np.float32)

    def energy(image):
        x = image[0].astype(float)
        smooth = ndimage.convolve1d(
            ndimage.convolve1d(x, KERNEL, axis=0, mode="reflect"), KERNEL, axis=1, mode="reflect"
        )
        cells = ((x - smooth) ** 2).reshape(4, 8, 4, 8).mean(axis=(1, 3))
        return ndimage.convolve1d(
            ndimage.convolve1d(cells, KERNEL, axis=0, mode="reflect"), KERNEL, axis=1, mode="reflect"
        )

    ea, eb, ed = energy(gray), energy(other), energy(gray - other)
    assert_allclose(odd_of(gray, other, "luma band 0: log ratio"), np.log(ea + 1e-5) - np.log(eb + 1e-5), atol=1e-4)
    assert_allclose(even_of(gray, other, "luma band 0: energy"), np.log(ea + 1e-5) + np.log(eb + 1e-5), atol=1e-4)
    assert_allclose(even_of(gray, other, "luma band 0: difference"), np.log(ed + 1e-5), atol=1e-3)
    assert_allclose(even_of(gray, other, "luma band 0: correlation"), (ea + eb - ed) / (ea + eb + 1e-5), atol=1e-3)
    gain = ea - eb
    expected = gain / np.sqrt(ed + 1e-5 + gain**2 / (ed + 1e-5))
    assert_allclose(odd_of(gray, other, "luma band 0: noise"), expected, atol=1e-3)


def test_zeros_of_the_block_transform():
    rng = np.random.default_rng(0)
    coefficients = np.zeros((32, 32))
    for top in range(0, 32, 8):
        for left in range(0, 32, 8):
            coefficients[top, left] = 4.0
            places = rng.permutation(63)[:16] + 1  # 16 of 64 are no zeros
            block = np.zeros(64)
            block[places] = 0.5
            coefficients[top : top + 8, left : left + 8] += block.reshape(8, 8)
    blocks = coefficients.reshape(4, 8, 4, 8).swapaxes(1, 2)
    pixels = fft.idctn(blocks, axes=(2, 3), norm="ortho").swapaxes(1, 2).reshape(32, 32)
    image = np.repeat(pixels[None].astype(np.float32), 3, axis=0)
    # A picture of one color has all but its mean zero.
    assert_allclose(odd_of(image, np.full_like(image, 0.5), "luma zeros"), (64 - 17) / 64 - 63 / 64, atol=1e-3)
    assert_allclose(odd_of(image, np.full_like(image, 0.5), "blue zeros"), 0, atol=1e-3)


def test_edges_of_blocks_are_seen_in_both_directions():
    smooth = np.full((3, 32, 48), 0.5, np.float32)
    for axis in (1, 2):
        cells = np.arange(smooth.shape[axis]) // 8 % 2
        steps = np.moveaxis(np.zeros_like(smooth) + 0.4 + 0.1 * cells[(slice(None), *(None,) * (2 - axis))], 0, 0)
        change = odd_of(steps.astype(np.float32), smooth, "edges")
        assert (change > 1).all()
        shifted = np.roll(steps, 3, axis=axis).astype(np.float32)
        assert (odd_of(shifted, smooth, "edges")[1:-1, 1:-1] < 0.1).all()


def test_no_cell_sees_farther_than_the_halo():
    a, b = picture(48, 8 * (2 * HALO + 3), seed=0), picture(48, 8 * (2 * HALO + 3), seed=1)
    changed = a.copy()
    changed[..., : 8 * 1] = 0
    before, after = (
        np.concatenate([wide(odd), odd, even]) for odd, even in (pair_features(a, b), pair_features(changed, b))
    )
    assert (before[..., 0] != after[..., 0]).any()
    assert_array_equal(before[..., HALO + 1 :], after[..., HALO + 1 :])
