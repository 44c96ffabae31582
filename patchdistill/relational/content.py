"""What is shown on the pictures that are distorted to learn from."""

import numpy as np

from patchdistill.datasets.leaves import dead_leaves
from patchdistill.images import load_image
from patchdistill.relational.color import luma
from patchdistill.relational.masks import make_mask
from patchdistill.relational.operators.filters import gaussian

# A camera for dead leaves: pixels of blur, standard deviation of noise, and by how much color can be multiplied.
_SOFTEST, _GRAINIEST, _MOST_COLOR = 4.0, 0.01, 3.0

# How many pictures have a background out of focus, and how far it is, in pixels of blur.
_DEFOCUSED, _BACKGROUND = 0.5, 10.0


def draw_content(items, size, rng):
    """Draw a clean square picture.

    Parameters
    ----------
    items : list of path or array-like, or None
        Pictures to cut it out of, each as likely as any other; dead leaves if None, as a random camera sees them.
    size : int
        Side of the square in pixels.
    rng : Generator
        What draws.

    Returns
    -------
    ndarray of shape (size, size, 3)
        uint8, or float in [0, 1].

    Raises
    ------
    ValueError
        If the picture drawn is smaller.
    """
    if items is None:
        return photograph(dead_leaves(size, random_state=int(rng.integers(2**31))), rng)
    index = int(rng.integers(len(items)))
    picture = load_image(items[index], index)
    height, width = picture.shape[:2]
    if min(height, width) < size:
        raise ValueError(
            f"Image {index} has {height} x {width} pixels (height x width), but squares of size={size} are cut out; "
            "pass larger pictures, or lower size."
        )
    top, left = (int(rng.integers(side - size + 1)) for side in (height, width))
    return np.ascontiguousarray(picture[top : top + size, left : left + size])


def photograph(leaves, rng):
    """Take a picture of dead leaves with a random camera: clean pictures differ in all that distortions change.

    Parameters
    ----------
    leaves : ndarray of uint8, shape (height, width, 3)
        A painted picture, with hard edges.
    rng : Generator
        Draws how soft, how colorful and how grainy it becomes.

    Returns
    -------
    ndarray of float32, shape (height, width, 3)
        In [0, 1].
    """
    image = leaves.astype(np.float32) / 255
    y = luma(image)[..., None]
    image = y + np.float32(rng.uniform(0, _MOST_COLOR)) * (image - y)
    image = gaussian(image, _SOFTEST * rng.random() ** 3)
    if rng.random() < _DEFOCUSED:
        # Photographs have skies and backgrounds without any texture; leaves have it everywhere.
        focus = make_mask("field", *image.shape[:2], rng)[..., None]
        image = focus * image + (1 - focus) * gaussian(image, _BACKGROUND)
    image += np.float32(rng.uniform(0, _GRAINIEST)) * rng.standard_normal(image.shape, dtype=np.float32)
    return np.clip(image, 0, 1)
