"""Which views of a sphere are neighbors, for models that pass messages between them."""

import numbers

import numpy as np

from patchdistill._compat import Interval, validate_parameter_constraints

# In degrees: far above the rounding of any two directions, far below what tells two views apart.
_TOLERANCE = 1e-9


def view_adjacency(lon, lat, max_angle=45.0):
    """Tell which views of one image are neighbors: those whose directions are at most an angle apart.

    Parameters
    ----------
    lon, lat : array-like of shape (n_views,)
        Directions in degrees. Any finite longitude will do, 360 degrees are a full turn; latitudes lie in [-90, 90].
    max_angle : float, default=45.0
        Largest angle between neighbors, in degrees, in (0, 180]. Directions exactly that far apart are neighbors; for
        this, 1e-9 degrees are allowed for rounding.

    Returns
    -------
    ndarray of float64, shape (n_views, n_views)
        1 where two views are neighbors and 0 elsewhere: symmetric, each view a neighbor of itself.

    Raises
    ------
    ValueError
        If `lon` and `lat` differ in length or are not 1-D, if a direction is not finite or none of the sphere, or if
        `max_angle` is out of range.

    See Also
    --------
    patchdistill.models.fixed_k.FixedK : As many views as the model has; copies of a view are neighbors.

    Examples
    --------
    >>> from patchdistill.models import view_adjacency
    >>> view_adjacency(lon=[0, 350, 180], lat=[0, 20, 0])
    array([[1., 1., 0.],
           [1., 1., 0.],
           [0., 0., 1.]])
    """
    angle = {"max_angle": max_angle}
    constraints = {"max_angle": [Interval(numbers.Real, 0, 180, closed="right")]}
    validate_parameter_constraints(constraints, angle, caller_name="view_adjacency")
    lon, lat = _check_directions(lon, lat)
    return (_angles(lon, lat) <= max_angle + _TOLERANCE).astype(np.float64)


def _check_directions(lon, lat):
    lon, lat = np.asarray(lon, dtype=np.float64), np.asarray(lat, dtype=np.float64)
    if lon.ndim != 1 or lon.shape != lat.shape:
        raise ValueError(
            f"lon and lat have shapes {lon.shape} and {lat.shape}; give two 1-D arrays, one entry of each per view."
        )
    # A comparison with NaN is false, which counts among the wrong ones.
    wrong = np.flatnonzero(~(np.isfinite(lon) & (np.abs(lat) <= 90)))
    if len(wrong):
        raise ValueError(
            f"View {wrong[0]} has lon={lon[wrong[0]]:g} and lat={lat[wrong[0]]:g}; both must be finite degrees, lat in "
            "[-90, 90]. Convert polar angles with 90 - angle."
        )
    return lon, lat


def _angles(lon, lat):
    """Angle between every two directions, in degrees.

    Twice the arctangent of the half angle's sine over its cosine, each by the haversine formula: the cosine's is that
    of the way to the antipode. Neither cancels, and so small angles are as accurate as those near 180 degrees.
    """
    lon, parallel = np.fmod(lon, 360), np.cos(np.deg2rad(lat))
    across = np.deg2rad(np.subtract.outer(lon, lon)) / 2
    along = np.deg2rad(np.subtract.outer(lat, lat)) / 2
    along_to_antipode = np.deg2rad(np.add.outer(lat, lat)) / 2
    parallels = np.multiply.outer(parallel, parallel)
    sine = np.sqrt(np.sin(along) ** 2 + parallels * np.sin(across) ** 2)
    cosine = np.sqrt(np.sin(along_to_antipode) ** 2 + parallels * np.cos(across) ** 2)
    return 2 * np.rad2deg(np.arctan2(sine, cosine))
