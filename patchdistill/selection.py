"""Selection of the patches of one image: embeddings in, kept patches and their certificate out."""

import warnings
from dataclasses import dataclass, replace
from numbers import Integral, Real

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_memory

from patchdistill._compat import HasMethods, Interval, StrOptions, validate_parameter_constraints
from patchdistill._threads import single_blas_thread
from patchdistill.forms import check_features
from patchdistill.normalization import NORMALIZATIONS, normalize_embeddings
from patchdistill.problem import ResidualProblem, row_norms
from patchdistill.ranking import check_rate, n_keep, rank
from patchdistill.similarity import METRICS, pairwise_distances, rbf_affinity, spectral_target
from patchdistill.solvers import SOLVERS, Solution, run_solver

# What each parameter may be; ResidualPatchSelector has the same ones.
PARAMETER_CONSTRAINTS = {
    "h": [Interval(Integral, 1, None, closed="left")],
    "metric": [StrOptions(set(METRICS)), callable],
    "rate": "no_validation",  # check_rate has one message for all its forms
    "keep": [StrOptions({"low", "high"})],
    "alpha": [Interval(Real, 0, 1, closed="right")],
    "beta": [Interval(Real, 0, None, closed="right")],
    "bandwidth": [Interval(Real, 0, None, closed="neither")],
    "normalize": [StrOptions(set(NORMALIZATIONS)), None],
    "embedding": [callable, None],
    "solver": [StrOptions(set(SOLVERS))],
    "tol": [Interval(Real, 0, None, closed="left")],
    "max_iter": [Interval(Integral, 1, None, closed="left")],
    "random_state": ["random_state"],
    "memory": [str, HasMethods("cache"), None],
    "n_jobs": [Integral, None],
    "verbose": ["verbose"],
}


@dataclass(frozen=True)
class PatchSelection:
    """Which patches of one image were kept, and why.

    Attributes
    ----------
    indices : ndarray of int, shape (n_kept,)
        Kept patches, ascending.
    ranking : ndarray of int, shape (n_patches,)
        All patches, the first to keep first.
    scores : ndarray of shape (n_patches,)
        Relative residual of each patch: the norm of its misfit over the norm of its target. 0 is explained perfectly,
        1 is as bad as not being explained at all.
    solution : Solution
        Answer of the solver, with its duality gap.
    problem : ResidualProblem
        What was solved.
    """

    indices: np.ndarray
    ranking: np.ndarray
    scores: np.ndarray
    solution: Solution
    problem: ResidualProblem


