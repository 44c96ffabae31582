"""From a distortion map to a few numbers: how much there is of each channel, in either direction."""

import numpy as np

from patchdistill.relational.channels import CELL
from patchdistill.relational.operators.filters import row_scale

# What is pooled over the cells, in this order.
STATISTICS = ("mean", "mean2", "mean4", "worst_tenth")

# Directions, in this order: the picture has more of the channel than its reference, or less.
SIGNS = ("more", "less")

_WORST = 0.1


def pool_map(distortion_map, weights=None):
    r"""Pool a distortion map over the picture, each channel and direction for itself.

    With :math:`x = \max(\pm D, 0)` and weights :math:`w` that sum to 1, these are the generalized means
    :math:`(\sum_i w_i x_i^p)^{1/p}` for p = 1, 2 and 4, and the mean of the largest :math:`x` that together have a
    tenth of the weight. A wide faint distortion raises the first, a small strong one the last two. All are
    nondecreasing in every cell and 0 where there is no distortion.

    Parameters
    ----------
    distortion_map : array-like of shape (n_channels, h, w)
        Signed distortions, in [-1, 1].
    weights : array-like of shape (h, w), default=None
        How much each cell counts, at least 0, not all 0; all alike by default. See :func:`cell_weights`.

    Returns
    -------
    ndarray of float64, shape (n_channels, 2, 4)
        For each channel and direction (more, less): generalized means 1, 2 and 4, and the worst tenth; in [0, 1].

    Raises
    ------
    ValueError
        If the shapes do not fit, a value is no finite number, or the weights are negative or all 0.

    See Also
    --------
    cell_weights : Weights by area, on flat pictures and on panoramas.

    References
    ----------
    .. [1] Z. Wang, X. Shang, "Spatial Pooling Strategies for Perceptual Image Quality Assessment", ICIP 2006:
       generalized means and worst shares.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.relational.pooling import pool_map
    >>> sharpness = np.zeros((1, 10, 10))
    >>> sharpness[0, 0] = -0.5  # a tenth of the picture is blurred
    >>> pool_map(sharpness).round(3)
    array([[[0.   , 0.   , 0.   , 0.   ],
            [0.05 , 0.158, 0.281, 0.5  ]]])
    """
    values = np.asarray(distortion_map, dtype=np.float64)
    if values.ndim != 3 or not values.size:
        raise ValueError(f"The map has shape {values.shape}, but (n_channels, h, w) with cells in it is expected.")
    if not np.isfinite(values).all():
        raise ValueError("The map holds NaN or infinity; check what predicted it.")
    share = _shares(weights, values.shape[1:])
    sides = np.stack([np.maximum(values, 0), np.maximum(-values, 0)], axis=1).reshape(len(values), 2, -1)
    # Squares and square roots are rounded correctly, powers need not be: rounding keeps the order of pictures.
    squares = sides**2
    means = [(share * moment).sum(axis=-1) for moment in (sides, squares, squares**2)]
    return np.stack([means[0], np.sqrt(means[1]), np.sqrt(np.sqrt(means[2])), _worst_tenth(sides, share)], axis=-1)


def cell_weights(height, width, geometry="flat"):
    """Give the area of each cell of the map of a picture.

    Parameters
    ----------
    height, width : int
        Size of the picture in pixels.
    geometry : {"flat", "panorama"}, default="flat"
        A pixel of a panorama (equirectangular) counts by the cosine of its latitude, as in WS-PSNR [1]_.

    Returns
    -------
    ndarray of float64, shape (ceil(height / 8), ceil(width / 8))
        Sum over the pixels of the cell. Cells at the lower and right border may be partial, and count less.

    Raises
    ------
    ValueError
        If `geometry` is another one.

    References
    ----------
    .. [1] Y. Sun, A. Lu, L. Yu, "Weighted-to-Spherically-Uniform Quality Evaluation for Omnidirectional Video",
       IEEE Signal Processing Letters 24(9), 2017.

    Examples
    --------
    >>> from patchdistill.relational.pooling import cell_weights
    >>> cell_weights(16, 20)
    array([[64., 64., 32.],
           [64., 64., 32.]])
    """
    if geometry not in ("flat", "panorama"):
        raise ValueError(f'geometry={geometry!r} is unknown; use "flat" or "panorama".')
    rows = np.ones(height)
    if geometry == "panorama":
        rows = row_scale(height)
    of_cells = [np.add.reduceat(line, np.arange(0, len(line), CELL)) for line in (rows, np.ones(width))]
    return np.outer(*of_cells)


def _shares(weights, shape):
    """Weights of the cells as one row that sums to 1."""
    if weights is None:
        return np.full(np.prod(shape), 1 / np.prod(shape))
    weights = np.asarray(weights, dtype=np.float64)
    if weights.shape != shape:
        raise ValueError(f"weights has shape {weights.shape}, but the map has {shape} cells; pass one weight per cell.")
    if not (weights >= 0).all() or not 0 < weights.sum() < np.inf:
        raise ValueError("weights must be finite, at least 0 and not all 0; pass None to count all cells alike.")
    return weights.ravel() / weights.sum()


def _worst_tenth(sides, share):
    """Mean of the largest values that hold a tenth of the weight; the last of them counts in part."""
    order = np.argsort(-sides, axis=-1, kind="stable")
    before = np.cumsum(share[order], axis=-1) - share[order]
    used = np.clip(_WORST - before, 0, share[order])
    return (used * np.take_along_axis(sides, order, axis=-1)).sum(axis=-1) / _WORST
