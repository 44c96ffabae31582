"""How well each patch of one image is explained by the others' structure: embeddings in, relative residuals out."""

from dataclasses import dataclass, replace

import numpy as np

from patchdistill._threads import single_blas_thread
from patchdistill.forms import check_features
from patchdistill.large.sizes import check_blockwise, is_large
from patchdistill.large.target import large_target
from patchdistill.normalization import normalize_embeddings
from patchdistill.problem import ResidualProblem, row_norms
from patchdistill.similarity import rbf_affinity, spectral_target
from patchdistill.solvers import Solution, run_solver


@dataclass(frozen=True)
class ScoredPatches:
    """Scores of one image's patches, and what they came from.

    Attributes
    ----------
    scores : ndarray of shape (n_patches,)
        Relative residuals.
    solution : Solution
        Answer of the solver, patches in the order given.
    target : ndarray of shape (n_patches, h)
        Spectral target.
    alpha, beta : float
        Absolute penalties.
    target_error : float
        Relative error of the target, see :func:`patchdistill.large.target.large_target`; 0 unless the image is large.
    """

    scores: np.ndarray
    solution: Solution
    target: np.ndarray
    alpha: float
    beta: float
    target_error: float


# The parameters a solution depends on: the key of the cache.
SOLUTION_PARAMETERS = (
    "h",
    "metric",
    "alpha",
    "beta",
    "bandwidth",
    "solver",
    "tol",
    "max_iter",
    "random_state",
)


def solved_problem(E, normalize, scored):
    """Make the problem again that was solved for the scores; the cache does without it.

    Parameters
    ----------
    E : ndarray of shape (n_patches, n_features)
        Embeddings.
    normalize : {"rows", "columns"} or None
        How they were normalized.
    scored : ScoredPatches
        Scores.

    Returns
    -------
    ResidualProblem
        Patches in the order given.
    """
    return ResidualProblem(normalize_embeddings(E, normalize), scored.target, scored.alpha, scored.beta)


def score_patches(patches, *, h, metric, alpha, beta, bandwidth, solver, tol, max_iter, random_state):
    """Relative residuals of the patches of one image; parameters as in :func:`patchdistill.select_patches`.

    The patches are solved in their own order, so that permuting them permutes the scores to the last bit, and copies,
    which that order makes neighbours, can be given one score.

    Parameters
    ----------
    patches : OrderedPatches
        The image.

    Returns
    -------
    ScoredPatches
        Scores, in the order in which the patches came.
    """
    check_blockwise(len(patches), metric, solver)
    with single_blas_thread():
        rows = patches.rows
        if is_large(len(rows)):
            Z, target_error = large_target(rows, metric, bandwidth, h)
        else:
            affinity = rbf_affinity(patches.normalized_distances(rows, metric), bandwidth)
            Z, target_error = spectral_target(affinity, h), 0.0
        problem = _scaled_problem(rows, Z, alpha, beta)
        solution = run_solver(problem, solver, tol, max_iter, random_state)
    scores = relative_residuals(solution.residual_norms, row_norms(Z))
    for k in patches.copies:
        scores[k] = scores[k - 1]
    back = np.argsort(patches.order)
    solution = replace(solution, R=solution.R[back], residual_norms=solution.residual_norms[back])
    return ScoredPatches(scores[back], solution, Z[back], problem.alpha, problem.beta, target_error)


def _scaled_problem(rows, Z, alpha, beta):
    """Problem whose penalties are given relative to their maxima.

    Rows that are all zero have no maximum of alpha (W = 0 whatever alpha is); any positive number serves.
    """
    problem = ResidualProblem(rows, Z)
    problem = problem.with_penalties(problem.alpha, beta * problem.beta_max())
    return problem.with_penalties(alpha * (problem.alpha_max() or 1.0), problem.beta)


def relative_residuals(residual_norms, target_norms):
    """Misfit of each patch relative to its target; 1 where there is nothing to explain and nothing was predicted."""
    smallest = np.finfo(float).eps * target_norms.max(initial=0.0) or np.finfo(float).tiny
    ratio = residual_norms / np.maximum(target_norms, smallest)
    return np.where((target_norms < smallest) & (residual_norms < smallest), 1.0, ratio)


def embed(patches, embedding):
    """Embeddings of one image's patches by the user's callable, checked."""
    E = np.asarray(embedding(patches))
    return check_features(check_one_row_per_patch(E, len(patches)))


def check_one_row_per_patch(E, n):
    """Check the shape of what an embedding returned for `n` patches."""
    if E.ndim != 2 or len(E) != n:
        raise ValueError(
            f"embedding returned an array of shape {tuple(E.shape)} for {n} patches; "
            f"it must return one row of features per patch, ({n}, n_features)."
        )
    return E


def convergence_message(converged, relative_gaps, tol, max_iter):
    """Tell of the images whose solver stopped early."""
    late = np.flatnonzero(~np.asarray(converged))
    worst = late[np.argmax(np.asarray(relative_gaps)[late])]
    images = "image" if len(converged) == 1 else "images"
    return (
        f"{len(late)} of {len(converged)} {images} did not reach tol={tol:g} in {max_iter} iterations "
        f"(largest gap {relative_gaps[worst]:.1e} at image {worst}); raise max_iter or tol."
    )
