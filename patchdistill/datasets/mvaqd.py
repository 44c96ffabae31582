"""MVAQD: 15 panoramas with five distortions, in no order that file names tell."""

from pathlib import Path

from patchdistill.datasets._release import Release, build_manifest, read_scores

MVAQD = Release(
    name="MVAQD",
    layout="the pictures 1.png ... 315.png and a table of references, files and scores are expected in its folder.",
    source="its authors, https://github.com/Jianghao2019/MVAQD; "
    "scores: https://github.com/TianheWu/Assessor360, data/MVAQD",
    mos_range=(1, 5),
)


def read_mvaqd(root, labels="mos.csv"):
    """Read MVAQD: 15 panoramas and 300 scored versions of them.

    File names tell nothing: the reference of each picture comes from the table of scores, and which of the five
    distortions (JPEG, JPEG 2000, HEVC, noise, blur) it has is not told. References have no score.

    Parameters
    ----------
    root : path-like
        Folder of the data set; the pictures may also lie in folders inside it.
    labels : path-like, default="mos.csv"
        The scores, relative to `root`: CSV with the columns ``reference``, ``file`` and ``mos`` or ``mos_1_5``, or a
        ``.txt`` table of these three without header.

    Returns
    -------
    DataFrame
        The manifest, see :func:`patchdistill.datasets.check_manifest`. A scene is the name of its reference without
        ending; distortion and level are missing; MOS in [1, 5], higher is better.

    Raises
    ------
    FileNotFoundError
        If the scores or a picture are not there, with what is expected and where it is to be had.
    ValueError
        If scores and pictures are not those of MVAQD.

    References
    ----------
    H. Jiang et al., "Cubemap-based perception-driven blind quality assessment for 360-degree images", IEEE TIP 2021.
    """
    names = {"reference": ("reference",), "file": ("file",), "mos": ("mos", "mos_1_5")}
    table = read_scores(MVAQD, root, labels, names)
    columns = {
        "image": table["file"],
        "scene": [Path(reference).stem for reference in table["reference"]],
        "level": [None] * len(table),
        "mos": table["mos"],
    }
    return build_manifest(MVAQD, root, columns, list(table["reference"]))
