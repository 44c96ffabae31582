"""What two versions of a picture have in common in each cell of 8 x 8 pixels, and how they differ.

Two kinds of features: *odd* ones change their sign when the versions change places, to the last bit; *even* ones stay
as they are. A product of an odd one with even ones is odd, and so is any sum of such products without a constant: a
map that is made of them is exactly antisymmetric, and exactly zero between equal pictures.

The same code runs on NumPy arrays and on torch tensors, which then have gradients.
"""

import sys

import numpy as np

from patchdistill.relational.channels import CELL
from patchdistill.relational.color import TO_YCBCR

# Energies below that of about one gray level of 256 tell nothing.
_FLOOR = 1e-5
_GRAY_LEVEL = 1 / 255
_N_BANDS = 4
_BINOMIAL = (6 / 16, 4 / 16, 1 / 16)
_CURVATURE = (1.0, -0.5)

# Cells at the border of a tile that see, through the smoothing of this file, what lies beyond.
HALO = 16

_RESPONSES = (
    *(f"luma band {k}" for k in range(_N_BANDS)),
    *("luma coarse", "luma horizontal", "luma vertical"),
    *("luma diagonal", "blue diagonal", "red diagonal", "color", "color coarse"),
)
_STATES = (
    *("luma", "blue", "red"),
    *("luma zeros", "blue zeros", "red zeros"),
    *("flat", "edges"),
)
ODD = (*(f"{name}: {what}" for name in _RESPONSES for what in ("log ratio", "noise")), *_STATES)
EVEN = (*(f"{name}: {what}" for name in _RESPONSES for what in ("energy", "difference", "correlation")), *_STATES)


def _dct_matrix():
    """Type II, orthonormal: the transform of JPEG."""
    k, x = np.arange(CELL)[:, None], np.arange(CELL)[None, :]
    matrix = np.sqrt(2 / CELL) * np.cos(np.pi * (2 * x + 1) * k / (2 * CELL))
    matrix[0] /= np.sqrt(2)
    return matrix.astype(np.float32)


_DCT = _dct_matrix()


def pair_features(a, b):
    """Describe how two versions of a picture differ, cell by cell.

    Parameters
    ----------
    a, b : ndarray of float32 or Tensor, shape (..., 3, height, width)
        The versions, in [0, 1]; the sides are multiples of 8.

    Returns
    -------
    odd : ndarray or Tensor, shape (..., len(ODD), height / 8, width / 8)
        Features that change their sign when `a` and `b` change places.
    even : ndarray or Tensor, shape (..., len(EVEN), height / 8, width / 8)
        Features that do not change then.
    """
    xp = namespace(a)
    (responses_a, states_a), (responses_b, states_b) = _describe(a, xp), _describe(b, xp)
    n_rows = a.shape[-2] // CELL
    odd, even = [], []
    for x, y in zip(responses_a, responses_b, strict=True):
        energy_a, energy_b, difference = (_energy(response, n_rows) for response in (x, y, x - y))
        total = energy_a + energy_b
        log_a, log_b = xp.log(energy_a + _FLOOR), xp.log(energy_b + _FLOOR)
        gain = energy_a - energy_b
        # Noise in one version is all of the difference and all of the gain; what a filter gains is more, or less.
        odd += [log_a - log_b, gain / xp.sqrt(difference + _FLOOR + gain * gain / (difference + _FLOOR))]
        even += [log_a + log_b, xp.log(difference + _FLOOR), (total - difference) / (total + _FLOOR)]
    odd += [x - y for x, y in zip(states_a, states_b, strict=True)]
    even += [x + y for x, y in zip(states_a, states_b, strict=True)]
    return xp.stack(odd, -3), xp.stack(even, -3)


def binomial(x, step=1):
    """Smooth by the binomial kernel of five taps along both sides; borders are mirrored.

    Parameters
    ----------
    x : ndarray or Tensor, shape (..., height, width)
        What is smoothed.
    step : int, default=1
        Distance of the taps.

    Returns
    -------
    ndarray or Tensor
        As `x`.
    """
    return _filter(_filter(x, _BINOMIAL, step, -1), _BINOMIAL, step, -2)


def wide(x):
    """Smooth a map of cells over a neighborhood of about 20 pixels (standard deviation).

    Parameters
    ----------
    x : ndarray or Tensor, shape (..., h, w)
        A map.

    Returns
    -------
    ndarray or Tensor
        As `x`.
    """
    return binomial(binomial(x), 2)


