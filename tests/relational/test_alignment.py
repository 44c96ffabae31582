"""Shifts are found under distortions, and no distortion is taken for a shift."""

from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from patchdistill.datasets import dead_leaves
from patchdistill.relational.alignment import _correlate, find_shift

Image = pytest.importorskip("PIL.Image")

MARGIN = 16
SHIFTS = [(1, 0), (0, -1), (2, 2), (-8, 8)]


def filtered(function, *arguments, **options):
    return lambda x: np.stack([function(x[..., i].astype(float), *arguments, **options) for i in range(3)], axis=-1)


def jpeg(quality):
    def code(x):
        buffer = BytesIO()
        Image.fromarray(x).save(buffer, "JPEG", quality=quality)
        return np.asarray(Image.open(buffer))

    return code


def noise(deviation):
    return lambda x: x + np.random.default_rng(0).normal(0, deviation, x.shape)


# Those under which a shift of a single pixel is still seen ...
MILD = {
    "none": lambda x: x,
    "blur": filtered(ndimage.gaussian_filter, 1),
    "noise": noise(40),
    "dark": lambda x: 0.4 * x,
    "bright": lambda x: x + 70.0,
    "flat": lambda x: 128 + 0.3 * (x - 128.0),
    "gray": lambda x: np.repeat(x.mean(axis=2, keepdims=True), 3, axis=2),
    "jpeg": jpeg(20),
    "banding": lambda x: x // 64 * 64,
    "half blurred": lambda x: np.concatenate([x[:90], 0.6 * filtered(ndimage.gaussian_filter, 3)(x[90:])]),
}
# ... and those under which it need not be, but nothing else may be seen either.
STRONG = {
    "strong blur": filtered(ndimage.gaussian_filter, 5),
    "box": filtered(ndimage.uniform_filter, 9),
    "motion": filtered(ndimage.uniform_filter1d, 15, axis=1),
    "blur and noise": lambda x: noise(30)(filtered(ndimage.gaussian_filter, 3)(x)),
    "jpeg 3": jpeg(3),
    "blocks": lambda x: np.repeat(np.repeat(filtered(ndimage.uniform_filter, 8)(x)[4::8, 4::8], 8, 0), 8, 1),
}


def distort(function, picture):
    return np.clip(np.rint(function(picture)), 0, 255).astype(np.uint8)


def crop(picture, down=0, right=0):
    height, width = picture.shape[:2]
    return picture[MARGIN - down : height - MARGIN - down, MARGIN - right : width - MARGIN - right]


@pytest.fixture(scope="module")
def picture():
    return dead_leaves(208, 240, random_state=3)


@pytest.mark.parametrize("name", MILD)
@pytest.mark.parametrize("shift", [(0, 0), *SHIFTS])
def test_a_shift_is_found_under_a_distortion(picture, name, shift):
    assert find_shift(crop(distort(MILD[name], picture), *shift), crop(picture)) == shift


@pytest.mark.parametrize("name", STRONG)
def test_a_strong_distortion_is_no_shift(picture, name):
    assert find_shift(crop(distort(STRONG[name], picture)), crop(picture)) == (0, 0)
    # The other way round it is none, either.
    assert find_shift(crop(picture), crop(distort(STRONG[name], picture))) == (0, 0)


@pytest.mark.parametrize("name", ["box", "motion"])
def test_a_large_shift_is_found_though_a_box_has_its_ends_elsewhere(picture, name):
    assert find_shift(crop(distort(STRONG[name], picture), -8, 8), crop(picture)) == (-8, 8)


def test_details_that_moved_over_a_picture_that_stayed_are_no_shift(picture):
    smooth = filtered(ndimage.gaussian_filter, 1.5)
    stayed, details = smooth(picture), picture - smooth(picture)
    moved = distort(lambda x: stayed + np.roll(details, 12, axis=1), picture)
    assert find_shift(moved, picture) == (0, 0)


@pytest.mark.parametrize("share, shift", [(0.15, 0), (0.55, 0), (0.85, 1)])
def test_a_shift_by_half_a_pixel_is_none(picture, share, shift):
    between = np.rint((1 - share) * picture[:, 1:] + share * picture[:, :-1]).astype(np.uint8)
    assert find_shift(between, picture[:, 1:]) == (0, shift)


@given(down=st.integers(-40, 40), right=st.integers(-40, 40))
@settings(max_examples=15)
def test_the_swapped_pair_has_the_opposite_shift(down, right):
    leaves = dead_leaves(200, random_state=5)
    a, b = leaves[40 - down : 160 - down, 40 - right : 160 - right], leaves[40:160, 40:160]
    assert find_shift(a, b) == (down, right) and find_shift(b, a) == (-down, -right)


def test_a_large_shift_of_a_large_picture_is_found_to_the_pixel():
    leaves = dead_leaves(700, 1600, random_state=1)
    assert find_shift(leaves[:-61, 301:], leaves[61:, :-301]) == (61, -301)


@pytest.mark.parametrize("shift", [(0, 1), (0, -90), (0, 128), (3, 40)])
def test_on_a_panorama_a_turn_is_a_shift_across_the_seam(shift):
    leaves = dead_leaves(128, 256, random_state=2)
    turned = np.roll(leaves, shift, axis=(0, 1))
    found = find_shift(turned, leaves, "panorama")
    # Nothing is lost at the seam.
    assert _correlate(turned, leaves, (0, shift[1]), True).correlation == pytest.approx(1) or shift[0]
    assert found[0] == shift[0] and (found[1] - shift[1]) % 256 == 0 and -128 <= found[1] < 128


@pytest.mark.parametrize("name", ["blur", "jpeg", "box"])
def test_on_a_panorama_a_distortion_is_no_shift(name):
    leaves = dead_leaves(128, 256, random_state=2)
    assert find_shift(distort({**MILD, **STRONG}[name], leaves), leaves, "panorama") == (0, 0)


def test_flat_pictures_pictures_of_noise_and_other_pictures_are_not_shifted():
    flat = np.full((80, 100, 3), 90, dtype=np.uint8)
    rng = np.random.default_rng(0)
    grains = [np.clip(flat + rng.normal(0, 20, flat.shape), 0, 255).astype(np.uint8) for _ in range(2)]
    spot = flat.copy()
    spot[40, 50] = 255
    others = dead_leaves(80, 100, random_state=0), dead_leaves(80, 100, random_state=1)
    for a, b in [(flat, flat), (flat, flat + np.uint8(9)), grains, (grains[0], flat), (spot, flat), others]:
        assert find_shift(a, b) == (0, 0) == find_shift(b, a)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (7, 5), (33, 300)])
def test_pictures_of_any_size_are_taken(size):
    leaves = dead_leaves(*size)
    assert find_shift(leaves, leaves) == (0, 0)
    if size[1] == 300:
        assert find_shift(leaves[:, 4:], leaves[:, :-4]) == (0, -4)


@pytest.mark.parametrize("name", ["kodim05.png", "cid22_1001682.png"])
def test_photographs(data_dir, name):
    photo = np.asarray(Image.open(data_dir / "photos" / name).convert("RGB"))
    for distortion, shift in zip(("blur", "noise", "dark", "jpeg"), ((1, 0), (0, 2), (0, -1), (-8, 8)), strict=True):
        changed = distort(MILD[distortion], photo)
        assert find_shift(changed, photo) == (0, 0)
        assert find_shift(crop(changed, *shift), crop(photo)) == shift
    for distortion in ("strong blur", "box", "motion", "blur and noise", "blocks"):
        assert find_shift(distort(STRONG[distortion], photo), photo) == (0, 0)
