"""Directions on the sphere, and where they lie in an equirectangular picture.

Directions are in degrees: longitude 0 is the middle of the picture and grows to the right, latitude 0 is the equator
and grows upwards. Rows and columns count pixel centers: pixel (0, 0) spans half a pixel around (0.0, 0.0).
"""

import numbers

import numpy as np

from patchdistill._compat import Interval, validate_parameter_constraints

_SIZE = [Interval(numbers.Integral, 1, None, closed="left")]


def check_directions(lon, lat, name="Direction"):
    """Check that longitudes and latitudes are directions.

    Parameters
    ----------
    lon, lat : array-like
        Degrees. Any finite longitude will do; latitudes lie in [-90, 90]. The shapes broadcast.
    name : str, default="Direction"
        What a direction is called in the error message.

    Returns
    -------
    lon, lat : ndarray of float64
        The same, each in its own shape.

    Raises
    ------
    ValueError
        If an entry is not finite, or a latitude out of range.
    """
    lon, lat = np.asarray(lon, dtype=np.float64), np.asarray(lat, dtype=np.float64)
    # A comparison with NaN is false, which counts among the wrong ones.
    right = np.isfinite(lon) & (np.abs(lat) <= 90)
    if not right.all():
        index = tuple(np.argwhere(~right)[0].tolist())
        at = ", ".join(map(str, index))
        wrong_lon, wrong_lat = (np.broadcast_to(angle, right.shape)[index] for angle in (lon, lat))
        raise ValueError(
            f"{name}{' ' * bool(at)}{at} has lon={wrong_lon:g} and lat={wrong_lat:g}; both must be finite degrees, lat "
            "in [-90, 90]. Convert polar angles with 90 - angle."
        )
    return lon, lat


def check_views(lon, lat):
    """Check the directions of views.

    Parameters
    ----------
    lon, lat : array-like of shape (n_views,)
        Degrees.

    Returns
    -------
    lon, lat : ndarray of float64, shape (n_views,)
        The same.

    Raises
    ------
    ValueError
        If they differ in length or are not 1-D, if an entry is not finite, or a latitude out of range.
    """
    shapes = np.shape(lon), np.shape(lat)
    if len(shapes[0]) != 1 or shapes[0] != shapes[1]:
        raise ValueError(
            f"lon and lat have shapes {shapes[0]} and {shapes[1]}; give two 1-D arrays, one entry of each per view."
        )
    return check_directions(lon, lat, "View")


def wrap_lon(lon):
    """Bring longitudes to [-180, 180), without rounding.

    Parameters
    ----------
    lon : ndarray of float or float
        Finite degrees.

    Returns
    -------
    ndarray of float or float
        The same meridians.

    Examples
    --------
    >>> wrap_lon(np.array([180.0, 190.0, -540.0, 45.0]))
    array([-180., -170., -180.,   45.])
    """
    lon = np.fmod(lon, 360)
    return lon - 360 * (lon >= 180) + 360 * (lon < -180)


def to_vectors(lon, lat):
    """Turn directions into unit vectors.

    Parameters
    ----------
    lon, lat : array-like
        Degrees. Any finite longitude will do, 360 degrees are a full turn; latitudes lie in [-90, 90]. The shapes
        broadcast.

    Returns
    -------
    ndarray of float64, shape (..., 3)
        x points to longitude 0 on the equator, y to longitude 90 on the equator, z to the north pole.

    Raises
    ------
    ValueError
        If an entry is not finite, or a latitude out of range.

    See Also
    --------
    to_degrees : The way back.

    Examples
    --------
    >>> to_vectors(lon=[0, 90, 0], lat=[0, 0, 90]).round(12)
    array([[1., 0., 0.],
           [0., 1., 0.],
           [0., 0., 1.]])
    """
    lon, lat = check_directions(lon, lat)
    lon, lat = np.deg2rad(np.fmod(lon, 360)), np.deg2rad(lat)
    x, y = np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon)
    return np.stack([x, y, np.broadcast_to(np.sin(lat), x.shape)], axis=-1)


