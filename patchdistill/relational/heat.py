"""One channel of a distortion map as colors over the picture."""

from io import BytesIO

import numpy as np

from patchdistill._compat import import_optional
from patchdistill.images import LUMA
from patchdistill.relational.channels import CELL

# Less and more of a channel. Color-blind readers can tell them apart, and both from gray.
LESS, MORE = (0, 90, 181), (220, 50, 32)

# Magnitude at which colors are full. The same in all pictures, so that they can be compared.
LIMIT = 0.5

# The picture below is shown this bright at least, and colors cover it to this share at most: both stay visible.
_BRIGHT, _COVER = 0.5, 0.85


def shrink(pixels, longest):
    """Make a picture smaller, with a filter against aliasing.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (height, width, 3)
        The picture.
    longest : int
        Longer side of the result; smaller pictures stay as they are.

    Returns
    -------
    ndarray of uint8, shape (new_height, new_width, 3)
        The picture.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.relational.heat import shrink
    >>> shrink(np.zeros((300, 400, 3), dtype=np.uint8), 40).shape
    (30, 40, 3)
    """
    height, width = pixels.shape[:2]
    if max(height, width) <= longest:
        return pixels
    Image = import_optional("PIL.Image", "shrink", "cli")
    scale = longest / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    # It first averages whole squares of pixels, so that large pictures cost little time and memory.
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0))


def draw_heat(pixels, values, shape):
    """Color a picture by one channel of a map: blue where there is less of it, red where more, gray where equal.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (new_height, new_width, 3)
        The picture, shrunk or not.
    values : array-like of shape (h, w)
        The channel, one value per cell of 8 x 8 pixels of the picture before it was shrunk.
    shape : tuple of (int, int)
        Height and width of the picture before it was shrunk.

    Returns
    -------
    ndarray of uint8, shape (new_height, new_width, 3)
        The picture in gray, brightened, under colors that are full at magnitudes of 0.5 and more.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.relational.heat import draw_heat
    >>> heat = draw_heat(np.full((8, 16, 3), 255, dtype=np.uint8), [[-0.5, 0.0]], (8, 16))
    >>> heat[0, 0].tolist(), heat[0, 15].tolist()
    ([38, 115, 192], [255, 255, 255])
    """
    Image = import_optional("PIL.Image", "draw_heat", "cli")
    # The last cells may reach beyond the picture. The filter averages cells that are smaller than a pixel.
    box = (0, 0, shape[1] / CELL, shape[0] / CELL)
    cells = Image.fromarray(np.asarray(values, dtype=np.float32))
    strength = np.asarray(cells.resize(pixels.shape[1::-1], Image.Resampling.BOX, box=box))[..., None] / LIMIT
    gray = 255 * _BRIGHT + (1 - _BRIGHT) * (pixels @ np.array(LUMA, dtype=np.float32))[..., None]
    color = np.where(strength < 0, np.array(LESS, dtype=np.float32), np.array(MORE, dtype=np.float32))
    cover = _COVER * np.minimum(np.abs(strength), 1)
    return np.rint(gray * (1 - cover) + color * cover).astype(np.uint8)


def encode_jpeg(pixels, quality=75):
    """Write a picture as a small file.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (height, width, 3)
        The picture.
    quality : int, default=75
        Of JPEG.

    Returns
    -------
    bytes
        A JPEG file.
    """
    Image = import_optional("PIL.Image", "encode_jpeg", "cli")
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, optimize=True)
    return buffer.getvalue()
