"""What a picture lost against its reference: PSNR and SSIM, and what the other measures share with them."""

import numpy as np
from scipy import ndimage

from patchdistill.images import check_pixels

SSIM_WINDOW = 11

_PEAK = 255.0
# The weights of luma to more digits, as rgb2gray of MATLAB has it: from the inverse of the NTSC matrix from YIQ to RGB.
_RGB2GRAY = (0.298936021293775, 0.587043074451121, 0.114020904255103)
_SSIM_C1, _SSIM_C2 = (0.01 * _PEAK) ** 2, (0.03 * _PEAK) ** 2


def psnr(reference, image):
    """Peak signal-to-noise ratio.

    The squared error is averaged over pixels and color channels.

    Parameters
    ----------
    reference, image : array-like of shape (height, width, 3)
        The picture and its distorted version: uint8 in [0, 255], or float in [0, 1].

    Returns
    -------
    float
        In dB, higher is better; infinite for equal pictures.

    Raises
    ------
    ValueError
        If one of the two is no color picture (in the message, image 0 is the reference) or their sizes differ.

    See Also
    --------
    ws_psnr : The same on the sphere.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.evaluation import psnr
    >>> reference = np.full((16, 32, 3), 100, dtype=np.uint8)
    >>> round(psnr(reference, reference + np.uint8(5)), 2)  # 20 log10(255 / 5)
    34.15
    """
    return decibels(np.mean(squared_error(reference, image)))


def ssim(reference, image):
    """Structural similarity, with the settings of its authors.

    Gray levels are those of MATLAB's rgb2gray, rounded to whole ones, as published values have them; pictures are not
    scaled down; only windows that lie inside the picture count.

    Parameters
    ----------
    reference, image : array-like of shape (height, width, 3)
        The picture and its distorted version, at least 11 x 11 pixels: uint8 in [0, 255], or float in [0, 1].

    Returns
    -------
    float
        At most 1, that of equal pictures.

    Raises
    ------
    ValueError
        As :func:`psnr`, and if a picture is too small.

    See Also
    --------
    ms_ssim : The same over five scales.
    ws_ssim : The same on the sphere.

    References
    ----------
    .. [1] Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli, "Image Quality Assessment: From Error Visibility to
       Structural Similarity", IEEE Transactions on Image Processing 13(4), 2004.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.evaluation import ssim
    >>> reference = np.random.default_rng(0).random((32, 32, 3))
    >>> round(ssim(reference, reference), 6), round(ssim(reference, 1 - reference), 3)
    (1.0, -0.962)
    """
    planes = map(gray, check_pair(reference, image, smallest=SSIM_WINDOW))
    luminance, structure = ssim_terms(*planes)
    return float((luminance * structure).mean())


def check_pair(reference, image, smallest=1):
    """Check that two pictures are versions of one.

    Parameters
    ----------
    reference, image : array-like of shape (height, width, 3)
        The pictures: uint8 in [0, 255], or float in [0, 1].
    smallest : int, default=1
        The least height and width.

    Returns
    -------
    reference, image : ndarray of shape (height, width, 3)
        The pixels, neither copied nor converted.

    Raises
    ------
    ValueError
        If one of the two is no color picture (in the message, image 0 is the reference), their sizes differ, or they
        are too small.
    """
    pair = check_pixels(reference, 0), check_pixels(image, 1)
    (height, width), (other_height, other_width) = (pixels.shape[:2] for pixels in pair)
    if (height, width) != (other_height, other_width):
        raise ValueError(
            f"The reference has {height} x {width} pixels (height x width), but the image {other_height} x "
            f"{other_width}; pass two versions of one picture, of one size."
        )
    if min(height, width) < smallest:
        raise ValueError(
            f"The pictures have {height} x {width} pixels (height x width), but at least {smallest} x {smallest} are "
            "needed; pass larger ones."
        )
    return pair


def levels(pixels):
    """Levels from 0 to 255, whatever the convention of the pixels.

    Parameters
    ----------
    pixels : ndarray of uint8 in [0, 255], or of float in [0, 1]
        Checked pixels.

    Returns
    -------
    ndarray of float64, of the same shape
        In [0, 255].
    """
    values = pixels.astype(np.float64)
    return values if pixels.dtype == np.uint8 else values * _PEAK


def gray(pixels):
    """Gray levels of MATLAB's rgb2gray, rounded to whole ones: those that published values were computed from.

    Parameters
    ----------
    pixels : ndarray of shape (height, width, 3)
        uint8 in [0, 255], or float in [0, 1].

    Returns
    -------
    ndarray of float64, shape (height, width)
        In [0, 255].
    """
    return np.rint(levels(pixels) @ np.array(_RGB2GRAY))


def squared_error(reference, image):
    """Squared difference of two pictures, after a check.

    Parameters
    ----------
    reference, image : array-like of shape (height, width, 3)
        The pictures: uint8 in [0, 255], or float in [0, 1].

    Returns
    -------
    ndarray of float64, shape (height, width, 3)
        In squared levels.
    """
    reference, image = check_pair(reference, image)
    return (levels(reference) - levels(image)) ** 2


def decibels(mean_squared_error):
    """Peak signal-to-noise ratio of a mean squared error.

    Parameters
    ----------
    mean_squared_error : float
        In squared levels.

    Returns
    -------
    float
        In dB; infinite for 0.
    """
    return float(10 * np.log10(_PEAK**2 / mean_squared_error)) if mean_squared_error else np.inf


def ssim_terms(reference, image, mode=None):
    """Compare luminance and structure in windows, the two factors of SSIM.

    Windows are Gaussians of standard deviation 1.5 cut at 11 x 11 pixels.

    Parameters
    ----------
    reference, image : ndarray of float64, shape (height, width)
        Gray levels.
    mode : str or tuple of str, default=None
        How the planes go on beyond their borders, as in `scipy.ndimage`. If None, only windows that lie inside the
        picture count.

    Returns
    -------
    luminance, structure : ndarray of shape (height, width), or (height - 10, width - 10) without `mode`
        Similarity of the means; of the variances and the correlation, in one. 1 where the two agree.

    References
    ----------
    .. [1] Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli, "Image Quality Assessment: From Error Visibility to
       Structural Similarity", IEEE Transactions on Image Processing 13(4), 2004. Eqs. 6 and 13.
    """
    radius = SSIM_WINDOW // 2

    def blur(plane):
        blurred = ndimage.gaussian_filter(plane, 1.5, radius=radius, mode=mode or "reflect")
        return blurred if mode else blurred[radius:-radius, radius:-radius]

    mean_r, mean_i = blur(reference), blur(image)
    variances = blur(reference * reference) + blur(image * image) - mean_r**2 - mean_i**2
    covariance = blur(reference * image) - mean_r * mean_i
    luminance = (2 * mean_r * mean_i + _SSIM_C1) / (mean_r**2 + mean_i**2 + _SSIM_C1)
    return luminance, (2 * covariance + _SSIM_C2) / (variances + _SSIM_C2)
