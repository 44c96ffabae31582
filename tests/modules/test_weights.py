import os
import pickle

import pytest

torch = pytest.importorskip("torch")

from patchdistill.embedding import load_weights  # noqa: E402

nn = torch.nn


def make_network(seed, width=4):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.Flatten(), nn.Linear(width, 2))


TRAINED = make_network(1)
TRAINED(torch.rand(3, 3, 3, 3))  # running statistics that are not those at the start


def same(network, other=TRAINED):
    weights, others = network.state_dict(), other.state_dict()
    return list(weights) == list(others) and all(torch.equal(weights[name], others[name]) for name in weights)


def prefixed(prefix):
    return {prefix + name: value for name, value in TRAINED.state_dict().items()}


CONTENTS = {
    "bare": TRAINED.state_dict(),
    "state_dict": {"state_dict": TRAINED.state_dict(), "epoch": 3, "optimizer": {"lr": 0.1}},
    "model_state_dict": {"model_state_dict": TRAINED.state_dict()},
    "model": {"model": TRAINED.state_dict()},
    "params": {"params": TRAINED.state_dict()},
    "net": {"net": TRAINED.state_dict()},
    "nested": {"model": {"state_dict": TRAINED.state_dict()}},
    "parameters": dict(TRAINED.named_parameters()) | dict(TRAINED.named_buffers()),
    "parallel": prefixed("module."),
    "compiled": prefixed("_orig_mod."),
    "compiled, then parallel": {"state_dict": prefixed("module._orig_mod.")},
    "parallel, then compiled": {"state_dict": prefixed("_orig_mod.module.")},
    "with other values": {**TRAINED.state_dict(), "step": 7, "name": "best", 3: torch.ones(1)},
}


@pytest.mark.parametrize("form", CONTENTS)
def test_weights_come_back_from_every_form(tmp_path, form):
    torch.save(CONTENTS[form], tmp_path / "weights.pt")
    fresh = make_network(2)
    assert not same(fresh)
    assert load_weights(fresh, tmp_path / "weights.pt") is fresh
    assert same(fresh)
    assert same(load_weights(make_network(2), str(tmp_path / "weights.pt")))


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod."])
def test_weights_come_back_from_safetensors(tmp_path, prefix):
    torch_files = pytest.importorskip("safetensors.torch")
    torch_files.save_file(prefixed(prefix), tmp_path / "weights.safetensors")
    assert same(load_weights(make_network(2), tmp_path / "weights.safetensors"))


def test_weights_come_back_from_the_old_format(tmp_path):
    torch.save(TRAINED.state_dict(), tmp_path / "weights.pth", _use_new_zipfile_serialization=False)
    assert same(load_weights(make_network(2), tmp_path / "weights.pth"))


@pytest.mark.parametrize("name", ["module", "_orig_mod"])
def test_a_network_whose_own_names_begin_like_that_keeps_them(tmp_path, name):
    wrapped, fresh = (nn.ModuleDict({name: make_network(seed)}) for seed in (1, 2))
    torch.save(wrapped.state_dict(), tmp_path / "weights.pt")
    assert same(load_weights(fresh, tmp_path / "weights.pt"), wrapped)


def test_types_and_modes_of_the_network_stay(tmp_path):
    torch.save(TRAINED.double().state_dict(), tmp_path / "weights.pt")
    TRAINED.float()
    fresh = make_network(2).eval()
    fresh[0].requires_grad_(False)
    load_weights(fresh, tmp_path / "weights.pt")
    assert same(fresh) and fresh[0].weight.dtype == torch.float32
    assert not fresh.training and not fresh[0].weight.requires_grad and fresh[3].weight.requires_grad


# --- files that would do something


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("name", ["weights.pt", "weights.pth", "weights.safetensors"])
@pytest.mark.parametrize("save", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))])
def test_a_file_that_would_run_code_is_refused_and_does_not_run_it(tmp_path, name, save):
    content = {"state_dict": TRAINED.state_dict(), "extra": Evil(tmp_path / "was here")}
    save(content, tmp_path / name)
    fresh = make_network(2)
    with pytest.raises(ValueError, match="cannot be read as"):
        load_weights(fresh, tmp_path / name)
    assert not (tmp_path / "was here").exists()
    assert same(fresh, make_network(2))
    pickle.loads(pickle.dumps(content))
    assert (tmp_path / "was here").is_dir()  # it would have


