import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import OptimizeResult, approx_fprime, minimize
from sklearn.exceptions import ConvergenceWarning

from patchdistill.relational import additive
from patchdistill.relational.additive import TIE, bend, fit_additive

ALPHA, TIES, TOL = 0.01, 2.0, 1e-7


def versions(seed, n=12, n_features=4):
    """Features that follow the amounts more or less, one of them the wrong way, and pairs of two kinds with ties."""
    rng = np.random.default_rng(seed)
    amounts = rng.integers(0, 5, n) / 4
    slopes = np.array([1.0, 0.5, 0.2, -1.0, *rng.normal(size=n_features)])[:n_features]
    features = np.maximum(amounts[:, None] * slopes + 0.3 * rng.random((n, n_features)) + (slopes < 0), 0)
    pairs = np.array([(i, j) for i in range(n) for j in range(i)])
    rng.shuffle(pairs, axis=0)
    return features, amounts, {"a": pairs[:20], "b": pairs[20:]}


def objective(weights, features, amounts, pairs, alpha=ALPHA, ties=TIES):
    """The formula of the docstring, pair by pair, in standardized units."""
    d = features / features.std(axis=0) @ weights
    gaps = [abs(amounts[i] - amounts[j]) for ij in pairs.values() for i, j in ij]
    unit = np.mean([gap for gap in gaps if gap > TIE])
    total = alpha / 2 * np.sum(weights**2)
    for ij in pairs.values():
        ranked, tied = [], []
        for i, j in ij:
            if abs(amounts[i] - amounts[j]) <= TIE:
                tied.append((d[i] - d[j]) ** 2)
            else:
                better, worse = (i, j) if amounts[i] < amounts[j] else (j, i)
                margin = (amounts[worse] - amounts[better]) / unit
                ranked.append(np.log1p(np.exp(margin - (d[worse] - d[better]))))
        total += (np.mean(ranked) if ranked else 0) + ties * (np.mean(tied) if tied else 0)
    return total


def test_curves_are_those_of_naka_and_rushton():
    p = np.linspace(0, 1, 11).reshape(1, 11)
    assert_allclose(bend(p), np.stack([p**2 / (p**2 + c**2) for c in (0.1, 0.3, 1)], axis=-1), atol=1e-15)


@given(st.floats(0, 1), st.floats(0, 1))
def test_curves_keep_the_order_to_the_last_bit(p, q):
    low, high = bend(np.sort([p, q, np.nextafter(p, 2)]))[:2]
    assert (0 <= low).all() and (low <= high).all() and (high < 1).all()
    assert (bend(np.zeros(1)) == 0).all()


@pytest.mark.parametrize("seed", range(4))
def test_finds_the_optimum_of_the_formula(seed):
    features, amounts, pairs = versions(seed)
    fit = fit_additive(features, amounts, pairs, ALPHA, TIES, TOL)
    assert fit.optimality <= TOL and (fit.weights >= 0).all() and fit.n_iter > 0
    best = min(
        (
            minimize(objective, start, (features, amounts, pairs), method="SLSQP", bounds=[(0, None)] * 4, tol=1e-12)
            for start in (np.zeros(4), np.full(4, 3.0))
        ),
        key=lambda found: found.fun,
    )
    assert_allclose(fit.objective, best.fun, rtol=1e-7)
    expected = best.x / features.std(axis=0)
    expected *= (features @ expected @ amounts) / np.sum((features @ expected) ** 2)
    assert_allclose(fit.weights, expected, atol=2e-3 * expected.max())


