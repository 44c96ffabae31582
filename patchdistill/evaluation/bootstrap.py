"""How sure a figure is: intervals from scenes drawn again."""

import numbers
import warnings

import numpy as np
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.utils import check_consistent_length, check_random_state

from patchdistill._compat import Interval, validate_parameter_constraints
from patchdistill.evaluation.splits import check_scenes

_CONSTRAINTS = {
    "statistic": [callable],
    "n_resamples": [Interval(numbers.Integral, 1, None, closed="left")],
    "confidence": [Interval(numbers.Real, 0, 1, closed="neither")],
    "random_state": ["random_state"],
}


def grouped_bootstrap(statistic, y, scores, groups, *, other=None, n_resamples=1000, confidence=0.95, random_state=0):
    """Percentile interval of a figure, or of the difference of two predictions, over scenes drawn again.

    Versions of one scene are not independent of each other: whole scenes are drawn with replacement, as many as there
    are, each with all its images. With few scenes, fewer than about 20, percentile intervals are too narrow.

    Parameters
    ----------
    statistic : callable
        Figure ``statistic(y, scores)`` of one resample, such as :func:`srcc`. What it fits, it fits on each resample.
    y : array-like of shape (n_images,)
        Opinion scores.
    scores : array-like of shape (n_images,)
        Predicted scores.
    groups : array-like of shape (n_images,)
        Scene of each image.
    other : array-like of shape (n_images,), default=None
        Other predictions of the same images. The figure is that of `scores` less that of `other`, both on the same
        scenes in each resample.
    n_resamples : int, default=1000
        How many times scenes are drawn.
    confidence : float, default=0.95
        Share of the resamples inside the interval.
    random_state : int, RandomState instance or None, default=0
        Which scenes are drawn. The same int draws the same, whatever the order of images.

    Returns
    -------
    dict
        ``value`` on the images as they are, ``low``, ``high``, and ``n_undefined``, the number of resamples that the
        interval leaves out.

    Raises
    ------
    ValueError
        If lengths differ, a scene is missing or there is one scene only.

    Warns
    -----
    UndefinedMetricWarning
        Once, if the figure is NaN on some resamples (all scores drawn are equal, say). These are left out; the
        interval is NaN where none is left.
    Warning
        What `statistic` warns of, once each, with the number of times.

    See Also
    --------
    wilcoxon_over_seeds : Two models over repeated splits.

    References
    ----------
    .. [1] A. C. Davison, D. V. Hinkley, "Bootstrap Methods and their Application", Cambridge University Press, 1997.
       Section 3.8: hierarchical data.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.evaluation import grouped_bootstrap, srcc
    >>> rng = np.random.default_rng(0)
    >>> scenes = np.repeat(np.arange(30), 4)
    >>> y = rng.normal(size=120)
    >>> found = grouped_bootstrap(srcc, y, y + 0.5 * rng.normal(size=120), scenes, n_resamples=200)
    >>> found["low"] < found["value"] < found["high"]
    True
    """
    parameters = {"n_resamples": n_resamples, "confidence": confidence, "random_state": random_state}
    validate_parameter_constraints(_CONSTRAINTS, {"statistic": statistic, **parameters}, "grouped_bootstrap")
    scenes = check_scenes(groups)
    check_consistent_length(y, scores, other, scenes)
    y, scores = np.asarray(y), np.asarray(scores)
    other = None if other is None else np.asarray(other)

    def figure(images):
        value = statistic(y[images], scores[images])
        return value if other is None else value - statistic(y[images], other[images])

    value = figure(np.arange(len(y)))
    resamples = _draw(scenes, n_resamples, check_random_state(random_state))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        values = np.array([figure(images) for images in resamples], dtype=np.float64)
    undefined = np.isnan(values)
    _tell(caught, int(undefined.sum()), n_resamples)
    tails = [50 * (1 - confidence), 50 * (1 + confidence)]
    low, high = (np.nan, np.nan) if undefined.all() else np.percentile(values[~undefined], tails)
    return {"value": float(value), "low": float(low), "high": float(high), "n_undefined": int(undefined.sum())}


def _draw(scenes, n_resamples, rng):
    """Images of each resample."""
    names, of_images = np.unique(scenes, return_inverse=True)
    if len(names) < 2:
        raise ValueError(f"There is {len(names)} scene, but scenes are drawn again; pass images of at least two.")
    images = [np.flatnonzero(of_images == i) for i in range(len(names))]
    for drawn in rng.randint(len(names), size=(n_resamples, len(names))):
        yield np.concatenate([images[i] for i in drawn])


def _tell(caught, n_undefined, n_resamples):
    """Say once what happened on many resamples."""
    if n_undefined:
        warnings.warn(
            f"The statistic is NaN on {n_undefined} of {n_resamples} resamples, which the interval leaves out. Pass "
            "more scenes, or check for predictions that hardly vary.",
            UndefinedMetricWarning,
            stacklevel=3,
        )
    others = [warning for warning in caught if not issubclass(warning.category, UndefinedMetricWarning)]
    for category in dict.fromkeys(warning.category for warning in others):
        messages = [str(warning.message) for warning in others if warning.category is category]
        warnings.warn(f"{len(messages)} times on {n_resamples} resamples: {messages[0]}", category, stacklevel=3)
