"""Where patches lie on the sphere, and where crops of an equirectangular picture lie in it."""

import numpy as np
from sklearn.utils import check_random_state

from patchdistill.panorama.sphere import to_pixels, wrap_lon

# Degrees between neighbors of the spiral: a full turn cut in the golden ratio.
_GOLDEN_ANGLE = 180 * (3 - np.sqrt(5))


def latitude_positions(height, width, n_patches=180, patch_size=64):
    """Spread exactly `n_patches` square crops of a panorama, in proportion to the cosine of the latitude.

    Rows of crops lie at equally spaced latitudes, from the first to the last that a crop fits to, as far apart as
    the crops are along the equator. A row has crops in proportion to the cosine of its latitude (largest remainders;
    of equal ones the northern row's comes first), equally spaced in longitude; every second row is shifted by half a
    step. So the crops per area of the picture follow the cosine, and those per area of the sphere are equally many.

    Parameters
    ----------
    height, width : int
        Size of the panorama in pixels.
    n_patches : int, default=180
        Number of crops.
    patch_size : int, default=64
        Side of a crop in pixels, at most the height.

    Returns
    -------
    top, left : ndarray of int, shape (n_patches,)
        Upper left pixel of each crop, row by row; a crop may reach over the seam.

    Raises
    ------
    ValueError
        If a crop does not fit into the panorama, or `n_patches` or `patch_size` is below 1.

    See Also
    --------
    crop_centers : The directions of the crops.

    Examples
    --------
    >>> from patchdistill.panorama import latitude_positions
    >>> top, left = latitude_positions(64, 128, n_patches=8, patch_size=16)
    >>> top
    array([ 0,  0, 24, 24, 24, 24, 48, 48])
    >>> left
    array([ 24,  88, 120,  24,  56,  88,  24,  88])
    """
    if n_patches < 1 or patch_size < 1:
        raise ValueError(f"n_patches and patch_size must be at least 1; got {n_patches} and {patch_size}.")
    _check_fit(height, width, patch_size)
    # R rows of n / R crops on average have 2 / pi of the length of R equators: there the crops are width * 2 R / (n pi)
    # pixels apart, in height the rows height / R.
    wanted = round(np.sqrt(np.pi / 2 * n_patches * height / width))
    n_rows = int(np.clip(wanted, 1, height - patch_size + 1))
    tops = np.rint(np.linspace(0, height - patch_size, n_rows) if n_rows > 1 else [(height - patch_size) / 2])
    share = np.cos(np.pi * ((tops + patch_size / 2) / height - 0.5))
    counts = _apportion(n_patches, share)
    lefts = [_meridians(width, count, shift=row % 2 == 1) - patch_size / 2 for row, count in enumerate(counts)]
    return np.repeat(tops, counts).astype(int), np.rint(np.concatenate(lefts)).astype(int) % width


def _check_fit(height, width, patch_size):
    if patch_size > min(height, width):
        raise ValueError(
            f"patch_size={patch_size} does not fit into a panorama of {height} x {width} pixels (height x width). "
            "Lower patch_size."
        )


def _apportion(total, share):
    exact = total * share / share.sum()
    counts = np.floor(exact).astype(int)
    # Rounded: rows that mirror each other at the equator must not differ by the last bit.
    remainder = np.round(exact - counts, 9)
    counts[np.argsort(-remainder, kind="stable")[: total - counts.sum()]] += 1
    return counts


def _meridians(width, count, shift):
    return (np.arange(count) + (0.0 if shift else 0.5)) * width / max(count, 1)


def fibonacci_directions(n_patches):
    """Spread directions over the sphere on a golden-angle spiral.

    Direction ``i`` lies at the middle of the ``i``-th of `n_patches` zones of equal area, from north to south, and a
    golden angle (137.5 degrees) further round than the one before.

    Parameters
    ----------
    n_patches : int
        Number of directions.

    Returns
    -------
    lon, lat : ndarray of float64, shape (n_patches,)
        Degrees: longitude in [-180, 180), latitude in (-90, 90).

    References
    ----------
    .. [1] A. Gonzalez, "Measurement of Areas on a Sphere Using Fibonacci and Latitude-Longitude Lattices",
       Mathematical Geosciences 42, 2010.

    Examples
    --------
    >>> from patchdistill.panorama import fibonacci_directions
    >>> lon, lat = fibonacci_directions(3)
    >>> lon.round(1), lat.round(1)
    (array([  0. , 137.5, -85. ]), array([ 41.8,   0. , -41.8]))
    """
    i = np.arange(n_patches)
    return wrap_lon(i * _GOLDEN_ANGLE), np.rad2deg(np.arcsin(1 - (2 * i + 1) / n_patches))


