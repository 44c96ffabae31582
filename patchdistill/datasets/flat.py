"""Data sets of ordinary photographs: LIVE In the Wild, KADID-10k and KonIQ-10k."""

from pathlib import Path

import numpy as np

from patchdistill.datasets._release import Release, build_manifest, match_name, read_matlab, read_scores

LIVEC = Release(
    name="LIVE In the Wild",
    layout="the folders Images and Data of the release are expected, with AllImages_release.mat, AllMOS_release.mat "
    "and AllStdDev_release.mat in Data.",
    source="https://live.ece.utexas.edu/research/ChallengeDB",
    mos_range=(0, 100),
)
KADID = Release(
    name="KADID-10k",
    layout="the table dmos.csv and the pictures such as I01_05_03.png are expected in its folder.",
    source="https://database.mmsp-kn.de/kadid-10k-database.html",
    mos_range=(1, 5),
)
KONIQ = Release(
    name="KonIQ-10k",
    layout="a folder of pictures, 1024x768 or 512x384, and koniq10k_distributions_sets.csv or "
    "koniq10k_scores_and_distributions.csv are expected.",
    source="https://database.mmsp-kn.de/koniq-10k-database.html",
    mos_range=(0, 100),
)

# In the order of the numbers in the file names.
_KADID_DISTORTIONS = (
    *("gaussian_blur", "lens_blur", "motion_blur", "color_diffusion", "color_shift"),
    *("color_quantization", "color_saturation_1", "color_saturation_2", "jp2k", "jpeg"),
    *("white_noise", "white_noise_color", "impulse_noise", "multiplicative_noise", "denoise"),
    *("brighten", "darken", "mean_shift", "jitter", "non_eccentricity_patch"),
    *("pixelate", "quantization", "color_block", "high_sharpen", "contrast_change"),
)


def read_livec(root):
    """Read LIVE In the Wild (ChallengeDB): 1,162 photographs with authentic distortions.

    The seven pictures that observers were trained with are left out, as the database counts them apart. Pictures of
    neighbouring numbers often show the same scene, but the release does not tell which do: each is a scene of its own
    here, so that a split by scene can still have one content on both sides.

    Parameters
    ----------
    root : path-like
        The folder ``ChallengeDB_release`` with ``Images`` and ``Data``.

    Returns
    -------
    DataFrame
        The manifest, see :func:`patchdistill.datasets.check_manifest`. Distortion and level are missing; MOS in
        [0, 100], higher is better; ``mos_std`` as released.

    Raises
    ------
    FileNotFoundError
        If the scores or a picture are not there, with what is expected and where it is to be had.
    ValueError
        If the tables do not belong together.

    References
    ----------
    D. Ghadiyaram and A. C. Bovik, "Massive online crowdsourced study of subjective and objective picture quality", IEEE
    TIP 2016.
    """
    variables = ("AllImages_release", "AllMOS_release", "AllStdDev_release")
    values = [read_matlab(LIVEC, Path(root, "Data", f"{name}.mat"), name) for name in variables]
    names, scores, deviations = (np.ravel(value) for value in values)
    if not len(names) == len(scores) == len(deviations):
        raise ValueError(
            f"The tables in {Path(root, 'Data')} have {len(names)} names, {len(scores)} scores and {len(deviations)} "
            "deviations, but one of each per picture is expected. Are they of one release?"
        )
    kept = [not str(name).startswith("t") for name in names]
    names = [str(name) for name in names[kept]]
    columns = {
        "image": names,
        "scene": [Path(name).stem for name in names],
        "mos": scores[kept],
        "mos_std": deviations[kept],
    }
    return build_manifest(LIVEC, Path(root, "Images"), columns)


def read_kadid10k(root):
    """Read KADID-10k: 81 photographs, each with 25 distortions at five levels, 10,125 scored pictures.

    Two columns of its table are not what they are called. ``dmos`` is a MOS: 5 stands for an imperceptible distortion,
    1 for a very annoying one, and **higher is better**. ``var`` is the standard deviation: 30 opinions of which 20 are
    5 and 10 are 4, say, stand there with 4.67 and 0.471. References have no score.

    Parameters
    ----------
    root : path-like
        Folder with ``dmos.csv``; the pictures lie in a folder inside it.

    Returns
    -------
    DataFrame
        The manifest, see :func:`patchdistill.datasets.check_manifest`. Scenes are ``I01`` to ``I81``, levels 1 to 5;
        MOS in [1, 5], higher is better.

    Raises
    ------
    FileNotFoundError
        If the scores or a picture are not there, with what is expected and where it is to be had.
    ValueError
        If scores and pictures are not those of KADID-10k, or scores rise with the level.

    References
    ----------
    H. Lin, V. Hosu and D. Saupe, "KADID-10k: A large-scale artificially distorted IQA database", QoMEX 2019.
    """
    names = {"file": ("dist_img",), "reference": ("ref_img",), "mos": ("dmos",), "std": ("var",)}
    table = read_scores(KADID, root, "dmos.csv", names)
    scenes, distortions, levels = zip(*map(parse_kadid, table["file"]), strict=True)
    columns = {
        "image": table["file"],
        "scene": scenes,
        "distortion": distortions,
        "level": levels,
        "mos": table["mos"],
        "mos_std": table["std"],
    }
    return build_manifest(KADID, root, columns, list(table["reference"]))


def parse_kadid(name):
    """Tell what a file of KADID-10k shows.

    Parameters
    ----------
    name : str
        File name.

    Returns
    -------
    scene, distortion : str
        Name of the reference, and of the distortion.
    level : int
        1 for the mildest of five.

    Examples
    --------
    >>> parse_kadid("I01_01_05.png"), parse_kadid("I81_25_01.png")
    (('I01', 'gaussian_blur', 5), ('I81', 'contrast_change', 1))
    """
    scene, distortion, level = match_name(KADID, r"(I\d+)_(0[1-9]|1\d|2[0-5])_0([1-5])", name)
    return scene, _KADID_DISTORTIONS[int(distortion) - 1], int(level)


def read_koniq10k(root, folder="1024x768", labels="koniq10k_distributions_sets.csv"):
    """Read KonIQ-10k: 10,073 photographs with authentic distortions.

    The two tables of the release have the same scores between 0 and 100, one in its column ``MOS``, the other in
    ``MOS_zscore`` (its ``MOS`` is on five points, and not read). ``mos_std`` is missing, since the deviations of both
    tables are on five points.

    Parameters
    ----------
    root : path-like
        Folder of the data set.
    folder : path-like, default="1024x768"
        The pictures, relative to `root`.
    labels : path-like, default="koniq10k_distributions_sets.csv"
        The scores, relative to `root`.

    Returns
    -------
    DataFrame
        The manifest, see :func:`patchdistill.datasets.check_manifest`. Each picture is a scene of its own; distortion
        and level are missing; MOS in [0, 100], higher is better.

    Raises
    ------
    FileNotFoundError
        If the scores or a picture are not there, with what is expected and where it is to be had.
    ValueError
        If scores and pictures are not those of KonIQ-10k, or all scores are on five points.

    References
    ----------
    V. Hosu et al., "KonIQ-10k: An ecologically valid database for deep learning of blind image quality assessment",
    IEEE TIP 2020.
    """
    table = read_scores(KONIQ, root, labels, {"file": ("image_name",), "mos": ("MOS_zscore", "MOS")})
    scenes = [Path(name).stem for name in table["file"]]
    columns = {"image": table["file"], "scene": scenes, "mos": table["mos"]}
    return build_manifest(KONIQ, Path(root, folder), columns)
