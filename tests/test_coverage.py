from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from patchdistill.coverage import greedy_medoids, self_tuning_distances
from patchdistill.testing.strategies import embeddings


def distances_of(E):
    return cdist(E, E)


def cost(D, kept):
    return D[:, kept].min(axis=1).sum()


@given(embeddings(n_patches=(1, 20)))
def test_each_patch_taken_is_the_best_next_one(E):
    D = distances_of(E)
    order = greedy_medoids(D)
    assert sorted(order) == list(range(len(D)))
    slack = 1e-8 * (1 + D.sum())
    for k in range(1, len(D) + 1):
        taken, rest = list(order[: k - 1]), order[k - 1 :]
        assert cost(D, order[:k]) <= min(cost(D, [*taken, j]) for j in rest) + slack


@given(embeddings(n_patches=(3, 9)), st.integers(1, 3))
def test_gain_is_at_least_what_nemhauser_wolsey_fisher_promise(E, k):
    D = distances_of(E)
    worst = D.max() * len(D)  # cost of covering nothing, in the facility location reading
    best = min(cost(D, list(kept)) for kept in combinations(range(len(D)), k))
    found = cost(D, greedy_medoids(D)[:k])
    assert worst - found >= (1 - 1 / np.e) * (worst - best) - 1e-9 * worst


@given(embeddings(n_patches=(2, 15)), st.data())
def test_copies_come_after_everything_else(E, data):
    distinct = np.unique(E, axis=0)
    copied = data.draw(st.integers(0, len(distinct) - 1))
    D = distances_of(np.vstack([distinct, distinct[[copied, copied]]]))
    order = greedy_medoids(D)
    n = len(distinct)
    assert sorted(order[:n] % n if copied == 0 else [copied if j >= n else j for j in order[:n]]) == list(range(n))


def test_ties_go_by_index_whatever_the_rounding():
    corners = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    for scale in (1.0, 0.1, 7.3, 1e-100, 1e100):
        order = greedy_medoids(distances_of(scale * corners))
        np.testing.assert_array_equal(order, [0, 1, 2, 3])


@given(embeddings(n_patches=(10, 20), structures=("normal",), copies=False, zero_rows=False))
def test_self_tuning_distances_by_hand(E):
    D = distances_of(E)
    scales = np.array([np.sort(row)[7] for row in D])
    scales = np.maximum(scales, np.median(scales) / 10)
    expected = [[D[i, j] / np.sqrt(scales[i] * scales[j]) for j in range(len(D))] for i in range(len(D))]
    np.testing.assert_allclose(self_tuning_distances(D), expected, rtol=1e-12)
    np.testing.assert_allclose(self_tuning_distances(7 * D), expected, rtol=1e-12)


def test_copies_have_the_scale_of_a_tenth_of_the_median():
    D = distances_of(np.r_[np.zeros(9), np.arange(1.0, 15.0)][:, None])
    scales = np.sort(D, axis=1)[:, 7]
    assert scales[0] == 0 and np.median(scales) > 0
    expected = D[0, 12] / np.sqrt(np.median(scales) / 10 * scales[12])
    assert self_tuning_distances(D)[0, 12] == pytest.approx(expected)


@pytest.mark.parametrize("n", [1, 3, 12])
def test_distances_between_copies_stay_zero(n):
    np.testing.assert_array_equal(self_tuning_distances(np.zeros((n, n))), np.zeros((n, n)))


def test_dense_and_sparse_regions_share_the_representatives():
    """Twenty patches each, one region a hundred times as wide: plain distances would give it all but one."""
    rng = np.random.default_rng(0)
    places = np.concatenate([rng.random(20), 1000 + 100 * rng.random(20)])[:, None]
    D = distances_of(places)
    plain = greedy_medoids(D)
    tuned = greedy_medoids(self_tuning_distances(D))
    assert np.sum(plain[:10] < 20) == 1 and np.sum(tuned[:10] < 20) >= 4


@given(embeddings(n_patches=(2, 15)), st.data())
def test_an_order_that_has_begun_goes_on_with_the_best_next_one(E, data):
    D = distances_of(E)
    first = data.draw(st.lists(st.integers(0, len(D) - 1), unique=True, min_size=1))
    order = greedy_medoids(D, first)
    assert sorted(order) == list(range(len(D))) and list(order[: len(first)]) == first
    slack = 1e-8 * (1 + D.sum())
    for k in range(len(first) + 1, len(D) + 1):
        assert cost(D, order[:k]) <= min(cost(D, [*order[: k - 1], j]) for j in order[k - 1 :]) + slack
