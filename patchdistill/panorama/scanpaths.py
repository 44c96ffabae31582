"""Patches of panoramas along paths: those of a walk, or scan-paths that were recorded or predicted."""

import numbers

import numpy as np

from patchdistill._compat import Interval
from patchdistill.panorama.sampling import SphereSampler, native_fov
from patchdistill.panorama.sphere import check_directions, wrap_lon
from patchdistill.panorama.trajectories import recursive_walk


class TrajectorySampler(SphereSampler):
    """Take patches of panoramas along paths: given scan-paths, or walks drawn to detail and to the equator.

    The patches have the fields ``lon``, ``lat`` (their middle, in degrees), ``fov`` (the degrees they span; of crops,
    at the equator), ``sequence``, the path from 0, and ``step``, the place on it from 0. They are ordered path by
    path. Crops have ``top``, ``left`` and ``size`` as well; those that would reach over a pole are moved until they
    fit. Paths come back to where they have been: patches may be there more than once.

    Parameters
    ----------
    n_patches : int, default=180
        Patches per panorama.
    patch_size : int, default=64
        Side of a patch in pixels.
    view : {"erp", "tangent"}, default="erp"
        What a patch is: a crop of the equirectangular picture, or a view on the plane tangent to the sphere (see
        :func:`tangent_views`), without the stretching of crops far from the equator.
    fov : float, default=None
        Field of view of tangent views in degrees, in (0, 180). None is ``360 * patch_size / width``, as many as
        `patch_size` pixels of the picture have at the equator, which neither aliases nor magnifies there.
    interpolation : {"bilinear", "bicubic"}, default="bilinear"
        How tangent views are interpolated.
    n_paths : int, default=9
        Paths per panorama. Where `n_patches` is no multiple of it, the first paths are one step longer.
    scanpaths : array-like of shape (n_paths, n_patches / n_paths, 2), or dict of them, default=None
        Latitude and longitude in degrees of every step: one array for all panoramas, or one for each by its id, which
        is the name of the file without ending, or the index for arrays. None walks: see :func:`recursive_walk`, to
        which panoramas are decoded.
    random_state : int, RandomState instance or None, default=0
        Seed of the walks. With an int, the walks over a panorama do not depend on what else is in `X`.

    See Also
    --------
    recursive_walk : The walks.
    patchdistill.models.SequenceSelector : Selection inside every path.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.panorama import TrajectorySampler
    >>> panorama = np.random.default_rng(0).random((64, 128, 3))
    >>> bags = TrajectorySampler(n_patches=5, patch_size=16, n_paths=2).transform([panorama])
    >>> bags.field("sequence", 0), bags.field("step", 0)
    (array([0, 0, 0, 1, 1]), array([0, 1, 2, 0, 1]))
    """

    _parameter_constraints = {
        **SphereSampler._parameter_constraints,
        "n_paths": [Interval(numbers.Integral, 1, None, closed="left")],
        "scanpaths": "no_validation",  # whether they are right depends on n_paths and n_patches
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_patches=180,
        patch_size=64,
        view="erp",
        fov=None,
        interpolation="bilinear",
        n_paths=9,
        scanpaths=None,
        random_state=0,
    ):
        super().__init__(n_patches, patch_size, view, fov, interpolation)
        self.n_paths = n_paths
        self.scanpaths = scanpaths
        self.random_state = random_state

    def _place(self, pictures, index, name):
        sequence, step = self._steps()
        return {**super()._place(pictures, index, name), "sequence": sequence, "step": step}

    def _directions(self, pictures, index, name):
        lon, lat = self._walk(pictures, index) if self.scanpaths is None else self._given(name)
        steps = self._steps()
        return lon[steps], lat[steps]

    def _steps(self):
        """Path and place on it of every patch."""
        if self.n_paths > self.n_patches:
            raise ValueError(
                f"n_paths={self.n_paths} paths need as many patches at least, but n_patches={self.n_patches}. Lower "
                "n_paths, or raise n_patches."
            )
        lengths = self.n_patches // self.n_paths + (np.arange(self.n_paths) < self.n_patches % self.n_paths)
        return np.repeat(np.arange(self.n_paths), lengths), np.concatenate([np.arange(length) for length in lengths])

    def _walk(self, pictures, index):
        n_steps = -(-self.n_patches // self.n_paths)
        width = pictures[index].shape[1]
        fov = native_fov(width, self.patch_size) if self.fov is None else self.fov
        return recursive_walk(pictures.read(index), self.n_paths, n_steps, fov, self.random_state)

    def _given(self, name):
        if not isinstance(self.scanpaths, dict):
            return check_scanpaths(self.scanpaths, self.n_paths, self.n_patches)
        if name not in self.scanpaths:
            raise ValueError(
                f"scanpaths has no key {name!r}, the id of this panorama; the first keys are "
                f"{list(self.scanpaths)[:3]}. Give scan-paths for every panorama."
            )
        return check_scanpaths(self.scanpaths[name], self.n_paths, self.n_patches)


def check_scanpaths(scanpaths, n_paths, n_patches):
    """Check the scan-paths of one image.

    Parameters
    ----------
    scanpaths : array-like of shape (n_paths, n_patches / n_paths, 2)
        Latitude and longitude of every step in degrees.
    n_paths, n_patches : int
        Number of paths, and of steps of all paths together.

    Returns
    -------
    lon, lat : ndarray of float64, shape (n_paths, n_patches / n_paths)
        The same: longitudes in [-180, 180).

    Raises
    ------
    ValueError
        If there are more or fewer of them, or an entry is no direction.

    Examples
    --------
    >>> check_scanpaths([[[10, 190], [20, 200]]], n_paths=1, n_patches=2)
    (array([[-170., -160.]]), array([[10., 20.]]))
    """
    scanpaths = np.asarray(scanpaths, dtype=np.float64)
    if scanpaths.ndim != 3 or scanpaths.shape[2] != 2:
        raise ValueError(
            f"the scan-paths have shape {scanpaths.shape}, but (n_paths, n_steps, 2) is expected: latitude and "
            "longitude of every step in degrees. Pass one path as [path]."
        )
    found = len(scanpaths), scanpaths.shape[0] * scanpaths.shape[1]
    if found != (n_paths, n_patches):
        raise ValueError(
            f"the scan-paths are {found[0]} paths of {scanpaths.shape[1]} steps, but n_paths={n_paths} and "
            f"n_patches={n_patches}. Pass n_paths={found[0]} and n_patches={found[1]}, or other scan-paths."
        )
    lon, lat = check_directions(scanpaths[..., 1], scanpaths[..., 0], "Step")
    return wrap_lon(lon), lat
