"""Natural-scene statistics of patches: features for image quality that need no trained weights."""

import numbers

import numpy as np
from joblib import Parallel, delayed
from sklearn.base import BaseEstimator

from patchdistill._compat import Interval
from patchdistill.bags import PatchBags
from patchdistill.embedding.nss import MIN_WINDOW, describe_windows, feature_names
from patchdistill.embedding.pools import is_pools, read_pools
from patchdistill.embedding.windows import Windows
from patchdistill.images import check_images, check_pixels, load_image
from patchdistill.sampling import StatelessBagMixin, place_patches

# Patches of a pool are described in groups of about this many pixels, so that their maps stay in the cache.
_GROUP_PIXELS = 2**18

_INTEGERS = ("ii", "iu", "ui", "uu")


def patch_statistics(image, top, left, patch_size):
    """Describe square patches of one picture by natural-scene statistics.

    Three color planes (luma and two opponent colors) at three scales (factors 1, 2 and 4) give maps of contrast [1]_
    and blocking [2]_ that are computed once for the whole picture and averaged over each patch. So a patch is
    described with its surroundings: the 7 x 7 windows and the low-pass filters at its border see the picture beyond.

    ==================================  ============================================================  ==============
    Feature (``scale1_luma_`` ...)      Formula                                                       Range, typical
    ==================================  ============================================================  ==============
    ``mscn_abs``                        mean abs(m) of the MSCN coefficients m                        0 to 1
    ``mscn_std``                        standard deviation s of m                                     0 to 1
    ``mscn_skewness``                   asinh(third central moment / (s^2 + 0.01)^1.5)                -1 to 1
    ``mscn_kurtosis``                   log of kurtosis / 3, with 0.01 added to s^2                   -1 to 2
    ``product_balance_<direction>``     mean p / (mean abs(p) + 0.01), p = m times its neighbor       -1 to 1
    ``product_abs_<direction>``         sqrt(mean abs(p)), horizontal and vertical only               0 to 1
    ``gradient_mean``                   log10(1 + mean g), g the gradient in gray levels              0 to 2
    ``gradient_variation``              log(1 + sd(g) / (1 + mean g))                                 0 to 2
    ``contrast_mean``                   log10(1 + mean c), c the local standard deviation             0 to 2
    ``contrast_variation``              log(1 + sd(c) / (1 + mean c))                                 0 to 1
    ``mean`` (scale 1)                  mean of the plane / 128                                       -1 to 1
    ``blockiness_<axis>`` (1, luma)     log ratio of first differences, strongest phase of 8 to rest  0 to 2
    ==================================  ============================================================  ==============

    Parameters
    ----------
    image : array-like of shape (height, width, 3)
        uint8 in [0, 255], or float in [0, 1].
    top, left : array-like of int, shape (n_patches,)
        Upper left pixel of each patch.
    patch_size : int
        Side of a patch in pixels, at least 16.

    Returns
    -------
    ndarray of float64, shape (n_patches, n_features)
        One row per patch, without units and of order one; the columns are named by
        :meth:`PatchStatistics.get_feature_names_out`. All are finite, on constant patches too.

    Raises
    ------
    ValueError
        If `image` is no color picture or holds NaN or values outside its range, if a patch reaches beyond it, or if
        `patch_size` is below 16.

    See Also
    --------
    PatchStatistics : The same for many pictures, or for pools of patches.

    References
    ----------
    .. [1] A. Mittal, A. K. Moorthy, A. C. Bovik, "No-Reference Image Quality Assessment in the Spatial Domain",
       IEEE Transactions on Image Processing 21(12), 2012 (MSCN coefficients and neighbor products).
    .. [2] Z. Wang, A. C. Bovik, B. L. Evans, "Blind Measurement of Blocking Artifacts in Images", ICIP 2000
       (blocking as a period of eight in first differences).

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.embedding import patch_statistics
    >>> image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    >>> patch_statistics(image, top=[0, 32], left=[0, 64], patch_size=32).shape
    (2, 131)
    """
    image = check_pixels(image, 0)
    top, left = np.atleast_1d(top), np.atleast_1d(left)
    if patch_size < MIN_WINDOW:
        raise ValueError(_too_small(patch_size))
    if top.shape != left.shape or top.ndim != 1 or not top.size or top.dtype.kind + left.dtype.kind not in _INTEGERS:
        raise ValueError(
            "top and left must be 1-D arrays of int, equally long and not empty; got shapes "
            f"{top.shape} and {left.shape} of {top.dtype} and {left.dtype}."
        )
    height, width = image.shape[:2]
    if top.min() < 0 or left.min() < 0 or max(top.max() - height, left.max() - width) + patch_size > 0:
        raise ValueError(
            f"Patches of {patch_size} x {patch_size} pixels reach beyond the picture of {height} x {width} (height x "
            f"width): top runs from {top.min()} to {top.max()}, left from {left.min()} to {left.max()}. "
            "Use grid_positions, or move them."
        )
    return describe_windows(image[None], Windows(top, left, (patch_size, patch_size), (height, width)))


