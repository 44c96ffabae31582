import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from patchdistill import coverage, ties  # noqa: E402
from patchdistill.batched.coverage import greedy_medoids, nearest_kept, on_grid, self_tuning_distances  # noqa: E402
from patchdistill.batched.masked import prefix  # noqa: E402
from patchdistill.similarity import pairwise_distances  # noqa: E402
from patchdistill.testing.strategies import embeddings  # noqa: E402

batches = st.lists(embeddings(n_patches=(1, 20), n_features=(5, 5)), min_size=1, max_size=3)


def batch_of(images):
    """Distances, with nonsense where they are padding."""
    n = max(map(len, images))
    distances = np.full((len(images), n, n), 7.0)
    for matrix, image in zip(distances, images, strict=True):
        matrix[: len(image), : len(image)] = pairwise_distances(image)
    n_patches = np.array([len(image) for image in images])
    return distances, n_patches, prefix(torch.tensor(n_patches), n)


@given(batches)
def test_self_tuning_distances(images):
    distances, n_patches, real = batch_of(images)
    found = self_tuning_distances(torch.tensor(distances), real)
    for matrix, D, n in zip(found, distances, n_patches, strict=True):
        np.testing.assert_allclose(matrix[:n, :n], coverage.self_tuning_distances(D[:n, :n]), rtol=1e-14)


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 1e-300, 1e-9, 1.0, 3.7, 2.0**40]))
def test_grid(seed, scale):
    matrices = scale * np.random.default_rng(seed).random((3, 4, 5))
    found = on_grid(torch.tensor(matrices))
    for matrix, expected in zip(found, matrices, strict=True):
        np.testing.assert_array_equal(matrix, ties.on_grid(expected))


@given(batches, st.integers(0, 2**32 - 1))
def test_greedy_medoids(images, seed):
    distances, n_patches, real = batch_of(images)
    rng = np.random.default_rng(seed)
    first = [rng.permutation(n)[: rng.integers(0, n + 1)] for n in n_patches]
    padded = np.zeros((len(images), max(map(len, first))), dtype=np.int64)
    for row, places in zip(padded, first, strict=True):
        row[: len(places)] = places
    n_first = torch.tensor([len(places) for places in first])
    found = greedy_medoids(torch.tensor(distances), real, torch.tensor(padded), n_first)
    for order, D, n, places in zip(found.tolist(), distances, n_patches, first, strict=True):
        expected = coverage.greedy_medoids(D[:n, :n], places)
        assert order[:n] == expected.tolist()
        assert order[n:] == list(range(n, len(order)))


@given(batches, st.integers(0, 2**32 - 1))
def test_nearest_kept(images, seed):
    distances, n_patches, real = batch_of(images)
    rng = np.random.default_rng(seed)
    orders = [np.append(rng.permutation(n), np.arange(n, real.shape[1])) for n in n_patches]
    n_kept = np.array([rng.integers(1, n + 1) for n in n_patches])
    kept = torch.tensor(np.array(orders))[:, : n_kept.max()]
    found = nearest_kept(torch.tensor(distances), kept, prefix(torch.tensor(n_kept), kept.shape[1]))
    for places, D, n, order, k in zip(found, distances, n_patches, orders, n_kept, strict=True):
        expected = coverage.nearest_kept(D[:n, :n], order[:k])
        np.testing.assert_array_equal(order[places[:n]], expected)
