"""From scores to opinion scores, with a few rated pictures."""

import warnings

import numpy as np
from scipy.stats import spearmanr
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.isotonic import IsotonicRegression
from sklearn.model_selection import cross_val_predict
from sklearn.utils import check_array, check_consistent_length
from sklearn.utils.validation import check_is_fitted

from patchdistill._compat import StrOptions, _fit_context
from patchdistill.evaluation import LeaveOneSceneOut, agreement, fit_mapping

# Different scores that a map needs at least: one more than it has coefficients, and three steps.
_LEAST = {"isotonic": 3, "logistic4": 5, "logistic5": 6}


class MOSCalibrator(RegressorMixin, BaseEstimator):
    """Map scores to opinion scores, learned from a few labels.

    Relational scores order pictures, but know no scale of opinions. With some rated pictures, from about ten on, they
    get one. All maps but ``"logistic5"`` keep the order of the scores, which no few labels should change; isotonic
    regression makes ties of it.

    Parameters
    ----------
    kind : {"isotonic", "logistic4", "logistic5"}, default="logistic4"
        Steps that rise (or fall) with the score, constant beyond the ends; or the logistic curve of four or five
        coefficients that is customary in this field.
    labels : {"mos", "dmos"}, default="mos"
        Whether higher labels are those of better pictures, as mean opinion scores, or of worse ones, as differential
        mean opinion scores.

    Attributes
    ----------
    mapping_ : ScoreMapping or IsotonicRegression
        What was fitted.

    See Also
    --------
    patchdistill.evaluation.fit_mapping : The logistic curves.
    RelationalScorer : Makes scores.

    References
    ----------
    .. [1] H. R. Sheikh, M. F. Sabir, A. C. Bovik, "A Statistical Evaluation of Recent Full Reference Image Quality
       Assessment Algorithms", IEEE Transactions on Image Processing 15(11), 2006.

    Examples
    --------
    >>> from patchdistill.relational.calibrator import MOSCalibrator
    >>> scores = [-0.9, -0.7, -0.5, -0.4, -0.2, -0.1, 0.0]
    >>> mos = [1.2, 1.5, 2.6, 3.1, 4.2, 4.4, 4.5]
    >>> MOSCalibrator().fit(scores, mos).predict([-0.45]).round(1)
    array([2.8])
    """

    _parameter_constraints = {
        "kind": [StrOptions(set(_LEAST))],
        "labels": [StrOptions({"mos", "dmos"})],
    }

    def __init__(self, kind="logistic4", labels="mos"):
        self.kind = kind
        self.labels = labels

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y):
        """Learn the map.

        Parameters
        ----------
        X : array-like of shape (n_images,) or (n_images, 1)
            Scores, higher for better pictures.
        y : array-like of shape (n_images,)
            Opinion scores.

        Returns
        -------
        self
            The fitted calibrator.

        Raises
        ------
        ValueError
            If there are too few different scores, or not one finite number of each per image.

        Warns
        -----
        UserWarning
            If the labels run against the scores.
        ConvergenceWarning
            If a straight line takes the place of a logistic curve, as in :func:`~patchdistill.evaluation.fit_mapping`.
        """
        scores = _check_scores(X)
        y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
        check_consistent_length(scores, y)
        n_different = len(np.unique(scores))
        if n_different < _LEAST[self.kind]:
            raise ValueError(
                f"There are {n_different} different scores with labels, but kind={self.kind!r} needs at least "
                f"{_LEAST[self.kind]}; rate more pictures"
                + (', or pass kind="isotonic".' if n_different >= _LEAST["isotonic"] else ".")
            )
        rising = self.labels == "mos"
        if np.ptp(y) > 0 and (spearmanr(scores, y).statistic > 0) != rising:
            other = "dmos" if rising else "mos"
            warnings.warn(
                f"The labels {'fall' if rising else 'rise'} as the scores rise, which labels={self.labels!r} should "
                f"not. If they are {other.upper()}, pass labels={other!r}; if not, check that both are of the same "
                "pictures.",
                stacklevel=2,
            )
        if self.kind == "isotonic":
            self.mapping_ = IsotonicRegression(increasing=rising, out_of_bounds="clip").fit(scores, y)
        else:
            self.mapping_ = fit_mapping(scores, y, self.kind)
        return self

    def predict(self, X):
        """Map scores.

        Parameters
        ----------
        X : array-like of shape (n_images,) or (n_images, 1)
            Scores.

        Returns
        -------
        ndarray of float64, shape (n_images,)
            On the scale of the labels.
        """
        check_is_fitted(self)
        scores = _check_scores(X)
        return self.mapping_.predict(scores) if self.kind == "isotonic" else self.mapping_(scores)

    def cross_validate(self, X, y, groups, cv=None):
        """Estimate how well the map predicts opinions of scenes that it was not fitted on.

        Parameters
        ----------
        X : array-like of shape (n_images,) or (n_images, 1)
            Scores.
        y : array-like of shape (n_images,)
            Opinion scores.
        groups : array-like of shape (n_images,)
            Scene of each image: versions of one scene are never on both sides of a split.
        cv : splitter, default=None
            Splits by scene, such as :class:`~patchdistill.evaluation.SceneKFold`, that test every image once. By
            default every scene is left out once.

        Returns
        -------
        predictions : ndarray of float64, shape (n_images,)
            Opinion score of each image, by a map that was fitted on other scenes.
        figures : dict
            Of :func:`~patchdistill.evaluation.agreement` between labels and predictions, with no further map between.

        Raises
        ------
        ValueError
            If a fold leaves too few labels, there is one scene only, or an image has none.
        """
        scores = _check_scores(X)
        cv = LeaveOneSceneOut() if cv is None else cv
        predictions = cross_val_predict(self, scores, y, groups=groups, cv=cv)
        return predictions, agreement(y, predictions, mapping=None)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array = True
        return tags


def _check_scores(X):
    scores = check_array(X, ensure_2d=False, dtype=np.float64, input_name="X")
    if scores.ndim != 1 and scores.shape[1:] != (1,):
        raise ValueError(f"X has shape {scores.shape}, but one score per image is expected.")
    return scores.ravel()
