import csv

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage, signal

from patchdistill.evaluation import gmsd, mdsi, ms_ssim, psnr, ssim, vif
from patchdistill.evaluation.full_reference import gray
from patchdistill.evaluation.multiscale import SCALE_WEIGHTS, scale_factors
from patchdistill.images import read_image

MEASURES = {"psnr": psnr, "ssim": ssim, "ms_ssim": ms_ssim, "gmsd": gmsd, "mdsi": mdsi, "vif": vif}
BEST = {"psnr": np.inf, "ssim": 1, "ms_ssim": 1, "gmsd": 0, "mdsi": 0, "vif": 1}
SMALLEST = {"psnr": 1, "ssim": 11, "ms_ssim": 161, "gmsd": 3, "mdsi": 1, "vif": 65}
SYMMETRIC = ("psnr", "ssim", "ms_ssim", "gmsd")
each_measure = pytest.mark.parametrize("name", MEASURES)


def picture(seed=0, height=168, width=180):
    """Smooth colors, as those of a photograph."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(size=(height, width, 3)), (2, 2, 0))
    return np.clip(127 + 400 * smooth, 0, 255).astype(np.uint8)


def noisy(image, seed=1, deviation=12):
    noise = np.random.default_rng(seed).normal(scale=deviation, size=image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def flat(level):
    return np.full((168, 180, 3), level, dtype=np.uint8)


@each_measure
def test_equal_pictures_are_best(name):
    image = picture()
    assert MEASURES[name](image, image) == pytest.approx(BEST[name], abs=1e-9)
    assert MEASURES[name](flat(77), flat(77)) == pytest.approx(BEST[name], abs=1e-9)


@each_measure
def test_more_noise_is_worse(name):
    image = picture()
    values = [MEASURES[name](image, noisy(image, deviation=deviation)) for deviation in (3, 9, 27)]
    if BEST[name] == 0:
        assert 0.001 < values[0] < values[1] < values[2]
    else:
        assert BEST[name] - 0.0002 > values[0] > values[1] > values[2]
    assert all(type(value) is float for value in values)


@each_measure
@pytest.mark.filterwarnings("error")
def test_flat_pictures_have_a_value(name):
    image = picture()
    for pair in ((flat(0), flat(255)), (flat(90), image), (image, flat(90))):
        assert np.isfinite(MEASURES[name](*pair))


@given(st.integers(0, 100), st.integers(1, 155))
def test_shifts_have_closed_forms(level, shift):
    reference = np.full((16, 32, 3), level, dtype=np.uint8)
    image = reference + np.uint8(shift)
    assert psnr(reference, image) == pytest.approx(20 * np.log10(255 / shift))
    # Without structure only the luminance term is left.
    c1 = (0.01 * 255) ** 2
    luminance = (2 * level * (level + shift) + c1) / (level**2 + (level + shift) ** 2 + c1)
    assert ssim(reference, image) == pytest.approx(luminance)


def test_all_channels_and_pixels_count_alike_in_psnr():
    reference, image = picture(), noisy(picture())
    squared = (reference.astype(float) - image) ** 2
    assert psnr(reference, image) == pytest.approx(10 * np.log10(255**2 / squared.mean()))


@each_measure
@settings(max_examples=8)
@given(seed=st.integers(0, 10**6), deviation=st.floats(0.5, 80))
def test_both_conventions_of_pixels(name, seed, deviation):
    reference = picture(seed, max(12, SMALLEST[name]), 163)
    image = noisy(reference, seed, deviation)
    value = MEASURES[name](reference, image)
    assert MEASURES[name](reference / 255, image / 255) == pytest.approx(value, abs=1e-7)
    assert MEASURES[name](reference, image / 255) == pytest.approx(value, abs=1e-7)
    if name in SYMMETRIC:
        assert MEASURES[name](image, reference) == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize("name", ["psnr", "ssim", "gmsd", "mdsi"])
@given(pair=arrays(np.uint8, (2, 12, 13, 3)))
def test_any_pixels_have_a_value(name, pair):
    value = MEASURES[name](*pair)
    assert value <= BEST[name] if BEST[name] else value >= 0


@each_measure
def test_turned_pictures_are_no_other(name):
    """But for the phase of the coarser scales, which starts at the upper left corner."""
    pair = picture(height=192, width=192), noisy(picture(height=192, width=192))
    tolerance = 1e-9 if name in ("psnr", "ssim", "ms_ssim", "gmsd", "mdsi") else 0.02
    expected = MEASURES[name](*pair)
    assert MEASURES[name](*(image[::-1] for image in pair)) == pytest.approx(expected, abs=tolerance)
    assert MEASURES[name](*(image.transpose(1, 0, 2) for image in pair)) == pytest.approx(expected, abs=1e-9)


def test_ssim_is_that_of_scikit_image():
    metrics = pytest.importorskip("skimage.metrics")
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    gray = np.repeat(picture()[:, :, :1], 3, axis=2)
    pair = gray, noisy(picture())[:, :, :1].repeat(3, axis=2)
    assert ssim(*pair) == pytest.approx(
        metrics.structural_similarity(pair[0][:, :, 0], pair[1][:, :, 0], **settings), abs=1e-9
    )


def test_ssim_by_its_definition():
    """Windows inside the picture, on gray levels rounded to whole ones."""
    window = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    window = np.outer(window, window) / window.sum() ** 2
    a, b = (np.rint(image @ [0.29893602, 0.58704307, 0.11402090]) for image in (picture(), noisy(picture())))

    def mean(plane):
        return signal.correlate(plane, window, mode="valid")

    c1, c2 = 2.55**2, 7.65**2
    variance_a, variance_b = mean(a * a) - mean(a) ** 2, mean(b * b) - mean(b) ** 2
    top = (2 * mean(a) * mean(b) + c1) * (2 * (mean(a * b) - mean(a) * mean(b)) + c2)
    expected = np.mean(top / ((mean(a) ** 2 + mean(b) ** 2 + c1) * (variance_a + variance_b + c2)))
    assert ssim(picture(), noisy(picture())) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("name", ["I03", "I04", "I06", "I08", "I19"])
def test_published_values(name, data_dir):
    """To the digits given: those of the authors' own code."""
    folder = data_dir / "calibration"
    with open(folder / "results_official.csv", newline="") as file:
        official = {row["Method"]: row[f"{name}.bmp"] for row in csv.DictReader(file)}
    pair = [read_image(folder / kind / f"{name}.png") for kind in ("ref_dir", "dist_dir")]
    assert round(psnr(*pair), 2) == float(official["psnr"])
    assert round(ssim(*pair), 4) == float(official["ssim"])
    assert round(vif(*pair), 4) == float(official["vif"])
    assert gmsd(*pair) == pytest.approx(float(official["gmsd"]), rel=1e-12)
    # As MS-SSIM the weighted mean was published, not the product.
    factors = scale_factors(*map(gray, pair))
    assert round(np.average(factors, weights=SCALE_WEIGHTS), 4) == float(official["ms_ssim"])


@each_measure
def test_bad_pictures(name):
    measure, image = MEASURES[name], picture()
    with pytest.raises(ValueError, match=r"The reference has 168 x 180 pixels .* but the image 168 x 179; pass two"):
        measure(image, image[:, :-1])
    with pytest.raises(ValueError, match="The reference has 168 x 180 pixels .* but the image 167 x 180"):
        measure(image, image[:-1])
    with pytest.raises(ValueError, match="Image 1 has shape"):
        measure(image, image[:, :, 0])
    with pytest.raises(ValueError, match="Image 0 has dtype int64"):
        measure(image.astype(np.int64), image)


@each_measure
def test_small_pictures(name):
    measure, smallest = MEASURES[name], SMALLEST[name]
    enough = picture(height=smallest, width=200)
    assert measure(enough, enough) == pytest.approx(BEST[name], abs=1e-9)
    assert np.isfinite(measure(enough, noisy(enough)))
    if smallest > 1:
        small = enough[:-1].transpose(1, 0, 2)
        with pytest.raises(ValueError, match=f"200 x {smallest - 1} pixels .* at least {smallest} x {smallest} are "):
            measure(small, small)
