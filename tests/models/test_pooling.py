import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.utils.estimator_checks import check_estimator

from patchdistill import PatchBags, SinglePatchBagWarning
from patchdistill.models import BagPooling

NUMBERS = st.floats(-1e3, 1e3, width=32)
RNG = np.random.default_rng(0)
IMAGES = [RNG.normal(size=(n, 3)) for n in (4, 1, 7)]


@st.composite
def bags(draw, weighted=False):
    d = draw(st.integers(1, 4))
    counts = draw(st.lists(st.integers(1, 6), min_size=1, max_size=4))
    values = draw(arrays(np.float64, (sum(counts), d), elements=NUMBERS))
    fields = {"weights": draw(arrays(np.float64, sum(counts), elements=st.floats(0.125, 8)))} if weighted else None
    return PatchBags(values, np.cumsum([0, *counts]), fields=fields)


@given(bags())
def test_pools_to_mean_and_standard_deviation(X):
    expected = [np.r_[image.mean(axis=0), image.std(axis=0)] for image in X]
    assert_allclose(BagPooling().fit_transform(X), expected, rtol=1e-9, atol=1e-9)


@given(bags(weighted=True))
def test_weights_are_those_of_np_average(X):
    pooled = BagPooling().fit_transform(X)
    d = pooled.shape[1] // 2
    for i, image in enumerate(X):
        weights = X.field("weights", i)
        mean = np.average(image, axis=0, weights=weights)
        assert_allclose(pooled[i, :d], mean, rtol=1e-9, atol=1e-9)
        variance = np.average(image**2, axis=0, weights=weights) - mean**2
        assert_allclose(pooled[i, d:] ** 2, variance, rtol=1e-6, atol=1e-6)


def test_whole_weights_are_copies():
    counts = np.array([3, 1, 0, 2])
    weighted = PatchBags(IMAGES[0], [0, 4], fields={"weights": counts})
    assert_allclose(BagPooling().transform(weighted), BagPooling().transform([np.repeat(IMAGES[0], counts, axis=0)]))


@given(bags(weighted=True), st.randoms(use_true_random=False))
def test_order_of_patches_does_not_matter(X, random):
    orders = [random.sample(range(n), n) for n in X.n_patches.tolist()]
    assert_allclose(BagPooling().transform(X.take(orders)), BagPooling().transform(X), rtol=1e-9, atol=1e-9)


def test_forms_agree():
    stack = RNG.normal(size=(3, 5, 2))
    expected = BagPooling().fit_transform(stack)
    assert_array_equal(BagPooling().fit_transform(list(stack)), expected)
    assert_array_equal(BagPooling().fit_transform(PatchBags.from_list(list(stack))), expected)
    single = BagPooling().fit_transform(stack.astype(np.float32))
    assert single.dtype == np.float64
    assert_allclose(single, expected, atol=1e-6)


def test_a_matrix_is_one_patch_per_image():
    with pytest.warns(SinglePatchBagWarning):
        pooled = BagPooling().fit_transform(IMAGES[0])
    assert_array_equal(pooled, np.c_[IMAGES[0], np.zeros_like(IMAGES[0])])


@pytest.mark.parametrize("stats", [("mean",), ["std"], ("std", "mean")])
def test_stats_choose_and_order(stats):
    columns = dict(zip(("mean", "std"), np.hsplit(BagPooling().fit_transform(IMAGES), 2), strict=True))
    pooling = BagPooling(stats=stats)
    assert_array_equal(pooling.fit_transform(IMAGES), np.hstack([columns[stat] for stat in stats]))
    names = pooling.get_feature_names_out(["a", "b", "c"])
    assert names.tolist() == [f"{stat}_{name}" for stat in stats for name in "abc"]


def test_names():
    pooling = BagPooling().fit(IMAGES)
    assert pooling.get_feature_names_out().tolist() == ["mean_x0", "mean_x1", "mean_x2", "std_x0", "std_x1", "std_x2"]
    assert pooling.set_output(transform="pandas").transform(IMAGES).columns[3] == "std_x0"


@pytest.mark.parametrize("stats", [(), ("mean", "max"), ("mean", "mean"), "mean"])
def test_refuses_other_stats(stats):
    for call in (BagPooling(stats=stats).fit, BagPooling(stats=stats).transform):
        with pytest.raises(ValueError, match="stats.*(must name at least one|parameter of BagPooling)"):
            call(IMAGES)


@pytest.mark.parametrize("weights", [[2, -1], [0, 0], [np.nan, 1], [np.inf, 1]])
def test_refuses_other_weights(weights):
    X = PatchBags.from_list([np.ones((1, 2)), np.ones((2, 2))], fields={"weights": [[1.0], weights]})
    with pytest.raises(ValueError, match=r"weights of image 1 have shape \(2,\) .* must not all be 0"):
        BagPooling().transform(X)


def test_refuses_a_table_of_weights():
    X = PatchBags(np.ones((2, 2)), [0, 2], fields={"weights": np.ones((2, 2))})
    with pytest.raises(ValueError, match=r"weights of image 0 have shape \(2, 2\)"):
        BagPooling().transform(X)


def test_refuses_other_features():
    with pytest.raises(ValueError, match="X has 2 features, but BagPooling is expecting 3 features as input"):
        BagPooling().fit(IMAGES).transform([np.ones((2, 2))])
    with pytest.raises(ValueError, match=r"Input X contains NaN \(image 1, patch 0\)"):
        BagPooling().fit([np.ones((2, 2)), np.full((1, 2), np.nan)])


def test_is_an_estimator():
    fitted = BagPooling(stats=["std"]).fit(IMAGES)
    assert clone(fitted).stats == ["std"]
    assert_array_equal(pickle.loads(pickle.dumps(fitted)).transform(IMAGES), fitted.transform(IMAGES))
    assert not fitted.__sklearn_tags__().requires_fit


@pytest.mark.filterwarnings("ignore::patchdistill.SinglePatchBagWarning")
def test_passes_the_checks_of_scikit_learn():
    results = check_estimator(BagPooling(), on_skip=None)
    assert len(results) >= 40
