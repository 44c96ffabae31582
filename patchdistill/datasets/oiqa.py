"""OIQA: 16 panoramas with compression, noise and blur."""

from patchdistill.datasets._release import Release, build_manifest, match_name, read_scores

OIQA = Release(
    name="OIQA",
    layout="the pictures img1 ... img320 (.jpg or .png) and a table of scores are expected in its folder.",
    source="its authors (H. Duan et al., ISCAS 2018); scores: https://github.com/TianheWu/Assessor360, data/OIQA",
    mos_range=(1, 10),
)

_DISTORTIONS = ("jpeg", "jp2k", "noise_or_blur_1", "noise_or_blur_2")
_LEVELS = 5


def read_oiqa(root, labels="mos.csv"):
    """Read OIQA: 16 panoramas, each with four distortions at five levels, 320 scored pictures and 16 references.

    Of each scene the first five files are JPEG, the next five JPEG 2000, and ten are Gaussian noise and Gaussian blur.
    Descriptions do not agree on which of these two comes first, and so they are called ``noise_or_blur_1`` and
    ``noise_or_blur_2``.

    Parameters
    ----------
    root : path-like
        Folder of the data set; the pictures may also lie in folders inside it.
    labels : path-like, default="mos.csv"
        The scores, relative to `root`: CSV with the columns ``file`` (``img1`` or ``img1.png``; the references
        ``ref1`` ... ``ref16`` where they are scored) and ``mos`` or ``mos_1_10``, or a ``.txt`` table of these two
        without header.

    Returns
    -------
    DataFrame
        The manifest, see :func:`patchdistill.datasets.check_manifest`. Scenes are ``"1"`` to ``"16"``, levels 1 to 5,
        and 0 for references; MOS in [1, 10], higher is better.

    Raises
    ------
    FileNotFoundError
        If the scores or a picture are not there, with what is expected and where it is to be had.
    ValueError
        If scores and pictures are not those of OIQA, or the scores are those that MC360IQA has rescaled.

    References
    ----------
    H. Duan et al., "Perceptual quality assessment of omnidirectional images", ISCAS 2018.
    """
    table = read_scores(OIQA, root, labels, {"file": ("file",), "mos": ("mos", "mos_1_10")})
    scenes, distortions, levels = zip(*map(parse_oiqa, table["file"]), strict=True)
    rescaled = table[table["mos"] > OIQA.mos_range[1]]
    if len(rescaled):
        raise ValueError(
            f"{rescaled['file'].iloc[0]} has the score {rescaled['mos'].iloc[0]:g}, but those of OIQA lie in [1, 10]; "
            f"{len(rescaled)} of {len(table)} are larger. It looks like the table that comes with MC360IQA, whose "
            "scores are about 6.81 MOS + 15.5. Take the original ones, and never mix the two."
        )
    columns = {"image": table["file"], "scene": scenes, "distortion": distortions, "level": levels, "mos": table["mos"]}
    return build_manifest(OIQA, root, columns, [f"ref{scene}" for scene in scenes])


def parse_oiqa(name):
    """Tell what a file of OIQA shows.

    Parameters
    ----------
    name : str
        File name, with or without ending.

    Returns
    -------
    scene, distortion : str
        Number of the panorama, and its distortion or ``reference``.
    level : int
        1 for the mildest of five; 0 for a reference.

    Examples
    --------
    >>> parse_oiqa("img1.jpg"), parse_oiqa("img27.png"), parse_oiqa("img320"), parse_oiqa("ref2")
    (('1', 'jpeg', 1), ('2', 'jp2k', 2), ('16', 'noise_or_blur_2', 5), ('2', 'reference', 0))
    """
    kind, number = match_name(OIQA, r"(img|ref)(\d+)", name)
    if kind == "ref":
        return number, "reference", 0
    scene, position = divmod(int(number) - 1, len(_DISTORTIONS) * _LEVELS)
    return str(scene + 1), _DISTORTIONS[position // _LEVELS], position % _LEVELS + 1
