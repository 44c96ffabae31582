"""Paths over the sphere: where somebody who looks around in a panorama may look, one direction after the other."""

import numpy as np
from scipy.special import entr, softmax
from sklearn.utils import check_random_state

from patchdistill.images import LUMA
from patchdistill.panorama.projection import tangent_views
from patchdistill.panorama.sphere import angular_distance, wrap_lon

_STEP = 24.0  # degrees of longitude and latitude to a neighbor
_SIGMA = 0.2 * 90  # standard deviation of the latitude prior in degrees
_REVISIT_FACTOR = 0.7
_REVISIT_ANGLE = _STEP / 2
_LEAST_ENTROPY = 1e-6  # bits; where all is flat, the prior decides

# Samples across a view whose entropy is taken: more of them cost time in proportion to their square.
_VIEW_SIZE = 32


def recursive_walk(panorama, n_paths=9, n_steps=20, fov=90.0, random_state=None):
    r"""Walk over a panorama from view to view, drawn to detail and to the equator.

    A model-free stand-in for recorded or predicted scan-paths, after the recursive probability sampling of [1]_. The
    paths start on the equator at equally spaced longitudes. Every step goes to one of the eight neighbors of the
    present direction, 24 degrees away in longitude, latitude or both (beyond a pole, on the opposite meridian).
    Neighbor :math:`k` is taken with the probability

    .. math:: p_k = \frac{\exp s_k}{\sum_l \exp s_l}, \qquad
              s_k = \ln H_k - \frac{\varphi_k^2}{2 \cdot 18^2} + v_k \ln 0.7

    where :math:`H_k` is the entropy of its view in bits, :math:`\varphi_k` its latitude in
    degrees (the prior's standard deviation is 0.2 of the way to the pole), and :math:`v_k` how often the path has been
    within 12 degrees of it. Paths do not know of each other.

    Parameters
    ----------
    panorama : ndarray of shape (height, 2 * height, 3)
        The picture: uint8, or float32 or float64 in [0, 1].
    n_paths : int, default=9
        Number of paths.
    n_steps : int, default=20
        Directions of a path, the start included.
    fov : float, default=90.0
        Field of view in degrees of the views whose entropy counts.
    random_state : int, RandomState instance or None, default=None
        Seed.

    Returns
    -------
    lon, lat : ndarray of float64, shape (n_paths, n_steps)
        Directions in degrees: longitude in [-180, 180), latitude in [-90, 90].

    Notes
    -----
    The softmax is that of logarithms, so that probabilities are in proportion to entropy, latitude prior and
    :math:`0.7^v`. A softmax of the entropies themselves depends on their unit: with bits, paths hardly leave the
    equator, with shares of 8 bits, they hardly know of it.

    References
    ----------
    .. [1] T. Wu, S. Shi, H. Cai, M. Cao, J. Xiao, Y. Zheng, Y. Yang, "Assessor360: Multi-sequence Network for Blind
       Omnidirectional Image Quality Assessment", NeurIPS 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.panorama import recursive_walk
    >>> panorama = np.random.default_rng(0).random((64, 128, 3))
    >>> lon, lat = recursive_walk(panorama, n_paths=2, n_steps=4, random_state=0)
    >>> lon
    array([[-90., -66., -42., -66.],
           [ 90., 114., 138., 162.]])
    """
    rng = check_random_state(random_state)
    lon, lat = np.zeros((2, n_paths, n_steps))
    lon[:, 0] = (np.arange(n_paths) + 0.5) * (360 / n_paths) - 180
    for step in range(1, n_steps):
        next_lon, next_lat = neighbors(lon[:, step - 1], lat[:, step - 1])
        visited = lon[:, None, :step], lat[:, None, :step]
        visits = (angular_distance(next_lon[..., None], next_lat[..., None], *visited) <= _REVISIT_ANGLE).sum(axis=-1)
        views = tangent_views(panorama, next_lon.ravel(), next_lat.ravel(), fov, _VIEW_SIZE)
        p = transition_probabilities(view_entropy(views).reshape(next_lat.shape), next_lat, visits)
        # The first neighbor whose cumulative probability exceeds a uniform number; the last one's is 1.
        passed = p.cumsum(axis=1)[:, :-1] <= rng.random_sample(n_paths)[:, None]
        chosen = np.arange(n_paths), passed.sum(axis=1)
        lon[:, step], lat[:, step] = next_lon[chosen], next_lat[chosen]
    return lon, lat


def neighbors(lon, lat):
    """Give the eight neighbors of directions, 24 degrees away in longitude, latitude or both.

    Parameters
    ----------
    lon, lat : ndarray of shape (n,)
        Directions in degrees.

    Returns
    -------
    lon, lat : ndarray of shape (n, 8)
        Their neighbors; those beyond a pole lie on the opposite meridian.

    Examples
    --------
    >>> lon, lat = neighbors(np.array([170.0]), np.array([80.0]))
    >>> lon
    array([[ -34.,  -10.,   14.,  146., -166.,  146.,  170., -166.]])
    >>> lat
    array([[76., 76., 76., 80., 80., 56., 56., 56.]])
    """
    up, right = (_STEP * side.ravel()[[0, 1, 2, 3, 5, 6, 7, 8]] for side in np.mgrid[1:-2:-1, -1:2])
    lon, lat = lon[:, None] + right, lat[:, None] + up
    beyond = np.abs(lat) > 90
    return wrap_lon(lon + 180 * beyond), np.where(beyond, np.sign(lat) * 180 - lat, lat)


def view_entropy(views):
    """Measure the entropy of the luma of views.

    Parameters
    ----------
    views : ndarray of shape (n_views, height, width, 3)
        Pixels: uint8, or float in [0, 1].

    Returns
    -------
    ndarray of float64, shape (n_views,)
        Bits, from 0 to 8: the entropy of the histogram of luma (ITU-R BT.601) in 256 levels.

    Examples
    --------
    >>> import numpy as np
    >>> view_entropy(np.array([[[[0, 0, 0], [255, 255, 255]]], [[[9, 9, 9], [9, 9, 9]]]], dtype=np.uint8))
    array([1., 0.])
    """
    luma = views @ np.array(LUMA) * (1 if views.dtype == np.uint8 else 255)
    levels = np.rint(luma).astype(int).reshape(len(views), -1)
    counts = np.stack([np.bincount(view, minlength=256) for view in levels])
    return entr(counts / levels.shape[1]).sum(axis=1) / np.log(2)


def transition_probabilities(entropy, lat, visits):
    """Say how likely a path goes to each neighbor; see :func:`recursive_walk`.

    Parameters
    ----------
    entropy : ndarray of shape (n, 8)
        Entropy of the neighbors' views in bits.
    lat : ndarray of shape (n, 8)
        Their latitudes in degrees.
    visits : ndarray of int, shape (n, 8)
        How often the path has been near each.

    Returns
    -------
    ndarray of shape (n, 8)
        Probabilities; every row sums to 1.

    Examples
    --------
    >>> transition_probabilities(np.array([[7.0, 7.0, 3.5]]), np.zeros((1, 3)), np.array([[0, 1, 0]])).round(3)
    array([[0.455, 0.318, 0.227]])
    """
    detail = np.log(np.maximum(entropy, _LEAST_ENTROPY))
    return softmax(detail - 0.5 * (lat / _SIGMA) ** 2 + visits * np.log(_REVISIT_FACTOR), axis=1)
