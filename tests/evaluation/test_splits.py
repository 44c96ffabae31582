import re

import numpy as np
import pytest
import sklearn
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from sklearn.dummy import DummyRegressor
from sklearn.model_selection import LeaveOneGroupOut, cross_validate

from patchdistill import PatchBags
from patchdistill.evaluation import ImageShuffleSplit, LeaveOneSceneOut, SceneKFold, SceneShuffleSplit, check_split

SPLITTERS = {
    "shuffle": SceneShuffleSplit(n_splits=4),
    "shuffle, share": SceneShuffleSplit(n_splits=3, test_size=0.5, random_state=7),
    "folds": SceneKFold(n_splits=2),
    "folds in order": SceneKFold(n_splits=2, shuffle=False),
    "one out": LeaveOneSceneOut(),
}
each_splitter = pytest.mark.parametrize("splitter", SPLITTERS.values(), ids=SPLITTERS)


@st.composite
def scenes_of_images(draw, fewest=2):
    names = draw(st.lists(st.text(min_size=1, max_size=3), min_size=fewest, max_size=12, unique=True))
    names = [name + "." for name in names]  # "nan" or a name that ends in zero bytes is none
    extra = draw(st.lists(st.sampled_from(names), max_size=30))
    return draw(st.permutations(names + extra))


def splits_of(splitter, scenes):
    return [(train.tolist(), test.tolist()) for train, test in splitter.split(groups=scenes)]


@each_splitter
@given(scenes=scenes_of_images())
def test_no_scene_straddles_and_every_image_is_somewhere(splitter, scenes):
    splits = splits_of(splitter, scenes)
    assert len(splits) == splitter.get_n_splits(groups=scenes)
    for train, test in splits:
        assert train and test
        assert sorted(train + test) == list(range(len(scenes)))
        assert train == sorted(train) and test == sorted(test)
        assert not {scenes[i] for i in train} & {scenes[i] for i in test}
        check_split(train, test, scenes)


@each_splitter
@given(scenes=scenes_of_images(), seed=st.integers(0, 100))
def test_splits_do_not_depend_on_the_order_of_images(splitter, scenes, seed):
    order = np.random.default_rng(seed).permutation(len(scenes))
    shuffled = [scenes[i] for i in order]
    once = [{scenes[i] for i in test} for _, test in splits_of(splitter, scenes)]
    again = [{shuffled[i] for i in test} for _, test in splits_of(splitter, shuffled)]
    assert once == again


@given(scenes_of_images(), st.integers(2, 12))
def test_folds_test_every_scene_once_and_are_even(scenes, n_splits):
    names = set(scenes)
    if n_splits > len(names):
        with pytest.raises(ValueError, match=f"n_splits={n_splits} is more than the {len(names)} scenes"):
            splits_of(SceneKFold(n_splits), scenes)
        return
    folds = [{scenes[i] for i in test} for _, test in splits_of(SceneKFold(n_splits), scenes)]
    assert len(folds) == n_splits and set().union(*folds) == names
    sizes = [len(fold) for fold in folds]
    assert sum(sizes) == len(names) and sizes == sorted(sizes, reverse=True) and sizes[0] - sizes[-1] <= 1


@pytest.mark.parametrize(
    ("n_scenes", "test_size", "n_test"),
    [
        (16, 0.2, 3),  # CVIQ, OIQA: 13 / 3
        (15, 0.2, 3),  # MVAQD: 12 / 3
        (18, 0.2, 4),
        (5, 0.5, 3),  # a half goes up
        (50, 0.29, 15),  # 14.5, which is 14.499... in floating point
        (3, 0.1, 1),
        (3, 0.9, 2),
        (16, 5, 5),
        (2, 1, 1),
    ],
)
def test_number_of_scenes_for_testing(n_scenes, test_size, n_test):
    scenes = np.repeat(np.arange(n_scenes), 3)
    for train, test in SceneShuffleSplit(test_size=test_size).split(groups=scenes):
        assert len(np.unique(scenes[test])) == n_test and len(np.unique(scenes[train])) == n_scenes - n_test


def test_usual_protocol():
    splitter = SceneShuffleSplit()
    assert (splitter.n_splits, splitter.test_size, splitter.random_state) == (10, 0.2, 0)
    assert repr(splitter) == "SceneShuffleSplit(n_splits=10, random_state=0, test_size=0.2)"
    scenes = np.repeat(np.arange(20), 2)
    drawn = np.array([test for _, test in splitter.split(groups=scenes)])
    assert drawn.shape == (10, 8) and len(np.unique(drawn, axis=0)) > 5
    many = np.concatenate([test for _, test in SceneShuffleSplit(500).split(groups=scenes)])
    assert np.abs(np.bincount(many) / 500 - 0.2).max() < 0.08  # 4.5 standard deviations


@pytest.mark.parametrize("make", [SceneShuffleSplit, SceneKFold, lambda **seed: ImageShuffleSplit(force=True, **seed)])
def test_seeds(make):
    scenes = np.repeat(np.arange(20), 2)
    assert (
        splits_of(make(), scenes) == splits_of(make(random_state=0), scenes) != splits_of(make(random_state=1), scenes)
    )
    assert splits_of(make(random_state=np.random.RandomState(1)), scenes) == splits_of(make(random_state=1), scenes)


def test_folds_in_order():
    assert [test for _, test in splits_of(SceneKFold(2, shuffle=False), list("cabdcc"))] == [[1, 2], [0, 3, 4, 5]]


