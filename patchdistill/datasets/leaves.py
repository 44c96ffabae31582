"""Flat synthetic pictures: dead leaves in the plane."""

import numbers

import numpy as np
from sklearn.utils import check_random_state

from patchdistill.datasets.synthetic import LARGEST, N_LEAVES, draw_radii, paint_leaves

# As many leaves on a unit of area as on the sphere.
_DENSITY = N_LEAVES / (4 * np.pi)

# The picture is a plane in space, with texture and light as on the sphere. It is slanted, since the lattices of the
# texture repeat along their axes. Down and to the right:
_PLANE = np.array([[2.0, -1.0, 2.0], [2.0, 2.0, -1.0]]) / 3


def dead_leaves(height, width=None, *, palette=None, random_state=0):
    """Make a picture of nothing: round leaves of many sizes that cover each other.

    Dead leaves share with photographs what models of quality rely on: edges at all scales, a power spectrum that falls
    with about the square of the frequency, and gradients with heavy tails. Each leaf is a disc with its own color,
    shading and texture.

    Parameters
    ----------
    height : int
        Height in pixels, at least 1.
    width : int, default=None
        Width in pixels, at least 1; as the height by default.
    palette : array-like of shape (n_colors, 3), default=None
        RGB colors in [0, 1] of which each leaf takes one, with a small spread (a standard deviation of 0.07 in each
        channel). By default leaves are of any brightness and little saturated.
    random_state : int, RandomState instance or None, default=0
        Draws the leaves.

    Returns
    -------
    ndarray of uint8, shape (height, width, 3)
        The picture. Radii go from 1/50 of its shorter side to the whole of it, so a picture is the same at every size
        of one shape. Every pixel lies on a leaf.

    Raises
    ------
    ValueError
        If a side is no positive int, or `palette` holds no colors in [0, 1].

    See Also
    --------
    make_panoramas : The same on the sphere.
    make_semantic_confound : A rated data set of such pictures.

    References
    ----------
    A. B. Lee, D. Mumford and J. Huang, "Occlusion models for natural images: A statistical study of a scale-invariant
    dead leaves model", IJCV 2001.

    Examples
    --------
    >>> dead_leaves(48, 64).shape
    (48, 64, 3)
    >>> forest = dead_leaves(64, palette=[[0.1, 0.4, 0.1], [0.3, 0.5, 0.2]])
    >>> int(forest.mean(axis=(0, 1)).argmax())
    1
    """
    width = height if width is None else width
    if not all(isinstance(side, numbers.Integral) and side >= 1 for side in (height, width)):
        raise ValueError(f"height and width must be ints of at least 1; got {height!r} and {width!r}.")
    palette = None if palette is None else _check_palette(palette)
    rng = check_random_state(random_state)

    unit = min(height, width)
    size = np.array([height, width]) / unit
    # Leaves whose center lies outside reach into the picture as well.
    n_leaves = round(_DENSITY * np.prod(size + 2 * LARGEST))
    center = rng.uniform(-LARGEST, size + LARGEST, (n_leaves, 2))
    radius = draw_radii(n_leaves, rng)
    radius[-1] = np.inf  # so that nothing stays empty
    leaf = front_discs(unit * center, unit * radius, height, width)
    pixels = np.stack(np.meshgrid(np.arange(height) + 0.5, np.arange(width) + 0.5, indexing="ij"), axis=-1) / unit
    return paint_leaves(leaf, (pixels @ _PLANE).astype(np.float32), center @ _PLANE, rng, palette)


def front_discs(center, radius, height, width):
    """Tell which disc is seen at each pixel.

    Parameters
    ----------
    center : ndarray of shape (n_discs, 2)
        Row and column of the centers in pixels; the upper left pixel has its center at (0.5, 0.5).
    radius : ndarray of shape (n_discs,)
        In pixels. The first disc lies in front of all others.
    height, width : int
        Size of the picture in pixels.

    Returns
    -------
    ndarray of int, shape (height, width)
        Index of the foremost disc over each pixel center, -1 where there is none.

    Examples
    --------
    >>> front_discs(np.array([[1.0, 2.0]]), np.array([1.0]), 3, 4)
    array([[-1,  0,  0, -1],
           [-1,  0,  0, -1],
           [-1, -1, -1, -1]])
    """
    disc, row = _expand(center[:, 0] - radius, center[:, 0] + radius, height)
    half = np.sqrt(np.maximum(radius[disc] ** 2 - (row + 0.5 - center[disc, 0]) ** 2, 0))
    span, column = _expand(center[disc, 1] - half, center[disc, 1] + half, width)
    seen = np.full(height * width, len(radius))
    np.minimum.at(seen, row[span] * width + column, disc[span])
    seen[seen == len(radius)] = -1
    return seen.reshape(height, width)


def _expand(low, high, n):
    """List all pixel centers of a line that intervals hold: the index of the interval and that of the pixel."""
    first = np.clip(np.ceil(low - 0.5), 0, n).astype(int)
    stop = np.clip(np.floor(high - 0.5) + 1, first, n).astype(int)
    counts = stop - first
    owner = np.repeat(np.arange(len(counts)), counts)
    return owner, np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts - first, counts)


def _check_palette(palette):
    colors = np.asarray(palette, dtype=float)
    if colors.ndim != 2 or colors.shape[1] != 3 or not len(colors):
        raise ValueError(f"palette must have shape (n_colors, 3) with at least one color; got {colors.shape}.")
    if not (colors.min() >= 0 and colors.max() <= 1):
        raise ValueError(f"Colors of palette lie in [0, 1]; got {colors.min():g} to {colors.max():g}.")
    return colors
