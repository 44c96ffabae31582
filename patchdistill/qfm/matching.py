"""Which images are partners: alike in quality and different in what they show, or the other way round."""

import numbers

import numpy as np
import scipy.sparse
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_array, check_consistent_length, column_or_1d, validate_data

from patchdistill._compat import Interval, StrOptions, _fit_context, validate_parameter_constraints
from patchdistill.evaluation.splits import check_scenes

MIN_IMAGES = 10

# Similarities that are held at a time: 32 MiB, and as much again for each of a few arrays beside them.
_BLOCK = 2**22

# Cosines that differ by less are equal: their rounding depends on how the work is cut into blocks.
_DIGITS = 10

MATCHING_CONSTRAINTS = {
    "pairing": [StrOptions({"quality", "semantic"})],
    "tau": [Interval(numbers.Real, 0, np.inf, closed="right")],
    "k": [Interval(numbers.Integral, 1, None, closed="left")],
}


def match_pairs(y, semantics, groups=None, *, pairing="quality", tau=0.25, k=3):
    """Find each image's partners, by their labels and by what they show.

    All pairs are compared, in blocks: the time grows with the square of the number of images, the memory with the
    number itself.

    Parameters
    ----------
    y : array-like of shape (n_images,)
        Quality labels.
    semantics : array-like of shape (n_images, m)
        What the images show, as vectors that are compared by their cosine; see :func:`thumbnail_descriptor`.
    groups : array-like of shape (n_images,), default=None
        Scenes. Versions of one scene are no partners. None: every image is a scene of its own.
    pairing : {"quality", "semantic"}, default="quality"
        ``"quality"``: partners differ by at most `tau` in quality and are the *least* similar in what they show.
        ``"semantic"``: the converse; they differ by more than `tau`, and are the *most* similar.
    tau : float, default=0.25
        Largest, or smallest, difference of labels, in standard deviations of `y`; above 0. ``np.inf`` leaves quality
        out of ``"quality"``, which is for experiments: see the user guide.
    k : int, default=3
        Most partners of an image.

    Returns
    -------
    ndarray of int, shape (n_images, k)
        Partners, the best first, of equals the one that comes first; -1 where there are fewer.

    Raises
    ------
    ValueError
        If labels or descriptors are not finite, labels are constant, there are fewer than 10 images, or all are of one
        group.

    See Also
    --------
    QualityMatcher : The same as an estimator.

    References
    ----------
    After "Adaptive Feature Selection for No-Reference Image Quality Assessment by Mitigating Semantic Noise
    Sensitivity", ICML 2024, arXiv:2312.06158.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.qfm import match_pairs
    >>> y = np.repeat([1.0, 2.0, 3.0, 4.0, 5.0], 2)
    >>> angle = np.array([0, 80, 10, 90, 20, 70, 30, 60, 40, 50])
    >>> shown = np.stack([np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))], axis=1)
    >>> match_pairs(y, shown, tau=0.8, k=2)[:3]
    array([[3, 1],
           [0, 2],
           [3, 1]])
    """
    validate_parameter_constraints(
        MATCHING_CONSTRAINTS, {"pairing": pairing, "tau": tau, "k": k}, caller_name="match_pairs"
    )
    return nearest_partners(*check_images(y, semantics, groups), pairing=pairing, tau=tau, k=k)


