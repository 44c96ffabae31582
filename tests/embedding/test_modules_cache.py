import os
import threading

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

torch = pytest.importorskip("torch")

from patchdistill import PatchBags  # noqa: E402
from patchdistill.embedding import TorchEmbedder  # noqa: E402
from patchdistill.embedding.modules import _RECIPE  # noqa: E402

nn = torch.nn
RNG = np.random.default_rng(0)
POOLS = [RNG.integers(0, 256, (n, 8, 8, 3), dtype=np.uint8) for n in (5, 3, 4, 6, 2)]


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    torch.set_num_threads(1)


def make_network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU())


@pytest.fixture
def network():
    return make_network()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "features"


def n_files(folder):
    assert {file.suffix for file in folder.iterdir()} == {".npy"}
    return len(list(folder.iterdir()))


def run(module, folder, pools=POOLS, **parameters):
    """Features, and on how many patches the module was run, besides the two of the test picture."""
    batches = []
    handle = module.register_forward_pre_hook(lambda m, x: batches.append(len(x[0])))
    bags = TorchEmbedder(module, cache=folder, **parameters).transform(pools)
    handle.remove()
    assert batches[0] == 2
    return bags.values, sum(batches[1:])


# --- hits


def test_what_was_embedded_is_not_run_again(network, folder):
    expected = TorchEmbedder(network).transform(POOLS).values
    first, n_first = run(network, folder)
    second, n_second = run(network, str(folder))
    assert (n_first, n_second) == (20, 0) and n_files(folder) == 5
    assert first.tobytes() == second.tobytes() == expected.tobytes() and second.dtype == expected.dtype


def test_files_hold_the_features_and_nothing_that_runs(network, folder):
    features = TorchEmbedder(network, cache=folder).transform(POOLS)
    kept = [np.load(file, allow_pickle=False) for file in folder.iterdir()]
    assert sorted(part.tobytes() for part in kept) == sorted(part.tobytes() for part in features)


@pytest.mark.parametrize("order", [[4, 3, 2, 1, 0], [2], [1, 1, 3]])
def test_other_company_and_order_are_found(network, folder, order):
    bags = TorchEmbedder(network, cache=folder).transform(POOLS)
    values, n_run = run(network, folder, [POOLS[i] for i in order])
    assert n_run == 0
    assert_array_equal(values, np.concatenate([bags[i] for i in order]))


def test_what_does_not_decide_the_features_does_not_matter(network, folder):
    run(network, folder)
    same = {"batch_size": 2, "device": "cpu", "verbose": 0, "mean": [0, 0, 0], "std": np.ones(3, np.float32)}
    assert run(clone(TorchEmbedder(network)).module.train(), folder, PatchBags.from_list(POOLS), **same)[1] == 0


def test_float64_is_kept_as_it_is(network, folder):
    first, _ = run(network.double(), folder)
    second, n_run = run(network, folder)
    assert first.dtype == second.dtype == np.float64 and first.tobytes() == second.tobytes() and n_run == 0


# --- misses


def is_missed(folder, before, after, pools=POOLS[:1], **parameters):
    """Whether nothing of the first is taken for the second, and the second is right."""
    run(before, folder, POOLS[:1])
    values, n_run = run(after, folder, pools, **parameters)
    assert_array_equal(values, TorchEmbedder(after, **parameters).transform(pools).values)
    return n_run == len(pools[0]) and n_files(folder) == 2


CHANGED = {
    "layer": "0",
    "pooling": "max",
    "size": 6,
    "mean": (0, 0, 1e-6),
    "std": (1, 1, 1 + 1e-6),
    "channels_last": True,
    "autocast": "bfloat16",
}


@pytest.mark.parametrize("name", _RECIPE)
def test_another_parameter_is_another_file(network, folder, name):
    assert is_missed(folder, network, network, **{name: CHANGED[name]})


def test_every_parameter_decides_the_features_or_does_not(network):
    assert {*_RECIPE, "module", "batch_size", "device", "cache", "verbose"} == {*TorchEmbedder(network).get_params()}


def test_means_given_as_tensors_are_told_apart(network, folder):
    means = [torch.tensor([0.5, 0.5, mean]) for mean in (0.5, 0.500001)]
    assert repr(means[0]) == repr(means[1])
    run(network, folder, POOLS[:1], mean=means[0])
    assert run(network, folder, POOLS[:1], mean=means[1])[1] == 5


@pytest.mark.parametrize("name", [name for name in make_network().state_dict() if "num_batches" not in name])
def test_another_weight_is_another_file(network, folder, name):
    other = make_network()
    values = other.state_dict()[name].view(-1)
    values[-1] = torch.nextafter(values[-1], torch.tensor(2.0))
    assert is_missed(folder, network, other)


def test_another_type_of_weights_is_another_file(network, folder):
    assert is_missed(folder, network, make_network().double())


def test_another_pixel_is_another_file(network, folder):
    pool = POOLS[0].copy()
    pool[3, 2, 1, 0] ^= 1
    assert is_missed(folder, network, network, [pool])


