"""Where patches lie on a picture: an even grid of exactly as many as asked for."""

import numbers
import warnings

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from patchdistill._compat import Interval, _fit_context
from patchdistill.bags import PatchBags
from patchdistill.forms import BagOutputMixin
from patchdistill.images import check_images, check_same_range, load_image

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
    if n_patches < 1 or patch_size < 1:
        raise ValueError(f"n_patches and patch_size must be at least 1; got {n_patches} and {patch_size}.")
    free_down, free_across = height - patch_size, width - patch_size
    if min(free_down, free_across) < 0:
        raise ValueError(
            f"patch_size={patch_size} does not fit into a picture of {height} x {width} pixels (height x width). "
            "Lower patch_size, or leave the picture out."
        )
    rows = _n_rows(free_down, free_across, n_patches)
    # Row i gets the patches between two roundings of i * n / rows, so that longer rows are spread among shorter ones.
    bounds = np.arange(rows + 1) * n_patches // rows
    counts = np.diff(bounds)
    top = np.repeat(_spread(free_down, rows), counts)
    left = np.concatenate([_spread(free_across, count) for count in counts])
    return top, left


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


class StatelessBagMixin(BagOutputMixin, TransformerMixin, auto_wrap_output_keys=None):
    """Mixin of transformers of pictures that need no fit and give bags."""

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X=None, y=None):
        """Check the parameters; there is nothing to learn.

        Parameters
        ----------
        X, y : object, default=None
            Not read.

        Returns
        -------
        self
            The transformer.
        """
        return self

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.no_validation = True
        return tags


class GridSampler(StatelessBagMixin, BaseEstimator):
    """Cut an even grid of patches out of every picture.

    Parameters
    ----------
    n_patches : int, default=180
        Patches per picture.
    patch_size : int, default=64
        Side of a patch in pixels.

    See Also
    --------
    grid_positions : Where the patches lie.
    patchdistill.embedding.PatchStatistics : Embeds pictures or patches.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.sampling import GridSampler
    >>> GridSampler(n_patches=8, patch_size=16).transform([np.zeros((64, 128, 3))])
    PatchBags(n_images=1, n_patches=8, patch_shape=(16, 16, 3), fields=['left', 'patch_index', 'size', 'top'])
    """

    _parameter_constraints = {
        "n_patches": [Interval(numbers.Integral, 1, None, closed="left")],
        "patch_size": [Interval(numbers.Integral, 1, None, closed="left")],
    }

    def __init__(self, n_patches=180, patch_size=64):
        self.n_patches = n_patches
        self.patch_size = patch_size

    def transform(self, X):
        """Cut the patches.

        Parameters
        ----------
        X : list of array-like of shape (height, width, 3), list of path, or array (n_images, height, width, 3)
            Pictures: uint8, or float in [0, 1]. Sizes may differ.

        Returns
        -------
        PatchBags
            Pixels (n_patches_total, patch_size, patch_size, 3) in the dtype of the pictures, with the fields ``top``,
            ``left`` and ``size``. The ids are the names of the files without ending (the paths, where two names
            agree), or ``0 .. n_images - 1`` for arrays.

        Raises
        ------
        ValueError
            If a picture cannot be read, is no color picture or is smaller than a patch.
        """
        self._validate_params()
        items, ids = check_images(X)
        pixels, tops, lefts = [], [], []
        for index, item in enumerate(items):
            image = load_image(item, index)
            check_same_range(image, index, pixels[0] if pixels else image)
            top, left = place_patches(image, index, self.n_patches, self.patch_size)
            pixels.append(cut_patches(image, top, left, self.patch_size))
            tops.append(top)
            lefts.append(left)
        return PatchBags.from_list(pixels, fields=place_fields(tops, lefts, self.patch_size), ids=ids)


def place_fields(tops, lefts, patch_size):
    """Name the fields that tell where patches lie.

    Parameters
    ----------
    tops, lefts : list of ndarray of int, shape (n_patches_i,)
        Upper left pixel of the patches of each picture.
    patch_size : int
        Side of a patch in pixels.

    Returns
    -------
    dict of str to list of ndarray
        Fields ``top``, ``left`` and ``size`` for :meth:`patchdistill.PatchBags.from_list`.
    """
    return {"top": tops, "left": lefts, "size": [np.full(len(top), patch_size) for top in tops]}


def place_patches(image, index, n_patches, patch_size):
    """Call :func:`grid_positions` for one picture of many, naming it where something is wrong.

    Parameters
    ----------
    image : ndarray of shape (height, width, 3)
        The picture.
    index : int
        Position of the picture among the others.
    n_patches, patch_size : int
        As for :func:`grid_positions`.

    Returns
    -------
    top, left : ndarray of int, shape (n_patches,)
        Upper left pixel of each patch.

    Raises
    ------
    ValueError
        As :func:`grid_positions`.

    Warns
    -----
    UserWarning
        If there are fewer places than patches.
    """
    height, width = image.shape[:2]
    try:
        top, left = grid_positions(height, width, n_patches, patch_size)
    except ValueError as error:
        raise ValueError(f"Image {index}: {error}") from None
    room = (height - patch_size + 1) * (width - patch_size + 1)
    if room < n_patches:
        warnings.warn(
            f"Image {index} ({height} x {width} pixels) has room for {room} different patches of {patch_size} pixels, "
            f"but {n_patches} were asked for: some are copies. If it is a patch of a pool, pass a list of pools.",
            stacklevel=2,
        )
    return top, left
