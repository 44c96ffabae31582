"""Which views of a sphere are neighbors, for models that pass messages between them."""

import numbers

import numpy as np

from patchdistill._compat import Interval, validate_parameter_constraints
from patchdistill.panorama.sphere import angular_distance, check_views

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
    lon, lat = check_views(lon, lat)
    angles = angular_distance(lon[:, None], lat[:, None], lon, lat)
    return (angles <= max_angle + _TOLERANCE).astype(np.float64)