def test_a_whole_network_is_refused(tmp_path):
    torch.save(TRAINED, tmp_path / "weights.pt")
    with pytest.raises(ValueError, match=r"would run code .* are refused: save module.state_dict\(\), or safetensors"):
        load_weights(make_network(2), tmp_path / "weights.pt")


# --- files that do not fit


@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors"])
@pytest.mark.parametrize("content", [b"", b"garbage" * 100, b"PK\x03\x04 not really"])
def test_a_file_that_holds_something_else_is_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name} cannot be read as"):
        load_weights(make_network(2), tmp_path / name)


def test_a_file_that_was_cut_off_is_named(tmp_path):
    torch.save(TRAINED.state_dict(), tmp_path / "weights.pt")
    (tmp_path / "weights.pt").write_bytes((tmp_path / "weights.pt").read_bytes()[:-200])
    with pytest.raises(ValueError, match="weights.pt cannot be read as weights"):
        load_weights(make_network(2), tmp_path / "weights.pt")


@pytest.mark.parametrize("name", ["absent.pt", "absent.safetensors", ".", "https://example.org/weights.pt"])
def test_a_file_that_is_not_there_is_named(tmp_path, name):
    with pytest.raises(FileNotFoundError, match="There is no file .*; weights are loaded from local files alone"):
        load_weights(make_network(2), tmp_path / name)


@pytest.mark.parametrize(
    ("content", "kind"), [({}, "dict"), ({"epoch": 3}, "dict"), ([1, 2], "list"), ({"model": {}}, "dict"), (3, "int")]
)
def test_a_file_without_weights_is_refused(tmp_path, content, kind):
    torch.save(content, tmp_path / "weights.pt")
    with pytest.raises(ValueError, match=f"weights.pt holds a {kind} without"):
        load_weights(make_network(2), tmp_path / "weights.pt")


def test_weights_that_are_missing_or_unknown_are_counted_and_named(tmp_path):
    weights = TRAINED.state_dict()
    weights["head.weight"] = weights.pop("3.weight")
    torch.save(weights, tmp_path / "weights.pt")
    message = r"do not fit Sequential: 1 are missing \(3.weight\), 1 are unknown \(head.weight\)"
    with pytest.raises(ValueError, match=message):
        load_weights(make_network(2), tmp_path / "weights.pt")
    torch.save({**TRAINED.state_dict(), "more": torch.ones(1)}, tmp_path / "weights.pt")
    with pytest.raises(ValueError, match=r"0 are missing \(none\), 1 are unknown \(more\)"):
        load_weights(make_network(2), tmp_path / "weights.pt")
    torch.save({"0.bias": weights["0.bias"]}, tmp_path / "weights.pt")
    with pytest.raises(ValueError, match=r"are missing \(0.weight, 1.weight, 1.bias \.\.\.\), 0 are unknown \(none\)"):
        load_weights(make_network(2), tmp_path / "weights.pt")


def test_not_strict_takes_what_there_is(tmp_path):
    weights = TRAINED.state_dict()
    weights["head.weight"] = weights.pop("3.weight")
    torch.save(weights, tmp_path / "weights.pt")
    fresh = load_weights(make_network(2), tmp_path / "weights.pt", strict=False)
    assert same(fresh[0], TRAINED[0]) and same(fresh[1], TRAINED[1])
    assert torch.equal(fresh[3].bias, TRAINED[3].bias)
    assert torch.equal(fresh[3].weight, make_network(2)[3].weight)


@pytest.mark.parametrize("strict", [True, False])
def test_weights_of_another_shape_are_named(tmp_path, strict):
    torch.save(TRAINED.state_dict(), tmp_path / "weights.pt")
    with pytest.raises(ValueError, match=r"do not fit Sequential: (.|\n)*size mismatch for 0.weight"):
        load_weights(make_network(2, width=5), tmp_path / "weights.pt", strict=strict)


@pytest.mark.parametrize("network", [make_network(2), nn.Linear(4, 2), nn.BatchNorm2d(4)])
def test_not_strict_is_no_leave_to_load_nothing(tmp_path, network):
    torch.save({"backbone.w": torch.ones(2), "backbone.b": torch.ones(2)}, tmp_path / "weights.pt")
    with pytest.raises(ValueError, match="None of the weights in .* has the name of one of .*: backbone.w, backbone.b"):
        load_weights(network, tmp_path / "weights.pt", strict=False)
