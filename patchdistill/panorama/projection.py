"""Flat views of a panorama: what a camera with square pixels sees from the middle of the sphere."""

import numbers

import numpy as np
from sklearn.utils import assert_all_finite

from patchdistill._compat import Interval, StrOptions, validate_parameter_constraints
from patchdistill.panorama.interpolation import KERNELS, interpolate
from patchdistill.panorama.sphere import check_views, to_pixels, wrap_lon

_FOV = [Interval(numbers.Real, 0, 180, closed="neither")]
_SIZE = [Interval(numbers.Integral, 1, None, closed="left")]
_INTERPOLATION = [StrOptions(set(KERNELS))]
_DTYPES = (np.uint8, np.float32, np.float64)

# Front, right, back, left, up, down.
_FACE_LON = (0, 90, 180, -90, 0, 0)
_FACE_LAT = (0, 0, 0, 0, 90, -90)

# Pixels computed at a time: enough to keep NumPy's overhead small, few enough to stay in the processor's cache.
_BLOCK = 2**14


def tangent_views(panorama, lon, lat, fov=90.0, size=256, interpolation="bilinear"):
    """Render views of a panorama on planes tangent to the sphere (gnomonic projection).

    The upper edge of a view lies towards the north pole. A view at a pole is the one that the eye arrives at along
    the meridian `lon`: at the north pole that meridian runs to the middle of the lower edge, at the south pole to the
    middle of the upper edge.

    Parameters
    ----------
    panorama : array-like of shape (height, 2 * height, n_channels)
        Equirectangular picture of the whole sphere: uint8, float32 or float64, any number of channels.
    lon, lat : array-like of shape (n_views,)
        Directions of the views' middles in degrees. Longitude 0 is the middle of the picture and grows to the right,
        any finite number will do; latitudes grow upwards, in [-90, 90].
    fov : float, default=90.0
        Field of view in degrees, in (0, 180): the angle between the left and the right edge of a view, and between
        the upper and the lower one. The edges are those of the outermost pixels, not their centers.
    size : int, default=256
        Side of a view in pixels.
    interpolation : {"bilinear", "bicubic"}, default="bilinear"
        How values between pixels are found. "bicubic" (Keys, a = -1/2) keeps more detail, takes two to three times
        as long, and may overshoot at edges: uint8 values are cut to [0, 255], float values are left as they are.

    Returns
    -------
    ndarray of shape (n_views, size, size, n_channels)
        The views, in the dtype of `panorama`; uint8 values are rounded.

    Raises
    ------
    ValueError
        If `panorama` has another shape or dtype or is not finite, if a direction is not finite or none of the sphere,
        or if another parameter is out of range.

    See Also
    --------
    view_directions : Where the pixels of views lie on the sphere.
    cube_faces : The six views that cover the sphere.

    Notes
    -----
    Pictures that are not twice as wide as high are refused. They are most often not a whole sphere - two stereo
    pictures on top of each other, a cropped panorama, a flat photograph -, and their views would be wrong without
    looking so.

    The pixel of a view is a point sample. Where a view is coarser than the picture (fewer pixels per degree, which in
    the middle of a view are ``pi * size / (360 * tan(fov / 2))`` against ``width / 360``), it aliases: shrink the
    picture first, with an antialiasing filter.

    Memory beyond the result does not depend on the size of the picture, unless the picture is a slice or transposed,
    which is copied once.

    References
    ----------
    .. [1] J. P. Snyder, "Map Projections: A Working Manual", U.S. Geological Survey Professional Paper 1395, 1987,
       chapter 22.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.panorama import tangent_views
    >>> panorama = np.zeros((64, 128, 3), dtype=np.uint8)
    >>> panorama[:32] = 200
    >>> views = tangent_views(panorama, lon=[0, 90], lat=[0, 45], fov=60, size=4)
    >>> views.shape
    (2, 4, 4, 3)
    >>> views[0, :, 0, 0]
    array([200, 200,   0,   0], dtype=uint8)
    >>> int(views[1].min())
    200
    """
    parameters = {"fov": fov, "size": size, "interpolation": interpolation}
    constraints = {"fov": _FOV, "size": _SIZE, "interpolation": _INTERPOLATION}
    validate_parameter_constraints(constraints, parameters, caller_name="tangent_views")
    return _render(_check_panorama(panorama), *check_views(lon, lat), fov, size, interpolation)


