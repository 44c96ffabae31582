"""Pictures in, patches out: transformers that place patches on flat pictures."""

import numbers
import warnings
from abc import abstractmethod
from contextlib import contextmanager

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from patchdistill._compat import Interval, _fit_context
from patchdistill.bags import PatchBags
from patchdistill.cutting import CutPatches, Pictures
from patchdistill.forms import BagOutputMixin
from patchdistill.images import check_images
from patchdistill.placement import cut_patches, grid_positions, random_positions


class StatelessBagMixin(BagOutputMixin, TransformerMixin, auto_wrap_output_keys=None):
    """Mixin of transformers of pictures that need no fit and give bags."""

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X=None, y=None):
        """Check the parameters; there is nothing to learn.

        Parameters
        ----------
        X, y : object, default=None
            Not read.

        Returns
        -------
        self
            The transformer.
        """
        return self

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.no_validation = True
        return tags


class PatchSampler(StatelessBagMixin, BaseEstimator):
    """Base of the transformers that place patches on pictures and leave the pixels there until they are asked for.

    A subclass has the parameters `n_patches` and `patch_size` and the methods below.
    """

    _parameter_constraints = {
        "n_patches": [Interval(numbers.Integral, 1, None, closed="left")],
        "patch_size": [Interval(numbers.Integral, 1, None, closed="left")],
    }

    @abstractmethod
    def _cutting(self):
        """How patches are cut (see :class:`patchdistill.cutting.CutPatches`), and the fields that say where."""

    @abstractmethod
    def _place(self, pictures, index, name):
        """Fields of the `n_patches` patches of picture `index`, whose id is `name`."""

    def transform(self, X):
        """Place the patches. Files are decoded when the pixels of their patches are asked for.

        Parameters
        ----------
        X : list of array-like of shape (height, width, 3), list of path, or array (n_images, height, width, 3)
            Pictures: uint8, or float in [0, 1]. Sizes may differ. Arrays are not copied: what is written into one
            afterwards shows in its patches.

        Returns
        -------
        PatchBags
            Pixels (n_patches_total, patch_size, patch_size, 3) in the dtype of the pictures, with the fields that say
            where they lie. The ids are the names of the files without ending (the paths, where two names agree), or
            ``0 .. n_images - 1`` for arrays.

        Raises
        ------
        ValueError
            If a picture cannot be read, is no color picture or is smaller than a patch.
        """
        self._validate_params()
        cut, coordinates = self._cutting()
        items, ids = check_images(X)
        ids = np.arange(len(items)) if ids is None else ids
        pictures = Pictures.open(items)
        placed = [self._place(pictures, index, name) for index, name in enumerate(ids.tolist())]
        fields = {name: np.concatenate([each[name] for each in placed]) for name in placed[0]}
        picture = np.repeat(np.arange(len(pictures)), self.n_patches)
        places = np.stack([fields[name] for name in coordinates], axis=1)
        patches = CutPatches(pictures, picture, places, cut, self.patch_size)
        return PatchBags(patches, np.arange(len(pictures) + 1) * self.n_patches, fields=fields, ids=ids)


class GridSampler(PatchSampler):
    """Cut an even grid of patches out of every picture.

    The patches have the fields ``top``, ``left`` and ``size``: their upper left pixel, and their side in pixels.

    Parameters
    ----------
    n_patches : int, default=180
        Patches per picture.
    patch_size : int, default=64
        Side of a patch in pixels.

    See Also
    --------
    grid_positions : Where the patches lie.
    RandomCropSampler : Patches at random.
    patchdistill.panorama.UniformSampler : The same for pictures of the whole sphere.
    patchdistill.embedding.PatchStatistics : Embeds pictures or patches.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.sampling import GridSampler
    >>> GridSampler(n_patches=8, patch_size=16).transform([np.zeros((64, 128, 3))])
    PatchBags(n_images=1, n_patches=8, patch_shape=(16, 16, 3), fields=['left', 'patch_index', 'size', 'top'])
    """

    def __init__(self, n_patches=180, patch_size=64):
        self.n_patches = n_patches
        self.patch_size = patch_size

    def _cutting(self):
        return cut_patches, ("top", "left")

    def _place(self, pictures, index, name):
        return _crop_fields(*place_patches(pictures[index], index, self.n_patches, self.patch_size), self.patch_size)


class RandomCropSampler(PatchSampler):
    """Cut patches out of every picture at random, all places being equally likely.

    The patches have the fields ``top``, ``left`` and ``size``: their upper left pixel, and their side in pixels. They
    may overlap, and on a small picture coincide.

    Parameters
    ----------
    n_patches : int, default=180
        Patches per picture.
    patch_size : int, default=64
        Side of a patch in pixels.
    random_state : int, RandomState instance or None, default=0
        Seed. With an int, the places on a picture depend on it and on the size of the picture alone, and are the same
        on all pictures of a size: on the distorted versions of a scene, for example.

    See Also
    --------
    random_positions : Where the patches lie.
    GridSampler : Patches on an even grid.
    patchdistill.panorama.RandomSampler : The same for pictures of the whole sphere.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.sampling import RandomCropSampler
    >>> RandomCropSampler(n_patches=8, patch_size=16).transform([np.zeros((64, 128, 3))])
    PatchBags(n_images=1, n_patches=8, patch_shape=(16, 16, 3), fields=['left', 'patch_index', 'size', 'top'])
    """

    _parameter_constraints = {**PatchSampler._parameter_constraints, "random_state": ["random_state"]}

    def __init__(self, n_patches=180, patch_size=64, random_state=0):
        self.n_patches = n_patches
        self.patch_size = patch_size
        self.random_state = random_state

    def _cutting(self):
        return cut_patches, ("top", "left")

    def _place(self, pictures, index, name):
        size = pictures[index].shape[:2]
        with naming_image(index):
            top, left = random_positions(*size, self.n_patches, self.patch_size, self.random_state)
        return _crop_fields(top, left, self.patch_size)


def _crop_fields(top, left, patch_size):
    return {"top": top, "left": left, "size": np.full(len(top), patch_size)}


@contextmanager
def naming_image(index):
    """Say in errors which picture of many they are about.

    Parameters
    ----------
    index : int
        Position of the picture among the others.

    Raises
    ------
    ValueError
        What is raised inside, beginning with the picture.
    """
    try:
        yield
    except ValueError as error:
        raise ValueError(f"Image {index}: {error}") from None


def place_patches(image, index, n_patches, patch_size):
    """Call :func:`grid_positions` for one picture of many, naming it where something is wrong.

    Parameters
    ----------
    image : ndarray, or anything with a ``shape`` (height, width, 3)
        The picture.
    index : int
        Position of the picture among the others.
    n_patches, patch_size : int
        As for :func:`grid_positions`.

    Returns
    -------
    top, left : ndarray of int, shape (n_patches,)
        Upper left pixel of each patch.

    Raises
    ------
    ValueError
        As :func:`grid_positions`.

    Warns
    -----
    UserWarning
        If there are fewer places than patches.
    """
    height, width = image.shape[:2]
    with naming_image(index):
        top, left = grid_positions(height, width, n_patches, patch_size)
    room = (height - patch_size + 1) * (width - patch_size + 1)
    if room < n_patches:
        warnings.warn(
            f"Image {index} ({height} x {width} pixels) has room for {room} different patches of {patch_size} pixels, "
            f"but {n_patches} were asked for: some are copies. If it is a patch of a pool, pass a list of pools.",
            stacklevel=2,
        )
    return top, left
