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

from functools import cached_property

import numpy as np
from scipy.linalg import lapack

from patchdistill.problem import row_norms
from patchdistill.solvers.solution import Solution

_FIRST_FEATURES = 20
_INNER_GAP = 0.2  # the working set is solved to this share of the gap that is left on all features,
_INNER_GAP_OF_FEW = 0.01  # and to less where a step costs less than looking at all features
_FEW_UNKNOWNS = 120  # numbers of W, up to which the equations of a step are solved directly
_CG_TOL = 0.2  # more of them the equations are solved no better than the step deserves
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
    E = problem.E
    active = np.empty(0, dtype=np.intp)
    at = _Point(problem, np.empty((0, problem.Z.shape[1])), -problem.Z)
    n_iter, damping = 0, _FIRST_DAMPING
    history = {"n_iter": [], "objective": [], "dual_gap": []}
    while True:
        A = 2 * problem.clip(at.U)
        correlations = problem.correlations(A) if len(active) else problem.correlations_at_zero
        gap = max(0.0, at.objective - problem.dual_on_ray(A, correlations))
        for name, value in (("n_iter", n_iter), ("objective", at.objective), ("dual_gap", gap)):
            history[name].append(value)
        converged = gap <= tol * at.objective
        stuck = all(
            len(values) > 1 and values[-1] >= values[-2] for values in map(history.get, ("objective", "dual_gap"))
        )
        if converged or stuck or n_iter >= max_iter:
            break
        new = _worst_violators(correlations, problem.alpha, active)
        W, active = at.W, np.concatenate([active, new])
        if len(new):
            W = np.vstack([W, _first_coefficients(problem, at, E[:, new].astype(np.float64, copy=False))])
        goal = tol * at.objective / 3
        rows, at, steps, damping = _solve_working_set(
            problem, E[:, active].astype(np.float64, copy=False), W, gap, goal, max_iter - n_iter, damping
        )
        active, n_iter = active[rows], n_iter + steps
    W = np.zeros((E.shape[1], problem.Z.shape[1]))
    W[active] = at.W
    return Solution(
        W=W,
        R=at.U - A / 2,
        residual_norms=at.norms,
        objective=at.objective,
        dual_gap=gap,
        n_iter=n_iter,
        converged=bool(converged),
        history={name: np.array(values) for name, values in history.items()},
    )


class _Point:
    """Coefficients, their misfit with its row norms, and their objective."""

    def __init__(self, problem, W, U):
        self.W, self.U = W, U
        self.norms = row_norms(U)
        self.objective = problem.value(self.norms, W)


def _worst_violators(correlations, alpha, active):
    """Features outside the working set whose correlation with the dual point exceeds alpha, worst first."""
    correlations = correlations.copy()
    correlations[active] = 0.0
    violators = np.flatnonzero(correlations > alpha)
    worst_first = violators[np.argsort(-correlations[violators], kind="stable")]
    return worst_first[: max(_FIRST_FEATURES, 2 * len(active))]


def _first_coefficients(problem, at, E_new):
    """Coefficients to start the new features from: each one's own proximal step, shortened together until they help."""
    gradient = 2 * E_new.T @ problem.clip(at.U)
    steps = np.maximum(1 - problem.alpha / row_norms(gradient), 0.0) / (2 * np.einsum("ij,ij->j", E_new, E_new))
    W_new = -gradient * steps[:, None]
    change = E_new @ W_new
    # Convex in the scale and decreasing at 0: the first of the halvings that no longer improves on the one before is
    # past the best. The misfits of all of them have norms that three inner products give.
    inner, moved = (np.einsum("ij,ij->i", A, change) for A in (at.U, change))
    norms = np.sqrt(np.maximum(at.norms**2 + _HALVINGS * (2 * inner + _HALVINGS * moved), 0.0))
    values = problem.loss(norms) + _HALVINGS[:, 0] * problem.alpha * row_norms(W_new).sum()
    improves = np.append(values[1:] < values[:-1], False)
    return _HALVINGS[improves.argmin(), 0] * W_new


def _solve_working_set(problem, E, W, gap, goal, max_steps, damping):
    """Minimize over the features of `E` alone, to a share of `gap` on those of them that stay, or to `goal`.

    Returns
    -------
    rows : ndarray of int
        Features whose coefficients are not zero.
    at : _Point
        Their coefficients.
    steps : int
        Steps done.
    damping : float
        Of the next step.
    """
    at = _Point(problem, W, E @ W - problem.Z)
    rows = np.arange(len(W))
    previous, best_gap, best, patience = np.inf, np.inf, None, _PATIENCE
    for step in range(max_steps + 1):
        # A feature that has left by mistake is for the check of all features to bring back: it cannot return here, and
        # a gap that counts it would not close.
        stays = at.W.any(axis=1)
        if not stays.all():
            rows, at.W, E = rows[stays], at.W[stays], E[:, stays]
        model = _LocalModel(problem, E, at)
        # Where the objective has no digits left to show it, only the gap tells whether a step was one forward.
        stalled = previous - at.objective <= _ROUNDING * at.objective
        if model.gap < best_gap or not stalled:
            best_gap, best, patience = model.gap, (rows, at), _PATIENCE
        else:
            patience -= 1
        target = max(goal, gap * (_INNER_GAP_OF_FEW if at.W.size <= _FEW_UNKNOWNS else _INNER_GAP))
        if model.gap <= target or not len(rows) or patience < 0 or step == max_steps:
            return *best, step, damping
        previous = at.objective
        at, damping = _step(problem, E, at, model, max(damping, _DAMPING_PER_GAP * model.gap / at.objective))


