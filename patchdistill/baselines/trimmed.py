"""Baseline that drops isolated patches and keeps medoids of the rest: the bar that selectors have to clear."""

from numbers import Integral, Real

import numpy as np

from patchdistill._compat import Interval
from patchdistill.baselines._base import DistanceSelector
from patchdistill.baselines.covers import choose_cover, k_medoids
from patchdistill.ranking import Choice, n_keep
from patchdistill.ties import rank_relative


class TrimmedMedoidsSelector(DistanceSelector):
    """Drop the patches that are far from their neighbors, and keep medoids of the rest.

    Three lines with public libraries, but the one baseline that removes both copies and outliers. It drops the same
    share of every image, whether this has outliers or not.

    Parameters
    ----------
    rate : float or int, default=0.45
        Share of each image's patches to keep, in (0, 1] and rounded up, or their number.
    normalize : {"rows", "columns"} or None, default=None
        See :func:`patchdistill.normalization.normalize_embeddings`.
    trim : float, default=0.2
        Share of the patches to drop first, in [0, 1) and rounded down.
    n_neighbors : int, default=15
        A patch is isolated if the mean distance to so many nearest other patches is large; an image of fewer patches
        uses all of them.

    Attributes
    ----------
    selected_idx_ : list of ndarray of int, shape (n_kept_i,)
        Kept patches of each image seen in fit, ascending.
    support_ : list of ndarray of bool, shape (n_patches_i,)
        The same as masks.
    weights_ : list of ndarray of shape (n_kept_i,)
        Share of the patches not dropped to which each kept one is the nearest. A dropped patch that has to be kept,
        because more are asked for than there are others, stands for itself.
    ranking_ : list of ndarray of int, shape (n_patches_i,)
        The medoids, in the order of their greedy start, then the other patches that were not dropped, farthest from
        the nearest medoid first, then the dropped ones, least isolated first.
    n_features_in_ : int
        Number of features of the patches.

    See Also
    --------
    KMedoidsSelector : The same without dropping.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.baselines import TrimmedMedoidsSelector
    >>> image = np.array([[0.0], [1.0], [2.0], [10.0], [11.0], [12.0], [99.0]])
    >>> TrimmedMedoidsSelector(rate=2, n_neighbors=2).fit_transform([image])
    [array([[ 1.],
           [11.]])]
    """

    _parameter_constraints = {
        **DistanceSelector._parameter_constraints,
        "trim": [Interval(Real, 0, 1, closed="left")],
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(self, rate=0.45, *, normalize=None, trim=0.2, n_neighbors=15):
        self.rate = rate
        self.normalize = normalize
        self.trim = trim
        self.n_neighbors = n_neighbors

    def _choose_patches(self, E, distances, n_kept):
        by_isolation = rank_relative(isolation(distances, self.n_neighbors))
        n_rest = n_keep(len(E), float(1 - self.trim))
        rest, dropped = np.sort(by_isolation[:n_rest]), by_isolation[n_rest:]
        among_rest = distances[np.ix_(rest, rest)]
        cover = choose_cover(among_rest, k_medoids(among_rest, min(n_kept, n_rest)))
        representatives = np.full(len(E), -1)
        representatives[rest] = rest[cover.representatives]
        kept_anyway = dropped[: max(0, n_kept - n_rest)]
        representatives[kept_anyway] = kept_anyway
        return Choice(np.concatenate([rest[cover.ranking], dropped]), n_kept, representatives)


def isolation(distances, n_neighbors=15):
    """Mean distance of every patch to its nearest neighbors.

    Parameters
    ----------
    distances : ndarray of shape (n_patches, n_patches)
        Symmetric distances, zero on the diagonal.
    n_neighbors : int, default=15
        Number of neighbors, the patch itself not counted; all others where there are fewer.

    Returns
    -------
    ndarray of shape (n_patches,)
        Mean distances; 0 for a single patch.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.baselines.trimmed import isolation
    >>> places = np.array([0.0, 1.0, 3.0])
    >>> isolation(np.abs(places[:, None] - places), n_neighbors=2)
    array([2. , 1.5, 2.5])
    """
    m = min(n_neighbors, len(distances) - 1)
    # The patch itself is one of the m + 1 nearest and adds zero to the sum.
    return np.partition(distances, m, axis=1)[:, : m + 1].sum(axis=1) / max(m, 1)
