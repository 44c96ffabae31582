"""Panoramas are spheres: quality and patches that count every part of the sphere alike.

An equirectangular picture shows a parallel of latitude `lat` on as many pixels as the equator, though it is shorter
by cos(lat). Its left and right borders are one meridian, the seam: filters and patches go on beyond it.
"""

import numpy as np
from scipy import ndimage

from patchdistill.sampling import cut_patches

_LUMA = (0.299, 0.587, 0.114)
_SSIM_C1, _SSIM_C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
_GMSD_C = 170.0
_MODES = ("reflect", "wrap")


def row_latitudes(height):
    """Latitude of every pixel row's middle in radians, from north, positive, to south."""
    return np.pi * (0.5 - (np.arange(height) + 0.5) / height)


def luma(image):
    """Luma of ITU-R BT.601 in gray levels, not rounded."""
    return image @ np.array(_LUMA)


def ssim_map(reference, image):
    """Structural similarity at every pixel, with the settings of its authors.

    Windows are Gaussians of standard deviation 1.5 cut at 11 x 11 pixels; they go on across the seam and are mirrored
    at the poles, so that no border has to be left out. (Other programs mirror at all sides and average without the
    five pixels at the border.)

    Parameters
    ----------
    reference, image : ndarray of shape (height, width)
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


def _blur(plane):
    return ndimage.gaussian_filter(plane, 1.5, radius=5, mode=_MODES)


def gms_map(reference, image):
    """Similarity of gradient magnitudes, at half the resolution.

    Both planes are averaged over blocks of 2 x 2 pixels; gradients are those of Prewitt, divided by 3. Borders are
    treated as in :func:`ssim_map` (the authors' code takes zeros beyond them).

    Parameters
    ----------
    reference, image : ndarray of shape (height, width)
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
    return (2 * gradient_r * gradient_i + _GMSD_C) / (gradient_r**2 + gradient_i**2 + _GMSD_C)


def _halve(plane):
    height, width = plane.shape[0] // 2, plane.shape[1] // 2
    return plane[: 2 * height, : 2 * width].reshape(height, 2, width, 2).mean(axis=(1, 3))


def _gradient(plane):
    return np.hypot(*(ndimage.prewitt(plane, axis, mode=_MODES) for axis in (0, 1))) / 3


def weighted_mean(values):
    """Mean of a map over the sphere: a pixel counts by the cosine of its latitude."""
    return float(np.average(values.mean(axis=1), weights=np.cos(row_latitudes(len(values)))))


def spherical_labels(reference, image):
    """Two measures of what a picture lost; 1 for equal pictures, and higher is better for both.

    Parameters
    ----------
    reference, image : ndarray of uint8, shape (height, width, 3)
        The panorama and its distorted version.

    Returns
    -------
    dict of str to float
        ``ws_ssim``, the mean over the sphere of :func:`ssim_map`, and ``ws_gms``, one less the standard deviation
        over the sphere of :func:`gms_map` (GMSD, negated so that its direction is the same).
    """
    planes = luma(reference), luma(image)
    similarity = gms_map(*planes)
    deviation = np.sqrt(weighted_mean((similarity - weighted_mean(similarity)) ** 2))
    return {"ws_ssim": weighted_mean(ssim_map(*planes)), "ws_gms": float(1 - deviation)}


def latitude_positions(height, width, n_patches=180, patch_size=64):
    """Spread exactly `n_patches` square patches evenly over the sphere.

    Rows of patches lie at equally spaced latitudes, from the first to the last that a patch fits to, as far apart as
    the patches are along the equator. A row has patches in proportion to the cosine of its latitude (largest
    remainders; of equal ones the northern row's comes first), equally spaced in longitude; every second row is
    shifted by half a step.

    Parameters
    ----------
    height, width : int
        Size of the panorama in pixels.
    n_patches : int, default=180
        Number of patches.
    patch_size : int, default=64
        Side of a patch in pixels, at most the height.

    Returns
    -------
    top, left : ndarray of int, shape (n_patches,)
        Upper left pixel of each patch, row by row; a patch may reach over the seam.

    Raises
    ------
    ValueError
        If a patch does not fit into the panorama.

    Examples
    --------
    >>> top, left = latitude_positions(64, 128, n_patches=8, patch_size=16)
    >>> top
    array([ 0,  0, 24, 24, 24, 24, 48, 48])
    >>> left
    array([ 24,  88, 120,  24,  56,  88,  24,  88])
    """
    if patch_size > min(height, width):
        raise ValueError(
            f"patch_size={patch_size} does not fit into a panorama of {height} x {width} pixels (height x width). "
            "Lower patch_size."
        )
    # R rows of n / R patches on average have 2 / pi of the length of R equators: there the patches are
    # width * 2 R / (n pi) pixels apart, in height the rows height / R.
    wanted = round(np.sqrt(np.pi / 2 * n_patches * height / width))
    n_rows = int(np.clip(wanted, 1, height - patch_size + 1))
    tops = np.rint(np.linspace(0, height - patch_size, n_rows) if n_rows > 1 else [(height - patch_size) / 2])
    share = np.cos(np.pi * ((tops + patch_size / 2) / height - 0.5))
    counts = _apportion(n_patches, share)
    lefts = [_meridians(width, count, shift=row % 2 == 1) - patch_size / 2 for row, count in enumerate(counts)]
    return np.repeat(tops, counts).astype(int), np.rint(np.concatenate(lefts)).astype(int) % width


def _apportion(total, share):
    exact = total * share / share.sum()
    counts = np.floor(exact).astype(int)
    # Rounded: rows that mirror each other at the equator must not differ by the last bit.
    remainder = np.round(exact - counts, 9)
    counts[np.argsort(-remainder, kind="stable")[: total - counts.sum()]] += 1
    return counts


def _meridians(width, count, shift):
    return (np.arange(count) + (0.0 if shift else 0.5)) * width / max(count, 1)


def cut_over_seam(image, top, left, patch_size):
    """Cut patches out of a panorama; those that reach over its right border go on at the left one.

    Parameters
    ----------
    image : ndarray of shape (height, width, 3)
        The panorama.
    top, left : ndarray of int, shape (n_patches,)
        Upper left pixel of each patch.
    patch_size : int
        Side of a patch in pixels.

    Returns
    -------
    ndarray of shape (n_patches, patch_size, patch_size, 3)
        The patches.
    """
    continued = np.pad(image, ((0, 0), (0, patch_size), (0, 0)), mode="wrap")
    return cut_patches(continued, top, left, patch_size)


def directions(top, left, height, width, patch_size):
    """Where the middles of patches lie on the sphere.

    Parameters
    ----------
    top, left : ndarray of int, shape (n_patches,)
        Upper left pixel of each patch.
    height, width : int
        Size of the panorama in pixels.
    patch_size : int
        Side of a patch in pixels.

    Returns
    -------
    lat, lon : ndarray of float, shape (n_patches,)
        Degrees. Latitude is 90 at the upper border; longitude is 0 in the middle, grows to the right and lies in
        [-180, 180).
    """
    lat = 90 - 180 * (top + patch_size / 2) / height
    lon = 360 * (left + patch_size / 2) / width
    return lat, lon % 360 - 180
