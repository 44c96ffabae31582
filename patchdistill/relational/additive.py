"""The mathematics of the score: nonnegative weights of pooled distortions, learned from an order."""

import warnings
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.exceptions import ConvergenceWarning

# What each curve of a pooled distortion is half saturated at. All curves are 0 at 0 and nondecreasing, so that a sum of
# them with nonnegative weights is; and flat at 0, so that what nobody would see hardly counts.
HALF = np.array([0.1, 0.3, 1.0])

# Distortions whose amounts differ by no more than this count as equally bad.
TIE = 1e-3

_MAX_ITER = 10_000


@dataclass(frozen=True)
class AdditiveFit:
    """Weights that put versions in order, and how good they are.

    Attributes
    ----------
    weights : ndarray of shape (n_features,)
        At least 0. The amount of distortion is estimated as ``features @ weights``.
    objective : float
        What the weights make smallest.
    optimality : float
        Largest entry of the projected gradient of the objective, for features of unit deviation; 0 at the optimum.
    n_iter : int
        Iterations.
    """

    weights: np.ndarray
    objective: float
    optimality: float
    n_iter: int


def bend(pooled):
    """Bend pooled distortions p into the curves ``p^2 / (p^2 + c^2)``, one for each c in ``HALF``.

    So sight responds to contrast [1]_ [2]_: slowly to the faintest, then steeply, and ever less to more of it.

    Parameters
    ----------
    pooled : ndarray
        Numbers in [0, 1].

    Returns
    -------
    ndarray of float64, of the same shape with an axis of length 3 appended
        In [0, 1).

    References
    ----------
    .. [1] K. Naka, W. Rushton, "S-potentials from colour units in the retina of fish", Journal of Physiology 185(3),
       1966.
    .. [2] G. Legge, J. Foley, "Contrast masking in human vision", JOSA 70(12), 1980.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.relational.additive import bend
    >>> bend(np.array([0.0, 0.1])).round(2)
    array([[0.  , 0.  , 0.  ],
           [0.5 , 0.1 , 0.01]])
    """
    # In this form every step of the rounding keeps the order.
    half = HALF**2
    return 1 - half / (half + np.square(pooled)[..., None])


def fit_additive(features, amounts, pairs, alpha, tie_weight, tol):
    r"""Learn nonnegative weights from pairs of versions whose order is known.

    With :math:`d = X w` the estimated amounts of distortion, :math:`t` the true ones, :math:`X` scaled to columns of
    unit deviation and :math:`g` the mean of :math:`t_j - t_i` over the pairs, it minimizes over :math:`w \ge 0`

    .. math:: \sum_{\text{kinds}} \Big[ \operatorname{mean}_{t_i < t_j} \log(1 + e^{(t_j - t_i) / g - (d_j - d_i)})
              + \tau \operatorname{mean}_{t_i = t_j} (d_j - d_i)^2 \Big] + \frac{\alpha}{2} \|w\|^2 .

    This is RankNet [1]_ with a margin that grows with the true difference and a term for ties. It is strongly convex:
    there is one optimum, and the projected gradient tells how far away it is. At last the weights are scaled so that
    `features @ weights` comes closest to `amounts` in the least squares sense, which leaves the order as it is.

    Parameters
    ----------
    features : ndarray of shape (n_versions, n_features)
        At least 0, and 0 without distortion.
    amounts : ndarray of shape (n_versions,)
        True amounts of distortion.
    pairs : dict of str to ndarray of int, shape (n_pairs, 2)
        For each kind the pairs of versions; all kinds count alike, and all pairs of a kind. Pairs whose amounts differ
        by at most ``TIE`` are ties.
    alpha : float
        Weight of the squared norm, above 0.
    tie_weight : float
        Weight of the ties.
    tol : float
        Largest entry of the projected gradient that is accepted.

    Returns
    -------
    AdditiveFit
        The weights, and how near to the optimum they are.

    Raises
    ------
    ValueError
        If no pair has versions of different amounts, or no feature orders them better than chance.

    Warns
    -----
    ConvergenceWarning
        If the projected gradient stays above `tol`.

    References
    ----------
    .. [1] C. Burges et al., "Learning to Rank using Gradient Descent", ICML 2005.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.relational.additive import fit_additive
    >>> amounts = np.array([0.0, 0.2, 0.4, 0.8])
    >>> features = np.column_stack([amounts / 2, 1 - amounts])  # the second would have to be subtracted
    >>> pairs = {"ladder": np.array([[0, 1], [1, 2], [2, 3]])}
    >>> fit_additive(features, amounts, pairs, alpha=1e-3, tie_weight=1.0, tol=1e-6).weights.round(3)
    array([2., 0.])
    """
    scale = features.std(axis=0)
    scale[scale == 0] = 1.0
    problem = _RankingProblem(features / scale, amounts, pairs, alpha, tie_weight)
    found = minimize(
        problem.objective,
        np.zeros(len(scale)),
        jac=True,
        method="L-BFGS-B",
        bounds=[(0, None)] * len(scale),
        options={"maxiter": _MAX_ITER, "maxfun": 2 * _MAX_ITER, "ftol": 0, "gtol": tol, "maxcor": 30},
    )
    optimality = float(np.abs(found.x - np.maximum(found.x - problem.objective(found.x)[1], 0)).max())
    if optimality > tol:
        warnings.warn(
            f"The weights did not reach tol={tol:g} in {found.nit} iterations (projected gradient {optimality:.2g}); "
            "raise tol or alpha.",
            ConvergenceWarning,
            stacklevel=2,
        )
    weights = found.x / scale
    estimated = features @ weights
    if not estimated.any():
        raise ValueError(
            "No pooled distortion orders the versions better than chance. Check that the map predicts the channels of "
            "the engine, and lower alpha if it does."
        )
    weights *= (estimated @ amounts) / (estimated @ estimated)
    return AdditiveFit(weights, float(found.fun), optimality, int(found.nit))


