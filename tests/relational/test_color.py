import numpy as np
import pytest
from numpy.testing import assert_allclose
from PIL import Image

from patchdistill.relational.color import from_lab, from_ycbcr, luma, to_lab, to_ycbcr

COLORS = np.random.default_rng(0).random((40, 50, 3))
COLORS[0, :3] = [[0, 0, 0], [1, 1, 1], [0.02, 0.03, 0.01]]


def test_lab_equals_that_of_scikit_image():
    skimage_color = pytest.importorskip("skimage.color")
    # It has five digits of the white, and we the sums of the matrix: a few hundredths apart.
    assert_allclose(to_lab(COLORS), skimage_color.rgb2lab(COLORS), atol=0.05)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 2e-5)])
def test_the_way_to_lab_and_back(dtype, tolerance):
    lab = to_lab(COLORS.astype(dtype))
    assert lab.dtype == from_lab(lab).dtype == dtype
    assert_allclose(from_lab(lab), COLORS, atol=tolerance)


def test_gray_has_no_color_in_lab():
    gray = np.linspace(0, 1, 20)[:, None, None].repeat(3, axis=2)
    lab = to_lab(gray)
    assert_allclose(lab[..., 1:], 0, atol=1e-10)
    assert_allclose(lab[[0, -1], 0, 0], [0, 100], atol=1e-10)


def test_lab_goes_on_beyond_what_can_be_shown():
    beyond = np.array([[[-0.1, 0.5, 1.2], [1.3, -0.02, 0.4]]])
    assert_allclose(from_lab(to_lab(beyond)), beyond, atol=1e-12)


def test_ycbcr_equals_that_of_jpeg():
    pixels = np.rint(255 * COLORS).astype(np.uint8)
    expected = np.asarray(Image.fromarray(pixels).convert("YCbCr")).astype(float)
    # Pillow rounds to whole levels.
    assert_allclose(255 * to_ycbcr(pixels / 255) + [0, 128, 128], expected, atol=1.01)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-14), (np.float32, 1e-6)])
def test_the_way_to_ycbcr_and_back(dtype, tolerance):
    planes = to_ycbcr(COLORS.astype(dtype))
    assert planes.dtype == from_ycbcr(planes).dtype == dtype
    assert_allclose(from_ycbcr(planes), COLORS, atol=tolerance)


def test_luma_is_the_first_plane():
    assert luma(COLORS.astype(np.float32)).dtype == np.float32
    assert_allclose(luma(COLORS), to_ycbcr(COLORS)[..., 0], atol=1e-15)
    assert_allclose(luma(np.eye(3)[None]), [[0.299, 0.587, 0.114]])
