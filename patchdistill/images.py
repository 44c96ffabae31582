"""Pictures: reading them from files, and checking those that come as arrays."""

import os
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from patchdistill._compat import import_optional

EXTENSIONS = (".bmp", ".jp2", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")

# Pillow converts these to RGB without leaving 8 bits or needing an ink profile (CMYK, Lab: their colors depend on one).
_READABLE_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "YCbCr")

# What red, green and blue weigh in luma, ITU-R BT.601.
LUMA = (0.299, 0.587, 0.114)

# Pillow keeps its limit on the number of pixels in a module variable; one reader at a time may lift it.
_pillow_limit = threading.Lock()


def read_image(path, max_pixels=2**28):
    """Read a picture file as 8-bit sRGB.

    Alpha channels are dropped, palettes and gray levels expanded, of an animation the first frame is taken. The
    pixels are those stored: neither an EXIF orientation nor a color profile is applied.

    Parameters
    ----------
    path : str or path-like
        The file.
    max_pixels : int, default=2**28
        Largest picture that is read, in pixels (width times height); a guard against files that unpack to more
        memory than there is.

    Returns
    -------
    ndarray of uint8, shape (height, width, 3)
        The picture.

    Raises
    ------
    ValueError
        If the file is not a picture, is truncated, has more than `max_pixels` pixels, or cannot become 8-bit RGB
        without losing range (16-bit and float pictures) or guessing inks (CMYK).
    FileNotFoundError
        If there is no such file.

    Examples
    --------
    >>> from sklearn.datasets import load_sample_images
    >>> from pathlib import Path
    >>> from sklearn import datasets
    >>> read_image(Path(datasets.__file__).parent / "images" / "china.jpg").shape
    (427, 640, 3)
    """
    with open_picture(path, "read_image", max_pixels) as picture:
        return decode(picture, path)


def read_size(path, max_pixels=2**28):
    """Read the size of a picture file from its header, without decoding it.

    Parameters
    ----------
    path : str or path-like
        The file.
    max_pixels : int, default=2**28
        As for :func:`read_image`.

    Returns
    -------
    height, width : int
        Size of what :func:`read_image` gives, in pixels.

    Raises
    ------
    ValueError, FileNotFoundError
        As :func:`read_image`, but a file that is truncated after its header is found out only there.

    Examples
    --------
    >>> from pathlib import Path
    >>> from sklearn import datasets
    >>> read_size(Path(datasets.__file__).parent / "images" / "china.jpg")
    (427, 640)
    """
    with open_picture(path, "read_size", max_pixels) as picture:
        return picture.height, picture.width


@contextmanager
def open_picture(path, needed_by, max_pixels=2**28):
    """Open a picture file, without decoding it, if it can be read as 8-bit RGB.

    Parameters
    ----------
    path : str or path-like
        The file.
    needed_by : str
        What asks for Pillow, as the reader of the error knows it.
    max_pixels : int, default=2**28
        As for :func:`read_image`.

    Yields
    ------
    PIL.Image.Image
        The picture, for :func:`decode`.

    Raises
    ------
    ValueError, FileNotFoundError
        As :func:`read_size`.
    """
    Image = import_optional("PIL.Image", needed_by, "cli")
    with _open(path, Image) as picture:
        _check_header(picture, path, max_pixels)
        yield picture


def decode(picture, path, mode="RGB"):
    """Decode an open picture.

    Parameters
    ----------
    picture : PIL.Image.Image
        What :func:`open_picture` gives.
    path : str or path-like
        The file, for the error message.
    mode : str, default="RGB"
        What Pillow calls the form of the pixels.

    Returns
    -------
    ndarray of uint8, shape (height, width, n_channels)
        The pixels.

    Raises
    ------
    ValueError
        If the file is broken or truncated.
    """
    try:
        return np.asarray(picture.convert(mode))
    except Exception as error:  # a broken file can raise anything in a decoder: OSError, struct.error, zlib.error ...
        raise ValueError(
            f"{path} is broken or truncated and cannot be decoded ({type(error).__name__}: {error})."
        ) from error


