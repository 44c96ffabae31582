import json

import numpy as np
import pytest
from calibrate_severity import all_sides, harms_of
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from patchdistill.datasets import dead_leaves
from patchdistill.images import list_images, read_image
from patchdistill.relational.channels import CHANNELS, FULL12
from patchdistill.relational.severity import highest_level, ladder_name, ladders, make_ladder, to_level, to_strength

SIDES = list(all_sides())
NAMES = [ladder_name(*side) for side in SIDES]


def of_side(side, value):
    return value if side == "+" else -value


def test_every_side_of_every_channel_has_a_ladder():
    assert set(NAMES) == set(ladders()) and len(NAMES) == 20
    assert {channel for channel, *_ in SIDES} == set(FULL12)


@pytest.mark.parametrize("name", NAMES)
def test_ladders_rise_from_zero(name):
    strength, level = ladders()[name]["strength"], ladders()[name]["level"]
    assert strength[0] == level[0] == 0 and len(strength) == len(level) > 10
    assert (np.diff(strength) > 0).all() and (np.diff(level) > 0).all()
    assert strength[-1] <= 1 and 0.25 < level[-1] <= 1


@pytest.mark.parametrize(("channel", "side", "codec"), SIDES, ids=NAMES)
@given(share=st.floats(0, 1))
@settings(max_examples=20)
def test_levels_and_strengths_are_inverse(channel, side, codec, share):
    level = of_side(side, share * highest_level(channel, side, codec))
    strength = to_strength(level, channel, codec)
    assert -1 <= strength <= 1 and strength * level >= 0
    assert_allclose(to_level(strength, channel, codec), level, atol=1e-12)


@pytest.mark.parametrize(("channel", "side", "codec"), SIDES, ids=NAMES)
def test_no_level_is_no_strength_to_the_last_bit(channel, side, codec):
    assert to_strength(0.0, channel, codec) == to_level(0.0, channel, codec) == 0
    assert_array_equal(to_strength(np.zeros((2, 3), dtype=np.float32), channel, codec), np.zeros((2, 3)))


@pytest.mark.parametrize(("channel", "side", "codec"), SIDES, ids=NAMES)
def test_stronger_than_the_highest_level_has_that(channel, side, codec):
    highest = of_side(side, highest_level(channel, side, codec))
    assert to_level(of_side(side, 2.0), channel, codec) == highest


def test_fields_of_both_signs():
    levels = np.array([[-0.2, 0.0, 0.3]])
    expected = [to_strength(float(level), "contrast", "dct") for level in levels[0]]
    assert_array_equal(to_strength(levels, "contrast", "dct"), [expected])


def test_levels_can_be_strengths():
    assert to_strength(0.37, "noise", "dct", "strength") == to_level(0.37, "noise", "dct", "strength") == 0.37
    assert highest_level("hue", "-", "dct", "strength") == highest_level("hue", "+", "dct", "strength") == 1
    assert highest_level("noise", "-", "dct", "strength") == highest_level("noise", "-", "dct") == 0


def test_codecs_have_ladders_of_their_own():
    assert len({to_strength(0.2, "blockiness", codec) for codec in ("dct", "jpeg", "jpeg2000")}) == 3
    assert len({to_strength(0.2, "noise", codec) for codec in ("dct", "jpeg", "jpeg2000")}) == 1


def test_a_ladder_leaves_out_what_does_no_more_harm():
    # 4e-7 is 0 once it is rounded: two strengths of level 0 would make "nothing" ambiguous.
    ladder = make_ladder([0, 0.1, 0.2, 0.3, 0.4], [0, 4e-7, 0.3, 0.25, 0.5])
    assert ladder == {"strength": [0.0, 0.2, 0.4], "level": [0.0, 0.3, 0.5]}


def test_a_ladder_ends_at_level_one():
    assert make_ladder([0, 0.5, 1], [0, 0.5, 2.5]) == {"strength": [0.0, 0.5, 0.625], "level": [0.0, 0.5, 1.0]}
    assert make_ladder([0, 1], [0, 1]) == {"strength": [0.0, 1.0], "level": [0.0, 1.0]}
    assert json.dumps(make_ladder([0, 1], [0, 3]))


@pytest.fixture(scope="module")
def other_leaves():
    """Pictures of the size of those of the calibration, but others."""
    return [dead_leaves(256, random_state=seed).astype(np.float32) / 255 for seed in (100, 101, 102)]


@pytest.mark.parametrize(("channel", "side", "codec"), SIDES, ids=NAMES)
def test_levels_are_the_harm_they_do_to_the_average_picture(other_leaves, channel, side, codec):
    level = 0.25
    strength = abs(to_strength(of_side(side, level), channel, codec))
    harms = [harms_of(picture, channel, side, codec, [strength])[0] for picture in other_leaves]
    assert_allclose(np.mean(harms), level, rtol=0.35)


@pytest.fixture(scope="module")
def photographs(data_dir):
    """The middle of each, 96 pixels high and wide."""
    crops = []
    for path in list_images(data_dir / "photos"):
        picture = read_image(path)
        top, left = ((side - 96) // 2 for side in picture.shape[:2])
        crops.append(picture[top : top + 96, left : left + 96].astype(np.float32) / 255)
    assert len(crops) >= 24
    return crops


@pytest.mark.parametrize(("channel", "side", "codec"), SIDES, ids=NAMES)
def test_a_higher_level_does_more_harm_to_every_photograph(photographs, channel, side, codec):
    levels = np.linspace(0, highest_level(channel, side, codec), 5)
    strengths = [abs(to_strength(of_side(side, level), channel, codec)) for level in levels]
    # Of a small picture, JPEG 2000 has little more than the header of the file.
    side_of_crop = 96 if codec == "jpeg2000" else 64
    for i, picture in enumerate(photographs):
        harms = harms_of(picture[:side_of_crop, :side_of_crop], channel, side, codec, strengths)
        assert (np.diff(harms) > 0).all(), f"photograph {i}: {np.round(harms, 4)}"


def test_unsigned_channels_have_no_negative_side():
    for channel in FULL12:
        assert (highest_level(channel, "-", "dct") > 0) == CHANNELS[channel].signed
