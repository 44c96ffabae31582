"""A linear quality model that is penalized for telling partners apart, in closed form."""

import numbers
import warnings

import numpy as np
from scipy.linalg import eigh, qr, solve
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, RegressorMixin, TransformerMixin
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted, validate_data

from patchdistill._compat import Interval, StrOptions, _fit_context
from patchdistill.evaluation import SceneKFold
from patchdistill.qfm.matching import (
    MATCHING_CONSTRAINTS,
    MIN_IMAGES,
    check_images,
    match_pairs,
    nearest_partners,
    pair_laplacian,
    unmatched_rate,
)
from patchdistill.qfm.sensitivity import semantic_sensitivity

KINDS = {"quality": ("quality",), "semantic": ("semantic",), "both": ("quality", "semantic")}
_FOLDS = 5


class QFMRidge(OneToOneFeatureMixin, RegressorMixin, TransformerMixin, BaseEstimator):
    """Ridge regression that does not tell images of similar quality and different semantics apart.

    With centered features Z and labels y, it minimizes::

        |y - Z w|^2 + alpha |w|^2 + lam n mean over pairs (w'(z_j - z_i) - t_ij)^2,

    where t = 0 for partners of similar quality that show different things. A model with that penalty is the one that
    would be learned, on average, from images whose features are shifted at random towards those of their partners. For
    the converse pairs, which show similar things in different quality, t is the difference of their labels.

    The penalty has the matrix Z'LZ with the Laplacian L of the graph of the pairs, so that there is a closed form. All
    of it lies in the span of the images: with more features than images the problem is solved there.

    Parameters
    ----------
    lam : float or "cv", default="cv"
        Weight of the penalty, at least 0; 0 is :class:`sklearn.linear_model.Ridge`. ``"cv"`` takes the one of `lams`
        with the least mean squared error in cross-validation over scenes, of equals the smallest.
    lams : sequence of float, default=(0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
        What ``"cv"`` tries.
    alpha : float, default=1.0
        Weight of the squared norm, above 0, as in Ridge. Features of different scales are standardized first.
    pairing : {"quality", "semantic", "both"}, default="quality"
        Which pairs are penalized, see :func:`match_pairs`.
    tau : float, default=0.25
        What similar quality is, in standard deviations of the labels; above 0.
    k : int, default=3
        Most partners of an image.
    output : {"gated", "whitened"}, default="gated"
        What `transform` returns: features times `gate_`, or features in which a plain ridge regression with this
        `alpha` is this model without its labels' part: Z (I + (lam n / alpha) S)^-1/2, with S the mean of
        (z_j - z_i)(z_j - z_i)' over pairs.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,)
        Weights.
    intercept_ : float
        Score of an image without features.
    lam_ : float
        The weight of the penalty.
    cv_errors_ : ndarray of shape (len(lams),)
        Mean squared error of each of `lams`, with ``lam="cv"`` only.
    gate_ : ndarray of shape (n_features,)
        Per feature s / (s + lam r) in [0, 1], with s = cov(z, y)^2 / var(y) what it says about quality, and r the mean
        squared difference of partners: near 0 for a feature that mostly tells what is shown. All 1 with ``lam=0``.
    unmatched_rate_ : float
        Share of images without any partner, of either kind, to which the penalty does not apply.
    n_features_in_ : int
        Number of features.

    Raises
    ------
    ValueError
        If labels are constant or not finite, there are fewer than 10 images, or all are of one group.

    Warns
    -----
    UserWarning
        If no image has a partner, and the model is plain ridge regression.

    See Also
    --------
    QFMRegressor : A network with this penalty, from pixels.
    patchdistill.models.BagPooling : Makes one row of features of the patches of an image.

    References
    ----------
    After "Adaptive Feature Selection for No-Reference Image Quality Assessment by Mitigating Semantic Noise
    Sensitivity", ICML 2024, arXiv:2312.06158, whose code could not be had: this is not a reproduction.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.qfm import QFMRidge
    >>> rng = np.random.default_rng(0)
    >>> quality, shown = rng.normal(size=(2, 200))
    >>> X = np.stack([quality + 0.3 * rng.normal(size=200), shown], axis=1)
    >>> y = quality + 0.5 * shown  # as if what is shown were rated
    >>> plain, matched = QFMRidge(lam=0.0).fit(X, y), QFMRidge(lam=3.0).fit(X, y)
    >>> matched.semantic_sensitivity(X, y) < plain.semantic_sensitivity(X, y)
    True
    """

    _parameter_constraints = {
        "lam": [StrOptions({"cv"}), Interval(numbers.Real, 0, None, closed="left")],
        "lams": ["array-like"],
        "alpha": [Interval(numbers.Real, 0, None, closed="neither")],
        **MATCHING_CONSTRAINTS,
        "pairing": [StrOptions(set(KINDS))],
        "output": [StrOptions({"gated", "whitened"})],
    }

    def __init__(
        self,
        lam="cv",
        *,
        lams=(0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0),
        alpha=1.0,
        pairing="quality",
        tau=0.25,
        k=3,
        output="gated",
    ):
        self.lam = lam
        self.lams = lams
        self.alpha = alpha
        self.pairing = pairing
        self.tau = tau
        self.k = k
        self.output = output

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, groups=None, semantics=None):
        """Match the images and fit the model.

        Parameters
        ----------
        X : array-like of shape (n_images, n_features)
            Features.
        y : array-like of shape (n_images,)
            Quality labels.
        groups : array-like of shape (n_images,), default=None
            Scenes: versions of one scene are no partners, and are on one side in cross-validation. None: every image
            is a scene of its own.
        semantics : array-like of shape (n_images, m), default=None
            What the images show, see :func:`thumbnail_descriptor`. The features themselves, standardized, by default.

        Returns
        -------
        self
            The model.
        """
        X, y = validate_data(self, X, y, y_numeric=True, dtype=np.float64, ensure_min_samples=MIN_IMAGES)
        y = y.astype(np.float64)
        images = check_images(y, StandardScaler().fit_transform(X) if semantics is None else semantics, groups)
        kinds = KINDS[self.pairing]
        partners = self._match(*images, kinds)
        self.unmatched_rate_ = unmatched_rate(np.hstack(list(partners.values())))
        if self.unmatched_rate_ == 1:
            warnings.warn(
                f"No image has a partner with pairing={self.pairing!r} and tau={self.tau}, so that this is plain ridge "
                'regression; raise tau (with "semantic", lower it), or add images.',
                UserWarning,
                stacklevel=2,
            )
        if self.lam == "cv":
            lams = self._check_lams()
            self.cv_errors_ = self._cross_validate(X, images, lams)
            self.lam_ = float(lams[self.cv_errors_.argmin()])
        else:
            self.lam_ = float(self.lam)
        self._mean, mean_y = X.mean(axis=0), images[0].mean()
        Z, y = X - self._mean, images[0] - mean_y
        self.coef_ = _fit_weights(Z, y, partners, self.alpha, [self.lam_])[0]
        self.intercept_ = float(mean_y - self._mean @ self.coef_)
        quality = partners["quality"] if "quality" in partners else self._match(*images, ["quality"])["quality"]
        self.gate_ = _gate(Z, y, pair_laplacian(quality), self.lam_)
        self._whitening = _whitening(Z, partners, self.lam_, self.alpha) if self.output == "whitened" else None
        return self

    def predict(self, X):
        """Score images.

        Parameters
        ----------
        X : array-like of shape (n_images, n_features)
            Features.

        Returns
        -------
        ndarray of shape (n_images,)
            Scores.
        """
        return self._check_X(X) @ self.coef_ + self.intercept_

    def transform(self, X):
        """Weight the features down that tell what is shown.

        Parameters
        ----------
        X : array-like of shape (n_images, n_features)
            Features.

        Returns
        -------
        ndarray of shape (n_images, n_features)
            Gated or whitened features.
        """
        X = self._check_X(X)
        if self._whitening is None:
            return X * self.gate_
        basis, factor = self._whitening
        return X + (X @ basis) @ factor @ basis.T

    def semantic_sensitivity(self, X, y, groups=None, semantics=None):
        """Compute how much the scores change when only what is shown changes.

        Parameters
        ----------
        X, y, groups, semantics : array-like
            Images, as in `fit`.

        Returns
        -------
        float
            Mean difference of the scores of partners of similar quality, in standard deviations of the scores.

        Raises
        ------
        ValueError
            If no image has a partner, or all scores are equal.

        See Also
        --------
        patchdistill.qfm.semantic_sensitivity : The same for the scores of any model.
        """
        scores = self.predict(X)
        if semantics is None:
            semantics = StandardScaler().fit_transform(self._check_X(X))
        return semantic_sensitivity(scores, match_pairs(y, semantics, groups, tau=self.tau, k=self.k))

    def _check_X(self, X):
        check_is_fitted(self)
        return validate_data(self, X, dtype=np.float64, reset=False)

    def _check_lams(self):
        lams = np.asarray(self.lams, dtype=np.float64)
        if lams.ndim != 1 or not len(lams) or not np.isfinite(lams).all() or (lams < 0).any():
            raise ValueError(f"lams={self.lams!r} is not valid; give at least one number, each finite and at least 0.")
        return np.sort(lams)

    def _match(self, y, directions, groups, kinds):
        return {kind: nearest_partners(y, directions, groups, pairing=kind, tau=self.tau, k=self.k) for kind in kinds}

    def _cross_validate(self, X, images, lams):
        """Mean squared error of each weight, on scenes that are left out."""
        y, directions, groups = images
        n_scenes = groups.max() + 1
        if n_scenes < 3:
            raise ValueError(
                f'lam="cv" needs images of at least 3 scenes, so that partners are left when one is set aside; there '
                f"are {n_scenes}. Give lam a number."
            )
        errors = np.zeros(len(lams))
        for train, test in SceneKFold(min(_FOLDS, n_scenes)).split(groups=groups):
            mean, mean_y = X[train].mean(axis=0), y[train].mean()
            partners = self._match(y[train], directions[train], groups[train], KINDS[self.pairing])
            weights = _fit_weights(X[train] - mean, y[train] - mean_y, partners, self.alpha, lams)
            errors += ((y[test, None] - mean_y - (X[test] - mean) @ weights.T) ** 2).sum(axis=0)
        return errors / len(y)


