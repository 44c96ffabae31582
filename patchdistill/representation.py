"""Which patches represent an image, and how much each of them counts."""

import math

import numpy as np

from patchdistill.coverage import greedy_medoids, nearest_kept, self_tuning_distances
from patchdistill.quadrature import quadrature_error, quadrature_kernel, quadrature_order, quadrature_weights
from patchdistill.ranking import AUTO, Choice, n_keep

# The share of an image's patches that are chosen for its averages, before others are chosen to cover it. Few patches
# cannot cover an image, but they can have its averages; with more of them the weights see to the averages anyway.
_FOR_AVERAGES = 0.1

# With rate="auto", the error of the averages that is small enough: that of 400 patches drawn at random.
_SMALL_ERROR = 0.05


def represent(points, distances, rate, is_outlier, counts=None):
    """Keep patches that represent an image, without copies, outliers last.

    A first tenth of the patches is chosen for the averages of all (see
    :func:`patchdistill.quadrature.quadrature_order`), the others to cover what these leave uncovered (see
    :func:`patchdistill.coverage.greedy_medoids`). The order does not depend on the rate, the weights do.

    Parameters
    ----------
    points : ndarray of shape (n_patches, n_features)
        Embeddings of the patches, in the order of preference: it decides between equals.
    distances : ndarray of shape (n_patches, n_patches)
        Euclidean distances between them.
    rate : float, int or "auto"
        Share of the patches to keep, or their number; "auto" keeps as few as have the averages of 400 patches drawn at
        random, which is an error of 0.05, see :func:`patchdistill.quadrature.quadrature_error`.
    is_outlier : ndarray of bool, shape (n_patches,)
        Patches that nothing has to stand for. They are kept after all others, in their order, and then stand for
        themselves.
    counts : ndarray of shape (n_patches,), default=None
        How much each patch counts, not all 0 among those that are no outliers; equally by default.

    Returns
    -------
    Choice
        With weights of its own.

    Raises
    ------
    ValueError
        If the patches that are no outliers count nothing.
    """
    n = len(points)
    counts = np.ones(n) if counts is None else np.asarray(counts, dtype=np.float64)
    inside, outside = np.flatnonzero(~is_outlier), np.flatnonzero(is_outlier)
    if not counts[inside].sum() > 0:
        raise ValueError(
            f"The {len(inside)} patches of an image that are no outliers all have weight 0, and so nothing is left to "
            "represent. Use outlier_threshold=numpy.inf, or other weights."
        )
    if len(outside):
        points, distances = points[inside], distances[np.ix_(inside, inside)]
    image = _Represented(points, distances, counts[inside])
    n_kept = image.smallest() if rate == AUTO else n_keep(n, rate)
    n_inside = min(n_kept, len(inside))
    ranking = np.concatenate([inside[image.order], outside])
    weights = np.zeros(n)
    weights[inside[image.order[:n_inside]]] = image.weights(n_inside) * counts[inside].sum()
    kept_outliers = ranking[n_inside:n_kept]
    weights[kept_outliers] = counts[kept_outliers]
    kept = np.sort(ranking[:n_kept])
    return Choice(ranking, n_kept, kept_weights=weights[kept] / weights.sum())


class _Represented:
    """The patches of an image that something has to stand for: their order, and weights of the first of them."""

    def __init__(self, points, distances, counts):
        self.distances, self.counts = distances, counts / counts.sum()
        self.kernel = quadrature_kernel(points, distances)
        first = quadrature_order(self.kernel, self.counts, math.ceil(_FOR_AVERAGES * len(points)))
        self.order, _ = greedy_medoids(self_tuning_distances(distances), first)

    def weights(self, n_kept):
        kept = self.order[:n_kept]
        shares = np.bincount(nearest_kept(self.distances, kept), self.counts, len(self.counts))[kept]
        return quadrature_weights(self.kernel, self.counts, kept, shares)

    def error(self, n_kept):
        return quadrature_error(self.kernel, self.counts, self.order[:n_kept], self.weights(n_kept))

    def smallest(self):
        """Smallest number of patches with a small error, by bisection: more patches do better but for rounding."""
        low, high = 0, len(self.order)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self.error(middle) <= _SMALL_ERROR else (middle, high)
        return high
