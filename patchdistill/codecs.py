"""What a file format leaves of a picture."""

from io import BytesIO

import numpy as np

from patchdistill._compat import import_optional


def through_file(pixels, file_format, **options):
    """Write a picture in memory and read it again.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (height, width, 3)
        The picture.
    file_format : str
        Name of the format for Pillow.
    **options
        Options of its encoder.

    Returns
    -------
    ndarray of uint8, shape (height, width, 3)
        What the file holds.
    """
    Image = import_optional("PIL.Image", "through_file", "cli")
    file = BytesIO()
    Image.fromarray(pixels).save(file, file_format, **options)
    return np.asarray(Image.open(file).convert("RGB"))


def to_8_bits(pixels):
    """Round a picture as files hold it.

    Parameters
    ----------
    pixels : ndarray of shape (height, width, 3)
        uint8 in [0, 255], or float in [0, 1].

    Returns
    -------
    ndarray of uint8, shape (height, width, 3)
        In [0, 255]; `pixels` itself if it is of that type.
    """
    return pixels if pixels.dtype == np.uint8 else np.rint(255 * pixels).astype(np.uint8)