def _step(problem, E, at, model, damping):
    """One step that lowers the objective or, next to its minimum, keeps it, and the damping of the next step.

    No row of W is zero.
    """
    highest = at.objective * (1 + _ROUNDING)
    while True:
        direction, promised = model.minimize(damping)
        for length in _LENGTHS:
            W = at.W + length * direction
            # A row that has turned round passed through zero on the way, where Newton's model ends. The majorizer holds
            # beyond, and is the step that must not fail.
            if damping < 1.0:
                W[np.einsum("ij,ij->i", W, at.W) <= 0] = 0.0
            new = _Point(problem, W, E @ W - problem.Z)
            if new.objective < highest:
                break
        used = damping
        decrease = highest - new.objective  # rounding is given to the step: next to the minimum there is nothing else
        if decrease > _GOOD_STEP * promised:
            damping = max(damping / _DAMPING_FACTOR, _LEAST_DAMPING)
        elif not decrease >= _POOR_STEP * promised:  # NaN, where a step overflowed, included
            damping = min(damping * _DAMPING_FACTOR, 1.0)
        if new.objective < highest:
            return new, damping
        if used == 1.0:
            return at, damping


class _LocalModel:
    """Quadratic models of the objective at a point, in coordinates scaled by the square roots of the row norms of W.

    With X_j = W_j / sqrt(||W_j||) and D = diag(||W_j||) the majorizer 2 E'SE + alpha D^-1 becomes
    2 D^1/2 E'SE D^1/2 + alpha I, which stays well conditioned as rows vanish.

    Attributes
    ----------
    gap : float
        Duality gap on these features, to which the gradient that the models need anyway leads.
    """

    def __init__(self, problem, E, at):
        weights = problem.huber_weights(at.norms)[:, None]
        A, lengths = 2 * weights * at.U, row_norms(at.W)[:, None]
        loss_gradient = E.T @ A
        self.gap = at.objective - problem.dual_on_ray(A, row_norms(loss_gradient))
        self.alpha = problem.alpha
        # Units of the outlying rows alone: of the others nothing is taken.
        self.units_U = A * np.where(at.norms > problem.beta / 2, 1 / problem.beta, 0.0)[:, None]
        self.units_W = at.W / lengths
        self.scale = np.sqrt(lengths)
        self.E = E * self.scale.T
        self.weights = 2 * weights
        self.gradient = self.scale * (loss_gradient + self.alpha * self.units_W)

    @cached_property
    def weighted(self):
        """``2 S E`` transposed: maps a change of the misfit to the change of the majorizer's gradient."""
        return (self.weights * self.E).T

    @cached_property
    def majorizer(self):
        """Matrix of the majorizer, (m, m), the same for every column of W."""
        matrix = self.weighted @ self.E
        matrix.flat[:: len(matrix) + 1] += self.alpha
        return matrix

    @cached_property
    def factor(self):
        """Cholesky factor of the majorizer or, where that is smaller, of the n x n matrix of the Woodbury identity."""
        n, m = self.E.shape
        if m <= n:
            return _cholesky(self.majorizer.copy())
        matrix = self.E @ self.E.T
        matrix.flat[:: n + 1] += self.alpha / self.weights[:, 0]
        return _cholesky(matrix)

    def _precondition(self, residual):
        """Multiply by the inverse of the majorizer."""
        if len(self.factor) < len(residual):
            return (residual - self.E.T @ _solve(self.factor, self.E @ residual)) / self.alpha
        return _solve(self.factor, residual)

    def minimize(self, damping):
        """Minimize the model of ``H + damping (M - H)``: the rank-one terms, along U and along W, count by 1 - damping.

        Returns
        -------
        direction : ndarray of shape (n_features, h)
            Step of W.
        promised : float
            Decrease of the objective that the model promises for it.
        """
        step = self._solve_directly(damping) if self.gradient.size <= _FEW_UNKNOWNS else None
        if step is None:
            step = self._conjugate_gradients(damping)
        return step * self.scale, -np.vdot(self.gradient, step) / 2

    def _solve_directly(self, damping):
        """Solve for all numbers of a step at once; None where rounding leaves the matrix not positive definite."""
        m, h = self.gradient.shape
        along_U = (self.E[:, :, None] * self.units_U[:, None, :]).reshape(-1, m * h)
        matrix = ((damping - 1) * self.weights * along_U).T @ along_U
        by_feature = matrix.reshape(m, h, m, h)
        np.einsum("ikjk->ijk", by_feature)[...] += self.majorizer[:, :, None]
        along_W = self.units_W[:, :, None] * self.units_W[:, None, :]
        np.einsum("ikil->ikl", by_feature)[...] += (damping - 1) * self.alpha * along_W
        try:
            return -_solve(_cholesky(matrix), self.gradient.ravel()).reshape(m, h)
        except np.linalg.LinAlgError:
            return None

    def _conjugate_gradients(self, damping):
        """Preconditioned by the majorizer."""
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
        return step

    def _multiply(self, V, damping):
        X = self.E @ V
        X -= ((1 - damping) * np.einsum("ij,ij->i", self.units_U, X))[:, None] * self.units_U
        image = V - ((1 - damping) * np.einsum("ij,ij->i", self.units_W, V))[:, None] * self.units_W
        image *= self.alpha
        image += self.weighted @ X
        return image


# LAPACK itself: on matrices as small as these, SciPy's checks cost more than the work.


def _cholesky(matrix):
    factor, info = lapack.dpotrf(matrix.T, lower=True, clean=False, overwrite_a=True)
    if info:
        raise np.linalg.LinAlgError(f"The matrix is not positive definite (dpotrf: {info}).")
    return factor


def _solve(factor, right):
    return lapack.dpotrs(factor, right, lower=True)[0]
