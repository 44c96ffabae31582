"""Which patches cover the others: an order in which few, without copies, represent many."""

import numpy as np

from patchdistill.ties import on_grid

# Of self-tuning distances: the neighbour whose distance is a patch's own scale, as Zelnik-Manor and Perona propose.
_NEIGHBOR = 7

# Scales below this share of their median are raised to it: a group of copies has no scale of its own.
_SMALLEST_SCALE = 0.1


def self_tuning_distances(distances):
    """Divide distances by the scales of their surroundings, so that dense and sparse regions count alike.

    Without it the few patches that are far from everything take all the representatives, because they have the most
    distance to cover, and none is left for the plain surfaces that fill most of a picture.

    Parameters
    ----------
    distances : ndarray of shape (n_patches, n_patches)
        Symmetric distances.

    Returns
    -------
    ndarray of shape (n_patches, n_patches)
        ``distances[i, j] / sqrt(scale[i] * scale[j])``, where the scale of a patch is its distance to its seventh
        nearest neighbour, at least a tenth of the median scale. All zeros where all scales are zero.

    References
    ----------
    .. [1] L. Zelnik-Manor, P. Perona, "Self-Tuning Spectral Clustering", NeurIPS 2004.
    """
    n = len(distances)
    scales = np.partition(distances, min(_NEIGHBOR, n - 1), axis=1)[:, min(_NEIGHBOR, n - 1)]
    scales = np.maximum(scales, _SMALLEST_SCALE * np.median(scales))
    products = np.sqrt(scales[:, None] * scales)
    return np.divide(distances, products, out=np.zeros_like(distances), where=products > 0)


def greedy_medoids(distances, first=()):
    """Order patches so that the first ones, however many are taken, cover all of them well.

    Each next patch is the one that lowers the sum of the distances to the nearest patch taken the most: the greedy
    solution of the k-medoids problem for every k at once, of the facility location problem with similarities that
    are distances subtracted from a constant. Its gain is at least ``1 - 1/e`` of the best possible one.

    Parameters
    ----------
    distances : ndarray of shape (n_patches, n_patches)
        Distances; those of patch ``j`` to the others stand in column ``j``.
    first : sequence of int, default=()
        Patches that are taken already; the order begins with them.

    Returns
    -------
    ndarray of int, shape (n_patches,)
        All patches. Equally good ones go by index, so that what covers nothing more, as copies do, comes last.

    References
    ----------
    .. [1] G. L. Nemhauser, L. A. Wolsey, M. L. Fisher, "An analysis of approximations for maximizing submodular set
       functions - I", Mathematical Programming 14, 1978.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.coverage import greedy_medoids
    >>> places = np.array([0.0, 0.0, 1.0, 9.0, 10.0, 11.0])
    >>> greedy_medoids(np.abs(places[:, None] - places))
    array([2, 4, 0, 3, 5, 1])
    """
    D, first = on_grid(distances), np.asarray(first, dtype=np.intp)
    nearest = D[:, first].min(axis=1, initial=np.inf)  # distance of each patch to the nearest one taken
    served = np.minimum(D, nearest[:, None])  # served[i, j]: that of patch i once j is taken too
    costs = served.sum(axis=0)  # their sums, without end where j is taken already
    costs[first] = np.inf
    order = list(first)
    while len(order) < len(D):
        j = costs.argmin()
        order.append(j)
        # Only the patches that are now nearer to a taken one, soon very few, change what taking another would save.
        for i in (D[:, j] < nearest).nonzero()[0]:
            nearest[i] = D[i, j]
            costs -= served[i]
            costs += np.minimum(served[i], nearest[i], out=served[i])
        costs[j] = np.inf
    return np.array(order, dtype=np.intp)


def nearest_kept(distances, kept):
    """Let every patch be represented by the nearest kept one.

    Parameters
    ----------
    distances : ndarray of shape (n_patches, n_patches)
        Symmetric distances.
    kept : ndarray of int, shape (n_kept,)
        Kept patches; each represents itself, even where it has a copy. Equally near ones go by their place in `kept`.

    Returns
    -------
    ndarray of int, shape (n_patches,)
        Representatives.
    """
    representatives = kept[distances[:, kept].argmin(axis=1)]
    representatives[kept] = kept
    return representatives
