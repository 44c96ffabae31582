from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from scipy import fft, ndimage

from patchdistill.panorama import tangent_views
from patchdistill.relational.channels import CHANNELS, FULL12
from patchdistill.relational.color import luma, to_lab, to_ycbcr
from patchdistill.relational.operators import (
    CODECS,
    FILTERS,
    NOISES,
    OPERATORS,
    codecs,
    filters,
    noise,
    operator_of,
    tone,
)

EVERY = {**OPERATORS, **CODECS}
SIGNED = {name for name, channel in CHANNELS.items() if channel.signed}
FILE_CODECS = {"jpeg", "jpeg2000"}
# What is done to a pixel depends on nothing but where it is; blocks are quantized by their mean strength.
POINTWISE = set(EVERY) - {"dct", "jpeg", "jpeg2000", "sharpness", "motion blur"}


def picture(height=24, width=32, seed=0):
    return np.random.default_rng(seed).random((height, width, 3)).astype(np.float32)


def strength_of(name, share):
    """A share in [-1, 1] as a strength that the operator has."""
    return share if name in SIGNED else abs(share)


def run(name, image, strength, geometry="flat", seed=1):
    image.setflags(write=False)
    before = image.tobytes()
    result = EVERY[name](image, strength, np.random.default_rng(seed), geometry)
    assert image.tobytes() == before
    return result


pictures = st.one_of(
    st.builds(picture, st.integers(1, 36), st.integers(1, 36), st.integers(0, 1000)),
    st.builds(
        lambda height, width, value: np.full((height, width, 3), value, dtype=np.float32),
        *(st.integers(1, 36), st.integers(1, 36), st.sampled_from([0.0, 1.0, 0.5, 1 / 255])),
    ),
)
shares = st.one_of(st.floats(-1, 1, width=32), st.floats(-(2**-20), 2**-20, width=32))


def test_every_channel_has_an_operator():
    assert {*OPERATORS, "blockiness"} == set(FULL12)
    assert operator_of("noise", "jpeg") is noise.noise
    assert [operator_of("blockiness", codec) for codec in ("dct", "jpeg", "jpeg2000")] == list(CODECS.values())
    assert set(FILTERS) | set(NOISES) < set(OPERATORS)


@pytest.mark.parametrize("name", EVERY)
@given(image=pictures, geometry=st.sampled_from(filters.GEOMETRIES))
@settings(max_examples=12)
def test_nothing_changes_at_zero(name, image, geometry):
    for nothing in (0.0, np.zeros(image.shape[:2], dtype=np.float32)):
        assert run(name, image, nothing, geometry).tobytes() == image.tobytes()


@pytest.mark.parametrize("name", EVERY)
@given(image=pictures, share=shares, seed=st.integers(0, 100), geometry=st.sampled_from(filters.GEOMETRIES))
@settings(max_examples=20)
def test_values_are_finite_and_the_form_stays(name, image, share, seed, geometry):
    field = share * np.random.default_rng(seed).random(image.shape[:2])
    for strength in (strength_of(name, share), strength_of(name, field), strength_of(name, field.astype(np.float32))):
        result = run(name, image, strength, geometry)
        assert result.shape == image.shape and result.dtype == np.float32
        assert np.isfinite(result).all()


@pytest.mark.parametrize("name", EVERY)
@given(share=st.integers(-64, 64), geometry=st.sampled_from(filters.GEOMETRIES))
@settings(max_examples=10)
def test_one_strength_everywhere_is_that_strength(name, share, geometry):
    image, strength = picture(), strength_of(name, share / 64)
    everywhere = np.full(image.shape[:2], strength)
    assert_array_equal(run(name, image, everywhere, geometry), run(name, image, strength, geometry))


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("share", [0.7, -0.7])
def test_where_the_strength_is_zero_pixels_stay(name, share):
    image = picture()
    field = np.zeros(image.shape[:2])
    field[:, 16:] = strength_of(name, share)
    result = run(name, image, field)
    assert_array_equal(result[:, :16], image[:, :16])
    assert (result[:, 16:] != image[:, 16:]).any()
    everywhere = run(name, image, strength_of(name, share))
    if name == "dct":  # its inverse transform rounds as it likes
        assert_allclose(result[:, 16:], everywhere[:, 16:], atol=1e-6)
    elif name in POINTWISE and name != "shot noise":  # counts draw as many numbers as they need
        assert_array_equal(result[:, 16:], everywhere[:, 16:])