class _RankingProblem:
    """The objective of :func:`fit_additive` and its gradient."""

    def __init__(self, features, amounts, pairs, alpha, tie_weight):
        self.features = features
        self.alpha = alpha
        gaps = {kind: np.abs(np.diff(amounts[ij], axis=1)[:, 0]) for kind, ij in pairs.items()}
        ranked, ties = ({kind: (gap > TIE) == is_ranked for kind, gap in gaps.items()} for is_ranked in (True, False))
        if not any(where.any() for where in ranked.values()):
            raise ValueError("No two versions of a pair differ in their amount of distortion; give more levels.")
        # Of each pair the better version, then the worse one.
        ordered = {
            kind: np.take_along_axis(ij, np.argsort(amounts[ij], axis=1, kind="stable"), axis=1)
            for kind, ij in pairs.items()
        }
        self.ranked, self.ranked_weights = _gather(ordered, ranked)
        self.ties, self.ties_weights = _gather(ordered, ties)
        self.ties_weights *= tie_weight
        margins = np.concatenate([gaps[kind][ranked[kind]] for kind in pairs])
        self.margins = margins / margins.mean()

    def objective(self, weights):
        """Value and gradient."""
        amounts = self.features @ weights
        lacking = self.margins - _differences(amounts, self.ranked)
        of_ties = _differences(amounts, self.ties)
        value = self.ranked_weights @ np.logaddexp(0, lacking) + self.ties_weights @ of_ties**2
        slopes = self._back(self.ranked, -self.ranked_weights * expit(lacking))
        slopes += self._back(self.ties, 2 * self.ties_weights * of_ties)
        gradient = self.features.T @ slopes + self.alpha * weights
        return value + self.alpha / 2 * weights @ weights, gradient

    def _back(self, pairs, slopes):
        """Slopes along the differences of pairs as slopes along the amounts of versions."""
        n = len(self.features)
        return np.bincount(pairs[:, 1], slopes, n) - np.bincount(pairs[:, 0], slopes, n)


def _differences(amounts, pairs):
    return amounts[pairs[:, 1]] - amounts[pairs[:, 0]]


def _gather(pairs, chosen):
    """Chosen pairs of all kinds, and weights with which those of each kind are averaged."""
    gathered = np.concatenate([pairs[kind][where] for kind, where in chosen.items()])
    weights = np.concatenate([np.full(where.sum(), 1 / max(where.sum(), 1)) for where in chosen.values()])
    return gathered, weights
