"""A small rated data set in the layout of CVIQ, for tests and demonstrations."""

from pathlib import Path

import numpy as np
from scipy.io import savemat

from patchdistill._compat import import_optional
from patchdistill.codecs import through_file
from patchdistill.datasets.synthetic import make_panoramas

# What Pillow is told for the 11 levels of each codec, the mildest first. JPEG 2000 takes rates of compression.
_LADDERS = (
    ("JPEG", "quality", (90, 80, 70, 60, 50, 40, 30, 22, 15, 9, 4)),
    ("JPEG2000", "quality_layers", ([4], [6], [9], [13], [19], [28], [40], [60], [90], [130], [200])),
    ("WEBP", "quality", (95, 85, 75, 65, 55, 45, 35, 25, 16, 8, 0)),
)


def make_cviq_like(root, n_scenes=4, height=128, random_state=0):
    """Write compressed synthetic panoramas with scores, in the layout in which CVIQ is released.

    There are 34 pictures per scene, ``001.png`` and so on, and ``CVIQ.mat``: at positions 1 to 11 JPEG, then 11 in
    place of AVC and 11 in place of HEVC, then the reference. No video codec is at work here: AVC is stood in for by
    **JPEG 2000** and HEVC by **WebP**. Nobody has looked at the pictures either: their scores are a rising function of
    the PSNR weighted by solid angle (WS-PSNR), between 16 and 77 as the opinions of CVIQ.

    Parameters
    ----------
    root : path-like
        Folder to write to, which is made where it does not exist. Files of these names are replaced.
    n_scenes : int, default=4
        Number of panoramas, at least 1.
    height : int, default=128
        Height of the pictures in pixels, at least 16; the width is twice that.
    random_state : int, RandomState instance or None, default=0
        Draws the panoramas.

    Raises
    ------
    ValueError
        If `n_scenes` or `height` is too small.
    ImportError
        If Pillow is not installed.

    See Also
    --------
    read_cviq : Reads what is written here.

    References
    ----------
    Y. Sun, A. Lu and L. Yu, "Weighted-to-spherically-uniform quality evaluation for omnidirectional video", IEEE Signal
    Processing Letters 2017.

    Examples
    --------
    >>> import tempfile
    >>> from patchdistill.datasets import read_cviq
    >>> with tempfile.TemporaryDirectory() as root:
    ...     make_cviq_like(root, n_scenes=1, height=32)
    ...     table = read_cviq(root)
    >>> table["distortion"].value_counts(sort=False).to_dict()
    {'jpeg': 11, 'avc': 11, 'hevc': 11, 'reference': 1}
    """
    if height < 16:
        raise ValueError(f"height={height} is too small for the codecs; use at least 16.")
    Image = import_optional("PIL.Image", "make_cviq_like", "cli")
    scenes = make_panoramas(n_scenes, height, random_state)
    root = Path(root)
    root.mkdir(parents=True, exist_ok=True)
    rows = []
    for scene in scenes:
        for version in [*_compressed(scene), scene]:
            name = f"{len(rows) + 1:03d}.png"
            Image.fromarray(version).save(root / name, compress_level=1)
            rows.append([name, _score(scene, version)])
    savemat(root / "CVIQ.mat", {"CVIQ": np.array(rows, dtype=object)})


def _compressed(scene):
    for codec, option, levels in _LADDERS:
        for level in levels:
            # JPEG 2000 would otherwise code without loss.
            options = {"irreversible": True} if codec == "JPEG2000" else {}
            yield through_file(scene, codec, **{option: level}, **options)


def _score(reference, version):
    height = len(reference)
    weight = np.cos(np.pi * (0.5 - (np.arange(height) + 0.5) / height))
    errors = np.mean((reference.astype(float) - version) ** 2, axis=(1, 2))
    mean = np.average(errors, weights=weight)
    psnr = 10 * np.log10(255**2 / mean) if mean else np.inf
    return float(16 + 61 / (1 + np.exp((28 - psnr) / 5)))
