"""How well predicted scores agree with opinion scores, in the five figures of the field."""

import warnings

import numpy as np
from scipy.stats import kendalltau, rankdata
from sklearn.exceptions import UndefinedMetricWarning

from patchdistill.evaluation.mapping import MAPPINGS, ScoreMapping, _check_scores, _standardize, fit_mapping


def agreement(y, scores, *, mapping="logistic4", mos_std=None):
    """Compute all figures of agreement at once, as one row of a table.

    Parameters
    ----------
    y : array-like of shape (n_images,)
        Opinion scores, MOS or DMOS.
    scores : array-like of shape (n_images,)
        Predicted scores.
    mapping : {"logistic4", "logistic5", "linear"} or None, default="logistic4"
        Map from scores to opinion scores, fitted on these very images, before PLCC, RMSE and outlier ratio. None:
        scores are predictions of `y` in its unit.
    mos_std : array-like of shape (n_images,), default=None
        Standard error of each opinion score; see :func:`outlier_ratio`.

    Returns
    -------
    dict
        ``plcc``, ``srcc``, ``krcc``, ``rmse``, ``outlier_ratio`` (None without `mos_std`), and ``mapping``, the kind
        in fact used: "linear" where the one asked for could not be fitted, as :func:`fit_mapping` says.

    Raises
    ------
    ValueError
        If `y`, `scores` or `mos_std` are not finite numbers, one per image, or `mapping` is unknown.

    Warns
    -----
    UndefinedMetricWarning
        Once, if all scores or all opinion scores are equal. The three correlations are NaN then, so that a study of
        many cells can go on; scores that are all equal are mapped to the mean of `y`.
    ConvergenceWarning
        If a straight line takes the place of `mapping`.

    See Also
    --------
    grouped_bootstrap : How sure the figures are.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.evaluation import agreement
    >>> row = agreement([1.0, 2.0, 3.0, 4.0], [0.1, 0.2, 0.4, 0.3], mapping="linear")
    >>> {name: value if name == "mapping" or value is None else round(value, 3) for name, value in row.items()}
    {'plcc': 0.8, 'srcc': 0.8, 'krcc': 0.667, 'rmse': 0.671, 'outlier_ratio': None, 'mapping': 'linear'}
    """
    y, scores = _check_pair(y, scores)
    mapped, kind = _map(y, scores, mapping)
    defined = _is_defined("PLCC, SRCC and KRCC are", y, scores)
    return {
        "plcc": _pearson(y, mapped) if defined else np.nan,
        "srcc": _spearman(y, scores) if defined else np.nan,
        "krcc": _kendall(y, scores) if defined else np.nan,
        "rmse": _root_mean_square(y - mapped),
        "outlier_ratio": None if mos_std is None else _share_of_outliers(y - mapped, mos_std),
        "mapping": kind,
    }


def plcc(y, scores, mapping="logistic4"):
    """Pearson's linear correlation, after a map of the scores.

    Maps may fall as well as rise: after one, the correlation is never negative, and only :func:`srcc` shows that
    scores run against `y`.

    Parameters
    ----------
    y, scores, mapping
        As for :func:`agreement`.

    Returns
    -------
    float
        In [0, 1] after a map and in [-1, 1] without, higher is better; NaN if all scores or all opinion scores are
        equal.

    Raises
    ------
    ValueError
        As :func:`agreement`.

    Warns
    -----
    UndefinedMetricWarning, ConvergenceWarning
        As :func:`agreement`.

    References
    ----------
    .. [1] VQEG, "Final Report from the Video Quality Experts Group on the Validation of Objective Models of Video
       Quality Assessment", 2000.

    Examples
    --------
    >>> from patchdistill.evaluation import plcc
    >>> round(plcc([1, 2, 3, 4], [0.1, 0.2, 0.4, 0.3], mapping=None), 3)
    0.8
    """
    y, scores = _check_pair(y, scores)
    mapped, _ = _map(y, scores, mapping)
    return _pearson(y, mapped) if _is_defined("PLCC is", y, scores) else np.nan


def srcc(y, scores):
    """Spearman's rank correlation; ties have their mean rank.

    Parameters
    ----------
    y, scores
        As for :func:`agreement`.

    Returns
    -------
    float
        In [-1, 1], higher is better; NaN if all scores or all opinion scores are equal.

    Raises
    ------
    ValueError
        As :func:`agreement`.

    Warns
    -----
    UndefinedMetricWarning
        As :func:`agreement`.

    References
    ----------
    .. [1] C. Spearman, "The Proof and Measurement of Association between Two Things", American Journal of Psychology
       15(1), 1904.

    Examples
    --------
    >>> from patchdistill.evaluation import srcc
    >>> round(srcc([1, 2, 3, 4], [0.1, 0.2, 0.4, 0.3]), 3)
    0.8
    """
    y, scores = _check_pair(y, scores)
    return _spearman(y, scores) if _is_defined("SRCC is", y, scores) else np.nan


