import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import ndimage
from scipy.spatial.transform import Rotation

from patchdistill.panorama import (
    cube_faces,
    projection,
    tangent_views,
    to_degrees,
    to_pixels,
    to_sphere,
    to_vectors,
    view_directions,
)
from patchdistill.panorama.interpolation import interpolate

BOTH = pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
INTERPOLATION = st.sampled_from(["bilinear", "bicubic"])
LON = st.floats(-720, 720) | st.sampled_from([-180.0, 0.0, 90.0, 180.0, 540.0])
LAT = st.floats(-90, 90) | st.sampled_from([-90.0, -89.99, 0.0, 89.99, 90.0])
FOV = st.floats(1, 170)
SIZE = st.integers(1, 12)
PLACES = np.array([(lon, lat) for lat in (-90, -89.9, -60, -30, 0, 30, 60, 89.9, 90) for lon in (-180, 0, 37, 179.9)]).T


def smooth(lon, lat):
    """Three channels of order 1, exact in every direction."""
    x, y, z = np.moveaxis(to_vectors(lon, lat), -1, 0)
    return np.stack([0.5 + 0.3 * x - 0.2 * y * z, 0.4 + 0.3 * z**2 + 0.2 * x * y * z, 0.5 - 0.4 * y + 0.1 * z**3], -1)


def smooth_panorama(height):
    row, column = np.indices((height, 2 * height))
    return smooth(*to_sphere(row, column, height, 2 * height))


def noise(seed, height=12, channels=2):
    return np.random.default_rng(seed).random((height, 2 * height, channels))


