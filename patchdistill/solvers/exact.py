"""Exact solver: damped Newton steps on the few features that matter, stopped by a duality gap on all of them.

Only few features carry the solution (bench_solver counts them), so the work is done on a working set
that the gap check, the one step that looks at all features, extends by the worst violators of optimality. On the
working set the objective is smooth as long as no row of W is zero. Its Hessian H is that of iteratively reweighted
least squares, M, less some rank-one terms. M majorizes the objective, so its step always descends but slowly; H's
step is fast but only near the answer. The steps here solve with ``H + damping (M - H)``: damping 1 is reweighted
least squares, damping 0 is Newton, and M preconditions the conjugate gradients for all between, whose eigenvalues
then lie in [damping, 1]. A row that a step turns round is a row that wants to vanish: it is set to zero and leaves.
Every step lowers the objective or, where rounding is all that is left of it, keeps it.

Nothing here depends on the signs or the rotation of the columns of Z, and no matrix is larger than n x d.
"""

import numpy as np
from scipy.linalg import lapack

from patchdistill.problem import row_norms
from patchdistill.solvers.solution import Solution

_FIRST_FEATURES = 20
_PROOF = 1e-4  # relative gap from which on it is no estimate in the precision of the embeddings, but a proof in float64
_INNER_GAP = 0.2  # the working set is solved to this share of the gap that is left on all features
_CG_TOL = 0.2  # the equations are solved no better than the step deserves
_CG_MAX = 100
_FIRST_DAMPING, _LEAST_DAMPING, _DAMPING_FACTOR = 0.1, 1e-10, 4.0
_DAMPING_PER_GAP = 0.1  # far from the answer, by the relative gap, Newton's model is not trusted
_GOOD_STEP, _POOR_STEP = 0.75, 0.25  # decrease of the objective as a share of what the model promised
_LENGTHS = (1.0, 0.5, 0.25)
_HALVINGS = 0.5 ** np.arange(13.0)[:, None]
_PATIENCE = 5  # steps without a smaller gap, next to the minimum
_ROUNDING = 16 * np.finfo(float).eps


def solve_exact(problem, tol=1e-3, max_iter=1000):
    """Solve to a relative duality gap.

    Parameters
    ----------
    problem : ResidualProblem
        What to solve.
    tol : float, default=1e-3
        Stops when ``dual_gap <= tol * objective``.
    max_iter : int, default=1000
        Most steps.

    Returns
    -------
    Solution
        Deterministic; `converged` is False when `max_iter` or the precision of the machine stopped it first.
    """
    E, Z = problem.E, problem.Z
    active = np.empty(0, dtype=np.intp)
    W_active = np.empty((0, Z.shape[1]))
    U = -Z
    n_iter, damping, precision = 0, _FIRST_DAMPING, E.dtype
    history = {"n_iter": [], "objective": [], "dual_gap": []}
    while True:
        objective = problem.value(row_norms(U), W_active)
        dual, gradient = problem.dual_value(U, precision)
        if precision != np.float64 and (objective - dual <= max(tol, _PROOF) * objective or n_iter >= max_iter):
            precision = np.dtype(np.float64)
            dual, gradient = problem.dual_value(U)
        gap = max(0.0, objective - dual)
        for name, value in (("n_iter", n_iter), ("objective", objective), ("dual_gap", gap)):
            history[name].append(value)
        converged = gap <= tol * objective
        stuck = all(
            len(values) > 1 and values[-1] >= values[-2] for values in map(history.get, ("objective", "dual_gap"))
        )
        if converged or n_iter >= max_iter or (stuck and precision == np.float64):
            break
        if stuck:
            precision = np.dtype(np.float64)
        new = _worst_violators(gradient, problem.alpha, active)
        first = _first_coefficients(problem, U, E[:, new].astype(np.float64, copy=False), gradient[new])
        W_active = np.vstack([W_active, first])
        active = np.concatenate([active, new])
        target = max(_INNER_GAP * gap, tol * objective / 3)
        rows, W_active, U, steps, damping = _solve_working_set(
            problem, E[:, active].astype(np.float64, copy=False), W_active, target, max_iter - n_iter, damping
        )
        active, n_iter = active[rows], n_iter + steps
    W = np.zeros((E.shape[1], Z.shape[1]))
    W[active] = W_active
    return Solution(
        W=W,
        R=U - problem.clip(U),
        residual_norms=row_norms(U),
        objective=objective,
        dual_gap=gap,
        n_iter=n_iter,
        converged=bool(converged),
        history={name: np.array(values) for name, values in history.items()},
    )