@pytest.mark.parametrize("pool", [POOLS[0][::-1], POOLS[0][:4], POOLS[0] / 255, POOLS[0][:, ::-1], POOLS[0][:, :7]])
def test_other_patches_are_another_file(network, folder, pool):
    assert is_missed(folder, network, network, [np.ascontiguousarray(pool)])


class Buffered(nn.Module):
    """Holds numbers that are not in its state_dict."""

    def __init__(self, shift):
        super().__init__()
        self.register_buffer("shift", torch.tensor([1.0, 1.0, shift]), persistent=False)

    def forward(self, x):
        return x.mean(dim=(2, 3)) + self.shift


def test_numbers_that_are_not_in_the_state_are_told_apart(folder):
    assert is_missed(folder, Buffered(1.0), Buffered(1.0 + 1e-6))


class Shaped(nn.Module):
    """The same numbers in another shape."""

    def __init__(self, shape):
        super().__init__()
        self.weight = nn.Parameter(torch.arange(6.0).reshape(shape))

    def forward(self, x):
        return torch.cat([x.mean(dim=(2, 3)), self.weight.reshape(1, 6).expand(len(x), 6)], dim=1)


def test_shapes_of_weights_are_told_apart(folder):
    assert is_missed(folder, Shaped((2, 3)), Shaped((3, 2)))


def with_forward(forward):
    """Modules that nothing but what they compute tells apart."""
    module = type("Network", (nn.Module,), {"forward": lambda self, x: forward(x.flatten(2))})()
    assert str(module) == "Network()"
    return module


def both(x):
    return torch.cat([x.mean(dim=2), x.amax(dim=2)], dim=1)


@pytest.mark.parametrize(
    "forward",
    [
        lambda x: both(x) * 1.01,
        lambda x: both(x) + 0.01,
        lambda x: torch.cat([x.mean(dim=2), -x.amin(dim=2)], dim=1),
        lambda x: torch.cat([x.amax(dim=2), x.mean(dim=2)], dim=1),
        lambda x: both(x).flip(1),
        lambda x: both(x)[:, [1, 0, 2, 3, 4, 5]],
        lambda x: both(x)[:, :5],
    ],
    ids=["scaled", "shifted", "other", "other order", "reversed", "two exchanged", "fewer"],
)
def test_other_code_is_another_file(folder, forward):
    assert is_missed(folder, with_forward(both), with_forward(forward))


def test_a_function_has_no_content(folder):
    with pytest.raises(ValueError, match="cache cannot be used with module=.*, a function, whose content cannot be"):
        TorchEmbedder(both, cache=folder).transform(POOLS)


# --- accidents


def test_a_broken_file_is_named(network, folder):
    TorchEmbedder(network, cache=folder).transform(POOLS)
    file = max(folder.iterdir())
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(ValueError, match=f"{file.name} cannot be read .*. Remove it; it will be made again."):
        TorchEmbedder(network, cache=folder).transform(POOLS)
    file.unlink()
    values, n_run = run(network, folder)
    assert 0 < n_run < 20 and n_files(folder) == 5
    assert_array_equal(values, TorchEmbedder(network).transform(POOLS).values)


def test_a_run_that_was_stopped_goes_on(network, folder):
    batches = []

    def stop(module, x):
        batches.append(len(x[0]))
        if len(batches) == 5:  # the test picture, and images 0 to 2, came before
            raise KeyboardInterrupt

    handle = network.register_forward_pre_hook(stop)
    with pytest.raises(KeyboardInterrupt):
        TorchEmbedder(network, cache=folder).transform(POOLS)
    handle.remove()
    assert batches == [2, 5, 3, 4, 6] and n_files(folder) == 3
    values, n_run = run(network, folder)
    assert n_run == 6 + 2
    assert_array_equal(values, TorchEmbedder(network).transform(POOLS).values)


def test_features_that_are_not_finite_are_not_kept(folder):
    class Broken(nn.Module):
        def forward(self, x):
            return torch.where(x[:, :, 0, 0] == 1, torch.nan, x.mean(dim=(2, 3)))

    pools = [np.minimum(POOLS[0], 200), np.full((3, 8, 8, 3), 255, np.uint8)]
    with pytest.raises(ValueError, match="features of image 1, patch 0 are not finite"):
        TorchEmbedder(Broken(), cache=folder).transform(pools)
    assert n_files(folder) == 1


def test_two_threads_may_share_a_folder(folder):
    expected = TorchEmbedder(make_network()).transform(POOLS).values
    start, found = threading.Barrier(2), []

    def work(embedder):
        start.wait(timeout=20)
        found.append(embedder.transform(POOLS).values)

    threads = [threading.Thread(target=work, args=[TorchEmbedder(make_network(), cache=folder)]) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2 and n_files(folder) == 5
    for values in found:
        assert_allclose(values, expected, atol=1e-6)


def test_a_folder_that_is_a_file_is_refused(network, tmp_path):
    (tmp_path / "features").write_text("")
    with pytest.raises(OSError, match="features"):
        TorchEmbedder(network, cache=os.fspath(tmp_path / "features")).transform(POOLS)