def _check_header(picture, path, max_pixels):
    width, height = picture.size
    if width * height > max_pixels:
        raise ValueError(
            f"{path} has {width} x {height} = {width * height} pixels, more than max_pixels={max_pixels}. "
            "Shrink the picture or raise max_pixels."
        )
    # For 16-bit RGB, Pillow says "RGB" and drops the low byte; only the decoder's arguments tell.
    deep = any(";16" in str(tile[3]) for tile in getattr(picture, "tile", ()))
    if picture.mode not in _READABLE_MODES or deep:
        mode = f"16-bit {picture.mode}" if deep else picture.mode
        raise ValueError(
            f"{path} is a {mode} picture, and only 8-bit RGB, gray, palette and YCbCr are read. "
            "Convert it to 8-bit sRGB beforehand."
        )


def _open(path, Image):
    with _pillow_limit:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(path)
        except (OSError, SyntaxError) as error:
            if getattr(error, "errno", None) is not None:  # the file system speaks: no such file, no permission ...
                raise
            raise ValueError(f"{path} is not a picture that Pillow can read ({error}).") from error
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def list_images(folder):
    """List the picture files of a folder.

    Parameters
    ----------
    folder : str or path-like
        The folder; folders inside it are not entered.

    Returns
    -------
    list of Path
        Files ending in bmp, jp2, jpeg, jpg, png, tif, tiff or webp (any case), sorted by name.

    Raises
    ------
    ValueError
        If there is none.
    NotADirectoryError, FileNotFoundError
        If `folder` is no folder.

    Examples
    --------
    >>> from pathlib import Path
    >>> from sklearn import datasets
    >>> [path.name for path in list_images(Path(datasets.__file__).parent / "images")]
    ['china.jpg', 'flower.jpg']
    """
    paths = sorted(p for p in Path(folder).iterdir() if p.suffix.lower() in EXTENSIONS and p.is_file())
    if not paths:
        endings = ", ".join(extension[1:] for extension in EXTENSIONS)
        raise ValueError(f"{folder} holds no picture; files ending in {endings} are looked for.")
    return paths


def check_images(X):
    """Read the accepted forms of many pictures as a list, without opening files.

    Parameters
    ----------
    X : list of array-like of shape (height, width, 3), list of path, or array of shape (n_images, height, width, 3)
        The pictures.

    Returns
    -------
    items : list
        One array or path per picture, for :func:`load_image`.
    ids : ndarray of shape (n_images,) or None
        For paths the names of the files without ending, or the whole paths where two names agree; otherwise None.

    Raises
    ------
    ValueError
        If `X` is empty, or is one picture or one path instead of a list.

    Examples
    --------
    >>> check_images(["a/sky.png", "a/sea.jpg"])
    (['a/sky.png', 'a/sea.jpg'], array(['sky', 'sea'], dtype='<U3'))
    """
    if is_path(X):
        raise ValueError(f"Got the single path {str(X)!r}, but a list of pictures is expected; pass [path].")
    if isinstance(X, np.ndarray) and X.dtype.kind not in "OU" and X.ndim != 4:
        raise ValueError(
            f"Got an array of shape {X.shape}, but pictures are a list of (height, width, 3) arrays or one "
            "(n_images, height, width, 3) array. For one picture pass [picture]."
        )
    items = list(X)
    if not items:
        raise ValueError("There are no pictures; give a list with at least one array or path.")
    if not all(is_path(item) for item in items):
        return items, None
    stems = [Path(item).stem for item in items]
    return items, np.array(stems if len(set(stems)) == len(stems) else [str(item) for item in items])


