"""The training of RelationalMapNet from a file: what the file may say, what is trained, and what is measured."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

for package in ("yaml", "torch", "safetensors"):
    pytest.importorskip(package)

import torch  # noqa: E402
import train_relational  # noqa: E402
import yaml  # noqa: E402
from train_relational import SMOKE, map_figures, pairs_of, read_config, symmetry_errors, train  # noqa: E402

from patchdistill.datasets import dead_leaves  # noqa: E402
from patchdistill.relational.network import RelationalMapNet  # noqa: E402
from patchdistill.relational.pairs import RelationalPairs  # noqa: E402

FILE = Path(train_relational.__file__).with_suffix(".yaml")
COMMITTED = read_config(FILE)


def changed(config, changes):
    """A copy with other values, by their names such as "training: lr"; ... takes the name out."""
    config = copy.deepcopy(config)
    for where, value in changes.items():
        *parts, name = where.split(": ")
        section = config[parts[0]] if parts else config
        if value is ...:
            del section[name]
        else:
            section[name] = value
    return config


@pytest.fixture
def config(tmp_path):
    """The committed file in small."""
    changes = {
        "network": {"width": 8, "n_filters": 3, "depth": 1},
        "pairs: crop": 32,
        "pairs: n": 6,
        "training": {"max_epochs": 2, "batch_size": 4},
        "test": {"pictures": None, "crop": 32, "n": 3, "random_state": 2},
        "classical": 8,
        "out": str(tmp_path / "out"),
    }
    return changed(COMMITTED, changes)


def test_the_committed_file_is_the_real_size():
    training, pairs = COMMITTED["training"], COMMITTED["pairs"]
    assert training["max_epochs"] * pairs["n"] / training["batch_size"] == 100_000
    expected = {"batch_size": 32, "lr": 3e-4, "ema": 0.999, "device": "cuda"}
    assert {name: training[name] for name in expected} == expected
    assert pairs["crop"] == 224 and not COMMITTED["hold"]
    assert pairs["random_state"] != COMMITTED["test"]["random_state"]
    network = RelationalMapNet(**COMMITTED["network"])
    assert 4 * sum(parameter.numel() for parameter in network.parameters()) < 5e6


def test_the_smoke_run_has_400_steps_of_64_pixels():
    steps = SMOKE["training"]["max_epochs"] * SMOKE["pairs"]["n"] / SMOKE["training"]["batch_size"]
    assert steps == 400 and SMOKE["pairs"]["crop"] == 64 and SMOKE["training"]["device"] == "cpu"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"engines": {}}, "The file has the unknown key 'engines'"),
        ({"hold": ...}, "The file lacks the key 'hold'"),
        ({"engine: random_state": 1}, "engine has the unknown key 'random_state'"),
        ({"engine: channels": "core7"}, "channels must be 'core6'"),
        ({"engine: max_ops": 0}, "'max_ops' parameter"),
        ({"network: channels": "core6"}, "network has the unknown key 'channels'"),
        ({"pairs: n": ...}, "pairs lacks the key 'n'"),
        ({"test: seed": 1}, "test has the unknown key 'seed'"),
        ({"training: checkpoint": "x"}, "training has the unknown key 'checkpoint'"),
        ({"training: epochs": 1}, "training has the unknown key 'epochs'"),
        ({"hold": "yes please"}, "'hold' parameter"),
        ({"classical": 0}, "'classical' parameter"),
        ({"license": None}, "'license' parameter"),
        ({"out": 1}, "'out' parameter"),
    ],
)
def test_a_wrong_file_is_refused_by_name(changes, message, tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_text(yaml.safe_dump(changed(COMMITTED, changes)))
    with pytest.raises(ValueError, match=f"wrong.yaml: .*{message}"):
        read_config(path)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_told_before_any_work(config):
    with pytest.raises(ValueError, match="PyTorch finds 0 CUDA devices"):
        train(changed(config, {"training: device": "cuda"}), Path("small.yaml"))
    assert not Path(config["out"]).exists()


@pytest.mark.parametrize("hold", [False, True])
def test_the_weights_say_where_they_come_from_and_a_run_goes_on(config, hold, tmp_path, monkeypatch):
    from safetensors import safe_open

    config["hold"] = hold
    network, history, seconds = train(config, Path("small.yaml"))
    assert len(history) == 2 and set(seconds) == {"pairs", "training"}
    path = tmp_path / "out" / "map.safetensors"
    with safe_open(path, "pt") as file:
        header = file.metadata()
    assert header["license"] == "BSD-3-Clause" and json.loads(header["config"]) == config
    assert header["command"] == "python benchmarks/train_relational.py small.yaml"
    (tmp_path / "out" / "checkpoint" / "map.json").stat()
    path.unlink()
    monkeypatch.setattr("patchdistill.relational.map_training.MapTraining._run_epoch", None)  # nothing is left to do
    again, same_history, _ = train(config, Path("small.yaml"))
    assert same_history == history
    for name, tensor in network.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor)


def test_pictures_come_from_a_folder(config, tmp_path):
    image = pytest.importorskip("PIL.Image")
    (tmp_path / "clean").mkdir()
    picture = dead_leaves(40, random_state=3)
    image.fromarray(picture).save(tmp_path / "clean" / "leaves.png")
    config["pairs"]["pictures"] = "clean"
    found = pairs_of(config, "pairs", tmp_path)[0]
    expected = RelationalPairs([picture], crop=32, n=6, random_state=1)[0]
    assert torch.equal(found["a"], expected["a"]) and torch.equal(found["ref"], expected["ref"])


class Known:
    """A map that knows the true one, and makes of it what it is told to."""

    channel_names_ = ("exposure", "noise")

    def __init__(self, pairs, change):
        self.maps, self.change = {}, change
        for pair in pairs:
            a, b, ref = (np.moveaxis(pair[name].numpy(), 0, -1).tobytes() for name in ("a", "b", "ref"))
            self.maps |= {
                (a, b): pair["target"],
                (b, a): -pair["target"],
                (b, ref): pair["target_ref"],
                (a, ref): pair["target"] + pair["target_ref"],
            }

    def predict_map(self, a, ref):
        if np.array_equal(a, ref):
            return np.zeros((2, 4, 4), np.float32)
        return self.change(self.maps[a.tobytes(), ref.tobytes()].numpy())


def items():
    """Pairs with made maps, of which some cells do not count, and some values lie beyond 1."""
    generator = np.random.default_rng(0)
    return [
        {
            **{name: torch.tensor(generator.random((3, 32, 32), np.float32)) for name in ("a", "b", "ref")},
            **{name: torch.tensor(generator.normal(size=(2, 4, 4))) for name in ("target", "target_ref")},
            "valid": torch.tensor(generator.random((4, 4))),
        }
        for _ in range(5)
    ]


def test_figures_are_those_of_the_definition():
    pairs = items()
    for change in (lambda x: x.clip(-1, 1), lambda x: 0.5 * x.clip(-1, 1) + 0.2):
        figures = map_figures(Known(pairs, change), pairs)
        for k, name in enumerate(Known.channel_names_):
            cells = [
                (min(max(pair["target"][k, i, j].item(), -1), 1), pair["valid"][i, j].item())
                for pair in pairs
                for i, j in np.ndindex(4, 4)
            ]
            true = np.array([value for value, valid in cells if valid >= 0.5])
            found = change(true)
            r2 = 1 - np.sum((true - found) ** 2) / np.sum((true - true.mean()) ** 2)
            right = [np.sign(x) == np.sign(y) for x, y in zip(found, true, strict=True) if abs(y) > 0.05]
            assert figures[name]["r2"] == pytest.approx(r2) and figures[name]["sign"] == pytest.approx(np.mean(right))
    assert map_figures(Known(pairs, lambda x: x), pairs)["noise"]["sign"] == 1


def test_symmetry_errors_are_the_largest():
    pairs = items()
    errors = symmetry_errors(Known(pairs, lambda x: x), pairs)
    assert errors == pytest.approx({"swap": 0, "self": 0, "cocycle": 0}, abs=1e-12)
    errors = symmetry_errors(Known(pairs, lambda x: x + 0.1), pairs)
    assert errors == pytest.approx({"swap": 0.2, "self": 0, "cocycle": 0.1})


def test_a_run_prints_and_writes_its_figures(config, tmp_path):
    path, out = tmp_path / "small.yaml", tmp_path / "results.json"
    path.write_text(yaml.safe_dump(config))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, train_relational.__file__, path, "--out", out]
    told = subprocess.run(command, check=True, env=environment, capture_output=True, text=True).stdout
    assert all(name in told for name in ("exposure", "blockiness", "network R2", "classical R2"))
    results = json.loads(out.read_text())
    assert results["benchmark"] == "train_relational" and results["n_steps"] == 4 and results["config"] == config
    assert set(results["figures"]) == {"network", "classical"} and len(results["figures"]["network"]) == 6
    assert results["symmetry_errors"]["swap"] < 1e-6 and results["symmetry_errors"]["self"] == 0
    assert {"date", "processor"} <= set(results["setup"])
