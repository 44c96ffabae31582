"""Few patches that are near to all others: distances in, indices out."""

import numpy as np
from scipy.sparse import csr_array

from patchdistill.coverage import greedy_medoids, nearest_kept
from patchdistill.ranking import Choice
from patchdistill.ties import on_grid, rank_relative


def farthest_points(distances, k, start=0):
    """Pick patches one after the other, each time the one that is farthest from those picked so far.

    The largest distance of a patch to the nearest one picked is at most twice the smallest one that any `k` patches
    can reach [1]_. Kennard and Stone choose experiments in the same way [2]_.

    Parameters
    ----------
    distances : ndarray of shape (n_patches, n_patches)
        Symmetric distances.
    k : int
        Number of patches to pick, at most n_patches.
    start : int or array-like of int, default=0
        First patch or patches, at most `k`.

    Returns
    -------
    ndarray of int, shape (k,)
        Patches in the order in which they were picked; equally far ones go by index.

    References
    ----------
    .. [1] T. F. Gonzalez, "Clustering to minimize the maximum intercluster distance", Theoretical Computer Science 38,
       1985.
    .. [2] R. W. Kennard, L. A. Stone, "Computer aided design of experiments", Technometrics 11(1), 1969.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.baselines.covers import farthest_points
    >>> places = np.array([0.0, 1.0, 5.0, 10.0])
    >>> farthest_points(np.abs(places[:, None] - places), 3, start=1)
    array([1, 3, 2])
    """
    _check_count(k, len(distances))
    distances = on_grid(distances)
    picked = np.atleast_1d(start).tolist()
    nearest = distances[picked].min(axis=0)
    nearest[picked] = -np.inf
    while len(picked) < k:
        j = int(nearest.argmax())
        picked.append(j)
        np.minimum(nearest, distances[j], out=nearest)
        nearest[j] = -np.inf
    return np.array(picked)


def k_medoids(distances, k):
    """Find patches to which the others are near: a local minimum of the sum of distances to the nearest one.

    The start is greedy (BUILD). Then the best of all exchanges of one medoid for another patch is made until none
    lowers the sum; all exchanges are valued at once, as FastPAM1 does [2]_. No random number is drawn.

    Parameters
    ----------
    distances : ndarray of shape (n_patches, n_patches)
        Symmetric distances.
    k : int
        Number of medoids, at most n_patches.

    Returns
    -------
    ndarray of int, shape (k,)
        Medoids in the order of the greedy start; a patch that was exchanged for another has its place.

    References
    ----------
    .. [1] L. Kaufman, P. J. Rousseeuw, "Finding Groups in Data", Wiley 1990, chapter 2.
    .. [2] E. Schubert, P. J. Rousseeuw, "Fast and eager k-medoids clustering: O(k) runtime improvement of the PAM,
       CLARA, and CLARANS algorithms", Information Systems 101, 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.baselines.covers import k_medoids
    >>> places = np.array([0.0, 1.0, 2.0, 10.0, 11.0, 12.0])
    >>> k_medoids(np.abs(places[:, None] - places), 2)
    array([1, 4])
    """
    _check_count(k, len(distances))
    distances = on_grid(distances)
    medoids = greedy_medoids(distances)[:k]
    while True:
        changes = _exchange_changes(distances, medoids)
        medoid, patch = np.unravel_index(changes.argmin(), changes.shape)
        if not changes[medoid, patch] < 0:  # sums on the grid are exact: what is below zero is an improvement
            return medoids
        medoids[medoid] = patch


def _exchange_changes(distances, medoids):
    """Change of the sum of distances if medoid i is exchanged for patch j, (k, n_patches).

    A patch goes to j where that is nearer than its own medoid. If its own is the one taken away, it goes to j or to
    its second nearest, whichever is nearer. So every exchange for j changes the sum alike, but for a correction by
    those patches that lose their medoid: one sum over the patches of each medoid gives all corrections.
    """
    n, k = len(distances), len(medoids)
    to_medoids = np.column_stack([distances[:, medoids], np.full(n, np.inf)])  # a single medoid has no second
    two_nearest = np.argpartition(to_medoids, 1, axis=1)[:, :2]
    first, second = np.take_along_axis(to_medoids, two_nearest, axis=1).T
    staying = np.minimum(distances, first[:, None])
    leaving = np.minimum(distances, second[:, None])
    patches_of = csr_array((np.ones(n), two_nearest[:, 0], np.arange(n + 1)), shape=(n, k)).T
    changes = patches_of @ (leaving - staying) + (staying.sum(axis=0) - first.sum())
    changes[:, medoids] = np.inf
    return changes


def choose_cover(distances, picked):
    """Keep picked patches, and rank the others by how badly these cover them.

    Parameters
    ----------
    distances : ndarray of shape (n_patches, n_patches)
        Symmetric distances.
    picked : ndarray of int, shape (n_kept,)
        Patches to keep, in the order in which they were picked.

    Returns
    -------
    Choice
        In the ranking the picked patches are followed by the others, those farthest from the nearest kept one first.
        Every patch is represented by the nearest kept one.
    """
    others = np.delete(np.arange(len(distances)), picked)
    to_nearest = distances[np.ix_(others, picked)].min(axis=1)
    ranking = np.concatenate([picked, others[rank_relative(to_nearest, keep="high")]])
    return Choice(ranking, len(picked), nearest_kept(distances, picked))


def _check_count(k, n):
    if not 1 <= k <= n:
        raise ValueError(f"k={k!r} is not valid for {n} patches; use an int from 1 to {n}.")
