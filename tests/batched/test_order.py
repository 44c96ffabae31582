import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from patchdistill import ranking  # noqa: E402
from patchdistill.batched.masked import prefix  # noqa: E402
from patchdistill.batched.order import content_order, n_keep, rank  # noqa: E402
from patchdistill.ordered import content_order as content_order_of_one  # noqa: E402
from patchdistill.testing.strategies import embeddings  # noqa: E402


@given(st.lists(embeddings(n_patches=(1, 15), n_features=(20, 20)), min_size=1, max_size=4), st.booleans())
def test_content_order_is_that_of_each_image(images, is_single):
    dtype = np.float32 if is_single else np.float64
    images = [image.astype(dtype) for image in images]
    n = max(map(len, images))
    padded = torch.tensor(np.stack([np.vstack([image, np.zeros((n - len(image), 20), dtype)]) for image in images]))
    real = prefix(torch.tensor([len(image) for image in images]), n)
    order, is_copy = content_order(padded, real)
    for image, found, copies in zip(images, order, is_copy, strict=True):
        expected, places = content_order_of_one(image)
        assert found[: len(image)].tolist() == expected.tolist()
        assert found[len(image) :].tolist() == list(range(len(image), n))
        assert copies.nonzero()[:, 0].tolist() == places.tolist()


def test_both_zeros_are_one():
    E = torch.tensor([[[0.0, 2.0], [-0.0, 1.0], [0.0, 2.0], [-0.0, 2.0]]])
    order, is_copy = content_order(E, torch.ones(1, 4, dtype=torch.bool))
    assert order.tolist() == [[1, 0, 2, 3]] and is_copy.tolist() == [[False, False, True, True]]


def test_patches_that_differ_late_are_told_apart():
    E = torch.zeros(2, 5, 100)
    E[0, :, 98] = torch.tensor([3.0, 1.0, 2.0, 1.0, 1.0])
    E[0, :, 99] = torch.tensor([0.0, 2.0, 0.0, 1.0, 2.0])
    order, is_copy = content_order(E, torch.ones(2, 5, dtype=torch.bool))
    assert order.tolist() == [[3, 1, 4, 2, 0], [0, 1, 2, 3, 4]]
    assert is_copy.tolist() == [[False, False, True, False, False], [False, True, True, True, True]]


@given(st.integers(0, 2**32 - 1), st.sampled_from(["low", "high"]))
def test_rank(seed, keep):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 4, (3, 9)) + 1e-10 * rng.random((3, 9))
    n_patches = rng.integers(1, 10, 3)
    found = rank(torch.tensor(scores), prefix(torch.tensor(n_patches), 9), keep)
    for row, n, order in zip(scores, n_patches, found, strict=True):
        assert order[:n].tolist() == ranking.rank(row[:n], keep).tolist()
        assert order[n:].tolist() == list(range(n, 9))


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.3, 0.45, 0.7, 1.0, 1, 5, 500, *np.linspace(0.1, 0.9, 9)])
def test_n_keep(rate):
    n = np.arange(1, 400)
    assert n_keep(torch.tensor(n), rate).tolist() == [ranking.n_keep(int(k), rate) for k in n]