@pytest.mark.parametrize("name", EVERY)
def test_signs_go_opposite_ways(name):
    image = picture()
    up = run(name, image, 0.5) - image
    if name in SIGNED:
        down = run(name, image, -0.5) - image
        assert (up * down).sum() < 0


# Tone


def test_exposure_adds_a_quarter():
    image = picture()
    assert_allclose(tone.exposure(image, 0.4), image + 0.1, atol=1e-7)
    assert_allclose(tone.exposure(image, -1.0), image - 0.25, atol=1e-7)


@pytest.mark.parametrize("strength", [-0.8, 0.6])
def test_contrast_is_about_the_local_mean_and_keeps_color(strength):
    image = picture(48, 64)
    changed = tone.contrast(image, strength)
    y = image.astype(float) @ [0.299, 0.587, 0.114]
    mean = ndimage.gaussian_filter(y, 20, mode="reflect", truncate=3.5)
    assert_allclose(luma(changed), mean + np.exp(0.8 * strength) * (y - mean), atol=2e-6)
    assert_allclose(to_ycbcr(changed)[..., 1:], to_ycbcr(image)[..., 1:], atol=2e-6)


@pytest.mark.parametrize("strength", [-1.0, 0.6])
def test_saturation_keeps_luma(strength):
    image = picture()
    changed = tone.saturation(image, strength)
    assert_allclose(luma(changed), luma(image), atol=1e-6)
    assert_allclose(to_ycbcr(changed)[..., 1:], np.exp(strength) * to_ycbcr(image)[..., 1:], atol=2e-6)


@pytest.mark.parametrize("strength", [-1.0, 0.6])
def test_temperature_keeps_luma(strength):
    image = picture()
    changed = tone.temperature(image, strength)
    red, green, blue = np.moveaxis(image.astype(float), -1, 0)
    assert_allclose(luma(changed), luma(image), atol=1e-6)
    # Green is not multiplied: what all three get is left in it.
    assert_allclose(changed[..., 0] - changed[..., 1], red * np.exp(0.3 * strength) - green, atol=1e-6)
    assert_allclose(changed[..., 2] - changed[..., 1], blue * np.exp(-0.3 * strength) - green, atol=1e-6)


@pytest.mark.parametrize("strength", [-1.0, 0.5])
def test_hue_turns_colors_and_keeps_lightness_and_chroma(strength):
    image = picture()
    before, after = to_lab(image), to_lab(tone.hue(image, strength))
    assert_allclose(after[..., 0], before[..., 0], atol=2e-3)
    turned = (before[..., 1] + 1j * before[..., 2]) * np.exp(1j * np.pi / 3 * strength)
    assert_allclose(after[..., 1] + 1j * after[..., 2], turned, atol=5e-3)


def test_red_turns_to_yellow_above_zero():
    red = np.full((1, 1, 3), [0.8, 0.2, 0.2], dtype=np.float32)
    assert tone.hue(red, 1.0)[0, 0, 1] > red[0, 0, 1] + 0.1
    assert tone.hue(red, -1.0)[0, 0, 2] > red[0, 0, 2] + 0.1


def test_full_banding_leaves_five_levels():
    image = picture()
    image[0, :2] = [[0.1, 0.13, 0.9], [0.37, 0.38, 0.0]]
    banded = tone.banding(image, 1.0)
    assert_allclose(banded[0, :2], [[0, 0.25, 1], [0.25, 0.5, 0]], atol=1e-7)
    assert len(np.unique(np.round(banded, 6))) == 5
    assert np.abs(banded - image).max() <= 0.125 + 1e-6


@given(share=st.floats(0, 1, width=32))
@settings(max_examples=20)
def test_banding_goes_that_part_of_the_way(share):
    image = picture()
    assert_allclose(tone.banding(image, share) - image, share * (tone.banding(image, 1.0) - image), atol=1e-7)


# Filters


