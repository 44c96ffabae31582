"""JUFE-10K and OIQ-10K: panoramas distorted in one or two regions, whose file names agree."""

from patchdistill.datasets._release import Release, build_manifest, match_name, read_scores

JUFE10K = Release(
    name="JUFE-10K",
    layout="pictures such as 1_len3_bd_1.png and 52_len1_len4_gb_2.png and a table of scores are expected.",
    source="https://github.com/RJL2000/OIQAND",
    mos_range=(1, 5),
)
OIQ10K = Release(
    name="OIQ-10K",
    layout="pictures such as 101_len1_bd_1.png, dis7.png, ref12.jpg and a table of scores are expected.",
    source="https://github.com/WenJuing/IQCaption360",
    mos_range=(1, 3),
)

# Scene, distorted regions, distortion, level. In three names of JUFE-10K the second region is written "len_3".
_DISTORTED_REGIONS = r"(\d+)(?:_len_?\d+){1,2}_(bd|gb|gn|st)_(\d)"


def read_jufe(root, labels="mos.csv"):
    """Read JUFE-10K: 430 panoramas with four distortions in one or two regions, 10,320 scored pictures.

    The smaller JUFE of 2022 has four scores per picture, by where and how long one looks; it is another data set.

    Parameters
    ----------
    root : path-like
        Folder of the data set; the pictures may also lie in folders inside it.
    labels : path-like, default="mos.csv"
        The scores, relative to `root`: CSV with the columns ``file`` and ``mos``, or a ``.txt`` table of these two
        without header.

    Returns
    -------
    DataFrame
        The manifest, see :func:`patchdistill.datasets.check_manifest`. Scenes are ``"1"`` to ``"430"``; distortions
        ``bd`` (brightness discontinuity), ``gb`` (Gaussian blur), ``gn`` (Gaussian noise) and ``st`` (stitching);
        levels 1 to 3; MOS in [1, 5], higher is better. A picture ``7.png`` is the reference of scene 7, if there.

    Raises
    ------
    FileNotFoundError
        If the scores or a picture are not there, with what is expected and where it is to be had.
    ValueError
        If scores and pictures are not those of JUFE-10K.

    References
    ----------
    J. Yan et al., "Subjective and objective quality assessment of non-uniformly distorted omnidirectional images", IEEE
    Trans. Multimedia 2025.
    """
    return _read(JUFE10K, root, labels, parse_jufe, ("mos",))


def read_oiq10k(root, labels="mos.csv"):
    """Read OIQ-10K: 10,000 panoramas, distorted in no, one or two regions or as a whole.

    Not all contents are known. The 5,016 pictures with one or two distorted regions name their scene. The 2,484
    distorted as a whole (``dis1`` ...) come from several older data sets and from the web; they are versions of far
    fewer contents, and the names do not tell which. They are **one scene**, ``"dis"``, so that none is split between
    training and test. Each of the 2,500 without visible distortion (``ref1`` ...) is a scene of its own; according to
    the authors some are from the same data sets, and so a few may show a content of the other two groups. Whoever knows
    better assigns ``table["scene"]``. The published division into training and test puts 207 of the 209 numbered scenes
    on both sides.

    Parameters
    ----------
    root : path-like
        Folder of the data set; the pictures may also lie in folders inside it.
    labels : path-like, default="mos.csv"
        The scores, relative to `root`: CSV with the columns ``file`` and ``mos`` or ``mos_1_3``, or a ``.txt`` table of
        these two without header.

    Returns
    -------
    DataFrame
        The manifest, see :func:`patchdistill.datasets.check_manifest`. Distortions are those of :func:`read_jufe` with
        levels 1 to 3, ``global`` without a level and ``none`` of level 0; MOS in [1, 3], higher is better.

    Raises
    ------
    FileNotFoundError
        If the scores or a picture are not there, with what is expected and where it is to be had.
    ValueError
        If scores and pictures are not those of OIQ-10K.

    References
    ----------
    J. Yan et al., "Omnidirectional image quality captioning: A large-scale database and a new model", IEEE TIP 2025.
    """
    return _read(OIQ10K, root, labels, parse_oiq10k, ("mos", "mos_1_3"))


def _read(release, root, labels, parse, score):
    table = read_scores(release, root, labels, {"file": ("file",), "mos": score})
    scenes, distortions, levels = zip(*map(parse, table["file"]), strict=True)
    columns = {"image": table["file"], "scene": scenes, "distortion": distortions, "level": levels, "mos": table["mos"]}
    return build_manifest(release, root, columns, [f"{scene}.png" for scene in scenes])


def parse_jufe(name):
    """Tell what a file of JUFE-10K shows.

    Parameters
    ----------
    name : str
        File name.

    Returns
    -------
    scene, distortion : str
        Number of the panorama; ``bd``, ``gb``, ``gn`` or ``st``.
    level : int
        1 for the mildest of three.

    Examples
    --------
    >>> parse_jufe("1_len3_bd_1.png"), parse_jufe("276_len6_len_3_st_2.png")
    (('1', 'bd', 1), ('276', 'st', 2))
    """
    scene, distortion, level = match_name(JUFE10K, _DISTORTED_REGIONS, name)
    return scene, distortion, int(level)


def parse_oiq10k(name):
    """Tell what a file of OIQ-10K shows.

    Parameters
    ----------
    name : str
        File name.

    Returns
    -------
    scene, distortion : str
        See :func:`read_oiq10k`.
    level : int or None
        1 to 3 for distorted regions, 0 without distortion.

    Examples
    --------
    >>> parse_oiq10k("101_len1_bd_1.png"), parse_oiq10k("dis7.jpeg"), parse_oiq10k("ref12.jpg")
    (('101', 'bd', 1), ('dis', 'global', None), ('ref12', 'none', 0))
    """
    pattern = rf"{_DISTORTED_REGIONS}|(dis)\d+|(ref\d+)"
    scene, distortion, level, whole, none = match_name(OIQ10K, pattern, name)
    if whole:
        return whole, "global", None
    return (none, "none", 0) if none else (scene, distortion, int(level))
