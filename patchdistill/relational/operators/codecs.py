"""Encoders: what compression leaves of a picture."""

import numpy as np
from scipy import fft

from patchdistill.codecs import through_file, to_8_bits
from patchdistill.relational.channels import CELL
from patchdistill.relational.color import from_ycbcr, to_ycbcr
from patchdistill.relational.operators.filters import interpolate

_FREQUENCY = np.add.outer(np.arange(CELL), np.arange(CELL))
_HIGHEST_RATIO = 200.0


def dct_quantization(image, strength, rng=None, geometry="flat"):
    """Round the coefficients of blocks of 8 x 8 pixels, as JPEG does.

    Parameters
    ----------
    image : ndarray of float32, shape (height, width, 3)
        In [0, 1].
    strength : float or ndarray of shape (height, width)
        From 0 on; coefficient (i, j) of luma and color differences is rounded to multiples of
        strength (32 + 24 (i + j)) / 255, with the mean strength of the block. The steps of a strength of 1 are
        those of JPEG at a quality of about 25.
    rng : None
        Nothing is drawn.
    geometry : str, default="flat"
        Not used: encoders do not know of the seam.

    Returns
    -------
    ndarray of float32, shape (height, width, 3)
        Not clipped.
    """
    height, width = image.shape[:2]
    planes = to_ycbcr(_whole_blocks(image))
    blocks = _split(planes)
    mean = np.asarray(strength, dtype=np.float32)
    if mean.ndim:
        mean = _split(_whole_blocks(mean[..., None])).mean(axis=(2, 3))[:, :, None, None]
    step = mean * ((32 + 24 * _FREQUENCY) / 255).astype(np.float32)[..., None]
    coefficients = fft.dctn(blocks, axes=(2, 3), norm="ortho")
    # Steps below the precision of the picture round nothing, and may be too small to divide by.
    coarse = step > np.finfo(np.float32).eps
    rounded = np.where(coarse, step * np.rint(coefficients / np.where(coarse, step, 1)), coefficients)
    # Blocks that are not quantized keep their bits.
    change = _join(fft.idctn(rounded - coefficients, axes=(2, 3), norm="ortho"))
    return image + from_ycbcr(change)[:height, :width]


def jpeg_quality(strength):
    """Give the quality of the Independent JPEG Group that has a multiple of its standard tables.

    Parameters
    ----------
    strength : float
        Above 0; a fifth of what the steps of the standard tables are multiplied with.

    Returns
    -------
    int
        From 1 to 100: 50 is a strength of 0.2, 10 of 1.

    Examples
    --------
    >>> from patchdistill.relational.operators.codecs import jpeg_quality
    >>> jpeg_quality(0.2), jpeg_quality(1.0), jpeg_quality(0.01)
    (50, 10, 98)
    """
    percent = 500 * strength
    return int(np.clip(np.rint(5000 / percent if percent > 100 else (200 - percent) / 2), 1, 100))


def jpeg(image, strength, rng=None, geometry="flat"):
    """Encode as JPEG, with halved color planes, and decode.

    Parameters
    ----------
    image : ndarray of float32, shape (height, width, 3)
        In [0, 1]; rounded to 8 bits.
    strength : float or ndarray of shape (height, width)
        From 0 on, 0 being the picture itself; see :func:`jpeg_quality`.
    rng : None
        Nothing is drawn.
    geometry : str, default="flat"
        Not used: encoders do not know of the seam.

    Returns
    -------
    ndarray of float32, shape (height, width, 3)
        In [0, 1].
    """
    return _encode(image, strength, lambda s: ("JPEG", {"quality": jpeg_quality(s)}))


def jpeg2000(image, strength, rng=None, geometry="flat"):
    """Encode as JPEG 2000 (wavelets, irreversible), and decode.

    Parameters
    ----------
    image : ndarray of float32, shape (height, width, 3)
        In [0, 1]; rounded to 8 bits.
    strength : float or ndarray of shape (height, width)
        From 0 on, 0 being the picture itself; the file has 200^-strength of the size of the pixels.
    rng : None
        Nothing is drawn.
    geometry : str, default="flat"
        Not used: encoders do not know of the seam.

    Returns
    -------
    ndarray of float32, shape (height, width, 3)
        In [0, 1].
    """

    def options(s):
        return "JPEG2000", {"quality_mode": "rates", "quality_layers": [_HIGHEST_RATIO**s], "irreversible": True}

    return _encode(image, strength, options)


def _encode(image, strength, options):
    if not np.any(strength):
        return image
    pixels = to_8_bits(image)

    def at(s):
        if not s:
            return image
        file_format, how = options(s)
        return through_file(pixels, file_format, **how).astype(np.float32) / 255

    return interpolate(at, strength, float(np.max(strength)))


def _whole_blocks(planes):
    height, width = planes.shape[:2]
    return np.pad(planes, ((0, -height % CELL), (0, -width % CELL), (0, 0)), mode="edge")


def _split(planes):
    height, width, n_planes = planes.shape
    return planes.reshape(height // CELL, CELL, width // CELL, CELL, n_planes).swapaxes(1, 2)


def _join(blocks):
    rows, columns, _, _, n_planes = blocks.shape
    return blocks.swapaxes(1, 2).reshape(rows * CELL, columns * CELL, n_planes)
