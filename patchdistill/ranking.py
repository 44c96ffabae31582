"""From scores to kept patches: how many, and which."""

import math
import numbers

import numpy as np

# Scores this close count as equal. Symmetric patches have equal scores in theory and scores that differ by rounding in
# practice; without this, which of them is kept would depend on the units of the features.
_DECIMALS = 9


def check_rate(rate):
    """Check a rate, in the one place that knows its legal forms.

    Parameters
    ----------
    rate : float or int
        Share of the patches to keep, in (0, 1], or their number, at least 1.

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
    raise ValueError(
        f"rate={rate!r} is not valid; use a float in (0, 1], the share of each image's patches to keep "
        "(1.0 keeps all), or an int >= 1, their number."
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
