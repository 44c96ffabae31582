import hashlib
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from sklearn.base import clone

from patchdistill import PatchBags, ResidualPatchSelector
from patchdistill.baselines import RandomPatchSelector
from patchdistill.cutting import CutPatches
from patchdistill.embedding import PatchStatistics
from patchdistill.panorama import (
    FibonacciSampler,
    LatitudeSampler,
    RandomSampler,
    TrajectorySampler,
    UniformSampler,
    crop_centers,
    cut_over_seam,
    fibonacci_directions,
    latitude_positions,
    random_directions,
    tangent_views,
    to_sphere,
    to_vectors,
)
from patchdistill.sampling import GridSampler

SAMPLERS = [UniformSampler, LatitudeSampler, FibonacciSampler, RandomSampler, TrajectorySampler]
SEEDED = [RandomSampler, TrajectorySampler]
VIEWS = ["erp", "tangent"]

RNG = np.random.default_rng(0)
IMAGES = [RNG.integers(0, 256, (height, 2 * height, 3), dtype=np.uint8) for height in (48, 64, 48)]


def recut(image, bags, i):
    """Patches of image `i`, cut anew from what their fields say."""
    if "top" in bags.fields:
        return cut_over_seam(image, bags.field("top", i), bags.field("left", i), 16)
    lon, lat, fov = (bags.field(name, i) for name in ("lon", "lat", "fov"))
    return np.concatenate([tangent_views(image, [a], [b], c, 16) for a, b, c in zip(lon, lat, fov, strict=True)])


def assert_same_bags(one, other):
    assert sorted(one.fields) == sorted(other.fields)
    for name in one.fields:
        assert_array_equal(one.fields[name], other.fields[name])
    assert_array_equal(one.values, other.values)


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("Sampler", SAMPLERS)
@settings(max_examples=8)
@given(data=st.data())
def test_counts_are_exact_and_patches_lie_where_their_fields_say(Sampler, view, data):
    size = data.draw(st.integers(1, 20))
    heights = data.draw(st.lists(st.integers(size + 1, 50), min_size=1, max_size=2))
    sampler = Sampler(data.draw(st.integers(9, 40)), size, view)
    images = [RNG.integers(0, 256, (height, 2 * height, 3), dtype=np.uint8) for height in heights]
    bags = sampler.transform(images)
    assert bags.n_patches.tolist() == [sampler.n_patches] * len(images)
    assert bags.values.shape == (len(images) * sampler.n_patches, size, size, 3)
    for i, height in enumerate(heights):
        lon, lat, fov = (bags.field(name, i) for name in ("lon", "lat", "fov"))
        assert lon.min() >= -180 and lon.max() < 180 and np.abs(lat).max() <= 90
        assert_allclose(fov, 180 * size / height)
        assert_array_equal(bags.field("patch_index", i), np.arange(sampler.n_patches))
        if view == "erp":
            top, left = bags.field("top", i), bags.field("left", i)
            assert top.min() >= 0 and top.max() + size <= height
            assert_array_equal(bags.field("size", i), size)
            assert_array_equal(crop_centers(top, left, height, 2 * height, size), (lon, lat))
            assert_array_equal(bags[i], cut_over_seam(images[i], top, left, size))
        else:
            assert_array_equal(bags[i], tangent_views(images[i], lon, lat, 180 * size / height, size))


