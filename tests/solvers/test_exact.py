import sys
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.stats import ortho_group
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import MultiTaskLasso

from patchdistill import ResidualProblem, solve
from patchdistill.embedding import PatchStatistics
from patchdistill.images import list_images, read_image
from patchdistill.normalization import normalize_embeddings
from patchdistill.similarity import pairwise_distances, rbf_affinity, spectral_target
from patchdistill.solvers.exact import _cholesky, _LocalModel, _Point, _step
from patchdistill.testing.strategies import embeddings


def relative_problem(E, Z, alpha, beta):
    """Penalties as shares of their maxima."""
    beta *= 2 * np.linalg.norm(Z, axis=1).max()
    return ResidualProblem(E, Z, alpha * ResidualProblem(E, Z, beta=beta).alpha_max(), beta)


def spectral_problem(E, alpha=0.1, beta=0.1, h=10, how="rows"):
    E = normalize_embeddings(E, how)
    return relative_problem(E, spectral_target(rbf_affinity(pairwise_distances(E)), h), alpha, beta)


def random_problem(seed):
    """Random problems of all shapes, more patches than features and the other way round."""
    rng = np.random.default_rng(seed)
    n, d, h = rng.integers(5, 60), rng.integers(3, 200), rng.integers(1, 12)
    E = rng.normal(size=(n, d))
    if seed % 3 == 0:
        E = np.maximum(E, 0)
    if seed % 3 == 1:  # correlated features
        E = rng.normal(size=(n, 5)) @ rng.normal(size=(5, d)) + 0.1 * E
    alpha, beta = 10 ** rng.uniform(-2, -0.2), 10 ** rng.uniform(-2, 0.5)
    if seed % 2:
        return spectral_problem(E, alpha, beta, int(h))
    return relative_problem(E, rng.normal(size=(n, h)), alpha, beta)


def independent_gap(problem, W):
    """Gap from the definitions alone: a dual point, checked to be feasible, and no line search."""
    U = problem.E @ W - problem.Z
    norms = np.linalg.norm(U, axis=1)
    half = problem.beta / 2
    outlying = norms > half
    huber = np.sum(norms[~outlying] ** 2) + np.sum(problem.beta * norms[outlying] - half**2 if outlying.any() else 0)
    primal = huber + problem.alpha * np.linalg.norm(W, axis=1).sum()
    A = 2 * U * np.minimum(1, half / np.maximum(norms, 1e-300))[:, None]
    A *= min(1.0, problem.alpha / np.linalg.norm(problem.E.T @ A, axis=1).max())
    assert np.linalg.norm(A, axis=1).max() <= problem.beta * (1 + 1e-12)
    assert np.linalg.norm(problem.E.T @ A, axis=1).max() <= problem.alpha * (1 + 1e-12)
    return primal, primal - (-np.sum(A**2) / 4 - np.sum(A * problem.Z))


def assert_certified(problem, tol):
    solution = solve(problem, tol=tol)
    primal, gap = independent_gap(problem, solution.W)
    assert solution.converged
    assert np.isclose(solution.objective, primal, rtol=1e-12)
    assert solution.dual_gap <= tol * primal
    # The line search can only improve on the plain dual point: the solver's bound is the tighter one.
    assert solution.dual_gap <= gap + 1e-10 * primal
    assert gap <= 3 * tol * primal
    return solution


@pytest.mark.parametrize("tol", [1e-3, 1e-6])
@pytest.mark.parametrize("seed", range(50))
def test_gap_on_random_problems(seed, tol):
    assert_certified(random_problem(seed), tol)


@pytest.mark.parametrize("seed", range(50))
def test_objective_is_below_the_published_one_on_random_problems(seed):
    problem = random_problem(seed)
    assert solve(problem).objective <= solve(problem, solver="published").objective