def random_directions(n_patches, random_state=None):
    """Draw directions, all being equally likely.

    Parameters
    ----------
    n_patches : int
        Number of directions.
    random_state : int, RandomState instance or None, default=None
        Seed.

    Returns
    -------
    lon, lat : ndarray of float64, shape (n_patches,)
        Degrees: longitude in [-180, 180), latitude in [-90, 90].

    Examples
    --------
    >>> from patchdistill.panorama import random_directions
    >>> lon, lat = random_directions(3, random_state=0)
    >>> lon.round(1), lat.round(1)
    (array([17.6, 77.5, 37. ]), array([ 5.2, -8.8, 17. ]))
    """
    rng = check_random_state(random_state)
    # Archimedes: zones of equal height have equal areas.
    return rng.uniform(-180, 180, n_patches), np.rad2deg(np.arcsin(rng.uniform(-1, 1, n_patches)))


def crop_positions(lon, lat, height, width, patch_size):
    """Find the crops of a panorama whose centers come closest to directions.

    Parameters
    ----------
    lon, lat : array-like of shape (n_patches,)
        Degrees.
    height, width : int
        Size of the panorama in pixels.
    patch_size : int
        Side of a crop in pixels, at most the height.

    Returns
    -------
    top, left : ndarray of int, shape (n_patches,)
        Upper left pixel of each crop. A crop may reach over the seam; one that would reach over a pole is moved
        towards the equator until it fits, so that its center is another one: see :func:`crop_centers`.

    Raises
    ------
    ValueError
        If a crop does not fit into the panorama, or an entry is no direction.

    Examples
    --------
    >>> from patchdistill.panorama import crop_positions
    >>> crop_positions(lon=[0, 178, 0], lat=[0, 0, 90], height=64, width=128, patch_size=16)
    (array([24, 24,  0]), array([ 56, 119,  56]))
    """
    _check_fit(height, width, patch_size)
    row, column = to_pixels(lon, lat, height, width)
    to_corner = (patch_size - 1) / 2
    top = np.clip(np.rint(row - to_corner), 0, height - patch_size)
    return top.astype(int), np.rint(column - to_corner).astype(int) % width


def crop_centers(top, left, height, width, patch_size):
    """Find the directions of the middles of crops of a panorama.

    Parameters
    ----------
    top, left : ndarray of int, shape (n_patches,)
        Upper left pixel of each crop.
    height, width : int
        Size of the panorama in pixels.
    patch_size : int
        Side of a crop in pixels.

    Returns
    -------
    lon, lat : ndarray of float64, shape (n_patches,)
        Degrees: longitude in [-180, 180), latitude in [-90, 90].

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.panorama import crop_centers
    >>> crop_centers(np.array([24, 0]), np.array([56, 120]), height=64, width=128, patch_size=16)
    (array([   0., -180.]), array([ 0. , 67.5]))
    """
    lat = 90 - 180 * (top + patch_size / 2) / height
    lon = 360 * (left + patch_size / 2) / width
    return lon % 360 - 180, lat


def cut_over_seam(image, top, left, patch_size):
    """Cut crops out of a panorama; those that reach over its right border go on at the left one.

    Parameters
    ----------
    image : ndarray of shape (height, width, 3)
        The panorama.
    top, left : ndarray of int, shape (n_patches,)
        Upper left pixel of each crop.
    patch_size : int
        Side of a crop in pixels.

    Returns
    -------
    ndarray of shape (n_patches, patch_size, patch_size, 3)
        The crops, in the dtype of `image`.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.panorama import cut_over_seam
    >>> image = np.zeros((8, 16, 3)) + np.arange(16)[:, None]
    >>> cut_over_seam(image, top=[2], left=[14], patch_size=4)[0, 0, :, 0]
    array([14., 15.,  0.,  1.])
    """
    span = np.arange(patch_size)
    columns = np.add.outer(left, span) % image.shape[1]
    return image[np.add.outer(top, span)[:, :, None], columns[:, None, :]]