def krcc(y, scores):
    """Kendall's rank correlation, tau-b: pairs in the same order less those in the other, corrected for ties.

    Parameters
    ----------
    y, scores
        As for :func:`agreement`.

    Returns
    -------
    float
        In [-1, 1], higher is better; NaN if all scores or all opinion scores are equal.

    Raises
    ------
    ValueError
        As :func:`agreement`.

    Warns
    -----
    UndefinedMetricWarning
        As :func:`agreement`.

    References
    ----------
    .. [1] M. G. Kendall, "The Treatment of Ties in Ranking Problems", Biometrika 33(3), 1945.

    Examples
    --------
    >>> from patchdistill.evaluation import krcc
    >>> round(krcc([1, 2, 3, 4], [0.1, 0.2, 0.4, 0.3]), 3)  # five pairs of six are in the same order
    0.667
    """
    y, scores = _check_pair(y, scores)
    return _kendall(y, scores) if _is_defined("KRCC is", y, scores) else np.nan


def rmse(y, scores, mapping="logistic4"):
    """Root mean squared error, after a map of the scores.

    The mean is over images; coefficients of the map are not subtracted from their number.

    Parameters
    ----------
    y, scores, mapping
        As for :func:`agreement`.

    Returns
    -------
    float
        In the unit of `y`, lower is better.

    Raises
    ------
    ValueError
        As :func:`agreement`.

    Warns
    -----
    ConvergenceWarning
        As :func:`agreement`.

    Examples
    --------
    >>> from patchdistill.evaluation import rmse
    >>> rmse([1, 2, 3, 4], [2, 2, 3, 3], mapping=None) ** 2
    0.5...
    """
    y, scores = _check_pair(y, scores)
    mapped, _ = _map(y, scores, mapping)
    return _root_mean_square(y - mapped)


def outlier_ratio(y, scores, mos_std, mapping="logistic4"):
    """Share of images whose error, after a map of the scores, exceeds twice the uncertainty of their opinion score.

    The definition of VQEG takes the standard error of the opinion score: the standard deviation of its ratings over
    the square root of their number. Some papers take the standard deviation of the ratings instead, which gives far
    fewer outliers: say which one was passed.

    Parameters
    ----------
    y, scores, mapping
        As for :func:`agreement`.
    mos_std : array-like of shape (n_images,)
        Standard error of each opinion score, in the unit of `y`; not negative.

    Returns
    -------
    float
        In [0, 1], lower is better.

    Raises
    ------
    ValueError
        As :func:`agreement`, and if `mos_std` is negative.

    Warns
    -----
    ConvergenceWarning
        As :func:`agreement`.

    References
    ----------
    .. [1] VQEG, "Final Report from the Video Quality Experts Group on the Validation of Objective Models of Video
       Quality Assessment", 2000.

    Examples
    --------
    >>> from patchdistill.evaluation import outlier_ratio
    >>> outlier_ratio([1, 2, 3, 4], [2, 2, 3, 3.5], mos_std=[0.3, 0.3, 0.3, 0.3], mapping=None)
    0.25
    """
    y, scores = _check_pair(y, scores)
    mapped, _ = _map(y, scores, mapping)
    return _share_of_outliers(y - mapped, mos_std)


def _check_pair(y, scores):
    y, scores = _check_scores(y, "y"), _check_scores(scores, "scores")
    if len(y) != len(scores):
        raise ValueError(f"There are {len(scores)} scores, but {len(y)} values of y; pass one of each per image.")
    return y, scores


def _map(y, scores, mapping):
    """Scores on the scale of `y`, and the kind of the map."""
    if mapping is None:
        return scores, None
    if mapping not in MAPPINGS:
        raise ValueError(f"mapping={mapping!r} is unknown; use one of {', '.join(MAPPINGS)}, or None.")
    if _is_constant(scores):
        fitted = ScoreMapping("linear", (0.0, float(y.mean())))
    else:
        fitted = fit_mapping(scores, y, mapping)
    return fitted(scores), fitted.kind


def _is_constant(values):
    standardized, *_ = _standardize(values)
    return not standardized.any()


def _is_defined(figures, y, scores):
    """Whether correlations exist; if not, say why."""
    for name, values in (("y", y), ("scores", scores)):
        if _is_constant(values):
            warnings.warn(
                f"{figures} undefined and set to NaN: {name} is {values[0]:g} for all of the {len(values)} images. "
                "Check the model that predicted the scores, or pass images of different quality.",
                UndefinedMetricWarning,
                stacklevel=3,
            )
            return False
    return True


def _pearson(a, b):
    """Correlation; 0 if the best map of scores that vary is constant."""
    (a, *_), (b, *_) = _standardize(a), _standardize(b)
    return float(np.clip(np.mean(a * b), -1, 1))


def _spearman(y, scores):
    return _pearson(rankdata(y), rankdata(scores))


def _kendall(y, scores):
    # The method is that of the p-value, which is not looked at: "exact" may take long, "asymptotic" fails for two.
    return float(kendalltau(y, scores, method="asymptotic" if len(y) > 2 else "exact").statistic)


def _root_mean_square(errors):
    return float(np.sqrt(np.mean(errors**2)))


def _share_of_outliers(errors, mos_std):
    mos_std = _check_scores(mos_std, "mos_std")
    if len(mos_std) != len(errors) or mos_std.min() < 0:
        raise ValueError(
            f"mos_std has {len(mos_std)} values from {mos_std.min():g} to {mos_std.max():g}, but {len(errors)} are "
            "needed, one per image, and none may be negative."
        )
    return float(np.mean(np.abs(errors) > 2 * mos_std))
