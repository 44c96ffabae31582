"""What does a selection in front of a network cost and save, end to end, and what does the network make of it?

Panoramas on disk, distorted in three ways, are read; 180 patches each, evenly on the sphere, are cut out of them,
embedded and selected from; a small convolutional network is trained on what is kept, and scores scenes it has not seen.
Every stage counts, for training and for inference, on one thread. The label is structural similarity, weighted by the
area on the sphere. Random selection needs no embedding; it stands beside everything.

The SRCC is over all images, each scored once, by networks trained on the other folds of scenes. Its folds can be shared
among processes: ``--fold 0``, ``--fold 1`` ... each compute one and stop.
"""

import os
import shutil
from functools import partial

import numpy as np
import torch
from _common import arguments, write_results
from _panorama_files import KINDS, LEVELS, write_panoramas
from _resume import CACHE, Pieces
from scipy.stats import spearmanr
from sklearn.compose import TransformedTargetRegressor
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from skorch.callbacks import LRScheduler
from threadpoolctl import threadpool_limits
from torch import nn

from patchdistill import PatchBags, ResidualPatchSelector
from patchdistill.baselines import RandomPatchSelector
from patchdistill.embedding import PatchStatistics, TorchEmbedder
from patchdistill.models import BagNetRegressor, PatchCNN, compute_report
from patchdistill.panorama import LatitudeSampler

N_PATCHES, PATCH_SIZE, N_FOLDS, N_EPOCHS = 180, 64, 4, 20
# Of random selection, more where the network is trained faster.
N_SEEDS = {0.45: 2, 0.10: 5}
ALL, STATISTICS, CHEAP, RANDOM = "all patches", "statistics", "cheap network", "random"


def model(n_epochs):
    """The network, and how it is trained; the same for all patches and for kept ones."""
    schedule = LRScheduler(torch.optim.lr_scheduler.CosineAnnealingLR, T_max=n_epochs)
    net = BagNetRegressor(
        PatchCNN,
        dataset__field="pixels",
        optimizer=torch.optim.Adam,
        lr=3e-3,
        max_epochs=n_epochs,
        batch_size=4,
        callbacks=[schedule],
        verbose=0,
    )
    return TransformedTargetRegressor(net, transformer=StandardScaler())


def statistics_selector(rate):
    """Selection on natural-scene statistics."""
    return [("embedding", PatchStatistics()), ("selection", ResidualPatchSelector(rate=rate, normalize="columns"))]


