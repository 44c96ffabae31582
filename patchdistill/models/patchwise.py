"""Quality models that score patches one by one."""

import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin, RegressorMixin, clone
from sklearn.utils.validation import check_is_fitted

from patchdistill._compat import HasMethods, StrOptions, _check_feature_names, _check_n_features, _fit_context
from patchdistill.forms import check_features, own_weights
from patchdistill.models.aggregation import AGGREGATES, aggregate_scores
from patchdistill.models.inputs import check_labels, read_patches


class PatchwiseRegressor(RegressorMixin, MetaEstimatorMixin, BaseEstimator):
    """Score every patch by a regressor, and an image by what its patches score.

    The label of a patch is that of its image; all patches of all images are rows of one table that the regressor
    learns from.

    Parameters
    ----------
    estimator : estimator object
        Any regressor of rows: of scikit-learn, of skorch. It gets the patches as they are stored.
    aggregate : {"weighted", "mean", "median", "trimmed"}, default="weighted"
        What an image's score is: the mean of its patches' scores, weighted by the field ``weights`` where the patches
        have one, as after a selection by coverage; the plain mean; the median; or the mean without the lowest and the
        highest tenth.
    field : str, default=None
        Field of PatchBags that the regressor gets, ``"pixels"`` for example; None is the values.

    Attributes
    ----------
    estimator_ : estimator object
        Fitted clone.
    n_features_in_ : int
        Features per patch.

    See Also
    --------
    BagPooling : Pools the features instead of the scores.

    Notes
    -----
    A regressor of skorch needs features of the type of its weights, float32 as a rule, and a module that returns one
    number per row, (n_rows,).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import Ridge
    >>> from patchdistill.models import PatchwiseRegressor
    >>> images = [np.array([[0.0], [1.0]]), np.array([[2.0], [3.0], [4.0]])]
    >>> model = PatchwiseRegressor(Ridge(alpha=1e-9)).fit(images, [1.0, 5.0])
    >>> [len(scores) for scores in model.score_patches(images)]
    [2, 3]
    >>> model.predict(images).shape
    (2,)
    """

    _parameter_constraints = {
        "estimator": [HasMethods(["fit", "predict"])],
        "aggregate": [StrOptions(set(AGGREGATES))],
        "field": [str, None],
    }

    def __init__(self, estimator, aggregate="weighted", field=None):
        self.estimator = estimator
        self.aggregate = aggregate
        self.field = field

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y):
        """Fit the regressor on all patches.

        Parameters
        ----------
        X : PatchBags, list of array-like of shape (n_patches_i, ...), or array of shape (n_images, n_patches, ...)
            Images.
        y : array-like of shape (n_images,)
            Label of each image.

        Returns
        -------
        self : object
            Fitted estimator.
        """
        bags, rows = self._read(X, reset=True)
        labels = check_labels(y, len(bags))
        self.estimator_ = clone(self.estimator).fit(rows, np.repeat(labels, bags.n_patches))
        return self

    def predict(self, X):
        """Score images.

        Parameters
        ----------
        X : PatchBags, list of array-like of shape (n_patches_i, ...), or array of shape (n_images, n_patches, ...)
            Images.

        Returns
        -------
        ndarray of shape (n_images,)
            Scores.
        """
        bags, scores = self._score(X)
        return np.array(
            [aggregate_scores(of_image, self.aggregate, own_weights(bags, i)) for i, of_image in enumerate(scores)]
        )

    def score_patches(self, X):
        """Score patches.

        Parameters
        ----------
        X : PatchBags, list of array-like of shape (n_patches_i, ...), or array of shape (n_images, n_patches, ...)
            Images.

        Returns
        -------
        list of ndarray of shape (n_patches_i,)
            Scores of each image's patches.
        """
        return self._score(X)[1]

    def _score(self, X):
        check_is_fitted(self)
        bags, rows = self._read(X, reset=False)
        scores = np.asarray(self.estimator_.predict(rows))
        if scores.size != len(rows):
            raise ValueError(
                f"{type(self.estimator_).__name__} predicted an array of shape {scores.shape} for {len(rows)} patches; "
                "it must predict one number per patch."
            )
        return bags, np.split(scores.reshape(-1), bags.offsets[1:-1])

    def _read(self, X, reset):
        """Images, and the rows of all their patches; features are checked, pixels are not."""
        _check_feature_names(self, X, reset=reset)
        bags = read_patches(X, self.field)
        rows = np.asarray(bags.values)
        if rows.ndim == 2:
            rows = check_features(rows, bags.offsets)
        _check_n_features(self, rows, reset=reset)
        return bags, rows
