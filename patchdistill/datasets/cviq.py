"""CVIQ: 16 panoramas compressed with three codecs."""

from pathlib import Path

import numpy as np

from patchdistill.datasets._release import Release, build_manifest, match_name, read_matlab, read_scores

CVIQ = Release(
    name="CVIQ",
    layout="the pictures 001.png ... 544.png (or as many as are scored) and CVIQ.mat are expected in its folder.",
    source="https://github.com/sunwei925/CVIQDatabase",
    mos_range=(0, 100),
)

_CODECS = ("jpeg", "avc", "hevc")
_LEVELS = 11
_PER_SCENE = len(_CODECS) * _LEVELS + 1


def read_cviq(root, labels="CVIQ.mat"):
    """Read CVIQ: 16 panoramas, each with JPEG, AVC and HEVC at 11 qualities, 544 scored pictures.

    The references are scored like the others and are rows of their own.

    Parameters
    ----------
    root : path-like
        Folder of the data set; the pictures may also lie in a folder inside it.
    labels : path-like, default="CVIQ.mat"
        The scores, relative to `root`: the MATLAB file of the release with the variable ``CVIQ``, a CSV table with the
        columns ``file`` and ``mos``, or a ``.txt`` table of these two without header.

    Returns
    -------
    DataFrame
        The manifest, see :func:`patchdistill.datasets.check_manifest`. Scenes are ``"1"`` to ``"16"``, distortions
        ``jpeg``, ``avc``, ``hevc`` and ``reference``, levels 1 to 11 and 0; MOS in [0, 100], higher is better.

    Raises
    ------
    FileNotFoundError
        If the scores or a picture are not there, with what is expected and where it is to be had.
    ValueError
        If scores and pictures are not those of CVIQ.

    References
    ----------
    W. Sun et al., "A large-scale compressed 360-degree spherical image database", MMSP 2018.
    """
    if Path(labels).suffix == ".mat":
        cells = np.asarray(read_matlab(CVIQ, Path(root, labels), "CVIQ"), dtype=object).reshape(-1, 2)
        names, scores = [str(name) for name in cells[:, 0]], cells[:, 1]
    else:
        table = read_scores(CVIQ, root, labels, {"file": ("file",), "mos": ("mos",)})
        names, scores = table["file"], table["mos"]
    scenes, distortions, levels = zip(*map(parse_cviq, names), strict=True)
    columns = {"image": names, "scene": scenes, "distortion": distortions, "level": levels, "mos": scores}
    return build_manifest(CVIQ, root, columns, [f"{_PER_SCENE * int(scene):03d}.png" for scene in scenes])


def parse_cviq(name):
    """Tell what a file of CVIQ shows.

    Parameters
    ----------
    name : str
        File name.

    Returns
    -------
    scene, distortion : str
        Number of the panorama, and the codec or ``reference``.
    level : int
        1 for the mildest of 11 compressions; 0 for a reference.

    Examples
    --------
    >>> parse_cviq("001.png"), parse_cviq("057.png"), parse_cviq("544.png")
    (('1', 'jpeg', 1), ('2', 'hevc', 1), ('16', 'reference', 0))
    """
    (number,) = match_name(CVIQ, r"(\d+)", name)
    scene, position = divmod(int(number) - 1, _PER_SCENE)
    if position == _PER_SCENE - 1:
        return str(scene + 1), "reference", 0
    return str(scene + 1), _CODECS[position // _LEVELS], position % _LEVELS + 1
