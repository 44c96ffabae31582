"""Rows of TID2013 made again."""

from itertools import islice

import numpy as np
import pytest
from _rated_pairs import DECIBELS, KINDS, distort, rated_pairs
from sklearn.datasets import load_sample_images

from patchdistill.evaluation import psnr
from patchdistill.images import read_image

Image = pytest.importorskip("PIL.Image")

# ITU-R BT.601.
TO_YCBCR = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
# How far above its level the PSNR may be, in dB: qualities are whole numbers, and so are levels of gray.
TOLERANCE = {7: 1.5, 10: 3.0, 11: 1.0, 16: 1.6, 17: 0.2}


def photograph():
    image = Image.fromarray(load_sample_images().images[0])
    return np.asarray(image.resize((128, 96), Image.Resampling.LANCZOS))


@pytest.fixture(scope="module")
def versions():
    return {(kind, level): distort(photograph(), kind, level) for kind in KINDS for level in DECIBELS}


@pytest.mark.parametrize("kind", KINDS)
def test_strength_meets_the_level(kind, versions):
    for level, decibels in DECIBELS.items():
        version = versions[kind, level]
        assert version.shape == (96, 128, 3)
        assert version.dtype == np.uint8
        assert 0 <= psnr(photograph(), version) - decibels < TOLERANCE.get(kind, 0.05)


def test_signs(versions):
    """Contrast grows at even levels, intensity at odd ones."""
    reference = photograph()
    for level in DECIBELS:
        sign = 1 if level % 2 == 0 else -1
        assert sign * (versions[17, level].std() - reference.std()) > 1
        assert versions[17, level].mean() == pytest.approx(reference.mean(), abs=3)
        assert sign * (versions[16, level].mean() - reference.mean()) < -3


def test_noises(versions):
    """White noise is the same in all channels; the other has twice the deviation in Cb and Cr."""
    gray = np.full((96, 96, 3), 128, dtype=np.uint8)
    noise = distort(gray, 1, 3).astype(float) - 128
    assert noise.std(axis=(0, 1)) == pytest.approx(255 / 10 ** (27 / 20), rel=0.03)
    assert np.abs(np.corrcoef(noise.reshape(-1, 3).T) - np.eye(3)).max() < 0.03
    y, cb, cr = ((distort(gray, 2, 3) - 128.0) @ TO_YCBCR.T).reshape(-1, 3).T
    assert cb.std() / y.std() == pytest.approx(2, rel=0.05)
    assert cr.std() / y.std() == pytest.approx(2, rel=0.05)


def test_noise_is_seeded():
    first, again, other = (distort(photograph(), 1, 2, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_blur_keeps_the_mean_and_no_details(versions):
    reference, version = photograph().astype(float), versions[8, 4].astype(float)
    assert version.mean() == pytest.approx(reference.mean(), abs=1)
    assert np.abs(np.diff(version, axis=1)).mean() < 0.5 * np.abs(np.diff(reference, axis=1)).mean()


def test_quantization_leaves_few_levels(versions):
    counts = [len(np.unique(versions[7, level])) for level in DECIBELS]
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] < 8


def test_saturation_leaves_luma(versions):
    luma = [image @ np.array([0.299, 0.587, 0.114]) for image in (photograph(), versions[18, 2])]
    assert np.abs(luma[1] - luma[0]).max() < 2
    colorfulness = [np.ptp(image.astype(float), axis=2).mean() for image in (photograph(), versions[18, 2])]
    assert colorfulness[1] < 0.8 * colorfulness[0]


def test_rows_of_the_table(data_dir):
    pairs = [*islice(rated_pairs(kinds=(18,), scenes=("kodim06",)), 3), next(rated_pairs(scenes=("kodim23",)))]
    assert [(p.scene, p.kind, p.level, p.exact) for p in pairs] == [
        ("kodim06", 18, 1, True),
        ("kodim06", 18, 2, True),
        ("kodim06", 18, 3, True),
        ("kodim23", 1, 1, False),
    ]
    assert all(p.reference.shape == p.distorted.shape == (384, 512, 3) for p in pairs)
    assert (pairs[2].mos, pairs[2].mos_std) == (3.88889, 0.12897)  # as in calibration/tid2013_identity.csv
    # The picture that TID2013 has of this row is the same, to the last bit.
    for folder, pixels in (("ref_dir", pairs[2].reference), ("dist_dir", pairs[2].distorted)):
        np.testing.assert_array_equal(pixels, read_image(data_dir / "calibration" / folder / "I06.png"))
    # The center of the other photograph.
    whole = read_image(data_dir / "photos" / "kodim23.png")
    np.testing.assert_array_equal(pairs[3].reference, whole[64:448, 128:640])
