import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchdistill.plotting.places import Crops, Views

SHAPE = (9, 16)
# Where rounding decides, on the edge of a view or between two views as near, either answer is right.
EPS = 1e-9


def covering_crops(row, column, top, left, size):
    """Squared distance to the center of every crop that covers a pixel of a panorama, by its definition."""
    found = {}
    for i in range(len(top)):
        for turn in (0, SHAPE[1]):  # the pixel as it is, and once around
            down, across = row - top[i], column + turn - left[i]
            if 0 <= down < size[i] and 0 <= across < size[i]:
                middle = (size[i] - 1) / 2
                found[i] = (down - middle) ** 2 + (across - middle) ** 2
    return found


@st.composite
def crops(draw, wraps=True):
    size = draw(st.lists(st.integers(1, SHAPE[0]), min_size=1, max_size=6))
    top = [draw(st.integers(0, SHAPE[0] - s)) for s in size]
    left = [draw(st.integers(0, SHAPE[1] - 1 if wraps else SHAPE[1] - s)) for s in size]
    return top, left, size


@given(crops())
def test_a_pixel_goes_to_the_nearest_crop_that_covers_it(places):
    tiles = Crops(*places).tiles(SHAPE)
    for row, column in np.ndindex(SHAPE):
        found = covering_crops(row, column, *places)
        assert tiles[row, column] == (min(found, key=lambda i: (found[i], i)) if found else -1)


@given(crops(), st.integers(0, SHAPE[1] - 1))
def test_crops_turn_with_the_panorama(places, turn):
    top, left, size = places
    turned = Crops(top, (np.array(left) + turn) % SHAPE[1], size)
    np.testing.assert_array_equal(turned.tiles(SHAPE), np.roll(Crops(*places).tiles(SHAPE), turn, axis=1))


@given(crops(wraps=False))
def test_the_seam_does_not_exist_for_crops_that_do_not_reach_it(places):
    """On a wider picture, whose right border is far from every crop, the pixels go to the same ones."""
    wide = Crops(*places).tiles((SHAPE[0], 5 * SHAPE[1]))
    np.testing.assert_array_equal(Crops(*places).tiles(SHAPE), wide[:, : SHAPE[1]])
    assert (wide[:, SHAPE[1] :] == -1).all()


@given(crops())
def test_the_middle_of_a_lone_crop_is_its_center(places):
    columns, rows = Crops(*places).centers(SHAPE).T
    for i, (top, left, size) in enumerate(zip(*places, strict=True)):
        covered = Crops([top], [left], [size]).tiles(SHAPE) == 0
        assert rows[i] == np.mean(np.nonzero(covered)[0])
        # The mean over a circle, which has no seam.
        angle = 2 * np.pi * np.nonzero(covered)[1] / SHAPE[1]
        if size < SHAPE[1]:
            mean = np.arctan2(np.sin(angle).sum(), np.cos(angle).sum()) * SHAPE[1] / (2 * np.pi)
            assert (columns[i] - mean + 0.5) % SHAPE[1] == pytest.approx(0.5)
        assert -0.5 <= columns[i] < SHAPE[1] - 0.5


def project(row, column, lon, lat):
    """Where a pixel is on the plane that touches the sphere (Snyder, Map projections, 1987, eq. 22-3 to 22-5).

    The cosine of its angle to the center, then x and y.
    """
    d = math.radians(360 * (column + 0.5) / SHAPE[1] - 180 - lon)
    phi, phi0 = math.radians(90 - 180 * (row + 0.5) / SHAPE[0]), math.radians(lat)
    cos = math.sin(phi0) * math.sin(phi) + math.cos(phi0) * math.cos(phi) * math.cos(d)
    x = math.cos(phi) * math.sin(d) / cos if cos else math.inf
    y = (math.cos(phi0) * math.sin(phi) - math.sin(phi0) * math.cos(phi) * math.cos(d)) / cos if cos else math.inf
    return cos, x, y


views = st.lists(
    st.tuples(
        st.floats(-360, 360) | st.sampled_from([0.0, 90.0, 180.0]),
        st.floats(-90, 90) | st.sampled_from([-90.0, 0.0, 90.0]),
        st.floats(1, 175) | st.just(90.0),
    ),
    min_size=1,
    max_size=5,
)


