"""Maps of a picture: color planes, coarser scales, normalized contrast, gradients.

Every map has a leading axis: one picture is ``(1, height, width)``, a pool of patches ``(n_patches, height, width)``,
and no filter ever crosses that axis. Planes are float32 in gray levels, 1/255 of the full range.
"""

import numpy as np
from scipy import ndimage

from patchdistill.images import LUMA

# The window of Mittal, Moorthy and Bovik (2012): 7 taps of a Gaussian with sigma 7/6.
_LOCAL_WINDOW = np.exp(-0.5 * (np.arange(-3, 4) / (7 / 6)) ** 2)
_LOCAL_WINDOW /= _LOCAL_WINDOW.sum()

# One gray level: contrast below the step of 8-bit pictures is rounding, not structure. Planes being in gray levels,
# this is the C = 1 of Mittal et al. for pictures in [0, 255] (1/255 for pictures in [0, 1]).
GRAY_LEVEL = 1.0

_MIDDLE_GRAY = 128.0


def color_planes(pixels):
    """Split color pixels into luma and two opponent colors.

    Luma is that of ITU-R BT.601 less 128; the opponent colors are ``(R - G) / sqrt(2)`` and
    ``(R + G - 2 B) / sqrt(6)``, scaled so that equal noise in R, G and B is equally strong in both.

    Parameters
    ----------
    pixels : ndarray of shape (n, height, width, 3)
        uint8, or float in [0, 1].

    Returns
    -------
    dict of str to ndarray of float32, shape (n, height, width)
        Planes ``luma``, ``redgreen`` and ``yellowblue`` in gray levels.

    Examples
    --------
    >>> {name: float(plane[0, 0, 0].round(1)) for name, plane in color_planes(np.full((1, 1, 1, 3), 1.0)).items()}
    {'luma': 127.0, 'redgreen': 0.0, 'yellowblue': 0.0}
    """
    if pixels.dtype == np.uint8:
        red, green, blue = (pixels[..., c].astype(np.float32) for c in range(3))
    else:
        # Scaled in float64 and rounded once: k / 255 gives exactly the plane of uint8 k.
        red, green, blue = (np.multiply(pixels[..., c], 255, dtype=np.float64).astype(np.float32) for c in range(3))
    weights = np.array(LUMA, dtype=np.float32)
    # Without 128, squares are four times smaller, and so is what float32 loses in mean(x^2) - mean(x)^2.
    luma = weights[0] * red + weights[1] * green + weights[2] * blue - np.float32(_MIDDLE_GRAY)
    return {
        "luma": luma,
        "redgreen": (red - green) * np.float32(1 / np.sqrt(2)),
        "yellowblue": (red + green - 2 * blue) * np.float32(1 / np.sqrt(6)),
    }


def halve(plane):
    """Low-pass with the binomial filter (1, 3, 3, 1) / 8 and keep every second sample.

    An even filter puts sample ``k`` in the middle of pixels ``2 k`` and ``2 k + 1``, so a window on the coarse plane
    is exactly half of that on the fine one. Borders are mirrored; an odd side is rounded up.

    Parameters
    ----------
    plane : ndarray of shape (n, height, width)
        A plane.

    Returns
    -------
    ndarray of float32, shape (n, ceil(height / 2), ceil(width / 2))
        The coarser plane.

    Examples
    --------
    >>> halve(np.ones((1, 5, 8), dtype=np.float32)).shape
    (1, 3, 4)
    """
    for axis in (1, 2):
        padding = [(0, 0)] * 3
        padding[axis] = (1, 1 + plane.shape[axis] % 2)
        padded = np.moveaxis(np.pad(plane, padding, mode="symmetric"), axis, 0)
        half = -(-plane.shape[axis] // 2)
        coarse = padded[1::2][:half] + padded[2::2][:half]
        coarse *= np.float32(3)
        coarse += padded[0::2][:half]
        coarse += padded[3::2][:half]
        coarse *= np.float32(1 / 8)
        plane = np.moveaxis(coarse, 0, axis)
    return np.ascontiguousarray(plane)


def normalize_contrast(plane):
    """Local contrast, and mean-subtracted contrast-normalized (MSCN) coefficients.

    Parameters
    ----------
    plane : ndarray of float32, shape (n, height, width)
        A plane in gray levels.

    Returns
    -------
    mscn : ndarray of float32, shape (n, height, width)
        ``(x - mu) / (sigma + 1)`` with `mu` and `sigma` the mean and standard deviation under a 7 x 7 Gaussian of
        standard deviation 7/6, borders mirrored.
    sigma : ndarray of float32, shape (n, height, width)
        Local contrast in gray levels.

    Examples
    --------
    >>> step = np.repeat(np.float32([[[0.0, 9.0]]]), 8, axis=2).repeat(8, axis=1)
    >>> mscn, sigma = normalize_contrast(step)
    >>> sigma[0, 4, [1, 7, 8]].round(1)
    array([0. , 4.2, 4.2], dtype=float32)

    References
    ----------
    A. Mittal, A. K. Moorthy, A. C. Bovik, "No-Reference Image Quality Assessment in the Spatial Domain",
    IEEE Transactions on Image Processing 21(12), 2012.
    """
    mean = _local_mean(plane)
    sigma = _local_mean(plane * plane)
    sigma -= mean * mean
    np.maximum(sigma, 0, out=sigma)
    np.sqrt(sigma, out=sigma)
    mscn = np.subtract(plane, mean, out=mean)
    mscn /= sigma + np.float32(GRAY_LEVEL)
    return mscn, sigma


def _local_mean(plane):
    across = ndimage.correlate1d(plane, _LOCAL_WINDOW, axis=2, mode="reflect")
    return ndimage.correlate1d(across, _LOCAL_WINDOW, axis=1, mode="reflect")


def gradient_magnitude(plane):
    """Gradient of every 2 x 2 block of pixels from its two diagonals (Roberts cross).

    No pixel outside a window enters the gradients inside it, and a step of one gray level along an axis has
    magnitude one.

    Parameters
    ----------
    plane : ndarray of shape (n, height, width)
        A plane.

    Returns
    -------
    ndarray of shape (n, height - 1, width - 1)
        Gray levels per pixel.

    Examples
    --------
    >>> gradient_magnitude(np.array([[[0.0, 0.0, 8.0], [0.0, 0.0, 8.0]]]))
    array([[[0., 8.]]])
    """
    falling = plane[:, 1:, 1:] - plane[:, :-1, :-1]
    rising = plane[:, 1:, :-1] - plane[:, :-1, 1:]
    falling *= falling
    rising *= rising
    falling += rising
    falling *= np.float32(0.5)
    return np.sqrt(falling, out=falling)
