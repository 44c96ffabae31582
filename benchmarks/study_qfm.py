"""Do models that are trained not to mind what images show judge quality better?

Two data sets. (a) Dead leaves whose palette tells the quality of the training images, and misleads in the test: every
seed is another pair of sets. (b) 170 photographs of LIVE In the Wild, with few labels: every seed is another split by
scene, and another choice of labelled images; the others of the training side are there without labels.

Linear models of features (PatchStatistics, a transformer with random weights, and in (a) statistics beside what the
descriptor sees), and networks that learn from pixels. On (a), every model is tuned on palettes that are held out; so is
the plain one. On (b) the linear models are tuned on scenes that are held out, and networks are taken as they are.

Reported: SRCC and PLCC (linear) on the test, and the sensitivity to what is shown, which is the mean difference of the
scores of test images of similar quality that show different things; means over seeds, and the paired difference to the
plain model with its 95 % interval. On (b), splits share images: intervals are of the corrected resampled t-test.

Takes about an hour with two jobs. What was computed is kept in ``benchmarks/.cache``.
"""

import warnings
from functools import partial

import numpy as np
import torch
from _common import arguments, write_results
from _qfm_data import TEST_SHARE, confound_sides, photograph_sides
from _qfm_models import DISTILLED, LINEAR, NETWORKS, PLAIN, fit_linear, judge, network, tuned
from _resume import Pieces
from joblib import Parallel, delayed

from patchdistill import __version__
from patchdistill.evaluation.significance import resampled_half_width

FULL = {"n_seeds": 20, "n_train": 200, "n_test": 200, "max_epochs": 12, "n_labels": (25, 50, 100), "folds": 5}
SMOKE = {"n_seeds": 2, "n_train": 30, "n_test": 24, "max_epochs": 1, "n_labels": (20,), "folds": 3}

# Networks on the photographs, as they are: with so few labels nothing is left to tune on.
UNTUNED = {name: NETWORKS[name][0] for name in (PLAIN, "quality", "both", "both, gate")}


def linear(sides, arm, feature, folds):
    """Results of a linear model."""
    labelled, _, test = sides()
    model, chosen = fit_linear(arm, feature, labelled, folds)
    return {**judge(model.predict(test.features[feature]), test), "chosen": chosen}


def tuned_network(sides, arm, seed, max_epochs):
    """Results of a network that is tuned on held-out scenes."""
    labelled, unlabelled, test = sides()
    chosen = tuned(DISTILLED.get(arm, arm), sides, seed, max_epochs)
    extra = {"X_unlabeled": unlabelled.patches} if arm in DISTILLED else {}
    model = network(seed, max_epochs, **chosen)
    model.fit(labelled.patches, labelled.y, semantics=labelled.semantics, **extra)
    return {**judge(model.predict(test.patches), test), "chosen": chosen}


def untuned_network(sides, arm, seed, max_epochs):
    """Results of a network as it is."""
    labelled, unlabelled, test = sides()
    extra = {"X_unlabeled": unlabelled.patches} if arm in DISTILLED else {}
    model = network(seed, max_epochs, **UNTUNED[DISTILLED.get(arm, arm)])
    model.fit(labelled.patches, labelled.y, semantics=labelled.semantics, **extra)
    return judge(model.predict(test.patches), test)


def pieces_of(settings, smoke):
    """All work, by (data, model, feature, labels, arm, seed)."""
    work, folds, epochs = {}, settings["folds"], settings["max_epochs"]
    for seed in range(settings["n_seeds"]):
        sides = partial(confound_sides, seed, settings["n_train"], settings["n_test"])
        n_labels = settings["n_train"]
        for feature in ("statistics", "statistics and colors", "network"):
            for arm in LINEAR:
                work["confound", "linear", feature, n_labels, arm, seed] = partial(linear, sides, arm, feature, folds)
        for arm in (*NETWORKS, *DISTILLED):
            work["confound", "network", "pixels", n_labels, arm, seed] = partial(
                tuned_network, sides, arm, seed, epochs
            )
        for n_labels in settings["n_labels"]:
            sides = partial(photograph_sides, seed, n_labels, smoke)
            for feature in ("statistics", "network"):
                for arm in LINEAR:
                    work["photographs", "linear", feature, n_labels, arm, seed] = partial(
                        linear, sides, arm, feature, folds
                    )
            for arm in (*UNTUNED, *DISTILLED):
                work["photographs", "network", "pixels", n_labels, arm, seed] = partial(
                    untuned_network, sides, arm, seed, epochs
                )
    return {key: piece for key, piece in work.items() if not smoke or in_smoke(*key)}


