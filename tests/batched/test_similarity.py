import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from patchdistill import normalization, similarity  # noqa: E402
from patchdistill.batched.masked import prefix  # noqa: E402
from patchdistill.batched.normalization import normalize_embeddings, standardize_columns  # noqa: E402
from patchdistill.batched.similarity import (  # noqa: E402
    rbf_affinity,
    spectral_target,
    squared_distances,
    squared_in_metric,
)
from patchdistill.testing.strategies import embeddings  # noqa: E402

batches = st.lists(embeddings(n_patches=(1, 15), n_features=(12, 12)), min_size=1, max_size=3)
normalizations = st.sampled_from(["rows", "columns", None])


def pad(images):
    """One tensor of all images, padded with zeros, and the mask of what is real."""
    n = max(map(len, images))
    padded = np.zeros((len(images), n, images[0].shape[1]))
    for row, image in zip(padded, images, strict=True):
        row[: len(image)] = image
    return torch.tensor(padded), prefix(torch.tensor([len(image) for image in images]), n)


@given(batches, normalizations)
def test_normalization(images, how):
    E, real = pad(images)
    found, lengths = normalize_embeddings(E, real, how)
    assert not found[~real].any()
    for image, rows, r in zip(images, found, lengths, strict=True):
        expected = normalization.normalize_embeddings(image, how)
        np.testing.assert_allclose(rows[: len(image)], expected, atol=1e-12)
        before = normalization.standardize_columns(image) if how == "columns" else image
        if how is not None and before.any():  # in a unit of the image, which is a power of two
            unit = np.abs(before).max() / np.abs(rows.numpy() * r.numpy()[:, None]).max()
            assert np.isclose(np.log2(unit), np.rint(np.log2(unit)), atol=1e-9)
            before = before / unit
        np.testing.assert_allclose(rows[: len(image)] * r[: len(image), None], before, atol=1e-11)


@given(embeddings(n_patches=(2, 15)), st.data())
def test_standardization_by_some_patches(E, data):
    reference = np.zeros(len(E), dtype=bool)
    reference[data.draw(st.lists(st.integers(0, len(E) - 1), min_size=1))] = True
    E = normalization.unit_scale(E)
    found, squares = standardize_columns(torch.tensor(E)[None], torch.tensor(reference)[None])
    np.testing.assert_allclose(found[0], normalization.standardize_columns(E, reference), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(squares, found.square())


@given(batches, st.sampled_from(similarity.METRICS), normalizations)
def test_distances_and_affinities(images, metric, how):
    E, real = pad(images)
    rows, _ = normalize_embeddings(E, real, how)
    squared = squared_in_metric(rows, squared_distances(rows, real), real, metric)
    affinity = rbf_affinity(squared, real, 2.0)
    pairs = real[:, :, None] & real[:, None, :]
    assert not squared[~pairs].any() and not affinity[~pairs].any()
    for i, n in enumerate(real.sum(dim=1).tolist()):
        expected = similarity.pairwise_distances(rows[i, :n].numpy(), metric)
        # Of a difference of squares that nearly cancel only the square root of the precision is left.
        np.testing.assert_allclose(squared[i, :n, :n].sqrt(), expected, rtol=1e-9, atol=1e-7 * (1 + expected.max()))
        assert (squared[i, :n, :n] == squared[i, :n, :n].mT).all() and not squared[i].diagonal().any()
        from_ours = similarity.rbf_affinity(squared[i, :n, :n].sqrt().numpy(), 2.0)
        np.testing.assert_allclose(affinity[i, :n, :n], from_ours, rtol=1e-9)


@pytest.mark.parametrize("metric", similarity.METRICS)
def test_copies_are_at_distance_zero(metric):
    E = torch.rand(1, 8, 300, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    E[0, 5] = E[0, 1]
    E[0, 6] = E[0, 2] * (1 + 1e-9)  # what is nearer than rounding can tell counts as a copy
    real = torch.ones(1, 8, dtype=torch.bool)
    squared = squared_in_metric(E, squared_distances(E, real), real, metric)
    expected = similarity.pairwise_distances(E[0].numpy(), metric)
    assert squared[0, 1, 5] == 0 and np.array_equal(squared[0] > 0, expected > 0)
    assert (squared > 0).sum() == 8 * 7 - (2 if metric == "manhattan" else 4)


@given(batches, st.integers(1, 20))
def test_spectral_target(images, h):
    E, real = pad(images)
    affinity = rbf_affinity(squared_distances(E, real), real, 4.0)
    Z, widths = spectral_target(affinity, real.sum(dim=1), h)
    assert not Z[~real].any()
    for K, found, width, n in zip(affinity, Z, widths.tolist(), real.sum(dim=1).tolist(), strict=True):
        expected = similarity.spectral_target(K[:n, :n].numpy(), h)
        assert not found[:, width:].any()
        # All of a multiple eigenvalue is taken. Whether one belongs to it may hang on rounding.
        values = np.linalg.eigvalsh(K[:n, :n].numpy())[::-1]
        last = values[min(h, n) - 1]
        surely, perhaps = (np.sum(values >= last - share * 1e-9 * values[0]) for share in (0.9, 1.1))
        assert surely <= width <= perhaps
        if width == expected.shape[1]:
            np.testing.assert_allclose(found[:n] @ found[:n].mT, expected @ expected.T, atol=1e-6)
