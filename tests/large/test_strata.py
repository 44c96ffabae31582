import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from patchdistill.large import strata
from patchdistill.large.strata import bisect, cover_by_strata, cover_with_copies, represent_many
from patchdistill.quadrature import quadrature_error, quadrature_kernel
from patchdistill.representation import represent
from patchdistill.similarity import pairwise_distances
from patchdistill.testing.strategies import embeddings

NO_TIES = {"structures": ("normal", "rectified"), "copies": False, "zero_rows": False}


def groups_of(E):
    return np.unique(E, axis=0, return_inverse=True)[1].ravel()


@given(embeddings(n_patches=(1, 90)), st.integers(1, 20))
def test_strata_are_balanced_and_hold_every_patch_once(E, most):
    members = np.arange(0, len(E), 2)
    parts = list(bisect(E, members, most))
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(len(members)))
    assert all((np.diff(part) > 0).all() for part in parts)
    sizes = [len(part) for part in parts]
    assert max(sizes) <= most and (len(parts) == 1 or 2 * min(sizes) >= most)
    assert all((a == b).all() for a, b in zip(parts, bisect(E, members, most), strict=True))


@given(embeddings(n_patches=(10, 90), n_features=(2, 10), **NO_TIES), st.sampled_from([7.3, 1e-6]))
def test_strata_do_not_see_the_scale(E, scale):
    plain, scaled = (list(bisect(X, np.arange(len(E)), 9)) for X in (E, scale * E))
    assert all((a == b).all() for a, b in zip(plain, scaled, strict=True))


def test_strata_of_points_on_a_line_are_its_pieces():
    rng = np.random.default_rng(0)
    places = rng.normal(size=64)
    parts = bisect(np.outer(places, [3.0, -1.0]), np.arange(64), 8)
    pieces = {frozenset(piece) for piece in np.split(np.argsort(places), 8)}
    assert {frozenset(part) for part in parts} == pieces


@given(st.lists(st.integers(1, 30), min_size=1, max_size=8))
def test_turns_are_in_proportion(sizes):
    turns = strata._take_turns(sizes)
    np.testing.assert_array_equal(np.bincount(turns), sizes)
    assert len(set(turns[: len(sizes)])) == len(sizes)
    for k in range(1, len(turns) + 1):
        taken = np.bincount(turns[:k], minlength=len(sizes)) / sizes
        assert np.ptp(taken) <= 1 / min(sizes) + 1e-12


