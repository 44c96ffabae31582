"""Panoramas in, patches out: transformers that place patches on the sphere."""

import numbers
from abc import abstractmethod
from functools import partial

import numpy as np

from patchdistill._compat import Interval, StrOptions
from patchdistill.panorama.interpolation import KERNELS
from patchdistill.panorama.placement import (
    crop_centers,
    crop_positions,
    cut_over_seam,
    fibonacci_directions,
    latitude_positions,
    random_directions,
)
from patchdistill.panorama.projection import tangent_views
from patchdistill.placement import grid_positions
from patchdistill.sampling import PatchSampler, naming_image


class SphereSampler(PatchSampler):
    """Base of the transformers that place patches on panoramas.

    A subclass has the method below. All patches have the fields ``lon`` and ``lat``, the direction of their middle in
    degrees, and ``fov``, the degrees they span (crops: at the equator); crops have ``top``, ``left`` and ``size`` too.
    """

    _parameter_constraints = {
        **PatchSampler._parameter_constraints,
        "view": [StrOptions({"erp", "tangent"})],
        "fov": [Interval(numbers.Real, 0, 180, closed="neither"), None],
        "interpolation": [StrOptions(set(KERNELS))],
    }

    def __init__(self, n_patches=180, patch_size=64, view="erp", fov=None, interpolation="bilinear"):
        self.n_patches = n_patches
        self.patch_size = patch_size
        self.view = view
        self.fov = fov
        self.interpolation = interpolation

    @abstractmethod
    def _directions(self, pictures, index, name):
        """Directions ``lon`` and ``lat`` of the patches of picture `index`, whose id is `name`."""

    def _cutting(self):
        if self.view == "tangent":
            return partial(_cut_views, fov=self.fov, interpolation=self.interpolation), ("lon", "lat")
        if self.fov is not None or self.interpolation != "bilinear":
            raise ValueError(
                f'fov={self.fov} and interpolation={self.interpolation!r} were given, but view="erp" cuts patches out '
                'of the picture as they are. Pass view="tangent", or neither of the two.'
            )
        return cut_over_seam, ("top", "left")

    def _place(self, pictures, index, name):
        height, width, _ = pictures[index].shape
        with naming_image(index):
            _check_panorama(height, width)
            lon, lat = self._directions(pictures, index, name)
            if self.view == "tangent":
                fov = native_fov(width, self.patch_size) if self.fov is None else self.fov
                return {"lon": lon, "lat": lat, "fov": np.full(len(lon), float(fov))}
            return _crop_fields(
                *crop_positions(lon, lat, height, width, self.patch_size), height, width, self.patch_size
            )


def _check_panorama(height, width):
    if width != 2 * height:
        raise ValueError(
            f"the picture has {height} x {width} pixels (height x width), but an equirectangular picture of the whole "
            "sphere is twice as wide as high. Take GridSampler or RandomCropSampler for flat pictures; resize squeezed "
            "panoramas."
        )


def _crop_fields(top, left, height, width, patch_size):
    lon, lat = crop_centers(top, left, height, width, patch_size)
    fov, size = np.full(len(top), 360 * patch_size / width), np.full(len(top), patch_size)
    return {"lon": lon, "lat": lat, "fov": fov, "top": top, "left": left, "size": size}


def native_fov(width, patch_size):
    """Give the field of view of tangent views in which a pixel spans as much as one of the panorama at the equator.

    Parameters
    ----------
    width : int
        Width of the panorama in pixels.
    patch_size : int
        Side of a view in pixels.

    Returns
    -------
    float
        Degrees.

    Raises
    ------
    ValueError
        If these are no less than 180.

    Examples
    --------
    >>> native_fov(width=2048, patch_size=64)
    11.25
    """
    fov = 360 * patch_size / width
    if fov >= 180:
        raise ValueError(
            f"patch_size={patch_size} pixels are {fov:g} degrees at the equator of this panorama, but views have less "
            "than 180. Pass fov, or lower patch_size."
        )
    return fov


def _cut_views(image, lon, lat, patch_size, fov, interpolation):
    fov = native_fov(image.shape[1], patch_size) if fov is None else fov
    views = tangent_views(image, lon, lat, fov, patch_size, interpolation)
    # Bicubic kernels overshoot at edges, and pixels are in [0, 1].
    return views if views.dtype == np.uint8 else views.clip(0, 1)