@pytest.mark.parametrize("sigma", [0.7, 2.5])
def test_gaussian_equals_that_of_scipy(sigma):
    image = picture()
    for geometry, columns in (("flat", "reflect"), ("panorama", "wrap")):
        expected = ndimage.gaussian_filter(image, (sigma, sigma, 0), mode=["reflect", columns, "reflect"], truncate=3.5)
        assert_allclose(filters.gaussian(image, sigma, geometry), expected, atol=1e-6)
    assert_allclose(filters.gaussian(image[..., 0], sigma), filters.gaussian(image, sigma)[..., 0], atol=1e-6)


@pytest.mark.parametrize("planes", [(), (3,)])
@pytest.mark.parametrize("width", [48, 31])
def test_rows_of_the_sphere_are_convolved_with_wide_gaussians(planes, width):
    height, sigma = 10, np.linspace(2, 3, 10)
    image = np.random.default_rng(0).random((height, width, *planes)).astype(np.float32)
    filtered = filters.filter_rows(image, sigma)
    assert filtered.shape == image.shape and filtered.dtype == np.float32
    for row in range(height):
        latitude = np.pi / 2 - np.pi * (row + 0.5) / height
        offsets = np.arange(-40 * width, 40 * width)
        kernel = np.zeros(width)
        np.add.at(kernel, offsets % width, np.exp(-0.5 * (offsets * np.cos(latitude) / sigma[row]) ** 2))
        kernel /= kernel.sum()
        expected = sum(kernel[k] * np.roll(image[row], k, axis=0) for k in range(width))
        assert_allclose(filtered[row], expected, atol=2e-6)


def test_the_length_of_parallels():
    assert_allclose(filters.row_scale(4), np.cos(np.deg2rad([67.5, 22.5, 22.5, 67.5])))


@pytest.mark.parametrize("geometry", ["panorama", "sphere"])
@pytest.mark.parametrize("name", sorted(set(EVERY) - set(NOISES) - FILE_CODECS))
def test_turning_the_panorama_commutes(name, geometry):
    image = picture(32, 64)
    for share in (0.8, -0.8):
        strength = strength_of(name, share)
        turned = run(name, np.roll(image, 24, axis=1), strength, geometry)
        assert_allclose(turned, np.roll(run(name, image, strength, geometry), 24, axis=1), atol=5e-6)


@pytest.mark.parametrize(("name", "strength"), [("sharpness", -0.8), ("contrast", 0.8), ("motion blur", 0.8)])
def test_flat_pictures_end_at_their_borders(name, strength):
    image = picture(32, 64)
    turned = run(name, np.roll(image, 24, axis=1), strength)
    assert np.abs(turned - np.roll(run(name, image, strength), 24, axis=1)).max() > 0.003


def test_blur_is_a_gaussian_of_three_pixels_at_most():
    image = picture()
    assert_array_equal(filters.sharpness(image, -0.5), filters.gaussian(image, 1.5))
    assert_array_equal(filters.sharpness(image, -1.0, None, "panorama"), filters.gaussian(image, 3.0, "panorama"))


def test_sharpening_adds_what_a_blur_takes_away():
    image = picture()
    detail = image - ndimage.gaussian_filter(image, (1.2, 1.2, 0), mode="reflect", truncate=3.5)
    assert_allclose(filters.sharpness(image, 0.4), image + detail, atol=2e-6)


def test_blur_here_and_sharpening_there():
    image = picture()
    field = np.tile(np.repeat([-0.6, 0.6], 16), (24, 1))
    result = filters.sharpness(image, field)
    assert_allclose(result[:, :16], filters.sharpness(image, -0.6)[:, :16], atol=1e-6)
    assert_allclose(result[:, 16:], filters.sharpness(image, 0.6)[:, 16:], atol=1e-6)


def test_interpolation_is_exact_for_what_is_linear_and_at_the_knots():
    strength = np.random.default_rng(0).uniform(0, 0.8, (5, 6))
    strength[0] = [0, 0.1, 0.2, 0.4, 0.8, 0.6]
    ones = np.ones((5, 6, 3))
    assert_allclose(filters.interpolate(lambda s: s * ones, strength, 0.8), strength[..., None] * ones, rtol=1e-6)
    squares = filters.interpolate(lambda s: s * s * ones, strength, 0.8)
    assert_allclose(squares[0, :, 0], [0, 0.01, 0.04, 0.16, 0.64, (0.16 + 0.64) / 2], atol=1e-7)


