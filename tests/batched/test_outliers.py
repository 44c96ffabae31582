import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from patchdistill import outliers  # noqa: E402
from patchdistill.batched.outliers import core_sizes, find_outliers, outlyingness  # noqa: E402
from patchdistill.similarity import pairwise_distances  # noqa: E402
from patchdistill.testing.strategies import embeddings  # noqa: E402


def batch_of(images):
    """Distances of images whose patches stand in the order of their scores, padded."""
    n = max(map(len, images))
    distances = np.zeros((len(images), n, n))
    for matrix, image in zip(distances, images, strict=True):
        matrix[: len(image), : len(image)] = pairwise_distances(image)
    return distances, np.array([len(image) for image in images])


def planted(seed):
    """Images with outliers at their ends, without, and of one kind of patch alone."""
    rng = np.random.default_rng(seed)
    images = [np.abs(rng.normal(size=(3, 20)))[rng.integers(0, 3, n)] + 0.1 * rng.random((n, 20)) for n in (40, 33, 12)]
    images[0][-5:] += 3 * rng.random((5, 20))
    images.append(np.ones((7, 20)))
    return images


@given(st.lists(embeddings(n_patches=(1, 25), n_features=(10, 10)), min_size=1, max_size=3))
def test_outlyingness_is_that_of_each_image(images):
    distances, n_patches = batch_of(images)
    found = outlyingness(torch.tensor(distances), torch.tensor(n_patches))
    for row, D, n in zip(found, distances, n_patches, strict=True):
        expected = outliers.outlyingness(D[:n, :n], np.arange(n) / n)
        np.testing.assert_allclose(row[:n], expected, rtol=1e-6, atol=1e-6)
        assert not row[n:].any()


@pytest.mark.parametrize("threshold", [0.0, 1.0, 3.5, np.inf])
@pytest.mark.parametrize("seed", range(5))
def test_the_same_outliers_are_found(seed, threshold):
    distances, n_patches = batch_of(planted(seed))
    found = find_outliers(torch.tensor(distances), torch.tensor(n_patches), threshold)
    expected = [
        outliers.find_outliers(D[:n, :n], np.arange(n) / n, threshold)
        for D, n in zip(distances, n_patches, strict=True)
    ]
    for row, n, mask in zip(found, n_patches, expected, strict=True):
        np.testing.assert_array_equal(row[:n], mask)
        assert not row[n:].any()
    if threshold == 3.5:
        assert expected[0].any() and not expected[3].any()


def test_core_sizes():
    n = np.arange(1, 400)
    assert core_sizes(torch.tensor(n)).tolist() == [len(outliers.split_core(np.zeros(k))[0]) for k in n]


def test_at_most_nine_tenths_of_the_others_go():
    """Ten patches outside a core of thirty: nine may be outliers, ten are the border of the core."""
    rng = np.random.default_rng(0)
    E = np.vstack([rng.normal(size=(31, 5)), 50 * rng.normal(size=(9, 5))])
    crowded = np.vstack([E[:30], 50 * rng.normal(size=(10, 5))])
    distances, n_patches = batch_of([E, crowded])
    found = find_outliers(torch.tensor(distances), torch.tensor(n_patches), 3.5)
    assert found.sum(dim=1).tolist() == [9, 0]
