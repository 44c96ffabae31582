"""What a panorama lost against its reference, on the sphere.

An equirectangular picture shows a parallel of latitude `lat` on as many pixels as the equator, though it is shorter
by cos(lat). Its left and right borders are one meridian, the seam: filters go on beyond it.
"""

import numpy as np

from patchdistill.evaluation.full_reference import check_pair, decibels, levels, squared_error, ssim_terms
from patchdistill.evaluation.gradients import gradient_similarity
from patchdistill.images import LUMA

_MODES = ("reflect", "wrap")


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
    return decibels(weighted_mean(squared_error(reference, panorama).mean(axis=2)))


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
    return weighted_mean(ssim_map(*map(luma, check_pair(reference, panorama))))


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
    similarity = gms_map(*map(luma, check_pair(reference, panorama, smallest=2)))
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
    return levels(image) @ np.array(LUMA)


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
    luminance, structure = ssim_terms(reference, image, _MODES)
    return luminance * structure


def gms_map(reference, image):
    """Similarity of gradient magnitudes of a panorama, at half the resolution.

    Both planes are averaged over blocks of 2 x 2 pixels; gradients are those of Prewitt, divided by 3. Borders are
    treated as in ``ssim_map`` (the authors' code, and with it :func:`gmsd`, takes zeros beyond them).

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
    return gradient_similarity(_halve(reference), _halve(image), _MODES)


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
    >>> from patchdistill.evaluation.spherical import weighted_mean
    >>> round(weighted_mean(np.array([[0.0], [1.0], [0.0]])), 6)  # cos(0) / (cos(60°) + cos(0) + cos(60°))
    0.5
    """
    height = len(values)
    latitudes = np.pi * (0.5 - (np.arange(height) + 0.5) / height)
    return float(np.average(values.mean(axis=1), weights=np.cos(latitudes)))


def _halve(plane):
    height, width = plane.shape[0] // 2, plane.shape[1] // 2
    return plane[: 2 * height, : 2 * width].reshape(height, 2, width, 2).mean(axis=(1, 3))
