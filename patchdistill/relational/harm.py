"""How much worse a version of a picture is, in one number that sees structure, color and lightness."""

import numpy as np

from patchdistill.relational.color import to_lab
from patchdistill.relational.operators.filters import gaussian

# What does as much harm as any other, and is called 1: a tenth of the structure lost, colors that are off by 25 units
# of CIELAB on average, or lightness that is off by 50.
_STRUCTURE, _COLOR, _LIGHTNESS = 0.1, 25.0, 50.0

# Stabilizes structure where there is none: a standard deviation of lightness of 10.
_CONTRAST = 10.0**2
_WINDOW, _COLOR_WINDOW, _LIGHTNESS_WINDOW = 1.5, 1.0, 2.0


def harm(image, ref):
    """Measure how much worse a version of a picture is than the picture.

    ``sqrt((S / 0.1)^2 + (C / 25)^2 + (L / 50)^2)``, all at half the resolution and in CIELAB: S is what the mean of the
    contrast and structure term of SSIM [1]_ of lightness lacks to 1, C the mean distance of colors (a*, b*) behind a
    filter of one pixel, L the mean distance of lightness behind a filter of two. Gradients alone would not see a shift
    of lightness, and lightness alone no change of color.

    Parameters
    ----------
    image, ref : ndarray of float32, shape (height, width, 3)
        The version and the picture, in [0, 1], at least 2 x 2 pixels.

    Returns
    -------
    float
        0 for equal pictures, about 1 for severe distortions.

    Notes
    -----
    The form, and the three round constants, were chosen so that the measure puts kinds of distortions in the order that
    the ratings of TID2013 [2]_ put them in; its agreement with those ratings is therefore no evidence.

    References
    ----------
    .. [1] Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli, "Image Quality Assessment: From Error Visibility to
       Structural Similarity", IEEE Transactions on Image Processing 13(4), 2004.
    .. [2] N. Ponomarenko et al., "Image database TID2013: Peculiarities, results and perspectives", Signal Processing:
       Image Communication 30, 2015.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.relational.harm import harm
    >>> ref = np.full((32, 32, 3), 0.5, dtype=np.float32)
    >>> harm(ref, ref), round(harm(ref + np.float32(0.1), ref), 2)
    (0.0, 0.2)
    """
    # Single precision is not enough for variances next to large means.
    image, ref = (_halve(to_lab(picture.astype(np.float64))) for picture in (image, ref))
    change = image - ref
    color = np.hypot(*np.moveaxis(gaussian(change[..., 1:], _COLOR_WINDOW), -1, 0)).mean()
    lightness = np.abs(gaussian(change[..., 0], _LIGHTNESS_WINDOW)).mean()
    structure = 1 - _structure(image[..., 0], ref[..., 0]).mean()
    return float(np.hypot(np.hypot(structure / _STRUCTURE, color / _COLOR), lightness / _LIGHTNESS))


def _structure(x, y):
    """Contrast and structure term of SSIM; the luminance term is what `lightness` sees."""
    mean_x, mean_y = gaussian(x, _WINDOW), gaussian(y, _WINDOW)
    # In this order, twice the covariance of a picture with itself is the sum of the variances to the last bit.
    variances = (gaussian(x * x, _WINDOW) - mean_x**2) + (gaussian(y * y, _WINDOW) - mean_y**2)
    covariance = gaussian(x * y, _WINDOW) - mean_x * mean_y
    return (2 * covariance + _CONTRAST) / (variances + _CONTRAST)


def _halve(planes):
    height, width = planes.shape[0] // 2, planes.shape[1] // 2
    return planes[: 2 * height, : 2 * width].reshape(height, 2, width, 2, -1).mean(axis=(1, 3))
