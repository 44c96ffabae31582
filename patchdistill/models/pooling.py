"""From many patches to one row of features per image."""

import numpy as np
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin

from patchdistill._compat import _check_feature_names, _check_n_features, _fit_context
from patchdistill.forms import check_bags, check_features, own_weights

_QUANTILES = {f"q{percent}": percent / 100 for percent in range(101)}


class BagPooling(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Pool the patches of every image to their mean and standard deviation, or to other statistics.

    Where the patches carry a field ``weights``, as representatives that stand for many patches do, all are weighted
    by it: whole weights are copies.

    Parameters
    ----------
    stats : sequence of {"mean", "std", "q0", "q1", ..., "q100"}, default=("mean", "std")
        What to compute, in this order. The standard deviation divides by the number of patches, so that one patch
        has 0. ``"q10"`` is the smallest value that at least 10 % of the patches do not exceed, so that it is always
        the value of a patch, as with ``np.quantile(..., method="inverted_cdf")``.

    Attributes
    ----------
    n_features_in_ : int
        Features per patch, seen in `fit`.

    See Also
    --------
    patchdistill.PatchBags : Patches of many images and their fields.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.models import BagPooling
    >>> images = [np.array([[1.0, 2.0], [3.0, 2.0]]), np.array([[5.0, 0.0]])]
    >>> BagPooling().fit_transform(images)
    array([[2., 2., 1., 0.],
           [5., 0., 0., 0.]])
    >>> BagPooling(stats=("mean", "q10", "q90")).fit_transform(images)
    array([[2., 2., 1., 2., 3., 2.],
           [5., 0., 5., 0., 5., 0.]])
    """

    _parameter_constraints = {"stats": [list, tuple]}

    def __init__(self, stats=("mean", "std")):
        self.stats = stats

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Check the parameters and remember the number of features.

        Parameters
        ----------
        X : PatchBags, list of array-like (n_patches_i, n_features), or array (n_images, n_patches, n_features)
            Features of the patches.
        y : object, default=None
            Not read.

        Returns
        -------
        self
            The transformer.
        """
        self._check_stats()
        self._check_X(X, reset=True)
        return self

    def transform(self, X):
        """Pool the patches.

        Parameters
        ----------
        X : PatchBags, list of array-like (n_patches_i, n_features), or array (n_images, n_patches, n_features)
            Features of the patches.

        Returns
        -------
        ndarray of float64, shape (n_images, n_features * len(stats))
            One row per image, the features of the first statistic first.

        Raises
        ------
        ValueError
            If features are not finite or of another number than in `fit`, or if the weights of an image are negative,
            not finite or all zero.
        """
        self._check_stats()
        bags, values = self._check_X(X, reset=False)
        pooled = []
        for i, (start, stop) in enumerate(zip(bags.offsets[:-1], bags.offsets[1:], strict=True)):
            pooled.append(_pool(values[start:stop].astype(np.float64), own_weights(bags, i), self.stats))
        return np.array(pooled)

    def get_feature_names_out(self, input_features=None):
        """Names of the output columns.

        Parameters
        ----------
        input_features : array-like of str of shape (n_features,), default=None
            Names of the features; those seen in `fit`, or ``x0``, ``x1`` ..., by default.

        Returns
        -------
        ndarray of str, shape (n_features * len(stats),)
            Names such as ``mean_x0`` and ``q10_x0``.
        """
        names = super().get_feature_names_out(input_features)
        return np.array([f"{stat}_{name}" for stat in self.stats for name in names], dtype=object)

    def _check_stats(self):
        self._validate_params()
        legal = {"mean", "std", *_QUANTILES}
        if not self.stats or not set(self.stats) <= legal or len(set(self.stats)) < len(self.stats):
            raise ValueError(
                'stats must name at least one of "mean", "std" and the quantiles "q0", "q1", ..., "q100" (in percent), '
                f"each once; got {self.stats!r}."
            )

    def _check_X(self, X, reset):
        _check_feature_names(self, X, reset=reset)
        bags, _ = check_bags(X)
        values = check_features(bags.values, bags.offsets)
        _check_n_features(self, values, reset=reset)
        return bags, values

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        return tags


def _pool(patches, weights, stats):
    """Statistics of the patches of one image, one after the other."""
    pooled = {}
    shares = np.full(len(patches), 1 / len(patches)) if weights is None else weights / weights.sum()
    if "mean" in stats or "std" in stats:
        mean = pooled["mean"] = shares @ patches
    if "std" in stats:
        pooled["std"] = np.sqrt(shares @ (patches - mean) ** 2)
    quantiles = [stat for stat in stats if stat in _QUANTILES]
    if quantiles:
        shares = [_QUANTILES[stat] for stat in quantiles]
        pooled.update(zip(quantiles, _inverse_distribution(patches, weights, shares), strict=True))
    return np.concatenate([pooled[stat] for stat in stats])


def _inverse_distribution(patches, weights, shares):
    """For each share the smallest values whose cumulated weight reaches it."""
    n = len(patches)
    order = np.argsort(patches, axis=0)
    cumulated = np.cumsum((np.ones(n) if weights is None else weights.astype(np.float64))[order], axis=0)
    cumulated /= cumulated[-1]
    # As much as n sums may be off by rounding: ten equal weights reach 70 % with the seventh. Patches of weight 0 are
    # not there, and therefore no minimum either.
    rounding = 2 * n * np.finfo(np.float64).eps
    reached = [((cumulated >= share - rounding) & (cumulated > 0)).argmax(axis=0) for share in shares]
    return np.take_along_axis(patches, np.take_along_axis(order, np.array(reached), axis=0), axis=0)