@pytest.mark.parametrize("tol", [1e-3, 1e-6, 1e-10])
@pytest.mark.parametrize("seed", range(20))
def test_the_gap_of_embeddings_in_single_precision_is_a_proof_in_double(seed, tol):
    problem = random_problem(seed)
    single = ResidualProblem(problem.E.astype(np.float32), problem.Z, problem.alpha, problem.beta)
    assert single.E.dtype == np.float32
    solution = assert_certified(single, tol)
    double = ResidualProblem(single.E.astype(np.float64), problem.Z, problem.alpha, problem.beta)
    assert np.isclose(solution.dual_gap, double.dual_gap(solution.W), rtol=1e-6, atol=1e-12 * solution.objective)
    expected = solve(double, tol=tol)
    assert np.isclose(solution.objective, expected.objective, rtol=tol)


def real_features(data_dir):
    """PatchStatistics, and random filters with more features than patches, of 20 panoramas at half their size."""
    sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
    try:
        from _common import RandomFilters
    finally:
        sys.path.pop(0)
    from patchdistill.sampling import GridSampler

    pictures = [read_image(path)[::2, ::2] for path in list_images(data_dir / "panoramas")]
    assert len(pictures) == 20
    pools = GridSampler().fit_transform(pictures)
    filters = RandomFilters(400)
    return [*PatchStatistics().fit(pictures).transform(pictures), *(filters(pool) for pool in pools)]


def test_real_problems(data_dir):
    for E in real_features(data_dir):
        problem = spectral_problem(E)
        exact = assert_certified(problem, 1e-3)
        assert_certified(problem, 1e-6)
        assert exact.objective <= solve(problem, solver="published").objective