def select_patches(
    E,
    h=10,
    metric="euclidean",
    rate=0.45,
    *,
    keep="low",
    alpha=0.1,
    beta=0.3,
    bandwidth=4.0,
    normalize="rows",
    embedding=None,
    solver="exact",
    tol=1e-3,
    max_iter=1000,
    random_state=0,
    memory=None,
    n_jobs=None,
    verbose=0,
):
    """Keep the patches of one image that its similarity structure explains best (or worst).

    Parameters
    ----------
    E : array-like of shape (n_patches, n_features)
        Embeddings of the patches of one image; pixels, one patch per row, if `embedding` is given.
    h : int, default=10
        Number of leading eigenvectors of the affinity that make the target, at most the number of patches.
    metric : {"euclidean", "manhattan", "mahalanobis", "cosine"} or callable, default="euclidean"
        Distance between patches, see :func:`patchdistill.similarity.pairwise_distances`.
    rate : float or int, default=0.45
        Share of the patches to keep, in (0, 1] and rounded up, or their number.
    keep : {"low", "high"}, default="low"
        Whether the patches with the lowest or the highest scores are kept.
    alpha : float, default=0.1
        Penalty of the features' coefficients, as a share in (0, 1] of the smallest one at which all are zero.
    beta : float, default=0.3
        Penalty of the residuals, in units of the smallest one at which no patch is an outlier when nothing is
        explained; ``numpy.inf`` allows no outliers.
    bandwidth : float, default=4.0
        Of the affinity, as a multiple of the median squared distance.
    normalize : {"rows", "columns"} or None, default="rows"
        ``"rows"`` scales each patch's embedding to unit norm, right for the activations of a network; ``"columns"``
        standardizes each feature over the patches first, right for descriptors of mixed units such as
        :class:`patchdistill.embedding.PatchStatistics`.
    embedding : callable, default=None
        Maps the patches of an image, as given, to their embeddings (n_patches, n_features).
    solver : {"exact", "published"}, default="exact"
        See :func:`patchdistill.solve`.
    tol : float, default=1e-3
        Relative duality gap at which the exact solver stops.
    max_iter : int, default=1000
        Most steps of the solver.
    random_state : int, RandomState instance or None, default=0
        Start of ``solver="published"``; the exact solver draws no random numbers.
    memory : str or joblib.Memory, default=None
        Where solutions are cached. The key leaves out `rate` and `keep`.
    n_jobs, verbose : default=None, 0
        Without effect for one image; taken so that an estimator's ``get_params()`` can be passed.

    Returns
    -------
    PatchSelection
        Kept patches, ranking, scores, and the solution with its certificate. Copies of a patch have equal scores,
        equal scores go by index; neither the order of the patches nor the scale of `E` matters.

    Raises
    ------
    ValueError, TypeError
        If a parameter or `E` is not valid.

    Warns
    -----
    ConvergenceWarning
        If the exact solver stopped before it reached `tol`.

    See Also
    --------
    ResidualPatchSelector : The same for many images, as a scikit-learn transformer.
    patchdistill.solve : The solver alone.

    References
    ----------
    .. [1] A. Sendjasni, S.-E. Benkabou, M.-C. Larabi, "Embedding-Driven Data Distillation for 360-Degree IQA With
       Residual-Aware Refinement", arXiv:2412.12667.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill import select_patches
    >>> E = np.random.default_rng(0).random((20, 64))
    >>> selection = select_patches(E, rate=0.25)
    >>> len(selection.indices)
    5
    >>> bool(selection.solution.dual_gap <= 1e-3 * selection.solution.objective)
    True
    """
    parameters = dict(locals())
    del parameters["E"]
    validate_parameter_constraints(PARAMETER_CONSTRAINTS, parameters, caller_name="select_patches")
    check_rate(rate)
    E = embed(E, embedding) if embedding is not None else check_features(E)
    solution_parameters = {name: parameters[name] for name in SOLUTION_PARAMETERS}
    scored = check_memory(memory).cache(score_patches)(E, **solution_parameters)
    solution = scored.solution
    if not solution.converged:
        gap = solution.dual_gap / solution.objective
        warnings.warn(convergence_message([False], [gap], tol, max_iter), ConvergenceWarning, stacklevel=2)
    ranking = rank(scored.scores, keep)
    indices = np.sort(ranking[: n_keep(len(E), rate)])
    problem = ResidualProblem(normalize_embeddings(E, normalize), scored.target, scored.alpha, scored.beta)
    return PatchSelection(indices, ranking, scored.scores, solution, problem)


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
    """

    scores: np.ndarray
    solution: Solution
    target: np.ndarray
    alpha: float
    beta: float


# The parameters a solution depends on: the key of the cache.
SOLUTION_PARAMETERS = (
    "h",
    "metric",
    "alpha",
    "beta",
    "bandwidth",
    "normalize",
    "solver",
    "tol",
    "max_iter",
    "random_state",
)


def score_patches(E, *, h, metric, alpha, beta, bandwidth, normalize, solver, tol, max_iter, random_state):
    """Relative residuals of the patches of one image; parameters as in :func:`select_patches`.

    The patches are put into an order that depends on their contents alone, so that permuting them permutes the
    scores to the last bit, and copies, which that order makes neighbours, can be given one score.
    """
    E = np.asarray(E) + 0.0  # one zero instead of two, which differ in their bytes
    contents = [row.tobytes() for row in E]
    order = np.array(sorted(range(len(E)), key=contents.__getitem__))
    rows = normalize_embeddings(E[order], normalize)
    with single_blas_thread():
        Z = spectral_target(rbf_affinity(pairwise_distances(rows, metric), bandwidth), h)
        problem = _scaled_problem(rows, Z, alpha, beta)
        solution = run_solver(problem, solver, tol, max_iter, random_state)
    scores = relative_residuals(solution.residual_norms, row_norms(Z))
    for k in range(1, len(order)):
        if contents[order[k]] == contents[order[k - 1]]:
            scores[k] = scores[k - 1]
    back = np.argsort(order)
    solution = replace(solution, R=solution.R[back], residual_norms=solution.residual_norms[back])
    return ScoredPatches(scores[back], solution, Z[back], problem.alpha, problem.beta)


def _scaled_problem(rows, Z, alpha, beta):
    """Problem whose penalties are given relative to their maxima.

    Rows that are all zero have no maximum of alpha (W = 0 whatever alpha is); any positive number serves.
    """
    beta *= ResidualProblem(rows, Z).beta_max()
    alpha *= ResidualProblem(rows, Z, beta=beta).alpha_max() or 1.0
    return ResidualProblem(rows, Z, alpha, beta)


def relative_residuals(residual_norms, target_norms):
    """Misfit of each patch relative to its target; 1 where there is nothing to explain and nothing was predicted."""
    smallest = np.finfo(float).tiny
    ratio = residual_norms / np.maximum(target_norms, smallest)
    return np.where((target_norms < smallest) & (residual_norms < smallest), 1.0, ratio)


def embed(patches, embedding):
    """Embeddings of one image's patches by the user's callable, checked."""
    E = np.asarray(embedding(patches))
    if E.ndim != 2 or len(E) != len(patches):
        raise ValueError(
            f"embedding returned an array of shape {E.shape} for {len(patches)} patches; "
            f"it must return one row of features per patch, ({len(patches)}, n_features)."
        )
    return check_features(E)


def convergence_message(converged, relative_gaps, tol, max_iter):
    """Tell of the images whose solver stopped early."""
    late = np.flatnonzero(~np.asarray(converged))
    worst = late[np.argmax(np.asarray(relative_gaps)[late])]
    images = "image" if len(converged) == 1 else "images"
    return (
        f"{len(late)} of {len(converged)} {images} did not reach tol={tol:g} in {max_iter} iterations "
        f"(largest gap {relative_gaps[worst]:.1e} at image {worst}); raise max_iter or tol."
    )