def _fit_weights(Z, y, partners, alpha, lams):
    """Minimize |y - Zw|^2 + alpha |w|^2 + lam n (w'Pw - 2 w'c) for each lam: one row of weights each."""
    basis, Z = _row_space(Z)
    penalty, difference = _penalty(Z, partners), np.zeros(Z.shape[1])
    if "semantic" in partners:  # partners of other quality are to differ as their labels do
        difference = len(Z) * (Z.T @ (pair_laplacian(partners["semantic"]) @ y))
    gram, ridge = Z.T @ Z, alpha * np.eye(Z.shape[1])
    coefficients = [solve(gram + lam * penalty + ridge, Z.T @ y + lam * difference, assume_a="pos") for lam in lams]
    return np.array(coefficients) @ basis.T


def _row_space(Z):
    """Orthonormal basis of what the rows of Z span, (n_features, r), and Z in it; differences of rows lie in it too."""
    n, d = Z.shape
    if d <= n:
        return np.eye(d), Z
    basis, R = qr(Z.T, mode="economic")
    return basis, R.T


def _penalty(Z, partners):
    """Matrix nP with w'Pw the mean squared difference of partners, kinds of partners added up."""
    return len(Z) * sum(Z.T @ (pair_laplacian(of_kind) @ Z) for of_kind in partners.values())


def _whitening(Z, partners, lam, alpha):
    """Basis V and matrix F with (I + (lam n / alpha) S)^-1/2 = I + V F V'."""
    basis, Z = _row_space(Z)
    values, vectors = eigh(_penalty(Z, partners))
    shrink = 1 / np.sqrt(1 + lam / alpha * np.maximum(values, 0)) - 1
    return basis, (vectors * shrink) @ vectors.T


def _gate(Z, y, laplacian, lam):
    """Signal over signal and noise of each feature, 1 where neither is there."""
    signal = (Z.T @ y / len(y)) ** 2 / y.var()
    noise = lam * np.einsum("ij,ij->j", Z, laplacian @ Z)
    total = signal + noise
    return np.divide(signal, total, out=np.ones_like(total), where=total > 0)
