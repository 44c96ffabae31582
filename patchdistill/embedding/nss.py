"""Natural-scene statistics: from the maps of a picture to one row of features per window.

Every feature is without unit and of order one by a fixed formula, nothing is fitted: contrasts are counted in decades
above one gray level, moments of MSCN coefficients (bounded by 3) are taken back to the unit of a coefficient, ratios
are logarithms or lie in [-1, 1]. A window without structure gets 0, or the values of Gaussian coefficients.
"""

from functools import cache, partial

import numpy as np

from patchdistill._threads import single_blas_thread
from patchdistill.embedding.maps import GRAY_LEVEL, color_planes, gradient_magnitude, halve, normalize_contrast
from patchdistill.embedding.windows import Windows

N_SCALES = 3

# At the coarsest scale such a window is 4 x 4: nine gradients, few enough for a mean and a spread.
MIN_WINDOW = 4 * 2 ** (N_SCALES - 1)

# MSCN coefficients of photographs have a variance of 0.02 to 0.5 in nine patches of ten (medians: 0.3 in luma, 0.14 in
# the colors). At 0.01, a local contrast of a tenth of a gray level, there is no structure left whose shape could be
# described: ratios of moments fade to their neutral values.
_FLAT = 0.01

# Half a gray level: first differences below it are rounding, whatever their ratio.
_ROUNDING = 0.5 * GRAY_LEVEL

_JPEG_PERIOD = 8

_NEIGHBORS = {
    "horizontal": (np.s_[:, :, :-1], np.s_[:, :, 1:]),
    "vertical": (np.s_[:, :-1, :], np.s_[:, 1:, :]),
    "falling": (np.s_[:, :-1, :-1], np.s_[:, 1:, 1:]),
    "rising": (np.s_[:, 1:, :-1], np.s_[:, :-1, 1:]),
}


def describe_windows(pixels, windows):
    """Features of all windows of one or more pictures.

    Parameters
    ----------
    pixels : ndarray of shape (n, height, width, 3)
        Pictures of one size: uint8, or float in [0, 1].
    windows : Windows
        The windows, the same on every picture.

    Returns
    -------
    ndarray of float64, shape (n * n_windows, n_features)
        One row per window, the windows of a picture next to each other.
    """
    # More BLAS threads cost more than they bring on products this thin, and the number of them must not matter.
    with single_blas_thread():
        return np.stack(list(_statistics(pixels, windows).values()), axis=1)


@cache
def feature_names():
    """Names of the features, in the order of the columns of :func:`describe_windows`.

    Returns
    -------
    tuple of str
        For example ``scale1_luma_mscn_kurtosis``.
    """
    side = (MIN_WINDOW, MIN_WINDOW)
    return tuple(_statistics(np.zeros((1, *side, 3), np.uint8), Windows([0], [0], side, side)))


def _statistics(pixels, windows):
    features = {}
    for color, plane in color_planes(pixels).items():
        features[f"scale1_{color}_mean"] = windows.mean(plane) / 128
        if color == "luma":
            across = np.abs(np.diff(plane, axis=2))
            features["scale1_luma_blockiness_horizontal"] = _blockiness(windows.column_profile(across))
            down = np.abs(np.diff(plane, axis=1)).swapaxes(1, 2)
            features["scale1_luma_blockiness_vertical"] = _blockiness(windows.transpose().column_profile(down))
        for scale in range(N_SCALES):
            plane = halve(plane) if scale else plane
            for name, values in _plane_statistics(plane, partial(windows.mean, factor=2**scale)).items():
                features[f"scale{scale + 1}_{color}_{name}"] = values
    return features


def _plane_statistics(plane, mean):
    mscn, sigma = normalize_contrast(plane)
    features = _shape(mscn, mean)
    for direction, (here, there) in _NEIGHBORS.items():
        product = mscn[here] * mscn[there]
        signed = mean(product)
        magnitude = mean(np.abs(product, out=product))
        features[f"product_balance_{direction}"] = signed / (magnitude + _FLAT)
        if direction in ("horizontal", "vertical"):
            # Along the diagonals the size of products adds nothing: its correlation with these two is above 0.99.
            features[f"product_abs_{direction}"] = np.sqrt(magnitude)
    return features | _level(sigma, mean, "contrast") | _level(gradient_magnitude(plane), mean, "gradient")


def _shape(mscn, mean):
    """Size and shape of the distribution of MSCN coefficients."""
    square = mscn * mscn
    first, second = mean(mscn), mean(square)
    cube, fourth = mean(square * mscn), mean(np.square(square, out=square))
    variance = np.maximum(second - first**2, 0)
    third_central = cube - 3 * first * second + 2 * first**3
    fourth_central = fourth - 4 * first * cube + 6 * first**2 * second - 3 * first**4
    return {
        "mscn_abs": mean(np.abs(mscn)),
        "mscn_std": np.sqrt(variance),
        # asinh is the identity near zero and a logarithm far away; a signed root would blow up noise around zero.
        "mscn_skewness": np.arcsinh(third_central / (variance + _FLAT) ** 1.5),
        # 3 is the kurtosis of a Gaussian: with the floors in this proportion, a flat window reads as one.
        "mscn_kurtosis": np.log((np.maximum(fourth_central, 0) + 3 * _FLAT**2) / (3 * (variance + _FLAT) ** 2)),
    }


def _level(strength, mean, name):
    """Mean of a map in gray levels, in decades above one gray level, and its coefficient of variation."""
    average = mean(strength)
    spread = np.sqrt(np.maximum(mean(np.square(strength, out=strength)) - average**2, 0))
    return {
        f"{name}_mean": np.log10(1 + average / GRAY_LEVEL),
        f"{name}_variation": np.log1p(spread / (average + GRAY_LEVEL)),
    }


def _blockiness(profile):
    """How far one of the eight phases of a profile of absolute first differences stands out.

    Only phases relative to the window are compared, so where the blocks begin does not matter. Averaging logarithms
    over the blocks lets edges of all blocks count alike, where a mean would take a single strong edge for a grid.
    """
    phase = np.arange(profile.shape[1]) % _JPEG_PERIOD
    fold = (phase[:, None] == np.arange(_JPEG_PERIOD)) / np.bincount(phase)
    strength = np.log(profile + _ROUNDING) @ fold
    strongest = strength.max(axis=1)
    return strongest - (strength.sum(axis=1) - strongest) / (_JPEG_PERIOD - 1)
