import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose
from scipy import ndimage, signal

from patchdistill.evaluation import ws_gms, ws_psnr, ws_ssim
from patchdistill.evaluation.spherical import gms_map, luma, ssim_map, weighted_mean

MEASURES = {"ws_psnr": ws_psnr, "ws_ssim": ws_ssim, "ws_gms": ws_gms}
BEST = {"ws_psnr": np.inf, "ws_ssim": 1, "ws_gms": 1}
each_measure = pytest.mark.parametrize("name", MEASURES)


def panorama(seed=0, height=24, width=48):
    """Smooth colors, as those of a picture, around the sphere."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(size=(height, width, 3)), (2, 2, 0), mode=("reflect", "wrap", "wrap"))
    return np.clip(127 + 400 * smooth, 0, 255).astype(np.uint8)


def noisy(image, seed=1, deviation=12):
    noise = np.random.default_rng(seed).normal(scale=deviation, size=image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def row_weights(height):
    """By the definition of WS-PSNR."""
    return np.array([np.cos((j + 0.5 - height / 2) * np.pi / height) for j in range(height)])


@each_measure
def test_equal_pictures_are_best(name):
    image = panorama()
    assert MEASURES[name](image, image) == pytest.approx(BEST[name], abs=1e-12)
    assert MEASURES[name](image, noisy(image)) < BEST[name] - 0.01


@each_measure
def test_more_noise_is_worse(name):
    image = panorama()
    values = [MEASURES[name](image, noisy(image, deviation=deviation)) for deviation in (3, 9, 27)]
    assert values[0] > values[1] > values[2]
    assert all(type(value) is float for value in values)


@given(st.integers(0, 100), st.integers(1, 155))
def test_shifts_have_closed_forms(level, shift):
    reference = np.full((16, 32, 3), level, dtype=np.uint8)
    image = reference + np.uint8(shift)
    assert ws_psnr(reference, image) == pytest.approx(20 * np.log10(255 / shift))
    # Without structure only the luminance term is left.
    c1 = (0.01 * 255) ** 2
    luminance = (2 * level * (level + shift) + c1) / (level**2 + (level + shift) ** 2 + c1)
    assert ws_ssim(reference, image) == pytest.approx(luminance)
    assert ws_gms(reference, image) == pytest.approx(1)


def test_ws_psnr_by_hand():
    """Four rows at -67.5, -22.5, 22.5 and 67.5 degrees; errors of 10 in the first, 20 in the second.

    The weights of a hemisphere are cos(67.5) = 0.382683 and cos(22.5) = 0.923880.
    """
    reference = np.zeros((4, 8, 3), dtype=np.uint8)
    image = reference.copy()
    image[0], image[1] = 10, 20
    squared = (0.382683 * 100 + 0.923880 * 400) / (2 * (0.382683 + 0.923880))
    assert ws_psnr(reference, image) == pytest.approx(10 * np.log10(255**2 / squared), abs=1e-5)


def test_all_channels_count_alike():
    squared = (panorama().astype(float) - noisy(panorama())) ** 2
    weighted = np.average(squared.mean(axis=(1, 2)), weights=row_weights(24))
    assert ws_psnr(panorama(), noisy(panorama())) == pytest.approx(10 * np.log10(255**2 / weighted))


def test_spherical_measures_by_their_definition():
    planes = luma(panorama()), luma(noisy(panorama()))
    similarity, gradients = ssim_map(*planes), gms_map(*planes)
    expected = np.average(similarity.mean(axis=1), weights=row_weights(24))
    assert ws_ssim(panorama(), noisy(panorama())) == pytest.approx(expected, abs=1e-12)
    weights = np.tile(row_weights(12)[:, None], 24)
    mean = np.average(gradients, weights=weights)
    deviation = np.sqrt(np.average((gradients - mean) ** 2, weights=weights))
    assert ws_gms(panorama(), noisy(panorama())) == pytest.approx(1 - deviation, abs=1e-12)


def test_mean_over_the_sphere():
    """The mean of the squared sine of latitude over a sphere is a third, over the plane a half."""
    latitude = np.pi * (0.5 - (np.arange(400) + 0.5) / 400)
    assert weighted_mean(np.tile(np.sin(latitude)[:, None] ** 2, 3)) == pytest.approx(1 / 3, abs=1e-5)


def test_luma():
    assert_allclose(luma(np.eye(3, dtype=np.uint8)[None] * np.uint8(200)), [[59.8, 117.4, 22.8]])
    assert_allclose(luma(np.eye(3)[None]), [[76.245, 149.685, 29.07]])


@each_measure
@given(seed=st.integers(0, 1000), columns=st.integers(0, 23))
def test_turning_the_sphere_changes_nothing(name, seed, columns):
    """By an even number of columns: the similarity of gradients takes pairs of them together."""
    pair = panorama(seed), noisy(panorama(seed), seed)
    turned = [np.roll(image, 2 * columns, axis=1) for image in pair]
    assert MEASURES[name](*turned) == pytest.approx(MEASURES[name](*pair), abs=1e-10)
    upside_down = [image[::-1] for image in pair]
    assert MEASURES[name](*upside_down) == pytest.approx(MEASURES[name](*pair), abs=1e-10)


@each_measure
@given(pair=arrays(np.uint8, (2, 12, 13, 3)))
def test_pixels_are_the_same_in_both_conventions(name, pair):
    expected = MEASURES[name](*pair)
    assert MEASURES[name](*(pair / 255)) == pytest.approx(expected, abs=1e-7)
    assert MEASURES[name](pair[0], pair[1] / 255) == pytest.approx(expected, abs=1e-7)
    assert MEASURES[name](pair[1], pair[0]) == pytest.approx(expected, abs=1e-9)  # all of them are symmetric


def test_ssim_is_that_of_scikit_image():
    """A panorama goes on beyond its seam."""
    metrics = pytest.importorskip("skimage.metrics")
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    planes = [luma(image) for image in (panorama(), noisy(panorama()))]
    _, whole = metrics.structural_similarity(*(np.tile(plane, 3) for plane in planes), full=True, **settings)
    assert_allclose(ssim_map(*planes), whole[:, 48:96], atol=1e-11)


def test_gradient_similarity_by_its_definition():
    planes = luma(panorama(height=25)), luma(noisy(panorama(height=25)))  # the last row has no partner

    def gradient(plane):
        plane = plane[:24]
        coarse = (plane[::2, ::2] + plane[1::2, ::2] + plane[::2, 1::2] + plane[1::2, 1::2]) / 4
        padded = np.pad(np.pad(coarse, ((1, 1), (0, 0)), mode="edge"), ((0, 0), (1, 1)), mode="wrap")
        prewitt = np.array([[1, 0, -1]] * 3) / 3
        parts = [signal.correlate(padded, kernel, mode="valid") for kernel in (prewitt, prewitt.T)]
        return np.sqrt(parts[0] ** 2 + parts[1] ** 2)

    a, b = gradient(planes[0]), gradient(planes[1])
    assert_allclose(gms_map(*planes), (2 * a * b + 170) / (a**2 + b**2 + 170), atol=1e-10)


def test_bad_pictures():
    image = panorama()
    for measure in MEASURES.values():
        with pytest.raises(ValueError, match=r"The reference has 24 x 48 pixels .* but the image 24 x 47; pass two"):
            measure(image, image[:, :-1])
    with pytest.raises(ValueError, match="20 x 1 pixels .* at least 2 x 2 are needed"):
        ws_gms(image[:20, :1], image[:20, :1])
    assert ws_gms(image[:20, :2], image[:20, :2]) == pytest.approx(1)