def continued(panorama, border=4):
    """The same picture with what lies beyond its borders, put there piece by piece."""
    opposite = np.roll(panorama, panorama.shape[1] // 2, axis=1)
    whole = np.concatenate([opposite[:border][::-1], panorama, opposite[-border:][::-1]])
    return np.concatenate([whole[:, -border:], whole, whole[:, :border]], axis=1)


def keys_kernel(s, a=-0.5):
    """Equation 4 of Keys' paper, for any a."""
    s = np.abs(s)
    near, far = (a + 2) * s**3 - (a + 3) * s**2 + 1, a * (s**3 - 5 * s**2 + 8 * s - 4)
    return np.where(s < 1, near, np.where(s < 2, far, 0))


# Directions


@given(LON, LAT, FOV, SIZE)
def test_pixels_look_through_the_tangent_plane(lon, lat, fov, size):
    seen = to_vectors(*view_directions([lon], [lat], fov, size))[0]
    edges = np.linspace(-1, 1, size + 1) * np.tan(np.deg2rad(fov / 2))
    centers = (edges[1:] + edges[:-1]) / 2
    right, down = np.meshgrid(centers, centers)
    rays = np.stack([np.ones_like(right), right, -down], axis=-1)
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    turned = Rotation.from_euler("ZY", [np.fmod(lon, 360), -lat], degrees=True).apply(rays.reshape(-1, 3))
    assert_allclose(seen.reshape(-1, 3), turned, atol=1e-13)


@given(LON, LAT, FOV, SIZE)
def test_directions_are_directions(lon, lat, fov, size):
    lons, lats = view_directions([lon, 0], [lat, 0], fov, size)
    assert lons.shape == lats.shape == (2, size, size)
    assert (lons >= -180).all() and (lons < 180).all()
    assert (np.abs(lats) <= 90).all()


@given(LON, LAT, FOV, st.integers(0, 5))
def test_the_middle_pixel_looks_where_the_view_does(lon, lat, fov, half):
    lons, lats = view_directions([lon], [lat], fov, 2 * half + 1)
    assert_allclose(lats[0, half, half], lat, atol=1e-12)
    assert_allclose((lons[0, half, half] - lon + 180) % 360, 180, atol=1e-9)


def test_the_edges_are_half_the_field_of_view_away():
    for fov in (10, 90, 150):
        lon, lat = view_directions([0, 90], [0, 0], fov, 1001)
        # Half of 1 / 1001 inside the edge the last pixel has its center.
        step = np.rad2deg(np.arctan(np.tan(np.deg2rad(fov / 2)) * 1000 / 1001))
        assert_allclose(lon[0, 500, [0, -1]], [-step, step])
        assert_allclose(lat[1, [0, -1], 500], [step, -step])


@pytest.mark.parametrize("lon", [0, 70, 180])
def test_meridians_of_views_at_the_poles(lon):
    lons, lats = view_directions([lon, lon], [90, -90], 90, 5)
    ahead, behind, right, left = [(lon + turn + 180) % 360 - 180 for turn in (0, 180, 90, -90)]
    for view, (above, below) in zip(lons, [(behind, ahead), (ahead, behind)], strict=True):
        seen = [view[0, 2], view[-1, 2], view[2, -1], view[2, 0]]
        assert_allclose(np.mod(seen, 360), np.mod([above, below, right, left], 360), atol=1e-12)
    assert_allclose(lats[:, 2, 2], [90, -90])
    assert (lats[0] > 0).all() and (lats[1] < 0).all()


# Values


@BOTH
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("fov", [10, 90, 140])
def test_a_smooth_panorama_is_reproduced_everywhere(fov, dtype, interpolation):
    views = tangent_views(smooth_panorama(128).astype(dtype), *PLACES, fov, 24, interpolation)
    assert views.dtype == dtype
    errors = np.abs(views - smooth(*view_directions(*PLACES, fov, 24)))
    assert errors.mean(axis=(1, 2, 3)).max() < 1e-4
    assert errors.max() < {"bilinear": 5e-4, "bicubic": 1e-5}[interpolation]


@BOTH
def test_a_smooth_8_bit_panorama_is_reproduced_to_a_gray_level(interpolation):
    views = tangent_views(np.rint(255 * smooth_panorama(128)).astype(np.uint8), *PLACES, 90, 24, interpolation)
    assert views.dtype == np.uint8
    errors = np.abs(views - 255 * smooth(*view_directions(*PLACES, 90, 24)))
    # Half a level of the picture, more where bicubic weights are negative, and half a level of the view.
    assert errors.max() < {"bilinear": 1.05, "bicubic": 1.3}[interpolation]
    assert errors.mean() < 0.5


@pytest.mark.parametrize(("interpolation", "order"), [("bilinear", 2), ("bicubic", 3)])
def test_errors_fall_with_the_order_of_the_kernel(interpolation, order):
    exact = smooth(*view_directions(*PLACES, 80, 16))
    coarse, fine = (
        np.abs(tangent_views(smooth_panorama(height), *PLACES, 80, 16, interpolation) - exact).mean()
        for height in (32, 128)
    )
    assert coarse / fine > 4 ** (order - 0.2)


@given(st.integers(0, 100), LON, LAT, FOV, SIZE)
def test_bilinear_is_that_of_scipy_on_the_continued_picture(seed, lon, lat, fov, size):
    panorama = noise(seed)
    row, column = (c + 4 for c in to_pixels(*view_directions([lon], [lat], fov, size), 12, 24))
    wide = continued(panorama)
    expected = [ndimage.map_coordinates(wide[..., c], (row, column), order=1) for c in range(2)]
    assert_allclose(tangent_views(panorama, [lon], [lat], fov, size), np.stack(expected, -1), atol=1e-9)


@given(st.integers(0, 100), LON, LAT, FOV, SIZE)
def test_bicubic_is_the_kernel_of_keys_on_the_continued_picture(seed, lon, lat, fov, size):
    panorama = noise(seed)
    row, column = (c.ravel() + 4 for c in to_pixels(*view_directions([lon], [lat], fov, size), 12, 24))
    down, across = (keys_kernel(c[:, None] - np.arange(n)) for c, n in ((row, 20), (column, 32)))
    expected = np.einsum("nr,nc,rck->nk", down, across, continued(panorama)).reshape(1, size, size, 2)
    assert_allclose(tangent_views(panorama, [lon], [lat], fov, size, "bicubic"), expected, atol=1e-9)


@BOTH
@pytest.mark.parametrize("height", [1, 2])
def test_pictures_smaller_than_the_kernel_go_round(height, interpolation):
    panorama = noise(0, height)
    # Around a picture of one row lies that row again, turned by half, and once more as it was.
    wide = panorama
    for _ in range(3):
        wide = continued(wide, 1 if height == 1 else 2)[:, 1:-1] if height == 1 else continued(wide, 2)[:, 2:-2]
    border = (len(wide) - height) // 2
    wide = np.concatenate([wide] * 5, axis=1)
    row, column = (c.ravel() for c in to_pixels(*view_directions([20], [75], 120, 9), height, 2 * height))
    kernel = keys_kernel if interpolation == "bicubic" else lambda s: np.maximum(0, 1 - np.abs(s))
    down = kernel(row[:, None] + border - np.arange(wide.shape[0]))
    across = kernel(column[:, None] + 4 * height - np.arange(wide.shape[1]))
    expected = np.einsum("nr,nc,rck->nk", down, across, wide).reshape(1, 9, 9, 2)
    assert_allclose(tangent_views(panorama, [20], [75], 120, 9, interpolation), expected, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_values_have_the_type_of_the_picture(dtype):
    assert interpolate(noise(0).astype(dtype), np.array([1.5]), np.array([2.5]), "bilinear").dtype == dtype


def test_bicubic_gives_quadratics_back():
    row, column = np.indices((16, 32))
    quadratic = (3 + 2 * row - column + row * column + 0.5 * row**2 - 0.25 * column**2)[..., None].astype(float)
    r, c = np.random.default_rng(0).uniform([[2], [2]], [[13], [29]], (2, 50))
    expected = (3 + 2 * r - c + r * c + 0.5 * r**2 - 0.25 * c**2)[:, None]
    assert_allclose(interpolate(quadratic, r, c, "bicubic"), expected, rtol=1e-12)
    assert np.abs(interpolate(quadratic, r, c, "bilinear") - expected).max() > 0.01


@given(st.integers(0, 11), st.integers(0, 23), FOV, st.integers(0, 3), INTERPOLATION)
def test_the_middle_pixel_of_a_view_at_a_pixel_is_that_pixel(row, column, fov, half, interpolation):
    panorama = noise(0)
    lon, lat = to_sphere([row], [column], 12, 24)
    view = tangent_views(panorama, lon, lat, fov, 2 * half + 1, interpolation)
    assert_allclose(view[0, half, half], panorama[row, column], atol=1e-11)
    levels = np.rint(255 * panorama).astype(np.uint8)
    assert_array_equal(
        tangent_views(levels, lon, lat, fov, 2 * half + 1, interpolation)[0, half, half], levels[row, column]
    )


@given(st.integers(-50, 50), LON, LAT, FOV, SIZE, INTERPOLATION)
def test_turning_the_panorama_turns_the_views(columns, lon, lat, fov, size, interpolation):
    panorama = noise(1)
    turned = tangent_views(np.roll(panorama, columns, axis=1), [lon + 15 * columns], [lat], fov, size, interpolation)
    assert_allclose(turned, tangent_views(panorama, [lon], [lat], fov, size, interpolation), atol=1e-9)


@given(LON, LAT, FOV, SIZE, INTERPOLATION)
def test_a_mirrored_panorama_has_mirrored_views(lon, lat, fov, size, interpolation):
    panorama = noise(2)
    view = tangent_views(panorama, [lon], [lat], fov, size, interpolation)
    left_right = tangent_views(panorama[:, ::-1], [-lon], [lat], fov, size, interpolation)
    up_down = tangent_views(panorama[::-1], [lon], [-lat], fov, size, interpolation)
    assert_allclose(left_right, view[:, :, ::-1], atol=1e-9)
    assert_allclose(up_down, view[:, ::-1], atol=1e-9)


@given(st.integers(0, 255), LON, LAT, st.floats(0.001, 179.99), SIZE, INTERPOLATION)
def test_views_of_one_color_have_it(level, lon, lat, fov, size, interpolation):
    for panorama in (np.full((7, 14, 2), level, np.uint8), np.full((7, 14, 2), level / 255)):
        views = tangent_views(panorama, [lon], [lat], fov, size, interpolation)
        assert_allclose(views, np.broadcast_to(panorama[0, 0], (1, size, size, 2)), rtol=1e-14)


@BOTH
def test_at_a_pole_longitude_turns_the_view(interpolation):
    # Without a pixel on the pole: what a panorama shows there is another value on every meridian.
    views = tangent_views(noise(3), [0, 90, 0, 90], [90, 90, -90, -90], 100, 8, interpolation)
    assert_allclose(views[1], np.rot90(views[0], -1), atol=1e-12)
    assert_allclose(views[3], np.rot90(views[2], 1), atol=1e-12)


@BOTH
@pytest.mark.parametrize("lat", [-90, -50, 0, 85])
def test_a_narrow_view_is_a_part_of_a_wide_one(lat, interpolation):
    panorama = smooth_panorama(128)
    wide, narrow = (
        tangent_views(panorama, [170], [lat], fov, size, interpolation)[0] for fov, size in ((90, 200), (40, 31))
    )
    scale = np.tan(np.deg2rad(20)) / np.tan(np.deg2rad(45)) * 200 / 31
    places = (np.indices((31, 31)) - 15) * scale + 99.5
    expected = np.stack([ndimage.map_coordinates(wide[..., c], places, order=1) for c in range(3)], -1)
    assert_allclose(narrow, expected, atol=5e-4)


@BOTH
def test_8_bit_views_are_rounded_float_views(interpolation):
    levels = np.random.default_rng(4).integers(0, 256, (16, 32, 3), dtype=np.uint8)
    places = to_degrees(np.random.default_rng(5).normal(size=(20, 3)))
    exact = tangent_views(levels.astype(np.float64), *places, 100, 16, interpolation)
    views = tangent_views(levels, *places, 100, 16, interpolation)
    assert views.dtype == np.uint8
    assert np.abs(views - np.clip(exact, 0, 255)).max() < 0.5 + 1e-4
    single = tangent_views(levels.astype(np.float32), *places, 100, 16, interpolation)
    assert single.dtype == np.float32
    assert_allclose(single, exact, atol=2e-4)


def test_overshoot_is_cut_from_8_bit_and_left_in_float():
    levels = np.zeros((16, 32, 1), np.uint8)
    levels[:, 16:] = 255
    view, exact = (tangent_views(p, [0], [0], 20, 64, "bicubic") for p in (levels, levels.astype(float)))
    assert exact.min() < -5 and exact.max() > 260
    assert set(view[exact < 0].tolist()) == {0} and set(view[exact > 255].tolist()) == {255}


# Cubes


@BOTH
def test_faces_of_a_cube_are_views(interpolation):
    panorama = noise(6)
    faces = cube_faces(panorama, 10, interpolation)
    assert faces.shape == (6, 10, 10, 2)
    around = tangent_views(panorama, [0, 90, 180, -90], [0] * 4, 90, 10, interpolation)
    assert_array_equal(faces[:4], around)
    assert_array_equal(faces[4:], tangent_views(panorama, [0, 0], [90, -90], 90, 10, interpolation))


@BOTH
def test_faces_of_a_cube_meet_at_all_twelve_edges(interpolation):
    faces = cube_faces(smooth_panorama(128), 64, interpolation)
    front, right, back, left, up, down = ({} for _ in range(6))
    for face, edges in zip(faces, (front, right, back, left, up, down), strict=True):
        # Extrapolated by half a pixel.
        edges["top"], edges["bottom"] = 1.5 * face[0] - 0.5 * face[1], 1.5 * face[-1] - 0.5 * face[-2]
        edges["left"], edges["right"] = 1.5 * face[:, 0] - 0.5 * face[:, 1], 1.5 * face[:, -1] - 0.5 * face[:, -2]
    pairs = [(a["right"], b["left"]) for a, b in ((front, right), (right, back), (back, left), (left, front))]
    pairs += [(up["bottom"], front["top"]), (up["right"], right["top"][::-1])]
    pairs += [(up["top"], back["top"][::-1]), (up["left"], left["top"])]
    pairs += [(down["top"], front["bottom"]), (down["right"], right["bottom"])]
    pairs += [(down["bottom"], back["bottom"][::-1]), (down["left"], left["bottom"][::-1])]
    for edge, other in pairs:
        assert_allclose(edge, other, atol=1e-3)
        assert np.abs(edge - other[::-1]).max() > 0.02


# Memory and forms of input


def test_pictures_are_not_converted_as_a_whole():
    panorama = np.zeros((1024, 2048, 3), np.uint8)
    for size, n_views in ((32, 40), (1024, 1)):
        tracemalloc.start()
        views = tangent_views(panorama, np.zeros(n_views), np.zeros(n_views), 90, size)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak - views.nbytes < 5e6


@pytest.mark.parametrize("block", [1, 50, 10**6])
def test_bands_of_large_views_fit_together(block, monkeypatch):
    monkeypatch.setattr(projection, "_BLOCK", block)
    view = tangent_views(noise(7), [30], [50], 110, 21)[0]
    row, column = to_pixels(*(angle[0] for angle in view_directions([30], [50], 110, 21)), 12, 24)
    assert_allclose(view, interpolate(noise(7), row, column, "bilinear"), atol=1e-12)


def test_views_do_not_depend_on_each_other_nor_on_how_the_picture_lies_in_memory(tmp_path):
    panorama = noise(8)
    lon, lat = to_degrees(np.random.default_rng(8).normal(size=(7, 3)))
    views = tangent_views(panorama, lon, lat, 70, 8)
    for i in range(7):
        assert_array_equal(views[i : i + 1], tangent_views(panorama, lon[i : i + 1], lat[i : i + 1], 70, 8))
    np.save(tmp_path / "p.npy", panorama)
    slices = np.repeat(noise(8), 2, axis=1)[:, ::2]
    before = panorama.copy()
    for same in (slices, np.asfortranarray(panorama), panorama.tolist(), np.load(tmp_path / "p.npy", mmap_mode="r")):
        assert_array_equal(tangent_views(same, list(lon), list(lat), 70, 8), views)
    assert_array_equal(panorama, before)


def test_no_views_and_any_number_of_channels():
    assert tangent_views(noise(0), [], [], 90, 8).shape == (0, 8, 8, 2)
    for channels in (1, 4, 7):
        assert_array_equal(
            tangent_views(noise(0, 12, 7)[..., :channels], [3], [4], 90, 8),
            tangent_views(noise(0, 12, 7), [3], [4], 90, 8)[..., :channels],
        )


def test_real_panorama(data_dir):
    from patchdistill.images import list_images, read_image

    panorama = read_image(list_images(data_dir / "panoramas")[0])
    # Near the equator and as large as the picture's, the view's pixels lie on those up to a hundredth.
    fov = 2 * np.rad2deg(np.arctan(np.tan(2 * np.pi / 2048) * 29 / 2))
    view = tangent_views(panorama, *to_sphere([511], [1024], 1024, 2048), fov, 29)[0]
    excerpt = panorama[511 - 14 : 511 + 15, 1024 - 14 : 1024 + 15]
    assert excerpt.std() > 20
    assert np.abs(view.astype(float) - excerpt).mean() < 0.5


# The other package


@BOTH
def test_agrees_with_py360convert(interpolation):
    py360convert = pytest.importorskip("py360convert")
    panorama, size, fov = smooth_panorama(128), 32, 80
    # Its cubic kernel reads further than the one pixel by which it continues the picture, and finds zeros there.
    places = PLACES if interpolation == "bilinear" else np.array([[0, 37, -50], [0, 20, -30]])
    # There, the angle is that between the centers of the outermost pixels.
    inner = np.rad2deg(2 * np.arctan(np.tan(np.deg2rad(fov / 2)) * (size - 1) / size))
    views = tangent_views(panorama, *places, fov, size, interpolation)
    for view, lon, lat in zip(views, *places, strict=True):
        other = py360convert.e2p(panorama, inner, lon, lat, (size, size), mode=interpolation)
        # It rounds coordinates to 1/32 pixel if OpenCV is there.
        assert_allclose(other, view, atol=1e-3)


# Errors


@pytest.mark.parametrize(
    ("panorama", "message"),
    [
        (np.zeros((8, 16)), r"shape \(8, 16\), but \(height, width, n_channels\) is expected. Add the axis with pano"),
        (np.zeros((2, 8, 16, 3)), r"shape \(2, 8, 16, 3\), but \(height, width, n_channels\) is expected\.$"),
        (np.zeros((0, 0, 3)), r"shape \(0, 0, 3\), but"),
        (np.zeros((8, 16, 0)), r"shape \(8, 16, 0\), but"),
        (np.zeros((16, 16, 3)), r"has 16 x 16 pixels \(height x width\).*twice as wide as high. Split stereo pairs"),
        (np.zeros((8, 17, 3)), "8 x 17 pixels"),
        (np.zeros((8, 16, 3), int), "dtype int64, but uint8, float32 or float64 is expected. Convert"),
        (np.zeros((8, 16, 3), np.uint16), "dtype uint16"),
        (np.zeros((8, 16, 3), np.float16), "dtype float16"),
        (np.zeros((8, 16, 3), bool), "dtype bool"),
        (np.full((8, 16, 3), np.nan), "^Input panorama contains NaN"),
        (np.full((8, 16, 3), np.inf, np.float32), "^Input panorama contains infinity"),
    ],
    ids=str,
)
def test_other_pictures_are_refused(panorama, message):
    for call in (lambda: tangent_views(panorama, [0], [0], 90, 4), lambda: cube_faces(panorama, 4)):
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"fov": 180}, r"'fov' parameter of {} must be a float in the range \(0.0, 180.0\)"),
        ({"fov": 0}, "'fov'"),
        ({"fov": np.nan}, "'fov'"),
        ({"fov": [90, 90]}, "'fov'"),
        ({"size": 0}, "'size' parameter of {} must be an int in the range .1, inf"),
        ({"size": 8.0}, "'size'"),
        ({"interpolation": "nearest"}, "'interpolation' parameter of {} must be a str among .*'bi.*Got 'nearest'"),
        ({"interpolation": None}, "'interpolation'"),
    ],
    ids=str,
)
def test_other_parameters_are_refused(parameters, message):
    calls = {"tangent_views": lambda: tangent_views(noise(0), [0], [0], **parameters)}
    if "fov" not in parameters:
        calls["cube_faces"] = lambda: cube_faces(noise(0), **parameters)
    if "interpolation" not in parameters:
        calls["view_directions"] = lambda: view_directions([0], [0], **parameters)
    for caller, call in calls.items():
        with pytest.raises(ValueError, match=message.format(caller)):
            call()


@pytest.mark.parametrize(
    ("lon", "lat", "message"),
    [
        ([0, np.nan], [0, 0], "View 1 has lon=nan and lat=0; both must be finite degrees"),
        ([0], [-90.5], "View 0 has lon=0 and lat=-90.5"),
        ([0], [0, 1], r"lon and lat have shapes \(1,\) and \(2,\); give two 1-D arrays"),
        (0, 0, "give two 1-D arrays"),
    ],
    ids=str,
)
def test_other_directions_are_refused(lon, lat, message):
    for call in (lambda: tangent_views(noise(0), lon, lat, 90, 4), lambda: view_directions(lon, lat, 90, 4)):
        with pytest.raises(ValueError, match=message):
            call()
