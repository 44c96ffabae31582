"""What do matching, QFMRidge and QFMRegressor cost: seconds, memory, and what a run that goes on saves?

Networks and matching run with as many threads as the machine has cores, as they would for a user. Networks are the
default of QFMRegressor, on made pictures of 64 pixels; all variants are trained in turn, and medians told.
"""

import statistics
import tempfile
import time
import tracemalloc
from functools import partial
from pathlib import Path

import numpy as np
import torch
from _common import arguments, growth, seconds, write_results
from sklearn.linear_model import Ridge

from patchdistill.datasets import make_semantic_confound
from patchdistill.evaluation import SceneKFold
from patchdistill.qfm import QFMRegressor, QFMRidge, match_pairs

FULL = {
    "n_labelled": 100,
    "n_unlabeled": 100,
    "max_epochs": 9,
    "n_matched": (1000, 3000, 10000),
    "n_ridge": 500,
    "n_features": (100, 5000),
    "repeats": 3,
}
SMOKE = {
    "n_labelled": 16,
    "n_unlabeled": 8,
    "max_epochs": 1,
    "n_matched": (20, 40, 80),
    "n_ridge": 30,
    "n_features": (5, 40),
    "repeats": 1,
}
LIMIT_SECONDS = 180
PLAIN = {"consistency": 0.0, "contrast": 0.0, "sparsity": 0.0, "gate": None}

# Length of patchdistill.qfm.thumbnail_descriptor.
N_DESCRIPTOR = 216

# QFMRidge(lam="cv") has as many.
N_FOLDS = 5


def timed(function):
    """Seconds of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def networks(settings):
    """Seconds of training: plain, full, full with a student, with checkpoints, and from a finished checkpoint."""
    n = settings["n_labelled"]
    pictures, _ = make_semantic_confound(n + settings["n_unlabeled"], 6)
    images, y, unlabeled = pictures.images[:n], pictures.y[:n], pictures.images[n:]
    model = partial(QFMRegressor, max_epochs=settings["max_epochs"])
    QFMRegressor(max_epochs=1).fit(images, y)  # what the first call pays once
    times = {}
    for _ in range(settings["repeats"]):
        with tempfile.TemporaryDirectory() as folder:
            variants = {
                "plain": partial(model(**PLAIN).fit, images, y),
                "full": partial(model().fit, images, y),
                "full with student": partial(model().fit, images, y, X_unlabeled=unlabeled),
                "full with checkpoints": partial(model(checkpoint=folder).fit, images, y),
                "full from its checkpoint": partial(model(checkpoint=folder).fit, images, y),
            }
            for name, fit in variants.items():
                times.setdefault(name, []).append(timed(fit))
            megabytes = sum(path.stat().st_size for path in Path(folder).iterdir()) / 1e6
    medians = {name: statistics.median(of_name) for name, of_name in times.items()}
    return {
        "threads": torch.get_num_threads(),
        "seconds": {name: round(value, 3) for name, value in medians.items()},
        "limit_seconds": {"full with student": LIMIT_SECONDS},
        "times_plain": {name: round(value / medians["plain"], 3) for name, value in medians.items()},
        "checkpoint_mb": round(megabytes, 2),
    }


def matching(settings):
    """Seconds and peak memory of matching, and how they grow with the number of images."""
    rng = np.random.default_rng(0)
    sizes, rows = settings["n_matched"], []
    for n in sizes:
        match = partial(match_pairs, rng.normal(size=n), rng.normal(size=(n, N_DESCRIPTOR)))
        taken = seconds(match, settings["repeats"])
        tracemalloc.start()
        match()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        rows.append({"n_images": n, "seconds": round(taken, 5), "peak_mb": round(peak / 1e6, 2)})
    return {
        "n_descriptor": N_DESCRIPTOR,
        "rows": rows,
        "exponent_of_seconds": round(growth(sizes, [row["seconds"] for row in rows]), 2),
        "exponent_of_peak": round(growth(sizes, [row["peak_mb"] for row in rows]), 2),
    }


def fit_ridges(X, y, folds, n_lams):
    """Fit scikit-learn's Ridge as often as QFMRidge is fitted."""
    for train in folds * n_lams:
        Ridge().fit(X[train], y[train])
    Ridge().fit(X, y)


def ridge(settings):
    """Seconds of QFMRidge with cross-validation, and of as many fits of scikit-learn's Ridge on the same folds."""
    rng = np.random.default_rng(0)
    n, rows, model = settings["n_ridge"], [], QFMRidge(lam="cv")
    n_lams = len(model.lams)
    folds = [train for train, _ in SceneKFold(N_FOLDS).split(groups=np.arange(n))]
    for d in settings["n_features"]:
        X, y = rng.normal(size=(n, d)), rng.normal(size=n)
        own = seconds(partial(model.fit, X, y), settings["repeats"])
        plain = seconds(partial(fit_ridges, X, y, folds, n_lams), settings["repeats"])
        rows.append(
            {
                "n_images": n,
                "n_features": d,
                "n_fits": len(folds) * n_lams + 1,
                "seconds": round(own, 4),
                "seconds_sklearn": round(plain, 4),
                "times_sklearn": round(own / plain, 3),
            }
        )
    return rows


def main():
    options = arguments(__doc__).parse_args()
    settings = SMOKE if options.smoke else FULL
    results = {"settings": settings, "torch": torch.__version__}
    for part in (matching, ridge, networks):
        results[part.__name__] = part(settings)
        print(part.__name__, results[part.__name__], flush=True)
    write_results("bench_qfm", results, options.out)


if __name__ == "__main__":
    main()
