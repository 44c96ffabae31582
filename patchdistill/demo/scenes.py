"""Which photographs the demonstration looks at, and at which size."""

from collections import Counter
from pathlib import Path

import numpy as np
import sklearn.datasets

from patchdistill._compat import import_optional
from patchdistill.images import list_images, read_image

# Color pictures that lie in the installed packages themselves; others of skimage.data would be downloaded.
_SKLEARN = ("china.jpg", "flower.jpg")
_SKIMAGE = (
    "chelsea.png",
    "coffee.png",
    "rocket.jpg",
    "motorcycle_left.png",
    "astronaut.png",
    "ihc.png",
    "hubble_deep_field.jpg",
    "retina.jpg",
)

# Longer side in pixels. The bundled ones are kept small so that the demonstration takes a minute.
_BUNDLED_SIDE = 512
_FOLDER_SIDE = 1280

_SMALLEST_SIDE = 32


def find_scenes(images=None):
    """Name the photographs.

    Parameters
    ----------
    images : path-like, default=None
        A folder of pictures; those bundled with scikit-learn and scikit-image by default.

    Returns
    -------
    paths : dict of str to Path
        File of each scene, by name.
    longest_side : int
        Size to which :func:`load_scene` is to shrink them.

    Raises
    ------
    ValueError
        If there are fewer than two: scenes that a model is tested on must not be among those it learned from.
    """
    if images is None:
        skimage = import_optional("skimage", "run_demo", "demo")
        folders = {
            Path(sklearn.datasets.__file__).parent / "images": _SKLEARN,
            Path(skimage.__file__).parent / "data": _SKIMAGE,
        }
        paths = [folder / name for folder, names in folders.items() for name in names]
    else:
        paths = list_images(images)
        if len(paths) < 2:
            raise ValueError(
                f"{images} holds one picture, but at least two are needed: a model is tested on scenes that it did not "
                "learn from. Add pictures of other scenes."
            )
    stems = Counter(path.stem for path in paths)
    names = [path.stem if stems[path.stem] == 1 else path.name for path in paths]
    return dict(zip(names, paths, strict=True)), _BUNDLED_SIDE if images is None else _FOLDER_SIDE


def load_scene(path, longest_side):
    """Read a photograph and shrink it, never enlarge it.

    Parameters
    ----------
    path : path-like
        The file.
    longest_side : int
        Largest width or height of the result in pixels.

    Returns
    -------
    ndarray of uint8, shape (height, width, 3)
        The photograph, shrunk with Pillow's Lanczos filter.

    Raises
    ------
    ValueError
        If it cannot be read or is too small for patches.
    """
    Image = import_optional("PIL.Image", "run_demo", "demo")
    pixels = read_image(path)
    height, width = pixels.shape[:2]
    factor = min(1.0, longest_side / max(height, width))
    size = (round(width * factor), round(height * factor))
    if min(size) < _SMALLEST_SIDE:
        raise ValueError(
            f"{path} has {width} x {height} pixels, {size[0]} x {size[1]} at the size used here, but at least "
            f"{_SMALLEST_SIDE} are needed in each direction. Take it out of the folder."
        )
    if factor == 1.0:
        return pixels
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))
