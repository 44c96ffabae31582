import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from patchdistill.baselines import FarthestPointSelector, KMeansSelector
from patchdistill.baselines.kmeans import nearest_to_centers
from patchdistill.testing.strategies import embeddings


def test_the_nearest_of_every_cluster_of_scikit_learn():
    E = np.random.default_rng(0).normal(size=(80, 6))
    found = nearest_to_centers(E, 12, random_state=3)
    k_means = KMeans(12, n_init="auto", random_state=3).fit(E)
    expected = []
    for label in range(12):
        members = np.flatnonzero(k_means.labels_ == label)
        to_center = np.linalg.norm(E[members] - k_means.cluster_centers_[label], axis=1)
        assert len(members) > 2 or np.allclose(to_center, to_center[0])
        # Of two patches both are equally near to their mean; then the first is taken.
        expected.append(members[np.isclose(to_center, to_center.min(), rtol=1e-9)][0])
    np.testing.assert_array_equal(np.sort(found), np.sort(expected))
    sizes = np.bincount(k_means.labels_)[k_means.labels_[found]]
    assert sorted(zip(-sizes, found, strict=True)) == list(zip(-sizes, found, strict=True))


def test_clusters_are_found():
    rng = np.random.default_rng(0)
    E = np.repeat(rng.normal(scale=100, size=(4, 5)), [3, 9, 5, 7], axis=0) + rng.normal(size=(24, 5))
    ranking = KMeansSelector(rate=4).fit([E]).ranking_[0]
    blocks = np.repeat(np.arange(4), [3, 9, 5, 7])
    np.testing.assert_array_equal(blocks[ranking[:4]], [1, 3, 2, 0])


@settings(max_examples=30)
@given(embeddings(n_patches=(1, 20), n_features=(1, 4)), st.data())
def test_one_patch_per_cluster_and_no_copies_before_all_distinct_patches(E, data):
    n_distinct = len(np.unique(E, axis=0))
    k = data.draw(st.integers(1, len(E)))
    found = nearest_to_centers(E, k)
    assert len(np.unique(E[found], axis=0)) == len(found) <= min(k, n_distinct)


def test_empty_clusters_are_made_up_for_by_the_farthest_patches():
    # Five places, three patches each; nine clusters cannot have more than five members that differ.
    E = np.repeat(np.array([[0.0, 0.0], [1, 3], [5, 1], [8, 8], [20, 2]]), 3, axis=0)
    (ranking,) = KMeansSelector(rate=9).fit([E]).ranking_
    assert len({i // 3 for i in ranking[:5]}) == 5
    assert len(set(ranking[:9].tolist())) == 9
    # Copies are all at distance zero, and go from the mean outwards as they do among farthest points.
    (farthest,) = FarthestPointSelector(rate=9).fit([E]).ranking_
    assert [i // 3 for i in ranking[5:9]] == [i // 3 for i in farthest[5:9]]


def test_other_warnings_of_k_means_are_told(monkeypatch):
    class Late(KMeans):
        def fit(self, X):
            warnings.warn("did not converge", ConvergenceWarning, stacklevel=2)
            return super().fit(X)

    monkeypatch.setattr("patchdistill.baselines.kmeans.KMeans", Late)
    with pytest.warns(ConvergenceWarning, match="did not converge"):
        nearest_to_centers(np.eye(5), 2)
