"""Maps from predicted scores to opinion scores, after which PLCC and RMSE are taken."""

import warnings
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares
from scipy.special import expit
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array

from patchdistill.ties import rounded

# Widths of the logistic curve, in standard deviations of the scores. Narrower ones are jumps between two neighbouring
# scores, which fit the noise; wider ones are straight lines.
_NARROWEST, _WIDEST = 1 / 16, 16.0

# How many widths its center may be away from the scores: further out the curve is an exponential, wherever it is.
_BEYOND = 4.0

# Where the search may start: centers at these quantiles of the scores and these widths, among which is the published
# start, the mean and a quarter of the standard deviation.
_QUANTILES = np.linspace(0, 1, 9)
_WIDTHS = 2.0 ** np.arange(-3, 4)

# Of standardized scores: squared errors this close count as equal, and digits beyond these as rounding.
_TOLERANCE = 1e-12
_DECIMALS = 10


@dataclass(frozen=True)
class ScoreMapping:
    """Map from predicted scores to opinion scores.

    Attributes
    ----------
    kind : {"linear", "logistic4", "logistic5"}
        What was fitted, which need not be what was asked for.
    coefficients : tuple of float
        Slope and intercept, or those of :func:`logistic4` or :func:`logistic5`.
    """

    kind: str
    coefficients: tuple

    def __call__(self, scores):
        """Map scores.

        Parameters
        ----------
        scores : array-like
            Predicted scores.

        Returns
        -------
        ndarray of float64, of the same shape
            On the scale of the opinion scores.
        """
        function, _ = _KINDS[self.kind]
        return function(np.asarray(scores, dtype=np.float64), *self.coefficients)


def logistic4(x, b1, b2, b3, b4):
    r"""Logistic curve of four coefficients.

    .. math:: \frac{b_1 - b_2}{1 + \exp(-(x - b_3) / |b_4|)} + b_2

    Parameters
    ----------
    x : ndarray or float
        Predicted scores.
    b1, b2 : float
        Values far above and far below the center; the curve falls where `b1` is the smaller one.
    b3 : float
        Center, in units of `x`.
    b4 : float
        Width, in units of `x`; not 0.

    Returns
    -------
    ndarray or float
        Values between `b2` and `b1`.

    References
    ----------
    .. [1] VQEG, "Final Report from the Video Quality Experts Group on the Validation of Objective Models of Video
       Quality Assessment", 2000.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.evaluation import logistic4
    >>> logistic4(np.array([-1e6, 0.5, 1e6]), 5.0, 1.0, 0.5, 0.1)
    array([1., 3., 5.])
    """
    with np.errstate(over="ignore"):  # infinite arguments have finite values
        t = (x - b3) / np.abs(b4)
    # The same as above, without the difference of values that may be huge where the scores cover one bend only.
    return b1 * expit(t) + b2 * expit(-t)


def logistic5(x, b1, b2, b3, b4, b5):
    r"""Logistic curve of five coefficients: one of four and a straight line.

    .. math:: b_1 \left(\frac{1}{2} - \frac{1}{1 + \exp(b_2 (x - b_3))}\right) + b_4 x + b_5

    Parameters
    ----------
    x : ndarray or float
        Predicted scores.
    b1 : float
        Height of the curve.
    b2 : float
        Inverse of its width, in units of ``1 / x``.
    b3 : float
        Center, in units of `x`.
    b4, b5 : float
        Slope and intercept of the line.

    Returns
    -------
    ndarray or float
        Values; not monotonic where the line runs against the curve.

    References
    ----------
    .. [1] H. R. Sheikh, M. F. Sabir, A. C. Bovik, "A Statistical Evaluation of Recent Full Reference Image Quality
       Assessment Algorithms", IEEE Transactions on Image Processing 15(11), 2006.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.evaluation import logistic5
    >>> logistic5(np.array([-10.0, 0.5, 10.0]), 4.0, 100.0, 0.5, 0.1, 3.0)
    array([0.  , 3.05, 6.  ])
    """
    with np.errstate(over="ignore"):  # infinite arguments have finite values
        t = b2 * (x - b3)
    return b1 * (expit(t) - 0.5) + b4 * x + b5


