"""Pools of patches, as pixels, in any of the accepted forms."""

from patchdistill.bags import PatchBags
from patchdistill.images import check_pixels, check_same_range


def is_pools(X):
    """Tell pools of patches from pictures by the number of axes.

    Parameters
    ----------
    X : object
        Pools or pictures.

    Returns
    -------
    bool
        Whether it is PatchBags, a list that begins with an array of four axes, or an array of five.
    """
    first = X[0] if isinstance(X, (list, tuple)) and len(X) else None
    return isinstance(X, PatchBags) or getattr(X, "ndim", None) == 5 or getattr(first, "ndim", None) == 4


def read_pools(X):
    """Read pools of patches as bags of pixels.

    Parameters
    ----------
    X : PatchBags, list of array of shape (n_patches_i, height, width, 3), or array of shape \
(n_images, n_patches, height, width, 3)
        Pixels.

    Returns
    -------
    PatchBags
        The same; those of a store are not read.

    Raises
    ------
    ValueError
        If these are no pools, or no pixels.
    """
    if isinstance(X, PatchBags):
        if not len(X):
            raise ValueError("There are no images; give at least one pool of patches.")
        return X
    if not is_pools(X):
        raise ValueError(
            "Pools of patches are expected: PatchBags of pixels, a list of arrays (n_patches, height, width, 3), or an "
            "array (n_images, n_patches, height, width, 3). Put GridSampler() in front of pictures."
        )
    pools = [check_pixels(pool, index, ndim=4) for index, pool in enumerate(X)]
    for index, pool in enumerate(pools):
        check_same_range(pool, index, pools[0])
    return PatchBags.from_list(pools)
