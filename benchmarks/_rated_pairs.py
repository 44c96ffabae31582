"""Pictures with opinion scores and their references: rows of TID2013 made again from the Kodak photographs.

Of TID2013 [1]_ there are the scores here, the references (crops of twelve Kodak photographs) and five distorted
pictures of a known row. Its levels 1 to 5 lie near a PSNR over red, green and blue of 33, 30, 27, 24 and 21 dB, so that
a distortion of a known kind can be made again: its strength is what gives that PSNR. This is an approximation. Noise is
drawn anew; the coders are those of Pillow; the window of six photographs is not known, and their center is taken
(`exact` is False). Beside the five pictures themselves (PSNR, SSIM and GMSD):

===========================  =====================  =====================
Kind, level, photograph      in TID2013             made again
===========================  =====================  =====================
white noise, 5, kodim01      21.02  .6791  .0941    21.00  .6783  .0947
JPEG, 5, kodim19             21.62  .6519  .2050    21.83  .6672  .2017
JPEG 2000, 5, kodim03        21.11  .6993  .2203    21.04  .6935  .2249
saturation, 3, kodim06       27.01  .9989  .0004    the same picture
saturation, 5, kodim04       20.99  .9978  .0005    21.00  .9978  .0005
===========================  =====================  =====================

Not published, and assumed here: that noise in Cb and Cr has twice the deviation of that in Y; that contrast grows at
even levels and shrinks at odd ones (scores rise and fall so), about the mean; that intensity goes down at even levels
and up at odd ones (in some photographs scores rise and fall so too, but not in which direction).

References
----------
.. [1] N. Ponomarenko et al., "Image database TID2013: Peculiarities, results and perspectives", Signal Processing:
   Image Communication 30, 2015.
"""

import csv
from dataclasses import dataclass
from functools import partial

import numpy as np
from _common import data_folder
from _distortions import encode
from scipy import ndimage

from patchdistill.evaluation import psnr
from patchdistill.images import read_image

DECIBELS = {1: 33.0, 2: 30.0, 3: 27.0, 4: 24.0, 5: 21.0}
WINDOW = (384, 512)
_HALVINGS = 16

# From RGB to Y, Cb and Cr of ITU-R BT.601 as 8 bits hold them: Y from 16 to 235, Cb and Cr from 16 to 240.
_TO_YCBCR = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]]) / 255
_TO_RGB = np.linalg.inv(_TO_YCBCR)


@dataclass(frozen=True)
class RatedPair:
    """A picture, its reference, and what people thought of it.

    Attributes
    ----------
    reference, distorted : ndarray of uint8, shape (384, 512, 3)
        The two pictures.
    kind : int
        Type of the distortion in TID2013, a key of KINDS.
    level : int
        1, mild, to 5, strong.
    mos, mos_std : float
        Mean opinion score, 0 to 9, higher is better, and its standard deviation.
    scene : str
        Name of the Kodak photograph.
    exact : bool
        Whether the reference is the crop that TID2013 has.
    """

    reference: np.ndarray
    distorted: np.ndarray
    kind: int
    level: int
    mos: float
    mos_std: float
    scene: str
    exact: bool


def rated_pairs(kinds=None, scenes=None):
    """Make the rated pairs one after the other.

    Parameters
    ----------
    kinds : collection of int, default=None
        Types of distortion; all that can be made if None.
    scenes : collection of str, default=None
        Names of Kodak photographs ("kodim01"); all twelve if None.

    Yields
    ------
    RatedPair
        The pair of one row of the table, in its order.
    """
    mos = data_folder() / "mos"
    crops = {row["kodak_image"]: row for row in _rows(mos / "tid2013_reference_crops.csv")}
    references = {}
    for row in _rows(mos / "tid2013_mos_part.csv"):
        kind, level, file = int(row["distortion_type"]), int(row["level"]), row["kodak_image"]
        scene = file.removesuffix(".png")
        if kind not in (KINDS if kinds is None else kinds) or (scenes is not None and scene not in scenes):
            continue
        if scene not in references:
            references[scene] = _reference(read_image(data_folder() / "photos" / file), crops.get(file))
        seed = (int(scene.removeprefix("kodim")), kind, level)
        distorted = distort(references[scene], kind, level, seed)
        scores = float(row["mos_0_9"]), float(row["mos_std"])
        yield RatedPair(references[scene], distorted, kind, level, *scores, scene, file in crops)


