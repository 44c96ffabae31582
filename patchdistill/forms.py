"""The forms in which images with patches come in and go out: bags, lists, stacks, tables."""

import warnings

import numpy as np
import scipy.sparse
from sklearn.utils import check_array

from patchdistill.bags import PatchBags


class SinglePatchBagWarning(UserWarning):
    """A 2-D array was read as one patch per image, which is rarely what was meant."""


def check_bags(X):
    """Read any of the accepted forms of many images as `PatchBags`.

    Parameters
    ----------
    X : PatchBags, list of array-like of shape (n_patches_i, ...), or array of shape (n_images, n_patches, ...)
        The images. A 2-D array means one patch per image, and is warned about.

    Returns
    -------
    bags : PatchBags
        The same images.
    form : {"bags", "list", "stack", "matrix"}
        What came in, for :func:`restore_form`.

    Raises
    ------
    ValueError
        If an image is empty, is not at least 2-D, or differs from the others in its features.
    TypeError
        If `X` is sparse.
    """
    if isinstance(X, PatchBags):
        return X, "bags"
    if scipy.sparse.issparse(X) or (isinstance(X, (list, tuple)) and any(map(scipy.sparse.issparse, X))):
        raise TypeError(
            "Sparse data was passed, but embeddings are dense: convert each image with X.toarray() and pass a list."
        )
    if isinstance(X, (list, tuple)) and len(X) and np.ndim(X[0]) > 1:
        return PatchBags.from_list(X), "list"
    if getattr(X, "ndim", None) is not None and X.ndim > 2:
        X = np.asarray(X)
        n_images, n_patches = X.shape[:2]
        if not n_images:
            raise ValueError(f"Found array with 0 sample(s) (shape={X.shape}) while a minimum of 1 is required.")
        return PatchBags(X.reshape(-1, *X.shape[2:]), np.arange(n_images + 1) * n_patches), "stack"
    X = check_array(X, dtype=None, ensure_all_finite=False)
    warnings.warn(
        f"X of shape {X.shape} was read as {len(X)} images of one patch each. "
        "For one image pass [X], or call select_patches(X).",
        SinglePatchBagWarning,
        stacklevel=3,
    )
    return PatchBags(X, np.arange(len(X) + 1)), "matrix"


def restore_form(bags, form):
    """Give `bags` the form that :func:`check_bags` found.

    Parameters
    ----------
    bags : PatchBags
        Images.
    form : {"bags", "list", "stack", "matrix"}
        As returned by :func:`check_bags`.

    Returns
    -------
    PatchBags, list of ndarray, or ndarray
        The same patches.
    """
    if form == "list":
        return bags.to_list()
    if form == "stack":
        return np.asarray(bags.values).reshape(len(bags), -1, *bags.values.shape[1:])
    return np.asarray(bags.values) if form == "matrix" else bags


def check_features(values, offsets=(0,)):
    """Check that stacked patches are finite real features, and say where they are not.

    Parameters
    ----------
    values : array-like of shape (n_patches_total, n_features)
        Features of the patches.
    offsets : array-like of int, default=(0,)
        First row of each image, for the error message.

    Returns
    -------
    ndarray of shape (n_patches_total, n_features)
        The features, float32 or float64.

    Raises
    ------
    ValueError, TypeError
        If `values` is not 2-D, real, numeric and finite.
    """
    values = check_array(values, dtype=(np.float64, np.float32), ensure_all_finite=False, input_name="X")
    # The sum of a row is finite unless the row is not (or overflows), and costs no temporary array.
    with np.errstate(over="ignore", invalid="ignore"):
        suspects = np.flatnonzero(~np.isfinite(values.sum(axis=1)))
    for row in suspects:
        if not np.isfinite(values[row]).all():
            what = "NaN" if np.isnan(values[row]).any() else "infinity"
            image = np.searchsorted(offsets, row, side="right") - 1
            raise ValueError(f"Input X contains {what} (image {image}, patch {row - offsets[image]}).")
    return values


def own_weights(bags, i):
    """How much each patch of an image counts by itself.

    Parameters
    ----------
    bags : PatchBags
        Images.
    i : int
        Position of the image.

    Returns
    -------
    ndarray of shape (n_patches_i,), or None
        The field ``weights``, None where the images came without.

    Raises
    ------
    ValueError
        If these are not one number per patch, negative, not finite, or all zero.
    """
    if "weights" not in bags.fields:
        return None
    weights = bags.field("weights", i)
    if weights.ndim != 1 or not (np.isfinite(weights).all() and weights.min() >= 0 and weights.sum() > 0):
        raise ValueError(
            f"The weights of image {i} have shape {weights.shape} and run from {weights.min():g} to {weights.max():g}; "
            "one finite weight of at least 0 per patch is needed, and they must not all be 0."
        )
    return weights


class BagOutputMixin:
    """Mixin of transformers that give bags, which have no dataframe form."""

    def set_output(self, *, transform=None):
        """Accept the default output, the only one there is.

        Parameters
        ----------
        transform : {"default"} or None, default=None
            Container of the output.

        Returns
        -------
        self : object
            This transformer.

        Raises
        ------
        ValueError
            For any other container.
        """
        if transform not in (None, "default"):
            raise ValueError(
                f"{type(self).__name__} cannot output {transform!r}: bags of patches have no dataframe form. "
                'Use "default", and set_output on the steps after BagPooling().'
            )
        return self