def _worst_violators(gradient, alpha, active):
    """Features outside the working set whose correlation with the dual point exceeds alpha, worst first."""
    correlations = row_norms(gradient)
    correlations[active] = 0.0
    violators = np.flatnonzero(correlations > alpha)
    worst_first = violators[np.argsort(-correlations[violators], kind="stable")]
    return worst_first[: max(_FIRST_FEATURES, 2 * len(active))]


def _first_coefficients(problem, U, E_new, gradient):
    """Coefficients to start the new features from: each one's own proximal step, shortened together until they help."""
    steps = (1 - problem.alpha / row_norms(gradient)) / (2 * np.einsum("ij,ij->j", E_new, E_new))
    W_new = -gradient * steps[:, None]
    change = E_new @ W_new
    # Convex in the scale and decreasing at 0: the first of the halvings that no longer improves on the one before is
    # past the best. The misfits of all of them have norms that three inner products give.
    squared, inner, moved = (np.einsum("ij,ij->i", A, B) for A, B in ((U, U), (U, change), (change, change)))
    norms = np.sqrt(np.maximum(squared + _HALVINGS * (2 * inner + _HALVINGS * moved), 0.0))
    values = problem.loss(norms) + _HALVINGS[:, 0] * problem.alpha * row_norms(W_new).sum()
    improves = np.append(values[1:] < values[:-1], False)
    return _HALVINGS[improves.argmin(), 0] * W_new


def _solve_working_set(problem, E, W, target_gap, max_steps, damping):
    """Minimize over the features of `E` alone, to a gap on those of them that stay.

    Returns
    -------
    rows : ndarray of int
        Features whose coefficients are not zero.
    W : ndarray of shape (n_rows, h)
        Their coefficients.
    U : ndarray of shape (n_patches, h)
        Misfit.
    steps : int
        Steps done.
    damping : float
        Of the next step.
    """
    U = E @ W - problem.Z
    objective = problem.value(row_norms(U), W)
    rows = np.arange(len(W))
    previous, best_gap, best, patience = np.inf, np.inf, None, _PATIENCE
    for step in range(max_steps + 1):
        stays = W.any(axis=1)
        if not stays.all():
            rows, W, E = rows[stays], W[stays], E[:, stays]
        # A feature that has left by mistake is for the check of all features to bring back: it cannot return here, and
        # a gap that counts it would not close.
        gap = objective - problem.with_features(E).dual_value(U)[0]
        # Where the objective has no digits left to show it, only the gap tells whether a step was one forward.
        stalled = previous - objective <= _ROUNDING * objective
        if gap < best_gap or not stalled:
            best_gap, best, patience = gap, (rows, W, U), _PATIENCE
        else:
            patience -= 1
        if gap <= target_gap or not len(rows) or patience < 0 or step == max_steps:
            return *best, step, damping
        previous = objective
        W, U, objective, damping = _step(problem, E, W, U, objective, max(damping, _DAMPING_PER_GAP * gap / objective))


def _step(problem, E, W, U, objective, damping):
    """One step that lowers the objective or, next to its minimum, keeps it, and the damping of the next step.

    No row of W is zero.
    """
    model = _LocalModel(problem, E, W, U)
    highest = objective * (1 + _ROUNDING)
    while True:
        direction, promised = model.minimize(damping)
        for length in _LENGTHS:
            W_new = W + length * direction
            # A row that has turned round passed through zero on the way, where Newton's model ends. The majorizer holds
            # beyond, and is the step that must not fail.
            if damping < 1.0:
                W_new[np.einsum("ij,ij->i", W_new, W) <= 0] = 0.0
            U_new = E @ W_new - problem.Z
            value = problem.value(row_norms(U_new), W_new)
            if value < highest:
                break
        used = damping
        decrease = highest - value  # rounding is given to the step: next to the minimum there is nothing else
        if decrease > _GOOD_STEP * promised:
            damping = max(damping / _DAMPING_FACTOR, _LEAST_DAMPING)
        elif not decrease >= _POOR_STEP * promised:  # NaN, where a step overflowed, included
            damping = min(damping * _DAMPING_FACTOR, 1.0)
        if value < highest:
            return W_new, U_new, value, damping
        if used == 1.0:
            return W, U, objective, damping