@given(embeddings(n_patches=(9, 60)), st.integers(0, 99))
def test_orders_are_orders_and_weights_are_positive(E, seed):
    counts = np.random.default_rng(seed).random(len(E)) + 0.1
    orders = []
    for n in sorted({1, 3, 8, 9, len(E) // 2, len(E) - 1, len(E)}):
        order, weights = cover_with_copies(E, np.arange(len(E)), groups_of(E), counts, n)
        assert len(weights) == n and (weights > 0).all() and np.isclose(weights.sum(), 1)
        orders.append(order)
    np.testing.assert_array_equal(np.sort(orders[0]), np.arange(len(E)))
    assert all((order == orders[0]).all() for order in orders)
    np.testing.assert_allclose(weights, counts[order] / counts.sum(), atol=1e-7)


@given(embeddings(n_patches=(9, 60)))
def test_copies_come_after_all_others(E):
    groups = groups_of(E)
    order, _ = cover_with_copies(E, np.arange(len(E)), groups, np.ones(len(E)), 3)
    first = order[: len(set(groups))]
    assert len(set(groups[first])) == len(first)
    assert all(i == np.flatnonzero(groups == groups[i])[0] for i in first)
    assert (np.diff(order[len(first) :]) > 0).all()


def test_copies_count_for_the_one_that_is_kept():
    E = np.random.default_rng(0).normal(size=(30, 4))
    groups, distinct = np.r_[np.zeros(5, int), np.arange(1, 26)], np.r_[0, np.arange(5, 30)]
    E[:5] = E[0]
    order, weights = cover_with_copies(E, np.arange(30), groups, np.ones(30), 12)
    expected, expected_weights = cover_by_strata(E, distinct, np.r_[5, np.ones(25)], 12)
    np.testing.assert_array_equal(order[:26], distinct[expected])
    np.testing.assert_allclose(weights, expected_weights)


@given(embeddings(n_patches=(1, 8), **NO_TIES), st.sampled_from([0.2, 0.5, 3, "auto"]))
def test_one_stratum_is_the_dense_cover(E, rate):
    groups, none = np.arange(len(E)), np.zeros(len(E), dtype=bool)
    ours, dense = represent_many(E, groups, rate, none), represent(E, cdist(E, E), rate, none)
    assert ours.n_kept == dense.n_kept
    error = [quadrature_error_of(E, choice) for choice in (ours, dense)]
    assert np.isclose(*error, atol=1e-6)


def quadrature_error_of(E, choice):
    kernel = quadrature_kernel(E, cdist(E, E))
    return quadrature_error(kernel, np.full(len(E), 1 / len(E)), choice.kept, choice.weights())


@given(embeddings(n_patches=(40, 80), n_features=(2, 10), **NO_TIES), st.integers(0, 99))
def test_weights_of_strata_are_what_their_patches_count(E, seed):
    counts, everything = np.random.default_rng(seed).random(len(E)), np.arange(len(E))
    order, weights = cover_by_strata(E, everything, counts, 25)
    for stratum in bisect(E, everything, 8):
        assert np.isclose(weights[np.isin(order[:25], stratum)].sum(), counts[stratum].sum() / counts.sum())


@pytest.mark.parametrize("n_kept", [20, 60, 150])
def test_averages_and_places_are_nearly_those_of_the_dense_cover(n_kept, monkeypatch):
    """Whether kept patches come from the first cover (20) or from the strata, against the cover of all at once."""
    monkeypatch.setattr(strata, "_STRATUM", 50)
    rng = np.random.default_rng(0)
    E = (rng.normal(size=(10, 4))[rng.integers(0, 10, 300)] + 0.5 * rng.normal(size=(300, 4))) ** 2
    none, D = np.zeros(300, dtype=bool), cdist(E, E)
    ours, dense = represent_many(E, np.arange(300), n_kept, none), represent(E, D, n_kept, none)
    random = [rng.choice(300, n_kept, replace=False) for _ in range(20)]
    kernel, counts = quadrature_kernel(E, D), np.full(300, 1 / 300)
    by_chance = np.mean([quadrature_error(kernel, counts, kept, np.full(n_kept, 1 / n_kept)) for kept in random])
    assert quadrature_error_of(E, ours) < by_chance / 5
    left_ours, left_dense = (D[:, choice.kept].min(axis=1).sum() for choice in (ours, dense))
    assert left_ours < 1.15 * left_dense


@given(embeddings(n_patches=(9, 60)))
def test_auto_keeps_the_fewest_with_a_small_error(E):
    """With the error against the first patches, which with all their weights stand for all."""
    _, firsts, counts = np.unique(E, axis=0, return_index=True, return_counts=True)
    members = np.sort(firsts)
    counts = counts[np.argsort(firsts)]
    n_first = min(8, len(members))
    order, weights = cover_by_strata(E, members, counts, n_first)
    points = E[members[order[:n_first]]]
    kernel = quadrature_kernel(points, pairwise_distances(points))

    def error(n):
        kept_weights = cover_by_strata(E, members, counts, n)[1]
        return quadrature_error(kernel, weights, np.arange(n), kept_weights)

    n = represent_many(E, groups_of(E), "auto", np.zeros(len(E), dtype=bool)).n_kept
    assert 1 <= n <= n_first and error(n) <= 0.05 + 1e-3
    assert n == 1 or error(n - 1) > 0.05 - 1e-3


def test_a_stratum_that_counts_nothing_is_ordered_and_gets_no_weight():
    E = np.r_[np.random.default_rng(0).normal(size=(20, 3)), 100 + np.random.default_rng(1).normal(size=(20, 3))]
    counts = np.r_[np.ones(20), np.zeros(20)]
    choice = represent_many(E, np.arange(40), 0.5, np.zeros(40, dtype=bool), counts)
    weights = choice.weights()
    assert np.isclose(weights[choice.kept < 20].sum(), 1) and np.allclose(weights[choice.kept >= 20], 0)
    with pytest.raises(ValueError, match="20 patches of an image that are no outliers all have weight 0"):
        represent_many(E, np.arange(40), 0.5, counts > 0, counts)
