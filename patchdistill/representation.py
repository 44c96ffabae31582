"""Which patches represent an image, and how much each of them counts."""

import math
from functools import cached_property, partial

import numpy as np

from patchdistill.coverage import greedy_medoids, nearest_kept, self_tuning_distances
from patchdistill.quadrature import quadrature_error, quadrature_kernel, quadrature_order, quadrature_weights
from patchdistill.ranking import AUTO, Choice, n_keep

# The share of an image's patches that are chosen for its averages, before others are chosen to cover it. Few patches
# cannot cover an image, but they can have its averages; with more of them the weights see to the averages anyway.
FOR_AVERAGES = 0.1

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
    return representation(points, distances, is_outlier, counts)(rate)


def representation(points, distances, is_outlier, counts=None):
    """Prepare what :func:`represent` does, for one rate after the other: order and matrices are computed once.

    Parameters
    ----------
    points, distances, is_outlier, counts
        As for :func:`represent`.

    Returns
    -------
    callable
        Gives the Choice at a rate.

    Raises
    ------
    ValueError
        If the patches that are no outliers count nothing.
    """
    counts = inner_counts(is_outlier, counts)
    inside = np.flatnonzero(~is_outlier)
    if is_outlier.any():
        points, distances = points[inside], distances[np.ix_(inside, inside)]
    return partial(represent_by, Cover(points, distances, counts[inside]).first, is_outlier, counts)


def inner_counts(is_outlier, counts):
    """Check that patches that are no outliers count something.

    Parameters
    ----------
    is_outlier : ndarray of bool, shape (n_patches,)
        Patches that nothing has to stand for.
    counts : ndarray of shape (n_patches,) or None
        How much each patch counts, None for equally.

    Returns
    -------
    ndarray of float64, shape (n_patches,)
        The counts.

    Raises
    ------
    ValueError
        If they do not.
    """
    counts = np.ones(len(is_outlier)) if counts is None else np.asarray(counts, dtype=np.float64)
    if not counts[~is_outlier].sum() > 0:
        raise ValueError(
            f"The {(~is_outlier).sum()} patches of an image that are no outliers all have weight 0, and so nothing is "
            "left to represent. Use outlier_threshold=numpy.inf, or other weights."
        )
    return counts


def represent_by(cover, is_outlier, counts, rate):
    """Keep the first patches of a cover, outliers last.

    Parameters
    ----------
    cover : callable
        Gets how many of the patches that are no outliers are to be kept, None for as few as have the averages. Returns
        their order, and the weights of the first so many, or of all, summing to 1.
    is_outlier : ndarray of bool, shape (n_patches,)
        As in :func:`represent`.
    counts : ndarray of float64, shape (n_patches,)
        How much each patch counts.
    rate : float, int or "auto"
        As in :func:`represent`.

    Returns
    -------
    Choice
        With weights of its own.
    """
    n = len(is_outlier)
    inside, outside = np.flatnonzero(~is_outlier), np.flatnonzero(is_outlier)
    n_kept = None if rate == AUTO else n_keep(n, rate)
    order, kept_weights = cover(n_kept)
    n_inside = len(kept_weights)
    n_kept = n_kept or n_inside
    ranking = np.concatenate([inside[order], outside])
    weights = np.zeros(n)
    weights[ranking[:n_inside]] = kept_weights * counts[inside].sum()
    kept_outliers = ranking[n_inside:n_kept]
    weights[kept_outliers] = counts[kept_outliers]
    kept = np.sort(ranking[:n_kept])
    return Choice(ranking, n_kept, kept_weights=weights[kept] / weights.sum())


class Cover:
    """Patches that something has to stand for: their order, and weights of the first of them.

    Parameters
    ----------
    points : ndarray of shape (n_patches, n_features)
        Embeddings of the patches, in the order of preference.
    distances : ndarray of shape (n_patches, n_patches)
        Euclidean distances between them.
    counts : ndarray of shape (n_patches,)
        How much each patch counts, not all 0.
    for_averages : int, default=None
        How many of them are chosen for their averages, a tenth by default.

    Attributes
    ----------
    order : ndarray of int, shape (n_patches,)
        All patches, the first to keep first.
    """

    def __init__(self, points, distances, counts, for_averages=None):
        self.distances, self.counts = distances, counts / counts.sum()
        self.kernel = quadrature_kernel(points, distances)
        self.for_averages = math.ceil(FOR_AVERAGES * len(points)) if for_averages is None else for_averages

    @cached_property
    def order(self):
        """All patches, the first to keep first."""
        first = quadrature_order(self.kernel, self.counts, self.for_averages)
        return greedy_medoids(self_tuning_distances(self.distances), first)

    def first(self, n_kept):
        """All patches in their order, and weights of the first ones; None for as few as have a small error."""
        return self.order, self.weights(self.smallest() if n_kept is None else n_kept)

    def weights(self, n_kept):
        """Weights of the first patches, in their order, summing to 1."""
        return self.weights_of(self.order[:n_kept])

    def weights_of(self, kept):
        """Weights of kept patches, summing to 1."""
        shares = np.bincount(nearest_kept(self.distances, kept), self.counts, len(self.counts))[kept]
        return quadrature_weights(self.kernel, self.counts, kept, shares)

    def error(self, n_kept):
        """Error of the averages that the first patches have."""
        return quadrature_error(self.kernel, self.counts, self.order[:n_kept], self.weights(n_kept))

    def smallest(self):
        """Smallest number of patches with a small error, by bisection: more patches do better but for rounding."""
        low, high = 0, len(self.order)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self.error(middle) <= _SMALL_ERROR else (middle, high)
        return high
