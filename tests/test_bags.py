import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import GroupKFold, train_test_split
from sklearn.utils import _safe_indexing

from patchdistill import PatchBags, SinglePatchBagWarning
from patchdistill.forms import check_bags, check_features, restore_form
from patchdistill.lazy import LazyRows
from patchdistill.testing.strategies import patch_bags


def assert_same_bags(bags, expected):
    assert list(bags.ids) == list(expected.ids)
    np.testing.assert_array_equal(bags.offsets, expected.offsets)
    np.testing.assert_array_equal(bags.values, expected.values)
    assert set(bags.fields) == set(expected.fields)
    for name in bags.fields:
        np.testing.assert_array_equal(bags.fields[name], expected.fields[name])


def stacked(bags, images):
    """Bags of some images, put together the long way."""
    fields = {name: [bags.field(name, i) for i in images] for name in bags.fields}
    return PatchBags.from_list([bags[int(i)] for i in images], fields=fields, ids=[bags.ids[i] for i in images])


@given(patch_bags(), st.data())
def test_every_way_to_index_images(bags, data):
    n = len(bags)
    images = data.draw(st.lists(st.integers(-n, n - 1), min_size=1, max_size=5))
    expected = stacked(bags, images)
    assert_same_bags(bags[images], expected)
    assert_same_bags(bags[np.array(images)], expected)
    assert_same_bags(bags[(np.array(images), ...)], expected)
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    if mask.any():
        assert_same_bags(bags[mask], stacked(bags, np.flatnonzero(mask)))
    start = data.draw(st.integers(0, n - 1))
    assert_same_bags(bags[start:], stacked(bags, range(start, n)))
    assert_same_bags(bags[::-1], stacked(bags, range(n - 1, -1, -1)))


@given(patch_bags())
def test_round_trips(bags):
    assert len(bags) == len(list(bags)) == bags.shape[0]
    assert_same_bags(pickle.loads(pickle.dumps(bags)), bags)
    fields = {name: [bags.field(name, i) for i in range(len(bags))] for name in bags.fields}
    assert_same_bags(PatchBags.from_list(bags.to_list(), fields=fields, ids=bags.ids), bags)
    padded, mask = bags.to_padded(fill=-7.0)
    for i, image in enumerate(bags):
        np.testing.assert_array_equal(padded[i][mask[i]], image)
        assert (padded[i][~mask[i]] == -7.0).all()


@given(patch_bags(), st.data())
def test_take_keeps_what_belongs_to_a_patch(bags, data):
    patches = [data.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=6)) for n in bags.n_patches]
    taken = bags.take(patches)
    for i, chosen in enumerate(patches):
        np.testing.assert_array_equal(taken[i], bags[i][chosen])
        for name in bags.fields:
            np.testing.assert_array_equal(taken.field(name, i), bags.field(name, i)[chosen])
    again = taken.take([[0]] * len(bags))
    assert [again.field("patch_index", i)[0] for i in range(len(bags))] == [chosen[0] for chosen in patches]


def test_take_refuses_what_would_take_from_another_image():
    bags = PatchBags.from_list([np.ones((2, 3)), np.ones((4, 3))])
    with pytest.raises(IndexError, match="image 0.*2 patches"):
        bags.take([[2], [0]])
    with pytest.raises(ValueError, match="1 images.*there are 2"):
        bags.take([[0]])
    with pytest.raises(ValueError, match="Image 1 has no patches"):
        bags.take([[0], []])
    np.testing.assert_array_equal(bags.take([[-1], [-2]]).fields["patch_index"], [1, 2])


def test_survives_the_splits_of_scikit_learn():
    bags = PatchBags.from_list([np.full((n, 2), n) for n in (1, 2, 3, 4)])
    train, test = train_test_split(bags, test_size=2, shuffle=False)
    assert (list(train.n_patches), list(test.n_patches)) == ([1, 2], [3, 4])
    for fold, _ in GroupKFold(2).split(bags, groups=[0, 0, 1, 1]):
        assert_same_bags(_safe_indexing(bags, fold), bags[fold])


def test_has_no_silent_array_form():
    bags = PatchBags.from_list([np.ones((2, 3)), np.ones((4, 3))])
    with pytest.raises(TypeError, match=r"ragged \(2 to 4 patches per image\).*BagPooling\(\).*to_padded\(\)"):
        np.asarray(bags)