@pytest.mark.parametrize("seed", range(4))
def test_certificate_is_the_projected_gradient(seed, monkeypatch):
    features, amounts, pairs = versions(seed)
    stopped = np.random.default_rng(seed).uniform(0, 2, 4) * [1, 0, 1, 1]
    found = OptimizeResult(x=stopped, fun=1.5, nit=7)
    monkeypatch.setattr(additive, "minimize", lambda *args, **kwargs: found)
    with pytest.warns(ConvergenceWarning, match=r"did not reach tol=1e-07 in 7 iterations \(projected gradient"):
        fit = fit_additive(features, amounts, pairs, ALPHA, TIES, TOL)
    gradient = approx_fprime(stopped, objective, 1e-7, features, amounts, pairs)
    assert_allclose(fit.optimality, np.abs(stopped - np.maximum(stopped - gradient, 0)).max(), rtol=1e-4)
    assert (fit.objective, fit.n_iter) == (1.5, 7)
    scaled = stopped / features.std(axis=0)
    assert_allclose(fit.weights / fit.weights[0], scaled / scaled[0])


def test_a_solver_that_is_stopped_warns(monkeypatch):
    monkeypatch.setattr(additive, "_MAX_ITER", 1)
    with pytest.warns(ConvergenceWarning, match="raise tol or alpha"):
        fit_additive(*versions(0), ALPHA, TIES, TOL)


@given(st.integers(0, 10**6))
def test_estimates_come_closest_to_the_amounts(seed):
    features, amounts, pairs = versions(seed)
    estimated = features @ fit_additive(features, amounts, pairs, ALPHA, TIES, 1e-5).weights
    assert_allclose(np.linalg.lstsq(estimated[:, None], amounts, rcond=None)[0], 1, rtol=1e-9)


@given(st.integers(0, 10**6), st.floats(0.01, 100))
def test_neither_units_nor_the_order_of_anything_matter(seed, unit):
    features, amounts, pairs = versions(seed)
    weights = fit_additive(features, amounts, pairs, ALPHA, TIES, 1e-6).weights
    units = np.array([unit, 1, 1, 1 / unit])
    scaled = fit_additive(features * units, amounts, pairs, ALPHA, TIES, 1e-6).weights
    tolerance = 1e-4 * weights.max()
    assert_allclose(scaled * units, weights, atol=tolerance)
    turned = {kind: ij[::-1, ::-1] for kind, ij in reversed(pairs.items())}
    assert_allclose(
        fit_additive(features[:, ::-1], amounts, turned, ALPHA, TIES, 1e-6).weights[::-1], weights, atol=tolerance
    )


def test_what_runs_the_wrong_way_gets_no_weight():
    features, amounts, pairs = versions(1, n=30)
    weights = fit_additive(features, amounts, pairs, ALPHA, TIES, TOL).weights
    assert weights[3] == 0 and weights[0] > 0


def test_a_feature_that_never_varies_gets_no_weight():
    features, amounts, pairs = versions(2)
    features[:, 2] = 0
    fit = fit_additive(features, amounts, pairs, ALPHA, TIES, TOL)
    assert fit.weights[2] == 0 and np.isfinite(fit.weights).all()


def test_exact_features_give_the_exact_order_and_amounts():
    amounts = np.random.default_rng(0).random(20)
    pairs = {"all": np.stack(np.triu_indices(20, 1), axis=1)}
    fit = fit_additive(amounts[:, None] / 3, amounts, pairs, 1e-4, 0.0, TOL)
    assert_allclose(fit.weights, 3)


def test_a_kind_without_pairs_changes_nothing():
    features, amounts, pairs = versions(3)
    fit = fit_additive(features, amounts, pairs, ALPHA, TIES, TOL)
    more = fit_additive(features, amounts, {**pairs, "none": np.empty((0, 2), int)}, ALPHA, TIES, TOL)
    assert_array_equal(more.weights, fit.weights)


def test_needs_an_order():
    features, _, pairs = versions(0)
    with pytest.raises(ValueError, match="No two versions of a pair differ .*give more levels"):
        fit_additive(features, np.ones(12), pairs, ALPHA, TIES, TOL)
    with pytest.raises(ValueError, match="No pooled distortion orders the versions better than chance"):
        fit_additive(np.zeros((12, 4)), np.arange(12.0), pairs, ALPHA, TIES, TOL)
    with pytest.raises(ValueError, match="better than chance"):
        fit_additive(1 - np.arange(12.0)[:, None] / 12, np.arange(12.0), pairs, ALPHA, TIES, TOL)
