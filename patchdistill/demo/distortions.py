"""Distorted versions of a photograph, and how much each of them lost."""

import zlib
from typing import NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter

from patchdistill._compat import import_optional
from patchdistill.codecs import through_file
from patchdistill.demo.scenes import load_scene

# Strengths from mild to strong; what the numbers are is said in STRENGTHS.
LEVELS = {
    "JPEG": (75, 40, 20, 10, 5),
    "JPEG 2000": (10, 20, 40, 80, 160),
    "blur": (0.6, 1.0, 1.6, 2.5, 4.0),
    "noise": (2, 4, 8, 14, 24),
}

STRENGTHS = {
    "JPEG": "quality",
    "JPEG 2000": "compression ratio",
    "blur": "standard deviation of the Gaussian, pixels",
    "noise": "standard deviation, gray levels, each color channel",
}

CLEAN = "clean"


class Version(NamedTuple):
    """One image of the study: a distorted version of a scene, or the scene itself (kind "clean", level 0)."""

    path: str
    scene: str
    kind: str
    level: int
    label: float


def distort(image, kind, level, seed=0):
    """Distort a photograph.

    Parameters
    ----------
    image : ndarray of uint8, shape (height, width, 3)
        The photograph.
    kind : {"JPEG", "JPEG 2000", "blur", "noise"}
        What is done to it.
    level : int
        1, mild, to 5, strong.
    seed : int or sequence of int, default=0
        Of the noise.

    Returns
    -------
    ndarray of uint8, shape (height, width, 3)
        The distorted photograph.
    """
    strength = LEVELS[kind][level - 1]
    if kind == "JPEG":
        return through_file(image, "JPEG", quality=strength)
    if kind == "JPEG 2000":
        return through_file(image, "JPEG2000", quality_mode="rates", quality_layers=[strength], irreversible=True)
    if kind == "blur":
        changed = gaussian_filter(image.astype(np.float64), (strength, strength, 0))
    else:
        changed = image + np.random.default_rng(seed).normal(0, strength, image.shape)
    return np.clip(np.rint(changed), 0, 255).astype(np.uint8)


def similarity_to(reference, image):
    """Structural similarity with the settings of its authors: Gaussian window of standard deviation 1.5.

    Parameters
    ----------
    reference, image : ndarray of uint8, shape (height, width, 3)
        The photograph and its distorted version.

    Returns
    -------
    float
        Mean over pixels and color channels; 1 for equal images.

    References
    ----------
    .. [1] Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli, "Image Quality Assessment: From Error Visibility to
       Structural Similarity", IEEE Transactions on Image Processing 13(4), 2004.
    """
    metrics = import_optional("skimage.metrics", "run_demo", "demo")
    return float(
        metrics.structural_similarity(
            reference,
            image,
            channel_axis=-1,
            data_range=255,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
    )


def write_versions(name, path, longest_side, folder, levels):
    """Write a photograph and its distorted versions as lossless files, with their labels.

    Parameters
    ----------
    name : str
        Name of the scene.
    path : path-like
        The photograph.
    longest_side : int
        See :func:`patchdistill.demo.scenes.load_scene`.
    folder : Path
        Where to write.
    levels : sequence of int
        Levels of each kind.

    Returns
    -------
    versions : list of Version
        The clean one first, then kind by kind.
    shape : tuple of int
        Height and width.
    """
    Image = import_optional("PIL.Image", "run_demo", "demo")
    reference = load_scene(path, longest_side)
    versions = []
    for kind, level in [(CLEAN, 0)] + [(kind, level) for kind in LEVELS for level in levels]:
        # The seed depends on the name, so that another picture in the folder does not change this one's noise.
        image = reference if kind == CLEAN else distort(reference, kind, level, seed=[zlib.crc32(name.encode()), level])
        file = folder / f"{name}_{kind.replace(' ', '')}_{level}.png"
        Image.fromarray(image).save(file, compress_level=1)
        versions.append(Version(str(file), name, kind, level, similarity_to(reference, image)))
    return versions, reference.shape[:2]
