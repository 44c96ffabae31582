import numpy as np
import pytest

torch = pytest.importorskip("torch")

import patchdistill.batched.eigenpairs  # noqa: E402
from patchdistill.batched.eigenpairs import all_eigenpairs, iterated_eigenpairs  # noqa: E402
from patchdistill.similarity import pairwise_distances, rbf_affinity  # noqa: E402

N, H = 120, 10


def affinities():
    """Matrices whose eigenvalues fall fast and slowly, hardly at all, to zero, and come in clusters; two padded."""
    rng = np.random.default_rng(0)
    images = {
        "few scenes": np.abs(rng.normal(size=(4, 50)))[rng.integers(0, 4, N)] + 0.3 * rng.random((N, 50)),
        "normal": rng.normal(size=(N, 500)),
        "few dimensions": rng.normal(size=(N, 3)),
        "tight clusters": rng.normal(size=(5, 50))[rng.integers(0, 5, N)] + 1e-3 * rng.normal(size=(N, 50)),
        "copies": np.repeat(rng.normal(size=(20, 50)), 6, axis=0),
        "line": np.linspace(0, 1, N)[:, None] * rng.normal(size=(1, 30)),
        "two patches": np.sign(rng.normal(size=(N, 1))) * np.ones((1, 5)),
        "all alike": np.ones((N, 5)),
        "equal distances": np.eye(N),
        "padded": rng.random((70, 50)),
        "small": rng.random((12, 50)),
    }
    matrices, sizes = torch.zeros(len(images), N, N, dtype=torch.float64), []
    for matrix, image in zip(matrices, images.values(), strict=True):
        n = len(image)
        matrix[:n, :n] = torch.as_tensor(rbf_affinity(pairwise_distances(image)))
        sizes.append(n)
    return list(images), matrices, torch.tensor(sizes)


def test_iteration_finds_what_decomposition_finds():
    names, matrices, sizes = affinities()
    expected, vectors = all_eigenpairs(matrices, sizes)
    values, found = iterated_eigenpairs(matrices, sizes, H + 1)
    for i, (name, n) in enumerate(zip(names, sizes.tolist(), strict=True)):
        torch.testing.assert_close(values[i, : H + 1], expected[i, : H + 1], rtol=0, atol=1e-12 * N)
        assert not found[i, n:, : min(n, H + 1)].any()
        K = matrices[i]
        residual = K @ found[i, :, : H + 1] - found[i, :, : H + 1] * values[i, : H + 1]
        assert residual.abs().max() <= 1e-10 * expected[i, 0], name
        gap = (expected[i, H - 1] - expected[i, H]) / expected[i, 0]
        if gap > 1e-7:
            Z, reference = (v[i, :, :H] * v[i, :, :H].new_tensor(1.0) for v in (found, vectors))
            torch.testing.assert_close(Z @ Z.T, reference @ reference.T, rtol=0, atol=1e-13 / gap.item())
        elif gap < 1e-9:  # a multiple eigenvalue comes as a whole
            torch.testing.assert_close(values[i], expected[i])


def test_ordinary_matrices_are_not_decomposed(monkeypatch):
    """In the test above decomposition helps out with others; here it must not be needed."""
    names, matrices, sizes = affinities()
    ordinary = torch.tensor([names.index(n) for n in ("few scenes", "normal", "few dimensions", "padded")])
    matrices, sizes = matrices[ordinary], sizes[ordinary]
    expected, _ = all_eigenpairs(matrices, sizes)
    monkeypatch.setattr(patchdistill.batched.eigenpairs, "all_eigenpairs", None)
    values, vectors = iterated_eigenpairs(matrices, sizes, H + 1)
    assert values.shape == (4, H + 1) and vectors.shape == (4, N, H + 1)
    torch.testing.assert_close(values, expected[:, : H + 1], rtol=0, atol=1e-12 * N)


@pytest.mark.parametrize("n", [5, 31, 33])
def test_small_matrices(n):
    K = torch.eye(n, dtype=torch.float64)[None] + 0.5
    values, vectors = iterated_eigenpairs(K, torch.tensor([n]), 3)
    torch.testing.assert_close(values[0, 0], torch.tensor(1 + 0.5 * n, dtype=torch.float64))
    torch.testing.assert_close(vectors[0, :, :1].abs(), torch.full((n, 1), n**-0.5, dtype=torch.float64))
