"""Optics: blur, sharpening, motion, and the filters they are made of.

Borders are mirrored. A panorama goes on across its seam; on the "sphere", Gaussians are as wide there as on the
equator, so that flat views of it show one and the same blur everywhere.
"""

from functools import cache

import numpy as np
from scipy import fft, ndimage

GEOMETRIES = ("flat", "panorama", "sphere")

# Of the widest kernel: where the strength varies, pictures of these are interpolated.
_FRACTIONS = (0.125, 0.25, 0.5, 1.0)

_BLUR, _UNSHARP_SIGMA, _UNSHARP_AMOUNT = 3.0, 1.2, 2.5
_MOTION = 14.0


def gaussian(image, sigma, geometry="flat"):
    """Filter with a Gaussian.

    Parameters
    ----------
    image : ndarray of float32, shape (height, width) or (height, width, n_planes)
        The picture.
    sigma : float
        Standard deviation in pixels; on the sphere in those of the equator.
    geometry : {"flat", "panorama", "sphere"}, default="flat"
        See above.

    Returns
    -------
    ndarray
        As the picture.
    """
    if geometry == "sphere":
        rows = ndimage.gaussian_filter1d(image, sigma, axis=0, mode="reflect", truncate=3.5)
        return filter_rows(rows, np.full(len(image), sigma))
    modes = ("reflect", "wrap" if geometry == "panorama" else "reflect")
    for axis, mode in enumerate(modes):
        image = ndimage.gaussian_filter1d(image, sigma, axis=axis, mode=mode, truncate=3.5)
    return image


def filter_rows(image, sigma):
    """Filter rows of a panorama with Gaussians that are as wide on the sphere as on the equator.

    Parameters
    ----------
    image : ndarray of float32, shape (height, width) or (height, width, n_planes)
        An equirectangular picture.
    sigma : ndarray of shape (height,)
        Standard deviation in pixels of the equator.

    Returns
    -------
    ndarray
        As the picture.
    """
    height, width = image.shape[:2]
    transfer = np.exp(-2 * (np.pi * fft.rfftfreq(width) * (sigma / row_scale(height))[:, None]) ** 2)
    transfer = transfer.astype(image.dtype).reshape(*transfer.shape, *(1,) * (image.ndim - 2))
    return fft.irfft(fft.rfft(image, axis=1) * transfer, width, axis=1)


def row_scale(height):
    """Give the length of each parallel of an equirectangular picture, that of the equator being 1.

    Parameters
    ----------
    height : int
        Number of rows.

    Returns
    -------
    ndarray of shape (height,)
        Cosine of the latitude of the centers of its pixels.
    """
    return np.cos(np.pi * (0.5 - (np.arange(height) + 0.5) / height))


def interpolate(at, strength, highest):
    """Put together a picture whose strength varies from those of a few fixed strengths.

    Half of the weight on a blurred picture is not half of a blur: the neighboring strengths have to be close.

    Parameters
    ----------
    at : callable
        Gives the picture, shape (height, width, 3), of a strength.
    strength : float or ndarray of shape (height, width)
        At least 0.
    highest : float
        Largest strength there is.

    Returns
    -------
    ndarray of shape (height, width, 3)
        `at` of the strength itself if it is one number.
    """
    if np.ndim(strength) == 0:
        return at(float(strength))
    knots = highest * np.array((0.0, *_FRACTIONS))
    place = np.interp(strength, knots, np.arange(len(knots)))
    result = 0
    for i in np.unique(np.concatenate([np.floor(place), np.ceil(place)])).astype(int):
        weight = np.maximum(1 - np.abs(place - i), 0).astype(np.float32)
        result = result + weight[..., None] * at(knots[i])
    return result


