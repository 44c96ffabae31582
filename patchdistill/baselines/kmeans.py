"""Baseline that keeps the patches nearest to the centers of scikit-learn's k-means."""

import warnings

import numpy as np
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from patchdistill.baselines._base import DistanceSelector, SeededMixin
from patchdistill.baselines.covers import choose_cover, farthest_points
from patchdistill.problem import row_norms
from patchdistill.ties import rank_relative


class KMeansSelector(SeededMixin, DistanceSelector):
    """Keep the patch nearest to the center of each cluster of k-means, out of the cluster's own.

    There are as many clusters as patches to keep. Where patches have copies, clusters can remain empty; for these,
    the patches farthest from the ones kept are kept too, see :class:`FarthestPointSelector`.

    Parameters
    ----------
    rate : float or int, default=0.45
        Share of each image's patches to keep, in (0, 1] and rounded up, or their number.
    normalize : {"rows", "columns"} or None, default=None
        See :func:`patchdistill.normalization.normalize_embeddings`.
    random_state : int, RandomState instance or None, default=0
        Of the start of :class:`sklearn.cluster.KMeans`; with an int, it is the same for every image.

    Attributes
    ----------
    selected_idx_ : list of ndarray of int, shape (n_kept_i,)
        Kept patches of each image seen in fit, ascending.
    support_ : list of ndarray of bool, shape (n_patches_i,)
        The same as masks.
    weights_ : list of ndarray of shape (n_kept_i,)
        Share of the image's patches to which each kept one is the nearest.
    ranking_ : list of ndarray of int, shape (n_patches_i,)
        The kept patches, that of the largest cluster first and equal ones from the image's mean outwards, then the
        others, farthest from the nearest kept one first. What is kept at one rate need not be kept at a higher one.
    n_features_in_ : int
        Number of features of the patches.

    See Also
    --------
    KMedoidsSelector : Clusters around patches instead of around means; needs no random numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.baselines import KMeansSelector
    >>> image = np.array([[0.0], [1.0], [2.0], [10.0], [11.0], [12.0]])
    >>> KMeansSelector(rate=2).fit_transform([image])
    [array([[ 1.],
           [11.]])]
    """

    _parameter_constraints = {**DistanceSelector._parameter_constraints, "random_state": ["random_state"]}

    def __init__(self, rate=0.45, *, normalize=None, random_state=0):
        self.rate = rate
        self.normalize = normalize
        self.random_state = random_state

    def _choose_patches(self, E, distances, n_kept):
        if n_kept == len(E):  # nothing to cluster: every patch is a center
            return choose_cover(distances, np.arange(n_kept))
        nearest = nearest_to_centers(E, n_kept, self.random_state)
        return choose_cover(distances, farthest_points(distances, n_kept, start=nearest))


def nearest_to_centers(E, k, random_state=0):
    """Find the patch nearest to the center of each cluster of k-means.

    Parameters
    ----------
    E : ndarray of shape (n_patches, n_features)
        Embeddings of the patches of one image.
    k : int
        Number of clusters.
    random_state : int, RandomState instance or None, default=0
        Of :class:`sklearn.cluster.KMeans`.

    Returns
    -------
    ndarray of int, shape (n_clusters,)
        One patch of each cluster that has any, that of the largest cluster first; equal ones go by index. Fewer than
        `k` if there are fewer distinct patches.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.baselines.kmeans import nearest_to_centers
    >>> nearest_to_centers(np.array([[0.0], [1.0], [2.0], [10.0], [11.0]]), 2)
    array([1, 3])
    """
    with warnings.catch_warnings():
        # Copies leave clusters empty, and the result says so by being shorter.
        warnings.filterwarnings("ignore", "Number of distinct clusters", ConvergenceWarning)
        k_means = KMeans(k, n_init="auto", random_state=random_state).fit(E)
    labels = k_means.labels_
    by_distance = rank_relative(row_norms(E - k_means.cluster_centers_[labels]))
    _, first = np.unique(labels[by_distance], return_index=True)
    nearest = by_distance[first]
    sizes = np.bincount(labels)[labels[nearest]]
    return nearest[np.lexsort((nearest, -sizes))]
