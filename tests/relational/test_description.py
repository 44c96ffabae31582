"""The description of maps against one made with loops, and its symmetries."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from patchdistill.relational.channels import CELL, CHANNELS
from patchdistill.relational.description import THRESHOLD, describe_map

LEVELS = st.sampled_from([-0.8, -0.5, -0.3, -0.2, 0.0, 0.1, 0.2, 0.3, 0.5, 0.8])


@st.composite
def maps(draw):
    """A map, the size of its picture, which need not be a multiple of a cell, and its geometry."""
    h, w = draw(st.integers(1, 7)), draw(st.integers(1, 8))
    names, geometry = ("sharpness", "noise"), draw(st.sampled_from(["flat", "panorama"]))
    shape = CELL * h - draw(st.integers(0, 7)), CELL * w - draw(st.integers(0, 7))
    return draw(hnp.arrays(np.float32, (len(names), h, w), elements=LEVELS.map(np.float32))), names, shape, geometry


def pixel_weights(shape, geometry):
    rows = (
        np.cos(np.pi * (0.5 - (np.arange(shape[0]) + 0.5) / shape[0])) if geometry == "panorama" else np.ones(shape[0])
    )
    return np.repeat(rows[:, None], shape[1], axis=1)


def to_pixels(cells, shape):
    return np.repeat(np.repeat(cells, CELL, axis=0), CELL, axis=1)[: shape[0], : shape[1]]


def cells_of_regions(values, wraps):
    """Sets of connected cells beyond the threshold in one direction, by flooding."""
    h, w = values.shape
    left = {(i, j) for i in range(h) for j in range(w) if abs(float(values[i, j])) > THRESHOLD}
    regions = []
    while left:
        region, edge = set(), [left.pop()]
        while edge:
            i, j = edge.pop()
            region.add((i, j))
            for place in ((i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)):
                place = (place[0], place[1] % w) if wraps else place
                if place in left and values[place] * values[i, j] > 0:
                    left.remove(place)
                    edge.append(place)
        regions.append(region)
    return regions


def cells_of_box(box, shape):
    top, left, bottom, right = box
    columns = range(left, right) if left < right else [*range(left, shape[1]), *range(right)]
    return {(y // CELL, x // CELL) for y in range(top, bottom) for x in columns}


@given(maps())
@settings(max_examples=40)
def test_numbers_are_those_of_the_pixels(case):
    D, names, shape, geometry = case
    weights = pixel_weights(shape, geometry).ravel()
    weights = weights / weights.sum()
    for values, report in zip(D, describe_map(D, names, shape, geometry), strict=True):
        values = to_pixels(values.astype(float), shape).ravel()
        assert report.mean == pytest.approx(values @ weights, abs=1e-9)
        assert report.area == pytest.approx(weights[np.abs(values) > THRESHOLD].sum(), abs=1e-9)
        tenths = []
        for side in (values, -values):
            order = np.argsort(-side)
            before = np.cumsum(weights[order]) - weights[order]
            tenths.append(10 * np.clip(0.1 - before, 0, weights[order]) @ np.maximum(side[order], 0))
        more, less = tenths
        if abs(more - less) > 1e-9:
            assert report.worst_tenth == pytest.approx(more if more > less else -less, abs=1e-9)


@given(maps())
@settings(max_examples=40)
def test_words_follow_from_the_worst_tenth(case):
    D, names, shape, geometry = case
    for name, report in zip(names, describe_map(D, names, shape, geometry), strict=True):
        less, more = CHANNELS[name].words
        assert report.channel == name
        if abs(report.worst_tenth) > THRESHOLD:
            assert report.word in (more if report.worst_tenth > 0 else less, f"{less} and {more}")
        if report.word == "unchanged":
            assert abs(report.worst_tenth) <= THRESHOLD + 1e-6 and report.box is None


def test_both_directions_are_named_where_both_are_strong():
    D = np.zeros((1, 10, 10))
    D[0, 0], D[0, 9] = -0.6, 0.4
    (report,) = describe_map(D, ["exposure"], (80, 80))
    assert report.word == "darker and brighter" and report.worst_tenth == pytest.approx(-0.6)
    D[0, 9] = 0.25
    assert describe_map(D, ["exposure"], (80, 80))[0].word == "darker"
    D[0, 0], D[0, 9] = -0.24, 0.15  # the weaker one is unchanged
    assert describe_map(D, ["exposure"], (80, 80))[0].word == "darker"


def test_a_balance_has_no_sign():
    D = np.zeros((1, 10, 10))
    D[0, 0], D[0, 9] = -0.6, 0.6
    (report,) = describe_map(D, ["exposure"], (80, 80))
    assert (report.worst_tenth, report.word) == (0.0, "darker and brighter")
    assert report.mean == pytest.approx(0) and report.area == pytest.approx(0.2)


@given(maps())
@settings(max_examples=40)
def test_the_box_is_that_of_a_worst_region(case):
    D, names, shape, geometry = case
    weights = pixel_weights(shape, geometry)
    for values, report in zip(D, describe_map(D, names, shape, geometry), strict=True):
        if report.box is None:
            continue
        top, left, bottom, right = report.box
        assert 0 <= top < bottom <= shape[0] and 0 <= left < shape[1] and 0 < right <= shape[1]
        assert left < right or geometry == "panorama"
        in_pixels = to_pixels(np.abs(values.astype(float)), shape) * weights
        sums = {
            frozenset(region): sum(in_pixels[8 * i : 8 * i + 8, 8 * j : 8 * j + 8].sum() for i, j in region)
            for region in cells_of_regions(values, geometry == "panorama")
        }
        worst = [region for region, total in sums.items() if total > max(sums.values()) - 1e-9]
        box = cells_of_box(report.box, shape)
        assert any(
            region <= box
            and {i for i, _ in region} == {i for i, _ in box}
            and {j for _, j in region} == {j for _, j in box}
            for region in worst
        )


@given(maps())
@settings(max_examples=40)
def test_the_swapped_pair_has_the_mirrored_description(case):
    D, names, shape, geometry = case
    for name, a, b in zip(
        names, describe_map(D, names, shape, geometry), describe_map(-D, names, shape, geometry), strict=True
    ):
        less, more = CHANNELS[name].words
        assert (b.mean, b.worst_tenth, b.area, b.box) == (-a.mean, -a.worst_tenth, a.area, a.box)
        assert b.word == {less: more, more: less}.get(a.word, a.word)


@given(st.integers(0, 99), st.integers(1, 15))
@settings(max_examples=30)
def test_a_panorama_can_be_cut_open_anywhere(seed, turn):
    # Without ties, which rounding errors could decide.
    D = np.random.default_rng(seed).uniform(-1, 1, (1, 8, 16)) * (np.random.default_rng(seed).random((8, 16)) < 0.4)
    (a,), (b,) = (describe_map(map, ["hue"], (64, 128), "panorama") for map in (D, np.roll(D, turn, axis=2)))
    assert a.word == b.word
    assert [a.mean, a.worst_tenth, a.area] == pytest.approx([b.mean, b.worst_tenth, b.area], abs=1e-9)
    (top, left, bottom, _), width = a.box, (a.box[3] - a.box[1]) % 128
    assert (b.box[0], b.box[2]) == (top, bottom) and (b.box[3] - b.box[1]) % 128 == width
    assert width == 0 or b.box[1] == (left + CELL * turn) % 128


def test_a_region_goes_on_across_the_seam_of_a_panorama_only():
    D = np.zeros((1, 8, 16))
    D[0, 3:5, [0, 14, 15]] = 0.5
    assert describe_map(D, ["noise"], (64, 128), "panorama")[0].box == (24, 112, 40, 8)
    assert describe_map(D, ["noise"], (64, 128), "flat")[0].box == (24, 112, 40, 128)


def test_a_region_around_the_whole_panorama_has_all_columns():
    D = np.zeros((1, 8, 16))
    D[0, 2] = -0.5
    assert describe_map(D, ["exposure"], (64, 128), "panorama")[0].box == (16, 0, 24, 128)


def test_opposite_changes_that_touch_at_the_seam_are_two_regions():
    D = np.zeros((1, 8, 16))
    D[0, 3:7, 0], D[0, 3:7, 15] = 0.8, -0.9
    assert describe_map(D, ["exposure"], (64, 128), "panorama")[0].box == (24, 120, 56, 128)


def test_near_the_pole_of_a_panorama_little_is_shown():
    D = np.zeros((1, 8, 16))
    D[0, 0] = 0.5
    flat, sphere = (describe_map(D, ["noise"], (64, 128), geometry)[0] for geometry in ("flat", "panorama"))
    # The sine of the latitude where the first row of cells ends.
    assert flat.area == 1 / 8 and sphere.area == pytest.approx((1 - np.cos(np.pi / 8)) / 2, rel=2e-3)


@pytest.mark.parametrize("geometry", ["flat", "panorama"])
@pytest.mark.parametrize("level", [0.0, THRESHOLD, -THRESHOLD])
def test_nothing_beyond_the_threshold_is_unchanged(geometry, level):
    (report,) = describe_map(np.full((1, 4, 8), level), ["hue"], (32, 64), geometry)
    assert report.word == "unchanged" and report.box is None and report.area == 0
    assert report.mean == pytest.approx(level)


def test_a_map_must_fit_its_names_and_its_picture():
    D = np.zeros((2, 4, 8))
    with pytest.raises(ValueError, match=r"shape \(2, 4, 8\), but 1 channels of a picture of 32 x 64 .* \(1, 4, 8\)"):
        describe_map(D, ["noise"], (32, 64))
    with pytest.raises(ValueError, match=r"shape \(2, 5, 8\)"):
        describe_map(D, ["noise", "hue"], (33, 64))
    with pytest.raises(ValueError, match="no channel 'grain'; the names are exposure, "):
        describe_map(D, ["noise", "grain"], (32, 64))
    with pytest.raises(ValueError, match="geometry='cube'"):
        describe_map(D, ["noise", "hue"], (32, 64), "cube")
    D[1, 2, 3] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        describe_map(D, ["noise", "hue"], (32, 64))


def test_what_lies_in_no_region_is_not_the_worst_one():
    D = np.full((1, 8, 8), 0.15)
    D[0, 2, 1:7] = 0.5
    assert describe_map(D, ["noise"], (64, 64))[0].box == (16, 8, 24, 56)