def sharpness(image, strength, rng=None, geometry="flat"):
    """Blur, or sharpen by an unsharp mask.

    Parameters
    ----------
    image : ndarray of float32, shape (height, width, 3)
        In [0, 1].
    strength : float or ndarray of shape (height, width)
        Below 0 a Gaussian blur of standard deviation 3 abs(strength) pixels; above 0 what a blur of 1.2 pixels takes
        away is added 2.5 strength times.
    rng : None
        Nothing is drawn.
    geometry : {"flat", "panorama", "sphere"}, default="flat"
        How the borders meet.

    Returns
    -------
    ndarray of float32, shape (height, width, 3)
        Not clipped.
    """
    blurred = np.maximum(-strength, 0)
    result = image
    if np.any(blurred):
        result = interpolate(
            lambda s: gaussian(image, _BLUR * s, geometry) if s else image, blurred, float(np.max(blurred))
        )
    amount = np.maximum(strength, 0)
    if np.any(amount):
        detail = image - gaussian(image, _UNSHARP_SIGMA, geometry)
        result = result + np.float32(_UNSHARP_AMOUNT) * per_pixel(amount) * detail
    return result


def motion_blur(image, strength, rng, geometry="flat"):
    """Blur along a line, as a camera that moves.

    Parameters
    ----------
    image : ndarray of float32, shape (height, width, 3)
        In [0, 1].
    strength : float or ndarray of shape (height, width)
        From 0 on; the line is 14 strength pixels long.
    rng : Generator
        Draws its direction.
    geometry : {"flat", "panorama", "sphere"}, default="flat"
        How the borders meet; the line has so many pixels everywhere.

    Returns
    -------
    ndarray of float32, shape (height, width, 3)
        Not clipped.
    """
    angle = rng.uniform(0, np.pi)
    columns = "symmetric" if geometry == "flat" else "wrap"

    def at(s):
        if not s:
            return image
        kernel = line_kernel(_MOTION * s, angle)
        pad = len(kernel) // 2
        padded = np.pad(image, ((pad, pad), (0, 0), (0, 0)), mode="symmetric")
        padded = np.pad(padded, ((0, 0), (pad, pad), (0, 0)), mode=columns)
        rows, cols = np.nonzero(kernel)
        height, width = image.shape[:2]
        result = np.zeros_like(image)
        for row, col in zip(rows, cols, strict=True):
            result += kernel[row, col] * padded[row : row + height, col : col + width]
        return result

    return interpolate(at, strength, float(np.max(strength))) if np.any(strength) else image


def noise_gain(channel, strength):
    """Tell which part of the standard deviation of white noise a filter leaves.

    Parameters
    ----------
    channel : {"sharpness", "motion blur"}
        Which filter.
    strength : float or ndarray
        Its strength.

    Returns
    -------
    float or ndarray
        The norm of the kernel; for motion that of one direction, which is within a few percent of that of others.
    """
    return np.interp(strength, *_noise_gains(channel))


@cache
def _noise_gains(channel):
    operator, lowest = {"sharpness": (sharpness, -1), "motion blur": (motion_blur, 0)}[channel]
    impulse = np.zeros((41, 41, 1), dtype=np.float32)
    impulse[20, 20] = 1
    strengths = np.linspace(lowest, 1, 81)
    return strengths, [np.linalg.norm(operator(impulse, s, np.random.default_rng(0))) for s in strengths]


def line_kernel(length, angle):
    """Make the point spread function of a straight motion.

    Parameters
    ----------
    length : float
        In pixels.
    angle : float
        Direction in radians, from a row upwards.

    Returns
    -------
    ndarray of float32, shape (n, n)
        n is odd; the sum is 1. A length of 0 is a single pixel.
    """
    radius = int(np.ceil(length / 2)) + 1
    steps = np.linspace(-0.5, 0.5, 8 * radius + 1) * length
    rows, cols = radius - steps * np.sin(angle), radius + steps * np.cos(angle)
    kernel = np.zeros((2 * radius + 1, 2 * radius + 1))
    for corner_row in (0, 1):
        for corner_col in (0, 1):
            row, col = np.floor(rows).astype(int) + corner_row, np.floor(cols).astype(int) + corner_col
            weight = np.maximum(1 - abs(rows - row), 0) * np.maximum(1 - abs(cols - col), 0)
            inside = weight > 0
            np.add.at(kernel, (row[inside], col[inside]), weight[inside])
    return (kernel / kernel.sum()).astype(np.float32)


def per_pixel(strength):
    """Give a strength an axis for the planes of a picture.

    Parameters
    ----------
    strength : float or ndarray of shape (height, width)
        One for all pixels, or one for each.

    Returns
    -------
    ndarray of float32, shape (1,) or (height, width, 1)
        To multiply a picture with.
    """
    return np.asarray(strength, dtype=np.float32)[..., None]
