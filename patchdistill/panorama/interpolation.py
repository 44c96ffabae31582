"""Values of a panorama between its pixels."""

import numpy as np


def _linear(t):
    return 1 - t, t


def _keys(t):
    """Weights of the pixels at -1, 0, 1 and 2 for a place at `t` in [0, 1): Keys' kernel with a = -1/2."""
    return (
        ((1 - 0.5 * t) * t - 0.5) * t,
        (1.5 * t - 2.5) * t * t + 1,
        ((2 - 1.5 * t) * t + 0.5) * t,
        (0.5 * t - 0.5) * t * t,
    )


KERNELS = {"bilinear": _linear, "bicubic": _keys}


def interpolate(panorama, row, column, interpolation):
    """Interpolate a panorama; only the pixels needed are read and converted.

    Beyond the left and right border the picture goes on at the other one, beyond a pole on the opposite meridian.

    Parameters
    ----------
    panorama : ndarray of uint8, float32 or float64, shape (height, width, n_channels)
        The picture, of even width. One that is not contiguous in memory is copied.
    row, column : ndarray of float64, broadcasting to shape (...)
        Places; whole numbers are centers of pixels.
    interpolation : {"bilinear", "bicubic"}
        Kernel. "bicubic" is Keys' cubic convolution with a = -1/2 [1]_, the only one of its family that gives
        quadratic functions back exactly; it may overshoot at edges.

    Returns
    -------
    ndarray of shape (..., n_channels)
        Values in the dtype of `panorama`; uint8 is rounded, and overshoot cut to [0, 255].

    References
    ----------
    .. [1] R. G. Keys, "Cubic Convolution Interpolation for Digital Image Processing", IEEE Transactions on Acoustics,
       Speech, and Signal Processing 29(6), 1981.

    Examples
    --------
    >>> panorama = np.arange(8.0).reshape(2, 4, 1)
    >>> interpolate(panorama, np.array([0, 0.5]), np.array([1.5, 3.5]), "bilinear")
    array([[1.5],
           [3.5]])
    """
    height, width, n_channels = panorama.shape
    # Coordinates need float64 to keep their fractions; the weights of 8-bit and float32 pictures do not.
    dtype = np.result_type(panorama.dtype, np.float32)
    first_row, row_weights = _taps(row, interpolation, dtype)
    first_column, column_weights = _taps(column, interpolation, dtype)
    values = np.zeros((*np.broadcast_shapes(row.shape, column.shape), n_channels), dtype)
    pixels = panorama.reshape(height * width, n_channels)
    for i, row_weight in enumerate(row_weights):
        # A meridian and its opposite one are a circle of 2 * height pixels.
        around = (first_row + i) % (2 * height)
        beyond = around >= height
        row_start = np.where(beyond, 2 * height - 1 - around, around) * width
        column_start = first_column + np.where(beyond, width // 2, 0)
        for j, column_weight in enumerate(column_weights):
            taps = pixels.take(row_start + (column_start + j) % width, axis=0)
            values += (row_weight * column_weight)[..., None] * taps
    return np.clip(np.rint(values), 0, 255).astype(np.uint8) if panorama.dtype == np.uint8 else values


def _taps(position, interpolation, dtype):
    """First pixel that counts, and the weights of it and those that follow."""
    before = np.floor(position)
    weights = KERNELS[interpolation](position - before)
    return before.astype(np.intp) + 1 - len(weights) // 2, [weight.astype(dtype) for weight in weights]
