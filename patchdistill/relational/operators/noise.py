"""The sensor: noise."""

import numpy as np

from patchdistill.relational.color import from_ycbcr
from patchdistill.relational.operators.filters import filter_rows, per_pixel, row_scale

_DEVIATION = 0.12

# A grain on the sphere, in pixels of the equator. White noise behind a Gaussian of 1 / (2 sqrt(pi)) = 0.28 has as much
# power at low frequencies as white noise of these pixels; slightly more makes up for parallels that are hardly shorter.
_GRAIN = 0.3


def noise(image, strength, rng, geometry="flat"):
    """Add white Gaussian noise to red, green and blue.

    Parameters
    ----------
    image : ndarray of float32, shape (height, width, 3)
        In [0, 1].
    strength : float or ndarray of shape (height, width)
        From 0 on; the standard deviation is 0.12 strength.
    rng : Generator
        Draws the noise.
    geometry : {"flat", "panorama", "sphere"}, default="flat"
        On the sphere the grain is as wide there as on the equator.

    Returns
    -------
    ndarray of float32, shape (height, width, 3)
        Not clipped.
    """
    return image + _DEVIATION * per_pixel(strength) * _grain(image.shape, rng, geometry)


def chroma_noise(image, strength, rng, geometry="flat"):
    """Add white Gaussian noise to both color differences; luma stays.

    Parameters
    ----------
    image : ndarray of float32, shape (height, width, 3)
        In [0, 1].
    strength : float or ndarray of shape (height, width)
        From 0 on; the standard deviation is 0.12 strength.
    rng : Generator
        Draws the noise.
    geometry : {"flat", "panorama", "sphere"}, default="flat"
        As for :func:`noise`.

    Returns
    -------
    ndarray of float32, shape (height, width, 3)
        Not clipped.
    """
    planes = _grain(image.shape, rng, geometry)
    planes[..., 0] = 0
    return image + _DEVIATION * per_pixel(strength) * from_ycbcr(planes)


def shot_noise(image, strength, rng, geometry="flat"):
    """Count photons.

    Parameters
    ----------
    image : ndarray of float32, shape (height, width, 3)
        In [0, 1].
    strength : float or ndarray of shape (height, width)
        From 0 on; counts are Poisson, and their standard deviation is 0.12 strength where the picture is 1. Below the
        precision of the picture nothing is done.
    rng : Generator
        Draws the counts.
    geometry : str, default="flat"
        Not used: each pixel counts for itself.

    Returns
    -------
    ndarray of float32, shape (height, width, 3)
        Not clipped.
    """
    unit = (_DEVIATION * np.asarray(strength, dtype=np.float64)[..., None]) ** 2
    seen = unit > np.finfo(np.float32).eps ** 2
    unit = np.where(seen, unit, 1)
    counts = rng.poisson(np.clip(image, 0, None) / unit)
    return np.where(seen, counts * unit, image).astype(np.float32)


def _grain(shape, rng, geometry):
    grain = rng.standard_normal(shape, dtype=np.float32)
    if geometry != "sphere":
        return grain
    scale = row_scale(shape[0])
    sigma = _GRAIN * np.sqrt(1 - scale**2)
    smooth = filter_rows(grain, sigma)
    kernel = filter_rows(np.eye(1, shape[1], dtype=np.float32).repeat(shape[0], axis=0), sigma)
    return smooth / np.linalg.norm(kernel, axis=1)[:, None, None]
