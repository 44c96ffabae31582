"""A cover of very many patches: strata of neighbours are covered one by one, and their first patches together."""

import math
from functools import partial

import numpy as np

from patchdistill.large.sizes import evenly_spaced, row_blocks
from patchdistill.representation import FOR_AVERAGES, Cover, inner_counts, represent_by
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
    counts = inner_counts(is_outlier, counts)
    inside = np.flatnonzero(~is_outlier)
    cover = partial(cover_with_copies, points, inside, groups[inside], counts[inside])
    return represent_by(cover, is_outlier, counts, rate)


def cover_with_copies(points, members, groups, counts, n_kept):
    """Cover distinct patches, each of which counts what its copies count together, and put the copies after them.

    Strata could not see to copies, of which one may be full.

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
    n_kept : int or None
        How many are kept; None for as few as have the averages.

    Returns
    -------
    order : ndarray of int, shape (n_members,)
        Positions in `members`, the first to keep first.
    weights : ndarray of shape (min(n_kept, n_members),)
        Weights of the kept patches in that order, summing to 1.
    """
    _, firsts, group_of = np.unique(groups, return_index=True, return_inverse=True)
    original = firsts[group_of]  # of each patch, the first of its group
    in_group = np.bincount(original, counts, len(members))
    distinct = np.sort(firsts)
    order, first_weights = cover_by_strata(points, members[distinct], in_group[distinct], n_kept)
    order = np.concatenate([distinct[order], np.flatnonzero(original != np.arange(len(members)))])
    weights = np.zeros(len(members))
    weights[order[: len(first_weights)]] = first_weights
    n_kept = n_kept or len(first_weights)
    # A copy that is kept takes the share that it has in what its group counts.
    copies = order[len(distinct) : n_kept]
    originals = original[copies]
    shares = np.divide(counts[copies], in_group[originals], out=np.zeros(len(copies)), where=in_group[originals] > 0)
    weights[copies] = shares * weights[originals]
    np.subtract.at(weights, originals, weights[copies])
    return order, weights[order[:n_kept]]


def cover_by_strata(points, members, counts, n_kept):
    """Cover distinct patches that are too many for matrices of n x n.

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
    n_kept : int or None
        How many are kept; None for as few as have the averages.

    Returns
    -------
    order : ndarray of int, shape (n_members,)
        Positions in `members`, the first to keep first. It does not depend on `n_kept`.
    weights : ndarray of shape (min(n_kept, n_members),)
        Weights of the kept patches in that order, summing to 1.
    """
    counts = counts / counts.sum()
    strata = list(bisect(points, members, _STRATUM))
    turns = _take_turns([len(stratum) for stratum in strata])
    n_first = min(len(members), max(_STRATUM, len(strata)))
    order = np.empty(len(members), dtype=np.intp)
    weights = {n: np.zeros(len(members)) for n in (n_first, max(n_first, n_kept or 0))}
    for k, stratum in enumerate(strata):
        cover = _cover(points[members[stratum]], counts[stratum])
        order[turns == k] = stratum[cover.order]
        for n, of_members in weights.items():
            n_own = np.count_nonzero(turns[:n] == k)
            of_members[stratum[cover.order[:n_own]]] = counts[stratum].sum() * cover.weights(n_own)
    first = order[:n_first]
    cover = _cover(points[members[first]], weights[n_first][first], math.ceil(FOR_AVERAGES * len(members)))
    order[:n_first] = first[cover.order]
    if n_kept is None or n_kept <= n_first:
        return order, cover.weights(n_kept or cover.smallest())
    return order, weights[n_kept][order[:n_kept]]


def _cover(points, counts, for_averages=None):
    counts = counts if counts.any() else np.ones(len(points))  # what counts nothing is put in order all the same
    return Cover(points, pairwise_distances(points), counts, for_averages)


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
