import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from patchdistill.modules.devices import check_device  # noqa: E402
from patchdistill.modules.running import in_batches, inference, place  # noqa: E402

nn = torch.nn
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
without_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="is about machines without a GPU")
X = torch.rand((6, 3, 8, 8), generator=torch.Generator().manual_seed(0))


def make_network():
    torch.manual_seed(0)
    inner = nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5))
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), inner, nn.Flatten(), nn.Linear(64, 2))
    network(X).sum().backward()  # gradients, and running statistics that are not those at the start
    network[0].requires_grad_(False)
    network.register_buffer("extra", torch.arange(3.0), persistent=False)
    return network


def trace(network):
    """Everything that somebody could find changed."""
    tensors = [*network.named_parameters(), *network.named_buffers()]
    return {
        "training": [(name, part.training) for name, part in network.named_modules()],
        "hooks": [(len(part._forward_hooks), len(part._forward_pre_hooks)) for part in network.modules()],
        "values": [(name, value.dtype, str(value.device), value.tolist()) for name, value in tensors],
        "identity": [id(value) for value in network.parameters()],
        "requires_grad": [value.requires_grad for value in network.parameters()],
        "grad": [None if value.grad is None else value.grad.tolist() for value in network.parameters()],
    }


@settings(max_examples=25)
@given(modes=st.lists(st.booleans(), min_size=10, max_size=10), fails=st.booleans())
def test_a_network_is_afterwards_as_it_was(modes, fails):
    network = make_network()
    assert len(list(network.modules())) == len(modes)
    for part, training in zip(network.modules(), modes, strict=True):
        part.training = training
    before = trace(network)
    try:
        with inference(network):
            assert not any(part.training for part in network.modules())
            network(X)
            if fails:
                raise KeyError("somewhere inside")
    except KeyError:
        assert fails
    assert trace(network) == before
    assert torch.is_grad_enabled()


def test_a_network_that_decides_itself_what_trains_is_not_asked():
    class Willful(nn.Sequential):
        def train(self, mode=True):
            raise AssertionError("would set its layers otherwise than they are")

    network = Willful(nn.BatchNorm2d(3), nn.Dropout(0.5))
    before = trace(network)
    with inference(network):
        assert not network[0].training
    assert trace(network) == before


def test_dropout_and_batch_norm_are_in_evaluation_mode():
    network = make_network().train()
    with inference(network):
        first, alone = network(X), network(X[:1])
        assert torch.equal(network(X), first)
    assert torch.allclose(first[:1], alone, atol=1e-6)
    assert torch.equal(make_network().eval()(X), first)


@pytest.mark.parametrize("enabled", [True, False])
def test_nothing_inside_needs_gradients_and_outside_all_is_as_before(enabled):
    network = make_network()
    with torch.set_grad_enabled(enabled):
        with inference(network):
            assert not network(X).requires_grad
        assert torch.is_grad_enabled() is enabled


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64, torch.bfloat16])
def test_tells_where_inputs_belong(dtype):
    with inference(make_network().to(dtype)) as (where, found):
        assert (where, found) == (torch.device("cpu"), dtype)


def test_what_has_no_numbers_is_on_the_cpu_in_float32():
    counted = nn.Identity()
    counted.register_buffer("count", torch.zeros((), dtype=torch.int64))
    for module in (nn.Identity(), nn.Sequential(), torch.sin, lambda x: x, counted):
        assert place(module) == (torch.device("cpu"), torch.float32)
    counted.register_buffer("scale", torch.zeros((), dtype=torch.float64))
    assert place(counted)[1] == torch.float64


def test_of_a_function_nothing_is_changed():
    with inference(torch.sin, "cpu") as (where, dtype):
        assert torch.sin(X.to(where, dtype)).shape == X.shape


@pytest.mark.parametrize("autocast", ["bfloat16", "float16"])
def test_autocast_computes_in_the_type(autocast):
    network = make_network()
    with inference(network, autocast=autocast) as (_, dtype):
        assert dtype == torch.float32
        assert network(X).dtype == getattr(torch, autocast)
    assert network(X).dtype == torch.float32
    with inference(network):
        assert network(X).dtype == torch.float32


# --- devices


