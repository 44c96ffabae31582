"""What an image shows, without trained weights: where it is light, and which colors it has."""

import numpy as np

from patchdistill.images import check_pixels

_SIDE = 8
_BINS = 8

# Contrast of a thumbnail, as a standard deviation, at which it counts by 1 / sqrt(2) of its full weight. Without it the
# noise of a cloudless sky would be stretched to full length: the least of 864 cosines between patches of photographs
# and their distorted versions was 0.46, and is 0.62.
_FLAT = 0.05


def thumbnail_descriptor(patches):
    """Describe what patches show, whatever their quality: small thumbnails and histograms of their colors.

    A patch is averaged over 8 x 8 equal areas, which gives 192 values less their mean, and the values of each channel
    are counted in 8 equal bins, which gives 24. Both parts are brought to length 1, so that they have equal weight, and
    the whole once more. The cosine of two descriptors is then their dot product. Blur, noise and compression hardly
    move it: details are averaged away. Thumbnails fade below a contrast of about 0.05, where noise decides their
    direction; a patch of one color is described by its histogram alone.

    It tells what is similar at a glance, not what things are. Features of a trained network tell more, where weights
    are at hand.

    Parameters
    ----------
    patches : array-like of shape (n_patches, height, width, 3)
        Patches of an image, or images of one size: uint8 in [0, 255], or float in [0, 1]. Any height and width.

    Returns
    -------
    ndarray of float64, shape (n_patches, 216)
        One row of length 1 per patch: the thumbnail, row by row with the three channels side by side, then the
        histograms of the three channels. A row depends on its patch alone.

    Raises
    ------
    ValueError
        If `patches` has another shape, type or range, or holds NaN.

    See Also
    --------
    patchdistill.embedding.PatchStatistics : Describes how good patches are.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.qfm.descriptors import thumbnail_descriptor
    >>> rng = np.random.default_rng(0)
    >>> dark, light = rng.random((2, 4, 32, 48, 3)) * [[[[[0.5]]]], [[[[1.0]]]]]
    >>> descriptors = thumbnail_descriptor(np.concatenate([dark, light]))
    >>> descriptors.shape
    (8, 216)
    >>> cosine = descriptors @ descriptors.T
    >>> bool(cosine[:4, :4].min() > cosine[:4, 4:].max())
    True
    """
    patches = check_pixels(patches, 0, ndim=4)
    down, across = (_area_average(size) for size in patches.shape[1:3])
    return np.stack([_describe(patch, down, across) for patch in patches])


def _describe(patch, down, across):
    levels = patch / 255 if patch.dtype == np.uint8 else patch.astype(np.float64)
    thumbnail = np.einsum("ir,rcz,jc->ijz", down, levels, across, optimize=["einsum_path", (0, 1), (0, 1)])
    thumbnail -= thumbnail.mean()
    thumbnail /= np.sqrt((thumbnail**2).sum() + thumbnail.size * _FLAT**2)
    bins = np.minimum((_BINS * levels).astype(int), _BINS - 1) + _BINS * np.arange(3)
    histograms = np.bincount(bins.ravel(), minlength=3 * _BINS)
    row = np.concatenate([thumbnail.ravel(), histograms / np.linalg.norm(histograms)])
    return row / np.linalg.norm(row)


def _area_average(size):
    """Shares of `size` pixels in a row in the averages over 8 equal parts of it: shape (8, size), rows sum to 1."""
    edges = np.arange(size + 1) / size
    parts = np.arange(_SIDE + 1)[:, None] / _SIDE
    overlaps = np.minimum(parts[1:], edges[1:]) - np.maximum(parts[:-1], edges[:-1])
    return _SIDE * np.clip(overlaps, 0, None)