def _describe(picture, xp):
    """Give the responses to filters and the states of the cells of one version."""
    planes = _planes(picture, xp)
    luma = planes[..., 0, :, :]
    means = cell_mean(planes)
    responses = []
    smooth = luma
    for _ in range(_N_BANDS):
        lower = binomial(smooth)
        responses.append(_one(smooth - lower))
        smooth = lower[..., ::2, ::2]
    coarse = means[..., 0, :, :]
    right, down = _step(luma, -1, xp), _step(luma, -2, xp)
    diagonal = _filter(_filter(planes, _CURVATURE, 1, -1), _CURVATURE, 1, -2)
    responses += [_one(coarse - wide(coarse)), _one(right), _one(down)]
    responses += [*(_one(plane) for plane in _unstack(diagonal)), planes[..., 1:, :, :], means[..., 1:, :, :]]
    flat = xp.exp(-((right / _GRAY_LEVEL) ** 2)) + xp.exp(-((down / _GRAY_LEVEL) ** 2))
    states = [
        *_unstack(means),
        *(binomial(zeros) for zeros in _unstack(_zero_share(planes, xp))),
        binomial(cell_mean(flat)),
        binomial(_edge_ratio(right, xp) + _transpose(_edge_ratio(_transpose(down), xp))),
    ]
    return responses, states


def cell_mean(x, side=CELL):
    """Average over squares.

    Parameters
    ----------
    x : ndarray or Tensor, shape (..., height, width)
        The sides are multiples of `side`.
    side : int, default=8
        Side of a square in pixels.

    Returns
    -------
    ndarray or Tensor, shape (..., height / side, width / side)
        Means.
    """
    *rest, height, width = x.shape
    # Rows first: sums along rows of a few numbers are slow.
    return x.reshape(*rest, height // side, side, width // side, side).sum(-3).sum(-1) / side**2


def _energy(response, n_rows):
    """Average the square, summed over the planes, in and around each cell."""
    return binomial(cell_mean((response * response).sum(-3), response.shape[-2] // n_rows))


def _zero_share(planes, xp):
    """Share of coefficients of the block transform that are zero, softly: what quantization leaves behind."""
    *rest, height, width = planes.shape
    matrix = _like(_DCT, planes)
    blocks = planes.reshape(*rest, height // CELL, CELL, width // CELL, CELL)
    blocks = xp.swapaxes(blocks, -3, -2)
    coefficients = matrix @ blocks @ _transpose(matrix)
    zero = xp.exp(-((coefficients / _GRAY_LEVEL) ** 2))
    return zero.mean((-2, -1))


def _edge_ratio(step, xp):
    """How much more neighbors differ across the right border of a cell than within it."""
    *rest, height, width = step.shape
    size = abs(step).reshape(*rest, height // CELL, CELL, width // CELL, CELL).mean(-3)
    across, inside = size[..., 7], size[..., 1:6].mean(-1)
    return xp.log(across + _GRAY_LEVEL / 2) - xp.log(inside + _GRAY_LEVEL / 2)


def _planes(picture, xp):
    matrix = _like(TO_YCBCR, picture)
    *rest, _, height, width = picture.shape
    return (matrix @ picture.reshape(*rest, 3, height * width)).reshape(*rest, 3, height, width)


def _step(x, axis, xp):
    """Difference to the next pixel; none behind the last one."""
    n = x.shape[axis]
    following = np.minimum(np.arange(1, n + 1), n - 1)
    return (x[..., following] if axis == -1 else x[..., following, :]) - x


def _filter(x, half, step, axis):
    """Filter with a symmetric kernel, given from its center on; borders are mirrored."""
    n, reach = x.shape[axis], step * (len(half) - 1)
    mirrored = np.arange(-reach, n + reach) % (2 * n)
    mirrored = np.minimum(mirrored, 2 * n - 1 - mirrored)
    padded = x[..., mirrored] if axis == -1 else x[..., mirrored, :]

    def shifted(by):
        window = slice(reach + by, reach + by + n)
        return padded[..., window] if axis == -1 else padded[..., window, :]

    result = half[0] * x
    for tap, weight in enumerate(half[1:], start=1):
        result = result + weight * (shifted(-tap * step) + shifted(tap * step))
    return result


def _one(plane):
    return plane[..., None, :, :]


def _unstack(planes):
    return [planes[..., k, :, :] for k in range(planes.shape[-3])]


def _transpose(x):
    return x.swapaxes(-1, -2)


def _like(constant, x):
    """Give a constant the type and the place of an array."""
    if isinstance(x, np.ndarray):
        return constant.astype(x.dtype)
    return sys.modules["torch"].as_tensor(constant, dtype=x.dtype, device=x.device)


def namespace(x):
    """Give the functions that belong to an array: NumPy, or torch if it is a tensor."""
    return np if isinstance(x, np.ndarray) else sys.modules["torch"]
