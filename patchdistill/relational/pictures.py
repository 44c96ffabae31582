"""Read a picture and its reference so that their pixels can be compared."""

import warnings

import numpy as np

from patchdistill.images import decode, open_picture
from patchdistill.relational.alignment import find_shift

# The EXIF tag that tells how a camera was held, and what brings the pixels upright: 2 mirrored, 3 upside down,
# 4 mirrored top to bottom, 5 transposed, 6 turned right, 7 transposed the other way, 8 turned left.
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: np.rot90(pixels, 2).swapaxes(0, 1),
    8: lambda pixels: np.rot90(pixels),
}


class MisalignedPairWarning(UserWarning):
    """A picture is shifted against its reference, and what is compared there is not the same."""


def read_pair(path, reference, geometry="flat"):
    """Read a picture and its reference.

    Both are turned upright if EXIF says that the camera was not: editors apply the turn or keep it as they like, and
    the two files may differ in it. Gray levels and palettes are expanded; no color profile is applied.

    Parameters
    ----------
    path, reference : str or path-like
        The two files.
    geometry : {"flat", "panorama"}, default="flat"
        Whether they are panoramas of the whole sphere.

    Returns
    -------
    pixels, reference : ndarray of uint8, shape (height, width, 3)
        The two pictures, of one size.
    shift : tuple of (int, int)
        How far the picture is shifted down and to the right against its reference, see
        :func:`~patchdistill.relational.alignment.find_shift`.

    Raises
    ------
    ValueError
        If a file cannot be read (see :func:`patchdistill.images.read_image`) or is transparent somewhere, the sizes
        disagree, or a panorama is not twice as wide as high.
    FileNotFoundError
        If there is no such file.

    Warns
    -----
    MisalignedPairWarning
        If the picture is shifted.
    """
    pixels, other = read_upright(path), read_upright(reference)
    (height, width), other_size = pixels.shape[:2], other.shape[:2]
    if (height, width) != other_size:
        raise ValueError(
            f"{path} has {width} x {height} pixels, but its reference {reference} has {other_size[1]} x "
            f"{other_size[0]}. Bring them to one size beforehand: how to resize is part of what is compared."
        )
    if geometry == "panorama" and width != 2 * height:
        raise ValueError(
            f"{path} has {width} x {height} pixels, but a panorama of the whole sphere is twice as wide as high. "
            "Compare it as a flat picture."
        )
    shift = find_shift(pixels, other, geometry)
    if shift != (0, 0):
        warnings.warn(f"{path} {describe_shift(shift, geometry)}.", MisalignedPairWarning, stacklevel=2)
    return pixels, other, shift


def describe_shift(shift, geometry="flat"):
    """Say in words that a picture is shifted, and what to do about it.

    Parameters
    ----------
    shift : tuple of (int, int)
        How far down and to the right, in pixels; not both 0.
    geometry : {"flat", "panorama"}, default="flat"
        Whether the picture is a panorama.

    Returns
    -------
    str
        What follows the name of the picture in a sentence, without a point.

    Examples
    --------
    >>> from patchdistill.relational.pictures import describe_shift
    >>> describe_shift((0, -3))
    'is shifted against its reference by 3 pixels to the left; edges will look changed that are not. Align it first'
    """
    (down, right), parts = shift, []
    if down:
        parts.append(f"{_pixels(down)} {'down' if down > 0 else 'up'}")
    if right:
        parts.append(f"{_pixels(right)} to the {'right' if right > 0 else 'left'}")
    turned = ", which on a panorama is a rotation of the camera" if geometry == "panorama" and right else ""
    where = " and ".join(parts)
    return f"is shifted against its reference by {where}{turned}; edges will look changed that are not. Align it first"


def _pixels(n):
    return "1 pixel" if abs(n) == 1 else f"{abs(n)} pixels"


def read_upright(path):
    """Read a picture file as 8-bit RGB, turned upright.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    ndarray of uint8, shape (height, width, 3)
        The picture.

    Raises
    ------
    ValueError, FileNotFoundError
        As :func:`read_pair`.

    See Also
    --------
    patchdistill.images.read_image : Gives the pixels as they are stored, and drops alpha.
    """
    with open_picture(path, "patchdistill compare") as picture:
        if "A" in picture.getbands() or "transparency" in picture.info:
            rgba = decode(picture, path, "RGBA")
            if (least := rgba[..., 3].min()) < 255:
                raise ValueError(
                    f"{path} is transparent in places (alpha down to {least} of 255), and how it looks there depends "
                    "on what is behind it. Flatten it onto a background beforehand."
                )
            pixels = rgba[..., :3]
        else:
            pixels = decode(picture, path)
        turn = _UPRIGHT.get(picture.getexif().get(_ORIENTATION))
    return np.ascontiguousarray(pixels if turn is None else turn(pixels))
