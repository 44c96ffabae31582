import pickle
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from PIL import Image
from sklearn.pipeline import make_pipeline

from patchdistill import PatchBags, ResidualPatchSelector, cutting
from patchdistill.baselines import RandomPatchSelector
from patchdistill.cutting import CutPatches, Pictures
from patchdistill.embedding import PatchStatistics
from patchdistill.sampling import GridSampler, cut_patches

RNG = np.random.default_rng(0)
IMAGES = [RNG.integers(0, 256, (40 + 4 * i, 60, 3), dtype=np.uint8) for i in range(5)]
SAMPLER = GridSampler(n_patches=6, patch_size=16)


@pytest.fixture
def paths(tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(len(IMAGES))]
    for path, image in zip(paths, IMAGES, strict=True):
        Image.fromarray(image).save(path)
    return paths


@pytest.fixture
def decoded(monkeypatch):
    """Names of the files that were decoded, in order."""
    names = []

    def counting(path, read=cutting.read_image):
        names.append(path.stem)
        return read(path)

    monkeypatch.setattr(cutting, "read_image", counting)
    return names


@pytest.fixture
def most_alive(monkeypatch):
    """Largest number of arrays of patches that were in memory at a time."""
    alive, most = set(), [0]

    def counting(self, *args, cut=CutPatches.__array__, **kwargs):
        patches = cut(self, *args, **kwargs)
        alive.add(id(patches))
        weakref.finalize(patches, alive.discard, id(patches))
        most[0] = max(most[0], len(alive))
        return patches

    monkeypatch.setattr(CutPatches, "__array__", counting)
    return most


def eager(bags, images=IMAGES):
    """All patches, cut here and now."""
    owner = np.repeat(np.arange(len(bags)), bags.n_patches)
    places = zip(owner, bags.fields["top"], bags.fields["left"], strict=True)
    return np.stack([images[i][t : t + 16, le : le + 16] for i, t, le in places])


@given(st.data())
def test_rows_are_those_of_the_array(data):
    bags = SAMPLER.transform(IMAGES)
    patches, expected = bags.values, eager(bags)
    assert (len(patches), patches.shape, patches.ndim, patches.dtype) == (30, expected.shape, 4, np.uint8)
    rows = st.integers(-30, 29)
    keys = st.slices(30) | st.lists(rows, min_size=1).map(np.array) | st.lists(rows, min_size=1)
    masks = st.lists(st.booleans(), min_size=30, max_size=30).map(np.array)
    for _ in range(2):  # rows of rows
        key = data.draw(keys if len(patches) == 30 else st.slices(max(len(patches), 1)))
        patches, expected = patches[key], expected[key]
        assert isinstance(patches, CutPatches) and patches.shape == expected.shape
        assert_array_equal(patches, expected)
    mask = data.draw(masks)
    assert_array_equal(bags.values[mask], eager(bags)[mask])


def test_one_row_is_the_pixels_of_a_patch():
    bags = SAMPLER.transform(IMAGES)
    for row in (3, -1, np.int64(8)):
        assert type(bags.values[row]) is np.ndarray
        assert_array_equal(bags.values[row], eager(bags)[row])
    with pytest.raises(IndexError):
        bags.values[30]
    assert_array_equal(list(bags.values), eager(bags))


def test_becomes_an_array_as_numpy_has_it():
    patches = SAMPLER.transform(IMAGES).values
    assert np.asarray(patches).dtype == np.uint8
    assert patches.__array__(np.float32).dtype == np.float32
    assert_array_equal(np.array(patches, copy=True), np.asarray(patches))
    with pytest.raises(ValueError, match="copy=False cannot be had"):
        patches.__array__(copy=False)


def test_files_are_opened_for_their_size_and_decoded_once_a_reading(paths, decoded):
    bags = SAMPLER.transform(paths)
    assert decoded == []
    shuffled = bags.values[np.random.default_rng(0).permutation(30)]
    assert decoded == []
    assert_array_equal(np.sort(shuffled, axis=None), np.sort(eager(bags), axis=None))
    assert sorted(decoded) == ["0", "1", "2", "3", "4"]
    assert_array_equal(bags[2], eager(bags)[12:18])
    del decoded[:]
    for view in (bags[1], bags.values[7], bags[[1]].values[:2], bags.take([[0]] * 5)[1]):
        assert len(view)
    assert np.asarray(bags[1:2].values).shape == (6, 16, 16, 3)
    assert decoded == ["1"]  # the last picture is remembered by all that was taken


def test_one_decoded_picture_is_in_memory(paths, monkeypatch):
    alive = weakref.WeakValueDictionary()

    def watching(path, read=cutting.read_image):
        assert not alive
        alive[path.stem] = pixels = read(path)
        return pixels

    monkeypatch.setattr(cutting, "read_image", watching)
    bags = SAMPLER.transform(paths)
    assert_array_equal(bags.values, eager(bags))


def test_pickles_as_paths_and_places(paths, decoded):
    bags = SAMPLER.transform(paths)
    assert len(bags[3]) == 6  # remembered, not pickled
    assert len(pickle.dumps(bags.values)) < 3000
    kept = bags[[3, 1]].take([[2, 0], [5]])
    del decoded[:]
    copy = pickle.loads(pickle.dumps(kept))
    assert decoded == [] and len(copy.values._pictures) == 2
    assert_array_equal(copy.values, eager(bags)[[20, 18, 11]])
    assert_array_equal(kept.values, eager(bags)[[20, 18, 11]])
    assert copy.values.dtype == np.uint8


def test_pickles_only_the_arrays_its_patches_lie_in():
    bags = SAMPLER.transform(IMAGES)
    assert IMAGES[0].nbytes < len(pickle.dumps(bags[:1].values)) < IMAGES[0].nbytes + 3000


