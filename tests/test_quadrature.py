import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.spatial.distance import cdist

from patchdistill.quadrature import quadrature_error, quadrature_kernel, quadrature_order, quadrature_weights
from patchdistill.testing.strategies import embeddings


def kernel_of(E):
    return quadrature_kernel(E, cdist(E, E))


def counts_of(n, seed):
    counts = np.random.default_rng(seed).random(n) + 0.1
    return counts / counts.sum()


@given(embeddings(n_patches=(2, 15), structures=("normal", "rectified"), copies=False, zero_rows=False))
def test_kernel_distance_is_the_change_of_means_and_deviations(E):
    """For small changes of the weights, against means and deviations pooled by hand."""
    n, spread = len(E), E.std(axis=0)
    E = E[:, spread > 1e-6]
    if not E.shape[1]:
        return
    X = (E - E.mean(axis=0)) / E.std(axis=0)
    D = cdist(E, E)
    squared = D[np.triu_indices(n, 1)] ** 2
    gaussian = np.exp(-(D**2) / (2 * 4 * np.median(squared[squared > 0])))
    change = np.random.default_rng(0).normal(size=n) * 1e-5
    change -= change.mean()
    weights = 1 / n + change
    mean = weights @ X
    deviation = np.sqrt(weights @ (X - mean) ** 2)
    by_hand = (np.sum(mean**2) + np.sum((deviation - 1) ** 2)) / X.shape[1] + change @ gaussian @ change
    assert np.isclose(change @ kernel_of(E) @ change, by_hand, rtol=1e-3, atol=1e-16)


@settings(max_examples=40)
@given(embeddings(n_patches=(1, 14)), st.integers(0, 99))
def test_each_patch_taken_tells_most_about_the_average(E, seed):
    """Against the posterior variance of the average, computed anew for every candidate."""
    K, counts = kernel_of(E), counts_of(len(E), seed)
    ridge = 1e-3 * np.mean(np.diag(K))
    order = list(quadrature_order(K, counts, len(E)))

    def posterior(taken):
        if not taken:
            return counts @ K @ counts, K @ counts
        inverse = np.linalg.inv(K[np.ix_(taken, taken)] + ridge * np.eye(len(taken)))
        to_all = K[:, taken] @ inverse
        return counts @ (K - to_all @ K[taken]) @ counts, (K - to_all @ K[taken]) @ counts

    for k, j in enumerate(order):
        before, unexplained = posterior(order[:k])
        assert unexplained[j] > 0
        gain = before - posterior(order[: k + 1])[0]
        others = [i for i in range(len(E)) if i not in order[:k] and unexplained[i] > 1e-9]
        best = max((before - posterior([*order[:k], i])[0] for i in others), default=0.0)
        assert gain >= best - 1e-7 * (counts @ K @ counts)


def test_copies_are_not_taken_twice():
    E = np.random.default_rng(0).normal(size=(12, 6))
    K = kernel_of(np.vstack([E, E]))
    order = quadrature_order(K, np.full(24, 1 / 24), 12)
    assert len(set(order % 12)) == len(order)


@settings(max_examples=40)
@given(embeddings(n_patches=(2, 12)), st.integers(0, 99), st.data())
def test_weights_are_the_minimum_of_the_quadratic_form(E, seed, data):
    """Against a general solver, and the conditions of Karush, Kuhn and Tucker."""
    n = len(E)
    K, counts = kernel_of(E), counts_of(n, seed)
    kept = np.array(data.draw(st.lists(st.integers(0, n - 1), unique=True, min_size=1)))
    shares = counts_of(len(kept), seed + 1)
    weights = quadrature_weights(K, counts, kept, shares)
    assert np.isclose(weights.sum(), 1) and (weights >= 0.1 * shares - 1e-9).all()
    among = K[np.ix_(kept, kept)]
    pull = 1e-2 * np.mean(np.diag(among))

    def value(w):
        return w @ among @ w - 2 * w @ K[kept] @ counts + pull * np.sum((w - shares) ** 2)

    gradient = 2 * (among @ weights - K[kept] @ counts + pull * (weights - shares))
    free = weights > 0.1 * shares + 1e-7
    scale = 1e-4 * (1 + np.abs(K).max())
    if free.any():  # a common slope where weights are free, no smaller one where they are at their bound
        assert np.ptp(gradient[free]) <= scale
        assert (gradient >= gradient[free].max() - scale).all()
    found = minimize(
        value,
        shares,
        bounds=[(0.1 * s, 1) for s in shares],
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
        method="SLSQP",
    )
    if found.success:
        assert value(weights) <= found.fun + 1e-5 * (1 + abs(found.fun))


@given(embeddings(n_patches=(2, 15)), st.integers(0, 99))
def test_all_patches_with_their_counts_make_no_error(E, seed):
    K, counts = kernel_of(E), counts_of(len(E), seed)
    everything = np.arange(len(E))
    np.testing.assert_allclose(quadrature_weights(K, counts, everything, counts), counts, atol=1e-6)
    assert quadrature_error(K, counts, everything, counts) == pytest.approx(0, abs=1e-7)


def test_error_of_random_draws_is_one_over_the_root_of_their_number():
    E = np.random.default_rng(0).normal(size=(60, 10))
    K, counts = kernel_of(E), np.full(60, 1 / 60)
    rng = np.random.default_rng(1)
    squares = []
    for _ in range(2000):
        drawn = np.bincount(rng.integers(0, 60, 25), minlength=60) / 25
        squares.append(quadrature_error(K, counts, np.arange(60), drawn) ** 2)
    assert np.sqrt(np.mean(squares)) == pytest.approx(1 / 5, rel=0.03)


def test_error_of_patches_that_are_alike_is_zero():
    K = kernel_of(np.ones((5, 3)))
    assert quadrature_error(K, np.full(5, 0.2), np.array([2]), np.ones(1)) == 0.0
