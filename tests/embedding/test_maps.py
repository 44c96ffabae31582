import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from patchdistill.embedding.maps import color_planes, gradient_magnitude, halve, normalize_contrast

RNG = np.random.default_rng(0)
PLANES = (255 * RNG.random((3, 21, 18))).astype(np.float32) - 128


def direct_mscn(plane):
    """The definition, one pixel after the other, in float64."""
    weights = np.exp(-(np.add.outer(np.arange(-3, 4) ** 2, np.arange(-3, 4) ** 2)) / (2 * (7 / 6) ** 2))
    weights /= weights.sum()
    padded = np.pad(plane.astype(float), 3, mode="symmetric")
    mean, sigma = np.empty(plane.shape), np.empty(plane.shape)
    for i, j in np.ndindex(plane.shape):
        window = padded[i : i + 7, j : j + 7]
        mean[i, j] = (weights * window).sum()
        sigma[i, j] = np.sqrt((weights * (window - mean[i, j]) ** 2).sum())
    return (plane - mean) / (sigma + 1), sigma


def test_mscn_is_its_definition():
    mscn, sigma = normalize_contrast(PLANES)
    for i, plane in enumerate(PLANES):
        expected, contrast = direct_mscn(plane)
        assert_allclose(mscn[i], expected, atol=1e-4)
        assert_allclose(sigma[i], contrast, rtol=1e-4)


def test_mscn_of_nothing_is_zero():
    for level in (-128, -57.3, 127):
        mscn, sigma = normalize_contrast(np.full((1, 20, 20), level, np.float32))
        assert_allclose(mscn, 0, atol=1e-4)
        assert_allclose(sigma, 0, atol=0.05)  # gray levels: what float32 leaves of mean(x^2) - mean(x)^2


@pytest.mark.parametrize("shape", [(8, 12), (7, 12), (8, 5), (1, 1)])
def test_halve_is_its_definition(shape):
    plane = RNG.random((1, *shape))
    expected = plane[0]
    for axis in (0, 1):
        padded = np.moveaxis(np.pad(np.moveaxis(expected, axis, 0), ((1, 3), (0, 0)), mode="symmetric"), 0, 0)
        kernel = np.array([1, 3, 3, 1]) / 8
        lines = [kernel @ padded[k : k + 4] for k in range(0, expected.shape[axis], 2)]
        expected = np.moveaxis(np.array(lines), 0, axis)
    assert_allclose(halve(plane.astype(np.float32))[0], expected, rtol=1e-5)


def test_halve_keeps_the_middle_of_a_window():
    ramp = np.broadcast_to(np.arange(32, dtype=np.float32), (1, 32, 32))
    coarse = halve(ramp)
    # Sample k lies in the middle of pixels 2 k and 2 k + 1.
    assert_allclose(coarse[0, :, 1:-1], np.broadcast_to(2 * np.arange(16) + 0.5, (16, 16))[:, 1:-1], rtol=1e-6)


def test_colors():
    pixels = RNG.integers(0, 256, (1, 4, 5, 3), dtype=np.uint8)
    planes = color_planes(pixels)
    red, green, blue = np.moveaxis(pixels[0].astype(float), -1, 0)
    assert_allclose(planes["luma"][0], 0.299 * red + 0.587 * green + 0.114 * blue - 128, atol=1e-4)
    assert_allclose(planes["redgreen"][0], (red - green) / np.sqrt(2), atol=1e-4)
    assert_allclose(planes["yellowblue"][0], (red + green - 2 * blue) / np.sqrt(6), atol=1e-4)


def test_gray_has_no_color():
    gray = np.repeat(RNG.integers(0, 256, (1, 4, 5, 1), dtype=np.uint8), 3, axis=-1)
    planes = color_planes(gray)
    assert_array_equal(planes["redgreen"], 0)
    assert_array_equal(planes["yellowblue"], 0)
    assert_allclose(planes["luma"], gray[..., 0] - 128.0, atol=1e-4)


def test_every_level_is_the_same_in_uint8_and_float64():
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=-1)
    for plane, other in zip(color_planes(levels).values(), color_planes(levels / 255).values(), strict=True):
        assert_array_equal(plane, other)


@pytest.mark.parametrize(("down", "across"), [(0, 1), (1, 0), (3, 4)])
def test_gradient_of_a_ramp(down, across):
    ramp = np.add.outer(down * np.arange(9.0), across * np.arange(7.0))[None].astype(np.float32)
    assert_allclose(gradient_magnitude(ramp), np.full((1, 8, 6), np.hypot(down, across)), rtol=1e-6)


@pytest.mark.parametrize("map_of", [halve, lambda p: normalize_contrast(p)[0], lambda p: normalize_contrast(p)[1]])
def test_pictures_do_not_mix(map_of):
    assert_array_equal(map_of(PLANES), np.concatenate([map_of(plane[None]) for plane in PLANES]))
