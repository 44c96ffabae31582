"""How well predictions agree with labels, and how sure that is."""

import numpy as np
from scipy.stats import rankdata

MEASURES = ("srcc", "plcc")


def correlation(a, b):
    """Pearson's correlation along the last axis; NaN where one side is constant."""
    a, b = (x - x.mean(axis=-1, keepdims=True) for x in (a, b))
    norms = np.sqrt((a**2).sum(axis=-1) * (b**2).sum(axis=-1))
    # Rounding leaves a constant row a little above zero: 1e-12 is far below the norm of any predictions that vary.
    varies = norms > 1e-12
    return np.where(varies, (a * b).sum(axis=-1) / np.where(varies, norms, 1.0), np.nan)


class Agreement:
    """Correlations between labels and predictions, on the images and on images of scenes drawn again.

    Versions of one scene are not independent of each other, so that whole scenes are drawn, with replacement.

    Parameters
    ----------
    labels : ndarray of shape (n_images,)
        What is to be predicted.
    scenes : ndarray of shape (n_images,)
        Scene of each image; each scene has as many images.
    n_resamples : int, default=1000
        How many times scenes are drawn.
    """

    def __init__(self, labels, scenes, n_resamples=1000):
        rows = np.array([np.flatnonzero(scenes == scene) for scene in np.unique(scenes)])
        drawn = np.random.default_rng(0).integers(len(rows), size=(n_resamples, len(rows)))
        # The first row is the images as they are.
        self.rows = np.vstack([np.arange(len(labels)), rows[drawn].reshape(n_resamples, len(labels))])
        self.labels = {"srcc": rankdata(labels[self.rows], axis=1), "plcc": labels[self.rows]}

    def __call__(self, predictions):
        """Correlate.

        Parameters
        ----------
        predictions : ndarray of shape (n_images,)
            Predictions.

        Returns
        -------
        dict of str to ndarray of shape (1 + n_resamples,)
            ``"srcc"`` and ``"plcc"``, first on the images, then on each resample; NaN for constant predictions.
        """
        drawn = predictions[self.rows]
        return {
            "srcc": correlation(self.labels["srcc"], rankdata(drawn, axis=1)),
            "plcc": correlation(self.labels["plcc"], drawn),
        }


def summary(values):
    """Estimate and 95 % interval, as JSON can hold them.

    Parameters
    ----------
    values : ndarray of shape (1 + n_resamples,)
        A figure on the images, then on each resample.

    Returns
    -------
    dict
        ``value``, ``low``, ``high``: None where predictions were constant.
    """
    if np.isnan(values[0]):
        return {"value": None, "low": None, "high": None}
    low, high = np.nanpercentile(values[1:], [2.5, 97.5])
    return {"value": float(values[0]), "low": float(low), "high": float(high)}
