from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.spatial.transform import Rotation

from patchdistill.panorama import angular_distance, solid_angles, to_degrees, to_pixels, to_sphere, to_vectors
from patchdistill.panorama.sphere import check_views, wrap_lon

LON = st.floats(-1e6, 1e6) | st.sampled_from(
    [-180.0, 0.0, 180.0, 540.0, np.nextafter(180, 0), np.nextafter(-180, -181)]
)
LAT = st.floats(-90, 90) | st.sampled_from([-90.0, 0.0, 90.0])
TINY = st.floats(-1e-4, 1e-4) | st.floats(-1e-9, 1e-9)
SIDE = st.integers(1, 2**14)
DEGREE = np.longdouble("3.14159265358979323846264338327950288") / 180


def exact_distance(lon1, lat1, lon2, lat2):
    """Cross and inner product in extended precision; the arctangent loses nothing at either end."""
    v, w = (
        np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)
        for lon, lat in (np.longdouble([lon1, lat1]) * DEGREE, np.longdouble([lon2, lat2]) * DEGREE)
    )
    return float(np.arctan2(np.sqrt(np.sum(np.cross(v, w) ** 2)), np.sum(v * w)) / DEGREE)


@st.composite
def pairs(draw):
    """Two directions, often nearly the same or nearly opposite."""
    lon, lat = draw(LON), draw(LAT)
    kind = draw(st.sampled_from(["any", "near", "opposite"]))
    if kind == "any":
        return lon, lat, draw(LON), draw(LAT)
    other_lon, other_lat = (lon, lat) if kind == "near" else (lon + 180, -lat)
    return lon, lat, other_lon + draw(TINY), float(np.clip(other_lat + draw(TINY), -90, 90))


@given(LON, LAT)
def test_vectors_are_turns_of_the_x_axis(lon, lat):
    turned = Rotation.from_euler("ZY", [np.fmod(lon, 360), -lat], degrees=True).apply([1, 0, 0])
    assert_allclose(to_vectors(lon, lat), turned, atol=1e-14)


def test_vectors_broadcast():
    lon, lat = np.array([[0.0], [30]]), np.array([-45.0, 0, 10])
    vectors = to_vectors(lon, lat)
    assert vectors.shape == (2, 3, 3)
    for i, j in np.ndindex(2, 3):
        assert_array_equal(vectors[i, j], to_vectors(lon[i, 0], lat[j]))


@given(LON, LAT, st.floats(1e-3, 1e3))
def test_degrees_are_the_way_back_from_vectors(lon, lat, length):
    back_lon, back_lat = to_degrees(length * to_vectors(lon, lat))
    assert -180 <= back_lon < 180
    assert angular_distance(lon, lat, back_lon, back_lat) < 1e-12
    if abs(lat) < 89:
        assert abs((back_lon - lon + 180) % 360 - 180) < 1e-9


@given(st.floats(-1e12, 1e12) | LON)
def test_wrapping_takes_whole_turns_and_rounds_nothing(lon):
    wrapped = float(wrap_lon(lon))
    assert -180 <= wrapped < 180
    assert (Fraction(lon) - Fraction(wrapped)) % 360 == 0


@given(SIDE, SIDE, st.data())
def test_centers_of_pixels(height, width, data):
    row, column = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    lon, lat = to_sphere(row, column, height, width)
    assert_allclose(lon, 360 * (column + 0.5) / width - 180, rtol=0, atol=1e-12)
    assert_allclose(lat, 90 - 180 * (row + 0.5) / height, rtol=0, atol=1e-12)
    assert_allclose(to_pixels(lon, lat, height, width), (row, column), rtol=0, atol=1e-10)


@given(LON, LAT, SIDE, SIDE)
def test_sphere_is_the_way_back_from_pixels(lon, lat, height, width):
    row, column = to_pixels(lon, lat, height, width)
    assert -0.5 <= row <= height - 0.5
    assert -0.5 <= column < width - 0.5
    back_lon, back_lat = to_sphere(row, column, height, width)
    assert -180 <= back_lon < 180
    assert abs((back_lon - lon + 180) % 360 - 180) < 1e-9
    assert_allclose(back_lat, lat, rtol=0, atol=1e-12)


def test_corners_of_a_picture():
    row, column = to_pixels([-180, 180, np.nextafter(180, 0), 0], [90, -90, 0, 0], 50, 100)
    assert_array_equal(row, [-0.5, 49.5, 24.5, 24.5])
    assert_array_equal(column, [-0.5, -0.5, -0.5, 49.5])


def test_poles_are_exact_at_every_size():
    for height in range(1, 7000):
        row, column = to_pixels([0, -180], [90, -90], height, 2 * height)
        assert_array_equal(row, [-0.5, height - 0.5])
        assert_array_equal(to_sphere(row, column, height, 2 * height), [[0, -180], [90, -90]])


def test_columns_go_round():
    assert_allclose(to_sphere(0, [7, 107, -93, 99.5], 50, 100)[0], [-153, -153, -153, -180], atol=1e-12)


@given(SIDE, SIDE)
def test_solid_angles_are_integrals_and_cover_the_sphere(height, width):
    angles = solid_angles(height, width)
    edges = np.pi / 2 - np.pi * np.arange(height + 1) / height
    assert angles.shape == (height,)
    assert_allclose(angles, 2 * np.pi / width * -np.diff(np.sin(edges)), rtol=0, atol=1e-14 / width)
    assert_allclose(width * angles.sum(), 4 * np.pi, rtol=1e-13)
    # At a pole the difference of sines is nothing but rounding; the cap's area is not: 2 pi (1 - cos).
    assert_allclose(angles[[0, -1]], 4 * np.pi / width * np.sin(np.pi / height / 2) ** 2, rtol=1e-11)