class PatchStatistics(StatelessBagMixin, BaseEstimator):
    """Embed patches by natural-scene statistics; no weights, no fit, no GPU.

    What `X` is, is decided by the number of axes:

    ===============================================  ===========  ====================================================
    `X`                                              Read as      Output fields
    ===============================================  ===========  ====================================================
    list of paths                                    pictures     ``top``, ``left``, ``size``; ids: names of files
    list of (height, width, 3) arrays                pictures     ``top``, ``left``, ``size``
    (n_images, height, width, 3) array               pictures     ``top``, ``left``, ``size``
    list of (n_patches_i, height, width, 3) arrays   pools        ``pixels``
    (n_images, n_patches, height, width, 3) array    pools        ``pixels``
    PatchBags of pixels                              pools        ``pixels``, and those of the input; its ids
    ===============================================  ===========  ====================================================

    On pictures, `n_patches` patches are placed by :func:`~patchdistill.sampling.grid_positions`, and a patch is
    described with its surroundings (see :func:`patch_statistics`). In a pool every patch is a picture of its own,
    mirrored at its borders; its features are close to those on the picture it was cut from, not the same.

    Parameters
    ----------
    n_patches : int, default=180
        Patches per picture. Not used for pools.
    patch_size : int, default=64
        Side of a patch in pixels, at least 16. Not used for pools, whose patches have a size (at least 16 as well).
    n_jobs : int, default=None
        Pictures or pools worked on at the same time; None is 1 unless a :func:`joblib.parallel_config` says
        otherwise. Has no influence on the result.

    See Also
    --------
    patch_statistics : One picture, patches anywhere; lists the features.
    patchdistill.sampling.GridSampler : The same patches as pixels.

    Examples
    --------
    >>> from sklearn.datasets import load_sample_images
    >>> from patchdistill.embedding import PatchStatistics
    >>> PatchStatistics(n_patches=40).transform(load_sample_images().images)
    PatchBags(n_images=2, n_patches=40, patch_shape=(131,), fields=['left', 'patch_index', 'size', 'top'])
    """

    _parameter_constraints = {
        "n_patches": [Interval(numbers.Integral, 1, None, closed="left")],
        "patch_size": [Interval(numbers.Integral, MIN_WINDOW, None, closed="left")],
        "n_jobs": [numbers.Integral, None],
    }

    def __init__(self, n_patches=180, patch_size=64, n_jobs=None):
        self.n_patches = n_patches
        self.patch_size = patch_size
        self.n_jobs = n_jobs

    def transform(self, X):
        """Compute the features.

        Parameters
        ----------
        X : list of array or path, array, or PatchBags
            Pictures or pools of patches, see the table above. Pixels are uint8, or float in [0, 1].

        Returns
        -------
        PatchBags
            Features (n_patches_total, n_features) in float64.

        Raises
        ------
        ValueError
            If a picture cannot be read, is no color picture, holds values outside its range, or is smaller than a
            patch.
        """
        self._validate_params()
        parallel = Parallel(n_jobs=self.n_jobs)
        if is_pools(X):
            pools = read_pools(X)
            features = parallel(delayed(_describe_pool)(pool, index) for index, pool in enumerate(pools))
            return pools.with_values(np.concatenate(features), pixels=pools.values)
        items, ids = check_images(X)
        described = parallel(
            delayed(_describe_image)(item, index, self.n_patches, self.patch_size) for index, item in enumerate(items)
        )
        features, tops, lefts = zip(*described, strict=True)
        sizes = [np.full(len(top), self.patch_size) for top in tops]
        return PatchBags.from_list(features, fields={"top": tops, "left": lefts, "size": sizes}, ids=ids)

    def get_feature_names_out(self, input_features=None):
        """Names of the features.

        Parameters
        ----------
        input_features : object, default=None
            Not read: the input is pixels.

        Returns
        -------
        ndarray of str, shape (n_features,)
            Names such as ``scale1_luma_mscn_kurtosis``.
        """
        return np.array(feature_names(), dtype=object)


def _describe_image(item, index, n_patches, patch_size):
    image = load_image(item, index)
    top, left = place_patches(image, index, n_patches, patch_size)
    return patch_statistics(image, top, left, patch_size), top, left


def _describe_pool(pool, index):
    pool = check_pixels(pool, index, ndim=4)
    size = pool.shape[1:3]
    if min(size) < MIN_WINDOW:
        raise ValueError(f"Image {index}: {_too_small(min(size))}")
    windows = Windows([0], [0], size, size)
    step = max(1, _GROUP_PIXELS // (size[0] * size[1]))
    groups = range(0, len(pool), step)
    return np.concatenate([describe_windows(pool[start : start + step], windows) for start in groups])


def _too_small(size):
    return (
        f"patches of {size} pixels are too small for three scales; at least {MIN_WINDOW} pixels are needed. "
        "Use larger patches."
    )