@pytest.mark.parametrize("view", VIEWS)
def test_samplers_place_by_their_rule(view):
    height = 64
    uniform, latitude, fibonacci, random = (
        Sampler(30, 16, view).transform([IMAGES[1]])
        for Sampler in (UniformSampler, LatitudeSampler, FibonacciSampler, RandomSampler)
    )
    grid = GridSampler(30, 16).transform([IMAGES[1]])
    rows = latitude_positions(height, 2 * height, 30, 16)
    for bags, (top, left) in ((uniform, (grid.field("top", 0), grid.field("left", 0))), (latitude, rows)):
        lon, lat = crop_centers(top, left, height, 2 * height, 16)
        assert_array_equal(bags.field("lon", 0), lon)
        assert_array_equal(bags.field("lat", 0), lat)
        if view == "erp":
            assert_array_equal(bags.field("top", 0), top)
            assert_array_equal(bags.field("left", 0), left)
    pixel = 0 if view == "tangent" else 180 / height
    for bags, (lon, lat) in ((fibonacci, fibonacci_directions(30)), (random, random_directions(30, 0))):
        inside = np.abs(lat) < 90 - 8 * 180 / height
        assert inside.sum() > 15
        assert_allclose(bags.field("lat", 0)[inside], lat[inside], atol=pixel / 2 + 1e-9)
        assert_allclose((bags.field("lon", 0) - lon + 180) % 360 - 180, 0, atol=pixel / 2 + 1e-9)


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("Sampler", SAMPLERS)
def test_lazy_is_eager_and_paths_are_arrays(Sampler, view, tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for path, image in zip(paths, IMAGES, strict=True):
        Image.fromarray(image).save(path)
    sampler = Sampler(12, 16, view)
    from_paths, from_arrays = sampler.transform(paths), sampler.transform(IMAGES)
    assert from_paths.ids.tolist() == ["0", "1", "2"]
    assert isinstance(from_paths.values, CutPatches) and from_paths.values.dtype == np.uint8
    assert_same_bags(from_paths, from_arrays)
    for i, image in enumerate(IMAGES):
        assert_array_equal(from_paths[i], recut(image, from_paths, i))


@pytest.mark.parametrize("view", VIEWS)
def test_geometry_survives_selection(view):
    bags = LatitudeSampler(12, 16, view).transform(IMAGES)
    kept = ResidualPatchSelector(h=2, rate=5).fit_transform(PatchStatistics().transform(bags))
    assert isinstance(kept.fields["pixels"], CutPatches)
    for i, image in enumerate(IMAGES):
        assert_array_equal(kept.field("pixels", i), recut(image, kept, i))
    for some, images in [
        (bags[1:], IMAGES[1:]),
        (bags[[2, 0]], [IMAGES[2], IMAGES[0]]),
        (bags[np.array([True, False, True])], [IMAGES[0], IMAGES[2]]),
        (bags.take([[3, 1], [11], [0, 4, 2]]), IMAGES),
        (RandomPatchSelector(rate=4).fit_transform(bags), IMAGES),
    ]:
        for copy in (some, pickle.loads(pickle.dumps(some))):
            assert isinstance(copy.values, CutPatches)
            for i, image in enumerate(images):
                assert_array_equal(copy[i], recut(image, copy, i))


def test_headers_are_enough_but_for_walks(tmp_path, monkeypatch):
    from patchdistill import cutting

    Image.fromarray(IMAGES[0]).save(tmp_path / "a.png")
    monkeypatch.setattr(cutting, "read_image", None)
    for Sampler in SAMPLERS[:-1]:
        assert Sampler(12, 16).transform([tmp_path / "a.png"]).values.shape == (12, 16, 16, 3)
    given_paths = np.zeros((3, 4, 2))
    assert len(TrajectorySampler(12, 16, n_paths=3, scanpaths=given_paths).transform([tmp_path / "a.png"])) == 1
    with pytest.raises(TypeError):
        TrajectorySampler(12, 16).transform([tmp_path / "a.png"])


@pytest.mark.parametrize("Sampler", SEEDED)
def test_points_belong_to_the_seed_and_the_picture(Sampler):
    bags = Sampler(18, 16, random_state=5).transform(IMAGES)
    assert_same_bags(bags, Sampler(18, 16, random_state=5).transform(IMAGES))
    for order in ([2], [2, 0], [1, 1, 2]):
        some = Sampler(18, 16, random_state=5).transform([IMAGES[i] for i in order])
        assert_same_bags(some[[order.index(2)]], bags[[2]])
    assert (Sampler(18, 16, random_state=6).transform(IMAGES).field("lon", 0) != bags.field("lon", 0)).any()
    drawn = Sampler(18, 16, random_state=np.random.RandomState(0)).transform([IMAGES[0]] * 2)
    assert (drawn.field("lon", 0) != drawn.field("lon", 1)).any()


def test_points_are_the_same_in_another_process():
    code = (
        "import hashlib, numpy as np; from patchdistill.panorama import RandomSampler, TrajectorySampler\n"
        "image = np.random.default_rng(3).integers(0, 256, (64, 128, 3), dtype=np.uint8)\n"
        "for Sampler in (RandomSampler, TrajectorySampler):\n"
        "    bags = Sampler(20, 16).transform([image])\n"
        "    print(hashlib.sha256(bags.fields['lon'].tobytes() + np.asarray(bags.values).tobytes()).hexdigest())"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    image = np.random.default_rng(3).integers(0, 256, (64, 128, 3), dtype=np.uint8)
    for Sampler, digest in zip((RandomSampler, TrajectorySampler), shown, strict=True):
        bags = Sampler(20, 16).transform([image])
        assert hashlib.sha256(bags.fields["lon"].tobytes() + np.asarray(bags.values).tobytes()).hexdigest() == digest


# Pixels


def smooth_panorama(height):
    """A quadratic function of the direction, in [0, 1]."""
    rows, columns = np.mgrid[:height, : 2 * height]
    x, y, z = np.moveaxis(to_vectors(*to_sphere(rows, columns, height, 2 * height)), -1, 0)
    return np.stack([0.5 + x * y, 0.5 + y * z, 0.5 + z * x], axis=-1)


def test_native_views_look_like_crops_at_the_equator():
    panorama = smooth_panorama(256)
    scan = np.stack([np.zeros(6), [-180, -100, -30, 0, 77, 170]], axis=1)[None]
    crops, views = (
        TrajectorySampler(6, 16, view, n_paths=1, scanpaths=scan).transform([panorama])[0] for view in VIEWS
    )
    # A crop's middle is that of the nearest pixels: at most half a pixel, 0.35 degrees, off.
    assert np.abs(crops - views).max() < 0.02
    assert np.corrcoef(crops.ravel(), views.ravel())[0, 1] > 0.999
    assert np.abs(crops - views[::-1]).max() > 0.2


def test_crops_across_the_seam_go_on():
    bags = FibonacciSampler(40, 16).transform(IMAGES[:1])
    left = bags.field("left", 0)
    across = np.flatnonzero(left > 96 - 16)
    assert len(across) > 2
    for k in across:
        rolled = np.roll(IMAGES[0], -left[k], axis=1)
        assert_array_equal(bags[0][k], rolled[bags.field("top", 0)[k] :][:16, :16])


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_views_stay_in_the_range_of_pixels(dtype, interpolation):
    image = np.zeros((32, 64, 3), dtype)
    image[:, ::3] = 255 if dtype == np.uint8 else 1
    bags = FibonacciSampler(10, 24, view="tangent", fov=50, interpolation=interpolation).transform([image])
    assert bags.values.dtype == bags[0].dtype == dtype
    assert 0 <= bags[0].min() and bags[0].max() <= (255 if dtype == np.uint8 else 1)
    assert_array_equal(bags.field("fov", 0), 50)
    expected = tangent_views(image, *fibonacci_directions(10), 50, 24, interpolation)
    assert_array_equal(bags[0], expected if dtype == np.uint8 else expected.clip(0, 1))


# What is refused, and scikit-learn


@pytest.mark.parametrize("Sampler", SAMPLERS)
def test_refuses_flat_pictures(Sampler):
    with pytest.raises(
        ValueError, match=r"Image 1: the picture has 48 x 64 pixels.*twice as wide as high. Take GridSampler"
    ):
        Sampler(9, 16).transform([IMAGES[0], np.zeros((48, 64, 3), np.uint8)])


@pytest.mark.parametrize("Sampler", SAMPLERS)
@pytest.mark.parametrize("parameters", [{"fov": 60}, {"interpolation": "bicubic"}])
def test_refuses_parameters_of_views_for_crops(Sampler, parameters):
    with pytest.raises(ValueError, match=r'were given, but view="erp".*Pass view="tangent"'):
        Sampler(9, 16, **parameters).transform(IMAGES)


@pytest.mark.parametrize("Sampler", SAMPLERS)
def test_refuses_patches_that_do_not_fit(Sampler):
    with pytest.raises(ValueError, match=r"Image 0: patch_size=49"):
        Sampler(9, 49).transform(IMAGES)
    with pytest.raises(ValueError, match=r"Image 0: patch_size=48 pixels are 180 degrees.*Pass fov, or lower"):
        Sampler(9, 48, "tangent").transform(IMAGES)


def test_views_may_be_finer_than_the_panorama():
    assert FibonacciSampler(3, 80, "tangent", 90).transform(IMAGES[:1])[0].shape == (3, 80, 80, 3)


@pytest.mark.parametrize("Sampler", SAMPLERS)
@pytest.mark.parametrize(
    "parameters",
    [{"n_patches": 0}, {"patch_size": 0}, {"view": "cube"}, {"fov": 180}, {"fov": 0}, {"interpolation": "nearest"}],
)
def test_checks_parameters_where_they_are_used(Sampler, parameters):
    sampler = Sampler(**parameters)
    for call in (sampler.fit, lambda: sampler.transform(IMAGES)):
        with pytest.raises(ValueError, match=f"The {next(iter(parameters))!r} parameter of {Sampler.__name__}"):
            call()


@pytest.mark.parametrize("sampler", [RandomSampler(random_state="x"), TrajectorySampler(random_state=-1.5)])
def test_checks_the_seed(sampler):
    with pytest.raises(ValueError, match="The 'random_state' parameter"):
        sampler.transform(IMAGES)


@pytest.mark.parametrize("Sampler", SAMPLERS)
def test_are_estimators(Sampler):
    sampler = Sampler(n_patches=9, patch_size=8, view="tangent", fov=33.0, interpolation="bicubic")
    parameters = sampler.get_params()
    assert Sampler(**parameters).get_params() == parameters
    assert parameters["fov"] == 33.0 and parameters["interpolation"] == "bicubic" and parameters["view"] == "tangent"
    defaults = Sampler().get_params()
    expected = {"n_patches": 180, "patch_size": 64, "view": "erp", "fov": None, "interpolation": "bilinear"}
    assert expected.items() <= defaults.items()
    for twin in (clone(sampler), pickle.loads(pickle.dumps(sampler)), sampler.fit(IMAGES)):
        assert_same_bags(twin.transform(IMAGES), sampler.transform(IMAGES))
    assert isinstance(sampler.fit_transform(IMAGES), PatchBags)
    with pytest.raises(ValueError, match="cannot output 'pandas'"):
        sampler.set_output(transform="pandas")


def test_a_real_panorama(data_dir):
    path = data_dir / "panoramas" / "kitchen.jpg"
    for Sampler in SAMPLERS:
        bags = Sampler().transform([path])
        assert bags.n_patches.tolist() == [180] and bags.ids.tolist() == ["kitchen"]
        assert bags[0].shape == (180, 64, 64, 3)
