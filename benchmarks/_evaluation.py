"""What a quality model makes of selected patches: predictions for scenes it did not learn from, and their agreement."""

from functools import cache

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR

from patchdistill.demo.agreement import Agreement

N_FOLDS = 10
MODES = ("retrained", "fixed")


# Regressors on the mean and the standard deviation of an image's patches; their parameters were set once.
POOLED_MODELS = {
    "svr": make_pipeline(StandardScaler(), SVR(C=10, epsilon=0.05)),
    "ridge": make_pipeline(StandardScaler(), Ridge(alpha=100.0)),
}
PATCHWISE = "patch-wise"


class FourierRidge:
    """Patch-wise regression: the label of a patch is that of its image, and an image's score the mean of its patches'.

    Ridge on random Fourier features of a Gaussian kernel (Rahimi and Recht, NeurIPS 2007). Features are standardized
    over all patches, which reads no label.
    """

    def __init__(self, features, ridge=0.1, n_fourier=300, seed=0):
        n_features = features.shape[-1]
        rng = np.random.default_rng(seed)
        directions = rng.standard_normal((n_features, n_fourier)).astype(np.float32) / np.sqrt(2 * n_features)
        shift = rng.uniform(0, 2 * np.pi, n_fourier).astype(np.float32)
        flat = features.reshape(-1, n_features)
        scaled = (flat - flat.mean(axis=0)) / np.maximum(flat.std(axis=0), 1e-6)
        waves = np.sqrt(2 / n_fourier) * np.cos(scaled @ directions + shift)
        self.waves = np.concatenate([waves, np.ones((len(waves), 1), np.float32)], axis=1).astype(np.float32)
        self.waves = self.waves.reshape(*features.shape[:2], -1)
        self.ridge = ridge

    def moments(self, weights, folds):
        """Weighted mean of the waves of each image, and for each fold the sum, over its images, of outer products."""
        n_waves = self.waves.shape[-1]
        means, squares = np.empty((len(weights), n_waves)), np.zeros((len(folds), n_waves, n_waves))
        for of_fold, (_, images) in zip(squares, folds, strict=True):
            for i in images:
                kept = np.flatnonzero(weights[i])
                w, waves = weights[i, kept], self.waves[i, kept]
                means[i] = w @ waves
                weighted = waves * np.sqrt(w[:, None]).astype(np.float32)
                of_fold += weighted.T @ weighted
        return means, squares

    def fit(self, squares, means, y):
        """Coefficients from the sum of outer products, and the means, of the training images."""
        penalty = self.ridge * np.eye(len(squares))
        penalty[-1, -1] = 0.0  # the intercept
        return cho_solve(cho_factor(squares + penalty), means.T @ y)


class Experiment:
    """Cross-validated predictions from selected patches.

    A selection is a matrix of weights (n_images, n_patches) whose rows sum to 1; patches that are not kept have 0.
    "retrained": the model learns from selected patches and is given selected patches. "fixed": it learned from all
    patches, as a model that somebody already has, and is given selected ones.

    Parameters
    ----------
    features : ndarray of shape (n_images, n_patches, n_features)
        Features of all patches.
    labels : ndarray of shape (n_images,)
        What is to be predicted; standardized here.
    scenes : ndarray of shape (n_images,)
        Scene of each image; no scene is on both sides of a split.

    Attributes
    ----------
    everything : ndarray of shape (n_images, n_patches)
        The selection of all patches.
    """

    def __init__(self, features, labels, scenes):
        self.features = features
        self.y = (labels - labels.mean()) / labels.std()
        self.folds = list(GroupKFold(min(N_FOLDS, len(np.unique(scenes)))).split(labels, groups=scenes))
        self.patchwise = FourierRidge(features)
        self.everything = np.full(features.shape[:2], 1 / features.shape[1])
        pooled = self.pool(self.everything)
        trains = [train for train, _ in self.folds]
        self.fixed = {
            name: [clone(model).fit(pooled[train], self.y[train]) for train in trains]
            for name, model in POOLED_MODELS.items()
        }
        _, self.fixed[PATCHWISE] = self._fit_patchwise(self.everything)

    def _fit_patchwise(self, weights):
        """Means of the waves of each image, and the coefficients learned in each fold."""
        means, squares = self.patchwise.moments(weights, self.folds)
        total = squares.sum(axis=0)
        learned = [
            self.patchwise.fit(total - of_fold, means[train], self.y[train])
            for of_fold, (train, _) in zip(squares, self.folds, strict=True)
        ]
        return means, learned

    def pool(self, weights):
        """Weighted means and standard deviations of the selected patches."""
        pooled = []
        for image, w in zip(self.features, weights, strict=True):
            kept = np.flatnonzero(w)
            patches = image[kept].astype(np.float64)
            mean = w[kept] @ patches
            pooled.append(np.concatenate([mean, np.sqrt(w[kept] @ (patches - mean) ** 2)]))
        return np.array(pooled)

    def predict(self, weights, models=(*POOLED_MODELS, PATCHWISE)):
        """Predictions of models in both modes: dict of (model, mode) to ndarray of shape (n_images,)."""
        predictions = {(name, mode): np.empty(len(self.y)) for name in models for mode in MODES}
        pooled = self.pool(weights)
        means, learned = self._fit_patchwise(weights) if PATCHWISE in models else (None, None)
        for k, (train, test) in enumerate(self.folds):
            for name in models:
                if name == PATCHWISE:
                    again = means[test] @ learned[k]
                    as_it_is = means[test] @ self.fixed[name][k]
                else:
                    again = clone(POOLED_MODELS[name]).fit(pooled[train], self.y[train]).predict(pooled[test])
                    as_it_is = self.fixed[name][k].predict(pooled[test])
                predictions[name, "retrained"][test], predictions[name, "fixed"][test] = again, as_it_is
        return predictions


def lazy_experiment(bags, labels, scenes):
    """Experiment with images of equally many patches, made when it is first asked for."""

    @cache
    def experiment():
        return Experiment(np.asarray(bags.values).reshape(len(bags), -1, bags.values.shape[-1]), labels, scenes)

    return experiment


class Judge:
    """Agreement with labels and with the predictions from all patches, on the images and on scenes drawn again.

    Versions of one scene are not independent of each other, so that whole scenes are drawn, with replacement.

    Parameters
    ----------
    labels, on_all : ndarray of shape (n_images,)
        Standardized labels, and predictions from all patches.
    scenes : ndarray of shape (n_images,)
        Scene of each image; each has as many images.
    chosen : sequence of str
        The scenes that are looked at.
    """

    def __init__(self, labels, on_all, scenes, chosen):
        self.images = np.isin(scenes, chosen)
        self.agreement = Agreement(labels[self.images], scenes[self.images])
        self.on_all = on_all[self.images]

    def __call__(self, predictions):
        """SRCC, PLCC, and the root mean square change against all patches; first on the images, then per resample."""
        predictions = predictions[self.images]
        squared = (predictions - self.on_all) ** 2
        return {**self.agreement(predictions), "change": np.sqrt(squared[self.agreement.rows].mean(axis=1))}
