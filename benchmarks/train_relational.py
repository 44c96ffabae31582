"""Train RelationalMapNet as a YAML file says, and test it beside the classical map.

    python benchmarks/train_relational.py benchmarks/train_relational.yaml

Reported, per channel: the share of the variance of the true map that is explained (R2), and how often the sign is right
where the true map is beyond 0.05; and how far the network is from the symmetries it should have. With --smoke, 400
steps of 8 pairs of 64 pixels on the CPU.
"""

import json
import numbers
import time
from pathlib import Path

import numpy as np
import torch
from _common import arguments, write_results
from _config import read_checked, smaller
from sklearn.metrics import r2_score

from patchdistill import __version__
from patchdistill._compat import Interval, validate_parameter_constraints
from patchdistill.images import list_images
from patchdistill.modules.devices import check_device
from patchdistill.relational.classical import ClassicalRelationalMap
from patchdistill.relational.engine import DistortionEngine
from patchdistill.relational.map_training import train_map
from patchdistill.relational.network import RelationalMapNet
from patchdistill.relational.pairs import HeldPairs, RelationalPairs
from patchdistill.studies.config import check_keys

_KEYS = ("engine", "network", "pairs", "hold", "training", "test", "classical", "license", "out")
_CONSTRAINTS = {
    "hold": ["boolean"],
    "classical": [Interval(numbers.Integral, 1, None, closed="left")],
    "license": [str],
    "out": [str],
}
_PAIRS = ("pictures", "crop", "n", "random_state")
_NETWORK = ("width", "n_filters", "depth", "head")
_TRAINING = tuple(name for name in train_map.__kwdefaults__ if name != "checkpoint")

SMOKE = {
    "pairs": {"pictures": None, "crop": 64, "n": 800},
    "hold": True,
    "training": {"max_epochs": 4, "batch_size": 8, "lr": 1e-3, "autocast": None, "device": "cpu", "num_workers": 0},
    "test": {"pictures": None, "crop": 64, "n": 100},
    "classical": 100,
    "out": ".cache/train_relational_smoke",
}


def read_config(path):
    """Read and check the file; a mapping of names to values."""
    return read_checked(path, _check, "train_relational")


def _check(config):
    check_keys(config, "The file", _KEYS, needed=_KEYS)
    check_keys(config["engine"], "engine", [name for name in DistortionEngine().get_params() if name != "random_state"])
    check_keys(config["network"], "network", _NETWORK)
    for name in ("pairs", "test"):
        check_keys(config[name], name, _PAIRS, needed=_PAIRS)
    check_keys(config["training"], "training", _TRAINING)
    values = {name: config[name] for name in _CONSTRAINTS}
    validate_parameter_constraints(_CONSTRAINTS, values, caller_name="The file")
    DistortionEngine(**config["engine"]).fit()


def pairs_of(config, name, folder):
    """Pairs to learn from, or to test on."""
    parameters = config[name]
    pictures = None if parameters["pictures"] is None else list_images(folder / parameters["pictures"])
    return RelationalPairs(**{**parameters, "pictures": pictures, "engine": DistortionEngine(**config["engine"])})


def train(config, path):
    """Train the network as the file at `path` says and write its weights; gives it, the history and the time taken."""
    check_device(config["training"].get("device") or "cpu")
    folder = path.parent
    out = folder / config["out"]
    out.mkdir(parents=True, exist_ok=True)
    pairs = pairs_of(config, "pairs", folder)
    start = time.perf_counter()
    data = HeldPairs(pairs) if config["hold"] else pairs
    making = time.perf_counter() - start
    torch.manual_seed(config["training"].get("random_state", 0))
    network = RelationalMapNet(config["engine"].get("channels", "core6"), **config["network"])
    start = time.perf_counter()
    history = train_map(network, data, **config["training"], checkpoint=out / "checkpoint")
    seconds = {"pairs": making, "training": time.perf_counter() - start}
    header = {
        "license": config["license"],
        "command": f"python benchmarks/train_relational.py {path.as_posix()}",
        "config": json.dumps(config),
        "patchdistill": __version__,
        "torch": torch.__version__,
    }
    network.save(out / "map.safetensors", header)
    return RelationalMapNet.load(out / "map.safetensors"), history, seconds


def map_figures(model, pairs):
    """Compare the maps of a model with the true ones, clipped to [-1, 1], in cells that are half valid or more."""
    found, true = [], []
    for pair in pairs:
        a, b = (np.moveaxis(pair[name].numpy(), 0, -1) for name in ("a", "b"))
        valid = pair["valid"].numpy() >= 0.5
        found.append(model.predict_map(a, b)[:, valid])
        true.append(pair["target"].numpy()[:, valid].clip(-1, 1))
    found, true = np.concatenate(found, axis=1), np.concatenate(true, axis=1)
    figures = {}
    for name, x, y in zip(model.channel_names_, found, true, strict=True):
        changed = np.abs(y) > 0.05
        sign = float(np.mean(np.sign(x[changed]) == np.sign(y[changed])))
        figures[name] = {"r2": r2_score(y, x), "sign": sign}
    return figures


def symmetry_errors(model, pairs):
    """Largest D(a, b) + D(b, a), D(a, a), and D(a, b) + D(b, ref) - D(a, ref)."""
    swap, own, cocycle = [], [], []
    for pair in pairs:
        a, b, ref = (np.moveaxis(pair[name].numpy(), 0, -1) for name in ("a", "b", "ref"))
        ab = model.predict_map(a, b)
        swap.append(np.abs(ab + model.predict_map(b, a)).max())
        own.append(np.abs(model.predict_map(a, a)).max())
        cocycle.append(np.abs(ab + model.predict_map(b, ref) - model.predict_map(a, ref)).max())
    return {"swap": float(max(swap)), "self": float(max(own)), "cocycle": float(max(cocycle))}


def main():
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("config", type=Path, help="YAML file, see train_relational.yaml")
    options = parser.parse_args()
    config, folder = read_config(options.config), options.config.parent
    if options.smoke:
        print(f"In the place of what {options.config.name} says: {SMOKE}")
        config = smaller(config, SMOKE)
    test = pairs_of(config, "test", folder)  # now, so that what is wrong with it is told before the training
    network, history, seconds = train(config, options.config)
    test = HeldPairs(test)
    classical = ClassicalRelationalMap(DistortionEngine(**config["engine"]), n_pairs=config["classical"]).fit()
    figures = {"network": map_figures(network, test), "classical": map_figures(classical, test)}
    for name in network.channel_names_:
        told = (f"{model} R2 {of[name]['r2']:+.3f} sign {of[name]['sign']:.3f}" for model, of in figures.items())
        print(f"{name:14}", "   ".join(told))
    n_steps = len(history) * -(-config["pairs"]["n"] // config["training"].get("batch_size", 32))
    found = {
        "config": config,
        "torch": torch.__version__,
        "n_parameters": sum(parameter.numel() for parameter in network.parameters()),
        "seconds": seconds,
        "n_steps": n_steps,
        "figures": figures,
        "symmetry_errors": symmetry_errors(network, [test[i] for i in range(min(20, len(test)))]),
        "history": history,
    }
    write_results("train_relational", found, options.out or folder / config["out"] / "results.json")


if __name__ == "__main__":
    main()
