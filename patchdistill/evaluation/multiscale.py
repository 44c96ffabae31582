"""What a picture lost against its reference at several scales: MS-SSIM."""

import numpy as np

from patchdistill.evaluation.full_reference import SSIM_WINDOW, check_pair, gray, ssim_terms

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)

# Halved four times, rounding up, this leaves one window.
_SMALLEST = (SSIM_WINDOW - 1) * 2 ** (len(SCALE_WEIGHTS) - 1) + 1


def ms_ssim(reference, image):
    """Structural similarity over five scales, with the weights of its authors.

    The product of the paper. (Values published as MS-SSIM are sometimes the weighted mean of the same five factors,
    which the authors' code offers too; it lies a little higher.) Gray levels are those of MATLAB's rgb2gray, rounded.

    Parameters
    ----------
    reference, image : array-like of shape (height, width, 3)
        The picture and its distorted version, at least 161 x 161 pixels: uint8 in [0, 255], or float in [0, 1].

    Returns
    -------
    float
        From 0 to 1, that of equal pictures. 0 if at some scale the two agree less than unrelated ones.

    Raises
    ------
    ValueError
        As :func:`psnr`, and if a picture is too small.

    See Also
    --------
    ssim : At the finest scale alone.

    References
    ----------
    .. [1] Z. Wang, E. P. Simoncelli, A. C. Bovik, "Multiscale Structural Similarity for Image Quality Assessment",
       Asilomar Conference on Signals, Systems and Computers, 2003. Eq. 7.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.evaluation import ms_ssim
    >>> reference = np.random.default_rng(0).random((192, 192, 3))
    >>> round(ms_ssim(reference, reference), 6), round(ms_ssim(reference, reference / 2), 3)
    (1.0, 0.843)
    """
    factors = scale_factors(*map(gray, check_pair(reference, image, smallest=_SMALLEST)))
    return float(np.prod(np.maximum(factors, 0) ** SCALE_WEIGHTS))


def scale_factors(reference, image):
    """Similarity at each scale: of structure, and at the coarsest one of luminance too.

    Parameters
    ----------
    reference, image : ndarray of float64, shape (height, width)
        Gray levels.

    Returns
    -------
    ndarray of shape (5,)
        Means over the windows, at most 1, from the finest scale to the coarsest.
    """
    factors = []
    for _ in SCALE_WEIGHTS:
        luminance, structure = ssim_terms(reference, image)
        factors.append(structure.mean())
        reference, image = _halve(reference), _halve(image)
    factors[-1] = (luminance * structure).mean()
    return np.array(factors)


def _halve(plane):
    """Means over blocks of 2 x 2 pixels; beyond an odd border, its last pixels again."""
    plane = np.pad(plane, [(0, size % 2) for size in plane.shape], mode="edge")
    return plane.reshape(plane.shape[0] // 2, 2, plane.shape[1] // 2, 2).mean(axis=(1, 3))
