"""Train QFMRegressor at the scale of the paper it is after, as a YAML file says, and the plain model beside it.

    python benchmarks/train_qfm.py benchmarks/train_qfm.yaml

Reported, per seed and as medians: SRCC, PLCC and KRCC on scenes that were held out, and how much scores change when
only what is shown changes. With --smoke, a network of two layers sees a few made pictures once, on the CPU.
"""

import json
import numbers
import statistics
import tempfile
import time
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import torch
import transformers
from _common import arguments, write_results
from _config import read_checked, smaller
from _resume import Pieces
from PIL import Image

from patchdistill import ResidualPatchSelector, __version__
from patchdistill._compat import Interval, validate_parameter_constraints
from patchdistill.datasets import make_semantic_confound, write_manifest
from patchdistill.embedding import PatchStatistics, load_weights
from patchdistill.embedding.cache import digest
from patchdistill.evaluation import SceneShuffleSplit, agreement
from patchdistill.images import list_images
from patchdistill.modules.devices import check_device
from patchdistill.qfm import QFMRegressor
from patchdistill.sampling import RandomCropSampler
from patchdistill.studies.config import check_keys, manifest_of

_VIT = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "patch_size")
_PARTS = ("backbone", "crops", "split")
_NEEDED = {
    "The file": ("manifest", "unlabeled", *_PARTS, "selection", "load", "regressor", "plain", "out"),
    "backbone": (*_VIT, "weights", "strict"),
    "crops": ("n_patches", "patch_size"),
    "split": ("seeds", "test_size"),
}
_CONSTRAINTS = {
    "The file": {
        "unlabeled": [str, None],
        "selection": [Interval(numbers.Real, 0, 1, closed="right"), None],
        "load": ["boolean"],
        "plain": ["boolean"],
        "out": [str],
    },
    "backbone": {
        **dict.fromkeys(_VIT, [Interval(numbers.Integral, 1, None, closed="left")]),
        "weights": [str, None],
        "strict": ["boolean"],
    },
    "crops": RandomCropSampler._parameter_constraints,
    "split": SceneShuffleSplit._parameter_constraints,
    "regressor": QFMRegressor._parameter_constraints,
}

# Parameters of QFMRegressor that other parts of the file decide.
_DECIDED = ("encoder", "size", "checkpoint", "random_state")

PLAIN = {"consistency": 0.0, "contrast": 0.0, "sparsity": 0.0, "gate": None}
FIGURES = ("srcc", "plcc", "krcc", "semantic_sensitivity", "seconds")

# What --smoke puts in the place of the file's values; all others are used as they are. Two layers do what twelve do.
SMOKE = {
    "unlabeled": None,
    "backbone": {"num_hidden_layers": 2, "weights": None},
    "crops": {"n_patches": 1},
    "regressor": {"max_epochs": 1, "batch_size": 12, "device": "cpu"},
    "split": {"seeds": [0], "test_size": 0.5},
}
_SMOKE_PICTURES = 24


def read_config(path):
    """Read and check the file; a mapping of names to values."""
    return read_checked(path, _check, "train_qfm")


def _check(config):
    for where, keys in _NEEDED.items():
        check_keys(config if where == "The file" else config[where], where, keys, needed=keys)
    legal = [name for name in QFMRegressor().get_params() if name not in _DECIDED]
    check_keys(config["regressor"], "regressor", legal)
    for where, constraints in _CONSTRAINTS.items():
        values = config if where == "The file" else config[where]
        validate_parameter_constraints(constraints, values, caller_name=where)
    seeds, size, step = config["split"]["seeds"], config["crops"]["patch_size"], config["backbone"]["patch_size"]
    if not isinstance(seeds, list) or not seeds or any(type(seed) is not int or seed < 0 for seed in seeds):
        raise ValueError(f"split: seeds is {seeds!r}; give a list of whole numbers of at least 0, such as [0, 1, 2].")
    if size % step:
        raise ValueError(
            f"crops: patch_size is {size}, but the backbone cuts squares of {step} pixels and would not see the rest; "
            "make it a multiple."
        )