def test_only_the_strengths_that_are_needed_are_computed():
    asked = []

    def at(s):
        asked.append(s)
        return np.full((2, 2, 3), s)

    filters.interpolate(at, np.full((2, 2), 0.25), 1.0)
    assert asked == [0.25]


@pytest.mark.parametrize("angle", [0.0, 0.4, np.pi / 2, 2.0])
@pytest.mark.parametrize("length", [3.0, 9.5, 14.0])
def test_the_line_of_a_motion(length, angle):
    kernel = filters.line_kernel(length, angle).astype(float)
    radius = len(kernel) // 2
    rows, columns = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    assert_allclose(kernel.sum(), 1, rtol=1e-6)
    assert_allclose([(kernel * rows).sum(), (kernel * columns).sum()], 0, atol=1e-5)
    along = columns * np.cos(angle) - rows * np.sin(angle)
    across = rows * np.cos(angle) + columns * np.sin(angle)
    # A uniform line has a variance of length^2 / 12; the pixels add up to 1/4 of their own.
    assert length**2 / 12 <= (kernel * along**2).sum() <= length**2 / 12 * 1.06 + 0.25
    assert (kernel * across**2).sum() <= 0.26


def test_no_motion_is_one_pixel():
    assert_array_equal(np.unique(filters.line_kernel(0.0, 1.0)), [0, 1])


@pytest.mark.parametrize(("geometry", "columns"), [("flat", "reflect"), ("panorama", "wrap")])
def test_motion_equals_a_convolution_of_scipy(geometry, columns):
    image = picture()
    kernel = filters.line_kernel(14 * 0.6, np.random.default_rng(5).uniform(0, np.pi))
    padded = np.pad(image, ((24, 24), (0, 0), (0, 0)), mode="symmetric")
    expected = ndimage.correlate(padded, kernel[..., None], mode=columns)[24:-24]
    assert_allclose(filters.motion_blur(image, 0.6, np.random.default_rng(5), geometry), expected, atol=1e-5)


def test_the_part_of_noise_that_a_blur_leaves():
    # The norm of a Gaussian of standard deviation 3 s is 1 / (2 sqrt(pi) 3 s).
    for s in (0.4, 0.6, 1.0):
        assert_allclose(filters.noise_gain("sharpness", -s), 1 / (2 * np.sqrt(np.pi) * 3 * s), rtol=2e-3)
    assert filters.noise_gain("sharpness", 0.0) == filters.noise_gain("motion blur", 0.0) == 1
    assert filters.noise_gain("sharpness", np.array([[0.5, -0.5]])).shape == (1, 2)


@pytest.mark.parametrize(
    ("channel", "strength"), [("sharpness", -0.3), ("sharpness", 0.5), ("motion blur", 0.4), ("motion blur", 1.0)]
)
def test_the_part_of_noise_that_a_filter_leaves_is_what_it_leaves(channel, strength):
    grain = np.random.default_rng(0).standard_normal((192, 192, 3)).astype(np.float32)
    measured = np.mean([run(channel, grain, strength, "panorama", seed=seed).std() for seed in range(4)])
    assert_allclose(filters.noise_gain(channel, strength), measured, rtol=0.06)


# The sphere, seen in views


def views(panorama, size=64, fov=30.0):
    """What is seen at the equator and at a latitude of 60 degrees."""
    return [tangent_views(panorama, [0.0], [lat], fov=fov, size=size)[0][..., 0] for lat in (0.0, 60.0)]


def spread(view):
    """Standard deviations of a spot along both sides."""
    places = np.arange(len(view)) - (len(view) - 1) / 2
    view = view / view.sum()
    return np.sqrt([view.sum(axis=k) @ places**2 for k in (1, 0)])


