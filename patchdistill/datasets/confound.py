"""Rated pictures whose colors mislead about their quality, with the truth known."""

from numbers import Integral, Real

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.special import ndtr
from sklearn.utils import Bunch, check_random_state

from patchdistill._compat import Interval, validate_parameter_constraints
from patchdistill.datasets.leaves import dead_leaves

# Standard deviation of the blur in pixels, at severity 0 and at severity 1.
_BLUR = (0.3, 3.2)

# Standard deviation of the grain in gray levels, from the finest to the coarsest. Where there is none, blur is so plain
# to see that no model needs the colors: a ridge on PatchStatistics and colors then loses nothing by the reversal. With
# it, its SRCC falls from 0.87 to 0.66, while statistics of luma without contrast alone still reach 0.81.
_GRAIN = (9.0, 72.0)

_CONSTRAINTS = {
    "n_train": [Interval(Integral, 1, None, closed="left")],
    "n_test": [Interval(Integral, 1, None, closed="left")],
    "corr_train": [Interval(Real, -1, 1, closed="both")],
    "corr_test": [Interval(Real, -1, 1, closed="both")],
    "n_clusters": [Interval(Integral, 2, None, closed="left")],
    "size": [Interval(Integral, 8, None, closed="left")],
    "label_noise": [Interval(Real, 0, None, closed="left")],
    "random_state": ["random_state"],
}


def make_semantic_confound(
    n_train=200,
    n_test=200,
    *,
    corr_train=0.8,
    corr_test=-0.8,
    n_clusters=6,
    size=64,
    label_noise=3.0,
    random_state=0,
):
    """Make a training set in which what pictures show tells their quality, and a test set in which it misleads.

    The pictures are dead leaves. What they show is their palette: each cluster has its own hue, brightness and
    contrast, in an order drawn at random, the same in both sets. Their quality is their sharpness: the standard
    deviation of a Gaussian blur grows from 0.3 to 3.2 pixels with the severity, by equal factors. White grain of any
    strength, with a standard deviation of 9 to 72 gray levels, lies on top. It has no influence on the scores but makes
    blur hard to see, so that colors help a model as long as they go with the quality. The contrast of a palette moves
    many features of sharpness, as in photographs.

    For an image, u and e are independent standard normal. Its cluster is the interval of u out of `n_clusters` equally
    likely ones, its quality is q = rho u + sqrt(1 - rho^2) e, its severity 1 - Phi(q), where rho is the correlation of
    its set and Phi the normal distribution function. The rank correlation of cluster and quality is smaller than rho
    for two reasons: between u and q it is 6 / pi arcsin(rho / 2), and clusters are ties, which takes it times about
    sqrt(1 - 1 / n_clusters^2). For 0.8 and 6 clusters 0.77 are left.

    Parameters
    ----------
    n_train, n_test : int, default=200
        Images of the two sets, at least `n_clusters`. The first images are the same for every number.
    corr_train, corr_test : float, default=0.8 and -0.8
        Correlation rho between the number of the cluster and the quality, in [-1, 1]. Has no influence on what
        clusters the images of a seed have.
    n_clusters : int, default=6
        Number of palettes, at least 2.
    size : int, default=64
        Side of the images in pixels, at least 8.
    label_noise : float, default=3.0
        Standard deviation of the scores about their truth, on their scale of 0 to 100.
    random_state : int, RandomState instance or None, default=0
        Draws everything.

    Returns
    -------
    train, test : :class:`~sklearn.utils.Bunch`
        Each with

        images : ndarray of uint8, shape (n, size, size, 3)
            The images.
        y : ndarray of shape (n,)
            Scores: 100 (1 - severity) plus noise, clipped to [0, 100]. Higher is better.
        severity : ndarray of shape (n,)
            The truth about their quality, in [0, 1]; 0 is the sharpest.
        cluster : ndarray of int, shape (n,)
            What they show: the number of the palette.

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    See Also
    --------
    dead_leaves : One such picture, undistorted.

    Examples
    --------
    >>> from scipy.stats import spearmanr
    >>> train, test = make_semantic_confound(100, 60, size=16)
    >>> train.images.shape, test.y.shape
    ((100, 16, 16, 3), (60,))
    >>> [bool(spearmanr(part.cluster, part.y).statistic > 0) for part in (train, test)]
    [True, False]
    """
    parameters = {name: value for name, value in locals().items() if name in _CONSTRAINTS}
    validate_parameter_constraints(_CONSTRAINTS, parameters, caller_name="make_semantic_confound")
    if min(n_train, n_test) < n_clusters:
        raise ValueError(
            f"n_train={n_train} and n_test={n_test} must be at least n_clusters={n_clusters}. Make more images, or "
            "fewer clusters."
        )
    rng = check_random_state(random_state)
    palettes = _draw_palettes(n_clusters, rng)
    # Each set has a generator of its own, so that the size of one does not change the other.
    generators = [np.random.RandomState(seed) for seed in rng.randint(2**31 - 1, size=2)]
    return (
        _draw_set(n_train, corr_train, palettes, size, label_noise, generators[0]),
        _draw_set(n_test, corr_test, palettes, size, label_noise, generators[1]),
    )


def _draw_set(n, corr, palettes, size, label_noise, rng):
    rows = [_draw_image(corr, palettes, size, label_noise, rng) for _ in range(n)]
    names = ("images", "y", "severity", "cluster")
    return Bunch(**{name: np.array(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)})


def _draw_image(corr, palettes, size, label_noise, rng):
    u, e, error = rng.normal(size=3)
    cluster = min(int(len(palettes) * ndtr(u)), len(palettes) - 1)
    severity = ndtr(-(corr * u + np.sqrt(1 - corr**2) * e))
    y = np.clip(100 * (1 - severity) + label_noise * error, 0, 100)
    scene = dead_leaves(size, palette=palettes[cluster], random_state=rng)
    return _distort(scene, severity, rng), y, severity, cluster


def _distort(scene, severity, rng):
    blur = _between(_BLUR, severity)
    grain = rng.normal(0, _between(_GRAIN, rng.uniform()), scene.shape)
    blurred = gaussian_filter(scene.astype(np.float64), (blur, blur, 0))
    return np.clip(np.rint(blurred + grain), 0, 255).astype(np.uint8)


def _between(ends, share):
    """Go from one end to the other by equal factors."""
    low, high = ends
    return low * (high / low) ** share


def _draw_palettes(n_clusters, rng):
    """Draw six colors per cluster, shape (n_clusters, 6, 3): about one hue, from dark to light about one brightness."""
    hue = np.arange(n_clusters) / n_clusters
    brightness = np.linspace(0.35, 0.75, n_clusters)
    contrast = np.linspace(0.1, 0.3, n_clusters)
    hue, brightness, contrast = (rng.permutation(values)[:, None] for values in (hue, brightness, contrast))
    hue = hue + 0.04 * np.array([-3, 1, 3, -1, 2, -2]) / 3
    value = np.clip(brightness + contrast * np.linspace(-1, 1, 6), 0, 1)
    return value[..., None] * (0.5 + 0.5 * _pure_color(hue))


def _pure_color(hue):
    """RGB of fully saturated colors; the hue runs from 0, red, over 1 / 3, green, to 1, red again."""
    return np.clip(np.abs((6 * hue[..., None] + np.array([0, 4, 2])) % 6 - 3) - 1, 0, 1)