@given(views)
def test_a_pixel_goes_to_the_view_of_the_nearest_angle_that_covers_it(places):
    tiles = Views(*zip(*places, strict=True)).tiles(SHAPE)
    for row, column in np.ndindex(SHAPE):
        surely, perhaps = {}, {}
        for i, (lon, lat, fov) in enumerate(places):
            cos, x, y = project(row, column, lon, lat)
            excess = max(abs(x), abs(y)) / math.tan(math.radians(fov) / 2) - 1
            if cos > EPS and excess < -EPS:
                surely[i] = cos
            if cos > -EPS and excess < EPS:
                perhaps[i] = cos
        i = tiles[row, column]
        if i == -1:
            assert not surely
        else:
            assert i in perhaps
            assert perhaps[i] >= max(surely.values(), default=-1) - EPS


@given(views, st.integers(1, SHAPE[1] - 1))
def test_views_turn_with_the_panorama(places, turn):
    lon, lat, fov = (np.array(values) for values in zip(*places, strict=True))
    # Off the grid, so that no pixel is on an edge or as near to two views.
    lon, lat, fov = lon + 0.123, 0.9 * lat + 0.456, fov + 0.789
    turned = Views(lon + turn * 360 / SHAPE[1], lat, fov).tiles(SHAPE)
    differ = turned != np.roll(Views(lon, lat, fov).tiles(SHAPE), turn, axis=1)
    assert differ.mean() <= 0.05


def test_of_equal_views_the_first_is_shown():
    tiles = Views([10.0, 10.0], [20.0, 20.0], [80.0, 80.0]).tiles(SHAPE)
    assert set(np.unique(tiles)) == {-1, 0}


@pytest.mark.parametrize("lat, row", [(90, 0), (-90, -1)])
def test_a_view_of_a_pole_covers_all_around_it(lat, row):
    tiles = Views([37.0], [lat], [90]).tiles((32, 64))
    assert (tiles[row] == 0).all()
    assert (tiles[16 if lat > 0 else 15] == -1).all()


@given(st.floats(-360, 360), st.floats(-85, 85))
def test_the_center_of_a_view_is_where_it_looks(lon, lat):
    """The pixel nearest to it is the one of the smallest angle, which a view of a few pixels covers."""
    ((column, row),) = Views([lon], [lat], [90]).centers(SHAPE)
    assert -0.5 <= column < SHAPE[1] - 0.5
    cos, x, y = project(row, column, lon, lat)
    assert cos == pytest.approx(1, abs=1e-12)
    assert max(abs(x), abs(y)) < 1e-6


LEGAL = {"top": 2, "left": 3, "size": 4}


@pytest.mark.parametrize(
    "change, legal",
    [
        ({}, True),
        ({"left": 15}, True),
        ({"left": 16}, False),
        ({"left": -1}, False),
        ({"top": 5}, True),
        ({"top": 6}, False),
        ({"top": -1}, False),
        ({"size": 0}, False),
        ({"top": 0, "size": 9}, True),
    ],
)
def test_crops_on_a_panorama(change, legal):
    places = {name: [value, LEGAL[name]] for name, value in {**LEGAL, **change}.items()}
    np.testing.assert_array_equal(Crops(**places).legal(SHAPE)[0], [legal, True])


def test_a_crop_must_not_lap_itself():
    assert not Crops([0], [0], [17]).legal((20, 16))[0]
    assert Crops([0], [9], [16]).legal((20, 16))[0]


@pytest.mark.parametrize(
    "place, legal",
    [
        ((400, 90, 179), True),
        ((0, 90.1, 90), False),
        ((0, -90.1, 90), False),
        ((0, 0, 0), False),
        ((0, 0, 180), False),
        ((math.nan, 0, 90), False),
        ((0, math.nan, 90), False),
    ],
)
def test_views_on_a_panorama(place, legal):
    np.testing.assert_array_equal(Views(*([value, 1.0] for value in place)).legal(SHAPE)[0], [legal, True])
