import numpy as np
from hypothesis import given
from scipy.spatial.distance import cdist, pdist

from patchdistill.baselines import KernelHerdingSelector
from patchdistill.baselines.herding import kernel_herding
from patchdistill.similarity import pairwise_distances, rbf_affinity
from patchdistill.testing.strategies import embeddings
from patchdistill.ties import on_grid


def clusters(n=60, d=5, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(scale=2, size=(5, d))[rng.integers(0, 5, n)] + rng.normal(size=(n, d))


def mean_embedding_errors(K, order):
    """Squared distance, in the kernel's space, between the mean of the first t patches and that of all."""
    errors = []
    for t in range(1, len(order) + 1):
        w = -np.full(len(K), 1 / len(K))
        w[order[:t]] += 1 / t
        errors.append(w @ K @ w)
    return np.array(errors)


@given(embeddings(n_patches=(1, 15), n_features=(1, 4)))
def test_herding_by_its_definition(E):
    K = rbf_affinity(pairwise_distances(E))
    order = kernel_herding(K)
    np.testing.assert_array_equal(np.sort(order), np.arange(len(E)))
    K, n, picked = on_grid(K), len(E), []
    for j in order:
        gains = [
            sum(K[i, p] for i in range(n)) / n - sum(K[s, p] for s in picked) / (len(picked) + 1)
            if p not in picked
            else -9
            for p in range(n)
        ]
        assert gains[j] >= max(gains) - 1e-12
        assert all(gain < gains[j] + 1e-12 for gain in gains[:j])
        picked.append(j)


def test_herding_approaches_the_mean_embedding_faster_than_chance():
    K = np.exp(-cdist(clusters(), clusters(), "sqeuclidean") / 20)
    errors = mean_embedding_errors(K, kernel_herding(K))
    rng = np.random.default_rng(0)
    random = np.mean([mean_embedding_errors(K, rng.permutation(60)) for _ in range(50)], axis=0)
    assert errors[-1] < 1e-12
    assert (errors[[4, 9, 19, 29]] < 0.5 * random[[4, 9, 19, 29]]).all()
    assert errors[29] < errors[9] < errors[4] < errors[0]


def test_selector_uses_the_bandwidth_as_a_multiple_of_the_median():
    E = clusters(seed=1)
    for bandwidth in (0.5, 4.0):
        K = np.exp(-cdist(E, E, "sqeuclidean") / (2 * bandwidth * np.median(pdist(E, "sqeuclidean"))))
        (ranking,) = KernelHerdingSelector(bandwidth=bandwidth).fit([E]).ranking_
        np.testing.assert_array_equal(ranking, kernel_herding(K))
