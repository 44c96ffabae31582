"""Baselines that keep patches from which no patch is far: farthest points, medoids, facility location."""

from patchdistill.baselines._base import DistanceSelector
from patchdistill.baselines.covers import choose_cover, farthest_points, k_medoids
from patchdistill.coverage import greedy_medoids, nearest_kept
from patchdistill.ranking import Choice


class FarthestPointSelector(DistanceSelector):
    """Keep patches that are far from each other: each next one is the farthest from those before.

    The first is the patch nearest to the mean of the image's patches. Outliers, which are far from everything, come
    early; copies come last.

    Parameters
    ----------
    rate : float or int, default=0.45
        Share of each image's patches to keep, in (0, 1] and rounded up, or their number.
    normalize : {"rows", "columns"} or None, default=None
        See :func:`patchdistill.normalization.normalize_embeddings`.

    Attributes
    ----------
    selected_idx_ : list of ndarray of int, shape (n_kept_i,)
        Kept patches of each image seen in fit, ascending.
    support_ : list of ndarray of bool, shape (n_patches_i,)
        The same as masks.
    weights_ : list of ndarray of shape (n_kept_i,)
        Share of the image's patches to which each kept one is the nearest.
    ranking_ : list of ndarray of int, shape (n_patches_i,)
        All patches in the order in which they are picked, which does not depend on the rate.
    n_features_in_ : int
        Number of features of the patches.

    See Also
    --------
    KMedoidsSelector : Near to all patches on average, instead of near to the farthest one.

    References
    ----------
    .. [1] T. F. Gonzalez, "Clustering to minimize the maximum intercluster distance", Theoretical Computer Science 38,
       1985.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.baselines import FarthestPointSelector
    >>> image = np.array([[0.0], [4.0], [5.0], [6.0], [20.0]])
    >>> FarthestPointSelector(rate=3).fit([image]).ranking_
    [array([3, 4, 0, 1, 2])]
    """

    def __init__(self, rate=0.45, *, normalize=None):
        self.rate = rate
        self.normalize = normalize

    def _choose_patches(self, E, distances, n_kept):
        ranking = farthest_points(distances, len(E), start=0)  # the first patch is the one nearest to the mean
        return Choice(ranking, n_kept, nearest_kept(distances, ranking[:n_kept]))


class KMedoidsSelector(DistanceSelector):
    """Keep medoids: the patches to which the image's patches are nearest on average.

    The sum of the distances of all patches to the nearest kept one is a local minimum: no exchange of one kept patch
    for another lowers it. The search is deterministic, and each step of it takes O(n_patches^2).

    Parameters
    ----------
    rate : float or int, default=0.45
        Share of each image's patches to keep, in (0, 1] and rounded up, or their number.
    normalize : {"rows", "columns"} or None, default=None
        See :func:`patchdistill.normalization.normalize_embeddings`.

    Attributes
    ----------
    selected_idx_ : list of ndarray of int, shape (n_kept_i,)
        Kept patches of each image seen in fit, ascending.
    support_ : list of ndarray of bool, shape (n_patches_i,)
        The same as masks.
    weights_ : list of ndarray of shape (n_kept_i,)
        Share of the image's patches to which each kept one is the nearest.
    ranking_ : list of ndarray of int, shape (n_patches_i,)
        The kept patches, in the order of the greedy start, then the others, farthest from the nearest kept one first.
        What is kept at one rate need not be kept at a higher one.
    n_features_in_ : int
        Number of features of the patches.

    See Also
    --------
    FacilityLocationSelector : The greedy start alone, for all rates at once.
    TrimmedMedoidsSelector : The same without isolated patches.

    References
    ----------
    .. [1] L. Kaufman, P. J. Rousseeuw, "Finding Groups in Data", Wiley 1990, chapter 2.
    .. [2] E. Schubert, P. J. Rousseeuw, "Fast and eager k-medoids clustering: O(k) runtime improvement of the PAM,
       CLARA, and CLARANS algorithms", Information Systems 101, 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.baselines import KMedoidsSelector
    >>> image = np.array([[0.0], [1.0], [2.0], [10.0], [11.0], [12.0]])
    >>> KMedoidsSelector(rate=2).fit_transform([image])
    [array([[ 1.],
           [11.]])]
    """

    def __init__(self, rate=0.45, *, normalize=None):
        self.rate = rate
        self.normalize = normalize

    def _choose_patches(self, E, distances, n_kept):
        return choose_cover(distances, k_medoids(distances, n_kept))


class FacilityLocationSelector(DistanceSelector):
    r"""Keep the patches that are most similar to all others, picked greedily: facility location.

    With the similarity :math:`s_{ij} = \max d - d_{ij}`, the set function :math:`f(S) = \sum_i \max_{j \in S} s_{ij}`
    is monotone and submodular. Greedy picking reaches at least :math:`1 - 1/e`, 63 %, of the largest value that as
    many patches can have [1]_. It is the greedy start of k-medoids without the exchanges.

    Parameters
    ----------
    rate : float or int, default=0.45
        Share of each image's patches to keep, in (0, 1] and rounded up, or their number.
    normalize : {"rows", "columns"} or None, default=None
        See :func:`patchdistill.normalization.normalize_embeddings`.

    Attributes
    ----------
    selected_idx_ : list of ndarray of int, shape (n_kept_i,)
        Kept patches of each image seen in fit, ascending.
    support_ : list of ndarray of bool, shape (n_patches_i,)
        The same as masks.
    weights_ : list of ndarray of shape (n_kept_i,)
        Share of the image's patches to which each kept one is the nearest.
    ranking_ : list of ndarray of int, shape (n_patches_i,)
        All patches in the order in which they are picked, which does not depend on the rate.
    n_features_in_ : int
        Number of features of the patches.

    See Also
    --------
    KMedoidsSelector : The same with exchanges afterwards.

    References
    ----------
    .. [1] G. L. Nemhauser, L. A. Wolsey, M. L. Fisher, "An analysis of approximations for maximizing submodular set
       functions - I", Mathematical Programming 14, 1978.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.baselines import FacilityLocationSelector
    >>> image = np.array([[0.0], [1.0], [2.0], [10.0]])
    >>> FacilityLocationSelector(rate=2).fit([image]).weights_
    [array([0.75, 0.25])]
    """

    def __init__(self, rate=0.45, *, normalize=None):
        self.rate = rate
        self.normalize = normalize

    def _choose_patches(self, E, distances, n_kept):
        ranking = greedy_medoids(distances)
        return Choice(ranking, n_kept, nearest_kept(distances, ranking[:n_kept]))