def test_memory_maps_stay_on_disk_until_asked_for(tmp_path):
    pixels = np.arange(6 * 4).reshape(6, 4)
    np.save(tmp_path / "pixels.npy", pixels)
    lazy = np.load(tmp_path / "pixels.npy", mmap_mode="r")
    bags = PatchBags(np.ones((6, 2)), [0, 2, 6], fields={"pixels": lazy})
    assert isinstance(bags[1:].fields["pixels"], np.memmap)
    kept = bags.take([[1], [3, 0]])
    assert isinstance(kept.fields["pixels"], LazyRows)
    assert kept.fields["pixels"].shape == (3, 4) and kept.fields["pixels"].ndim == 2
    np.testing.assert_array_equal(kept.field("pixels", 1), pixels[[5, 2]])
    again = kept[[1]].take([[1]])
    assert isinstance(again.fields["pixels"], LazyRows)
    np.testing.assert_array_equal(again.fields["pixels"], pixels[[2]])
    restored = pickle.loads(pickle.dumps(again))
    np.testing.assert_array_equal(restored.fields["pixels"], pixels[[2]])
    assert len(pickle.dumps(again.fields["pixels"])) < 1000


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PatchBags(np.ones((3, 2)), [0, 2]), "end at the number of patches, 3"),
        (lambda: PatchBags(np.ones((3, 2)), [0, 3, 3]), "Image 1 has no patches"),
        (lambda: PatchBags(np.ones((3, 2)), [0, 3], fields={"lon": [1.0]}), "'lon' has 1 rows.*3 patches"),
        (lambda: PatchBags(np.ones((3, 2)), [0, 3], ids=["a", "b"]), r"ids has shape \(2,\).*1 images"),
        (lambda: PatchBags.from_list([]), "no images"),
        (lambda: PatchBags.from_list([np.ones((2, 3)), np.ones((2, 4))]), "Image 1 has 4 features.*have 3"),
        (lambda: PatchBags.from_list([np.ones((2, 4, 4)), np.ones((2, 5, 4))]), r"Image 1.*\(5, 4\).*\(4, 4\)"),
        (lambda: PatchBags.from_list([np.ones((2, 3))])[5], "out of range for 1 images"),
        (lambda: PatchBags.from_list([np.ones((2, 3))]).field("lat", 0), "no field 'lat'"),
    ],
)
def test_wrong_bags_are_refused(make, message):
    with pytest.raises((ValueError, IndexError, KeyError), match=message):
        make()


def test_fields_are_read_only():
    bags = PatchBags.from_list([np.ones((2, 3))])
    with pytest.raises(TypeError):
        bags.fields["lon"] = np.zeros(2)


@given(patch_bags())
def test_forms_come_back(bags):
    assert restore_form(*check_bags(bags)) is bags
    for image, expected in zip(restore_form(*check_bags(bags.to_list())), bags, strict=True):
        np.testing.assert_array_equal(image, expected)
    stack = np.stack([bags[0], bags[0]])
    np.testing.assert_array_equal(restore_form(*check_bags(stack)), stack)


def test_a_table_is_one_patch_per_image_and_says_so():
    with pytest.warns(SinglePatchBagWarning, match=r"pass \[X\]"):
        bags, form = check_bags(np.ones((4, 3)))
    assert len(bags) == 4 and form == "matrix"


def test_numbers_that_are_not_finite_are_found():
    values = np.ones((6, 2), dtype=np.float32)
    assert check_features(values, [0, 2, 6]).dtype == np.float32
    values[4, 1] = np.nan
    with pytest.raises(ValueError, match=r"contains NaN \(image 1, patch 2\)"):
        check_features(values, [0, 2, 6])
    # The sum of finite numbers may overflow; they are finite all the same.
    np.testing.assert_array_equal(check_features(np.full((1, 2), 3e38, np.float32)), np.full((1, 2), 3e38, np.float32))


def test_load_reads_what_is_on_disk(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(12.0).reshape(6, 2))
    on_disk = np.load(tmp_path / "a.npy", mmap_mode="r")
    bags = PatchBags(on_disk, [0, 2, 6], fields={"pixels": on_disk[:, 0], "lon": np.arange(6.0)}, ids=["a", "b"])
    kept = bags.take([[1], [0, 3]])
    loaded = kept.load()
    for name in kept.fields:
        assert type(loaded.fields[name]) is np.ndarray
        np.testing.assert_array_equal(loaded.fields[name], kept.fields[name])
    assert type(loaded.values) is np.ndarray and loaded.values.base is None
    np.testing.assert_array_equal(loaded.values, kept.values)
    np.testing.assert_array_equal(loaded.offsets, kept.offsets)
    assert loaded.ids.tolist() == ["a", "b"]
    assert loaded.load().values is loaded.values
