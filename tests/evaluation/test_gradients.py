import numpy as np
import pytest
from scipy import ndimage, signal

from patchdistill.evaluation import gmsd, mdsi
from patchdistill.evaluation.full_reference import gray


def picture(seed=0, height=24, width=48):
    """Smooth colors, as those of a photograph."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(size=(height, width, 3)), (2, 2, 0))
    return np.clip(127 + 400 * smooth, 0, 255).astype(np.uint8)


def noisy(image, seed=1, deviation=12):
    noise = np.random.default_rng(seed).normal(scale=deviation, size=image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def blocks(plane, factor):
    """Means over blocks; those that reach beyond the last row or column take zeros from there."""
    padded = np.pad(plane, [(0, -n % factor) for n in plane.shape])
    height, width = (n // factor for n in padded.shape)
    return padded.reshape(height, factor, width, factor).mean(axis=(1, 3))


def gradient(plane):
    prewitt = np.array([[1, 0, -1]] * 3) / 3
    return np.sqrt(sum(signal.correlate(plane, kernel, mode="same") ** 2 for kernel in (prewitt, prewitt.T)))


def similarity(a, b, constant):
    return (2 * a * b + constant) / (a**2 + b**2 + constant)


@pytest.mark.parametrize("size", [(24, 48), (25, 47), (3, 3)])
def test_gmsd_by_its_definition(size):
    """Eqs. 1 to 6 of the paper; the standard deviation is that of MATLAB, over n - 1."""
    pair = picture(0, *size), noisy(picture(0, *size))
    a, b = (gradient(blocks(gray(image), 2)) for image in pair)
    values = similarity(a, b, 170)
    expected = np.sqrt(((values - values.mean()) ** 2).sum() / (values.size - 1))
    assert gmsd(*pair) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("size", "factor"), [((40, 60), 1), ((383, 400), 1), ((384, 390), 2), ((391, 385), 2)])
def test_mdsi_by_its_definition(size, factor):
    """Eqs. 1 to 13 of the paper, for pictures that nowhere differ so much that a root is complex."""
    pair = picture(0, *size), noisy(picture(0, *size))
    shrunk = [np.stack([blocks(image[:, :, c].astype(float), factor) for c in range(3)], 2) for image in pair]
    lightness = [image @ [0.2989, 0.5870, 0.1140] for image in shrunk]
    h, m = ([image @ weights for image in shrunk] for weights in ([0.3, 0.04, -0.35], [0.34, -0.6, 0.17]))
    r, d, f = gradient(lightness[0]), gradient(lightness[1]), gradient((lightness[0] + lightness[1]) / 2)
    structure = similarity(r, d, 140) + similarity(d, f, 55) - similarity(r, f, 55)
    color = (2 * (h[0] * h[1] + m[0] * m[1]) + 550) / (h[0] ** 2 + h[1] ** 2 + m[0] ** 2 + m[1] ** 2 + 550)
    combined = 0.6 * structure + 0.4 * color
    assert combined.min() > 0
    roots = combined**0.25
    assert mdsi(*pair) == pytest.approx(np.abs(roots - roots.mean()).mean() ** 0.25, abs=1e-12)


def test_mdsi_takes_the_complex_root():
    """Green stripes against flat magenta: there the sum is negative, and its fourth root (1 + i) / sqrt(2) times."""
    reference = np.zeros((8, 16, 3))
    reference[:, (np.arange(16) // 2) % 2 == 0, 1] = 1
    image = np.zeros((8, 16, 3))
    image[:, :, [0, 2]] = 1
    lhm = np.array([[0.2989, 0.5870, 0.1140], [0.30, 0.04, -0.35], [0.34, -0.60, 0.17]])
    lightness, h, m = (np.stack([255 * x @ row for x in (reference, image)]) for row in lhm)
    color = (2 * (h[0] * h[1] + m[0] * m[1]) + 550) / ((h**2 + m**2).sum(axis=0) + 550)
    r, d, f = gradient(lightness[0]), gradient(lightness[1]), gradient(lightness.mean(axis=0))
    combined = 0.6 * (similarity(r, d, 140) + similarity(d, f, 55) - similarity(r, f, 55)) + 0.4 * color
    assert (combined < -0.01).any()
    root = np.abs(combined) ** 0.25
    roots = np.where(combined < 0, root * (1 + 1j) / np.sqrt(2), root)
    assert mdsi(reference, image) == pytest.approx(np.abs(roots - roots.mean()).mean() ** 0.25, abs=1e-12)


def test_color_counts_in_mdsi_alone():
    """Gray levels that nobody changed."""
    reference = picture()
    image = np.repeat(np.rint(gray(reference)).astype(np.uint8)[:, :, None], 3, axis=2)
    assert gmsd(reference, image) == pytest.approx(0, abs=1e-12)
    assert mdsi(reference, image) > 0.1