def load_image(item, index):
    """Give one picture as a checked array.

    Parameters
    ----------
    item : str, path-like or array-like of shape (height, width, 3)
        A file, or the pixels.
    index : int
        Position of the picture among the others, for error messages.

    Returns
    -------
    ndarray of shape (height, width, 3)
        uint8, or float in [0, 1], as it came.

    Raises
    ------
    ValueError
        See :func:`read_image` and :func:`check_pixels`.
    """
    return read_image(item) if is_path(item) else check_pixels(item, index)


def check_pixels(pixels, index, ndim=3):
    """Check that an array holds color pixels in the one accepted convention.

    Parameters
    ----------
    pixels : array-like of shape (height, width, 3) or (n_patches, height, width, 3)
        uint8 in [0, 255], or float in [0, 1].
    index : int
        Position of the picture among the others, for error messages.
    ndim : {3, 4}, default=3
        3 for a picture, 4 for a pool of patches.

    Returns
    -------
    ndarray
        The pixels, neither copied nor converted.

    Raises
    ------
    ValueError
        If the shape, the type or the range is another one, or a value is NaN.

    Examples
    --------
    >>> check_pixels(np.full((2, 2, 3), 128.0), 7)
    Traceback (most recent call last):
    ...
    ValueError: Image 7 has float values from 128 to 128, but float pixels lie in [0, 1]. Divide by 255, or pass uint8.
    """
    pixels = np.asarray(pixels)
    expected = "(height, width, 3)" if ndim == 3 else "(n_patches, height, width, 3)"
    if pixels.ndim != ndim or pixels.shape[-1] != 3:
        message = f"Image {index} has shape {pixels.shape}, but {expected} is expected."
        if pixels.ndim == ndim - 1:
            message += " Make gray levels a color picture with np.repeat(gray[..., None], 3, axis=-1)."
        elif pixels.ndim == ndim and pixels.shape[-1] == 4:
            message += " Drop the alpha channel with image[..., :3]."
        raise ValueError(message)
    if not pixels.size:
        raise ValueError(f"Image {index} has shape {pixels.shape}: it holds no pixels.")
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype.kind != "f":
        raise ValueError(
            f"Image {index} has dtype {pixels.dtype}, but pixels are uint8 in [0, 255] or float in [0, 1]. "
            "Convert with image.astype(np.uint8), or divide by the largest possible value."
        )
    low, high = pixels.min(), pixels.max()
    if np.isnan(low):
        raise ValueError(f"Input X contains NaN (image {index}).")
    if low < 0 or high > 1:
        raise ValueError(
            f"Image {index} has float values from {low:g} to {high:g}, but float pixels lie in [0, 1]. "
            "Divide by 255, or pass uint8."
        )
    return pixels


def is_pixels(patches):
    """Tell pixels from features by their shape.

    Parameters
    ----------
    patches : ndarray or Tensor of shape (n_patches, ...)
        Patches.

    Returns
    -------
    bool
        Whether every patch is (height, width, 3).
    """
    return len(patches.shape) == 4 and patches.shape[-1] == 3


def check_same_range(pixels, index, first):
    """Check that pixels can share an array with those of the first image.

    Parameters
    ----------
    pixels, first : ndarray, or anything with a ``dtype``
        Checked pixels of one image, and of image 0.
    index : int
        Position of the image among the others, for the error message.

    Raises
    ------
    ValueError
        If one of the two is uint8 in [0, 255] and the other float in [0, 1].

    Examples
    --------
    >>> check_same_range(np.zeros((2, 2, 3)), 4, np.ones((2, 2, 3)))
    """
    if (pixels.dtype == np.uint8) != (first.dtype == np.uint8):
        raise ValueError(
            f"Image {index} has dtype {pixels.dtype}, but image 0 has {first.dtype}; one array cannot hold [0, 255] "
            "and [0, 1]. Divide the uint8 pixels by 255."
        )


def is_path(item):
    """Tell files from arrays.

    Parameters
    ----------
    item : object
        One of the pictures of a list.

    Returns
    -------
    bool
        Whether it is a path.
    """
    return isinstance(item, (str, os.PathLike))
