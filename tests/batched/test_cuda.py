"""What can be seen on a GPU alone; everything else of the GPU's way is tested on the CPU, which goes it too."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import patchdistill.batched.similarity  # noqa: E402
from patchdistill import ResidualPatchSelector, select_patches  # noqa: E402
from patchdistill.batched import select_batch  # noqa: E402
from patchdistill.batched.chunks import images_per_batch  # noqa: E402
from patchdistill.batched.eigenpairs import iterated_eigenpairs  # noqa: E402
from patchdistill.similarity import METRICS  # noqa: E402

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def assert_alike(found, expected):
    for name, value in vars(expected).items():
        other = getattr(found, name).cpu()
        if value.is_floating_point():
            torch.testing.assert_close(other, value, rtol=1e-6, atol=1e-8, equal_nan=True)
        elif name != "n_iter":  # which may hang on rounding
            assert torch.equal(other, value), name


def test_the_way_of_a_gpu_to_eigenpairs_leads_to_the_same(photographs, monkeypatch):
    expected = select_batch(torch.tensor(photographs))
    monkeypatch.setattr(patchdistill.batched.similarity, "leading_eigenpairs", iterated_eigenpairs)
    assert_alike(select_batch(torch.tensor(photographs)), expected)


@needs_cuda
@pytest.mark.parametrize(
    "parameters",
    [{}, {"normalize": "columns"}, {"rate": "auto"}, {"coverage": None}, *({"metric": m} for m in METRICS[1:])],
    ids=str,
)
def test_both_devices_decide_alike(photographs, parameters):
    E, sizes = torch.tensor(photographs), torch.tensor([60, 30, 60, 12, 50, 60])
    found = select_batch(E.cuda(), sizes.cuda(), **parameters)
    assert all(value.is_cuda for value in vars(found).values())
    expected = select_batch(E, sizes, **parameters)
    if parameters != {"normalize": "columns"}:  # where the way of the solver hangs on rounding
        assert_alike(found, expected)
    assert (found.dual_gap <= 1e-3 * found.objective).all()


@needs_cuda
def test_twice_the_same_bits(photographs):
    E = torch.tensor(photographs).cuda()
    first, second = select_batch(E), select_batch(E)
    for name, value in vars(first).items():
        assert torch.equal(getattr(second, name), value), name


@needs_cuda
@pytest.mark.parametrize("device", [None, "cuda", "cuda:0"])
def test_tensors_on_the_gpu(photographs, device):
    X = torch.tensor(photographs).cuda()
    selector = ResidualPatchSelector(device=device)
    out = selector.fit_transform(X)
    assert out.is_cuda and out.dtype == X.dtype and selector.score_samples(X).is_cuda
    expected = ResidualPatchSelector().fit(photographs)
    for a, b in zip(selector.selected_idx_, expected.selected_idx_, strict=True):
        np.testing.assert_array_equal(a, b)
    selection = select_patches(X[0])
    assert selection.indices.is_cuda and selection.solution.W.is_cuda and selection.problem.E.is_cuda
    assert np.isclose(float(selection.problem.dual_gap(selection.solution.W)), selection.solution.dual_gap)


@needs_cuda
def test_arrays_by_way_of_the_gpu(photographs):
    selector, expected = ResidualPatchSelector(backend="torch", device="cuda"), ResidualPatchSelector()
    np.testing.assert_array_equal(selector.fit_transform(photographs), expected.fit_transform(photographs))
    moved = ResidualPatchSelector(device="cuda").fit_transform(torch.tensor(photographs))
    assert not moved.is_cuda and torch.equal(moved, torch.tensor(expected.transform(photographs)))


@needs_cuda
def test_batches_follow_the_free_memory():
    device = torch.device("cuda")
    small, large = images_per_batch(180, 2048, device), images_per_batch(60, 128, device)
    assert 1 <= small < large
    assert images_per_batch(10**6, 10**4, device) == 1


@needs_cuda
def test_a_gpu_that_is_not_there(photographs):
    with pytest.raises(ValueError, match=f"PyTorch finds {torch.cuda.device_count()} CUDA devices"):
        select_patches(photographs[0], backend="torch", device=f"cuda:{torch.cuda.device_count()}")
