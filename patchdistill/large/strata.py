"""A cover of very many patches: strata of neighbours are covered one by one, and their first patches together."""

import math

import numpy as np

from patchdistill.large.sizes import evenly_spaced, row_blocks
from patchdistill.representation import FOR_AVERAGES, Cover, represent_by
from patchdistill.similarity import pairwise_distances
from patchdistill.ties import rounded

# Most patches of a stratum, and of what comes first.
_STRATUM = 1000

# A direction in which patches vary most is that of a sample of them, after so many steps of the power method: strata
# need to be narrow, and no more.
_SAMPLE = 1000
_STEPS = 20


def represent_many(points, groups, rate, is_outlier, counts=None):
    """Like :func:`patchdistill.representation.represent`, in memory linear in the number of patches.

    Parameters
    ----------
    points : ndarray of float64, shape (n_patches, n_features)
        Embeddings of the patches, in the order of preference.
    groups : ndarray of int, shape (n_patches,)
        Patches of one group are copies of each other.
    rate : float, int or "auto"
        Share of the patches to keep, or their number. "auto" looks for them among the first thousand of the order,
        whose weighted averages stand for those of all.
    is_outlier : ndarray of bool, shape (n_patches,)
        Patches that nothing has to stand for.
    counts : ndarray of shape (n_patches,), default=None
        How much each patch counts.

    Returns
    -------
    Choice
        With weights of its own.

    Raises
    ------
    ValueError
        If the patches that are no outliers count nothing.
    """
    inside = np.flatnonzero(~is_outlier)
    return represent_by(
        lambda counts: CoverWithCopies(points, inside, groups[inside], counts), rate, is_outlier, counts
    )


class CoverWithCopies:
    """A cover of distinct patches, in which each counts what its copies do, and after it the copies.

    Strata could not see to copies, if these fill more than one.

    Parameters
    ----------
    points : ndarray of float64, shape (n_patches, n_features)
        Embeddings, in the order of preference.
    members : ndarray of int, shape (n_members,)
        The patches to cover, ascending.
    groups : ndarray of int, shape (n_members,)
        Patches of one group are copies of each other.
    counts : ndarray of shape (n_members,)
        How much each patch counts, not all 0.

    Attributes
    ----------
    order : ndarray of int, shape (n_members,)
        Positions in `members`, the first to keep first.
    """

    def __init__(self, points, members, groups, counts):
        _, firsts, group_of = np.unique(groups, return_index=True, return_inverse=True)
        self.first = firsts[group_of]  # of each patch's group
        self.counts = counts
        self.group_counts = np.bincount(self.first, counts, len(members))
        distinct = np.sort(firsts)
        self.n_distinct = len(distinct)
        self.cover = StratifiedCover(points, members[distinct], self.group_counts[distinct])
        is_copy = self.first != np.arange(len(members))
        self.order = np.concatenate([distinct[self.cover.order], np.flatnonzero(is_copy)])

    def weights(self, n_kept):
        """Weights of the first patches, in their order, summing to 1."""
        first, copies = np.split(self.order[:n_kept], [self.n_distinct])
        weights = np.zeros(len(self.order))
        weights[first] = self.cover.weights(len(first))
        # A copy that is kept takes the share that it has in what its group counts.
        originals = self.first[copies]
        in_group = self.group_counts[originals]
        shares = np.divide(self.counts[copies], in_group, out=np.zeros_like(in_group), where=in_group > 0)
        weights[copies] = shares * weights[originals]
        np.subtract.at(weights, originals, weights[copies])
        return weights[self.order[:n_kept]]

    def smallest(self):
        """Smallest number of patches with a small error."""
        return self.cover.smallest()