def to_degrees(vectors):
    """Turn vectors into directions.

    Parameters
    ----------
    vectors : array-like of shape (..., 3)
        x, y and z as in :func:`to_vectors`; of any length but zero.

    Returns
    -------
    lon : ndarray of float64, shape (...)
        Degrees in [-180, 180); at the poles, where every longitude is right, whatever x and y give.
    lat : ndarray of float64, shape (...)
        Degrees in [-90, 90].

    Raises
    ------
    ValueError
        If the last axis has not three entries, or a vector is zero or not finite.

    See Also
    --------
    to_vectors : The way back.

    Examples
    --------
    >>> lon, lat = to_degrees([[1, 0, 0], [0, -2, 0], [0, 0, 1]])
    >>> lon
    array([  0., -90.,   0.])
    >>> lat
    array([ 0.,  0., 90.])
    """
    vectors = np.asarray(vectors, dtype=np.float64)
    if vectors.ndim == 0 or vectors.shape[-1] != 3:
        raise ValueError(f"vectors have shape {vectors.shape}; their last axis must hold x, y and z.")
    wrong = ~np.isfinite(vectors).all(axis=-1) | ~vectors.any(axis=-1)
    if wrong.any():
        raise ValueError(f"{vectors[wrong][0]} is no direction; vectors must be finite and longer than zero.")
    x, y, z = np.moveaxis(vectors, -1, 0)
    return wrap_lon(np.rad2deg(np.arctan2(y, x))), np.rad2deg(np.arctan2(z, np.hypot(x, y)))


def to_pixels(lon, lat, height, width):
    """Find directions in an equirectangular picture.

    Parameters
    ----------
    lon, lat : array-like
        Degrees. Any finite longitude will do, 360 degrees are a full turn; latitudes lie in [-90, 90].
    height, width : int
        Size of the picture in pixels.

    Returns
    -------
    row : ndarray of float64
        From -0.5, the north pole, to ``height - 0.5``, the south pole; whole numbers are centers of pixels. Of the
        shape of `lat`.
    column : ndarray of float64
        In [-0.5, width - 0.5); both ends are the seam, the meridian opposite the middle. Of the shape of `lon`.

    Raises
    ------
    ValueError
        If an angle is not finite or a latitude out of range, or the size is below one pixel.

    See Also
    --------
    to_sphere : The way back.

    Examples
    --------
    >>> to_pixels(lon=[0, -180], lat=[0, 90], height=100, width=200)
    (array([49.5, -0.5]), array([99.5, -0.5]))
    """
    _check_size(height, width, "to_pixels")
    lon, lat = check_directions(lon, lat)
    # Division before multiplication, so that no rounding leads beyond a pole.
    row, column = (90 - lat) / 180 * height - 0.5, (wrap_lon(lon) + 180) / 360 * width - 0.5
    # A longitude just below 180 may be rounded to the right border, which is the left one.
    return row, column - width * (column >= width - 0.5)


def to_sphere(row, column, height, width):
    """Find the directions of places in an equirectangular picture.

    Parameters
    ----------
    row : array-like
        In [-0.5, height - 0.5]; whole numbers are centers of pixels.
    column : array-like
        Any finite number: columns go round.
    height, width : int
        Size of the picture in pixels.

    Returns
    -------
    lon : ndarray of float64
        Degrees in [-180, 180), of the shape of `column`.
    lat : ndarray of float64
        Degrees in [-90, 90], of the shape of `row`.

    Raises
    ------
    ValueError
        If a row lies beyond a pole, a column is not finite, or the size is below one pixel.

    See Also
    --------
    to_pixels : The way back.

    Examples
    --------
    >>> to_sphere(row=[0, 49.5], column=[0, 99.5], height=100, width=200)
    (array([-179.1,    0. ]), array([89.1,  0. ]))
    """
    _check_size(height, width, "to_sphere")
    row, column = np.asarray(row, dtype=np.float64), np.asarray(column, dtype=np.float64)
    if not (np.abs(row + 0.5 - height / 2) <= height / 2).all():
        raise ValueError(
            f"Rows from {row.min():g} to {row.max():g} do not lie in [-0.5, {height - 0.5:g}], between the poles."
        )
    if not np.isfinite(column).all():
        raise ValueError("column holds NaN or infinity; give finite numbers.")
    return wrap_lon((column + 0.5) / width * 360 - 180), 90 - (row + 0.5) / height * 180


