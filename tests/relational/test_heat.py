import numpy as np
import pytest

from patchdistill.relational.heat import LESS, LIMIT, MORE, draw_heat, encode_jpeg, shrink

pytest.importorskip("PIL")

WHITE = np.full((40, 64, 3), 255, dtype=np.uint8)


def test_colors_of_less_equal_and_more():
    values = np.zeros((5, 8))
    values[1, 2], values[3, 5] = -LIMIT, 0.5 * LIMIT
    heat = draw_heat(WHITE, values, (40, 64))
    full, half = (
        np.rint(255 * (1 - cover) + cover * np.array(color)) for cover, color in ((0.85, LESS), (0.425, MORE))
    )
    assert (heat[8:16, 16:24] == full).all() and (heat[24:32, 40:48] == half).all()
    elsewhere = np.ones((40, 64), dtype=bool)
    elsewhere[8:16, 16:24] = elsewhere[24:32, 40:48] = False
    assert (heat[elsewhere] == 255).all()


def test_colors_saturate_at_the_limit():
    at, beyond = (draw_heat(WHITE, np.full((5, 8), level), (40, 64)) for level in (LIMIT, 1.0))
    assert np.array_equal(at, beyond)


def test_the_picture_below_is_gray_and_bright():
    picture = np.zeros((8, 16, 3), dtype=np.uint8)
    picture[:, 8:] = 255, 0, 0
    heat = draw_heat(picture, np.zeros((1, 2)), (8, 16))
    assert heat[0, 0].tolist() == [128] * 3
    assert heat[0, 15].tolist() == [round(127.5 + 127.5 * 0.299)] * 3


def test_partial_cells_lie_where_they_are():
    """A picture of 12 pixels has two cells, the second one half: it covers a third of the picture, not a half."""
    heat = draw_heat(WHITE[:12, :36], [[0] * 5, [0.5] * 5], (12, 36))
    assert (heat[:8] == 255).all() and (heat[8:] != 255).any(axis=-1).all()
    heat = draw_heat(WHITE[:8, :12], [[0, 0.5]], (8, 12))
    assert (heat[:, :8] == 255).all() and (heat[:, 8:] != 255).any(axis=-1).all()


def test_in_a_small_picture_a_pixel_shows_the_mean_of_its_cells():
    values = np.tile([[0.4, 0.0], [0.0, 0.0]], (10, 10))
    small = draw_heat(WHITE[:10, :10], values, (160, 160))
    assert np.array_equal(small, draw_heat(WHITE[:10, :10], np.full((20, 20), 0.1), (160, 160)))


def test_shrinking_keeps_the_form_and_the_mean_and_leaves_small_pictures_alone():
    picture = np.random.default_rng(0).integers(0, 256, (400, 200, 3)).astype(np.uint8)
    small = shrink(picture, 100)
    assert small.shape == (100, 50, 3) and small.dtype == np.uint8
    assert small.mean() == pytest.approx(picture.mean(), abs=1)
    assert small.std() < 0.4 * picture.std()  # averaged: picking pixels would leave it
    assert shrink(picture, 400) is picture
    assert shrink(np.zeros((1, 900, 3), dtype=np.uint8), 90).shape == (1, 90, 3)


def test_pictures_of_a_report_are_small_files():
    from io import BytesIO

    from PIL import Image

    picture = np.repeat(np.linspace(0, 255, 720).astype(np.uint8)[None, :, None], 480, axis=0).repeat(3, axis=2)
    data = encode_jpeg(picture)
    assert len(data) < 20_000
    with Image.open(BytesIO(data)) as read:
        assert read.format == "JPEG" and np.abs(np.asarray(read).astype(int) - picture).max() < 10
