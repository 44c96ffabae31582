import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from patchdistill import quadrature  # noqa: E402
from patchdistill.batched.masked import prefix  # noqa: E402
from patchdistill.batched.quadrature import (  # noqa: E402
    quadrature_error,
    quadrature_kernel,
    quadrature_order,
    quadrature_weights,
)
from patchdistill.normalization import unit_scale  # noqa: E402
from patchdistill.similarity import pairwise_distances  # noqa: E402
from patchdistill.testing.strategies import embeddings  # noqa: E402

ordinary = embeddings(n_patches=(2, 25), n_features=(10, 10), structures=("normal", "rectified"), copies=False)
batches = st.lists(ordinary, min_size=1, max_size=3)


def batch_of(images, seed):
    """Kernels of images, padded, with how much each patch counts, and the same one by one."""
    rng = np.random.default_rng(seed)
    n = max(map(len, images))
    kernels, counts = np.zeros((len(images), n, n)), np.zeros((len(images), n))
    parts = []
    for i, image in enumerate(images):
        kernel = quadrature.quadrature_kernel(unit_scale(image), pairwise_distances(image))
        weights = rng.random(len(image))
        kernels[i, : len(image), : len(image)], counts[i, : len(image)] = kernel, weights / weights.sum()
        parts.append((kernel, weights / weights.sum()))
    real = prefix(torch.tensor([len(image) for image in images]), n)
    return torch.tensor(kernels), torch.tensor(counts), real, parts


@given(st.lists(embeddings(n_patches=(1, 20), n_features=(10, 10)), min_size=1, max_size=3))
def test_kernel_among_some_patches(images):
    n = max(map(len, images))
    points, squared, real = (
        np.zeros((len(images), n, 10)),
        np.zeros((len(images), n, n)),
        np.zeros((len(images), n), bool),
    )
    for i, image in enumerate(images):
        points[i, : len(image)] = unit_scale(image)
        squared[i, : len(image), : len(image)] = pairwise_distances(points[i, : len(image)]) ** 2
        real[i, : max(1, len(image) - 2)] = True  # two outliers
    found = quadrature_kernel(*map(torch.tensor, (points, squared, real)))
    assert not found[~torch.tensor(real)].any()
    for i, mask in enumerate(real):
        expected = quadrature.quadrature_kernel(points[i, mask], np.sqrt(squared[i][np.ix_(mask, mask)]))
        np.testing.assert_allclose(found[i][np.ix_(mask, mask)], expected, atol=1e-8 * (1 + np.abs(expected).max()))


@given(batches, st.integers(0, 2**32 - 1))
def test_order(images, seed):
    kernels, counts, real, parts = batch_of(images, seed)
    wanted = np.random.default_rng(seed).integers(0, 8, len(images)).clip(max=[len(image) for image in images])
    order, lengths = quadrature_order(kernels, counts, real, torch.tensor(wanted))
    for i, (kernel, weights) in enumerate(parts):
        expected = quadrature.quadrature_order(kernel, weights, wanted[i])
        assert order[i, : lengths[i]].tolist() == expected.tolist()


def test_order_ends_where_nothing_is_left_to_tell():
    """Patches that have nothing to do with those that count tell nothing of the average."""
    kernels = torch.eye(6, dtype=torch.float64).repeat(2, 1, 1)
    counts, real = torch.zeros(2, 6, dtype=torch.float64), torch.ones(2, 6, dtype=torch.bool)
    counts[0, 4] = counts[1, 1] = counts[1, 2] = 1.0
    counts /= counts.sum(dim=1, keepdim=True)
    order, lengths = quadrature_order(kernels, counts, real, torch.tensor([4, 3]))
    for i, expected in enumerate(([4], [1, 2])):
        assert order[i, : lengths[i]].tolist() == expected
        assert quadrature.quadrature_order(np.eye(6), counts[i].numpy(), 4).tolist() == expected


@given(batches, st.integers(0, 2**32 - 1))
def test_weights_and_errors(images, seed):
    kernels, counts, real, parts = batch_of(images, seed)
    rng = np.random.default_rng(seed)
    n_kept = [rng.integers(1, len(image) + 1) for image in images]
    n, width = real.shape[1], max(n_kept)
    kept, shares = np.zeros((len(images), width), dtype=np.int64), np.zeros((len(images), width))
    for i, image in enumerate(images):
        order = np.append(rng.permutation(len(image)), np.arange(len(image), n))
        kept[i], shares[i, : n_kept[i]] = order[:width], rng.dirichlet(np.ones(n_kept[i]))
    is_kept = prefix(torch.tensor(n_kept), width)
    weights = quadrature_weights(kernels, counts, torch.tensor(kept), is_kept, torch.tensor(shares))
    errors = quadrature_error(kernels, counts, real, torch.tensor(kept), weights)
    for i, (kernel, share) in enumerate(parts):
        k = n_kept[i]
        expected = quadrature.quadrature_weights(kernel, share, kept[i, :k], shares[i, :k])
        np.testing.assert_allclose(weights[i, :k], expected, atol=1e-9)
        assert not weights[i, k:].any()
        assert np.isclose(errors[i], quadrature.quadrature_error(kernel, share, kept[i, :k], expected), atol=1e-6)
