"""Color spaces: luma and color differences, and CIELAB."""

import numpy as np

from patchdistill.images import LUMA

# ITU-R BT.601, full range: blue and red differences in [-1/2, 1/2].
TO_YCBCR = np.array(
    [
        LUMA,
        [-LUMA[0] / (2 - 2 * LUMA[2]), -LUMA[1] / (2 - 2 * LUMA[2]), 0.5],
        [0.5, -LUMA[1] / (2 - 2 * LUMA[0]), -LUMA[2] / (2 - 2 * LUMA[0])],
    ]
)
_FROM_YCBCR = np.linalg.inv(TO_YCBCR)

# IEC 61966-2-1: linear sRGB to CIE XYZ, and the white of it (D65), to which Lab is relative.
_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
_TO_RELATIVE = _TO_XYZ / _TO_XYZ.sum(axis=1, keepdims=True)
_FROM_RELATIVE = np.linalg.inv(_TO_RELATIVE)
_EPSILON, _SLOPE = (6 / 29) ** 3, (29 / 6) ** 2 / 3


def luma(image):
    """Weigh red, green and blue to luma (ITU-R BT.601).

    Parameters
    ----------
    image : ndarray of shape (height, width, 3)
        Red, green and blue.

    Returns
    -------
    ndarray of shape (height, width)
        In the units of the picture.
    """
    return image @ np.array(LUMA, dtype=image.dtype)


def to_ycbcr(image):
    """Turn red, green and blue into luma, blue difference and red difference (ITU-R BT.601, full range).

    Parameters
    ----------
    image : ndarray of shape (height, width, 3)
        In [0, 1].

    Returns
    -------
    ndarray of shape (height, width, 3)
        Luma in [0, 1], differences in [-1/2, 1/2].
    """
    return image @ TO_YCBCR.T.astype(image.dtype)


def from_ycbcr(planes):
    """Undo :func:`to_ycbcr`.

    Parameters
    ----------
    planes : ndarray of shape (height, width, 3)
        Luma and the two differences.

    Returns
    -------
    ndarray of shape (height, width, 3)
        Red, green and blue.
    """
    return planes @ _FROM_YCBCR.T.astype(planes.dtype)


def to_lab(image):
    """Turn sRGB into CIELAB of the white D65.

    Parameters
    ----------
    image : ndarray of shape (height, width, 3)
        sRGB in [0, 1].

    Returns
    -------
    ndarray of shape (height, width, 3)
        L* in [0, 100], a* (green to red) and b* (blue to yellow) within about 110 of 0.

    References
    ----------
    IEC 61966-2-1 (sRGB); ISO/CIE 11664-4 (CIELAB).

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.relational.color import to_lab
    >>> np.round(to_lab(np.array([[[1.0, 0.0, 0.0]]])), 1)
    array([[[53.2, 80.1, 67.2]]])
    """
    linear = np.where(image <= 0.04045, image / 12.92, ((np.maximum(image, 0) + 0.055) / 1.055) ** 2.4)
    relative = linear.astype(image.dtype) @ _TO_RELATIVE.T.astype(image.dtype)
    f = np.where(relative > _EPSILON, np.cbrt(relative), _SLOPE * relative + 4 / 29).astype(image.dtype)
    lab = f[..., [1, 0, 2]] @ np.array([[116, 0, 0], [0, 500, 0], [0, 0, -200]], dtype=image.dtype)
    lab[..., 0] -= 16
    lab[..., 1] -= 500 * f[..., 1]
    lab[..., 2] += 200 * f[..., 1]
    return lab


def from_lab(lab):
    """Undo :func:`to_lab`.

    Parameters
    ----------
    lab : ndarray of shape (height, width, 3)
        L*, a* and b*.

    Returns
    -------
    ndarray of shape (height, width, 3)
        sRGB; beyond [0, 1] where no such color can be shown.
    """
    y = (lab[..., 0] + 16) / 116
    f = np.stack([y + lab[..., 1] / 500, y, y - lab[..., 2] / 200], axis=-1)
    relative = np.where(f > 6 / 29, f**3, (f - 4 / 29) / _SLOPE).astype(lab.dtype)
    linear = relative @ _FROM_RELATIVE.T.astype(lab.dtype)
    root = np.maximum(linear, 0) ** (1 / 2.4)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * root - 0.055).astype(lab.dtype)
