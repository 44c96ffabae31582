"""What every solver returns."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Solution:
    """Answer of a solver, with the proof of how good it is.

    Attributes
    ----------
    W : ndarray of shape (n_features, h)
        Coefficients; ``row_norms(W)`` ranks the features.
    R : ndarray of shape (n_patches, h)
        Residuals.
    residual_norms : ndarray of shape (n_patches,)
        What patches are ranked by: row norms of the misfit ``E W - Z`` (same order as those of `R` where these are not
        zero, and no ties where they are); for the published script, row norms of its own `R`.
    objective : float
        Objective of `W` with the best `R`.
    dual_gap : float
        Upper bound of `objective` minus the minimum, from a feasible dual point; absolute.
    n_iter : int
        Iterations done.
    converged : bool
        Whether ``dual_gap <= tol * objective``.
    history : dict of str to ndarray
        ``"n_iter"``, ``"objective"`` and ``"dual_gap"`` at every check of the gap; for the published script
        ``"loss"``, the value it watches, at every iteration.
    """

    W: np.ndarray
    R: np.ndarray
    residual_norms: np.ndarray
    objective: float
    dual_gap: float
    n_iter: int
    converged: bool
    history: dict
