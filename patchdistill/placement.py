"""Where patches lie on a flat picture: on an even grid, or at random; exactly as many as asked for."""

import numpy as np
from sklearn.utils import check_random_state

# A grid whose steps differ by more than this factor down and across is given up for rows of unequal length.
_MAX_ELONGATION = 2.0


def grid_positions(height, width, n_patches, patch_size):
    """Spread exactly `n_patches` square patches evenly over a picture.

    The patches lie on a grid of rows and columns whose product is `n_patches` and whose steps down and across are as
    equal as possible. Where every such grid has steps that differ by more than a factor of two (a prime number of
    patches, say), the rows differ in length by one patch instead. Patches reach from edge to edge and overlap where
    they must; no two coincide while there are `n_patches` places.

    Parameters
    ----------
    height, width : int
        Size of the picture in pixels.
    n_patches : int
        Number of patches, at least 1.
    patch_size : int
        Side of a patch in pixels, at most the smaller side of the picture.

    Returns
    -------
    top, left : ndarray of int, shape (n_patches,)
        Upper left pixel of each patch, row by row.

    Raises
    ------
    ValueError
        If a patch does not fit into the picture, or `n_patches` or `patch_size` is below 1.

    Examples
    --------
    >>> top, left = grid_positions(100, 200, 6, 20)
    >>> top
    array([ 0,  0,  0, 80, 80, 80])
    >>> left
    array([  0,  90, 180,   0,  90, 180])
    """
    free_down, free_across = _room(height, width, n_patches, patch_size)
    rows = _n_rows(free_down, free_across, n_patches)
    # Row i gets the patches between two roundings of i * n / rows, so that longer rows are spread among shorter ones.
    bounds = np.arange(rows + 1) * n_patches // rows
    counts = np.diff(bounds)
    top = np.repeat(_spread(free_down, rows), counts)
    left = np.concatenate([_spread(free_across, count) for count in counts])
    return top, left


def random_positions(height, width, n_patches, patch_size, random_state=None):
    """Draw the places of square patches on a picture, all places being equally likely.

    Parameters
    ----------
    height, width : int
        Size of the picture in pixels.
    n_patches : int
        Number of patches, at least 1.
    patch_size : int
        Side of a patch in pixels, at most the smaller side of the picture.
    random_state : int, RandomState instance or None, default=None
        Seed.

    Returns
    -------
    top, left : ndarray of int, shape (n_patches,)
        Upper left pixel of each patch, drawn independently: patches may overlap, and on a small picture coincide.

    Raises
    ------
    ValueError
        As :func:`grid_positions`.

    Examples
    --------
    >>> random_positions(100, 200, 4, 20, random_state=0)
    (array([44, 47, 64, 67]), array([103,   9,  21,  36]))
    """
    free_down, free_across = _room(height, width, n_patches, patch_size)
    rng = check_random_state(random_state)
    return rng.randint(free_down + 1, size=n_patches), rng.randint(free_across + 1, size=n_patches)


def _room(height, width, n_patches, patch_size):
    """How far a patch can be moved down and across."""
    if n_patches < 1 or patch_size < 1:
        raise ValueError(f"n_patches and patch_size must be at least 1; got {n_patches} and {patch_size}.")
    if patch_size > min(height, width):
        raise ValueError(
            f"patch_size={patch_size} does not fit into a picture of {height} x {width} pixels (height x width). "
            "Lower patch_size, or leave the picture out."
        )
    return height - patch_size, width - patch_size


def _n_rows(free_down, free_across, n_patches):
    rows = np.arange(1, n_patches + 1)
    distinct = (rows <= free_down + 1) & (-(-n_patches // rows) <= free_across + 1)
    if distinct.any():
        rows = rows[distinct]
    elongation = np.abs(np.log(_step(free_down, rows) / _step(free_across, n_patches / rows)))
    exact = n_patches % rows == 0
    if exact.any() and elongation[exact].min() <= np.log(_MAX_ELONGATION):
        rows, elongation = rows[exact], elongation[exact]
    return int(rows[elongation.argmin()])


def _step(free, count):
    # One patch in the middle counts as two at the edges; the half pixel keeps a side without freedom above zero.
    return (free + 0.5) / np.maximum(count - 1, 1)


def _spread(free, count):
    return np.round(np.linspace(0, free, count) if count > 1 else [free / 2]).astype(int)


def cut_patches(image, top, left, patch_size):
    """Cut square patches out of a picture.

    Parameters
    ----------
    image : ndarray of shape (height, width, 3)
        The picture.
    top, left : array-like of int, shape (n_patches,)
        Upper left pixel of each patch.
    patch_size : int
        Side of a patch in pixels.

    Returns
    -------
    ndarray of shape (n_patches, patch_size, patch_size, 3)
        The patches, in the dtype of `image`.

    Examples
    --------
    >>> cut_patches(np.zeros((8, 8, 3)), [0, 4], [0, 4], 4).shape
    (2, 4, 4, 3)
    """
    span = np.arange(patch_size)
    return image[np.add.outer(top, span)[:, :, None], np.add.outer(left, span)[:, None, :]]
