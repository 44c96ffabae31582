import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import trim_mean
from sklearn.base import clone
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.neighbors import KNeighborsRegressor
from sklearn.utils.estimator_checks import check_estimator

from patchdistill import PatchBags
from patchdistill.models import PatchwiseRegressor

RNG = np.random.default_rng(0)
IMAGES = [RNG.normal(size=(n, 3)) for n in (4, 1, 7, 12)]
LABELS = np.array([1.0, 4.0, 2.0, 3.0])


@given(st.lists(st.integers(1, 6), min_size=3, max_size=6), st.floats(0.01, 10))
def test_ridge_is_the_closed_form_on_repeated_labels(counts, alpha):
    rng = np.random.default_rng(1)
    images, labels = [rng.normal(size=(n, 2)) for n in counts], rng.normal(size=len(counts))
    A, b = np.concatenate(images), np.repeat(labels, counts)
    w = np.linalg.solve(A.T @ A + alpha * np.eye(2), A.T @ b)
    model = PatchwiseRegressor(Ridge(alpha=alpha, fit_intercept=False)).fit(images, labels)
    assert_allclose(model.predict(images), [(image @ w).mean() for image in images], rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(
    ("aggregate", "oracle"),
    [("mean", np.mean), ("median", np.median), ("trimmed", lambda scores: trim_mean(scores, 0.1))],
)
def test_aggregates(aggregate, oracle):
    model = PatchwiseRegressor(KNeighborsRegressor(1), aggregate=aggregate).fit(IMAGES, LABELS)
    others = [image + 0.5 for image in IMAGES]
    assert_allclose(model.predict(others), [oracle(scores) for scores in model.score_patches(others)])


def test_trimmed_drops_a_patch_that_disagrees():
    images = [np.r_[np.ones(10), 1e6][:, None], np.full((3, 1), 2.0)]
    model = PatchwiseRegressor(LinearRegression(), aggregate="trimmed").fit([np.ones((2, 1)), images[1]], [1, 2])
    assert_allclose(model.predict(images), [1, 2])


def test_weights_are_used_where_there_are_any():
    weights = [RNG.random(len(image)) + 0.1 for image in IMAGES]
    X = PatchBags.from_list(IMAGES, fields={"weights": weights})
    model = PatchwiseRegressor(KNeighborsRegressor(1)).fit([image + 0.3 for image in IMAGES], LABELS)
    scores = model.score_patches(X)
    assert_allclose(model.predict(X), [np.average(s, weights=w) for s, w in zip(scores, weights, strict=True)])
    assert_allclose(model.predict(IMAGES), [s.mean() for s in scores])
    assert_allclose(
        clone(model).set_params(aggregate="mean").fit(X, LABELS).predict(X), model.fit(X, LABELS).predict(IMAGES)
    )


def test_a_field_takes_the_place_of_the_values():
    X = PatchBags.from_list([np.zeros((len(image), 2)) for image in IMAGES], fields={"other": IMAGES})
    assert_array_equal(
        PatchwiseRegressor(Ridge(), field="other").fit(X, LABELS).predict(X),
        PatchwiseRegressor(Ridge()).fit(IMAGES, LABELS).predict(IMAGES),
    )


def test_is_an_estimator():
    model = PatchwiseRegressor(Ridge(alpha=3.0))
    assert clone(model).get_params()["estimator__alpha"] == 3.0
    fitted = model.fit(IMAGES, LABELS)
    assert fitted.estimator_ is not model.estimator
    assert_array_equal(pickle.loads(pickle.dumps(fitted)).predict(IMAGES), fitted.predict(IMAGES))


@pytest.mark.filterwarnings("ignore::patchdistill.SinglePatchBagWarning")
def test_passes_the_checks_of_scikit_learn():
    # Against the predictions of a network, (n,), labels (n, 1) are broadcast to (n, n): an error is the safe answer.
    refused = {"check_supervised_y_2d": "labels in a column are an error, not a warning"}
    results = check_estimator(PatchwiseRegressor(Ridge()), on_skip=None, expected_failed_checks=refused)
    assert len(results) >= 40


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (LABELS[:3], "y has 3 labels, but there are 4 images"),
        (LABELS[:, None], r"y has shape \(4, 1\).*Pass y.ravel"),
        ([1, np.inf, 2, 3], r"y contains inf \(image 1\)"),
    ],
)
def test_refuses_other_labels(y, message):
    with pytest.raises(ValueError, match=message):
        PatchwiseRegressor(Ridge()).fit(IMAGES, y)


def test_refuses_other_features():
    with pytest.raises(ValueError, match="X has 2 features, but PatchwiseRegressor is expecting 3 features as input"):
        PatchwiseRegressor(Ridge()).fit(IMAGES, LABELS).predict([np.ones((2, 2))])
    with pytest.raises(ValueError, match=r"Input X contains NaN \(image 1, patch 0\)"):
        PatchwiseRegressor(Ridge()).fit([IMAGES[0], np.full((1, 3), np.nan)], LABELS[:2])


def test_refuses_a_regressor_of_several_numbers():
    class Several(Ridge):
        def predict(self, X):
            return np.zeros((len(X), 2))

    with pytest.raises(ValueError, match=r"Several predicted an array of shape \(24, 2\) for 24 patches"):
        PatchwiseRegressor(Several()).fit(IMAGES, LABELS).predict(IMAGES)


def test_a_regressor_of_skorch():
    torch = pytest.importorskip("torch")
    skorch = pytest.importorskip("skorch")

    class Linear(torch.nn.Linear):
        def forward(self, x):
            return super().forward(x)[:, 0]

    net = skorch.NeuralNetRegressor(Linear, module__in_features=3, module__out_features=1, max_epochs=2, verbose=0)
    images = [image.astype(np.float32) for image in IMAGES]
    model = PatchwiseRegressor(net.set_params(train_split=None)).fit(images, LABELS.astype(np.float32))
    assert model.predict(images).shape == (4,)


def test_a_network_of_skorch_on_pixels():
    torch = pytest.importorskip("torch")
    skorch = pytest.importorskip("skorch")
    from patchdistill.models import Preprocess

    rng = np.random.default_rng(0)
    pixels = [rng.integers(0, 256, (n, 8, 8, 3), dtype=np.uint8) for n in (4, 3, 5)]
    X = PatchBags.from_list([np.zeros((len(image), 2)) for image in pixels], fields={"pixels": pixels})
    module = torch.nn.Sequential(Preprocess(), torch.nn.Conv2d(3, 1, 8), torch.nn.Flatten(0))
    net = skorch.NeuralNetRegressor(module, max_epochs=2, train_split=None, verbose=0)
    model = PatchwiseRegressor(net, field="pixels").fit(X, np.float32([0.1, 0.5, 0.9]))
    assert_allclose(
        model.predict(X),
        PatchwiseRegressor(net, field="pixels").fit(pixels, np.float32([0.1, 0.5, 0.9])).predict(pixels),
    )
