import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from sklearn.covariance import ledoit_wolf
from sklearn.metrics.pairwise import cosine_distances

from patchdistill.similarity import METRICS, pairwise_distances, rbf_affinity, spectral_target
from patchdistill.testing.strategies import embeddings


@given(embeddings())
def test_euclidean_and_manhattan_equal_scipy(E):
    scale = max(1.0, np.abs(E).max())
    np.testing.assert_allclose(pairwise_distances(E, "euclidean"), cdist(E, E), atol=1e-6 * scale)
    np.testing.assert_allclose(pairwise_distances(E, "manhattan"), cdist(E, E, "cityblock"), atol=1e-12 * scale)


@given(embeddings(zero_rows=False, structures=("normal", "low rank", "clusters")))
def test_cosine_equals_scikit_learn(E):
    np.testing.assert_allclose(pairwise_distances(E, "cosine"), cosine_distances(E), atol=1e-12)


def test_cosine_of_zero_rows():
    distances = pairwise_distances(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 0.0]]), "cosine")
    np.testing.assert_array_equal(distances, [[0, 1, 0], [1, 0, 1], [0, 1, 0]])


@settings(max_examples=30)
@given(embeddings(n_patches=(3, 25), n_features=(1, 40), structures=("normal", "rectified"), copies=False))
def test_mahalanobis_equals_the_inverse_of_the_shrunk_covariance(E):
    covariance, shrinkage = ledoit_wolf(E)
    if shrinkage < 1e-6 and E.shape[1] >= len(E):
        return  # singular: there is no inverse to compare with
    expected = cdist(E, E, "mahalanobis", VI=np.linalg.pinv(covariance))
    np.testing.assert_allclose(pairwise_distances(E, "mahalanobis"), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("metric", METRICS)
@given(E=embeddings())
def test_distances_are_distances(metric, E):
    distances = pairwise_distances(E, metric)
    assert distances.shape == (len(E), len(E)) and np.isfinite(distances).all() and (distances >= 0).all()
    np.testing.assert_array_equal(distances, distances.T)
    is_copy = (E[:, None] == E).all(axis=2)
    assert (distances[is_copy] == 0).all()


@pytest.mark.parametrize("metric", METRICS)
@given(E=embeddings(), scale=st.sampled_from([7.3, 1e-3, 1e3]))
def test_affinity_does_not_see_the_scale(metric, E, scale):
    affinity, scaled = (rbf_affinity(pairwise_distances(X, metric)) for X in (E, scale * E))
    np.testing.assert_allclose(scaled, affinity, atol=1e-6)


def test_affinity_by_hand():
    distances = np.array([[0.0, 1.0, 3.0], [1.0, 0.0, 2.0], [3.0, 2.0, 0.0]])
    np.testing.assert_allclose(rbf_affinity(distances, bandwidth=2.0), np.exp(-(distances**2) / (2 * 2.0 * 4.0)))


def test_copies_do_not_narrow_the_bandwidth():
    line = np.arange(6.0)[:, None]
    with_copies = np.vstack([line, np.tile(line[:1], (30, 1))])
    assert rbf_affinity(pairwise_distances(with_copies))[0, 5] > 0.01
    np.testing.assert_array_equal(rbf_affinity(np.zeros((3, 3))), np.ones((3, 3)))


@given(embeddings(n_patches=(2, 25)), st.integers(1, 12))
def test_target_is_the_best_approximation_of_its_rank(E, h):
    affinity = rbf_affinity(pairwise_distances(E))
    Z = spectral_target(affinity, h)
    eigenvalues = np.sort(np.linalg.eigvalsh(affinity))[::-1]
    assert min(h, len(E)) <= Z.shape[1] <= len(E)
    # Eckart-Young: what is left are the eigenvalues that were not taken.
    left = np.linalg.norm(affinity - Z @ Z.T, "fro")
    taken = np.maximum(eigenvalues[: Z.shape[1]], 0)
    expected = np.linalg.norm(np.concatenate([eigenvalues[: Z.shape[1]] - taken, eigenvalues[Z.shape[1] :]]))
    assert abs(left - expected) < 1e-7 * len(E)
    assert (np.diff(np.linalg.norm(Z, axis=0)) < 1e-9).all()


def test_multiple_eigenvalues_are_taken_whole():
    # Three equidistant points have one eigenvalue and then twice another.
    affinity = np.full((3, 3), 0.5) + 0.5 * np.eye(3)
    assert [spectral_target(affinity, h).shape[1] for h in (1, 2, 3, 9)] == [1, 3, 3, 3]
    assert spectral_target(np.eye(4), 1).shape == (4, 4)
    assert spectral_target(np.ones((1, 1)), 10).shape == (1, 1)


@pytest.mark.parametrize(
    "distances",
    [np.zeros((3, 2)), np.zeros(3), np.full((4, 4), np.nan), -np.ones((4, 4)), np.triu(np.ones((4, 4)))],
    ids=["shape", "1-D", "NaN", "negative", "asymmetric"],
)
def test_a_metric_must_return_distances(distances):
    with pytest.raises(ValueError, match="The metric returned"):
        pairwise_distances(np.ones((4, 2)), lambda E: distances)


def test_a_callable_metric_is_used():
    E = np.arange(8.0).reshape(4, 2)
    np.testing.assert_array_equal(pairwise_distances(E, lambda E: cdist(E, E)), cdist(E, E))


def test_unknown_metric():
    with pytest.raises(ValueError, match="metric='minkowski'.*euclidean, manhattan, mahalanobis, cosine"):
        pairwise_distances(np.ones((2, 2)), "minkowski")
