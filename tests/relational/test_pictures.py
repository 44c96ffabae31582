"""What is read, turned, expanded and refused before two files are compared."""

import warnings

import numpy as np
import pytest

from patchdistill.datasets import dead_leaves
from patchdistill.relational.pictures import MisalignedPairWarning, describe_shift, read_pair, read_upright

Image = pytest.importorskip("PIL.Image")
ImageOps = pytest.importorskip("PIL.ImageOps")

LEAVES = dead_leaves(48, 64, random_state=0)


@pytest.fixture
def reference(tmp_path):
    path = tmp_path / "reference.png"
    Image.fromarray(LEAVES).save(path)
    return path


def save(tmp_path, picture, name="picture.png", **options):
    path = tmp_path / name
    (Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture).save(path, **options)
    return path


def refused(path, reference, geometry="flat"):
    with pytest.raises(ValueError) as error:
        read_pair(path, reference, geometry)
    assert str(path) in str(error.value) and "\n" not in str(error.value)
    return str(error.value)


def test_a_pair_as_it_is_stored(tmp_path, reference):
    changed = LEAVES // 2
    pixels, other, shift = read_pair(save(tmp_path, changed), reference)
    assert np.array_equal(pixels, changed) and np.array_equal(other, LEAVES) and shift == (0, 0)
    assert pixels.dtype == other.dtype == np.uint8


@pytest.mark.parametrize("ending", ["png", "jpg", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(10))
def test_pictures_are_turned_upright(tmp_path, orientation, ending):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path, LEAVES, f"turned.{ending}", exif=exif)
    with Image.open(path) as picture:
        expected = np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
    turned = read_upright(path)
    assert np.array_equal(turned, expected) and turned.flags.c_contiguous
    assert turned.shape == ((64, 48, 3) if 5 <= orientation <= 8 else (48, 64, 3))


def test_a_turned_picture_is_compared_with_an_upright_one(tmp_path, reference):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned right to be upright
    pixels, other, _ = read_pair(save(tmp_path, np.rot90(LEAVES), exif=exif), reference)
    assert np.array_equal(pixels, other)


def test_broken_exif_is_none(tmp_path):
    path = save(tmp_path, LEAVES, "picture.jpg", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff garbage")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # Pillow may tell
        assert read_upright(path).shape == LEAVES.shape


def test_gray_levels_and_palettes_are_expanded(tmp_path):
    gray = Image.fromarray(LEAVES).convert("L")
    expected = np.repeat(np.asarray(gray)[..., None], 3, axis=2)
    assert np.array_equal(read_upright(save(tmp_path, gray)), expected)
    palette = Image.fromarray(LEAVES).quantize(16)
    assert np.array_equal(read_upright(save(tmp_path, palette)), np.asarray(palette.convert("RGB")))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB"])
def test_a_transparent_picture_is_refused_and_an_opaque_one_is_not(tmp_path, reference, mode):
    for least in (255, 254, 0):
        if mode in ("RGBA", "LA"):
            picture = Image.fromarray(LEAVES).convert(mode)
            alpha = np.full((48, 64), 255, dtype=np.uint8)
            alpha[20, 30] = least
            picture.putalpha(Image.fromarray(alpha))
            path = save(tmp_path, picture)
        elif mode == "P":  # the palette has an alpha for each entry
            picture = Image.fromarray(LEAVES).quantize(4)
            path = save(tmp_path, picture, transparency=bytes([255, 255, 255, least]))
        else:  # one color is the transparent one
            color = LEAVES[0, 0] if least == 0 else (1, 2, 3)
            least = 0 if least == 0 else 255
            path = save(tmp_path, LEAVES, transparency=tuple(map(int, color)))
        if least == 255:
            assert np.array_equal(read_upright(path), np.asarray(Image.open(path).convert("RGBA"))[..., :3])
        else:
            message = refused(path, reference)
            assert f"transparent in places (alpha down to {least} of 255)" in message and "Flatten it" in message


def test_other_depths_and_inks_are_refused(tmp_path, reference):
    deep = Image.fromarray(np.full((48, 64), 40_000, dtype=np.uint16))
    assert "Convert it to 8-bit" in refused(save(tmp_path, deep), reference)
    inks = Image.fromarray(LEAVES).convert("CMYK")
    assert "CMYK" in refused(save(tmp_path, inks, "inks.jpg"), reference)
    floats = Image.fromarray(np.full((48, 64), 300.0, dtype=np.float32))
    assert "F picture" in refused(save(tmp_path, floats, "floats.tif"), reference)


@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_truncated_files_and_other_files_are_refused(tmp_path, reference, ending):
    path = save(tmp_path, LEAVES, f"half.{ending}")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "truncated" in refused(path, reference)
    (tmp_path / "text.png").write_text("no picture")
    assert "not a picture" in refused(tmp_path / "text.png", reference)
    with pytest.raises(FileNotFoundError):
        read_pair(reference, tmp_path / "missing.png")


def test_sizes_must_agree_after_turning(tmp_path, reference):
    message = refused(save(tmp_path, LEAVES[:40]), reference)
    assert "64 x 40 pixels" in message and f"{reference} has 64 x 48" in message and "one size" in message
    assert "48 x 64" in refused(save(tmp_path, np.rot90(LEAVES)), reference)


def test_a_panorama_is_twice_as_wide_as_high(tmp_path, reference):
    assert "twice as wide as high" in refused(reference, reference, "panorama")
    wider = save(tmp_path, np.tile(LEAVES, (1, 2, 1)))
    assert "128 x 48 pixels, but a panorama" in refused(wider, wider, "panorama")
    sphere = save(tmp_path, LEAVES[:32], "sphere.png")
    assert read_pair(sphere, sphere, "panorama")[0].shape == (32, 64, 3)


def test_a_shifted_picture_is_warned_of(tmp_path):
    leaves = dead_leaves(80, 160, random_state=1)
    reference, moved = save(tmp_path, leaves), save(tmp_path, np.roll(leaves, (0, -3), (0, 1)), "moved.png")
    with pytest.warns(MisalignedPairWarning, match="moved.png is shifted .* by 3 pixels to the left; edges") as caught:
        assert read_pair(moved, reference)[2] == (0, -3)
    assert len(caught) == 1
    with pytest.warns(MisalignedPairWarning, match="left, which on a panorama is a rotation"):
        assert read_pair(moved, reference, "panorama")[2] == (0, -3)


def test_shifts_in_words():
    assert describe_shift((1, 0)).startswith("is shifted against its reference by 1 pixel down; ")
    assert "by 2 pixels up and 1 pixel to the right;" in describe_shift((-2, 1))
    assert "rotation" not in describe_shift((5, 0), "panorama")
