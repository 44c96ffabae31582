"""Solvers of :class:`patchdistill.ResidualProblem`, behind one function."""

import warnings

from sklearn.exceptions import ConvergenceWarning

from patchdistill._threads import single_blas_thread
from patchdistill.solvers.exact import solve_exact
from patchdistill.solvers.published import solve_published
from patchdistill.solvers.solution import Solution

__all__ = ["SOLVERS", "Solution", "run_solver", "solve"]

SOLVERS = ("exact", "published")


def solve(problem, solver="exact", *, tol=1e-3, max_iter=1000, random_state=0):
    """Solve a residual problem.

    Parameters
    ----------
    problem : ResidualProblem
        What to solve.
    solver : {"exact", "published"}, default="exact"
        ``"exact"`` is deterministic and stops at a duality gap. ``"published"`` is the iteration of the published
        script, bug for bug: a baseline.
    tol : float, default=1e-3
        Relative duality gap, ``dual_gap / objective``, at which ``"exact"`` stops. Below about 1e-12 it may
        not be reached, which a warning tells.
    max_iter : int, default=1000
        Most iterations; ``"published"`` does at most 50, as the script does.
    random_state : int, RandomState instance or None, default=0
        Start of ``"published"``.

    Returns
    -------
    Solution
        Coefficients, residuals, objective and its certificate.

    Raises
    ------
    ValueError
        If the solver is unknown or `tol` is negative.

    Warns
    -----
    ConvergenceWarning
        If ``"exact"`` stopped before it reached `tol`.

    See Also
    --------
    patchdistill.select_patches : From embeddings to kept patches.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill import ResidualProblem, solve
    >>> rng = np.random.default_rng(0)
    >>> problem = ResidualProblem(rng.normal(size=(20, 50)), rng.normal(size=(20, 3)), alpha=5.0, beta=2.0)
    >>> solution = solve(problem, tol=1e-6)
    >>> bool(solution.dual_gap <= 1e-6 * solution.objective)
    True
    """
    if solver not in SOLVERS:
        raise ValueError(f"solver={solver!r} is unknown; use one of {', '.join(SOLVERS)}.")
    if not tol >= 0:
        raise ValueError(f"tol={tol!r} must be a number >= 0.")
    with single_blas_thread():
        solution = run_solver(problem, solver, tol, max_iter, random_state)
    if not solution.converged:
        warnings.warn(
            f"The solver stopped after {solution.n_iter} iterations at a relative gap of "
            f"{solution.dual_gap / solution.objective:.1e}, above tol={tol:g}; raise max_iter or tol.",
            ConvergenceWarning,
            stacklevel=2,
        )
    return solution


def run_solver(problem, solver, tol, max_iter, random_state):
    """Like :func:`solve`, for callers that check the parameters and tell of convergence themselves."""
    if solver == "published":
        return solve_published(problem, random_state, min(max_iter, 50))
    return solve_exact(problem, tol, max_iter)
