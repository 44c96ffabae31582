import io
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from scipy import ndimage, stats
from sklearn.base import clone
from sklearn.datasets import load_sample_images
from sklearn.pipeline import make_pipeline

from patchdistill.bags import PatchBags
from patchdistill.embedding import PatchStatistics, patch_statistics
from patchdistill.embedding.maps import color_planes, gradient_magnitude, halve, normalize_contrast
from patchdistill.models import BagPooling
from patchdistill.sampling import GridSampler, cut_patches, grid_positions

CHINA, FLOWER = load_sample_images().images
NAMES = PatchStatistics().get_feature_names_out().tolist()
TOP, LEFT = grid_positions(*CHINA.shape[:2], 20, 64)
NOISE = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)


def columns(features, part):
    chosen = [i for i, name in enumerate(NAMES) if part in name]
    assert chosen
    return features[:, chosen]


def jpeg(image, quality):
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


def whole(image):
    """Features of a square picture as one patch."""
    return patch_statistics(image, [0], [0], len(image))


# --- against the definitions


@pytest.mark.parametrize("scale", [1, 2, 3])
@pytest.mark.parametrize("color", ["luma", "redgreen", "yellowblue"])
def test_features_are_their_formulas(scale, color):
    crop = CHINA[100:196, 200:296]
    row = dict(zip(NAMES, whole(crop)[0], strict=True))
    plane = color_planes(crop[None])[color]
    for _ in range(scale - 1):
        plane = halve(plane)
    m, contrast = (p[0].astype(float) for p in normalize_contrast(plane))
    gradient = gradient_magnitude(plane)[0]
    expected = {
        "mscn_abs": np.abs(m).mean(),
        "mscn_std": m.std(),
        "mscn_skewness": np.arcsinh(stats.moment(m.ravel(), 3) / (m.var() + 0.01) ** 1.5),
        "mscn_kurtosis": np.log((stats.moment(m.ravel(), 4) + 3e-4) / (3 * (m.var() + 0.01) ** 2)),
        "contrast_mean": np.log10(1 + contrast.mean()),
        "contrast_variation": np.log(1 + contrast.std() / (1 + contrast.mean())),
        "gradient_mean": np.log10(1 + gradient.mean()),
        "gradient_variation": np.log(1 + gradient.std() / (1 + gradient.mean())),
    }
    shifted = {
        "horizontal": m[:, :-1] * m[:, 1:],
        "vertical": m[:-1] * m[1:],
        "falling": m[:-1, :-1] * m[1:, 1:],
        "rising": m[1:, :-1] * m[:-1, 1:],
    }
    for direction, product in shifted.items():
        expected[f"product_balance_{direction}"] = product.mean() / (np.abs(product).mean() + 0.01)
    for direction in ("horizontal", "vertical"):
        expected[f"product_abs_{direction}"] = np.sqrt(np.abs(shifted[direction]).mean())
    here = {name for name in NAMES if name.startswith(f"scale{scale}_{color}")}
    rest = here - {f"scale{scale}_{color}_{name}" for name in expected}
    assert rest == {name for name in here if name.endswith(f"{color}_mean") or "blockiness" in name}
    for name, value in expected.items():
        assert_allclose(row[f"scale{scale}_{color}_{name}"], value, atol=1e-4, err_msg=name)


def test_mean_is_the_mean_of_the_pixels():
    features = patch_statistics(CHINA, TOP, LEFT, 64)
    patches = cut_patches(CHINA, TOP, LEFT, 64).astype(float)
    luma = patches @ [0.299, 0.587, 0.114]
    assert_allclose(columns(features, "luma_mean")[:, 0], luma.mean(axis=(1, 2)) / 128 - 1, atol=1e-5)


def test_a_picture_that_is_one_patch_equals_a_pool_of_it():
    crop = CHINA[:96, :96]
    assert_allclose(PatchStatistics().transform([crop[None]])[0], whole(crop), atol=1e-6)


def test_names_are_unique_and_as_many_as_columns():
    assert len(set(NAMES)) == len(NAMES) == whole(NOISE).shape[1] == 131
    assert NAMES[0] == "scale1_luma_mean" and "scale3_yellowblue_mscn_kurtosis" in NAMES


# --- symmetries


def test_transposing_exchanges_rows_and_columns():
    features = patch_statistics(CHINA, TOP, LEFT, 64)
    turned = patch_statistics(CHINA.swapaxes(0, 1), LEFT, TOP, 64)
    swap = {"horizontal": "vertical", "vertical": "horizontal"}
    partner = [NAMES.index("_".join(swap.get(word, word) for word in name.split("_"))) for name in NAMES]
    assert partner != list(range(len(NAMES)))
    assert_allclose(turned[:, partner], features, atol=5e-4)  # what float32 leaves of flat sky