def test_views_of_the_sphere_see_one_blur():
    height, width = 256, 512
    spots = np.zeros((height, width, 3), dtype=np.float32)
    # Two pixels each along both sides: the center of the view lies between them.
    for latitude in (0, 60):
        row = round(height * (0.5 - latitude / 180))
        spots[row - 1 : row + 1, width // 2 - 1 : width // 2 + 1] = 1
    at_equator, above = map(spread, views(filters.sharpness(spots, -1.0, None, "sphere")))
    assert_allclose(above, at_equator, rtol=0.06)
    at_equator, above = map(spread, views(filters.sharpness(spots, -1.0, None, "panorama")))
    assert_allclose(above[0], at_equator[0], rtol=0.06)
    assert above[1] < 0.65 * at_equator[1]


@pytest.mark.parametrize("channel", ["noise", "chroma noise"])
def test_views_of_the_sphere_see_one_noise(channel):
    def seen(geometry):
        """How strong the noise is, and how strong behind a blur, at 60 degrees relative to the equator."""
        raw, coarse = [], []
        for seed in range(6):
            gray = np.full((128, 256, 3), 0.5, dtype=np.float32)
            noisy = run(channel, gray, 1.0, geometry, seed=seed)
            pair = views(noisy, size=48, fov=48 / 256 * 360)
            raw.append([view.std() for view in pair])
            coarse.append([ndimage.gaussian_filter(view, 1.5).std() for view in pair])
        return [above / at_equator for at_equator, above in (np.mean(raw, axis=0), np.mean(coarse, axis=0))]

    assert_allclose(seen("sphere"), 1, atol=0.08)
    assert seen("panorama")[1] < 0.9


# Noise


@pytest.mark.parametrize("geometry", filters.GEOMETRIES)
def test_noise_has_the_standard_deviation_it_says(geometry):
    image = np.full((128, 256, 3), 0.5, dtype=np.float32)
    change = run("noise", image, 0.5, geometry) - image
    if geometry == "sphere":
        change = change[32:96]  # near the poles all pixels of a row are one grain
    assert_allclose(change.std(axis=(0, 1)), 0.06, rtol=0.03)
    assert_allclose(change.mean(), 0, atol=0.002)


def test_every_row_of_the_sphere_has_noise_of_one_variance():
    image = np.zeros((24, 48, 3), dtype=np.float32)
    values = np.stack([run("noise", image, 1.0, "sphere", seed=seed) for seed in range(200)])
    assert_allclose(np.sqrt((values**2).mean(axis=(0, 2, 3))), 0.12, rtol=0.15)


def test_noise_of_one_color_tells_nothing_of_another():
    image = np.zeros((128, 128, 3), dtype=np.float32)
    assert_allclose(np.corrcoef(run("noise", image, 1.0).reshape(-1, 3).T), np.eye(3), atol=0.03)


def test_chroma_noise_keeps_luma():
    image = picture(96, 96)
    change = to_ycbcr(run("chroma noise", image, 0.5)) - to_ycbcr(image)
    assert_allclose(change[..., 0], 0, atol=1e-6)
    assert_allclose(change[..., 1:].std(axis=(0, 1)), 0.06, rtol=0.03)


def test_noise_grows_with_the_field():
    image = np.full((64, 128, 3), 0.5, dtype=np.float32)
    field = np.tile(np.repeat([0.25, 1.0], 64), (64, 1))
    change = run("noise", image, field) - image
    assert_allclose([change[:, :64].std(), change[:, 64:].std()], [0.03, 0.12], rtol=0.05)


@pytest.mark.parametrize("value", [0.25, 1.0])
def test_shot_noise_counts_photons(value):
    image = np.full((128, 128, 3), value, dtype=np.float32)
    unit = (0.12 * 0.8) ** 2
    noisy = run("shot noise", image, 0.8).astype(float)
    assert_allclose(noisy / unit, np.rint(noisy / unit), atol=1e-4)
    n = noisy.size
    assert_allclose(noisy.mean(), value, atol=4 * np.sqrt(unit * value / n))
    assert_allclose(noisy.var(), unit * value, rtol=0.06)


def test_nothing_is_counted_in_the_dark():
    assert (run("shot noise", np.zeros((8, 8, 3), dtype=np.float32), 1.0) == 0).all()


# Encoders


def test_one_block_by_hand():
    image = picture(8, 8)
    planes = to_ycbcr(image.astype(float))
    step = 0.7 * (32 + 24 * np.add.outer(np.arange(8), np.arange(8))) / 255
    for k in range(3):
        coefficients = fft.dctn(planes[..., k], norm="ortho")
        planes[..., k] = fft.idctn(step * np.round(coefficients / step), norm="ortho")
    expected = planes @ np.linalg.inv(to_ycbcr(np.eye(3)[None])[0].T).T
    assert_allclose(codecs.dct_quantization(image, 0.7), expected, atol=3e-6)


def test_blocks_are_quantized_apart_and_with_their_mean_strength():
    image, field = picture(16, 24), np.random.default_rng(3).random((16, 24))
    result = codecs.dct_quantization(image, field)
    for top in (0, 8):
        for left in (0, 8, 16):
            block = (slice(top, top + 8), slice(left, left + 8))
            mean = float(field[block].astype(np.float32).mean())
            assert_allclose(result[block], codecs.dct_quantization(image[block], mean), atol=3e-6)


def test_coefficients_are_multiples_of_their_steps():
    result = to_ycbcr(codecs.dct_quantization(picture(16, 16), 0.5).astype(float))
    step = 0.5 * (32 + 24 * np.add.outer(np.arange(8), np.arange(8))) / 255
    for block in result.reshape(2, 8, 2, 8, 3).transpose(0, 2, 4, 1, 3).reshape(-1, 8, 8):
        multiples = fft.dctn(block, norm="ortho") / step
        assert_allclose(multiples, np.rint(multiples), atol=1e-4)


def test_blocks_at_the_border_go_on_with_its_pixels():
    image = picture(11, 13)
    whole = np.pad(image, ((0, 5), (0, 3), (0, 0)), mode="edge")
    assert_allclose(codecs.dct_quantization(image, 0.4), codecs.dct_quantization(whole, 0.4)[:11, :13], atol=1e-7)


@pytest.mark.parametrize("strength", [0.05, 0.2, 0.6, 1.0])
def test_strength_is_a_multiple_of_the_tables_of_jpeg(strength):
    def tables(quality):
        file = BytesIO()
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(file, "JPEG", quality=quality)
        return np.array(Image.open(file).quantization[0])

    standard = tables(50)
    # The quality is a whole number, and the tables are: both round.
    assert_allclose(
        tables(codecs.jpeg_quality(strength)), np.clip(5 * strength * standard, 1, 255), rtol=0.06, atol=0.6
    )


def test_qualities_fall_with_strength():
    qualities = [codecs.jpeg_quality(s) for s in np.linspace(1e-6, 1, 50)]
    assert qualities == sorted(qualities, reverse=True) and qualities[0] == 100 and qualities[-1] == 10
    assert codecs.jpeg_quality(50.0) == 1 and isinstance(qualities[3], int)


@pytest.mark.parametrize(
    ("codec", "ending", "options"),
    [
        ("jpeg", "jpg", {"quality": 10}),
        ("jpeg2000", "jp2", {"quality_mode": "rates", "quality_layers": [200], "irreversible": True}),
    ],
)
def test_encoders_equal_files(codec, ending, options, tmp_path):
    image = picture(64, 48)
    Image.fromarray(np.rint(255 * image).astype(np.uint8)).save(tmp_path / f"picture.{ending}", **options)
    pixels = np.asarray(Image.open(tmp_path / f"picture.{ending}"))
    assert_array_equal(run(codec, image, 1.0), pixels.astype(np.float32) / 255)


def test_the_rate_of_jpeg2000(tmp_path):
    image = ndimage.gaussian_filter(picture(128, 128), (2, 2, 0))
    for strength in (0.4, 0.6):
        pixels = np.rint(255 * image).astype(np.uint8)
        Image.fromarray(pixels).save(
            tmp_path / "picture.jp2", quality_mode="rates", quality_layers=[200**strength], irreversible=True
        )
        size = (tmp_path / "picture.jp2").stat().st_size
        assert_allclose(size, pixels.size / 200**strength, rtol=0.15)
        assert_array_equal(
            run("jpeg2000", image, strength), np.asarray(Image.open(tmp_path / "picture.jp2")) / np.float32(255)
        )


def test_a_file_in_memory_gives_back_what_png_keeps():
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    assert_array_equal(codecs.through_file(pixels, "PNG"), pixels)


def test_eight_bits_are_the_nearest_levels():
    levels = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    assert codecs.to_8_bits(levels) is levels
    for kind in (np.float32, np.float64):
        assert_array_equal(codecs.to_8_bits(levels.astype(kind) / 255), levels)
        assert_array_equal(codecs.to_8_bits(((levels.astype(kind) + 0.4) / 255).clip(0, 1)), levels)