def in_smoke(data, model, feature, n_labels, arm, seed):
    """Tell whether a piece is tried in the smoke run: one of each kind is enough."""
    return arm in (PLAIN, "both, gate", *DISTILLED) or (feature, arm) == ("statistics", "gated features")


def compute(settings, smoke, jobs, folder=None):
    """Results of all pieces, computed by so many processes and kept in a folder, as by `Pieces`."""
    work = pieces_of(settings, smoke)
    names = {"/".join(map(str, (*key, TEST_SHARE) if key[0] == "photographs" else key)): key for key in work}
    decisive = {**settings, "version": __version__, "networks": repr(NETWORKS), "linear": repr(LINEAR)}
    pieces = Pieces("qfm", decisive, folder)
    by_seed = [[name for name, key in names.items() if key[-1] % jobs == job] for job in range(jobs)]
    results = Parallel(n_jobs=jobs)(
        delayed(in_one_thread)(pieces, {name: work[names[name]] for name in of_job}) for of_job in by_seed
    )
    return {names[name]: result for of_job in results for name, result in of_job.items()}


def in_one_thread(pieces, work):
    """Compute pieces; two threads are slower than one here, and two processes twice as fast."""
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # few labels: an image or two without partners
        return pieces.compute(work)


def summarize(results):
    """Mean figures of every model, and their paired differences to the plain one."""
    table = []
    conditions = list(dict.fromkeys(key[:-1] for key in results))
    for data, model, feature, n_labels, arm in conditions:
        seeds = sorted(key[-1] for key in results if key[:-1] == (data, model, feature, n_labels, arm))
        row = {"data": data, "model": model, "feature": feature, "n_labels": n_labels, "arm": arm}
        for figure in ("srcc", "plcc", "sensitivity"):
            own, plain = (
                np.array([results[data, model, feature, n_labels, name, seed][figure] for seed in seeds])
                for name in (arm, PLAIN)
            )
            row[figure] = round(own.mean(), 4)
            if arm != PLAIN:
                # Sets drawn anew share no images; test and training of resampled splits do.
                overlap = 0.0 if data == "confound" else TEST_SHARE / (1 - TEST_SHARE)
                row[f"{figure}_difference"] = interval(own - plain, overlap)
        table.append(row)
    return table


def interval(differences, overlap):
    """Mean, and the ends of its 95 % interval."""
    half = resampled_half_width(differences.std(ddof=1), len(differences), overlap)
    return [round(float(value), 4) for value in (differences.mean(), *(differences.mean() + half * np.array([-1, 1])))]


def main():
    """Run the study and write its results."""
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    options = parser.parse_args()
    settings = SMOKE if options.smoke else FULL
    folder = options.out.parent if options.smoke and options.out else None
    results = compute(settings, options.smoke, 1 if options.smoke else options.jobs, folder)
    table = summarize(results)
    for row in table:
        difference = row.get("srcc_difference")
        told = "" if difference is None else "{:+.3f} ({:+.3f} to {:+.3f})".format(*difference)
        print(
            f"{row['data']:12} {row['model']:8} {row['feature']:22} {row['n_labels']:4} {row['arm']:26} "
            f"SRCC {row['srcc']:+.3f} {told:28} sensitivity {row['sensitivity']:.2f}"
        )
    per_seed = [
        {**dict(zip(("data", "model", "feature", "n_labels", "arm", "seed"), key, strict=True)), **figures}
        for key, figures in results.items()
    ]
    rounded = [{name: round(v, 4) if isinstance(v, float) else v for name, v in row.items()} for row in per_seed]
    write_results("study_qfm", {"settings": settings, "table": table, "per_seed": rounded}, options.out, indent=None)


if __name__ == "__main__":
    main()