def make_vit(backbone, image_size, folder, seed):
    """Make the transformer, with the weights of a file, or with random ones that depend on the seed alone."""
    config = transformers.ViTConfig(**{name: backbone[name] for name in _VIT}, image_size=image_size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        vit = transformers.ViTModel(config, add_pooling_layer=False)
    if backbone["weights"] is None:
        return vit
    return load_weights(vit, folder / backbone["weights"], strict=backbone["strict"])


def crops_of(paths, config):
    """Place the crops on pictures, and keep those of the selection; no pixels are held."""
    crops = RandomCropSampler(**config["crops"]).transform([str(path) for path in paths])
    if config["selection"] is None:
        return crops
    rate = float(config["selection"])  # the number 1 would be one crop
    selector = ResidualPatchSelector(rate=rate, normalize="columns").fit(PatchStatistics().fit_transform(crops))
    kept = crops.take(selector.selected_idx_)
    return kept.with_values(kept.values, weights=np.concatenate(selector.weights_))


def held(crops, load):
    """Read the crops into memory, where that is wanted."""
    if not load:
        return crops
    print(f"Reading {len(crops.values):,} crops into memory, {np.prod(crops.values.shape) / 1e9:.2f} GB", flush=True)
    return crops.load()


def train_one(config, folder, images, unlabeled, model, seed, checkpoint):
    """Train a model, test it on the scenes that were held out, and give a row of the table."""
    crops, y, scenes = images
    splitter = SceneShuffleSplit(n_splits=1, test_size=config["split"]["test_size"], random_state=seed)
    train, test = next(splitter.split(groups=scenes))
    descriptor = "thumbnail" if config["backbone"]["weights"] is None else "encoder"
    regressor = QFMRegressor(
        make_vit(config["backbone"], config["crops"]["patch_size"], folder, seed),
        size=None,
        checkpoint=checkpoint,
        random_state=seed,
        **{"descriptor": descriptor, **config["regressor"], **(PLAIN if model == "plain" else {})},
    )
    epochs_before = sum(json.loads(path.read_text())["epoch"] for path in checkpoint.glob("*.json"))
    learned = held(crops[train], config["load"])
    extra = {}
    if unlabeled is not None and model != "plain":
        extra = {"X_unlabeled": held(unlabeled, config["load"])}
    start = time.perf_counter()
    regressor.fit(learned, y[train], groups=scenes[train], **extra)
    seconds = time.perf_counter() - start
    figures = agreement(y[test], regressor.predict(crops[test]))
    return {
        "seed": seed,
        "model": model,
        **{name: figures[name] for name in ("srcc", "plcc", "krcc", "mapping")},
        "semantic_sensitivity": regressor.semantic_sensitivity(crops[test], y[test], groups=scenes[test]),
        "seconds": round(seconds, 1),
        "epochs_before": epochs_before,
        "n_train": len(train),
        "n_train_crops": len(learned.values),
        "n_test": len(test),
        "unmatched_rate": regressor.unmatched_rate_,
        "history": regressor.history_,
    }


def train(config, folder):
    """Train and test all models that are not trained yet; paths of the file start from the folder. Gives the table."""
    check_device(config["regressor"].get("device") or "cpu")
    if config["backbone"]["weights"] is None:
        warnings.warn(
            "The backbone has RANDOM WEIGHTS: this shows that it runs, and its figures say nothing about the method. "
            "Give a file, weights: vit_small.pt.",
            stacklevel=2,
        )
    table = manifest_of(config["manifest"], folder)
    images = crops_of(table["image"], config), table["mos"].to_numpy(), table["scene"].to_numpy(str)
    unlabeled = None
    if config["unlabeled"] is not None:
        unlabeled = crops_of(list_images(folder / config["unlabeled"]), config)
    # Where results lie, who else is trained and where pixels are held decides nothing about a model.
    decisive = {name: value for name, value in config.items() if name not in ("out", "plain", "load", "split")}
    decisive |= {"test_size": config["split"]["test_size"], "labels": digest(images[1]), "version": __version__}
    pieces = Pieces("train_qfm", decisive, folder / config["out"])
    work = {
        f"{model}, seed {seed}": partial(
            train_one, config, folder, images, unlabeled, model, seed, pieces.folder / f"{model}-{seed}"
        )
        for seed in config["split"]["seeds"]
        for model in ("full", *(["plain"] if config["plain"] else []))
    }
    return list(pieces.compute(work).values())


def summarize(rows):
    """Median figures of each model, and of the difference that the method makes on the same split."""
    by_model = {}
    for row in rows:
        by_model.setdefault(row["model"], []).append(row)
    medians = {
        model: {name: statistics.median(row[name] for row in of_model) for name in FIGURES}
        for model, of_model in by_model.items()
    }
    if "plain" in by_model:
        pairs = list(zip(by_model["full"], by_model["plain"], strict=True))
        medians["full minus plain"] = {
            name: statistics.median(full[name] - plain[name] for full, plain in pairs) for name in FIGURES
        }
    return medians


def smoke_config(config, folder):
    """Put a few made pictures, and little to do, in the place of what the file says."""
    pictures, _ = make_semantic_confound(_SMOKE_PICTURES, 6, size=config["crops"]["patch_size"], random_state=0)
    names = [f"{number:02}.png" for number in range(_SMOKE_PICTURES)]
    for name, pixels in zip(names, pictures.images, strict=True):
        Image.fromarray(pixels).save(folder / name)
    write_manifest({"image": names, "scene": names, "mos": pictures.y, "mos_kind": "mos"}, folder / "manifest.csv")
    return {**smaller(config, SMOKE), "manifest": "manifest.csv", "out": "out"}


def main():
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("config", type=Path, help="YAML file, see train_qfm.yaml")
    options = parser.parse_args()
    config, folder = read_config(options.config), options.config.parent
    out = options.out or folder / config["out"] / ("smoke.json" if options.smoke else "results.json")
    if options.smoke:
        print(f"{_SMOKE_PICTURES} made pictures, and in the place of what {options.config.name} says: {SMOKE}")
        with tempfile.TemporaryDirectory() as made:
            config = smoke_config(config, Path(made))
            rows = train(config, Path(made))
    else:
        rows = train(config, folder)
    medians = summarize(rows)
    for model, figures in medians.items():
        print(f"{model:16}", *(f"{name} {value:+.3f}" for name, value in figures.items()))
    device = config["regressor"].get("device") or "cpu"
    found = {
        "config": config,
        "device": torch.cuda.get_device_name(device) if str(device).startswith("cuda") else device,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "weights": config["backbone"]["weights"] or "random",
        "medians": medians,
        "per_seed": rows,
    }
    write_results("train_qfm", found, out)


if __name__ == "__main__":
    main()