def fit_mapping(scores, y, kind):
    """Fit a map from predicted scores to opinion scores by least squares.

    Center and width of a logistic curve are searched for from the best of a grid of starts, with those of the other
    coefficients that fit best for each (variable projection [1]_). The width is between 1/16 and 16 standard
    deviations of the scores, and the center at most four widths away from them. The scores may rise or fall with `y`.
    Another unit or offset of either side gives the same map in that unit.

    Parameters
    ----------
    scores : array-like of shape (n_images,)
        Predicted scores.
    y : array-like of shape (n_images,)
        Opinion scores, MOS or DMOS.
    kind : {"linear", "logistic4", "logistic5"}
        Straight line, :func:`logistic4` or :func:`logistic5`.

    Returns
    -------
    ScoreMapping
        The map; a straight line where no other could be fitted.

    Raises
    ------
    ValueError
        If `kind` is unknown, or `scores` and `y` are not finite numbers, one per image.

    Warns
    -----
    ConvergenceWarning
        If a straight line takes the place of `kind`: too few different scores for its coefficients, no convergence,
        or a squared error above that of the line. Also for equal scores, all of which are mapped to the mean of `y`.

    References
    ----------
    .. [1] G. H. Golub, V. Pereyra, "The Differentiation of Pseudo-Inverses and Nonlinear Least Squares Problems Whose
       Variables Separate", SIAM Journal on Numerical Analysis 10(2), 1973.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.evaluation import fit_mapping, logistic4
    >>> scores = np.linspace(0, 1, 20)
    >>> mapping = fit_mapping(scores, logistic4(scores, 5.0, 1.0, 0.4, 0.1), "logistic4")
    >>> mapping.kind, np.round(mapping.coefficients, 3)
    ('logistic4', array([5. , 1. , 0.4, 0.1]))
    >>> mapping([0.4])
    array([3.])
    """
    if kind not in MAPPINGS:
        raise ValueError(f"kind={kind!r} is unknown; use one of {', '.join(MAPPINGS)}.")
    scores, y = _check_scores(scores, "scores"), _check_scores(y, "y")
    if len(scores) != len(y):
        raise ValueError(f"There are {len(scores)} scores, but {len(y)} values of y; pass one of each per image.")
    x, *x_units = _standardize(scores)
    y, *y_units = _standardize(y)
    fitted, problem = _fit(x, y, kind)
    mapping = _in_units(fitted, *x_units, *y_units)
    if problem:
        warnings.warn(
            f"The {kind} map was not fitted, and a straight line of slope {mapping.coefficients[0]:.3g} takes its "
            f"place: {problem}.",
            ConvergenceWarning,
            stacklevel=2,
        )
    return mapping


def _check_scores(values, name):
    if np.ndim(values) != 1:
        raise ValueError(
            f"{name} has shape {np.shape(values)}, but one number per image is needed; pass a sequence or 1-D array, "
            f"np.ravel({name}) where it is a column."
        )
    return check_array(values, ensure_2d=False, dtype=np.float64, input_name=name)


def _standardize(values):
    """Values of mean 0 and deviation 1, then their mean and deviation before; 0 and 1 if they do not vary."""
    largest = np.abs(values).max() or 1.0  # so that no square overflows or vanishes
    centered = values / largest
    mean = centered.mean()
    centered -= mean
    deviation = np.sqrt(np.mean(centered**2))
    if deviation <= 64 * np.finfo(np.float64).eps:  # of equal values only rounding is left
        return np.zeros_like(values), mean * largest, 1.0
    return centered / deviation, mean * largest, deviation * largest