class StratifiedCover:
    """A cover of distinct patches that are too many for matrices of n x n.

    The patches are cut into strata of neighbours, each of which is covered by itself, and the orders of the strata
    are interleaved in proportion to their sizes. What comes first of that, as many patches as one stratum has, with
    the weights with which they stand for all, is then put in order anew.

    Parameters
    ----------
    points : ndarray of float64, shape (n_patches, n_features)
        Embeddings, in the order of preference.
    members : ndarray of int, shape (n_members,)
        The patches to cover, ascending.
    counts : ndarray of shape (n_members,)
        How much each patch counts, not all 0.

    Attributes
    ----------
    order : ndarray of int, shape (n_members,)
        Positions in `members`, the first to keep first.
    """

    def __init__(self, points, members, counts):
        self.points, self.members, self.counts = points, members, counts / counts.sum()
        strata = list(bisect(points, members, _STRATUM))
        self.turns = _take_turns([len(stratum) for stratum in strata])
        self.n_first = min(len(members), max(_STRATUM, len(strata)))
        self.orders, weights = [], []
        for stratum, n in zip(strata, self._taken(self.n_first), strict=True):
            cover = self._cover(stratum)
            self.orders.append(stratum[cover.order])
            weights.append(cover.weights(n) * self.counts[stratum].sum())
        order = self._merged(self.orders)
        self.first = order[: self.n_first]
        self.first_cover = self._cover(
            self.first, self._merged(weights, self.n_first), math.ceil(FOR_AVERAGES * len(members))
        )
        self.order = np.concatenate([self.first[self.first_cover.order], order[self.n_first :]])

    def weights(self, n_kept):
        """Weights of the first patches, in their order, summing to 1."""
        if n_kept <= self.n_first:
            return self.first_cover.weights(n_kept)
        weights = np.empty(len(self.order))
        for order, n in zip(self.orders, self._taken(n_kept), strict=True):
            stratum = np.sort(order)
            kept = np.searchsorted(stratum, order[:n])
            weights[order[:n]] = self._cover(stratum).weights_of(kept) * self.counts[stratum].sum()
        return weights[self.order[:n_kept]]

    def smallest(self):
        """Smallest number of patches with a small error."""
        return self.first_cover.smallest()

    def _cover(self, chosen, counts=None, for_averages=None):
        counts = self.counts[chosen] if counts is None else counts
        points = self.points[self.members[chosen]]
        counts = counts if counts.any() else np.ones(len(chosen))
        return Cover(points, pairwise_distances(points), counts, for_averages)

    def _taken(self, n):
        """How many of the first patches of all are from each stratum."""
        return np.bincount(self.turns[:n], minlength=self.turns.max() + 1)

    def _merged(self, parts, n=None):
        """One array of what the strata have in their orders, as they take turns."""
        merged = np.empty(len(self.turns[:n]), dtype=parts[0].dtype)
        for stratum, part in enumerate(parts):
            merged[self.turns[:n] == stratum] = part
        return merged


def _take_turns(sizes):
    """Whose turn it is, so that at any time all have had the same share of theirs, and everyone one before any two."""
    shares = np.concatenate([np.arange(size) / size for size in sizes])
    return np.repeat(np.arange(len(sizes)), sizes)[np.argsort(shares, kind="stable")]


def bisect(points, members, most):
    """Cut patches into strata of neighbours: in halves, along the direction in which they vary most, again and again.

    Parameters
    ----------
    points : ndarray of float64, shape (n_patches, n_features)
        Embeddings.
    members : ndarray of int, shape (n_members,)
        The patches to cut.
    most : int
        Most patches of a stratum.

    Yields
    ------
    ndarray of int
        Positions in `members`, ascending; at least half of `most` where there is more than one stratum.
    """
    waiting = [np.arange(len(members))]
    while waiting:
        part = waiting.pop()
        if len(part) <= most:
            yield part
        else:
            order = part[np.argsort(_places(points, members[part]), kind="stable")]
            waiting.extend([np.sort(order[len(part) // 2 :]), np.sort(order[: len(part) // 2])])


def _places(points, members):
    """Places of patches along the direction in which they vary most; what differs by rounding is in one place."""
    sample = points[members[evenly_spaced(len(members), _SAMPLE)]]
    mean = sample.mean(axis=0)
    direction = _leading_direction(sample - mean)
    places = np.concatenate([(points[members[r]] - mean) @ direction for r in row_blocks(len(members), len(mean))])
    return rounded(places - places.min())


def _leading_direction(centered):
    """Power method, from the point that is farthest out."""
    direction = centered[np.einsum("ij,ij->i", centered, centered).argmax()]
    for _ in range(_STEPS):
        direction = direction / (np.linalg.norm(direction) or 1.0)
        direction = centered.T @ (centered @ direction)
    return direction
