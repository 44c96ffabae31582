"""What a picture lost against its reference, seen in its gradients: GMSD, and with color MDSI."""

import numpy as np
from scipy import ndimage

from patchdistill.evaluation.full_reference import check_pair, gray, levels

_GMSD_C = 170.0

# Of MDSI: the constants of its three similarities, the share of gradients in their sum, and the root taken of it.
_MDSI_C1, _MDSI_C2, _MDSI_C3 = 140.0, 55.0, 550.0
_MDSI_GRADIENTS = 0.6
_MDSI_POWER = 0.25
# From red, green and blue to luminance and the two planes of color of MDSI.
_LHM = np.array([[0.2989, 0.5870, 0.1140], [0.30, 0.04, -0.35], [0.34, -0.60, 0.17]])


def gmsd(reference, image):
    """Gradient magnitude similarity deviation, with the settings of its authors.

    Gray levels are those of MATLAB's rgb2gray, rounded; they are averaged over blocks of 2 x 2 pixels, and beyond the
    borders are zeros. The measure is symmetric.

    Parameters
    ----------
    reference, image : array-like of shape (height, width, 3)
        The picture and its distorted version, at least 3 x 3 pixels: uint8 in [0, 255], or float in [0, 1].

    Returns
    -------
    float
        At least 0, that of equal pictures: lower is better, as its authors have it.

    Raises
    ------
    ValueError
        As :func:`psnr`, and if a picture is too small.

    See Also
    --------
    ws_gms : On the sphere, and higher is better.
    mdsi : With color.

    References
    ----------
    .. [1] W. Xue, L. Zhang, X. Mou, A. C. Bovik, "Gradient Magnitude Similarity Deviation: A Highly Efficient
       Perceptual Image Quality Index", IEEE Transactions on Image Processing 23(2), 2014.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.evaluation import gmsd
    >>> reference = np.random.default_rng(0).random((32, 32, 3))
    >>> gmsd(reference, reference), round(gmsd(reference, reference[::-1]), 3)
    (0.0, 0.197)
    """
    pair = check_pair(reference, image, smallest=3)
    similarity = gradient_similarity(*(_shrink(gray(pixels), 2) for pixels in pair), "constant")
    return float(similarity.std(ddof=1))


def mdsi(reference, image):
    """Mean deviation similarity index, of gradients and color, with the settings of its authors.

    Pictures are averaged over blocks so that the shorter side has about 256 pixels. The measure is not symmetric.

    Parameters
    ----------
    reference, image : array-like of shape (height, width, 3)
        The picture and its distorted version: uint8 in [0, 255], or float in [0, 1].

    Returns
    -------
    float
        At least 0, that of equal pictures: lower is better.

    Raises
    ------
    ValueError
        As :func:`psnr`.

    See Also
    --------
    gmsd : Of gray levels.

    References
    ----------
    .. [1] H. Z. Nafchi, A. Shahkolaei, R. Hedjam, M. Cheriet, "Mean Deviation Similarity Index: Efficient and Reliable
       Full-Reference Image Quality Evaluator", IEEE Access 4, 2016.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.evaluation import mdsi
    >>> reference = np.random.default_rng(0).random((32, 32, 3))
    >>> mdsi(reference, reference), round(mdsi(reference, reference[:, :, ::-1]), 3)
    (0.0, 0.526)
    """
    pair = check_pair(reference, image)
    factor = max(1, int(min(pair[0].shape[:2]) / 256 + 0.5))
    planes = [_shrink(levels(pixels), factor) @ _LHM.T for pixels in pair]
    (gray_r, gray_i), (color_r, color_i) = ([p[..., 0] for p in planes], [p[..., 1:] for p in planes])
    gradients = [_gradient(plane, "constant") for plane in (gray_r, gray_i, (gray_r + gray_i) / 2)]
    gradient_r, gradient_i, gradient_both = gradients
    structure = (
        _similarity(gradient_r, gradient_i, _MDSI_C1)
        + _similarity(gradient_i, gradient_both, _MDSI_C2)
        - _similarity(gradient_r, gradient_both, _MDSI_C2)
    )
    products, squares = (color_r * color_i).sum(axis=2), (color_r**2 + color_i**2).sum(axis=2)
    color = (2 * products + _MDSI_C3) / (squares + _MDSI_C3)
    # Where it is negative, its root is complex.
    similarity = (_MDSI_GRADIENTS * structure + (1 - _MDSI_GRADIENTS) * color).astype(complex) ** _MDSI_POWER
    return float(np.abs(similarity - similarity.mean()).mean() ** _MDSI_POWER)


def gradient_similarity(reference, image, mode):
    """Similarity of gradient magnitudes.

    Gradients are those of Prewitt, divided by 3.

    Parameters
    ----------
    reference, image : ndarray of float64, shape (height, width)
        Gray levels.
    mode : str or tuple of str
        How the planes go on beyond their borders, as in `scipy.ndimage`.

    Returns
    -------
    ndarray of shape (height, width)
        1 where the two agree.

    References
    ----------
    .. [1] W. Xue, L. Zhang, X. Mou, A. C. Bovik, "Gradient Magnitude Similarity Deviation: A Highly Efficient
       Perceptual Image Quality Index", IEEE Transactions on Image Processing 23(2), 2014. Eqs. 1 to 4.
    """
    return _similarity(_gradient(reference, mode), _gradient(image, mode), _GMSD_C)


def _gradient(plane, mode):
    return np.hypot(*(ndimage.prewitt(plane, axis, mode=mode) for axis in (0, 1))) / 3


def _similarity(one, other, constant):
    return (2 * one * other + constant) / (one**2 + other**2 + constant)


def _shrink(plane, factor):
    """Means over blocks, with zeros beyond the border, where the authors' filters begin them."""
    shift = -1 if factor % 2 == 0 else 0
    means = ndimage.uniform_filter(plane, factor, mode="constant", origin=shift, axes=(0, 1))
    return means[::factor, ::factor]
