"""Baseline that keeps patches whose mean in a kernel's space is that of all: kernel herding."""

from numbers import Real

import numpy as np

from patchdistill._compat import Interval
from patchdistill.baselines._base import DistanceSelector
from patchdistill.ranking import Choice
from patchdistill.similarity import rbf_affinity
from patchdistill.ties import on_grid


class KernelHerdingSelector(DistanceSelector):
    """Keep patches that, counted equally, have the mean of the image's patches in the space of an RBF kernel.

    Each next patch is the one that brings the mean of those kept nearest to the mean of all; none is taken twice.

    Parameters
    ----------
    rate : float or int, default=0.45
        Share of each image's patches to keep, in (0, 1] and rounded up, or their number.
    normalize : {"rows", "columns"} or None, default=None
        See :func:`patchdistill.normalization.normalize_embeddings`.
    bandwidth : float, default=4.0
        Of the affinity, as a multiple of the median squared distance, see
        :func:`patchdistill.similarity.rbf_affinity`.

    Attributes
    ----------
    selected_idx_ : list of ndarray of int, shape (n_kept_i,)
        Kept patches of each image seen in fit, ascending.
    support_ : list of ndarray of bool, shape (n_patches_i,)
        The same as masks.
    weights_ : list of ndarray of shape (n_kept_i,)
        Equal: so the method means it.
    ranking_ : list of ndarray of int, shape (n_patches_i,)
        All patches in the order in which they are picked, which does not depend on the rate.
    n_features_in_ : int
        Number of features of the patches.

    References
    ----------
    .. [1] Y. Chen, M. Welling, A. Smola, "Super-samples from kernel herding", UAI 2010.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.baselines import KernelHerdingSelector
    >>> image = np.array([[0.0], [1.0], [2.0], [3.0], [4.0]])
    >>> KernelHerdingSelector(rate=3).fit([image]).ranking_
    [array([2, 1, 3, 0, 4])]
    """

    _parameter_constraints = {
        **DistanceSelector._parameter_constraints,
        "bandwidth": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(self, rate=0.45, *, normalize=None, bandwidth=4.0):
        self.rate = rate
        self.normalize = normalize
        self.bandwidth = bandwidth

    def _choose_patches(self, E, distances, n_kept):
        return Choice(kernel_herding(rbf_affinity(distances, self.bandwidth)), n_kept)


def kernel_herding(affinity):
    r"""Order patches by kernel herding without replacement.

    After `t` patches, the next is the one left with the largest
    :math:`\frac{1}{n} \sum_i K_{ij} - \frac{1}{t + 1} \sum_{s \leq t} K_{j_s j}`.

    Parameters
    ----------
    affinity : ndarray of shape (n_patches, n_patches)
        Symmetric, positive semi-definite and non-negative: the kernel `K`, with a constant diagonal.

    Returns
    -------
    ndarray of int, shape (n_patches,)
        All patches in the order in which they are picked; equally good ones go by index.

    References
    ----------
    .. [1] Y. Chen, M. Welling, A. Smola, "Super-samples from kernel herding", UAI 2010.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.baselines.herding import kernel_herding
    >>> kernel_herding(np.array([[1.0, 0.9, 0.1], [0.9, 1.0, 0.1], [0.1, 0.1, 1.0]]))
    array([0, 2, 1])
    """
    n = len(affinity)
    affinity = on_grid(affinity)
    totals, to_picked = affinity.sum(axis=0), np.zeros(n)
    order = []
    for t in range(n):
        gain = (t + 1) * totals - n * to_picked  # the difference of means without its divisions, which round
        gain[order] = -np.inf
        j = int(gain.argmax())
        order.append(j)
        to_picked += affinity[j]
    return np.array(order)
