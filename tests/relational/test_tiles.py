import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from patchdistill.relational import tiles
from patchdistill.relational.features import cell_mean
from patchdistill.relational.tiles import check_pair, map_tiles


def means(a, ref):
    """Mean red of both, one after the other."""
    return np.stack([cell_mean(a)[0], cell_mean(ref)[0]])


def pair(height, width, dtype=np.uint8):
    pictures = np.random.default_rng(0).random((2, height, width, 3))
    return (255 * pictures).astype(np.uint8) if dtype == np.uint8 else pictures.astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("geometry", ["flat", "panorama"])
def test_cells_are_in_their_places(monkeypatch, dtype, geometry):
    a, ref = pair(40, 72, dtype)
    unit = 255 if dtype == np.uint8 else 1
    expected = np.stack([(p[..., 0] / unit).reshape(5, 8, 9, 8).mean(axis=(1, 3)) for p in (a, ref)])
    assert_allclose(map_tiles(means, a, ref, geometry), expected, atol=1e-6)
    monkeypatch.setattr(tiles, "_TILE", 2)
    for halo in (0, 1, 3, 20):
        for n_jobs in (None, 2):
            result = map_tiles(means, a, ref, geometry, halo, n_jobs)
            assert result.dtype == np.float32
            assert_allclose(result, expected, atol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(33, 41), (39, 47)])
def test_the_last_cells_are_filled_with_a_mirror(height, width):
    a, ref = pair(height, width, np.float32)
    padded = np.pad(a, ((0, -height % 8), (0, -width % 8), (0, 0)), mode="symmetric")
    rows, columns = -(-height // 8), -(-width // 8)
    expected = padded[..., 0].reshape(rows, 8, columns, 8).mean(axis=(1, 3))
    assert_allclose(map_tiles(means, a, ref)[0], expected, atol=1e-6)


def test_the_last_cell_of_a_panorama_goes_on_beyond_the_seam():
    a, ref = pair(32, 44, np.float32)
    expected = np.concatenate([a, a[:, :4]], axis=1)[..., 0].reshape(4, 8, 6, 8).mean(axis=(1, 3))
    assert_allclose(map_tiles(means, a, ref, "panorama")[0], expected, atol=1e-6)


def test_what_a_tile_sees(monkeypatch):
    monkeypatch.setattr(tiles, "_TILE", 4)
    seen = []

    def look(a, ref):
        seen.append(a.shape)
        assert a.dtype == ref.dtype == np.float32
        return means(a, ref)

    a, ref = pair(64, 96)
    map_tiles(look, a, ref, halo=2)
    # Up to two cells more on each side, but none beyond a border of a flat picture.
    assert seen == [(3, 48, 48), (3, 48, 64), (3, 48, 48)] * 2
    seen.clear()
    map_tiles(look, a, ref, "panorama", halo=2)
    assert seen == [(3, 48, 64)] * 6


def test_pairs_are_given_back_as_they_are():
    a, ref = pair(32, 40)
    checked = check_pair(a, ref, "panorama")
    assert checked[0] is a and checked[1] is ref
    as_floats = ref / np.float32(255)
    assert_array_equal(check_pair(a, as_floats)[1], as_floats)


@pytest.mark.parametrize(
    ("a", "ref", "message"),
    [
        (np.zeros((32, 40, 3)), np.zeros((40, 32, 3)), r"reference has 40 x 32 pixels.*the image 32 x 40.*one size"),
        (np.zeros((32, 40, 4)), np.zeros((32, 40, 3)), r"Image 1 has shape.*alpha"),
        (np.zeros((32, 40, 3)), np.zeros((32, 40, 4)), r"Image 0 has shape.*alpha"),
        (np.zeros((32, 40)), np.zeros((32, 40)), r"Image 0 has shape \(32, 40\).*gray"),
        (np.zeros((31, 40, 3)), np.zeros((31, 40, 3)), r"31 x 40 pixels.*at least 32 x 32.*larger"),
        (np.zeros((40, 31, 3)), np.zeros((40, 31, 3)), r"40 x 31 pixels.*at least 32 x 32"),
        (np.full((32, 40, 3), 1.01), np.zeros((32, 40, 3)), r"Image 1 has float values.*Divide by 255"),
        (np.full((32, 40, 3), np.nan), np.zeros((32, 40, 3)), r"NaN \(image 1\)"),
        (np.zeros((32, 40, 3), np.uint16), np.zeros((32, 40, 3)), r"Image 1 has dtype uint16"),
    ],
)
def test_pairs_that_are_none(a, ref, message):
    with pytest.raises(ValueError, match=message):
        check_pair(a, ref)


def test_other_geometries():
    with pytest.raises(ValueError, match="'flat' or 'panorama'; got 'sphere'"):
        check_pair(*pair(32, 32), "sphere")