def test_holds_the_type_of_all_pictures():
    images = [np.full((16, 16, 3), 0.1, dtype) for dtype in (np.float32, np.float64)]
    bags = GridSampler(1, 16).transform(images)
    for some in (bags, bags[:1], pickle.loads(pickle.dumps(bags[:1]))):
        assert some.values.dtype == some[0].dtype == np.float64
    assert_array_equal(bags[0], np.float64(np.float32(0.1)))
    assert GridSampler(1, 16).transform(images[:1])[0].dtype == np.float32


def test_mixed_paths_and_arrays(paths):
    bags = SAMPLER.transform([paths[0], *IMAGES[1:]])
    assert bags.ids.tolist() == [0, 1, 2, 3, 4]
    assert_array_equal(bags.values, eager(bags))
    with pytest.raises(ValueError, match="Image 1 has dtype float64, but image 0 has uint8"):
        SAMPLER.transform([paths[0], IMAGES[1] / 255])


def test_pictures_that_cannot_be_read_are_found_at_once_or_named_later(paths):
    bytes_ = paths[1].read_bytes()
    paths[1].write_bytes(bytes_[:-2000])
    bags = SAMPLER.transform(paths)
    assert_array_equal(bags[0], eager(bags)[:6])
    with pytest.raises(ValueError, match=r"1\.png is broken or truncated"):
        bags[1]
    paths[1].write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"1\.png is not a picture"):
        SAMPLER.transform(paths)
    paths[1].unlink()
    with pytest.raises(FileNotFoundError, match=r"1\.png"):
        SAMPLER.transform(paths)
    Image.fromarray(np.zeros((40, 60), np.uint16)).save(paths[1])
    with pytest.raises(ValueError, match=r"1\.png is a .*16.* picture"):
        SAMPLER.transform(paths)


def test_a_picture_of_another_size_by_now_is_refused(paths):
    bags = SAMPLER.transform(paths)
    Image.fromarray(IMAGES[0]).save(paths[1])
    with pytest.raises(ValueError, match=r"1\.png has 40 x 60 pixels.*had 44 x 60 when.*Sample it again"):
        bags[1]


def test_bags_stay_lazy_and_keep_their_geometry(paths, decoded):
    bags = SAMPLER.transform(paths)
    mask = np.array([True, False, True, True, False])
    positions = [RNG.permutation(6)[:3] for _ in range(5)]
    random = RandomPatchSelector(rate=3).fit_transform(bags)
    for some, images in [
        (bags[1:4], IMAGES[1:4]),
        (bags[::2], IMAGES[::2]),
        (bags[[4, 0]], [IMAGES[4], IMAGES[0]]),
        (bags[mask], [IMAGES[0], *IMAGES[2:4]]),
        (bags.take(positions), IMAGES),
        (random, IMAGES),
        (random[1:].take([[0, 2]] * 4), IMAGES[1:]),
    ]:
        assert isinstance(some.values, CutPatches)
        assert decoded == []
        for copy in (some, pickle.loads(pickle.dumps(some))):
            assert_array_equal(copy.values, eager(copy, images))
        del decoded[:]


def test_selection_keeps_pixels_in_their_files(paths, decoded):
    kept = make_pipeline(SAMPLER, PatchStatistics(), ResidualPatchSelector(h=2, rate=3)).fit_transform(paths)
    assert isinstance(kept.fields["pixels"], CutPatches)
    assert decoded == list("01234")
    assert_array_equal(kept.fields["pixels"], eager(kept))


def test_statistics_are_those_of_eager_pools_and_hold_one_image_at_a_time(paths, most_alive):
    pools = SAMPLER.transform(paths * 3)
    features = PatchStatistics().transform(pools)
    assert most_alive[0] <= 2
    assert_array_equal(
        features.values,
        PatchStatistics().transform([eager(pools[i : i + 1], [IMAGES[i % 5]]) for i in range(15)]).values,
    )


def test_networks_and_data_sets_hold_one_image_at_a_time(paths, most_alive, tmp_path):
    torch = pytest.importorskip("torch")
    from patchdistill.embedding import TorchEmbedder
    from patchdistill.models import BagDataset, pad_collate

    pools = SAMPLER.transform(paths * 3)
    network = torch.nn.Conv2d(3, 4, 3)
    features = TorchEmbedder(network, cache=tmp_path / "cache").transform(pools)
    assert isinstance(features.fields["pixels"], CutPatches)
    loader = torch.utils.data.DataLoader(BagDataset(features, field="pixels"), collate_fn=pad_collate)
    read = [inputs["patches"][0].numpy() for inputs, _ in loader]
    assert most_alive[0] <= 2
    arrays = [eager(pools[i : i + 1], [IMAGES[i % 5]]) for i in range(15)]
    assert_array_equal(read, arrays)
    assert_array_equal(features.values, TorchEmbedder(network).transform(arrays).values)


def test_pictures_of_any_shape_can_be_cut():
    pictures = Pictures.open([np.zeros((8, 8, 3)), np.ones((9, 30, 3))])
    assert len(pictures) == 2 and pictures[1].shape == (9, 30, 3)
    patches = CutPatches(pictures, np.array([1, 0, 1]), np.array([[5, 26], [0, 0], [0, 0]]), cut_patches, 4)
    assert_array_equal(np.asarray(patches)[:, 0, 0, 0], [1, 0, 1])
    assert repr(patches) == "CutPatches(shape=(3, 4, 4, 3), dtype=float64)"
    assert isinstance(PatchBags(patches, [0, 3]).values, CutPatches)
