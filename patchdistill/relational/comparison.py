"""Compare picture files with their references: numbers, words and small pictures for a report."""

from base64 import b64encode
from dataclasses import dataclass

import numpy as np

from patchdistill.panorama import cube_faces
from patchdistill.relational.description import ChannelReport, describe_map
from patchdistill.relational.heat import draw_heat, encode_jpeg, shrink
from patchdistill.relational.pictures import read_pair
from patchdistill.relational.pooling import cell_weights

# Longer side of the pictures of a report, and of a face of the cube around a panorama.
_FLAT, _PANORAMA, _FACE = 720, 960, 200

# What `cube_faces` gives, in its order.
FACES = ("front", "right", "back", "left", "up", "down")


@dataclass(frozen=True)
class Comparison:
    """A picture compared with its reference, in types that JSON knows.

    Attributes
    ----------
    image, reference : str
        The two files.
    height, width : int
        Their size in pixels.
    geometry : str
        "flat" or "panorama".
    score : float
        Relational score: 0 for the reference itself, lower is worse.
    shift : tuple of (int, int)
        How far down and to the right the picture is shifted against its reference.
    channels : tuple of ChannelReport
        One per channel.
    pictures : dict of str to str
        JPEG files in base64: ``reference``, ``image``, and each channel that changed over the picture. Empty if none
        were asked for.
    faces : dict of str to list of str
        The reference and each channel that changed on the six faces of a cube around the panorama, in the order of
        :data:`FACES`.
    """

    image: str
    reference: str
    height: int
    width: int
    geometry: str
    score: float
    shift: tuple
    channels: tuple
    pictures: dict
    faces: dict

    @classmethod
    def from_dict(cls, values):
        """Make a comparison of what :func:`dataclasses.asdict` gave, or JSON made of it.

        Parameters
        ----------
        values : dict
            The attributes.

        Returns
        -------
        Comparison
            The comparison.
        """
        channels = (
            ChannelReport(**{**report, "box": report["box"] and tuple(report["box"])}) for report in values["channels"]
        )
        return cls(**{**values, "shift": tuple(values["shift"]), "channels": tuple(channels)})


def compare_files(scorer, image, reference, geometry="flat", with_pictures=True):
    """Compare a picture file with its reference.

    Parameters
    ----------
    scorer : RelationalScorer
        Predicts the map, by its ``map_``, and scores it.
    image, reference : str or path-like
        The files.
    geometry : {"flat", "panorama"}, default="flat"
        What they show.
    with_pictures : bool, default=True
        Whether pictures for a report are made.

    Returns
    -------
    Comparison
        What was found.

    Raises
    ------
    ValueError, FileNotFoundError
        See :func:`~patchdistill.relational.pictures.read_pair`.

    Warns
    -----
    MisalignedPairWarning
        If the picture is shifted against its reference.
    """
    pixels, other, shift = read_pair(image, reference, geometry)
    shape = pixels.shape[:2]
    D = scorer.map_.predict_map(pixels, other, geometry=geometry)
    channels = describe_map(D, scorer.channel_names_, shape, geometry)
    shown = {}
    if with_pictures:
        longest = _FLAT if geometry == "flat" else _PANORAMA
        small = shrink(pixels, longest)
        shown = {"reference": shrink(other, longest), "image": small}
        for report, values in zip(channels, D, strict=True):
            if report.word != "unchanged":
                shown[report.channel] = draw_heat(small, values, shape)
    return Comparison(
        image=str(image),
        reference=str(reference),
        height=shape[0],
        width=shape[1],
        geometry=geometry,
        score=float(scorer.score_map(D, cell_weights(*shape, geometry))),
        shift=shift,
        channels=tuple(channels),
        pictures={name: _text(picture) for name, picture in shown.items()},
        faces={name: _faces(picture) for name, picture in shown.items() if geometry != "flat" and name != "image"},
    )


def rank_versions(comparisons):
    """Rank the versions of each reference.

    Parameters
    ----------
    comparisons : list of Comparison
        Pictures with one or several references.

    Returns
    -------
    ranks, counts : list of int
        Rank of each among those with its reference, 1 for the best, equal scores with equal ranks; and how many
        these are.
    """
    scores = np.array([comparison.score for comparison in comparisons])
    _, group = np.unique([comparison.reference for comparison in comparisons], return_inverse=True)
    together = group[:, None] == group
    ranks = 1 + (together & (scores > scores[:, None])).sum(axis=1)
    return ranks.tolist(), together.sum(axis=1).tolist()


def _faces(picture):
    return [_text(face) for face in cube_faces(picture, _FACE)]


def _text(picture):
    return b64encode(encode_jpeg(picture)).decode("ascii")
