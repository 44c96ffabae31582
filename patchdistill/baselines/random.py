"""Baseline that keeps patches drawn at random."""

from sklearn.utils import check_random_state

from patchdistill.base import BasePatchSelector
from patchdistill.baselines._base import SeededMixin
from patchdistill.ranking import Choice, n_keep


class RandomPatchSelector(SeededMixin, BasePatchSelector):
    """Keep patches drawn at random: the baseline that every claim has to be compared with, over many seeds.

    It does not look at the patches, which may be features or pixels.

    Parameters
    ----------
    rate : float or int, default=0.45
        Share of each image's patches to keep, in (0, 1] and rounded up, or their number.
    random_state : int, RandomState instance or None, default=0
        Seed. With an int, an image's patches depend on the seed, its place in `X` and its number of patches alone.

    Attributes
    ----------
    selected_idx_ : list of ndarray of int, shape (n_kept_i,)
        Kept patches of each image seen in fit, ascending.
    support_ : list of ndarray of bool, shape (n_patches_i,)
        The same as masks.
    weights_ : list of ndarray of shape (n_kept_i,)
        Equal.
    ranking_ : list of ndarray of int, shape (n_patches_i,)
        All patches, the first to keep first.
    n_features_in_ : int
        Number of features of the patches.

    See Also
    --------
    patchdistill.ResidualPatchSelector : Selection by residuals.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.baselines import RandomPatchSelector
    >>> kept = RandomPatchSelector(rate=3, random_state=0).fit_transform(np.ones((2, 10, 4)))
    >>> kept.shape
    (2, 3, 4)
    """

    _parameter_constraints = {"rate": "no_validation", "random_state": ["random_state"]}

    _takes_pixels = True

    def __init__(self, rate=0.45, *, random_state=0):
        self.rate = rate
        self.random_state = random_state

    def _choose(self, bags):
        rng = check_random_state(self.random_state)
        return [Choice(rng.permutation(n), n_keep(n, self.rate)) for n in bags.n_patches.tolist()], {}