def _check_size(height, width, caller):
    size = {"height": height, "width": width}
    validate_parameter_constraints(dict.fromkeys(size, _SIZE), size, caller_name=caller)


def solid_angles(height, width):
    r"""Give the share of the sphere that a pixel of each row shows.

    Between two meridians and two parallels, a pixel at latitude :math:`\varphi` spans exactly

    .. math:: \frac{2 \pi}{\text{width}} \left[ \sin\Bigl(\varphi + \frac{\pi}{2\,\text{height}}\Bigr)
              - \sin\Bigl(\varphi - \frac{\pi}{2\,\text{height}}\Bigr) \right]
              = \frac{4 \pi}{\text{width}} \sin\frac{\pi}{2\,\text{height}} \cos\varphi

    steradians. Weights by the cosine of the latitude, as in WS-PSNR [1]_, are the same up to a factor.

    Parameters
    ----------
    height, width : int
        Size of the equirectangular picture in pixels.

    Returns
    -------
    ndarray of float64, shape (height,)
        Steradians; ``width`` times their sum is :math:`4 \pi`.

    Raises
    ------
    ValueError
        If the size is below one pixel.

    References
    ----------
    .. [1] Y. Sun, A. Lu, L. Yu, "Weighted-to-Spherically-Uniform Quality Evaluation for Omnidirectional Video", IEEE
       Signal Processing Letters 24(9), 2017.

    Examples
    --------
    >>> (solid_angles(4, 8) / np.pi).round(3)
    array([0.073, 0.177, 0.177, 0.073])
    """
    _check_size(height, width, "solid_angles")
    _, lat = to_sphere(np.arange(height), 0, height, width)
    return 4 * np.pi / width * np.sin(np.pi / (2 * height)) * np.cos(np.deg2rad(lat))


def angular_distance(lon1, lat1, lon2, lat2):
    """Measure the angle between directions.

    Parameters
    ----------
    lon1, lat1, lon2, lat2 : array-like
        Degrees. Any finite longitude will do, 360 degrees are a full turn; latitudes lie in [-90, 90]. The shapes
        broadcast.

    Returns
    -------
    ndarray of float64
        Degrees in [0, 180].

    Raises
    ------
    ValueError
        If an entry is not finite, or a latitude out of range.

    Notes
    -----
    Twice the arctangent of the half angle's sine over its cosine, each by the haversine formula: the cosine's is that
    of the way to the antipode. Neither cancels, and so small angles are as accurate as those near 180 degrees.

    Examples
    --------
    >>> angular_distance(0, 0, [0, 90, 180], [45, 60, 0])
    array([ 45.,  90., 180.])
    >>> lon, lat = np.array([0, 170, -170]), np.zeros(3)
    >>> angular_distance(lon[:, None], lat[:, None], lon, lat)
    array([[  0., 170., 170.],
           [170.,   0.,  20.],
           [170.,  20.,   0.]])
    """
    lon1, lat1 = check_directions(lon1, lat1)
    lon2, lat2 = check_directions(lon2, lat2)
    across = np.deg2rad(np.fmod(lon1, 360) - np.fmod(lon2, 360)) / 2
    along, along_to_antipode = np.deg2rad(lat1 - lat2) / 2, np.deg2rad(lat1 + lat2) / 2
    parallels = np.cos(np.deg2rad(lat1)) * np.cos(np.deg2rad(lat2))
    sine = np.sqrt(np.sin(along) ** 2 + parallels * np.sin(across) ** 2)
    cosine = np.sqrt(np.sin(along_to_antipode) ** 2 + parallels * np.cos(across) ** 2)
    return 2 * np.rad2deg(np.arctan2(sine, cosine))
