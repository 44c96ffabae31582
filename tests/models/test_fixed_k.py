import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator

from patchdistill import PatchBags, ResidualPatchSelector, SinglePatchBagWarning
from patchdistill.models import BagPooling
from patchdistill.models.fixed_k import FixedK, fixed_k_indices
from patchdistill.testing.strategies import patch_bags

RNG = np.random.default_rng(0)
IMAGES = [RNG.normal(size=(n, 3)) for n in (4, 1, 6)]


def with_weights(X, seed=0):
    return X.with_values(X.values, weights=np.random.default_rng(seed).uniform(0.125, 8, len(X.values)))


@given(st.integers(1, 40), st.integers(0, 40))
def test_indices_repeat_as_resize_does(n_patches, n_more):
    k = n_patches + n_more
    indices = fixed_k_indices(n_patches, k)
    assert_array_equal(indices, np.resize(np.arange(n_patches), k))
    assert np.issubdtype(indices.dtype, np.integer)


@given(patch_bags(), st.integers(0, 5))
def test_everything_that_belongs_to_a_patch_is_repeated(X, n_more):
    k = X.n_patches.max() + n_more
    fixed = FixedK(k).fit_transform(X)
    assert_array_equal(fixed.n_patches, [k] * len(X))
    assert_array_equal(fixed.ids, X.ids)
    assert set(fixed.fields) == set(X.fields)
    for i, image in enumerate(X):
        expected = np.resize(np.arange(len(image)), k)
        assert_array_equal(fixed[i], image[expected])
        for name in X.fields:
            assert_array_equal(fixed.field(name, i), X.field(name, i)[expected])


@given(patch_bags(), st.integers(0, 30))
def test_copies_share_the_weight(X, n_more):
    X = with_weights(X)
    fixed = FixedK(X.n_patches.max() + n_more).fit_transform(X)
    for i, n in enumerate(X.n_patches):
        shared = np.bincount(fixed.field("patch_index", i), fixed.field("weights", i), n)
        assert_allclose(shared, X.field("weights", i), rtol=1e-12)
        for patch in range(n):
            assert len(np.unique(fixed.field("weights", i)[fixed.field("patch_index", i) == patch])) == 1
    assert_allclose(BagPooling().fit_transform(fixed), BagPooling().fit_transform(X), rtol=1e-6, atol=1e-6)


def test_exactly_k_patches_pass():
    X = with_weights(PatchBags.from_list([RNG.normal(size=(5, 2)) for _ in range(3)]))
    for fill in ("repeat", "error"):
        fixed = FixedK(5, fill=fill).fit_transform(X)
        assert_array_equal(fixed.values, X.values)
        assert_array_equal(fixed.fields["weights"], X.fields["weights"])


def test_index_map():
    expected = [[0, 1, 2, 3, 0, 1, 2], [0] * 7, [0, 1, 2, 3, 4, 5, 0]]
    fitted = FixedK(7).fit(IMAGES)
    by_both = FixedK(7)
    by_both.fit_transform(IMAGES)
    for index_map in (fitted.index_map_, by_both.index_map_):
        assert_array_equal(index_map, expected)
        assert np.issubdtype(index_map.dtype, np.integer)
    fitted.transform(IMAGES[:1])
    assert fitted.index_map_.shape == (3, 7)


def test_transform_needs_no_fit():
    fixed = FixedK(7)
    for image, other in zip(fixed.transform(IMAGES), FixedK(7).fit_transform(IMAGES), strict=True):
        assert_array_equal(image, other)
    assert not hasattr(fixed, "index_map_")
    assert not fixed.__sklearn_tags__().requires_fit


def test_the_form_that_came_in_goes_out():
    stack = RNG.normal(size=(3, 4, 2))
    expected = stack[:, [0, 1, 2, 3, 0, 1]]
    assert_array_equal(FixedK(6).fit_transform(stack), expected)
    as_list = FixedK(6).fit_transform(list(stack))
    assert isinstance(as_list, list)
    assert_array_equal(as_list, expected)
    as_bags = FixedK(6).fit_transform(PatchBags.from_list(list(stack)))
    assert isinstance(as_bags, PatchBags)
    assert_array_equal(as_bags.to_list(), expected)


@pytest.mark.parametrize("k", [1, 3])
def test_a_matrix_comes_out_as_a_stack(k):
    with pytest.warns(SinglePatchBagWarning):
        fixed = FixedK(k).fit_transform(IMAGES[0])
    assert_array_equal(fixed, np.repeat(IMAGES[0][:, None], k, axis=1))


