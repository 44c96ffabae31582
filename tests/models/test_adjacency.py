import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from scipy.spatial.transform import Rotation

from patchdistill import PatchBags
from patchdistill.models.adjacency import view_adjacency
from patchdistill.models.fixed_k import FixedK

LON = st.floats(-1e6, 1e6)
LAT = st.floats(-90, 90) | st.sampled_from([-90.0, 0.0, 90.0])
TINY = st.floats(-1e-4, 1e-4) | st.floats(-1e-9, 1e-9)
DEGREE = np.longdouble("3.14159265358979323846264338327950288") / 180


def vectors(lon, lat, degree=DEGREE):
    lon, lat = lon * degree, lat * degree
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)


def directions(xyz):
    x, y, z = xyz.T
    return np.rad2deg(np.arctan2(y, x)), np.rad2deg(np.arctan2(z, np.hypot(x, y)))


def angles(lon, lat):
    """Cross and inner product in extended precision; the arctangent loses nothing at either end."""
    v = vectors(np.asarray(lon, np.longdouble), np.asarray(lat, np.longdouble))
    sine = np.linalg.norm(np.cross(v[:, None], v[None]).astype(np.longdouble), axis=-1)
    return np.arctan2(sine, v @ v.T) / DEGREE


@st.composite
def pairs(draw):
    """Two directions, often nearly the same or nearly opposite."""
    lon, lat = draw(LON), draw(LAT)
    kind = draw(st.sampled_from(["any", "near", "opposite"]))
    if kind == "any":
        return [lon, draw(LON)], [lat, draw(LAT)]
    other_lon, other_lat = (lon, lat) if kind == "near" else (lon + 180, -lat)
    return [lon, other_lon + draw(TINY)], [lat, np.clip(other_lat + draw(TINY), -90, 90)]


def views(seed, n=12):
    return directions(np.random.default_rng(seed).normal(size=(n, 3)))


@given(pairs())
def test_the_angle_at_which_views_become_neighbors_is_accurate(pair):
    angle = float(angles(*pair)[0, 1])
    assert view_adjacency(*pair, max_angle=np.clip(angle, 1e-12, 180))[0, 1] == 1
    if angle > 3e-9:
        assert view_adjacency(*pair, max_angle=angle - 2e-9)[0, 1] == 0


@given(st.integers(0, 1000), st.floats(1, 179))
def test_agrees_with_the_arccosine(seed, max_angle):
    lon, lat = views(seed)
    v = vectors(lon, lat, np.pi / 180)
    cosines = v @ v.T
    assume((np.abs(cosines - np.cos(np.deg2rad(max_angle))) > 1e-9).all())
    assert_array_equal(view_adjacency(lon, lat, max_angle), cosines > np.cos(np.deg2rad(max_angle)))


@given(st.integers(0, 1000), st.integers(0, 1000), st.floats(1, 179))
def test_turning_the_sphere_changes_nothing(seed, turn, max_angle):
    lon, lat = views(seed)
    assume((np.abs(angles(lon, lat) - max_angle) > 1e-6).all())
    turned = directions(Rotation.random(random_state=turn).apply(vectors(lon, lat, np.pi / 180)))
    assert_array_equal(view_adjacency(*turned, max_angle), view_adjacency(lon, lat, max_angle))


@given(st.lists(st.tuples(LON, LAT), min_size=1, max_size=8), st.floats(1e-6, 180))
def test_is_symmetric_with_ones_on_the_diagonal(places, max_angle):
    adjacency = view_adjacency(*zip(*places, strict=True), max_angle)
    assert adjacency.shape == (len(places), len(places))
    assert adjacency.dtype == np.float64
    assert_array_equal(adjacency, adjacency.T)
    assert_array_equal(np.diag(adjacency), np.ones(len(places)))
    assert np.isin(adjacency, [0, 1]).all()


@given(st.integers(0, 1000), st.lists(st.integers(-1000, 1000), min_size=12, max_size=12), st.floats(1, 179))
def test_longitudes_wrap(seed, turns, max_angle):
    lon, lat = views(seed)
    assume((np.abs(angles(lon, lat) - max_angle) > 1e-6).all())
    expected = view_adjacency(lon, lat, max_angle)
    assert_array_equal(view_adjacency(lon + 360 * np.array(turns), lat, max_angle), expected)


