"""The models that the study of quality-aware feature matching compares, tuned on scenes that are held out."""

import numpy as np
import torch
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from patchdistill.evaluation import SceneKFold, check_split, plcc, srcc
from patchdistill.models.networks import LocalContrast
from patchdistill.qfm import QFMRegressor, QFMRidge, match_pairs, semantic_sensitivity

PLAIN = "plain"
ALPHAS = (1.0, 10.0, 100.0, 1000.0)
LAMS = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0)

# Linear models by what their partners are. "any quality" leaves out the condition that qualities are alike.
LINEAR = {
    PLAIN: {"lam": (0.0,)},
    "quality": {"lam": LAMS},
    "semantic": {"lam": LAMS, "pairing": ("semantic",)},
    "both": {"lam": LAMS, "pairing": ("both",)},
    "any quality": {"lam": LAMS, "tau": (np.inf,)},
    "gated features": {"lam": LAMS, "pairing": ("both",)},
}

# Each network is tried with three settings, the plain one too.
_ONLY_LABELS = {"consistency": 0.0, "contrast": 0.0, "gate": None}
_CONSISTENCY = [{"consistency": weight} for weight in (0.5, 2.0, 8.0)]
_CONTRAST = [{"contrast": weight} for weight in (0.1, 0.3, 1.0)]
NETWORKS = {
    PLAIN: (_ONLY_LABELS, [{"lr": lr} for lr in (5e-4, 1e-3, 2e-3)]),
    "quality": ({"gate": None}, _CONSISTENCY),
    "any quality": ({"gate": None, "tau": np.inf}, _CONSISTENCY),
    "semantic": ({"gate": None, "pairing": "semantic"}, _CONTRAST),
    "both": ({"gate": None, "pairing": "both"}, _CONTRAST),
    "both, gate": ({"pairing": "both"}, _CONTRAST),
    "both, gate, panel": ({"pairing": "both", "n_queries": 6}, _CONTRAST),
}
# With a student that learns from unlabelled images as well; settings are those of the network without.
DISTILLED = {f"{arm}, distillation": arm for arm in (PLAIN, "both, gate")}

_chosen = {}


class ColorAndContrast(nn.Module):
    """A small convolutional network that sees colors, and next to them luma with its local contrast normalized."""

    def __init__(self, channels=(16, 32, 64)):
        super().__init__()
        self.contrast = LocalContrast()
        layers = []
        for fan_in, fan_out in zip((4, *channels[:-1]), channels, strict=True):
            layers += [
                nn.Conv2d(fan_in, fan_out, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(fan_out),
                nn.ReLU(),
            ]
        self.layers = nn.Sequential(*layers)

    def forward(self, images):
        """Make maps (n, C, h, w) of images (n, 3, height, width) in [0, 1]."""
        return self.layers(torch.cat([2 * images - 1, self.contrast(images)], dim=1))


def network(seed, max_epochs, **parameters):
    """Make a regressor whose weights before training depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = ColorAndContrast()
    settings = {"lr": 2e-3, "n_queries": 0, "max_epochs": max_epochs, "random_state": seed, **parameters}
    return QFMRegressor(encoder, pooling="mean", descriptor="thumbnail", **settings)


def fit_linear(arm, feature, train, folds):
    """Tune a linear model by the squared error on scenes that are left out; gives it and what was chosen."""
    model = Pipeline([("scale", StandardScaler()), ("model", QFMRidge())])
    grid = {f"model__{name}": values for name, values in {"alpha": ALPHAS, **LINEAR[arm]}.items()}
    X = train.features[feature]
    splits = list(SceneKFold(folds).split(groups=train.scenes))
    search = GridSearchCV(model, grid, cv=splits, scoring="neg_mean_squared_error")
    search.fit(X, train.y, model__semantics=train.semantics)
    fitted = search.best_estimator_
    if arm == "gated features":
        fitted = Pipeline([*fitted.steps, ("ridge", Ridge(search.best_params_["model__alpha"]))])
        fitted = clone(fitted).fit(X, train.y, model__semantics=train.semantics)
    return fitted, {name.removeprefix("model__"): value for name, value in search.best_params_.items()}


def _tune(arm, train, seed, max_epochs):
    """Choose the best of three settings by SRCC on a third of the scenes, which the others do not show."""
    own, candidates = NETWORKS[arm]
    scenes = np.random.default_rng(seed).permutation(np.unique(train.scenes))
    held_out = np.isin(train.scenes, scenes[: len(scenes) // 3])
    check_split(np.flatnonzero(~held_out), np.flatnonzero(held_out), train.scenes)
    rest, validation = train.take(~held_out), train.take(held_out)
    scores = [
        srcc(
            validation.y,
            network(seed, max_epochs, **own, **candidate)
            .fit(rest.patches, rest.y, semantics=rest.semantics)
            .predict(validation.patches),
        )
        for candidate in candidates
    ]
    return {**own, **candidates[int(np.argmax(scores))]}


def tuned(arm, sides, seed, max_epochs):
    """Settings of a network on the labelled images of `sides`, chosen once."""
    key = (arm, sides.func.__name__, sides.args, seed, max_epochs)
    if key not in _chosen:
        _chosen[key] = _tune(arm, sides()[0], seed, max_epochs)
    return _chosen[key]


def judge(scores, test):
    """Compute the figures of a model's scores on the images of a test."""
    return {
        "srcc": srcc(test.y, scores),
        "plcc": plcc(test.y, scores, mapping="linear"),
        "sensitivity": semantic_sensitivity(scores, match_pairs(test.y, test.semantics)),
    }