def _fit(x, y, kind):
    """Map between standardized scores, and what kept it from being of the kind asked for, or None."""
    line = ScoreMapping("linear", (np.mean(x * y), 0.0))
    if not x.any():
        return line, "all scores are equal; check the model that predicted them"
    if kind == "linear":
        return line, None
    _, n_coefficients = _KINDS[kind]
    n_different = len(np.unique(x))
    if n_different < n_coefficients:
        return line, (
            f"{n_different} different scores do not determine {n_coefficients} coefficients; pass more images, or "
            'kind="linear"'
        )
    try:
        curve, converged = _fit_logistic(x, y, kind)
    except np.linalg.LinAlgError as error:
        return line, f'least squares failed ({error}); look for extreme scores, or pass kind="linear"'
    if not converged:
        return line, 'least squares did not converge; look for extreme scores, or pass kind="linear"'
    if np.mean((curve(x) - y) ** 2) > np.mean((line(x) - y) ** 2) + _TOLERANCE:
        return line, 'its squared error would be larger than that of the line; pass kind="linear"'
    return curve, None


def _fit_logistic(x, y, kind):
    """Logistic map between standardized scores, and whether the search for it converged."""
    # The rounding of another unit or offset must not send the search another way.
    x, y = np.round(x, _DECIMALS), np.round(y, _DECIMALS)
    middle, half = (x.min() + x.max()) / 2, np.ptp(x) / 2

    def center_and_width(shape):  # a box of shapes, for centers that may lie further out the wider the curve is
        place, log_width = shape
        width = np.exp(log_width)
        return middle + place * (half + _BEYOND * width), width

    def linear_part(shape):
        columns = _columns(x, kind, *center_and_width(shape))
        coefficients = np.linalg.lstsq(columns, y, rcond=None)[0]
        return coefficients, columns @ coefficients - y

    def residuals(shape):
        return linear_part(shape)[1]

    starts = []
    for width in _WIDTHS:
        outside = half + _BEYOND / 2 * width
        for center in (0.0, *np.quantile(x, _QUANTILES), middle - outside, middle + outside):
            starts.append(((center - middle) / (half + _BEYOND * width), np.log(width)))
    # Nor must it choose between mirror images of one curve.
    losses = rounded(np.array([np.sum(residuals(start) ** 2) for start in starts]))
    # "dogbox" is the method that reaches solutions at a bound, such as those of scores that cover one bend only.
    search = least_squares(
        residuals,
        starts[losses.argmin()],
        jac="3-point",
        bounds=([-1.0, np.log(_NARROWEST)], [1.0, np.log(_WIDEST)]),
        method="dogbox",
        ftol=_TOLERANCE,
        xtol=_TOLERANCE,
        gtol=_TOLERANCE,
    )
    coefficients, _ = linear_part(search.x)
    center, width = center_and_width(search.x)
    if kind == "logistic4":
        return ScoreMapping(kind, (*coefficients, center, width)), search.success
    height, slope, intercept = coefficients
    return ScoreMapping(kind, (height, 1 / width, center, slope, intercept)), search.success


def _columns(x, kind, center, width):
    """Give what a logistic map multiplies by the coefficients that it is linear in."""
    t = (x - center) / width
    if kind == "logistic4":
        return np.column_stack([expit(t), expit(-t)])
    return np.column_stack([expit(t) - 0.5, x, np.ones_like(x)])


def _in_units(mapping, x_mean, x_deviation, y_mean, y_deviation):
    """Map between the scores that a map between standardized ones stands for."""
    b = mapping.coefficients
    slope = y_deviation / x_deviation
    if mapping.kind == "linear":
        b = (slope * b[0], y_mean - slope * b[0] * x_mean)
    elif mapping.kind == "logistic4":
        b = (y_mean + y_deviation * b[0], y_mean + y_deviation * b[1], x_mean + x_deviation * b[2], x_deviation * b[3])
    else:
        line = (slope * b[3], y_mean + y_deviation * b[4] - slope * b[3] * x_mean)
        b = (y_deviation * b[0], b[1] / x_deviation, x_mean + x_deviation * b[2], *line)
    return ScoreMapping(mapping.kind, tuple(map(float, b)))


def _line(x, slope, intercept):
    return slope * x + intercept


# For each kind its function and the number of its coefficients.
_KINDS = {"linear": (_line, 2), "logistic4": (logistic4, 4), "logistic5": (logistic5, 5)}
MAPPINGS = tuple(_KINDS)
