"""What models are given: the patches of images, in the field they want, and one label per image."""

import numpy as np

from patchdistill.forms import check_bags
from patchdistill.images import is_pixels

PIXELS = "pixels"


def read_patches(X, field):
    """Read the patches that a model works on.

    Parameters
    ----------
    X : PatchBags, list of array-like of shape (n_patches_i, ...), or array of shape (n_images, n_patches, ...)
        Images.
    field : str or None
        The field of PatchBags to read, such as ``"pixels"``; None reads the values. Values that are pixels, one
        (height, width, 3) per patch, are the pixels of images that have no such field.

    Returns
    -------
    PatchBags
        The images, with what was asked for as their values.

    Raises
    ------
    ValueError
        If there is no such field.
    """
    bags, _ = check_bags(X)
    if field is None:
        return bags
    if field in bags.fields:
        return bags.with_values(bags.fields[field])
    if field == PIXELS and is_pixels(bags.values):
        return bags
    raise ValueError(
        f"field={field!r} is no field of the patches, which have {sorted(bags.fields)} and values of shape "
        f"{tuple(bags.values.shape[1:])}. Pass PatchBags with that field: TorchEmbedder, and PatchStatistics on pools, "
        "give pixels along."
    )


def check_labels(y, n_images):
    """Check that there is one label per image.

    Parameters
    ----------
    y : array-like of shape (n_images,)
        Labels.
    n_images : int
        Number of images.

    Returns
    -------
    ndarray of shape (n_images,)
        The labels.

    Raises
    ------
    ValueError
        If these are not one finite number per image.
    """
    if y is None:
        raise ValueError("The model requires y to be passed, but the target y is None; give one label per image.")
    y = np.asarray(y)
    if y.ndim != 1:
        remedy = "Pass y.ravel()." if y.ndim == 2 and y.shape[1] == 1 else "Fit one model per kind of label."
        raise ValueError(f"y has shape {y.shape}, but one number per image is needed, ({n_images},). {remedy}")
    if len(y) != n_images:
        raise ValueError(f"y has {len(y)} labels, but there are {n_images} images; give one label per image, no more.")
    if y.dtype.kind not in "iufb":
        try:
            y = y.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(f"Unknown label type: y has dtype {y.dtype}, but labels are numbers ({error}).") from None
    if not np.isfinite(y).all():
        raise ValueError(f"y contains {y[~np.isfinite(y)][0]} (image {(~np.isfinite(y)).argmax()}); drop that image.")
    return y
