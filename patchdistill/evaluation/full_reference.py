"""What a picture lost against its reference: labels where nobody rated, on the plane and on the sphere.

An equirectangular picture shows a parallel of latitude `lat` on as many pixels as the equator, though it is shorter
by cos(lat). Its left and right borders are one meridian, the seam: filters go on beyond it.
"""

import numpy as np
from scipy import ndimage

from patchdistill.images import LUMA, check_pixels

_PEAK = 255.0
# The weights of luma to more digits, as rgb2gray of MATLAB has it: from the inverse of the NTSC matrix from YIQ to RGB.
_RGB2GRAY = (0.298936021293775, 0.587043074451121, 0.114020904255103)
_SSIM_C1, _SSIM_C2 = (0.01 * _PEAK) ** 2, (0.03 * _PEAK) ** 2
_GMS_C = 170.0
_SSIM_RADIUS = 5
_MODES = ("reflect", "wrap")


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
    return _decibels(np.mean(_squared_error(reference, image)))


def ws_psnr(reference, panorama):
    """Weighted-to-spherically-uniform PSNR of equirectangular panoramas.

    As :func:`psnr`, but pixels count by the cosine of their row's latitude [1]_. Its authors take the luma alone, as
    is usual for video; here all channels count, so that the weights are all that differs from :func:`psnr`.

    Parameters
    ----------
    reference, panorama : array-like of shape (height, width, 3)
        The panorama, a whole sphere, and its distorted version: uint8 in [0, 255], or float in [0, 1].

    Returns
    -------
    float
        In dB, higher is better; infinite for equal pictures.

    Raises
    ------
    ValueError
        As :func:`psnr`.

    References
    ----------
    .. [1] Y. Sun, A. Lu, L. Yu, "Weighted-to-Spherically-Uniform Quality Evaluation for Omnidirectional Video", IEEE
       Signal Processing Letters 24(9), 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.evaluation import psnr, ws_psnr
    >>> reference = np.zeros((64, 128, 3))
    >>> panorama = reference.copy()
    >>> panorama[0] = 1  # lost at the pole
    >>> round(psnr(reference, panorama), 1), round(ws_psnr(reference, panorama), 1)
    (18.1, 32.2)
    """
    return _decibels(weighted_mean(_squared_error(reference, panorama).mean(axis=2)))


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
    pair = _check_pair(reference, image, smallest=2 * _SSIM_RADIUS + 1)
    planes = (np.rint(_levels(pixels) @ np.array(_RGB2GRAY)) for pixels in pair)
    inside = slice(_SSIM_RADIUS, -_SSIM_RADIUS)
    return float(ssim_map(*planes)[inside, inside].mean())


def ws_ssim(reference, panorama):
    """Spherical SSIM: the mean over the sphere of ``ssim_map``.

    Luma is not rounded; no border is left out, because a panorama has none.

    Parameters
    ----------
    reference, panorama : array-like of shape (height, width, 3)
        The panorama, a whole sphere, and its distorted version: uint8 in [0, 255], or float in [0, 1].

    Returns
    -------
    float
        At most 1, that of equal pictures.

    Raises
    ------
    ValueError
        As :func:`psnr`.

    See Also
    --------
    ws_gms : Another measure with the same direction.

    References
    ----------
    .. [1] Y. Sun, A. Lu, L. Yu, "Weighted-to-Spherically-Uniform Quality Evaluation for Omnidirectional Video", IEEE
       Signal Processing Letters 24(9), 2017. The weights.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.evaluation import ws_ssim
    >>> reference = np.random.default_rng(0).random((32, 64, 3))
    >>> round(ws_ssim(reference, reference), 6)
    1.0
    """
    return weighted_mean(ssim_map(*map(luma, _check_pair(reference, panorama))))


def ws_gms(reference, panorama):
    """Spherical GMSD: one less the standard deviation over the sphere of ``gms_map``.

    GMSD grows with distortion; subtracted from one, its direction is that of the other measures.

    Parameters
    ----------
    reference, panorama : array-like of shape (height, width, 3)
        The panorama, a whole sphere, and its distorted version, at least 2 x 2 pixels: uint8 in [0, 255], or float in
        [0, 1].

    Returns
    -------
    float
        At most 1, that of equal pictures.

    Raises
    ------
    ValueError
        As :func:`psnr`, and if a picture is too small.

    References
    ----------
    .. [1] W. Xue, L. Zhang, X. Mou, A. C. Bovik, "Gradient Magnitude Similarity Deviation: A Highly Efficient
       Perceptual Image Quality Index", IEEE Transactions on Image Processing 23(2), 2014.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.evaluation import ws_gms
    >>> reference = np.random.default_rng(0).random((32, 64, 3))
    >>> round(ws_gms(reference, reference), 6)
    1.0
    """
    similarity = gms_map(*map(luma, _check_pair(reference, panorama, smallest=2)))
    return float(1 - np.sqrt(weighted_mean((similarity - weighted_mean(similarity)) ** 2)))


