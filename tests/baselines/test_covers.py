from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from patchdistill.baselines.covers import (
    _exchange_changes,
    choose_cover,
    farthest_points,
    k_medoids,
)
from patchdistill.coverage import greedy_medoids, nearest_kept
from patchdistill.similarity import pairwise_distances
from patchdistill.testing.strategies import embeddings
from patchdistill.ties import on_grid


def greedily(distances, k):
    return greedy_medoids(distances)[:k]


def cost(distances, kept):
    return distances[:, list(kept)].min(axis=1).sum()


@st.composite
def problems(draw, n_patches=(1, 8)):
    distances = pairwise_distances(draw(embeddings(n_patches=n_patches, n_features=(1, 4))))
    return distances, draw(st.integers(1, len(distances)))


def assert_picked(picked, k, n):
    assert picked.shape == (k,) and len(set(picked.tolist())) == k and 0 <= picked.min() <= picked.max() < n


@given(problems(n_patches=(1, 15)), st.randoms())
def test_farthest_points_by_their_definition(problem, random):
    distances, k = on_grid(problem[0]), problem[1]
    start = random.randrange(len(distances))
    expected = [start]
    while len(expected) < k:
        others = [i for i in range(len(distances)) if i not in expected]
        expected.append(max(others, key=lambda i: (min(distances[i, j] for j in expected), -i)))
    np.testing.assert_array_equal(farthest_points(distances, k, start), expected)


@settings(max_examples=30)
@given(problems())
def test_farthest_points_are_at_most_twice_as_far_as_the_best_ones(problem):
    distances, k = problem

    def radius(kept):
        return distances[:, list(kept)].min(axis=1).max()

    best = min(radius(kept) for kept in combinations(range(len(distances)), k))
    assert radius(farthest_points(distances, k)) <= 2 * best * (1 + 1e-6) + 1e-12


def test_farthest_points_go_on_from_several():
    distances = cdist(*[np.random.default_rng(0).normal(size=(20, 3))] * 2)
    picked = farthest_points(distances, 12, start=4)
    np.testing.assert_array_equal(farthest_points(distances, 12, start=picked[:5]), picked)


@settings(max_examples=60)
@given(problems())
def test_k_medoids_are_a_local_minimum_between_the_greedy_one_and_the_best(problem):
    distances, k = problem
    medoids = k_medoids(distances, k)
    assert_picked(medoids, k, len(distances))
    tolerance = 1e-8 * distances.max()  # the grid's
    reached = cost(distances, medoids)
    assert reached <= cost(distances, greedily(distances, k)) + tolerance
    assert reached >= min(cost(distances, kept) for kept in combinations(range(len(distances)), k)) - tolerance
    for i in range(k):
        for j in set(range(len(distances))) - set(medoids.tolist()):
            exchanged = [*medoids[:i], j, *medoids[i + 1 :]]
            assert reached <= cost(distances, exchanged) + tolerance


@settings(max_examples=30)
@given(problems(n_patches=(2, 12)), st.randoms())
def test_exchanges_are_valued_as_the_sum_says(problem, random):
    distances, k = on_grid(problem[0]), problem[1]
    medoids = np.array(random.sample(range(len(distances)), k))
    changes = _exchange_changes(distances, medoids)
    for i in range(k):
        for j in range(len(distances)):
            if j in medoids:
                assert changes[i, j] == np.inf
            else:
                exchanged = [*medoids[:i], j, *medoids[i + 1 :]]
                assert changes[i, j] == cost(distances, exchanged) - cost(distances, medoids)


def test_exchanges_lead_to_the_best_where_the_greedy_start_does_not():
    # The greedy start takes the middle; the best two medoids are the middles of the sides.
    places = np.array([-11.0, -10.0, -9.0, 0.0, 9.0, 10.0, 11.0])[:, None]
    distances = cdist(places, places)
    assert 3 in greedily(distances, 2)
    best = min(cost(distances, kept) for kept in combinations(range(7), 2))
    assert cost(distances, k_medoids(distances, 2)) == pytest.approx(best)


def test_medoids_of_clusters_are_their_medoids():
    rng = np.random.default_rng(0)
    E = np.repeat(rng.normal(scale=100, size=(6, 4)), 15, axis=0) + rng.normal(size=(90, 4))
    distances = cdist(E, E)
    blocks = [np.arange(15 * i, 15 * i + 15) for i in range(6)]
    expected = [block[distances[np.ix_(block, block)].sum(axis=0).argmin()] for block in blocks]
    np.testing.assert_array_equal(np.sort(k_medoids(distances, 6)), expected)


def test_copies_are_medoids_only_where_there_is_nothing_else():
    E = np.repeat(np.random.default_rng(0).normal(size=(5, 3)), 3, axis=0)
    distances = pairwise_distances(E)
    for pick in (greedily, k_medoids, farthest_points):
        assert len({i // 3 for i in pick(distances, 5)}) == 5
        assert_picked(pick(distances, 12), 12, 15)


@pytest.mark.parametrize("pick", [farthest_points, k_medoids])
@pytest.mark.parametrize("k", [0, 4])
def test_numbers_that_cannot_be_are_refused(pick, k):
    with pytest.raises(ValueError, match=f"k={k} is not valid for 3 patches; use an int from 1 to 3"):
        pick(np.zeros((3, 3)), k)


@given(problems(n_patches=(1, 15)))
def test_every_patch_is_represented_by_the_nearest_and_kept_ones_by_themselves(problem):
    distances, k = problem
    kept = farthest_points(distances, k)
    representatives = nearest_kept(distances, kept)
    np.testing.assert_array_equal(representatives[kept], kept)
    np.testing.assert_array_equal(distances[np.arange(len(distances)), representatives], distances[:, kept].min(axis=1))


def test_choice_of_a_cover():
    places = np.array([0.0, 1.0, 3.0, 7.0, 20.0])[:, None]
    choice = choose_cover(cdist(places, places), np.array([4, 1]))
    np.testing.assert_array_equal(choice.ranking, [4, 1, 3, 2, 0])
    np.testing.assert_array_equal(choice.kept, [1, 4])
    np.testing.assert_allclose(choice.weights(), [0.8, 0.2])
