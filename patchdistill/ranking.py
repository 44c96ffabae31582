"""From scores to kept patches: how many, which, and how much each counts."""

import math
import numbers
from typing import NamedTuple

import numpy as np

# Scores this close count as equal. Symmetric patches have equal scores in theory and scores that differ by rounding in
# practice; without this, which of them is kept would depend on the units of the features.
_DECIMALS = 9

# As many patches as it takes, see patchdistill.representation.
AUTO = "auto"


class Choice(NamedTuple):
    """Which patches of one image are kept, and which patches each of them stands for.

    Attributes
    ----------
    ranking : ndarray of int, shape (n_patches,)
        All patches, the first to keep first.
    n_kept : int
        How many of them are kept.
    representatives : ndarray of int, shape (n_patches,), or None
        The kept patch that stands for each patch, -1 where none does; None where each kept patch stands for itself.
    kept_weights : ndarray of shape (n_kept,), or None
        Weights in the order of :attr:`kept`, where they are not the shares of the patches represented.
    """

    ranking: np.ndarray
    n_kept: int
    representatives: np.ndarray | None = None
    kept_weights: np.ndarray | None = None

    @property
    def kept(self):
        """Kept patches, ascending."""
        return np.sort(self.ranking[: self.n_kept])

    def renumbered(self, order):
        """Give the numbers that patches have in the image to a choice made among them in some order.

        Parameters
        ----------
        order : ndarray of int, shape (n_patches,)
            For each patch of the choice, its number in the image.

        Returns
        -------
        Choice
            The same choice.
        """
        representatives, kept_weights = self.representatives, self.kept_weights
        if representatives is not None:
            representatives = np.full(len(order), -1)
            stood_for = self.representatives >= 0
            representatives[order[stood_for]] = order[self.representatives[stood_for]]
        if kept_weights is not None:
            kept_weights = kept_weights[np.argsort(order[self.kept])]
        return Choice(order[self.ranking], self.n_kept, representatives, kept_weights)

    def weights(self, counts=None):
        """How much each kept patch counts.

        Parameters
        ----------
        counts : ndarray of shape (n_patches,), default=None
            How much each patch of the image counts by itself, equally by default. Without effect on
            :attr:`kept_weights`, which have that in them.

        Returns
        -------
        ndarray of shape (n_kept,)
            In the order of :attr:`kept`, summing to 1.

        Raises
        ------
        ValueError
            If all kept patches count 0 by themselves.
        """
        if self.kept_weights is not None:
            return self.kept_weights
        counts = np.ones(len(self.ranking)) if counts is None else counts
        if self.representatives is None:
            weights = counts[self.kept]
        else:
            stood_for = self.representatives >= 0
            weights = np.bincount(self.representatives[stood_for], counts[stood_for], len(counts))[self.kept]
        if not weights.sum() > 0:
            raise ValueError(
                f"All {len(weights)} kept patches have weight 0 by themselves, so that they have no shares; drop "
                "patches of weight 0 beforehand, or keep more."
            )
        return weights / weights.sum()


def check_rate(rate, auto=False):
    """Check a rate, in the one place that knows its legal forms.

    Parameters
    ----------
    rate : float, int or "auto"
        Share of the patches to keep, in (0, 1], or their number, at least 1.
    auto : bool, default=False
        Whether "auto" will do.

    Raises
    ------
    ValueError
        If `rate` is neither.
    """
    if isinstance(rate, numbers.Real) and not isinstance(rate, (bool, np.bool_)):
        if isinstance(rate, numbers.Integral):
            if rate >= 1:
                return
        elif 0 < rate <= 1:
            return
    if auto and isinstance(rate, str) and rate == AUTO:
        return
    raise ValueError(
        f"rate={rate!r} is not valid; use a float in (0, 1], the share of each image's patches to keep "
        "(1.0 keeps all), or an int >= 1, their number"
        + (', or "auto", as many as it takes to represent the image.' if auto else ".")
    )


def n_keep(n, rate):
    """Count the patches to keep.

    Parameters
    ----------
    n : int
        Patches of the image.
    rate : float or int
        Share in (0, 1], rounded up, or number; never more than `n`.

    Returns
    -------
    int
        At least 1.

    Examples
    --------
    >>> from patchdistill.ranking import n_keep
    >>> n_keep(180, 0.45), n_keep(180, 72), n_keep(10, 72)
    (81, 72, 10)
    """
    check_rate(rate)
    if isinstance(rate, numbers.Integral):
        return min(int(rate), n)
    # The small number absorbs the rounding of rates such as those of np.linspace, which a plain ceil would count up.
    return max(1, math.ceil(rate * n - 1e-9))


def rank(scores, keep="low"):
    """Order patches from the first to keep to the last.

    Parameters
    ----------
    scores : ndarray of shape (n_patches,)
        Scores.
    keep : {"low", "high"}, default="low"
        Which end is kept first.

    Returns
    -------
    ndarray of int, shape (n_patches,)
        Indices, best first; equal scores go by index.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.ranking import rank
    >>> rank(np.array([0.3, 0.1, 0.3, 0.2])), rank(np.array([0.3, 0.1, 0.3, 0.2]), keep="high")
    (array([1, 3, 0, 2]), array([0, 2, 3, 1]))
    """
    rounded = np.round(scores, _DECIMALS)
    return np.argsort(rounded if keep == "low" else -rounded, kind="stable")
