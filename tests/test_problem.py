import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from patchdistill import ResidualProblem
from patchdistill.problem import row_norms


@st.composite
def problems(draw, betas=(0.1, 1.0, 10.0, np.inf)):
    n, d, h = (draw(st.integers(1, high)) for high in (12, 15, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    E, Z = rng.normal(size=(n, d)), rng.normal(size=(n, h))
    return ResidualProblem(E, Z, alpha=draw(st.sampled_from([0.1, 1.0, 5.0])), beta=draw(st.sampled_from(betas)))


def coefficients(problem, seed):
    W = np.random.default_rng(seed).normal(size=(problem.E.shape[1], problem.Z.shape[1]))
    W[::3] = 0.0
    return W


def full_objective(problem, W, R):
    """The objective as published, with R in it."""
    fit = np.linalg.norm(problem.E @ W - problem.Z - R) ** 2
    residuals = problem.beta * row_norms(R).sum() if R.any() else 0.0
    return fit + problem.alpha * row_norms(W).sum() + residuals


@given(problems(), st.integers(0, 99))
def test_eliminating_R_is_exact(problem, seed):
    W = coefficients(problem, seed)
    R = problem.residuals(W)
    assert np.isclose(problem.objective(W), full_objective(problem, W, R))
    rng = np.random.default_rng(seed)
    for step in (1e-3, 0.1, 1.0):  # no other R is better
        other = R + step * rng.normal(size=R.shape)
        if np.isfinite(problem.beta):
            assert full_objective(problem, W, other) >= problem.objective(W) - 1e-9


@given(problems(betas=(0.1, 1.0, 10.0)))
def test_best_R_equals_a_numerical_minimum(problem):
    U = problem.misfit(np.zeros((problem.E.shape[1], problem.Z.shape[1])))
    u = U[0]

    def objective(r):
        return np.sum((u - r) ** 2) + problem.beta * np.linalg.norm(r)

    best = min(
        minimize(objective, start, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12, "maxiter": 4000}).fun
        for start in (u, 0.5 * u + 1e-3)
    )
    r = problem.residuals(np.zeros((problem.E.shape[1], problem.Z.shape[1])))[0]
    assert objective(r) <= best + 1e-8


@given(problems(), st.integers(0, 99))
def test_clip_is_half_the_gradient_of_the_loss(problem, seed):
    U = np.random.default_rng(seed).normal(size=problem.Z.shape)
    direction = np.random.default_rng(seed + 1).normal(size=U.shape)
    step = 1e-6
    numeric = (problem.loss(row_norms(U + step * direction)) - problem.loss(row_norms(U - step * direction))) / (
        2 * step
    )
    assert np.isclose(numeric, np.vdot(2 * problem.clip(U), direction), rtol=1e-4, atol=1e-5)


@given(problems(), st.integers(0, 99), st.integers(0, 99))
def test_every_dual_value_is_below_every_objective(problem, seed, other):
    W, V = coefficients(problem, seed), coefficients(problem, other)
    lower = problem.objective(W) - problem.dual_gap(W)
    for objective in (problem.objective(W), problem.objective(V), problem.objective(0 * V)):
        assert lower <= objective + 1e-9 * abs(objective)
    assert problem.dual_gap(W) >= 0


@given(problems(), st.integers(0, 99))
def test_dual_value_is_that_of_the_best_feasible_point_on_its_ray(problem, seed):
    A = 2 * problem.clip(problem.misfit(coefficients(problem, seed)))
    value = problem.dual_on_ray(A, problem.correlations(A))
    assert row_norms(A).max() <= problem.beta * (1 + 1e-12)
    longest = min(1.0, problem.alpha / row_norms(problem.E.T @ A).max())
    best = max(-np.sum((t * A) ** 2) / 4 - np.sum(t * A * problem.Z) for t in np.linspace(0, longest, 1001))
    assert best - 1e-9 <= value <= best + 1e-3 * (1 + abs(value))


@given(problems(), st.integers(0, 99), st.integers(-45, 45), st.integers(-40, 40), st.booleans())
def test_single_precision_proves_what_double_precision_proves(problem, seed, size, unit, repeated):
    """Also where numbers vanish or overflow in single precision, and where features differ by its rounding alone."""
    rng = np.random.default_rng(seed)
    E = problem.E * 10.0 ** rng.integers(min(size, 0), max(size, 0) + 1, size=problem.E.shape[1])
    if repeated:
        E = E[:, :1] * (1 + 1e-7 * rng.normal(size=E.shape))
    E = np.clip(E, -3e38, 3e38).astype(np.float32)
    single = ResidualProblem(E, problem.Z, problem.alpha, problem.beta)
    double = ResidualProblem(E.astype(np.float64), problem.Z, problem.alpha, problem.beta)
    A = 10.0**unit * rng.normal(size=problem.Z.shape)
    found = single.correlations(A)
    expected = double.correlations(A)
    assert found.max() == pytest.approx(expected.max(), rel=1e-13, abs=0)
    largest = expected >= 0.99 * expected.max()
    np.testing.assert_allclose(found[largest], expected[largest], rtol=1e-4)


@pytest.mark.parametrize("scale", [1.0, 1e-25, 1e25])  # squares vanish, squares overflow
@pytest.mark.parametrize("seed", range(10))
def test_single_precision_does_not_decide_between_like_features(seed, scale):
    rng = np.random.default_rng(seed)
    E = (scale * rng.normal(size=(60, 1)) * (1 + 1e-7 * rng.normal(size=(60, 500)))).astype(np.float32)
    A = rng.normal(size=(60, 3))
    largest = ResidualProblem(E, A).correlations(A).max()
    assert largest == pytest.approx(np.linalg.norm(E.astype(float).T @ A, axis=1).max(), rel=1e-14, abs=0)


@given(problems(), st.floats(0.1, 10))
def test_other_penalties_on_the_same_arrays(problem, factor):
    problem.alpha_max()
    other = problem.with_penalties(2 * problem.alpha, factor * problem.beta)
    fresh = ResidualProblem(problem.E, problem.Z, 2 * problem.alpha, factor * problem.beta)
    assert other.E is problem.E and (other.alpha, other.beta) == (fresh.alpha, fresh.beta)
    assert other.alpha_max() == fresh.alpha_max()


@given(problems())
def test_alpha_max_is_where_zero_becomes_optimal(problem):
    zero = np.zeros((problem.E.shape[1], problem.Z.shape[1]))
    alpha_max = problem.alpha_max()
    above, below = (
        ResidualProblem(problem.E, problem.Z, alpha=share * alpha_max, beta=problem.beta) for share in (1 + 1e-9, 0.9)
    )
    assert above.dual_gap(zero) <= 1e-9 * above.objective(zero)
    assert below.dual_gap(zero) > 0
    gradient = problem.E.T @ (2 * problem.clip(-problem.Z))
    steepest = np.zeros_like(zero)
    j = np.argmax(row_norms(gradient))
    steepest[j] = -1e-6 * gradient[j]
    assert below.objective(steepest) < below.objective(zero)


@given(problems())
def test_beta_max_is_where_residuals_vanish_at_zero(problem):
    zero = np.zeros((problem.E.shape[1], problem.Z.shape[1]))
    beta_max = problem.beta_max()
    assert not ResidualProblem(problem.E, problem.Z, beta=beta_max * (1 + 1e-9)).residuals(zero).any()
    assert ResidualProblem(problem.E, problem.Z, beta=0.9 * beta_max).residuals(zero).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"E": np.ones(3)}, r"E has shape \(3,\).*\(n_patches, n_features\)"),
        ({"Z": np.ones((4, 2))}, "E has 3 rows and Z has 4"),
        ({"E": np.ones((3, 2)) * 1j}, "dtype complex128"),
        ({"E": np.full((3, 2), np.nan)}, "E contains NaN"),
        ({"Z": np.full((3, 2), np.inf)}, "Z contains NaN or infinity"),
        ({"alpha": 0}, "alpha=0 must be a number > 0"),
        ({"beta": -1.0}, "beta=-1.0 must be"),
        ({"beta": True}, "beta=True"),
        ({"alpha": "auto"}, "alpha='auto'"),
        ({"alpha": np.inf}, "alpha=inf"),
    ],
)
def test_wrong_problems_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ResidualProblem(**{"E": np.ones((3, 2)), "Z": np.ones((3, 2)), **arguments})