@given(pairs())
def test_distances_are_accurate_near_nothing_and_near_opposites(pair):
    lon1, lat1, lon2, lat2 = pair
    turned = np.fmod(lon1, 360), lat1, np.fmod(lon2, 360), lat2
    exact = exact_distance(*turned)
    assert_allclose(angular_distance(*pair), exact, rtol=1e-12, atol=3e-14)
    assert_allclose(180 - angular_distance(*pair), 180 - exact, rtol=1e-12, atol=6e-14)


@given(st.integers(0, 1000), st.integers(0, 1000))
def test_distances_do_not_change_when_the_sphere_turns(seed, turn):
    v, w = np.random.default_rng(seed).normal(size=(2, 20, 3))
    rotation = Rotation.random(random_state=turn)
    distances = angular_distance(*to_degrees(v), *to_degrees(w))
    assert_allclose(angular_distance(*to_degrees(rotation.apply(v)), *to_degrees(rotation.apply(w))), distances)
    assert_array_equal(angular_distance(*to_degrees(w), *to_degrees(v)), distances)


def test_distances_broadcast():
    lon, lat = to_degrees(np.random.default_rng(0).normal(size=(6, 3)))
    distances = angular_distance(lon[:, None], lat[:, None], lon, lat)
    assert distances.shape == (6, 6)
    for i, j in np.ndindex(6, 6):
        assert_allclose(distances[i, j], exact_distance(lon[i], lat[i], lon[j], lat[j]), atol=1e-13)


@given(LAT, LON, LON)
def test_distance_to_a_pole_is_the_colatitude(lat, lon1, lon2):
    assert_allclose(angular_distance(lon1, lat, lon2, 90), 90 - lat, atol=1e-13)


BAD = [(np.nan, 0), (np.inf, 0), (0, np.nan), (0, -np.inf), (0, 90.001), (0, -91)]


@pytest.mark.parametrize(("lon", "lat"), BAD, ids=str)
def test_what_is_no_direction_is_refused(lon, lat):
    message = f"has lon={lon:g} and lat={lat:g}; both must be finite degrees, lat in .-90, 90.. Convert polar"
    for function, arguments in [(to_vectors, ()), (to_pixels, (5, 10)), (angular_distance, (0, 0))]:
        with pytest.raises(ValueError, match=f"Direction {message}"):
            function(lon, lat, *arguments)
        with pytest.raises(ValueError, match=f"Direction 1 {message}"):
            function([0, lon, np.nan], [0, lat, 0], *arguments)
    with pytest.raises(ValueError, match=f"Direction 0, 1 {message}"):
        to_vectors([[0, lon]], [[0, lat]])
    with pytest.raises(ValueError, match=f"Direction {message}"):
        angular_distance(0, 0, lon, lat)
    with pytest.raises(ValueError, match=f"View 0 {message}"):
        check_views([lon], [lat])


def test_a_wrong_entry_of_shapes_that_broadcast_is_named():
    with pytest.raises(ValueError, match="Direction 1, 2 has lon=7 and lat=95"):
        to_vectors([5, 6, 7], np.array([[0, 0, 0], [0, 0, 95]]))
    with pytest.raises(ValueError, match="Direction 1 has lon=5 and lat=95"):
        to_vectors(5, [0, 95])


@pytest.mark.parametrize(("lon", "lat"), [([0, 1], [0]), (0, 0), ([[0, 1]], [[0, 1]]), ([0], 0)])
def test_views_come_one_by_one(lon, lat):
    with pytest.raises(ValueError, match=r"lon and lat have shapes \(.* give two 1-D arrays, one entry of each"):
        check_views(lon, lat)


@pytest.mark.parametrize("vectors", [1.0, [1, 0], np.zeros((3, 2))], ids=str)
def test_vectors_have_three_entries(vectors):
    with pytest.raises(ValueError, match=r"vectors have shape \(.*\); their last axis must hold x, y and z"):
        to_degrees(vectors)


@pytest.mark.parametrize("vector", [[0, 0, 0], [0, np.nan, 1], [np.inf, 0, 0]], ids=str)
def test_vectors_point_somewhere(vector):
    with pytest.raises(ValueError, match=r"^\[ *[0-9]*.* is no direction; vectors must be finite and longer than zero"):
        to_degrees([[1, 0, 0], vector])


@pytest.mark.parametrize("row", [-0.51, 9.51, np.nan])
def test_rows_beyond_a_pole_are_refused(row):
    with pytest.raises(ValueError, match=r"Rows from .* do not lie in \[-0.5, 9.5\], between the poles"):
        to_sphere([3, row], 0, 10, 20)


@pytest.mark.parametrize("column", [np.nan, np.inf])
def test_columns_are_finite(column):
    with pytest.raises(ValueError, match="column holds NaN or infinity"):
        to_sphere(0, [0, column], 10, 20)


@pytest.mark.parametrize("size", [(0, 20), (10, 0), (10.5, 20), (10, None)], ids=str)
def test_a_picture_has_pixels(size):
    name = "width" if size[0] == 10 else "height"
    calls = {"to_pixels": lambda: to_pixels(0, 0, *size), "to_sphere": lambda: to_sphere(0, 0, *size)}
    for caller, call in {**calls, "solid_angles": lambda: solid_angles(*size)}.items():
        with pytest.raises(ValueError, match=f"The '{name}' parameter of {caller} must be an int"):
            call()


@given(LON, LAT)
def test_far_meridians_are_the_near_ones(lon, lat):
    assume(abs(lat) < 89)
    near = float(np.fmod(lon, 360))
    assert_array_equal(to_vectors(lon, lat), to_vectors(near, lat))
    assert_array_equal(to_pixels(lon, lat, 64, 128), to_pixels(near, lat, 64, 128))
