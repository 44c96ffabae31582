"""The published script's iteration, seeded, bug for bug: a baseline, not an oracle.

What it does and where that departs from its paper is in the mathematics page of the documentation. The arithmetic
follows the released ``emb_selection.py`` (arXiv:2412.12667) so that random numbers drawn from the same seed give the
same matrices.
"""

import numpy as np
from scipy.linalg import eigh
from scipy.spatial.distance import cdist
from sklearn.utils import check_random_state

from patchdistill.problem import row_norms
from patchdistill.solvers.solution import Solution

_RIDGE = 1e-3
_SMALLEST_DECREASE = 1e-4
_SCIPY_METRICS = {"euclidean": "euclidean", "manhattan": "cityblock"}


def solve_published(problem, random_state=0, max_iter=50):
    """Run the published iteration.

    Parameters
    ----------
    problem : ResidualProblem
        What it is meant to solve.
    random_state : int, RandomState instance or None, default=0
        Seed of the random start; the script itself draws without one.
    max_iter : int, default=50
        Most iterations. Its stopping rule ends it after 11.

    Returns
    -------
    Solution
        Last iterate, with the true objective and gap of its `W`.
    """
    E, Z, alpha, beta = problem.E.astype(np.float64), problem.Z, problem.alpha, problem.beta
    rng = check_random_state(random_state)
    n, d = E.shape
    rng.random_sample((d, Z.shape[1]))  # the script draws a W first, and overwrites it unread
    R = rng.random_sample((Z.shape[1], n)).T
    row_weights, residual_weights = np.eye(d), np.eye(n)
    losses = []
    for n_iter in range(1, max_iter + 1):
        W = np.linalg.inv(E.T @ E + alpha * row_weights + _RIDGE * np.eye(d)) @ (E.T @ (R + Z))
        misfit = E @ W - Z
        R = np.linalg.inv(np.eye(n) + beta * residual_weights + _RIDGE * np.eye(n)) @ misfit
        # Half the norm where its inverse is due, and the ridge on every entry of the matrix instead of the diagonal.
        row_weights = np.diag(row_norms(W) / 2) + _RIDGE
        residual_weights = np.diag(row_norms(R) / 2) + _RIDGE
        column_norms = np.linalg.norm(W, axis=0).sum()
        losses.append(np.linalg.norm(misfit - R) ** 2 + alpha * column_norms + beta * row_norms(R).sum())
        if n_iter > 10 and losses[-1] - losses[-2] <= _SMALLEST_DECREASE:  # any decrease stops it
            break
    return Solution(
        W=W,
        R=R,
        residual_norms=row_norms(R),
        objective=problem.objective(W),
        dual_gap=problem.dual_gap(W),
        n_iter=n_iter,
        converged=True,  # it watches no gap
        history={"loss": np.array(losses)},
    )


def published_target(E, metric="euclidean", h=10):
    """Target as the published script computes it: smallest eigenvectors, upside down.

    Parameters
    ----------
    E : ndarray of shape (n_patches, n_features)
        Embeddings of the patches of one image.
    metric : {"euclidean", "manhattan", "mahalanobis"}, default="euclidean"
        Distance; for ``"mahalanobis"`` the script hands over the covariance where its inverse is due.
    h : int, default=10
        Number of columns.

    Returns
    -------
    ndarray of shape (n_patches, h)
        The script's target.
    """
    E = np.asarray(E, dtype=np.float64)
    if metric == "mahalanobis":
        distances = cdist(E, E, "mahalanobis", VI=np.cov(E, rowvar=False) + 1e-10 * np.eye(E.shape[1]))
    else:
        distances = cdist(E, E, _SCIPY_METRICS[metric])
    affinity = np.exp(-(distances**2) / (2 * distances.mean()))
    _, vectors = eigh(affinity)  # ascending
    return np.flip(vectors, axis=0)[:, :h]