def test_leave_one_out_is_that_of_scikit_learn():
    scenes = np.array(list("cabdcc"))
    ours, theirs = LeaveOneSceneOut().split(groups=scenes), LeaveOneGroupOut().split(scenes, groups=scenes)
    for (train, test), (their_train, their_test) in zip(ours, theirs, strict=True):
        assert_array_equal(train, their_train)
        assert_array_equal(test, their_test)


@each_splitter
@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (None, "groups is None, but the scene of each image is needed"),
        (["a", "b", None, None], r"Image 2 has no scene \(groups holds None\); there are 2 like it"),
        (["a", "", "b", "c"], r"Image 1 has no scene \(groups holds ''\)"),
        ([1.0, 2.0, 3.0, np.nan], r"Image 3 has no scene \(groups holds nan\)"),
        (["a", 1, "b", 2], r"Scenes are of several types \(int, str\); make all of them strings"),
        (["a", "a", "a", "a"], "All 4 images show the scene 'a', but a split needs at least two"),
        ([["a"], ["b"], ["c"], ["d"]], r"groups has shape \(4, 1\)"),
        (["a", "b", "c"], "inconsistent numbers of samples"),
    ],
)
def test_scenes_that_are_refused(splitter, groups, message):
    with pytest.raises(ValueError, match=message):
        next(iter(splitter.split(np.zeros((4, 2)), np.zeros(4), groups)))


@pytest.mark.parametrize(
    ("splitter", "message"),
    [
        (SceneShuffleSplit(test_size=4), "test_size=4 leaves none of the 4 scenes for training; use at most 3"),
        (SceneShuffleSplit(test_size=1.0), "The 'test_size' parameter of SceneShuffleSplit must be"),
        (SceneShuffleSplit(n_splits=0), "The 'n_splits' parameter of SceneShuffleSplit must be"),
        (SceneKFold(n_splits=1), "The 'n_splits' parameter of SceneKFold must be"),
        (SceneKFold(shuffle="no"), "The 'shuffle' parameter of SceneKFold must be"),
        (SceneKFold(n_splits=2, random_state="a"), "The 'random_state' parameter of SceneKFold must be"),
        (ImageShuffleSplit(force="yes"), "The 'force' parameter of ImageShuffleSplit must be"),
    ],
)
def test_parameters_that_are_refused(splitter, message):
    with pytest.raises(ValueError, match=message):
        next(iter(splitter.split(groups=["a", "b", "c", "d"])))


def test_images_of_one_scene_are_not_split_unless_forced():
    scenes = np.repeat(["a", "b"], [3, 5])
    with pytest.raises(ValueError, match="The scene 'b' has 5 images, .* Use SceneShuffleSplit, or force=True"):
        next(ImageShuffleSplit().split(groups=scenes))
    splits = list(ImageShuffleSplit(n_splits=20, test_size=0.3, force=True).split(groups=scenes))
    assert len(splits) == 20
    straddling = 0
    for train, test in splits:
        assert len(test) == 2 and len(train) == 6 and not set(train) & set(test)
        straddling += bool(set(scenes[train]) & set(scenes[test]))
    assert straddling > 10
    with pytest.raises(ValueError, match="on both sides"):
        check_split(*splits[0], scenes)


def test_photographs_of_a_scene_each_are_split_by_image():
    names = [f"photograph {i}" for i in range(11)]
    for force in (False, True):
        ours = ImageShuffleSplit(5, 0.3, 3, force=force)
        assert splits_of(ours, names) == splits_of(SceneShuffleSplit(5, 0.3, 3), names)


def test_scenes_of_numpy_and_python_are_the_same():
    expected = splits_of(SceneKFold(2), ["a", "b", "a", "c"])
    assert splits_of(SceneKFold(2), [np.str_("a"), "b", np.str_("a"), "c"]) == expected
    assert splits_of(SceneKFold(2), np.array(["a", "b", "a", "c"])) == expected
    pandas = pytest.importorskip("pandas")
    assert splits_of(SceneKFold(2), pandas.Series(["a", "b", "a", "c"], index=[7, 7, 1, 0])) == expected
    with pytest.raises(ValueError, match="Image 1 has no scene"):
        splits_of(SceneKFold(2), pandas.Series(["a", pandas.NA, "a", "c"]))


def test_a_leak_is_named():
    scenes = ["sea", "sky", "sea", "sky", "wood", "sea"]
    message = "1 scenes are on both sides of the split, such as 'sea' (2 for training, 1 for testing). Split by scene"
    with pytest.raises(ValueError, match=re.escape(message)):
        check_split([0, 2, 4], [1, 3, 5], scenes)
    mask = np.array([True, False, True, False, True, False])
    with pytest.raises(ValueError, match=re.escape(message)):
        check_split(mask, ~mask, scenes)
    check_split([0, 2, 5], [1, 3], scenes)
    with pytest.raises(ValueError, match="Image 0 has no scene"):
        check_split([0], [1], [None, "sea"])


def test_bags_are_split_with_their_images():
    bags = PatchBags.from_list([np.zeros((2, 3))] * 6)
    scenes = list("aabbcc")
    found = cross_validate(
        DummyRegressor(), bags, np.arange(6.0), groups=scenes, cv=LeaveOneSceneOut(), return_indices=True
    )
    assert_array_equal(found["indices"]["test"], [[0, 1], [2, 3], [4, 5]])


def test_groups_are_routed_without_being_asked_for():
    with sklearn.config_context(enable_metadata_routing=True):
        found = cross_validate(
            DummyRegressor(), np.zeros((6, 1)), np.arange(6.0), params={"groups": list("aabbcc")}, cv=SceneKFold(3)
        )
    assert len(found["test_score"]) == 3
