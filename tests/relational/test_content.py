import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from patchdistill.relational.color import luma
from patchdistill.relational.content import draw_content, photograph


def draw(items, size, seed):
    return draw_content(items, size, np.random.default_rng(seed))


def test_crops_are_cut_out_of_the_pictures(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 12, 20, 3), dtype=np.uint8)
    Image.fromarray(pixels[1]).save(tmp_path / "second.png")
    items = [pixels[0], tmp_path / "second.png"]
    windows = np.lib.stride_tricks.sliding_window_view(pixels, (8, 8), axis=(1, 2)).transpose(0, 1, 2, 4, 5, 3)
    places = set()
    for seed in range(300):
        crop = draw(items, 8, seed)
        assert crop.shape == (8, 8, 3) and crop.dtype == np.uint8 and crop.flags.c_contiguous
        (place,) = zip(*np.nonzero((windows == crop).all(axis=(3, 4, 5))), strict=True)
        places.add(tuple(map(int, place)))
    assert {i for i, *_ in places} == {0, 1}
    assert {top for _, top, _ in places} == set(range(5)) and {left for *_, left in places} == set(range(13))


def test_a_picture_can_be_all_of_a_crop():
    picture = np.random.default_rng(0).random((8, 8, 3))
    assert_array_equal(draw([picture], 8, 0), picture)


def test_names_the_picture_that_is_too_small():
    with pytest.raises(ValueError, match=r"Image 0 has 7 x 9 pixels.*squares of size=8.*lower size"):
        draw([np.zeros((7, 9, 3))], 8, 0)


def test_dead_leaves_are_all_different_and_clean():
    pictures = [draw(None, 48, seed) for seed in range(24)]
    for picture in pictures:
        assert picture.shape == (48, 48, 3) and picture.dtype == np.float32
        assert picture.min() >= 0 and picture.max() <= 1
    assert_array_equal(draw(None, 48, 3), pictures[3])
    assert len({picture.tobytes() for picture in pictures}) == 24
    # What distortions change is not the same in all clean pictures: color, and detail.
    colors = [np.abs(picture - luma(picture)[..., None]).mean() for picture in pictures]
    details = [np.abs(np.diff(luma(picture), axis=0)).mean() for picture in pictures]
    assert max(colors) > 4 * min(colors) and max(details) > 2 * min(details)


def test_about_half_of_the_backgrounds_are_out_of_focus():
    board = np.kron(np.indices((16, 16)).sum(axis=0) % 2, np.ones((8, 8)))
    leaves = np.repeat((255 * board).astype(np.uint8)[..., None], 3, axis=2)
    blurred = 0
    for seed in range(60):
        picture = luma(photograph(leaves, np.random.default_rng(seed)))
        contrast = picture.reshape(8, 16, 8, 16).std(axis=(1, 3))
        shares = np.mean(contrast < 0.1 * contrast.max()), np.mean(contrast > 0.5 * contrast.max())
        assert shares[1] > 0.1  # something is in focus
        blurred += shares[0] > 0.1
    assert 15 < blurred < 45
