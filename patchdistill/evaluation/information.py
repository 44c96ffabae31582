"""How much of the information in a reference is left in a picture: VIF."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy import ndimage

from patchdistill.evaluation.full_reference import check_pair, gray

_SCALES = 4
_BLOCK = 3
_SMALLEST = 65  # leaves one block at the coarsest scale
# Variances, of squared gray levels: of the noise of the eye, and below which there is nothing but rounding.
_EYE = 0.4
_NOTHING = 1e-10

# The steerable pyramid with six orientations, order 5: one quarter of each filter, from its center outwards. Both low
# pass filters are symmetric about both axes; the band filter is antisymmetric along its own.
_FIRST_LOW = (
    (0.40304148, 0.15925570, -0.03848215),
    (0.15925570, 0.05586982, -0.01551246),
    (-0.03848215, -0.01551246, 0.00341614),
)
_LOW = (
    (0.20193080, 0.16339236, 0.07962786, 0.02005976, -0.01924124),
    (0.16339236, 0.12852666, 0.06554076, 0.00821200, -0.01888864),
    (0.07962786, 0.06554076, 0.02793492, -0.01322234, -0.00775624),
    (0.02005976, 0.00821200, -0.01322234, -0.01046566, -0.00489834),
    (-0.01924124, -0.01888864, -0.00775624, -0.00489834, 0.00170808),
)
_BAND = (
    (0.0, 0.0, 0.0, 0.0),
    (0.11732297, 0.08226445, 0.03075356, 0.01021852),
    (-0.02755155, -0.01189859, 0.00893064, 0.00986904),
    (-0.01455399, -0.01026699, -0.00496194, -0.00277643),
)


def vif(reference, image):
    """Visual information fidelity, with the settings of its authors.

    The ratio of two amounts of information: what an eye gets from the distorted picture about the source of the
    reference, and what it gets from the reference. It is computed, as by its authors, in eight bands of a steerable
    pyramid: four scales, horizontal and vertical. (The variant "in the pixel domain", often called VIF too, has other
    values.) The measure is not symmetric. Gray levels are those of MATLAB's rgb2gray, rounded.

    Parameters
    ----------
    reference, image : array-like of shape (height, width, 3)
        The picture and its distorted version, at least 65 x 65 pixels: uint8 in [0, 255], or float in [0, 1].

    Returns
    -------
    float
        At least 0; 1 for equal pictures, and more if the contrast is higher than that of the reference. 1 for a flat
        reference, in which there is nothing to lose.

    Raises
    ------
    ValueError
        As :func:`psnr`, and if a picture is too small.

    References
    ----------
    .. [1] H. R. Sheikh, A. C. Bovik, "Image Information and Visual Quality", IEEE Transactions on Image Processing
       15(2), 2006.
    .. [2] A. Karasaridis, E. Simoncelli, "A Filter Design Technique for Steerable Pyramid Image Transforms", ICASSP,
       1996. The filters, with the coefficients that its authors published ("sp5").

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.evaluation import vif
    >>> reference = np.random.default_rng(0).random((96, 96, 3))
    >>> round(vif(reference, reference), 6), round(vif(reference, reference / 2), 3)
    (1.0, 0.686)
    """
    pyramids = (_pyramid(gray(pixels)) for pixels in check_pair(reference, image, smallest=_SMALLEST))
    kept = total = 0.0
    for scale, (bands_r, bands_i) in enumerate(zip(*pyramids, strict=True)):
        window = 2 ** (_SCALES - scale) + 1  # the authors' order: 17 pixels at the finest scale, 3 at the coarsest
        for band_r, band_i in zip(bands_r, bands_i, strict=True):
            information = band_information(band_r, band_i, window)
            kept, total = kept + information[0], total + information[1]
    return float(kept / total) if total else 1.0


def band_information(reference, image, window):
    """Information that the eye gets about the source of the reference, from the image and from the reference.

    The source is a Gaussian scale mixture: blocks of 3 x 3 coefficients with one covariance, each times a scale of its
    own. The image is the reference, attenuated, with white noise, both of which vary from place to place.

    Parameters
    ----------
    reference, image : ndarray of shape (height, width)
        One band of either.
    window : int
        Side of the windows in which attenuation and noise are estimated; odd.

    Returns
    -------
    kept, total : float
        In bits. Blocks whose window reaches beyond the border do not count.

    References
    ----------
    .. [1] H. R. Sheikh, A. C. Bovik, "Image Information and Visual Quality", IEEE Transactions on Image Processing
       15(2), 2006. Eqs. 7 to 17.
    """
    height, width = (size // _BLOCK * _BLOCK for size in reference.shape)
    reference, image = reference[:height, :width], image[:height, :width]
    scales, variances = _source(reference)
    gain, noise = _channel(reference, image, window)
    border = -(-(window // 2) // _BLOCK)
    inside = slice(border, -border)
    scales, gain, noise = (values[inside, inside, None] for values in (scales, gain, noise))
    signal = scales * variances
    kept = np.log2(1 + gain**2 * signal / (noise + _EYE)).sum()
    return float(kept), float(np.log2(1 + signal / _EYE).sum())


def _source(band):
    """Scale of each block, and the variances of all of them along their principal axes."""
    shape = (_BLOCK, _BLOCK)
    windows = sliding_window_view(band, shape)
    covariance = np.cov(windows.reshape(-1, _BLOCK**2), rowvar=False, bias=True)
    variances, axes = np.linalg.eigh(covariance)
    variances, axes = variances[variances > _NOTHING], axes[:, variances > _NOTHING]
    blocks = windows[::_BLOCK, ::_BLOCK]
    blocks = blocks.reshape(*blocks.shape[:2], _BLOCK**2)
    return ((blocks @ axes) ** 2 / variances).sum(axis=2) / _BLOCK**2, variances


def _channel(reference, image, window):
    """Attenuation and variance of the noise at the center of each block, by least squares."""

    def mean(values):
        return ndimage.uniform_filter(values, window, mode="mirror")[_BLOCK // 2 :: _BLOCK, _BLOCK // 2 :: _BLOCK]

    mean_r, mean_i = mean(reference), mean(image)
    variance_r = mean(reference**2) - mean_r**2
    covariance = np.maximum(mean(reference * image) - mean_r * mean_i, 0)
    gain = np.divide(covariance, variance_r, out=np.zeros_like(covariance), where=variance_r > _NOTHING)
    return gain, np.maximum(mean(image**2) - mean_i**2 - gain * covariance, 0)


def _pyramid(plane):
    """Horizontal and vertical band of each scale, from the finest to the coarsest."""
    plane = _filter(plane, _unfold(_FIRST_LOW))
    band = _unfold(_BAND, sign=-1)
    for _ in range(_SCALES):
        yield _filter(plane, band), _filter(plane, band.T)
        plane = _filter(plane, _unfold(_LOW))[::2, ::2]


def _filter(plane, weights):
    return ndimage.correlate(plane, weights, mode="mirror")


def _unfold(quarter, sign=1):
    half = np.array(quarter)
    half = np.hstack([half[:, :0:-1], half])
    return np.vstack([sign * half[:0:-1], half])