class Recording(nn.Linear):
    """Does not move, but tells what it was told."""

    def __init__(self, fails=False):
        super().__init__(2, 2)
        self.told, self.fails = [], fails

    def to(self, device):
        self.told.append(str(device))
        if self.fails and len(self.told) == 1:
            raise torch.cuda.OutOfMemoryError("half of the layers are there")
        return self


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


def test_a_module_is_moved_and_comes_back(two_gpus):
    module = Recording()
    with inference(module, "cuda:1") as (where, _):
        assert module.told == ["cuda:1"] and where == torch.device("cuda:1")
    assert module.told == ["cuda:1", "cpu"]


def test_a_module_comes_back_after_an_error(two_gpus):
    module = Recording()
    with pytest.raises(KeyError), inference(module, "cuda"):
        raise KeyError("inside")
    assert module.told == ["cuda", "cpu"] and module.training


def test_a_module_that_does_not_fit_comes_back(two_gpus):
    module = Recording(fails=True)
    with pytest.raises(torch.cuda.OutOfMemoryError), inference(module, "cuda"):
        pass
    assert module.told == ["cuda", "cpu"] and module.training


@pytest.mark.parametrize("device", [None, "cpu", torch.device("cpu")])
def test_a_module_that_is_there_is_not_moved(device):
    module = Recording()
    with inference(module, device):
        pass
    assert module.told == []


def test_a_module_on_several_devices_is_left_there():
    module = nn.Sequential(nn.Linear(2, 2, device="meta"), nn.Linear(2, 2))
    with inference(module):
        pass
    with (
        pytest.raises(ValueError, match=r"spread over \['cpu', 'meta'\]; use device=None to leave it there"),
        inference(module, "cpu"),
    ):
        pass
    assert module.training


@without_cuda
@pytest.mark.parametrize("device", ["cuda", "cuda:1", torch.device("cuda", 0)])
def test_a_gpu_that_is_not_there_is_named(device):
    module = make_network()
    before = trace(module)
    with pytest.raises(ValueError, match=r"device='cuda.*' was asked for, but PyTorch finds 0 CUDA devices"):
        inference(module, device).__enter__()
    assert trace(module) == before


def test_a_gpu_too_many_is_named(two_gpus):
    assert check_device("cuda") == torch.device("cuda") and check_device("cuda:1").index == 1
    with pytest.raises(ValueError, match="'cuda:2' was asked for, but PyTorch finds 2 CUDA devices"):
        check_device("cuda:2")


@pytest.mark.parametrize("device", ["gpu", "cuda:-1", 3.5, ["cpu"], ""])
def test_a_device_that_pytorch_does_not_know_is_named(device):
    with pytest.raises(ValueError, match="is unknown; use None"):
        check_device(device)


def test_the_device_where_weights_are_lost_is_refused():
    network = make_network()
    before = trace(network)
    with pytest.raises(ValueError, match="device='meta' cannot be used"), inference(network, "meta"):
        pass
    assert trace(network) == before


@needs_cuda
def test_a_network_comes_back_from_the_gpu():
    network = make_network()
    before = trace(network)
    with inference(network, "cuda") as (where, dtype):
        rows = in_batches(lambda batch: network(batch.to(where, dtype)), X, 4)
        assert place(network)[0].type == "cuda"
    assert trace(network) == before and rows.device.type == "cpu"
    with inference(network):
        assert torch.allclose(rows, network(X), atol=1e-2)


# --- batches


@given(n=st.integers(1, 20), batch_size=st.integers(1, 25), width=st.integers(1, 3))
def test_batches_change_nothing_for_functions_of_single_patches(n, batch_size, width):
    patches = torch.arange(n * width).reshape(n, width) / 7
    seen = []

    def function(batch):
        seen.append(len(batch))
        return torch.sin(batch)

    assert torch.equal(in_batches(function, patches, batch_size), torch.sin(patches))
    assert max(seen) <= batch_size and len(seen) == -(-n // batch_size) and sum(seen) == n


def test_a_batch_size_may_come_from_numpy():
    assert torch.equal(in_batches(torch.neg, X, np.int64(4)), -X)


def test_a_batch_that_does_not_fit_asks_for_a_smaller_one():
    def function(batch):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 80 GiB")

    with pytest.raises(MemoryError, match="^4 patches do not fit the memory of the GPU; lower batch_size.$"):
        in_batches(function, X, 4)


def test_other_errors_pass():
    def function(batch):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        in_batches(function, X, 4)
