"""IQA-ODI: 120 panoramas, compressed with JPEG in five projections."""

import numpy as np

from patchdistill.datasets._release import Release, build_manifest, match_name, read_scores

IQAODI = Release(
    name="IQA-ODI",
    layout="pictures such as QF15_cmp_human_P0.jpg and a table of files and DMOS are expected in its folder.",
    source="https://github.com/yanglixiaoshen/SAP-Net; scores: https://github.com/TianheWu/Assessor360, data/IQA_ODI",
    mos_range=(0, 100),
)

# JPEG qualities, the mildest compression first.
_QUALITIES = ("60", "35", "15", "5")


def read_iqaodi(root, labels="dmos.csv"):
    """Read IQA-ODI: 120 panoramas, each in eight versions, 960 scored pictures.

    The release has a DMOS, where **higher is worse**. It is turned round here, ``mos = 100 - DMOS``, and the manifest
    says so (``mos_kind="flipped dmos"``). References have no score.

    Parameters
    ----------
    root : path-like
        Folder of the data set; the pictures may also lie in folders inside it.
    labels : path-like, default="dmos.csv"
        The scores as released, relative to `root`: CSV with the columns ``reference``, ``file`` and ``dmos`` or
        ``dmos_0_100_high_is_bad``, or a ``.txt`` table of these three without header.

    Returns
    -------
    DataFrame
        The manifest, see :func:`patchdistill.datasets.check_manifest`. A scene is the name of its reference, such as
        ``human_P0``; distortions are ``jpeg_erp`` in the usual equirectangular projection, and ``jpeg_cmp``,
        ``jpeg_cpp``, ``jpeg_isp``, ``jpeg_ohp`` in four others; levels 1 to 4 stand for JPEG quality 60, 35, 15 and 5.
        100 - DMOS in [0, 100], higher is better.

    Raises
    ------
    FileNotFoundError
        If the scores or a picture are not there, with what is expected and where it is to be had.
    ValueError
        If scores and pictures are not those of IQA-ODI, or the DMOS have been turned round before.

    References
    ----------
    L. Yang et al., "Spatial attention-based non-reference perceptual quality prediction network for omnidirectional
    images", ICME 2021.
    """
    names = {"reference": ("reference",), "file": ("file",), "mos": ("dmos", "dmos_0_100_high_is_bad")}
    table = read_scores(IQAODI, root, labels, names)
    scenes, distortions, levels = zip(*map(parse_iqaodi, table["file"]), strict=True)
    columns = {
        "image": table["file"],
        "scene": scenes,
        "distortion": distortions,
        "level": levels,
        # Decimal digits are kept: 100 - 73.7899 is 26.2101.
        "mos": np.round(100 - table["mos"], 10),
    }
    return build_manifest(IQAODI, root, columns, list(table["reference"]), mos_kind="flipped dmos")


def parse_iqaodi(name):
    """Tell what a file of IQA-ODI shows.

    Parameters
    ----------
    name : str
        File name, with or without ending.

    Returns
    -------
    scene, distortion : str
        Name of the reference; ``jpeg_`` and the projection.
    level : int
        1 to 4 for JPEG quality 60, 35, 15 and 5.

    Examples
    --------
    >>> parse_iqaodi("QF60_ERP_human_P0"), parse_iqaodi("QF15_cmp_nature_P11.jpg")
    (('human_P0', 'jpeg_erp', 1), ('nature_P11', 'jpeg_cmp', 3))
    """
    quality, projection, scene = match_name(IQAODI, rf"QF({'|'.join(_QUALITIES)})_(ERP|cmp|cpp|isp|ohp)_(\w+)", name)
    return scene, f"jpeg_{projection.lower()}", _QUALITIES.index(quality) + 1