def cube_faces(panorama, size=256, interpolation="bilinear"):
    """Render the six faces of a cube around the sphere.

    Parameters
    ----------
    panorama : array-like of shape (height, 2 * height, n_channels)
        Equirectangular picture of the whole sphere: uint8, float32 or float64, any number of channels.
    size : int, default=256
        Side of a face in pixels. At ``width / 4`` a face has as many pixels along its edge as the picture has for it.
    interpolation : {"bilinear", "bicubic"}, default="bilinear"
        As for :func:`tangent_views`.

    Returns
    -------
    ndarray of shape (6, size, size, n_channels)
        Front (longitude 0), right (90), back (180), left (-90), up and down, in the dtype of `panorama`. Front,
        right, back and left stand upright. The lower edge of up touches the upper edge of front, the upper edge of
        down touches the lower edge of front.

    Raises
    ------
    ValueError
        If `panorama` has another shape or dtype or is not finite, or if another parameter is out of range.

    See Also
    --------
    tangent_views : Views in any direction; what its notes say holds here too.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.panorama import cube_faces
    >>> panorama = np.zeros((64, 128, 3))
    >>> panorama[:, 64:] = 1  # the hemisphere to the right
    >>> cube_faces(panorama, size=8)[..., 0].mean(axis=(1, 2))
    array([0.5, 1. , 0.5, 0. , 0.5, 0.5])
    """
    parameters = {"size": size, "interpolation": interpolation}
    constraints = {"size": _SIZE, "interpolation": _INTERPOLATION}
    validate_parameter_constraints(constraints, parameters, caller_name="cube_faces")
    return _render(_check_panorama(panorama), _FACE_LON, _FACE_LAT, 90, size, interpolation)


def view_directions(lon, lat, fov=90.0, size=256):
    """Give the direction of every pixel of views.

    Parameters
    ----------
    lon, lat : array-like of shape (n_views,)
        Directions of the views' middles in degrees, as for :func:`tangent_views`.
    fov : float, default=90.0
        Field of view in degrees, in (0, 180), from edge to edge.
    size : int, default=256
        Side of a view in pixels.

    Returns
    -------
    lon : ndarray of float64, shape (n_views, size, size)
        Longitudes of the pixels' centers in degrees, in [-180, 180).
    lat : ndarray of float64, shape (n_views, size, size)
        Latitudes in degrees, in [-90, 90].

    Raises
    ------
    ValueError
        If a direction is not finite or none of the sphere, or `fov` or `size` is out of range.

    See Also
    --------
    tangent_views : The views themselves.

    Examples
    --------
    >>> from patchdistill.panorama import view_directions
    >>> lon, lat = view_directions(lon=[180], lat=[0], fov=90, size=2)
    >>> lon.round(2)
    array([[[ 153.43, -153.43],
            [ 153.43, -153.43]]])
    >>> lat.round(2)
    array([[[ 24.09,  24.09],
            [-24.09, -24.09]]])
    """
    constraints, parameters = {"fov": _FOV, "size": _SIZE}, {"fov": fov, "size": size}
    validate_parameter_constraints(constraints, parameters, caller_name="view_directions")
    lon, lat = check_views(lon, lat)
    offsets = _offsets(fov, size)
    lon, lat = _directions(lon[:, None, None], lat[:, None, None], offsets, -offsets[:, None])
    return wrap_lon(lon), lat


def _check_panorama(panorama):
    panorama = np.asarray(panorama)
    if panorama.ndim != 3 or not panorama.size:
        message = f"panorama has shape {panorama.shape}, but (height, width, n_channels) is expected."
        raise ValueError(message + " Add the axis with panorama[..., None]." * (panorama.ndim == 2))
    height, width = panorama.shape[:2]
    if width != 2 * height:
        raise ValueError(
            f"panorama has {height} x {width} pixels (height x width), but an equirectangular picture of the whole "
            "sphere is twice as wide as high. Split stereo pairs, pad cropped panoramas, resize squeezed ones."
        )
    if panorama.dtype not in _DTYPES:
        raise ValueError(
            f"panorama has dtype {panorama.dtype}, but uint8, float32 or float64 is expected. Convert it with astype, "
            "integers to float32."
        )
    # Of uint8 there is nothing to check, and nothing is read.
    assert_all_finite(panorama, input_name="panorama")
    return np.ascontiguousarray(panorama)


def _render(panorama, lon, lat, fov, size, interpolation):
    height, width, n_channels = panorama.shape
    views = np.empty((len(lon), size, size, n_channels), panorama.dtype)
    offsets, n_rows = _offsets(fov, size), max(1, _BLOCK // size)
    for view, view_lon, view_lat in zip(views, lon, lat, strict=True):
        for rows in (slice(top, top + n_rows) for top in range(0, size, n_rows)):
            directions = _directions(view_lon, view_lat, offsets, -offsets[rows, None])
            view[rows] = interpolate(panorama, *to_pixels(*directions, height, width), interpolation)
    return views


def _offsets(fov, size):
    """Where the centers of pixels lie on the tangent plane, from left to right; the sphere's radius is 1."""
    return np.tan(np.deg2rad(fov) / 2) * (2 * np.arange(size) + 1 - size) / size


def _directions(lon, lat, right, up):
    """Directions of points on a tangent plane, `right` of and `up` from the point at `lon` and `lat`.

    Seen along the meridian `lon`, a point is `ahead` of the axis and `above` the equator's plane. This is the inverse
    gnomonic projection [1]_ without its distance from the middle, by which the textbook formula divides.
    """
    sine, cosine = np.sin(np.deg2rad(lat)), np.cos(np.deg2rad(lat))
    ahead, above = cosine - up * sine, sine + up * cosine
    return lon + np.rad2deg(np.arctan2(right, ahead)), np.rad2deg(np.arctan2(above, np.hypot(right, ahead)))
