import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from patchdistill.baselines import KMedoidsSelector, TrimmedMedoidsSelector
from patchdistill.baselines.trimmed import isolation
from patchdistill.similarity import pairwise_distances
from patchdistill.testing.strategies import embeddings


def mean_distances(E, n_neighbors):
    # kneighbors() without an argument leaves the patch itself out.
    return NearestNeighbors(n_neighbors=n_neighbors, algorithm="brute").fit(E).kneighbors()[0].mean(axis=1)


@settings(max_examples=30)
@given(embeddings(n_patches=(2, 25), n_features=(1, 5)), st.integers(1, 30))
def test_isolation_is_that_of_scikit_learn(E, n_neighbors):
    found = isolation(pairwise_distances(E), n_neighbors)
    expected = mean_distances(E, min(n_neighbors, len(E) - 1))
    np.testing.assert_allclose(found, expected, atol=1e-6 * np.abs(E).max(initial=0.0))


def image(n=50, seed=0):
    rng = np.random.default_rng(seed)
    E = rng.normal(size=(n, 6))
    E[rng.choice(n, n // 10, replace=False)] *= 8
    return E


@pytest.mark.parametrize(("trim", "n_neighbors"), [(0.2, 15), (0.5, 4), (0, 15)])
def test_trim_then_medoids_in_three_lines(trim, n_neighbors):
    E = image()
    rest = np.sort(np.argsort(mean_distances(E, n_neighbors))[: len(E) - int(trim * len(E))])
    medoids = KMedoidsSelector(rate=10).fit([E[rest]])
    selector = TrimmedMedoidsSelector(rate=10, trim=trim, n_neighbors=n_neighbors).fit([E])
    np.testing.assert_array_equal(selector.selected_idx_[0], rest[medoids.selected_idx_[0]])
    np.testing.assert_allclose(selector.weights_[0], medoids.weights_[0])


def test_dropped_patches_come_last_and_stand_for_themselves_where_they_must_be_kept():
    E = image()
    by_isolation = np.argsort(mean_distances(E, 15))
    few, many = (TrimmedMedoidsSelector(rate=rate).fit([E]) for rate in (10, 43))
    for selector in (few, many):
        np.testing.assert_array_equal(selector.ranking_[0][40:], by_isolation[40:])
    np.testing.assert_array_equal(many.selected_idx_[0], np.sort(by_isolation[:43]))
    np.testing.assert_allclose(many.weights_[0], 1 / 43)
    assert few.weights_[0].sum() == pytest.approx(1)


def test_outliers_and_copies_go_where_medoids_alone_keep_the_outliers():
    rng = np.random.default_rng(0)
    E = np.concatenate([rng.normal(size=(30, 8)), 30 * rng.normal(size=(6, 8))])
    E = np.concatenate([E, E[:3], E[:3]])
    outliers = np.arange(30, 36)
    assert np.isin(outliers, KMedoidsSelector(rate=15).fit([E]).selected_idx_[0]).all()
    kept = TrimmedMedoidsSelector(rate=15).fit([E]).selected_idx_[0]
    assert not np.isin(outliers, kept).any()
    assert len(np.unique(E[kept], axis=0)) == 15