@settings(max_examples=40)
@given(embeddings(n_patches=(2, 25)), st.sampled_from([0.01, 0.1, 0.5, 1.0]), st.sampled_from([0.01, 0.1, 1.0, np.inf]))
def test_gap_on_awkward_embeddings(E, alpha, beta):
    Z = spectral_target(rbf_affinity(pairwise_distances(E)), 10)
    if ResidualProblem(E, Z).alpha_max() > 0:
        assert_certified(relative_problem(E, Z, alpha, beta), 1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_the_last_resort_is_the_whole_step_of_the_majorizer(seed):
    """Rows that turn round in it stay as they are: only so is it sure to lower the objective."""
    rng = np.random.default_rng(seed)
    problem = ResidualProblem(rng.normal(size=(30, 12)), rng.normal(size=(30, 3)), alpha=2.0, beta=1.0)
    W = rng.normal(size=(12, 3))
    at = _Point(problem, W, problem.misfit(W))
    model = _LocalModel(problem, problem.E, at)
    direction, _ = model.minimize(damping=1.0)
    assert (np.einsum("ij,ij->i", W + direction, W) < 0).any()
    new, _ = _step(problem, problem.E, at, model, damping=1.0)
    np.testing.assert_allclose(new.W, W + direction, atol=1e-12)
    np.testing.assert_allclose(new.U, problem.misfit(new.W), atol=1e-12)
    assert new.objective == pytest.approx(problem.objective(new.W)) and new.objective < problem.objective(W)


@pytest.mark.parametrize("seed", range(15))
def test_tight_clusters(seed):
    """Patches that differ by a thousandth make problems with flat directions, which damped steps alone never follow."""
    rng = np.random.default_rng(seed)
    n, d = rng.integers(2, 26), rng.integers(1, 31)
    E = rng.normal(size=(3, d))[rng.integers(0, 3, size=n)] + 1e-3 * rng.normal(size=(n, d))
    assert_certified(spectral_problem(E, 0.1, 0.3, how="columns"), 1e-8)


@pytest.mark.parametrize("seed", range(8))
def test_without_residuals_it_is_the_multi_task_lasso(seed):
    rng = np.random.default_rng(seed)
    n, d, h = 30, (20, 80)[seed % 2], 4
    E, Z = rng.normal(size=(n, d)), rng.normal(size=(n, h))
    alpha = 0.3 * ResidualProblem(E, Z, beta=np.inf).alpha_max()
    problem = ResidualProblem(E, Z, alpha=alpha, beta=np.inf)
    lasso = MultiTaskLasso(alpha=alpha / (2 * n), fit_intercept=False, tol=1e-14, max_iter=100_000).fit(E, Z)
    solution = solve(problem, tol=1e-10)
    assert np.isclose(solution.objective, problem.objective(lasso.coef_.T), rtol=1e-12)
    np.testing.assert_allclose(solution.W, lasso.coef_.T, atol=1e-7)
    assert not solution.R.any()


@pytest.mark.parametrize("seed", range(4))
def test_equals_a_general_minimizer(seed):
    rng = np.random.default_rng(seed)
    problem = relative_problem(rng.normal(size=(12, 4)), rng.normal(size=(12, 2)), alpha=0.1, beta=0.4)

    def smoothed(w):
        return problem.objective(w.reshape(4, 2))

    best = min(
        minimize(
            smoothed, rng.normal(size=8), method="Powell", options={"xtol": 1e-10, "ftol": 1e-14, "maxiter": 10_000}
        ).fun
        for _ in range(5)
    )
    objective = solve(problem, tol=1e-10).objective
    assert objective <= best * (1 + 1e-9)
    assert objective >= best * (1 - 1e-4)


@settings(max_examples=30)
@given(st.integers(0, 10_000))
def test_scores_do_not_see_a_rotation_of_the_target(seed):
    problem = random_problem(seed)
    h = problem.Z.shape[1]
    rotation = ortho_group.rvs(h, random_state=seed) if h > 1 else -np.eye(1)
    rotated = ResidualProblem(problem.E, problem.Z @ rotation, problem.alpha, problem.beta)
    expected, found = solve(problem, tol=1e-8), solve(rotated, tol=1e-8)
    np.testing.assert_allclose(found.residual_norms, expected.residual_norms, atol=1e-5)


@pytest.mark.parametrize("seed", range(6))
def test_optimality_conditions(seed):
    """At the optimum every feature's correlation is alpha along its coefficients, or at most alpha."""
    problem = random_problem(seed)
    solution = solve(problem, tol=1e-10)
    gradient = problem.E.T @ (2 * problem.clip(problem.misfit(solution.W)))
    norms = np.linalg.norm(solution.W, axis=1)
    assert np.linalg.norm(gradient, axis=1).max() <= problem.alpha * (1 + 1e-5)
    strong = norms > 1e-2 * norms.max()
    np.testing.assert_allclose(
        gradient[strong], -problem.alpha * solution.W[strong] / norms[strong, None], atol=1e-5 * problem.alpha
    )
    np.testing.assert_allclose(solution.R, problem.residuals(solution.W), atol=1e-12)
    np.testing.assert_allclose(solution.residual_norms, np.linalg.norm(problem.misfit(solution.W), axis=1), atol=1e-12)


@pytest.mark.parametrize("shape", [(30, 8), (8, 30)], ids=["more patches", "more features"])
@pytest.mark.parametrize("seed", range(3))
def test_local_model_has_the_derivatives_of_the_objective(shape, seed):
    """In the scaled coordinates X_j = W_j / sqrt(||W_j||) of one point."""
    rng = np.random.default_rng(seed)
    problem = ResidualProblem(rng.normal(size=shape), rng.normal(size=(shape[0], 3)), alpha=0.7, beta=4.0)
    W = rng.normal(size=(shape[1], 3)) / 4
    U = problem.misfit(W)
    outlying = np.linalg.norm(U, axis=1) > problem.beta / 2
    assert outlying.any() and not outlying.all()
    model = _LocalModel(problem, problem.E, _Point(problem, W, U))
    assert model.gap == pytest.approx(problem.dual_gap(W), rel=1e-12)
    scale = np.sqrt(np.linalg.norm(W, axis=1))[:, None]
    V = rng.normal(size=W.shape)
    step = 1e-5
    there, back = (problem.objective(W + sign * step * scale * V) for sign in (1, -1))
    assert np.isclose(np.vdot(model.gradient, V), (there - back) / (2 * step), rtol=1e-6)
    curvature = (there - 2 * problem.objective(W) + back) / step**2
    assert np.isclose(np.vdot(V, model._multiply(V, damping=0.0)), curvature, rtol=1e-3)
    # Damping 1 is the majorizer: its inverse is the preconditioner, and the objective lies below its parabola.
    np.testing.assert_allclose(model._precondition(model._multiply(V, damping=1.0)), V, atol=1e-9)
    for damping in (1e-3, 0.5):  # Newton's own matrix may be singular
        step = model._solve_directly(damping)
        np.testing.assert_allclose(model._multiply(step, damping), -model.gradient, atol=1e-8)
    for length in (0.01, 0.3, 1.0, 3.0):
        change = length * V
        parabola = np.vdot(model.gradient, change) + np.vdot(change, model._multiply(change, damping=1.0)) / 2
        assert problem.objective(W + scale * change) <= problem.objective(W) + parabola + 1e-9


def test_rows_of_R_are_exactly_zero_where_the_misfit_is_small():
    problem = random_problem(1)
    solution = solve(problem, tol=1e-6)
    small = solution.residual_norms <= problem.beta / 2
    assert small.any() and not small.all()
    assert not solution.R[small].any() and solution.R[~small].any(axis=1).all()


def test_nothing_to_explain_and_nothing_to_explain_it_with():
    for E, Z in ((np.ones((4, 3)), np.zeros((4, 2))), (np.zeros((4, 3)), np.ones((4, 2)))):
        solution = solve(ResidualProblem(E, Z))
        assert not solution.W.any() and solution.n_iter == 0
        assert solution.dual_gap <= 1e-15 * solution.objective


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("E", [np.zeros((4, 3)), np.ones((4, 3)), np.eye(4)])
def test_a_gap_of_zero_may_be_asked_for(E):
    for beta in (0.1, np.inf):
        problem = ResidualProblem(E, np.ones((4, 2)), beta=beta)
        assert solve(problem, tol=0.0).dual_gap <= 1e-12 * problem.objective(np.zeros((E.shape[1], 2)))


def test_history_descends_to_what_is_returned():
    solution = solve(random_problem(3), tol=1e-6)
    history = solution.history
    assert (np.diff(history["objective"]) < 0).all()
    assert (history["objective"][-1], history["dual_gap"][-1]) == (solution.objective, solution.dual_gap)
    assert history["n_iter"][-1] == solution.n_iter > 0


def test_same_bytes_twice():
    first, second = (solve(random_problem(5)) for _ in range(2))
    assert first.W.tobytes() == second.W.tobytes() and first.dual_gap == second.dual_gap


def test_stopping_early_is_told_and_the_gap_stays_a_bound():
    problem = random_problem(3)
    with pytest.warns(ConvergenceWarning, match="after 2 iterations.*above tol=1e-06; raise max_iter or tol"):
        solution = solve(problem, tol=1e-6, max_iter=2)
    assert not solution.converged
    assert solution.objective - solution.dual_gap <= solve(problem, tol=1e-6).objective


def test_more_than_the_machine_can_give_ends_and_is_told():
    problem = random_problem(3)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        solution = solve(problem, tol=0.0)
    assert solution.dual_gap <= 1e-11 * solution.objective
    assert caught or solution.dual_gap == 0


def test_no_matrix_is_larger_than_patches_by_features(monkeypatch):
    """Also where many more features than patches are active."""
    problem = relative_problem(*np.split(np.random.default_rng(0).normal(size=(60, 410)), [400], axis=1), 1e-3, 0.5)
    factored = []

    def spy(matrix):
        factored.append(matrix.shape)
        return _cholesky(matrix)

    monkeypatch.setattr("patchdistill.solvers.exact._cholesky", spy)
    tracemalloc.start()
    solution = solve(problem, tol=1e-6)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert solution.W.any(axis=1).sum() > 60
    assert max(factored) == (60, 60)
    assert peak < 10 * problem.E.nbytes


@pytest.mark.parametrize(
    ("arguments", "message"), [({"solver": "newton"}, "solver='newton'.*exact, published"), ({"tol": -1}, "tol=-1")]
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        solve(random_problem(0), **arguments)
