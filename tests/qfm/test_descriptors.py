import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.ndimage import gaussian_filter

from patchdistill.datasets import dead_leaves, make_semantic_confound
from patchdistill.images import list_images, read_image
from patchdistill.qfm.descriptors import thumbnail_descriptor


def pictures(seed, n=3, height=24, width=40):
    return np.random.default_rng(seed).integers(0, 256, (n, height, width, 3), dtype=np.uint8)


def photographs(data_dir):
    pillow = pytest.importorskip("PIL.Image")
    pictures = [pillow.fromarray(read_image(path)) for path in list_images(data_dir / "photos")]
    return np.stack([np.asarray(picture.resize((128, 128))) for picture in pictures])


def by_loops(patch):
    """Every pixel gives each of the 64 areas its share, and counts once in the histogram of each channel."""
    height, width = patch.shape[:2]
    thumbnail = np.zeros((8, 8, 3))
    for i in range(8):
        for j in range(8):
            for r in range(height):
                for c in range(width):
                    down = min((i + 1) / 8, (r + 1) / height) - max(i / 8, r / height)
                    across = min((j + 1) / 8, (c + 1) / width) - max(j / 8, c / width)
                    if down > 0 and across > 0:
                        thumbnail[i, j] += 64 * down * across * patch[r, c] / 255
    contrast = thumbnail - thumbnail.mean()
    counts = np.concatenate([np.histogram(patch[..., z] / 255, 8, (0, 1))[0] for z in range(3)])
    faded = contrast.ravel() / np.hypot(np.linalg.norm(contrast), 0.05 * np.sqrt(192))
    row = np.concatenate([faded, counts / np.linalg.norm(counts)])
    return row / np.linalg.norm(row)


@given(st.integers(0, 10**6), st.integers(1, 19), st.integers(1, 19))
def test_is_the_thumbnail_and_the_histograms(seed, height, width):
    patch = pictures(seed, 1, height, width)
    assert_allclose(thumbnail_descriptor(patch)[0], by_loops(patch[0]), atol=1e-12)


@pytest.mark.parametrize("size", [(64, 64), (32, 80)])
def test_areas_are_averaged_as_by_pillow(size):
    pillow = pytest.importorskip("PIL.Image")
    channel = np.random.default_rng(0).random(size, dtype=np.float32)
    expected = np.asarray(pillow.fromarray(channel).resize((8, 8), pillow.Resampling.BOX))
    thumbnail = thumbnail_descriptor(np.repeat(channel[None, ..., None], 3, axis=-1))[0, :192].reshape(8, 8, 3)
    expected = np.repeat((expected - expected.mean())[..., None], 3, axis=-1)
    assert_allclose(thumbnail / np.linalg.norm(thumbnail), expected / np.linalg.norm(expected), atol=1e-5)


@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(1, 40))
def test_rows_have_unit_length(seed, height, width):
    rows = thumbnail_descriptor(pictures(seed, 4, height, width))
    assert rows.shape == (4, 216) and rows.dtype == np.float64
    assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-12)


def test_halves_have_equal_weight():
    steep = np.zeros((1, 16, 16, 3), np.uint8)
    steep[:, :8] = 255
    row = thumbnail_descriptor(steep)[0]
    assert_allclose(np.linalg.norm(row[:192]), np.linalg.norm(row[192:]), rtol=0.01)


def test_a_patch_of_one_color_is_its_histogram():
    patches = np.full((2, 9, 13, 3), 0.5)
    patches[1] = [0.0, 0.3, 1.0]
    gray, color = thumbnail_descriptor(patches)
    assert_allclose(gray[:192], 0, atol=1e-12)
    assert_array_equal(np.flatnonzero(gray[192:]), [4, 12, 20])
    assert_array_equal(np.flatnonzero(color[192:]), [0, 10, 23])
    assert np.linalg.norm(color[:192]) > 0.5  # its channels differ


def test_noise_on_one_color_is_not_stretched():
    rng = np.random.default_rng(0)
    skies = np.clip(0.7 + rng.normal(0, 0.02, (6, 64, 64, 3)), 0, 1)
    cosine = thumbnail_descriptor(skies) @ thumbnail_descriptor(skies).T
    assert cosine.min() > 0.99


def test_brightness_added_everywhere_is_seen_by_the_histogram_alone():
    patch = 0.5 * np.random.default_rng(0).random((1, 32, 32, 3))
    dark, light = thumbnail_descriptor(np.concatenate([patch, patch + 0.4]))
    assert_allclose(dark[:192] / np.linalg.norm(dark[:192]), light[:192] / np.linalg.norm(light[:192]), atol=1e-9)
    assert dark[192:] @ light[192:] < 0.3


@given(st.integers(0, 10**6))
def test_a_row_depends_on_its_patch_alone(seed):
    patches = pictures(seed, 5)
    rows = thumbnail_descriptor(patches)
    order = np.random.default_rng(seed).permutation(5)
    assert thumbnail_descriptor(patches[order]).tobytes() == rows[order].tobytes()
    assert thumbnail_descriptor(patches[2:3]).tobytes() == rows[2:3].tobytes()


def test_floats_and_integers_agree():
    patches = pictures(0)
    expected = thumbnail_descriptor(patches)
    assert_allclose(thumbnail_descriptor(patches / 255), expected, atol=1e-12)
    assert_allclose(thumbnail_descriptor((patches / 255).astype(np.float32)), expected, atol=1e-6)


def test_does_not_write_to_its_input():
    patches = pictures(0) / 255
    patches.flags.writeable = False
    thumbnail_descriptor(patches)


@pytest.mark.parametrize(
    ("patches", "message"),
    [
        (np.zeros((8, 8, 3), np.uint8), r"\(n_patches, height, width, 3\) is expected"),
        (np.full((1, 8, 8, 3), 2.0), "float pixels lie in"),
        (np.full((1, 8, 8, 3), np.nan), "Input X contains NaN"),
        (np.zeros((1, 8, 8, 3), int), "dtype int64"),
    ],
)
def test_refuses_what_are_no_pixels(patches, message):
    with pytest.raises(ValueError, match=message):
        thumbnail_descriptor(patches)


def distorted(images):
    rng = np.random.default_rng(0)
    yield np.stack([gaussian_filter(image.astype(float), (2, 2, 0)) for image in images]).round().astype(np.uint8)
    yield np.clip(np.rint(images + rng.normal(0, 15, images.shape)), 0, 255).astype(np.uint8)


def assert_stable(images):
    """A picture is nearer to its distorted versions than to any other picture, and other pictures are far."""
    clean = thumbnail_descriptor(images)
    others = (clean @ clean.T)[~np.eye(len(images), dtype=bool)]
    for version in distorted(images):
        cosine = thumbnail_descriptor(version) @ clean.T
        assert_array_equal(cosine.argmax(axis=1), np.arange(len(images)))
        assert np.diag(cosine).min() > others.mean() + others.std()
        assert np.diag(cosine).mean() > others.mean() + 2 * others.std()


def test_tells_content_not_quality():
    assert_stable(np.stack([dead_leaves(64, random_state=seed) for seed in range(12)]))


def test_tells_content_not_quality_of_photographs(data_dir):
    assert_stable(photographs(data_dir))


def test_tells_the_semantics_of_the_confound():
    train, test = make_semantic_confound(60, 60)
    cosine = thumbnail_descriptor(test.images) @ thumbnail_descriptor(train.images).T
    nearest = train.cluster[cosine.argmax(axis=1)]
    assert (nearest == test.cluster).mean() > 0.9
