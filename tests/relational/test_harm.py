import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.ndimage import gaussian_filter

from patchdistill.relational.color import to_lab
from patchdistill.relational.harm import harm


def flat(color, size=32):
    return np.full((size, size, 3), color, dtype=np.float32)


@given(seed=st.integers(0, 1000), height=st.integers(2, 40), width=st.integers(2, 40))
@settings(max_examples=60)
def test_a_picture_does_itself_no_harm(seed, height, width):
    a, b = np.random.default_rng(seed).random((2, height, width, 3)).astype(np.float32)
    assert harm(a, a) == 0
    assert harm(a, b) > 0
    assert_allclose(harm(a, b), harm(b, a), rtol=1e-12)


def test_small_changes_of_bright_pictures_are_not_lost_in_rounding():
    rng = np.random.default_rng(0)
    bright = (0.9 + 1e-3 * rng.standard_normal((64, 64, 3))).astype(np.float32)
    noisy = bright + (1e-4 * rng.standard_normal(bright.shape)).astype(np.float32)
    assert_allclose(harm(noisy, bright), harm(noisy.astype(np.float64), bright.astype(np.float64)), rtol=1e-9)


def test_of_a_flat_picture_only_lightness_and_color_change():
    a, b = flat([0.7, 0.4, 0.3]), flat([0.3, 0.5, 0.6])
    change = to_lab(a[:1, :1].astype(float)) - to_lab(b[:1, :1].astype(float))
    lightness, color = abs(change[0, 0, 0]), np.hypot(*change[0, 0, 1:])
    assert_allclose(harm(a, b), np.hypot(color / 25, lightness / 50), rtol=1e-6)


def test_of_a_grating_only_structure_changes():
    # At half the resolution the columns are m + d and m - d by turns, and the mean of each window is m.
    def grating(d):
        lightness = np.tile(np.repeat([50 + d, 50 - d], 2), 64)
        y = ((lightness + 16) / 116) ** 3  # relative luminance, linear for all three colors of a gray
        gray = 1.055 * y ** (1 / 2.4) - 0.055
        return np.broadcast_to(gray[None, :, None], (64, 256, 3))

    x, y = 20.0, 5.0
    structure = 1 - (2 * x * y + 100) / (x**2 + y**2 + 100)
    assert_allclose(harm(grating(y), grating(x)), structure / 0.1, rtol=0.02)


def test_equals_the_formula_written_out():
    a, b = np.random.default_rng(0).random((2, 24, 32, 3))
    (la, lb) = (to_lab(p).reshape(12, 2, 16, 2, 3).mean(axis=(1, 3)) for p in (a, b))

    def blur(x, sigma):
        return gaussian_filter(x, sigma, mode="reflect", truncate=3.5)

    x, y = la[..., 0], lb[..., 0]
    mx, my = blur(x, 1.5), blur(y, 1.5)
    vx, vy, cov = blur(x * x, 1.5) - mx**2, blur(y * y, 1.5) - my**2, blur(x * y, 1.5) - mx * my
    structure = 1 - np.mean((2 * cov + 100) / (vx + vy + 100))
    color = np.mean(np.sqrt(sum(blur(la[..., k] - lb[..., k], 1.0) ** 2 for k in (1, 2))))
    lightness = np.mean(np.abs(blur(x - y, 2.0)))
    expected = np.sqrt((structure / 0.1) ** 2 + (color / 25) ** 2 + (lightness / 50) ** 2)
    assert_allclose(harm(a.astype(np.float32), b.astype(np.float32)), expected, rtol=1e-5)


@pytest.mark.parametrize("what", [[0.1, 0.1, 0.1], [0.15, -0.05, -0.05]])
def test_sees_what_gradients_do_not(what):
    base = flat([0.5, 0.5, 0.5])
    assert harm(base + np.float32(what), base) > 0.15