def distort(image, kind, level, seed=0):
    """Distort a picture as far as the level says.

    Parameters
    ----------
    image : ndarray of uint8, shape (height, width, 3)
        The reference.
    kind : int
        A key of KINDS.
    level : int
        1, mild, to 5, strong.
    seed : int or sequence of int, default=0
        Of the noise.

    Returns
    -------
    ndarray of uint8, shape (height, width, 3)
        The strongest version tried whose PSNR is not below DECIBELS.
    """
    _, function, strongest = KINDS[kind]
    if kind in _NOISES:
        function = partial(function, noise=np.random.default_rng(seed).standard_normal(image.shape))
    mild, strong, best = 0.0, strongest, image
    if kind in _ALTERNATING:
        strong *= (-1) ** (level + _ALTERNATING[kind])
    for _ in range(_HALVINGS):
        strength = (mild + strong) / 2
        candidate = function(image, strength)
        if psnr(image, candidate) < DECIBELS[level]:
            strong = strength
        else:
            mild, best = strength, candidate
    return best


def white_noise(image, deviation, noise):
    """Add the same noise to red, green and blue."""
    return _to_bytes(image + deviation * noise)


def color_noise(image, deviation, noise):
    """Add noise to Y, Cb and Cr, twice as much to the two latter."""
    return _to_bytes(image + deviation * (noise * (1, 2, 2)) @ _TO_RGB.T)


def quantize(image, step):
    """Round to multiples of a step."""
    return _to_bytes(np.rint(image / step) * step)


def blur(image, deviation):
    """Blur with a Gaussian."""
    return _to_bytes(ndimage.gaussian_filter(image.astype(np.float64), deviation, axes=(0, 1), mode="nearest"))


def jpeg(image, loss):
    """Code as JPEG, of a quality from 100 down to 1."""
    return encode(image, "JPEG", 100 - round(loss))


def jpeg2000(image, log_ratio):
    """Code as JPEG 2000."""
    return encode(image, "JPEG 2000", float(np.exp(log_ratio)))


def shift(image, difference):
    """Shift the intensity."""
    return _to_bytes(image + difference)


def change_contrast(image, change):
    """Stretch about the mean of all levels, or with a negative change shrink."""
    mean = image.mean()
    return _to_bytes(mean + (image - mean) * (1 + change))


def desaturate(image, change):
    """Shrink Cb and Cr, rounded before and after; beyond 1 colors become their complements."""
    planes = np.rint(image @ _TO_YCBCR.T)
    return _to_bytes(np.rint(planes * (1, 1 - change, 1 - change)) @ _TO_RGB.T)


# Types of TID2013 that can be made: their name, function and the strength beyond which nothing is tried.
KINDS = {
    1: ("white noise", white_noise, 60.0),
    2: ("color noise", color_noise, 60.0),
    7: ("quantization", quantize, 200.0),
    8: ("blur", blur, 40.0),
    10: ("JPEG", jpeg, 99.0),
    11: ("JPEG 2000", jpeg2000, 9.0),
    16: ("intensity shift", shift, 80.0),
    17: ("contrast", change_contrast, 2.0),
    18: ("saturation", desaturate, 4.0),
}
_NOISES = (1, 2)
# Kinds whose sign alternates; it is positive at the even levels, or with a 1 at the odd ones.
_ALTERNATING = {16: 1, 17: 0}


def _rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def _reference(photograph, crop):
    height, width = WINDOW
    if crop is None:
        top, left = (photograph.shape[0] - height) // 2, (photograph.shape[1] - width) // 2
    else:
        top, left = int(crop["top"]), int(crop["left"])
    return photograph[top : top + height, left : left + width]


def _to_bytes(levels):
    return np.clip(np.rint(levels), 0, 255).astype(np.uint8)
