"""Baseline that keeps the patches whose features vary most among each other."""

import numpy as np

from patchdistill.base import BasePatchSelector
from patchdistill.normalization import unit_scale
from patchdistill.ranking import Choice, n_keep
from patchdistill.ties import rank_relative


class HighVarianceSelector(BasePatchSelector):
    """Keep the patches with the highest variance over their own features.

    With pixels or activations as features these are the patches with the most contrast. There is no normalization to
    choose: it would take away what is measured.

    Parameters
    ----------
    rate : float or int, default=0.45
        Share of each image's patches to keep, in (0, 1] and rounded up, or their number.

    Attributes
    ----------
    selected_idx_ : list of ndarray of int, shape (n_kept_i,)
        Kept patches of each image seen in fit, ascending.
    support_ : list of ndarray of bool, shape (n_patches_i,)
        The same as masks.
    weights_ : list of ndarray of shape (n_kept_i,)
        Equal.
    ranking_ : list of ndarray of int, shape (n_patches_i,)
        All patches, highest variance first; equal ones go by index.
    n_features_in_ : int
        Number of features of the patches.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.baselines import HighVarianceSelector
    >>> image = np.array([[1.0, 1.0], [0.0, 3.0], [5.0, 6.0]])
    >>> HighVarianceSelector(rate=1).fit_transform([image])
    [array([[0., 3.]])]
    """

    _parameter_constraints = {"rate": "no_validation"}

    def __init__(self, rate=0.45):
        self.rate = rate

    def _choose(self, bags):
        return [Choice(_rank_by_variance(E), n_keep(len(E), self.rate)) for E in bags], {}


def _rank_by_variance(E):
    return rank_relative(unit_scale(np.asarray(E, dtype=np.float64)).var(axis=1), keep="high")