@given(st.integers(0, 1000), st.permutations(range(12)))
def test_order_of_views_is_that_of_rows_and_columns(seed, order):
    lon, lat = views(seed)
    assert_array_equal(view_adjacency(lon[order], lat[order]), view_adjacency(lon, lat)[np.ix_(order, order)])


@given(st.integers(0, 1000), st.tuples(st.floats(1, 180), st.floats(1, 180)))
def test_a_larger_angle_adds_neighbors(seed, limits):
    few, many = (view_adjacency(*views(seed), max_angle) for max_angle in sorted(limits))
    assert (few <= many).all()


@given(st.floats(-720, 720), st.floats(0.001, 90))
def test_views_exactly_that_far_apart_are_neighbors(start, max_angle):
    assert view_adjacency([start, start + max_angle], [0, 0], max_angle).all()
    assert view_adjacency([start, start], [-max_angle / 3, 2 * max_angle / 3], max_angle).all()


def test_tolerance_is_a_billionth_of_a_degree():
    for lon, lat in (([0, 45 + 5e-10], [0, 0]), ([10, 10], [-20, 25 + 5e-10])):
        assert view_adjacency(lon, lat).all()
    for lon, lat in (([0, 45 + 2e-9], [0, 0]), ([10, 10], [-20, 25 + 2e-9])):
        assert_array_equal(view_adjacency(lon, lat), np.eye(2))


def test_views_of_a_cube_and_of_a_ring():
    lon, lat = [0, 90, 180, 270, 0, 0], [0, 0, 0, 0, 90, -90]
    opposite = np.kron(np.eye(3), [[0, 1], [1, 0]])[np.ix_([0, 2, 1, 3, 4, 5], [0, 2, 1, 3, 4, 5])]
    assert_array_equal(view_adjacency(lon, lat, 90), 1 - opposite)
    assert_array_equal(view_adjacency(lon, lat, 180), np.ones((6, 6)))
    ring = view_adjacency(np.arange(8) * 45, np.zeros(8))
    assert_array_equal(ring, sum(np.roll(np.eye(8), shift, axis=0) for shift in (-1, 0, 1)))


def test_longitude_does_not_matter_at_a_pole():
    assert view_adjacency([0, 77, 200], [90, 90, 90], 1e-6).all()


def test_turns_of_any_number_are_taken():
    assert view_adjacency([1e308, -1e308, 0], [0, 0, 0], 180).all()


def test_fields_of_padded_bags():
    X = PatchBags(np.ones((2, 1)), [0, 2], fields={"lon": np.float32([0, 180]), "lat": np.float32([0, 0])})
    fixed = FixedK(3).transform(X)
    adjacency = view_adjacency(fixed.field("lon", 0), fixed.field("lat", 0))
    assert_array_equal(adjacency, [[1, 0, 1], [0, 1, 0], [1, 0, 1]])


@pytest.mark.parametrize(("lon", "lat"), [([0, 1], [0]), (0, 0), ([[0, 1]], [[0, 1]])])
def test_refuses_other_shapes(lon, lat):
    with pytest.raises(ValueError, match="lon and lat have shapes .* give two 1-D arrays"):
        view_adjacency(lon, lat)


@pytest.mark.parametrize(
    ("lon", "lat"), [(np.nan, 0), (np.inf, 0), (0, np.nan), (0, -np.inf), (0, 90.001), (0, -91)], ids=str
)
def test_refuses_other_directions(lon, lat):
    with pytest.raises(ValueError, match=rf"View 1 has lon={lon:g} and lat={lat:g}; both must be finite degrees"):
        view_adjacency([0, lon, np.nan], [0, lat, 0])


@pytest.mark.parametrize("max_angle", [0, -1, 180.5, np.nan, np.inf, "45", None])
def test_refuses_other_angles(max_angle):
    with pytest.raises(ValueError, match=r"'max_angle' parameter of view_adjacency must be a float in the range \(0"):
        view_adjacency([0], [0], max_angle)