def test_mirroring_exchanges_the_diagonals():
    image = CHINA[:, :640]
    features = patch_statistics(image, TOP, LEFT, 64)
    mirrored = patch_statistics(image[:, ::-1], TOP, 640 - 64 - LEFT, 64)
    swap = {"falling": "rising", "rising": "falling"}
    partner = [NAMES.index("_".join(swap.get(word, word) for word in name.split("_"))) for name in NAMES]
    # The phases of a 63-long profile do not have equal numbers of members, which mirroring redistributes.
    exact = ["blockiness_horizontal" not in name for name in NAMES]
    assert_allclose(mirrored[:, partner][:, exact], features[:, exact], atol=5e-4)


def test_brightness_moves_only_the_mean():
    dark = (FLOWER // 2).astype(np.uint8)
    before, after = (patch_statistics(image, TOP, LEFT, 64) for image in (dark, dark + np.uint8(40)))
    lumas = NAMES.index("scale1_luma_mean")
    assert_allclose(after[:, lumas] - before[:, lumas], 40 / 128, atol=1e-5)
    assert_allclose(np.delete(after, lumas, axis=1), np.delete(before, lumas, axis=1), atol=2e-3)


def test_only_the_neighborhood_counts():
    other = CHINA.copy()
    other[:, 200:] = NOISE[0, 0]
    # 3 pixels of the window at factor 4, and the low-pass filters before it, reach less than 24 pixels.
    patches = ([0, 100, 300], [0, 60, 200 - 64 - 24], 64)
    assert_allclose(patch_statistics(other, *patches), patch_statistics(CHINA, *patches), atol=1e-6)


def test_order_of_patches_is_the_order_of_rows():
    order = np.random.default_rng(0).permutation(len(TOP))
    features = patch_statistics(CHINA, TOP, LEFT, 64)
    assert_array_equal(patch_statistics(CHINA, TOP[order], LEFT[order], 64), features[order])


def test_float_pixels_equal_uint8_pixels():
    features = patch_statistics(CHINA, TOP, LEFT, 64)
    assert_array_equal(patch_statistics(CHINA / 255, TOP, LEFT, 64), features)
    assert_allclose(patch_statistics((CHINA / 255).astype(np.float32), TOP, LEFT, 64), features, atol=2e-3)


# --- constant, distorted and typical patches


@pytest.mark.parametrize("color", [(0, 0, 0), (255, 255, 255), (17, 130, 201)])
def test_constant_patches_are_finite_and_neutral(color):
    image = np.full((64, 64, 3), color, np.uint8)
    features = whole(image)
    levels = np.array([name.endswith(("luma_mean", "redgreen_mean", "yellowblue_mean")) for name in NAMES])
    assert np.isfinite(features).all()
    assert_allclose(features[:, ~levels], 0, atol=0.03)
    inside = NOISE.copy()
    inside[:, :] = np.where(np.indices((96, 96)).min(axis=0)[..., None] < 1, NOISE, np.array(color, np.uint8))
    assert_allclose(patch_statistics(inside, [48], [48], 16), features, atol=0.03)


@pytest.mark.parametrize("image", [CHINA, FLOWER])
def test_blur_lowers_gradients_and_contrast(image):
    sharp = patch_statistics(image, TOP, LEFT, 64)
    blurred = ndimage.gaussian_filter(image, (2, 2, 0))
    lower = patch_statistics(blurred, TOP, LEFT, 64)
    for part in ("scale1_luma_gradient_mean", "scale1_luma_contrast_mean", "scale2_luma_gradient_mean"):
        assert (columns(lower, part) < columns(sharp, part)).mean() >= 0.95
    balance = "scale1_luma_product_balance"  # a blurred picture's neighbors agree
    assert columns(lower, balance).mean() > columns(sharp, balance).mean() + 0.1


def test_noise_raises_gradients_and_unties_neighbors():
    clean = patch_statistics(CHINA, TOP, LEFT, 64)
    noisy = np.clip(CHINA + np.random.default_rng(0).normal(0, 15, CHINA.shape), 0, 255).astype(np.uint8)
    higher = patch_statistics(noisy, TOP, LEFT, 64)
    assert (columns(higher, "scale1_luma_gradient_mean") > columns(clean, "scale1_luma_gradient_mean")).all()
    balance = "scale1_luma_product_balance"
    assert np.abs(columns(higher, balance)).mean() < np.abs(columns(clean, balance)).mean()


def test_white_noise_is_nearly_gaussian():
    row = dict(zip(NAMES, whole(NOISE)[0], strict=True))
    assert abs(row["scale1_luma_mscn_skewness"]) < 0.1
    assert -0.5 < row["scale1_luma_mscn_kurtosis"] < 0
    # Subtracting the local mean leaves neighbors of white noise slightly opposed, as far apart as the diagonals are.
    assert -0.5 < row["scale1_luma_product_balance_horizontal"] < 0


@pytest.mark.parametrize("image", [CHINA, FLOWER])
def test_jpeg_shows_in_blockiness(image):
    images = (image, jpeg(image, 50), jpeg(image, 10))
    clean, mild, strong = (columns(patch_statistics(i, TOP, LEFT, 64), "blockiness") for i in images)
    assert (strong > clean).mean() > 0.9
    assert clean.mean() < mild.mean() < strong.mean()
    assert strong.mean() > 0.5 > 0.25 > clean.mean()


def test_blockiness_does_not_care_where_blocks_begin():
    clean = columns(patch_statistics(CHINA, TOP, LEFT, 64), "blockiness").mean()
    blocky = jpeg(CHINA, 10)
    patches = (*grid_positions(427 - 7, 640 - 7, 20, 64), 64)
    shifted = [columns(patch_statistics(blocky[k:, k:], *patches), "blockiness").mean(axis=0) for k in range(8)]
    assert np.ptp(shifted, axis=0).max() < 0.1
    assert np.min(shifted) > 3 * clean


def test_blockiness_of_flat_blocks_is_known():
    # Blocks 10 gray levels apart: differences of 10 at one phase and of 0 at seven, on every row.
    steps = np.repeat(10 * (np.arange(12) % 2), 8)
    image = np.repeat(np.broadcast_to(steps, (96, 96)).astype(np.uint8)[..., None], 3, axis=-1)
    for left in range(8):
        features = patch_statistics(image, [3], [left], 64)
        assert_allclose(columns(features, "blockiness_horizontal"), np.log(10.5 / 0.5), rtol=1e-4)
        assert_allclose(columns(features, "blockiness_vertical"), 0, atol=1e-6)


def test_one_strong_edge_is_not_taken_for_a_grid():
    image = np.zeros((64, 64, 3), np.uint8)
    image[:, 30:] = 200
    one_edge = columns(whole(image), "blockiness_horizontal")
    image[:] = (10 * (np.arange(64) // 8 % 2)).astype(np.uint8)[:, None]
    assert one_edge < columns(whole(image), "blockiness_horizontal") / 3


@pytest.mark.parametrize(
    "distort", [lambda i: i, lambda i: jpeg(i, 5), lambda i: ndimage.gaussian_filter(i, (4, 4, 0))]
)
def test_features_are_of_order_one(distort):
    features = np.concatenate([patch_statistics(distort(i), TOP, LEFT, 64) for i in (CHINA, FLOWER)])
    assert np.abs(features).max() < 3.5
    assert 0.2 < np.sqrt((features**2).mean()) < 1


# --- the estimator


def test_pictures_are_placed_and_described():
    bags = PatchStatistics(n_patches=20).fit_transform([CHINA, FLOWER])
    assert bags.values.dtype == np.float64 and bags.n_patches.tolist() == [20, 20]
    assert_array_equal(bags.field("top", 1), TOP)
    assert_array_equal(bags.field("left", 1), LEFT)
    assert_array_equal(bags[1], patch_statistics(FLOWER, TOP, LEFT, 64))


def test_the_forms_of_pictures_agree(tmp_path):
    stack = np.stack([CHINA, FLOWER])
    paths = [tmp_path / "china.png", tmp_path / "flower.png"]
    for path, image in zip(paths, stack, strict=True):
        Image.fromarray(image).save(path)
    transformer = PatchStatistics(n_patches=6)
    expected = transformer.transform([CHINA, FLOWER])
    for X in (stack, paths, [str(path) for path in paths], [CHINA, FLOWER / 255]):
        assert_array_equal(transformer.transform(X).values, expected.values)
    assert transformer.transform(paths).ids.tolist() == ["china", "flower"]


def test_the_forms_of_pools_agree_and_carry_their_fields():
    pools = GridSampler(n_patches=6, patch_size=32).transform([CHINA, FLOWER])
    pools = PatchBags(pools.values, pools.offsets, fields=pools.fields, ids=["c", "f"])
    bags = PatchStatistics().transform(pools)
    assert bags.ids.tolist() == ["c", "f"]
    assert set(bags.fields) == {"top", "left", "size", "pixels", "patch_index"}
    assert_array_equal(bags.field("pixels", 1), pools[1])
    for X in (pools.to_list(), np.stack(pools.to_list())):
        other = PatchStatistics().transform(X)
        assert_array_equal(other.values, bags.values)
        assert_array_equal(other.fields["pixels"], pools.values)


def test_a_patch_of_a_pool_stands_alone():
    patches = cut_patches(CHINA, TOP, LEFT, 64)
    features = PatchStatistics().transform([patches])[0]
    assert_allclose(PatchStatistics().transform([patches[7:8]])[0], features[7:8], atol=1e-6)
    many = np.concatenate([patches] * 5)  # more than one group
    assert_array_equal(PatchStatistics().transform([many])[0][-20:], PatchStatistics().transform([many])[0][:20])


def test_pool_features_are_close_to_those_on_the_picture():
    on_picture = patch_statistics(CHINA, TOP, LEFT, 64)
    alone = PatchStatistics().transform([cut_patches(CHINA, TOP, LEFT, 64)])[0]
    correlations = [np.corrcoef(a, b)[0, 1] for a, b in zip(on_picture.T, alone.T, strict=True)]
    assert np.median(correlations) > 0.99 and min(correlations) > 0.7


def test_neither_companions_nor_workers_matter():
    alone = PatchStatistics(n_patches=6).transform([FLOWER]).values
    images = [CHINA, FLOWER, CHINA[:300]]
    assert_array_equal(PatchStatistics(n_patches=6).transform(images)[1], alone)
    assert_array_equal(PatchStatistics(n_patches=6, n_jobs=2).transform(images)[1], alone)


def test_is_an_estimator():
    transformer = PatchStatistics(n_patches=4, patch_size=32)
    expected = transformer.transform([CHINA]).values
    for twin in (clone(transformer), pickle.loads(pickle.dumps(transformer))):
        assert_array_equal(twin.transform([CHINA]).values, expected)
    tags = transformer.__sklearn_tags__()
    assert tags.no_validation and not tags.requires_fit
    pipeline = make_pipeline(transformer, BagPooling()).fit([CHINA, FLOWER])
    assert pipeline.transform([CHINA, FLOWER]).shape == (2, 2 * len(NAMES))
    assert pipeline.get_feature_names_out()[0] == "mean_scale1_luma_mean"
    with pytest.raises(ValueError, match="cannot output 'pandas'"):
        transformer.set_output(transform="pandas")


# --- errors


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ([CHINA, CHINA[..., 0]], r"Image 1 has shape \(427, 640\).*np.repeat"),
        ([CHINA, CHINA.astype(float)], "Image 1 has float values from 0 to 255"),
        ([CHINA, CHINA[:50]], "Image 1: patch_size=64 does not fit into a picture of 50 x 640"),
        ([CHINA / 255, np.full((64, 64, 3), np.nan)], r"Input X contains NaN \(image 1\)"),
        (CHINA, r"pass \[picture\]"),
        ([], "no pictures"),
        ([NOISE[None], np.full((2, 96, 96, 3), 3.0)], "Image 1 has float values from 3 to 3"),
        ([NOISE[None], NOISE[None] / 255], r"Image 1 has dtype float64, but image 0 has uint8.*Divide"),
        ([NOISE[None], NOISE], r"Image 1 has shape \(96, 96, 3\), but \(n_patches, height, width, 3\)"),
        ([NOISE[None, :15]], "Image 0: patches of 15 pixels are too small"),
    ],
)
def test_refuses(X, message):
    with pytest.raises(ValueError, match=message):
        PatchStatistics().transform(X)


@pytest.mark.parametrize("parameters", [{"n_patches": 0}, {"patch_size": 15}, {"n_jobs": "all"}])
def test_checks_parameters_where_they_are_used(parameters):
    transformer = PatchStatistics(**parameters)
    for call in (transformer.fit, lambda: transformer.transform([CHINA])):
        with pytest.raises(ValueError, match=f"The {next(iter(parameters))!r} parameter of PatchStatistics"):
            call()


@pytest.mark.parametrize(
    ("top", "left", "size", "message"),
    [
        ([0], [640 - 63], 64, "reach beyond the picture of 427 x 640"),
        ([427 - 63], [0], 64, "reach beyond"),
        ([-1], [0], 64, "reach beyond"),
        ([0], [0, 1], 64, r"shapes \(1,\) and \(2,\)"),
        ([0.5], [0], 64, "arrays of int"),
        ([], [], 64, "not empty"),
        ([0], [0], 15, "15 pixels are too small for three scales; at least 16"),
    ],
)
def test_refuses_impossible_patches(top, left, size, message):
    with pytest.raises(ValueError, match=message):
        patch_statistics(CHINA, top, left, size)
