"""The selector in front of every kind of model, through everything scikit-learn does with a pipeline."""

import pickle

import joblib
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR

from patchdistill import PatchBags, ResidualPatchSelector
from patchdistill.forms import check_bags
from patchdistill.models import BagPooling, FixedK, FrozenModuleRegressor, PatchwiseRegressor

torch = pytest.importorskip("torch")
pytest.importorskip("skorch")

from patchdistill.models import BagNetRegressor, PatchCNN, PatchTransformer  # noqa: E402

N_IMAGES, SIZE = 8, 8
FORMS = ("list", "stack", "bags")


def color_features(patches):
    """Two numbers per color: the embedding of the tests, where patches are pixels."""
    return np.concatenate([patches.mean(axis=(1, 2)), patches.std(axis=(1, 2))], axis=1) / 255


class Stacked(BaseEstimator, TransformerMixin):
    """What a model with k views has in front: (n_images, k, d) as one row per image."""

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return np.stack(list(check_bags(X)[0])).reshape(len(X), -1)

    def __sklearn_is_fitted__(self):
        return True


class Scorer(torch.nn.Module):
    """A frozen network: one score per patch of pixels."""

    def forward(self, x):
        return x.mean(dim=(1, 2, 3))


def net(module, **parameters):
    return BagNetRegressor(module, max_epochs=2, batch_size=4, lr=0.01, verbose=0, **parameters)


MODELS = {
    "SVR on pooled bags": make_pipeline(BagPooling(stats=("mean", "std", "q50")), StandardScaler(), SVR()),
    "patch-wise ridge": PatchwiseRegressor(Ridge()),
    "CNN on pixels": net(PatchCNN, module__channels=(4, 8)),
    "transformer with padding mask": net(PatchTransformer, module__n_features=6, module__width=8),
    "frozen module": FrozenModuleRegressor(Scorer(), mapping="linear"),
    "fixed k": make_pipeline(FixedK(9), Stacked(), Ridge()),
}
ON_PIXELS = ("CNN on pixels", "frozen module")


def make_images(name, form):
    """Images of the form, the labels and the scenes; pixels for models that look at these."""
    rng = np.random.default_rng(0)
    counts = [12] * N_IMAGES if form == "stack" else rng.integers(9, 16, N_IMAGES)
    images = [rng.integers(0, 256, (n, SIZE, SIZE, 3), dtype=np.uint8) for n in counts]
    if name not in ON_PIXELS:
        images = [color_features(image) for image in images]
    X = {"list": images, "stack": np.stack(images) if form == "stack" else None, "bags": PatchBags.from_list(images)}
    return X[form], rng.random(N_IMAGES), np.repeat(np.arange(N_IMAGES // 2), 2)


def make_pipeline_of(name, **parameters):
    embedding = color_features if name in ON_PIXELS else None
    rate = 9 if name == "fixed k" else 0.5
    selector = ResidualPatchSelector(h=3, rate=rate, embedding=embedding, **parameters)
    return Pipeline([("select", selector), ("model", clone(MODELS[name]))])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", MODELS)
class TestSelectorAndModel:
    def test_cross_validation_by_scene(self, name, form):
        X, y, scenes = make_images(name, form)
        scores = cross_val_score(
            make_pipeline_of(name),
            X,
            y,
            groups=scenes,
            cv=GroupKFold(2),
            scoring="neg_mean_squared_error",
            error_score="raise",
        )
        assert np.isfinite(scores).all()

    def test_search_over_rate_and_h_solves_each_image_once_per_h(self, name, form):
        X, y, scenes = make_images(name, form)
        pipeline, memory = make_pipeline_of(name), CountingMemory()
        pipeline.set_params(select__memory=memory)
        rates = [9, 9] if name == "fixed k" else [0.4, 0.7, 1.0]
        grid = {"select__rate": rates, "select__h": [2, 4]}
        search = GridSearchCV(
            pipeline, grid, cv=GroupKFold(2), scoring="neg_mean_squared_error", refit=False, error_score="raise"
        )
        search.fit(X, y, groups=scenes)
        assert np.isfinite(search.cv_results_["mean_test_score"]).all()
        assert memory.n_computed == N_IMAGES * 2
        assert memory.n_asked == N_IMAGES * 2 * len(rates) * 2

    def test_clone_pickle_and_parameters_by_name(self, name, form):
        X, y, _ = make_images(name, form)
        pipeline = make_pipeline_of(name).set_params(select__h=2)
        assert clone(pipeline).get_params()["select__h"] == 2
        fitted = clone(pipeline).fit(X, y)
        expected = fitted.predict(X)
        assert expected.shape == (N_IMAGES,)
        assert np.isfinite(expected).all()
        assert_array_equal(pickle.loads(pickle.dumps(fitted)).predict(X), expected)
        assert_array_equal(clone(fitted).fit(X, y).predict(X), expected)


class CountingMemory:
    """A cache in memory that counts; scikit-learn's clone leaves it what it is."""

    def __init__(self):
        self.results, self.n_asked = {}, 0

    def cache(self, function):
        def cached(*args, **kwargs):
            self.n_asked += 1
            key = joblib.hash((args, kwargs))
            if key not in self.results:
                self.results[key] = function(*args, **kwargs)
            return self.results[key]

        return cached

    def __deepcopy__(self, memo):
        return self

    @property
    def n_computed(self):
        return len(self.results)
