"""The comparison: a quality model on all patches, on those of each selection, and on random ones."""

import time

import numpy as np
from sklearn.base import clone
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR

from patchdistill.baselines import RandomPatchSelector
from patchdistill.demo.agreement import MEASURES, Agreement, summary
from patchdistill.embedding import PatchStatistics
from patchdistill.models import BagPooling
from patchdistill.ranking import n_keep
from patchdistill.selector import ResidualPatchSelector

RATES = (0.03, 0.05, 0.10, 0.25, 0.45)
DEFAULT_RATE = 0.45
N_SEEDS = 10
N_FOLDS = 5

# Natural-scene statistics are descriptors of mixed units: each is standardized over the patches of the image.
SELECTION = {"normalize": "columns"}

# "cover": the selection as it comes, patches that represent the others, with their weights. "low", "high": without
# coverage, the patches at one end of the residuals.
_RESIDUAL_SELECTORS = {"cover": {}, "low": {"coverage": None}, "high": {"coverage": None, "keep": "high"}}
SELECTORS = (*_RESIDUAL_SELECTORS, "random")

# "retrained": the model learns from kept patches and is given kept patches. "fixed": it learns from all patches, as a
# model that somebody already has, and is given kept ones.
MODES = ("retrained", "fixed")


def quality_model():
    """From pooled features to a score; its parameters were set once and not tuned."""
    return make_pipeline(StandardScaler(), SVR(C=10, epsilon=0.01))


def quality_pipeline(n_patches, patch_size, n_jobs, memory):
    """From pictures to a score, selection included, as a user would write it."""
    return Pipeline(
        [
            ("embed", PatchStatistics(n_patches=n_patches, patch_size=patch_size, n_jobs=n_jobs)),
            ("select", ResidualPatchSelector(rate=DEFAULT_RATE, memory=memory, **SELECTION)),
            ("pool", BagPooling()),
            ("model", quality_model()),
        ]
    )


def folds(scenes):
    """Make splits in which no scene is on both sides."""
    return GroupKFold(n_splits=min(N_FOLDS, len(np.unique(scenes))))


def make_selectors(rate, n_seeds, memory=None):
    """Selectors to compare at a rate, by name; a list of them, because random selection has one for each seed."""
    selectors = {
        name: [ResidualPatchSelector(rate=rate, memory=memory, **SELECTION, **options)]
        for name, options in _RESIDUAL_SELECTORS.items()
    }
    return {**selectors, "random": [RandomPatchSelector(rate, random_state=seed) for seed in range(n_seeds)]}


class CrossValidation:
    """Predictions for images of scenes that the model did not learn from.

    Parameters
    ----------
    bags : PatchBags
        Features of all patches.
    labels : ndarray of shape (n_images,)
        What is to be predicted.
    scenes : ndarray of shape (n_images,)
        Scene of each image.

    Attributes
    ----------
    on_all : ndarray of shape (n_images,)
        Predictions with all patches.
    """

    def __init__(self, bags, labels, scenes):
        self.bags, self.labels, self.scenes = bags, labels, scenes
        pooled = BagPooling().fit_transform(bags)
        self.fixed_models = [
            (clone(quality_model()).fit(pooled[train], labels[train]), test)
            for train, test in folds(scenes).split(pooled, groups=scenes)
        ]
        self.on_all = self._fixed(pooled)

    def predict(self, kept):
        """Predictions from what a selector kept of the images, by mode."""
        pooled = BagPooling().fit_transform(kept)
        retrained = cross_val_predict(quality_model(), pooled, self.labels, groups=self.scenes, cv=folds(self.scenes))
        return {"retrained": retrained, "fixed": self._fixed(pooled)}

    def _fixed(self, pooled):
        predictions = np.empty(len(pooled))
        for model, test in self.fixed_models:
            predictions[test] = model.predict(pooled[test])
        return predictions


def compare(validation, *, rates=RATES, n_seeds=N_SEEDS, memory=None, track=lambda work, total: work):
    """Run all selections at all rates in both modes.

    Parameters
    ----------
    validation : CrossValidation
        Gives predictions.
    rates : sequence of float, default=(0.03, 0.05, 0.10, 0.25, 0.45)
        Shares to keep.
    n_seeds : int, default=10
        Number of random selections.
    memory : str or joblib.Memory, default=None
        Where each image's solution is cached, so that it is solved once for all rates and selectors.
    track : callable
        ``track(work, total)`` gives the items of the work, to show progress.

    Returns
    -------
    dict
        ``"all"``: correlations with all patches. ``"rows"``: one per mode, rate and selector, in this order; selectors
        are ``"cover"``, the default selection, ``"low"`` and ``"high"``, one end of the residuals, and ``"random"``.
        Correlations, and their differences to those with all patches and to the mean of the random selections, have
        ``value``, ``low`` and ``high``, a 95 % interval over scenes. Those of ``random`` are means over seeds and have
        ``sd``, the standard deviation over seeds. ``change`` is the root mean square difference to what the same
        model says with all patches, in standard deviations of the labels (mode "fixed" only).
    """
    bags, labels = validation.bags, validation.labels
    agreement = Agreement(labels, validation.scenes)
    on_all = agreement(validation.on_all)
    work = [
        (rate, name, selector)
        for rate in rates
        for name, selectors in make_selectors(rate, n_seeds, memory).items()
        for selector in selectors
    ]
    runs = {}
    for rate, name, selector in track(work, len(work)):
        for mode, predictions in validation.predict(selector.fit_transform(bags)).items():
            change = np.sqrt(np.mean((predictions - validation.on_all) ** 2)) / labels.std()
            runs.setdefault((mode, rate, name), []).append({**agreement(predictions), "change": change})
    n_patches = int(bags.n_patches.max())
    rows = []
    for mode in MODES:
        for rate in rates:
            random = {key: _mean(runs[mode, rate, "random"], key) for key in MEASURES}
            for name in SELECTORS:
                row = {"mode": mode, "rate": rate, "n_kept": n_keep(n_patches, rate), "selector": name}
                row.update(_row(runs[mode, rate, name], on_all, random if name != "random" else None))
                row["change"] = None if mode == "retrained" else float(_mean(runs[mode, rate, name], "change"))
                rows.append(row)
    return {"all": {key: summary(on_all[key]) for key in MEASURES}, "rows": rows}


def time_pooling_and_model(bags, labels, scenes):
    """Seconds of pooling, and of fitting and predicting in all folds, for the patches given."""
    start = time.perf_counter()
    pooled = BagPooling().fit_transform(bags)
    cross_val_predict(quality_model(), pooled, labels, groups=scenes, cv=folds(scenes))
    return time.perf_counter() - start


def _mean(runs, key):
    return np.mean([run[key] for run in runs], axis=0)


def _row(runs, on_all, random):
    row = {}
    for key in MEASURES:
        values = _mean(runs, key)
        row[key] = summary(values)
        row[f"{key}_minus_all"] = summary(values - on_all[key])
        if random is not None:
            row[f"{key}_minus_random"] = summary(values - random[key])
        else:
            seeds = np.array([run[key][0] for run in runs])
            row[key]["sd"] = None if np.isnan(seeds).any() or len(seeds) < 2 else float(seeds.std(ddof=1))
    return row