class UniformSampler(SphereSampler):
    """Take patches of panoramas on an even grid over the equirectangular picture, which is dense at the poles.

    The patches have the fields ``lon``, ``lat`` (their middle, in degrees) and ``fov`` (the degrees they span; of
    crops, at the equator). Crops have ``top``, ``left`` and ``size`` as well.

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

    See Also
    --------
    patchdistill.sampling.grid_positions : The grid.
    LatitudeSampler, FibonacciSampler : Patches that are spread evenly over the sphere.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.panorama import UniformSampler
    >>> bags = UniformSampler(n_patches=8, patch_size=16).transform([np.zeros((64, 128, 3))])
    >>> bags.field("lat", 0)
    array([ 67.5,  67.5,  67.5,  67.5, -67.5, -67.5, -67.5, -67.5])
    """

    def _directions(self, pictures, index, name):
        size = pictures[index].shape[:2]
        top, left = grid_positions(*size, self.n_patches, self.patch_size)
        return crop_centers(top, left, *size, self.patch_size)


class LatitudeSampler(SphereSampler):
    """Take patches of panoramas in rows, as many as in proportion to the cosine of their latitude.

    The patches have the fields ``lon``, ``lat`` (their middle, in degrees) and ``fov`` (the degrees they span; of
    crops, at the equator). Crops have ``top``, ``left`` and ``size`` as well.

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

    See Also
    --------
    latitude_positions : Where the patches lie.
    FibonacciSampler : Patches that are spread evenly over the sphere, without rows.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.panorama import LatitudeSampler
    >>> bags = LatitudeSampler(n_patches=8, patch_size=16).transform([np.zeros((64, 128, 3))])
    >>> bags.field("lat", 0)
    array([ 67.5,  67.5,   0. ,   0. ,   0. ,   0. , -67.5, -67.5])
    """

    def _directions(self, pictures, index, name):
        size = pictures[index].shape[:2]
        top, left = latitude_positions(*size, self.n_patches, self.patch_size)
        return crop_centers(top, left, *size, self.patch_size)


class FibonacciSampler(SphereSampler):
    """Take patches of panoramas on a golden-angle spiral, each standing for an equal area of the sphere.

    The patches have the fields ``lon``, ``lat`` (their middle, in degrees) and ``fov`` (the degrees they span; of
    crops, at the equator). Crops have ``top``, ``left`` and ``size`` as well; those that would reach over a pole are
    moved until they fit.

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

    See Also
    --------
    fibonacci_directions : Where the patches lie.
    LatitudeSampler : Patches in rows.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.panorama import FibonacciSampler
    >>> bags = FibonacciSampler(n_patches=4, patch_size=16, view="tangent").transform([np.zeros((64, 128, 3))])
    >>> bags
    PatchBags(n_images=1, n_patches=4, patch_shape=(16, 16, 3), fields=['fov', 'lat', 'lon', 'patch_index'])
    >>> bags.field("lat", 0).round(1)
    array([ 48.6,  14.5, -14.5, -48.6])
    """

    def _directions(self, pictures, index, name):
        return fibonacci_directions(self.n_patches)


class RandomSampler(SphereSampler):
    """Take patches of panoramas in random directions, all being equally likely.

    The patches have the fields ``lon``, ``lat`` (their middle, in degrees) and ``fov`` (the degrees they span; of
    crops, at the equator). Crops have ``top``, ``left`` and ``size`` as well; those that would reach over a pole are
    moved until they fit.

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
    random_state : int, RandomState instance or None, default=0
        Seed. With an int, all panoramas are looked at in the same directions, whatever else is in `X`: the distorted
        versions of a scene, for example.

    See Also
    --------
    random_directions : Where the patches lie.
    FibonacciSampler : Patches that are spread evenly over the sphere.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.panorama import RandomSampler
    >>> bags = RandomSampler(n_patches=3, patch_size=16, view="tangent").transform([np.zeros((64, 128, 3))])
    >>> bags.field("lon", 0).round(1)
    array([17.6, 77.5, 37. ])
    """

    _parameter_constraints = {**SphereSampler._parameter_constraints, "random_state": ["random_state"]}

    def __init__(self, n_patches=180, patch_size=64, view="erp", fov=None, interpolation="bilinear", random_state=0):
        super().__init__(n_patches, patch_size, view, fov, interpolation)
        self.random_state = random_state

    def _directions(self, pictures, index, name):
        return random_directions(self.n_patches, self.random_state)