def nearest_partners(y, directions, groups, *, pairing, tau, k):
    """Find partners as :func:`match_pairs` does, among images that are checked.

    Parameters
    ----------
    y : ndarray of float64, shape (n_images,)
        Labels.
    directions : ndarray of float64, shape (n_images, m)
        Descriptors of unit length.
    groups : ndarray of int, shape (n_images,)
        Scenes.
    pairing, tau, k : str, float and int
        As there.

    Returns
    -------
    ndarray of int, shape (n_images, k)
        As there.
    """
    limit = tau * y.std() if np.isfinite(tau) else np.inf
    partners = np.full((len(y), k), -1)
    n_rows = max(1, _BLOCK // len(y))
    for start in range(0, len(y), n_rows):
        rows = slice(start, start + n_rows)
        cosine = np.round(directions[rows] @ directions.T, _DIGITS)
        similar_quality = np.abs(y[rows, None] - y) <= limit
        if pairing == "quality":
            cost, eligible = cosine, similar_quality
        else:
            cost, eligible = -cosine, ~similar_quality
        eligible &= groups[rows, None] != groups
        partners[rows] = _cheapest(np.where(eligible, cost, np.inf), k)
    return partners


def check_images(y, semantics, groups):
    """Check what images are matched by.

    Parameters
    ----------
    y, semantics, groups : array-like
        As :func:`match_pairs` takes them.

    Returns
    -------
    y : ndarray of float64, shape (n_images,)
        Labels.
    directions : ndarray of float64, shape (n_images, m)
        Descriptors of unit length, or zero.
    groups : ndarray of int, shape (n_images,)
        Scenes, numbered.

    Raises
    ------
    ValueError
        As there.
    """
    directions = check_array(semantics, dtype=np.float64, input_name="semantics")
    y, groups = check_rated(y, groups)
    check_consistent_length(y, directions)
    norms = np.linalg.norm(directions, axis=1, keepdims=True)
    return y, directions / np.where(norms > 0, norms, 1), groups


def check_rated(y, groups):
    """Check labels and groups, without what images show.

    Parameters
    ----------
    y, groups : array-like
        As :func:`match_pairs` takes them.

    Returns
    -------
    y, groups : ndarray of shape (n_images,)
        As :func:`check_images` returns them.

    Raises
    ------
    ValueError
        As there.
    """
    y = check_array(column_or_1d(y), dtype=np.float64, ensure_2d=False, input_name="y")
    groups = np.arange(len(y)) if groups is None else np.unique(check_scenes(groups), return_inverse=True)[1]
    check_consistent_length(y, groups)
    if len(y) < MIN_IMAGES:
        raise ValueError(f"There are {len(y)} images, but matching needs at least {MIN_IMAGES}; label more.")
    if y.std() <= np.finfo(float).eps * np.abs(y).max():
        raise ValueError(f"All labels are {y[0]:g}; labels that differ are needed, to tell which qualities are alike.")
    if not groups.any():
        raise ValueError(
            "All images are of one group, so that none has a partner in another one. Pass the scene of every image, or "
            "groups=None if no two images show the same scene."
        )
    return y, groups


def _cheapest(cost, k):
    """Columns of the k smallest finite entries of each row, equal ones in their order, padded with -1."""
    k_th = np.partition(cost, min(k, cost.shape[1]) - 1, axis=1)[:, min(k, cost.shape[1]) - 1]
    chosen = np.full((len(cost), k), -1)
    for i, of_image in enumerate(cost):
        some = np.flatnonzero((of_image <= k_th[i]) & np.isfinite(of_image))
        some = some[np.argsort(of_image[some], kind="stable")][:k]
        chosen[i, : len(some)] = some
    return chosen


def unmatched_rate(partners):
    """Compute the share of images without any partner.

    Parameters
    ----------
    partners : ndarray of int, shape (n_images, k)
        As :func:`match_pairs` returns them.

    Returns
    -------
    float
        In [0, 1].
    """
    return float((partners < 0).all(axis=1).mean())


def as_pairs(partners):
    """List the pairs of a table of partners.

    Parameters
    ----------
    partners : ndarray of int, shape (n_images, k)
        As :func:`match_pairs` returns them.

    Returns
    -------
    ndarray of int, shape (n_pairs, 2)
        Image and partner.
    """
    image, column = np.nonzero(partners >= 0)
    return np.stack([image, partners[image, column]], axis=1)


def pair_laplacian(partners):
    """Make the matrix L with z'L z = mean over pairs of (z_j - z_i)^2: a graph Laplacian whose edges are the pairs.

    Parameters
    ----------
    partners : ndarray of int, shape (n_images, k)
        As :func:`match_pairs` returns them.

    Returns
    -------
    sparse array of shape (n_images, n_images)
        Symmetric, positive semidefinite; zero if there is no pair.
    """
    n, pairs = len(partners), as_pairs(partners)
    edges = np.ones(len(pairs)) / max(1, len(pairs))
    directed = scipy.sparse.coo_array((edges, (pairs[:, 0], pairs[:, 1])), shape=(n, n)).tocsr()
    adjacency = directed + directed.T
    return scipy.sparse.diags_array(adjacency.sum(axis=1)).tocsr() - adjacency


class QualityMatcher(BaseEstimator):
    """Match images of similar quality that show different things, or the converse.

    Parameters
    ----------
    pairing : {"quality", "semantic"}, default="quality"
        ``"quality"``: partners differ by at most `tau` in quality and are the *least* similar in what they show.
        ``"semantic"``: the converse; they differ by more than `tau`, and are the *most* similar.
    tau : float, default=0.25
        Largest, or smallest, difference of labels, in their standard deviations; above 0, ``np.inf`` included.
    k : int, default=3
        Most partners of an image.

    Attributes
    ----------
    partners_ : ndarray of int, shape (n_images, k)
        Partners of each image, the best first; -1 where there are fewer.
    pairs_ : ndarray of int, shape (n_pairs, 2)
        The same as a list of image and partner.
    unmatched_rate_ : float
        Share of images without any partner.
    n_features_in_ : int
        Length of the descriptors.

    See Also
    --------
    match_pairs : The same as a function.
    QFMRidge : A linear model that cannot tell such partners apart.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.qfm import QualityMatcher
    >>> rng = np.random.default_rng(0)
    >>> matcher = QualityMatcher(k=1).fit(rng.normal(size=(50, 8)), rng.normal(size=50))
    >>> matcher.pairs_.shape, matcher.unmatched_rate_
    ((49, 2), 0.02)
    """

    _parameter_constraints = MATCHING_CONSTRAINTS

    def __init__(self, pairing="quality", tau=0.25, k=3):
        self.pairing = pairing
        self.tau = tau
        self.k = k

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, groups=None):
        """Find the partners.

        Parameters
        ----------
        X : array-like of shape (n_images, m)
            What the images show, as vectors that are compared by their cosine.
        y : array-like of shape (n_images,)
            Quality labels.
        groups : array-like of shape (n_images,), default=None
            Scenes; versions of one scene are no partners.

        Returns
        -------
        self
            The matcher.
        """
        X, y = validate_data(self, X, y, y_numeric=True, ensure_min_samples=MIN_IMAGES)
        self.partners_ = match_pairs(y, X, groups, pairing=self.pairing, tau=self.tau, k=self.k)
        self.pairs_ = as_pairs(self.partners_)
        self.unmatched_rate_ = unmatched_rate(self.partners_)
        return self

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags
