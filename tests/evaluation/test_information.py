import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import ndimage

from patchdistill.evaluation import vif
from patchdistill.evaluation.information import _BAND, _FIRST_LOW, _LOW, _pyramid, _unfold, band_information


def smooth(seed, *size):
    return 20 * ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=size), 1)


def by_definition(reference, image, window):
    """Block after block: Eqs. 7 to 17 of the paper, with determinants instead of eigenvalues."""
    height, width = (n // 3 * 3 for n in reference.shape)
    rows = [reference[i : i + 3, j : j + 3].ravel() for i in range(height - 2) for j in range(width - 2)]
    covariance = np.cov(np.transpose(rows), bias=True)
    inverse, half, kept, total = np.linalg.inv(covariance), window // 2, 0.0, 0.0
    border = int(np.ceil(half / 3))
    for i in range(border, height // 3 - border):
        for j in range(border, width // 3 - border):
            block = reference[3 * i : 3 * i + 3, 3 * j : 3 * j + 3].ravel()
            scale = block @ inverse @ block / 9
            place = (slice(3 * i + 1 - half, 3 * i + 2 + half), slice(3 * j + 1 - half, 3 * j + 2 + half))
            (variance_r, both), (_, variance_i) = np.cov(reference[place].ravel(), image[place].ravel(), bias=True)
            gain, noise = (both / variance_r, variance_i - both**2 / variance_r) if both > 0 else (0, variance_i)
            kept += np.linalg.slogdet(np.eye(9) + gain**2 * scale / (noise + 0.4) * covariance)[1] / np.log(2)
            total += np.linalg.slogdet(np.eye(9) + scale / 0.4 * covariance)[1] / np.log(2)
    return kept, total


@pytest.mark.parametrize(("window", "size"), [(3, (25, 30)), (5, (24, 29)), (9, (33, 30)), (17, (40, 36))])
def test_information_by_its_definition(window, size):
    reference = smooth(0, *size)
    weaker = reference * np.linspace(-0.3, 1, size[1])  # on the left nothing is left but noise
    image = weaker + np.random.default_rng(1).normal(size=size)
    assert_allclose(band_information(reference, image, window), by_definition(reference, image, window), rtol=1e-9)


def test_a_band_without_change_keeps_everything():
    kept, total = band_information(smooth(0, 30, 30), smooth(0, 30, 30), 5)
    assert kept == pytest.approx(total)
    assert total > 100


def test_an_empty_band_has_nothing_to_lose():
    assert band_information(np.zeros((30, 30)), smooth(0, 30, 30), 5) == (0, 0)
    assert band_information(np.full((30, 30), 1e-9), np.zeros((30, 30)), 5) == (0, 0)
    kept, total = band_information(smooth(0, 30, 30), np.zeros((30, 30)), 5)
    assert kept == 0 < total


def test_pyramid():
    """Each scale and direction has its waves; what is flat is in none. Lowest frequencies double at every scale."""
    y, x = np.mgrid[:96, :96]
    assert all(np.abs(band).max() < 1e-10 for scale in _pyramid(np.full((96, 96), 200.0)) for band in scale)
    for scale, (across_rows, across_columns) in enumerate(_pyramid(np.cos(2 * np.pi * y / 16))):
        assert across_rows.shape == (96 >> scale, 96 >> scale)
        assert np.abs(across_columns).max() < 1e-3 * np.abs(across_rows).max()
    strengths = [[band.std() for band, _ in _pyramid(np.cos(2 * np.pi * y / period))] for period in (4, 8, 16, 32)]
    assert np.argmax(strengths, axis=1).tolist() == [0, 1, 2, 3]
    turned = list(_pyramid(np.cos(2 * np.pi * (x + 2 * y) / 16).T))
    for scale, other in zip(_pyramid(np.cos(2 * np.pi * (x + 2 * y) / 16)), turned, strict=True):
        assert_allclose(scale[0].T, other[1], atol=1e-12)


def test_pyramid_keeps_the_power():
    """Six directions and the next scale share it out, to a tenth; two of the six stand for all, over all angles."""

    def power(weights, gain=1):
        return np.abs(np.fft.fft2(weights / gain, (128, 128))) ** 2

    band = power(_unfold(_BAND, sign=-1))
    share = 3 * (band + band.T) + power(_unfold(_LOW), gain=2)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(128), np.fft.fftfreq(128)))
    rings = [share[np.abs(frequency - center) < 0.01].mean() for center in np.arange(0.02, 0.28, 0.02)]
    assert_allclose(rings, 1, atol=0.1)
    # And what the first low pass lets through falls from all to nothing.
    assert_allclose(power(_unfold(_FIRST_LOW))[[0, 64], 0], [1, 0], atol=0.002)


def test_more_contrast_has_more_information():
    reference = np.random.default_rng(0).integers(80, 120, (96, 96, 1), dtype=np.uint8).repeat(3, axis=2)
    assert vif(reference, 2 * reference - 80) > 1.05
    assert vif(reference, reference // 2) < 0.95
