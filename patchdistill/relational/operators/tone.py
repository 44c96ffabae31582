"""Tone and color: what a camera's settings or an editor's sliders change at each pixel."""

import numpy as np

from patchdistill.relational.color import from_lab, luma, to_lab
from patchdistill.relational.operators.filters import gaussian, per_pixel

_OFFSET = 0.25
_CONTRAST, _SURROUND = 0.8, 20.0
_GAIN = 0.3
_TURN = np.pi / 3
_STEP = 0.25


def exposure(image, strength, rng=None, geometry="flat"):
    """Shift all values.

    Parameters
    ----------
    image : ndarray of float32, shape (height, width, 3)
        In [0, 1].
    strength : float or ndarray of shape (height, width)
        In [-1, 1]; a quarter of it is added.
    rng : None
        Nothing is drawn.
    geometry : str, default="flat"
        Not used.

    Returns
    -------
    ndarray of float32, shape (height, width, 3)
        Not clipped.
    """
    return image + _OFFSET * per_pixel(strength)


def contrast(image, strength, rng=None, geometry="flat"):
    """Stretch or flatten luma about its local mean; color differences stay.

    Parameters
    ----------
    image : ndarray of float32, shape (height, width, 3)
        In [0, 1].
    strength : float or ndarray of shape (height, width)
        In [-1, 1]; what differs from the Gaussian mean of 20 pixels is multiplied by exp(0.8 strength).
    rng : None
        Nothing is drawn.
    geometry : {"flat", "panorama", "sphere"}, default="flat"
        How the borders meet.

    Returns
    -------
    ndarray of float32, shape (height, width, 3)
        Not clipped.
    """
    y = luma(image)
    detail = y - gaussian(y, _SURROUND, geometry)
    return image + np.expm1(_CONTRAST * per_pixel(strength)) * detail[..., None]


def saturation(image, strength, rng=None, geometry="flat"):
    """Stretch or flatten color about luma.

    Parameters
    ----------
    image : ndarray of float32, shape (height, width, 3)
        In [0, 1].
    strength : float or ndarray of shape (height, width)
        What differs from luma is multiplied by exp(strength).
    rng : None
        Nothing is drawn.
    geometry : str, default="flat"
        Not used.

    Returns
    -------
    ndarray of float32, shape (height, width, 3)
        Not clipped.
    """
    return image + np.expm1(per_pixel(strength)) * (image - luma(image)[..., None])


def temperature(image, strength, rng=None, geometry="flat"):
    """Make red stronger and blue weaker, or the other way round; luma stays.

    Parameters
    ----------
    image : ndarray of float32, shape (height, width, 3)
        In [0, 1].
    strength : float or ndarray of shape (height, width)
        In [-1, 1]; red is multiplied by exp(0.3 strength), blue by exp(-0.3 strength).
    rng : None
        Nothing is drawn.
    geometry : str, default="flat"
        Not used.

    Returns
    -------
    ndarray of float32, shape (height, width, 3)
        Not clipped.
    """
    change = image * np.expm1(_GAIN * per_pixel(strength) * np.array([1, 0, -1], dtype=np.float32))
    return image + change - luma(change)[..., None]


def hue(image, strength, rng=None, geometry="flat"):
    """Turn all hues in CIELAB.

    Parameters
    ----------
    image : ndarray of float32, shape (height, width, 3)
        In [0, 1].
    strength : float or ndarray of shape (height, width)
        In [-1, 1]; the angle is 60 degrees times it, from red towards yellow above 0.
    rng : None
        Nothing is drawn.
    geometry : str, default="flat"
        Not used.

    Returns
    -------
    ndarray of float32, shape (height, width, 3)
        Not clipped.
    """
    lab = to_lab(image)
    cos, sin = np.cos(_TURN * np.asarray(strength)), np.sin(_TURN * np.asarray(strength))
    turned = np.stack([lab[..., 0], cos * lab[..., 1] - sin * lab[..., 2], sin * lab[..., 1] + cos * lab[..., 2]], -1)
    # What the way to Lab and back loses by rounding is left out: no turn is no change.
    return image + (from_lab(turned.astype(np.float32)) - from_lab(lab))


def banding(image, strength, rng=None, geometry="flat"):
    """Pull values towards a few levels: slopes become stairs.

    Rounding to coarser and coarser levels would not do: the values of a picture can lie on the levels of a step, and
    off those of a finer one, so that more of it would do less harm.

    Parameters
    ----------
    image : ndarray of float32, shape (height, width, 3)
        In [0, 1].
    strength : float or ndarray of shape (height, width)
        From 0 on; the part of the way to the next multiple of 1/4.
    rng : None
        Nothing is drawn.
    geometry : str, default="flat"
        Not used.

    Returns
    -------
    ndarray of float32, shape (height, width, 3)
        Not clipped.
    """
    return image + per_pixel(strength) * (_STEP * np.rint(image / _STEP) - image)
