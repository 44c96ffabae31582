"""Files compared by a map that can be worked out by hand: brightness in cells."""

import json
from base64 import b64decode
from dataclasses import asdict
from io import BytesIO
from types import SimpleNamespace

import numpy as np
import pytest

from patchdistill.datasets import dead_leaves
from patchdistill.panorama import cube_faces
from patchdistill.relational.comparison import FACES, Comparison, compare_files, rank_versions
from patchdistill.relational.description import describe_map
from patchdistill.relational.heat import draw_heat, encode_jpeg, shrink

Image = pytest.importorskip("PIL.Image")

LEAVES = dead_leaves(64, 128, random_state=0) // 3
BRIGHTER = LEAVES.copy()
BRIGHTER[16:32, 96:] += 150


@pytest.fixture
def files(tmp_path):
    for name, picture in (("reference", LEAVES), ("brighter", BRIGHTER)):
        Image.fromarray(picture).save(tmp_path / f"{name}.png")
    return tmp_path / "brighter.png", tmp_path / "reference.png"


def decoded(text):
    with Image.open(BytesIO(b64decode(text))) as picture:
        assert picture.format == "JPEG"
        return np.asarray(picture)


def shows(text, picture):
    return b64decode(text) == encode_jpeg(picture)


@pytest.mark.parametrize("geometry", ["flat", "panorama"])
def test_numbers_are_those_of_map_and_scorer(files, stub_scorer, geometry):
    found = compare_files(stub_scorer, *files, geometry)
    D = stub_scorer.map_.predict_map(BRIGHTER, LEAVES)
    assert found.channels == tuple(describe_map(D, stub_scorer.channel_names_, (64, 128), geometry))
    assert found.channels[0].word == "brighter" and found.channels[0].box == (16, 96, 32, 128)
    assert found.channels[1].word == "unchanged"
    assert (found.image, found.reference) == tuple(map(str, files))
    assert (found.height, found.width, found.geometry, found.shift) == (64, 128, geometry, (0, 0))
    # A sixteenth of the picture is brighter; on the sphere that band of latitudes has more.
    share = 1 / 16 if geometry == "flat" else 0.25 * (np.sin(np.pi / 4) - 0) / 2
    assert found.score == pytest.approx(-share * 150 / 255, rel=2e-3)


def test_the_geometry_reaches_the_map(files, stub_scorer):
    def predict_map(a, ref, geometry):
        return np.full((2, 8, 16), 0.3 if geometry == "panorama" else 0.0)

    scorer = SimpleNamespace(
        map_=SimpleNamespace(predict_map=predict_map),
        channel_names_=stub_scorer.channel_names_,
        score_map=stub_scorer.score_map,
    )
    assert compare_files(scorer, *files, "panorama").channels[0].word == "brighter"
    assert compare_files(scorer, *files).channels[0].word == "unchanged"


def test_pictures_are_the_pair_and_the_channels_that_changed(files, stub_scorer):
    found = compare_files(stub_scorer, *files)
    assert list(found.pictures) == ["reference", "image", "exposure"] and found.faces == {}
    assert shows(found.pictures["reference"], LEAVES) and shows(found.pictures["image"], BRIGHTER)
    D = stub_scorer.map_.predict_map(BRIGHTER, LEAVES)
    assert shows(found.pictures["exposure"], draw_heat(BRIGHTER, D[0], (64, 128)))


def test_of_a_panorama_there_are_the_faces_of_the_cube(files, stub_scorer):
    found = compare_files(stub_scorer, *files, "panorama")
    assert list(found.faces) == ["reference", "exposure"]
    heat = draw_heat(BRIGHTER, stub_scorer.map_.predict_map(BRIGHTER, LEAVES)[0], (64, 128))
    for name, picture in (("reference", LEAVES), ("exposure", heat)):
        assert len(found.faces[name]) == len(FACES) == 6
        for text, face in zip(found.faces[name], cube_faces(picture, 200), strict=True):
            assert shows(text, face)


def test_pictures_of_large_files_are_small(tmp_path, stub_scorer):
    large = np.repeat(np.repeat(LEAVES, 9, axis=0), 9, axis=1)
    for name, picture in (("a", large + np.uint8(60)), ("b", large)):
        Image.fromarray(picture).save(tmp_path / f"{name}.png")
    for geometry, width in (("flat", 720), ("panorama", 960)):
        found = compare_files(stub_scorer, tmp_path / "a.png", tmp_path / "b.png", geometry)
        assert {decoded(text).shape for text in found.pictures.values()} == {(width // 2, width, 3)}
        assert shows(found.pictures["reference"], shrink(large, width))


def test_no_pictures_are_made_for_nobody(files, stub_scorer):
    found = compare_files(stub_scorer, *files, "panorama", with_pictures=False)
    assert found.pictures == found.faces == {}
    assert found.score == compare_files(stub_scorer, *files, "panorama").score


def test_a_comparison_survives_json(files, stub_scorer):
    found = compare_files(stub_scorer, *files)
    assert Comparison.from_dict(json.loads(json.dumps(asdict(found)))) == found


def comparison(score, reference):
    return Comparison("a", reference, 8, 8, "flat", score, (0, 0), (), {}, {})


def test_versions_are_ranked_with_those_of_their_reference():
    scores = [(-0.2, "x"), (-0.1, "y"), (0.0, "x"), (-0.3, "y"), (-0.2, "x"), (-0.5, "x")]
    ranks, counts = rank_versions([comparison(*pair) for pair in scores])
    assert ranks == [2, 1, 1, 2, 2, 4] and counts == [4, 2, 4, 2, 4, 4]