def cheap_selector(rate, cache=None):
    """Selection on what a small network with random weights sees at every fourth pixel."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(3, 32, 5, stride=4), nn.ReLU(), nn.Conv2d(32, 64, 3, stride=2), nn.ReLU())
    embedder = TorchEmbedder(network, mean=(0.45,) * 3, std=(0.25,) * 3, cache=cache)
    return [("embedding", embedder), ("selection", ResidualPatchSelector(rate=rate))]


def random_selector(rate, seed=0):
    """Random patches; nothing is embedded."""
    return [("selection", RandomPatchSelector(rate=rate, random_state=seed))]


def pipelines(sampler, n_epochs, cache):
    """Pipelines whose cost is compared."""
    selections = {ALL: []}
    for rate in N_SEEDS:
        selections[f"{rate:.0%}, {STATISTICS}"] = statistics_selector(rate)
        selections[f"{rate:.0%}, {RANDOM}"] = random_selector(rate)
    selections[f"10%, {CHEAP}"] = cheap_selector(0.10)
    selections[f"10%, {CHEAP}, cached"] = cheap_selector(0.10, cache)
    return {
        name: Pipeline([("sampling", sampler), *selection, ("model", model(n_epochs))])
        for name, selection in selections.items()
    }


def agreement(sampler, files, options, folder):
    """SRCC of predictions for scenes apart, of every selection; None if one fold alone was asked for."""
    folds = list(GroupKFold(N_FOLDS if not options.smoke else 2).split(files.paths, groups=files.scenes))
    bags = pixels_on_disk(sampler, files, folder)
    n_epochs = 1 if options.smoke else N_EPOCHS
    seeds = {rate: 1 if options.smoke else n for rate, n in N_SEEDS.items()}
    selectors = {ALL: []}
    for rate in N_SEEDS:
        selectors[f"{rate:.0%}, {STATISTICS}"] = statistics_selector(rate)
        selectors |= {f"{rate:.0%}, {RANDOM} {seed}": random_selector(rate, seed) for seed in range(seeds[rate])}
    selectors[f"10%, {CHEAP}"] = cheap_selector(0.10)
    settings = [n_epochs, len(folds), str(PatchCNN()), bags.values.shape, files.labels.round(6).tolist()]
    pieces = Pieces("end to end", settings, folder)
    chosen = range(len(folds)) if options.fold is None else [options.fold]
    predicted = pieces.compute(
        {
            f"{k} {name}": partial(predict, steps, bags, files.labels, folds[k], n_epochs)
            for k in chosen
            for name, steps in selectors.items()
        }
    )
    if options.fold is not None:
        return None
    order = np.concatenate([test for _, test in folds])
    scores = {
        name: spearmanr(np.concatenate([predicted[f"{k} {name}"] for k in chosen]), files.labels[order]).statistic
        for name in selectors
    }
    rows = {name: {"srcc": round(float(value), 4)} for name, value in scores.items() if RANDOM not in name}
    for rate in N_SEEDS:
        of_seeds = [value for name, value in scores.items() if name.startswith(f"{rate:.0%}, {RANDOM}")]
        sd = float(np.std(of_seeds, ddof=1)) if len(of_seeds) > 1 else None
        rows[f"{rate:.0%}, {RANDOM}"] = {
            "srcc": round(float(np.mean(of_seeds)), 4),
            "srcc_sd": None if sd is None else round(sd, 4),
            "srcc_of_seeds": [round(float(value), 4) for value in of_seeds],
        }
    return rows


def pixels_on_disk(sampler, files, folder):
    """All patches, cut once, read from disk image by image: the agreement does not ask what sampling costs."""
    path = folder / "pixels.npy"
    if not path.exists():
        part = path.with_suffix(f".{os.getpid()}.npy")
        np.save(part, sampler.transform(files.paths).values)
        os.replace(part, path)
    values = np.load(path, mmap_mode="r")
    return PatchBags(values, np.arange(len(files.paths) + 1) * (len(values) // len(files.paths)))


def predict(steps, bags, labels, fold, n_epochs):
    """Predictions for the test images of one fold, by a network trained on the others."""
    train, test = fold
    pipeline = Pipeline([*steps, ("model", model(n_epochs))])
    return pipeline.fit(bags[train], labels[train]).predict(bags[test]).round(6).tolist()


def costs(sampler, files, options, folder):
    """Seconds of every stage of every pipeline, on the first fold; and operations, from one epoch on few images."""
    train, test = next(GroupKFold(N_FOLDS if not options.smoke else 2).split(files.paths, groups=files.scenes))
    paths = np.array(files.paths)
    cache = folder / "embeddings"
    shutil.rmtree(cache, ignore_errors=True)
    compared = pipelines(sampler, 1 if options.smoke else N_EPOCHS, cache)
    compared[f"10%, {CHEAP}, cached"][:2].fit_transform(paths)
    report = compute_report(compared, paths[train], files.labels[train], X_test=paths[test], count_flops=False)
    few = train[:8]
    counted = compute_report(pipelines(sampler, 1, cache), paths[few], files.labels[few])
    operations = {
        variant: {
            f"{phase} of {stage}": round(counted.flops(variant, phase, stage) / len(few) / 1e9, 3)
            for phase, stage in (("training", "model"), ("inference", "model"), ("inference", "embedding"))
        }
        for variant in counted.variants
    }
    print(report)
    return {
        "n_training_images": len(train),
        "n_test_images": len(test),
        "stages": [{**stage, "seconds": round(stage["seconds"], 3)} for stage in report.to_dict()["stages"]],
        "share_of_all_patches": {
            variant: {
                "training and inference": round(report.ratio(variant), 4),
                "training": round(report.ratio(variant, phase="training"), 4),
                "inference": round(report.ratio(variant, phase="inference"), 4),
            }
            for variant in report.variants
        },
        "gflop_per_image": operations,
    }


def main():
    parser = arguments(__doc__)
    parser.add_argument("--fold", type=int, help="compute the predictions of one fold alone")
    options = parser.parse_args()
    folder = (options.out.parent if options.smoke and options.out else CACHE) / "end_to_end"
    torch.set_num_threads(1)
    with threadpool_limits(1):
        files = write_panoramas(folder / "panoramas", smoke=options.smoke)
        n_patches, patch_size = (12, 32) if options.smoke else (N_PATCHES, PATCH_SIZE)
        # What is cut is kept in memory: decoding the pictures anew in every epoch would cost more than training.
        sampler = make_pipeline(LatitudeSampler(n_patches, patch_size), FunctionTransformer(PatchBags.load))
        srcc = agreement(sampler, files, options, folder)
        if srcc is None:
            return
        results = {
            "n_images": len(files.paths),
            "n_scenes": len(np.unique(files.scenes)),
            "kinds": KINDS,
            "levels": LEVELS,
            "n_patches": n_patches,
            "patch_size": patch_size,
            "n_epochs": 1 if options.smoke else N_EPOCHS,
            "torch": torch.__version__,
            "srcc": srcc,
            **costs(sampler, files, options, folder),
        }
    for name, row in srcc.items():
        share = results["share_of_all_patches"][name]["training and inference"]
        print(f"{name}: SRCC {row['srcc']}, cost {share:.1%} of all patches")
    write_results("study_end_to_end", results, options.out)


if __name__ == "__main__":
    main()