def test_pixels_keep_their_shape_and_dtype(tmp_path):
    pixels = RNG.integers(0, 256, size=(2, 3, 4, 4, 3), dtype=np.uint8)
    fixed = FixedK(5).fit_transform(pixels)
    assert_array_equal(fixed, pixels[:, [0, 1, 2, 0, 1]])
    assert fixed.dtype == np.uint8
    np.save(tmp_path / "pixels.npy", pixels.reshape(6, 4, 4, 3))
    X = PatchBags(np.load(tmp_path / "pixels.npy", mmap_mode="r"), [0, 3, 6])
    assert_array_equal(FixedK(5).fit_transform(X).to_list(), fixed)


@pytest.mark.parametrize("fill", ["repeat", "error"])
def test_refuses_more_patches(fill):
    message = r"Image 1: 6 patches do not fit into k=5 slots. Select 5 of them before, with .*\(rate=5\)"
    images = [np.ones((5, 3)), IMAGES[2]]
    for call in (FixedK(5, fill=fill).fit, FixedK(5, fill=fill).transform):
        with pytest.raises(ValueError, match=message):
            call(images)
    with pytest.raises(ValueError, match="^6 patches do not fit into k=5 slots"):
        fixed_k_indices(6, 5)


def test_refuses_fewer_patches_if_told_to():
    for call in (FixedK(4, fill="error").fit, FixedK(4, fill="error").transform):
        with pytest.raises(ValueError, match='Image 1 has patches for 1 of k=4 slots. Use fill="repeat"'):
            call(IMAGES)


@pytest.mark.parametrize("params", [{"k": 0}, {"k": 2.0}, {"k": "20"}, {"k": 9, "fill": "zeros"}])
def test_refuses_other_parameters(params):
    for call in (FixedK(**params).fit, FixedK(**params).transform):
        with pytest.raises(ValueError, match="'(k|fill)' parameter of FixedK must be"):
            call(IMAGES)


@pytest.mark.parametrize(("n_patches", "k"), [(0, 3), (-1, 3), (2.0, 3), (1, 0), (1, 1.5)])
def test_indices_refuse_other_numbers(n_patches, k):
    with pytest.raises(ValueError, match="'(n_patches|k)' parameter of fixed_k_indices must be an int"):
        fixed_k_indices(n_patches, k)


def test_refuses_wrong_weights():
    X = PatchBags.from_list(IMAGES[:2], fields={"weights": [np.ones(4), [-1.0]]})
    with pytest.raises(ValueError, match=r"weights of image 1 have shape \(1,\)"):
        FixedK(5).transform(X)


def test_whole_weights_can_be_shared():
    X = PatchBags(np.ones((2, 1)), [0, 2], fields={"weights": [3, 2]})
    assert_array_equal(FixedK(3).transform(X).field("weights", 0), [1.5, 2, 1.5])


def test_is_an_estimator():
    fitted = FixedK(k=7, fill="repeat").fit(IMAGES)
    assert clone(fitted).get_params() == {"k": 7, "fill": "repeat"}
    assert not hasattr(clone(fitted), "index_map_")
    assert_array_equal(pickle.loads(pickle.dumps(fitted)).index_map_, fitted.index_map_)
    with pytest.raises(ValueError, match="no dataframe form"):
        fitted.set_output(transform="pandas")


@pytest.mark.filterwarnings("ignore::patchdistill.SinglePatchBagWarning")
def test_passes_the_checks_of_scikit_learn():
    results = check_estimator(FixedK(k=2), on_skip=None)
    assert len(results) >= 35


@pytest.mark.filterwarnings("ignore:rate=20 asks for more patches")
def test_pipeline_from_an_oversampled_pool():
    pool = PatchBags.from_list([RNG.random((n, 8)) for n in (40, 12, 25)])
    selector = ResidualPatchSelector(rate=20)
    fixed = make_pipeline(selector, FixedK(20)).fit_transform(pool)
    assert_array_equal(fixed.n_patches, [20, 20, 20])
    kept = selector.fit_transform(pool)
    for i, index_map in enumerate(FixedK(20).fit(kept).index_map_):
        assert_array_equal(fixed.field("patch_index", i), selector.selected_idx_[i][index_map])
        assert_allclose(fixed.field("weights", i).sum(), 1)


@pytest.mark.filterwarnings("ignore:rate=20 asks for more patches")
def test_scores_of_cross_validation_are_those_without_padding():
    pool = PatchBags.from_list([RNG.random((n, 8)) for n in RNG.integers(10, 30, 24)])
    y, scenes = RNG.random(24), np.repeat(np.arange(8), 3)
    scores = [
        cross_val_score(make_pipeline(*steps, BagPooling(), Ridge()), pool, y, groups=scenes, cv=GroupKFold(4))
        for steps in ([ResidualPatchSelector(rate=20)], [ResidualPatchSelector(rate=20), FixedK(20)])
    ]
    assert np.isfinite(scores).all()
    assert_allclose(*scores)
