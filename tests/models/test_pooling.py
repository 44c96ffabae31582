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
QUANTILES = [f"q{percent}" for percent in range(101)]


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
    copies = [np.repeat(IMAGES[0], counts, axis=0)]
    assert_allclose(BagPooling().transform(weighted), BagPooling().transform(copies))
    assert_array_equal(BagPooling(QUANTILES).transform(weighted), BagPooling(QUANTILES).transform(copies))


@st.composite
def counted(draw):
    """One image, and how many copies there are of each patch."""
    n, d = draw(st.integers(1, 30)), draw(st.integers(1, 3))
    counts = draw(arrays(np.int64, n, elements=st.integers(0, 5)).filter(np.any))
    return draw(arrays(np.float64, (n, d), elements=NUMBERS)), counts


@given(counted(), st.sampled_from([1.0, 0.1, 1 / 3, 1e-300]))
def test_quantiles_are_the_inverse_of_the_distribution_function(image, unit):
    """In whole numbers, where nothing is rounded."""
    patches, counts = image
    X = PatchBags(patches, [0, len(patches)], fields={"weights": unit * counts})
    expected = [
        min(v for v in column if (reached := counts[column <= v].sum()) > 0 and 100 * reached >= p * counts.sum())
        for p in range(101)
        for column in patches.T
    ]
    assert_array_equal(BagPooling(QUANTILES).transform(X)[0], expected)


@pytest.mark.skipif(np.lib.NumpyVersion(np.__version__) < "2.0.0", reason="np.quantile has no weights")
@given(counted(), st.integers(0, 100))
def test_quantiles_are_those_of_numpy(image, percent):
    patches, counts = image
    X = PatchBags(patches, [0, len(patches)], fields={"weights": counts})
    expected = np.quantile(patches, percent / 100, axis=0, method="inverted_cdf", weights=counts)
    assert_array_equal(BagPooling([f"q{percent}"]).transform(X)[0], expected)


@pytest.mark.parametrize("n", [10, 100, 1000])
def test_equal_weights_are_none(n):
    """Ten weights of 0.1 reach 10 % with the first, though their sums are rounded."""
    image = RNG.permutation(n)[:, None]
    expected = [[max(0, p * n // 100 - 1) for p in range(0, 101, 10)]]
    for weights in (None, np.full(n, 0.1), np.full(n, 1 / n), np.full(n, 1 / 3, dtype=np.float32)):
        X = PatchBags(image, [0, n], fields={} if weights is None else {"weights": weights})
        assert_array_equal(BagPooling(QUANTILES[::10]).transform(X), expected)


@given(bags(weighted=True))
def test_extreme_quantiles_are_the_extreme_patches(X):
    expected = [np.r_[image.min(axis=0), image.max(axis=0)] for image in X]
    assert_array_equal(BagPooling(("q0", "q100")).transform(X), expected)


def test_a_light_patch_may_be_the_extreme_one():
    X = PatchBags(np.array([[0.0], [1.0], [2.0]]), [0, 3], fields={"weights": [1e-12, 1, 1e-12]})
    assert_array_equal(BagPooling(("q0", "q1", "q99", "q100")).transform(X), [[0, 1, 1, 2]])


@given(bags(weighted=True), st.randoms(use_true_random=False))
def test_order_of_patches_does_not_matter(X, random):
    orders = [random.sample(range(n), n) for n in X.n_patches.tolist()]
    pooling = BagPooling(("mean", "std", "q10", "q90"))
    assert_allclose(pooling.transform(X.take(orders)), pooling.transform(X), rtol=1e-9, atol=1e-9)


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


@pytest.mark.parametrize("stats", [("mean",), ["std"], ("std", "mean"), ("q90", "std", "q0"), ["q5"]])
def test_stats_choose_and_order(stats):
    legal = ("mean", "std", *QUANTILES)
    columns = dict(zip(legal, np.hsplit(BagPooling(legal).fit_transform(IMAGES), 103), strict=True))
    pooling = BagPooling(stats=stats)
    assert_array_equal(pooling.fit_transform(IMAGES), np.hstack([columns[stat] for stat in stats]))
    names = pooling.get_feature_names_out(["a", "b", "c"])
    assert names.tolist() == [f"{stat}_{name}" for stat in stats for name in "abc"]


def test_names():
    pooling = BagPooling().fit(IMAGES)
    assert pooling.get_feature_names_out().tolist() == ["mean_x0", "mean_x1", "mean_x2", "std_x0", "std_x1", "std_x2"]
    assert pooling.set_output(transform="pandas").transform(IMAGES).columns[3] == "std_x0"


@pytest.mark.parametrize(
    ("stats", "not_called"), [(("mean",), ("sqrt", "argsort")), (("std",), ("argsort",)), (("q10", "q50"), ("sqrt",))]
)
def test_only_what_is_asked_for_is_computed(monkeypatch, stats, not_called):
    for name in not_called:
        monkeypatch.setattr(np, name, None)
    BagPooling(stats).transform(IMAGES[:1])


@pytest.mark.parametrize(
    "stats", [(), ("mean", "max"), ("mean", "mean"), ("q10", "q10"), "mean", ("q101",), ("q05",), ("q-1",), ("q2.5",)]
)
def test_refuses_other_stats(stats):
    named = r'stats must name at least one of "mean", "std" and .* "q0", "q1", ..., "q100" .* got '
    for call in (BagPooling(stats=stats).fit, BagPooling(stats=stats).transform):
        with pytest.raises(ValueError, match=f"{named}|The 'stats' parameter of BagPooling"):
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
