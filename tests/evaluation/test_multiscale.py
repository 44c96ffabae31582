import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from patchdistill.evaluation import ms_ssim, ssim
from patchdistill.evaluation.full_reference import gray
from patchdistill.evaluation.multiscale import SCALE_WEIGHTS, scale_factors


def picture(seed=0, height=176, width=192):
    """Smooth colors, as those of a photograph."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(size=(height, width, 3)), (2, 2, 0))
    return np.clip(127 + 400 * smooth, 0, 255).astype(np.uint8)


def noisy(image, seed=1, deviation=12):
    noise = np.random.default_rng(seed).normal(scale=deviation, size=image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def as_gray(image):
    return np.repeat(np.rint(gray(image)).astype(np.uint8)[:, :, None], 3, axis=2)


@pytest.mark.parametrize("size", [(176, 192), (161, 199)])
def test_factors_by_their_definition(size):
    """Eq. 7 of the paper: contrast and structure at every scale, luminance at the last."""
    metrics = pytest.importorskip("skimage.metrics")
    planes = [gray(picture(0, *size)), gray(noisy(picture(0, *size)))]
    window = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    for scale, factor in enumerate(scale_factors(*planes)):
        inside = (slice(5, -5), slice(5, -5))
        _, similarity = metrics.structural_similarity(*planes, full=True, **window)
        if scale < 4:
            means = [ndimage.gaussian_filter(plane, 1.5, truncate=3.5) for plane in planes]
            luminance = (2 * means[0] * means[1] + 2.55**2) / (means[0] ** 2 + means[1] ** 2 + 2.55**2)
            similarity = similarity / luminance
        assert factor == pytest.approx(similarity[inside].mean(), abs=1e-9)
        padded = [np.pad(plane, [(0, n % 2) for n in plane.shape], mode="symmetric") for plane in planes]
        planes = [(p[::2, ::2] + p[1::2, ::2] + p[::2, 1::2] + p[1::2, 1::2]) / 4 for p in padded]


def test_product_with_the_weights_of_the_paper():
    pair = picture(), noisy(picture(), deviation=40)
    factors = scale_factors(*map(gray, pair))
    expected = np.exp(
        sum(w * np.log(f) for w, f in zip((0.0448, 0.2856, 0.3001, 0.2363, 0.1333), factors, strict=True))
    )
    assert ms_ssim(*pair) == pytest.approx(expected, abs=1e-12)
    assert factors.min() < 0.9 < factors.max()


@settings(max_examples=10)
@given(st.integers(20, 100), st.integers(1, 155))
def test_shifts_have_a_closed_form(level, shift):
    """Without structure the luminance of the coarsest scale is left."""
    reference = np.full((161, 161, 3), level, dtype=np.uint8)
    value = ms_ssim(reference, reference + np.uint8(shift))
    assert value == pytest.approx(ssim(reference, reference + np.uint8(shift)) ** SCALE_WEIGHTS[-1])


def test_negative_pictures_are_worth_nothing():
    reference = picture()
    assert scale_factors(gray(reference), 255 - gray(reference)).min() < 0
    assert ms_ssim(reference, 255 - reference) == 0


def test_fine_noise_is_lost_at_coarse_scales():
    pair = as_gray(picture()), as_gray(noisy(picture(), deviation=30))
    factors = scale_factors(*map(gray, pair))
    assert (np.diff(factors) > 0).all()
    assert ms_ssim(*pair) > ssim(*pair)