def luma(image):
    """Luma of ITU-R BT.601 in gray levels, not rounded.

    Parameters
    ----------
    image : ndarray of shape (height, width, 3)
        uint8 in [0, 255], or float in [0, 1].

    Returns
    -------
    ndarray of float64, shape (height, width)
        In [0, 255].
    """
    return _levels(image) @ np.array(LUMA)


def ssim_map(reference, image):
    """Structural similarity at every pixel of a panorama.

    Windows are Gaussians of standard deviation 1.5 cut at 11 x 11 pixels; they go on across the seam and are mirrored
    at the poles, so that no border has to be left out.

    Parameters
    ----------
    reference, image : ndarray of float64, shape (height, width)
        Luma in gray levels.

    Returns
    -------
    ndarray of shape (height, width)
        1 where the two agree.

    References
    ----------
    .. [1] Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli, "Image Quality Assessment: From Error Visibility to
       Structural Similarity", IEEE Transactions on Image Processing 13(4), 2004.
    """
    mean_r, mean_i = _blur(reference), _blur(image)
    variances = _blur(reference * reference) + _blur(image * image) - mean_r**2 - mean_i**2
    covariance = _blur(reference * image) - mean_r * mean_i
    luminance = (2 * mean_r * mean_i + _SSIM_C1) / (mean_r**2 + mean_i**2 + _SSIM_C1)
    return luminance * (2 * covariance + _SSIM_C2) / (variances + _SSIM_C2)


def gms_map(reference, image):
    """Similarity of gradient magnitudes of a panorama, at half the resolution.

    Both planes are averaged over blocks of 2 x 2 pixels; gradients are those of Prewitt, divided by 3. Borders are
    treated as in ``ssim_map`` (the authors' code takes zeros beyond them).

    Parameters
    ----------
    reference, image : ndarray of float64, shape (height, width)
        Luma in gray levels.

    Returns
    -------
    ndarray of shape (height // 2, width // 2)
        1 where the two agree.

    References
    ----------
    .. [1] W. Xue, L. Zhang, X. Mou, A. C. Bovik, "Gradient Magnitude Similarity Deviation: A Highly Efficient
       Perceptual Image Quality Index", IEEE Transactions on Image Processing 23(2), 2014.
    """
    gradient_r, gradient_i = _gradient(_halve(reference)), _gradient(_halve(image))
    return (2 * gradient_r * gradient_i + _GMS_C) / (gradient_r**2 + gradient_i**2 + _GMS_C)


def weighted_mean(values):
    """Mean of a map over the sphere: a pixel counts by the cosine of its latitude.

    Parameters
    ----------
    values : ndarray of shape (height, width)
        An equirectangular map.

    Returns
    -------
    float
        The mean.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.evaluation.full_reference import weighted_mean
    >>> round(weighted_mean(np.array([[0.0], [1.0], [0.0]])), 6)  # cos(0) / (cos(60°) + cos(0) + cos(60°))
    0.5
    """
    height = len(values)
    latitudes = np.pi * (0.5 - (np.arange(height) + 0.5) / height)
    return float(np.average(values.mean(axis=1), weights=np.cos(latitudes)))


def _check_pair(reference, image, smallest=1):
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


def _levels(pixels):
    """Gray levels from 0 to 255, whatever the convention of the pixels."""
    levels = pixels.astype(np.float64)
    return levels if pixels.dtype == np.uint8 else levels * _PEAK


def _squared_error(reference, image):
    reference, image = _check_pair(reference, image)
    return (_levels(reference) - _levels(image)) ** 2


def _decibels(squared_error):
    return float(10 * np.log10(_PEAK**2 / squared_error)) if squared_error else np.inf


def _blur(plane):
    return ndimage.gaussian_filter(plane, 1.5, radius=_SSIM_RADIUS, mode=_MODES)


def _halve(plane):
    height, width = plane.shape[0] // 2, plane.shape[1] // 2
    return plane[: 2 * height, : 2 * width].reshape(height, 2, width, 2).mean(axis=(1, 3))


def _gradient(plane):
    return np.hypot(*(ndimage.prewitt(plane, axis, mode=_MODES) for axis in (0, 1))) / 3
