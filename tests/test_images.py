import struct
import zlib

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from patchdistill.images import check_images, check_pixels, list_images, load_image, read_image

RGB = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def write_deep_png(path, width=4, height=3):
    """A 16-bit RGB PNG, byte by byte: Pillow reads such files but does not write them."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    rows = b"".join(b"\0" + bytes(6 * width) for _ in range(height))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )


def test_reads_back_what_was_written(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "a.png")
    pixels = read_image(tmp_path / "a.png")
    assert pixels.dtype == np.uint8
    assert_array_equal(pixels, RGB)
    assert_array_equal(read_image(str(tmp_path / "a.png")), RGB)


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "RGBA"])
def test_other_8_bit_modes_become_rgb(tmp_path, mode):
    picture = Image.fromarray(RGB).convert(mode)
    picture.save(tmp_path / "a.png")
    assert_array_equal(read_image(tmp_path / "a.png"), np.asarray(picture.convert("RGB")))


@pytest.mark.parametrize(
    ("name", "picture"),
    [
        ("deep.png", Image.fromarray(np.full((4, 4), 40000, np.uint16))),
        ("float.tif", Image.fromarray(np.full((4, 4), 0.5, np.float32))),
        ("ink.jpg", Image.new("CMYK", (4, 4))),
    ],
)
def test_refuses_what_would_lose_range_or_guess_inks(tmp_path, name, picture):
    picture.save(tmp_path / name)
    with pytest.raises(ValueError, match=f"{name} is a .* picture, and only 8-bit.*Convert it to 8-bit sRGB"):
        read_image(tmp_path / name)


def test_refuses_16_bit_color(tmp_path):
    write_deep_png(tmp_path / "deep.png")
    with pytest.raises(ValueError, match="16-bit RGB"):
        read_image(tmp_path / "deep.png")


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "bmp"])
def test_truncated_file_names_path_and_reason(tmp_path, ending):
    path = tmp_path / f"cut.{ending}"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    # A decoder that wants the whole file at once (WebP) already fails on opening.
    with pytest.raises(
        ValueError, match=rf"cut.{ending} is (broken or truncated and cannot be decoded \(\w+|not a pic)"
    ):
        read_image(path)


def test_not_a_picture(tmp_path):
    (tmp_path / "a.png").write_text("hello")
    with pytest.raises(ValueError, match="a.png is not a picture"):
        read_image(tmp_path / "a.png")
    with pytest.raises(FileNotFoundError):
        read_image(tmp_path / "missing.png")


def test_size_limit_is_ours_not_that_of_pillow(tmp_path, monkeypatch):
    Image.fromarray(RGB).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 3)  # Pillow alone would refuse more than twice as many
    assert read_image(tmp_path / "a.png", max_pixels=35).shape == (5, 7, 3)
    assert Image.MAX_IMAGE_PIXELS == 3
    with pytest.raises(ValueError, match="7 x 5 = 35 pixels, more than max_pixels=34.*raise max_pixels"):
        read_image(tmp_path / "a.png", max_pixels=34)


def test_list_images_is_sorted_and_filtered(tmp_path):
    for name in ["b.JPG", "a.png", "c.txt", "d.webp"]:
        (tmp_path / name).touch()
    (tmp_path / "e.png").mkdir()
    assert [path.name for path in list_images(tmp_path)] == ["a.png", "b.JPG", "d.webp"]


def test_list_images_of_an_empty_folder(tmp_path):
    with pytest.raises(ValueError, match="holds no picture"):
        list_images(tmp_path)


def test_ids_are_stems_unless_they_collide(tmp_path):
    assert check_images([tmp_path / "x.png", str(tmp_path / "y.jpg")])[1].tolist() == ["x", "y"]
    assert check_images(["a/x.png", "b/x.png"])[1].tolist() == ["a/x.png", "b/x.png"]
    assert check_images(np.array(["a/x.png", "a/y.png"]))[1].tolist() == ["x", "y"]
    assert check_images([RGB, "a/x.png"])[1] is None


@pytest.mark.parametrize(
    ("X", "message"),
    [("a.png", r"pass \[path\]"), (RGB, r"pass \[picture\]"), ([], "no pictures"), (RGB[:, :, 0], r"pass \[picture\]")],
)
def test_one_picture_is_not_a_list(X, message):
    with pytest.raises(ValueError, match=message):
        check_images(X)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (RGB[..., 0], r"Image 7 has shape \(5, 7\).*np.repeat"),
        (np.zeros((5, 7, 4), np.uint8), "Drop the alpha channel"),
        (np.zeros((5, 7, 2), np.uint8), r"but \(height, width, 3\) is expected"),
        (RGB.astype(int), "Image 7 has dtype int64"),
        (RGB.astype(float), r"Image 7 has float values from \d+ to \d+, but.*Divide by 255"),
        (np.full((2, 2, 3), -0.1), "from -0.1 to -0.1"),
        (np.full((2, 2, 3), np.inf), "from inf to inf"),
        (np.where(np.arange(12).reshape(2, 2, 3) == 5, np.nan, 0.5), r"Input X contains NaN \(image 7\)"),
        (np.zeros((0, 4, 3)), "holds no pixels"),
    ],
)
def test_pixels_out_of_convention(pixels, message):
    with pytest.raises(ValueError, match=message):
        check_pixels(pixels, 7)


def test_pixels_in_convention_are_not_copied():
    for pixels in (RGB, RGB / 255, (RGB / 255).astype(np.float32)):
        assert check_pixels(pixels, 0) is pixels
        assert load_image(pixels, 0) is pixels
