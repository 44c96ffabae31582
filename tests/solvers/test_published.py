"""The baseline does what the released script does; the numbers are facts of its issue list, not of ours."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist, pdist
from scipy.stats import spearmanr

from patchdistill import ResidualProblem, solve
from patchdistill.similarity import spectral_target
from patchdistill.solvers.published import published_target

RIDGE = 1e-3


def rectified(n=60, d=150, seed=0):
    return np.maximum(np.random.default_rng(seed).normal(size=(n, d)), 0)


def script_problem(E, metric="euclidean"):
    """The script's own problem, at its absolute penalties."""
    return ResidualProblem(E, published_target(E, metric), alpha=0.1, beta=0.1)


def test_every_iterate_solves_its_normal_equations():
    problem = ResidualProblem(rectified(20, 30), rectified(20, 3, seed=1), alpha=0.2, beta=0.3)
    rng = np.random.RandomState(7)
    rng.rand(30, 3)
    R, D, S = rng.rand(3, 20).T, np.eye(30), np.eye(20)
    for n_iter in (1, 2, 3):
        solution = solve(problem, solver="published", random_state=7, max_iter=n_iter)
        left = (problem.E.T @ problem.E + 0.2 * D + RIDGE * np.eye(30)) @ solution.W
        np.testing.assert_allclose(left, problem.E.T @ (R + problem.Z), atol=1e-8)
        right = (np.eye(20) + 0.3 * S + RIDGE * np.eye(20)) @ solution.R
        np.testing.assert_allclose(right, problem.E @ solution.W - problem.Z, atol=1e-8)
        R = solution.R
        D = np.diag(np.linalg.norm(solution.W, axis=1) / 2) + RIDGE * np.ones((30, 30))
        S = np.diag(np.linalg.norm(R, axis=1) / 2) + RIDGE * np.ones((20, 20))
        fit = np.linalg.norm(problem.E @ solution.W - R - problem.Z) ** 2
        loss = fit + 0.2 * np.linalg.norm(solution.W, axis=0).sum() + 0.3 * np.linalg.norm(R, axis=1).sum()
        assert np.isclose(solution.history["loss"][-1], loss)


def test_always_eleven_iterations():
    for seed in range(5):
        solution = solve(script_problem(rectified(seed=seed)), solver="published", random_state=seed)
        assert solution.n_iter == 11 == len(solution.history["loss"])


def test_its_answer_is_far_from_optimal_and_its_rows_are_not_sparse():
    problem = script_problem(rectified())
    published, exact = solve(problem, solver="published"), solve(problem)
    assert published.objective > 3 * exact.objective
    assert published.W.any(axis=1).all() and not exact.W.any(axis=1).all()
    assert published.dual_gap >= published.objective - exact.objective


def test_its_residuals_remember_their_random_start():
    E = rectified(100, 600)
    problem = script_problem(E)
    rng = np.random.RandomState(3)
    rng.rand(600, 10)
    start = np.linalg.norm(rng.rand(10, 100), axis=0)
    first, second = (solve(problem, solver="published", random_state=seed).residual_norms for seed in (3, 4))
    assert spearmanr(first, start).statistic > 0.8
    kept = [set(np.argsort(norms)[:50]) for norms in (first, second)]
    assert len(kept[0] & kept[1]) < 35  # a random half shares 25


def test_seeded():
    problem = script_problem(rectified())
    first, second = (solve(problem, solver="published", random_state=1) for _ in range(2))
    assert first.R.tobytes() == second.R.tobytes()


def test_its_target_holds_the_smallest_eigenvectors_upside_down():
    E = rectified()
    distances = cdist(E, E)
    affinity = np.exp(-(distances**2) / (2 * distances.mean()))
    target = published_target(E)
    upright = target[::-1]
    eigenvalues = np.einsum("ij,ik,kj->j", upright, affinity, upright)
    np.testing.assert_allclose(affinity @ upright, upright * eigenvalues, atol=1e-9)
    np.testing.assert_allclose(np.sort(eigenvalues), np.sort(np.linalg.eigvalsh(affinity))[:10], atol=1e-9)
    leading = spectral_target(affinity, 10)
    assert np.linalg.norm(leading) ** 2 > eigenvalues.sum()


def test_its_mahalanobis_is_not_one():
    E = np.random.default_rng(0).normal(size=(40, 5)) * np.array([1, 2, 4, 8, 16])
    right = pdist(E, "mahalanobis", VI=np.linalg.inv(np.cov(E, rowvar=False)))
    wrong = pdist(E, "mahalanobis", VI=np.cov(E, rowvar=False))
    assert abs(spearmanr(right, wrong).statistic) < 0.8
    distances = cdist(E, E, "mahalanobis", VI=np.cov(E, rowvar=False) + 1e-10 * np.eye(5))
    affinity = np.exp(-(distances**2) / (2 * distances.mean()))
    upright = published_target(E, "mahalanobis", h=3)[::-1]
    eigenvalues = np.einsum("ij,ik,kj->j", upright, affinity, upright)
    np.testing.assert_allclose(affinity @ upright, upright * eigenvalues, atol=1e-9)


@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "mahalanobis"])
def test_target_has_the_shape_asked_for(metric):
    assert published_target(rectified(20, 8), metric, h=4).shape == (20, 4)