class _LocalModel:
    """Quadratic models of the objective at W, in coordinates scaled by the square roots of the row norms of W.

    With X_j = W_j / sqrt(||W_j||) and D = diag(||W_j||) the majorizer 2 E'SE + alpha D^-1 becomes
    2 D^1/2 E'SE D^1/2 + alpha I, which stays well conditioned as rows vanish.
    """

    def __init__(self, problem, E, W, U):
        norms = row_norms(U)
        weights = problem.huber_weights(norms)[:, None]
        self.alpha = problem.alpha
        # Units of the outlying rows alone: of the others nothing is taken.
        self.units_U = U * np.where(norms > problem.beta / 2, 1 / np.maximum(norms, problem.beta / 2), 0.0)[:, None]
        self.scale = np.sqrt(row_norms(W))[:, None]
        self.units_W = W / self.scale**2
        self.E = E * self.scale.T
        self.weighted = (2 * weights * self.E).T
        self.gradient = self.weighted @ U + self.alpha * self.units_W * self.scale
        n, m = self.E.shape
        self.has_more_features = m > n
        if self.has_more_features:  # the Woodbury identity: n x n instead of m x m
            matrix, ridge = self.E @ self.E.T, self.alpha / (2 * weights[:, 0])
        else:
            matrix, ridge = self.weighted @ self.E, self.alpha
        matrix.flat[:: len(matrix) + 1] += ridge
        self.factor = _cholesky(matrix)

    def _precondition(self, residual):
        """Multiply by the inverse of the majorizer."""
        if self.has_more_features:
            return (residual - self.E.T @ _solve(self.factor, self.E @ residual)) / self.alpha
        return _solve(self.factor, residual)

    def _multiply(self, V, damping):
        """``(H + damping (M - H)) V``: the rank-one terms, along U and along W, count by 1 - damping."""
        X = self.E @ V
        X -= ((1 - damping) * np.einsum("ij,ij->i", self.units_U, X))[:, None] * self.units_U
        image = self.weighted @ X
        image += self.alpha * V
        image -= (self.alpha * (1 - damping) * np.einsum("ij,ij->i", self.units_W, V))[:, None] * self.units_W
        return image

    def minimize(self, damping):
        """Preconditioned conjugate gradients: the step, and the decrease that the model promises for it."""
        step = np.zeros_like(self.gradient)
        residual = -self.gradient
        conjugate = self._precondition(residual)
        first = energy = np.vdot(residual, conjugate)
        for _ in range(_CG_MAX):
            image = self._multiply(conjugate, damping)
            curvature = np.vdot(conjugate, image)
            if curvature <= 0:  # flat to the precision of the machine
                break
            length = energy / curvature
            step += length * conjugate
            residual -= length * image
            preconditioned = self._precondition(residual)
            previous, energy = energy, np.vdot(residual, preconditioned)
            if energy <= _CG_TOL**2 * first:
                break
            conjugate = preconditioned + energy / previous * conjugate
        return step * self.scale, -np.vdot(self.gradient, step) / 2


# LAPACK itself: on matrices as small as these, SciPy's checks cost more than the work.


def _cholesky(matrix):
    factor, info = lapack.dpotrf(matrix.T, lower=True, clean=False, overwrite_a=True)
    if info:
        raise np.linalg.LinAlgError(f"The matrix is not positive definite (dpotrf: {info}).")
    return factor


def _solve(factor, right):
    return lapack.dpotrs(factor, right, lower=True)[0]
