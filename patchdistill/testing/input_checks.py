"""Checks of what may come in and how an estimator is used: kinds of input, pipelines, workers, errors."""

import pickle
import tempfile
import warnings
from pathlib import Path

import numpy as np
import scipy.sparse
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline

from patchdistill.forms import SinglePatchBagWarning
from patchdistill.ranking import n_keep
from patchdistill.testing._tools import (
    N_FEATURES,
    SIZES,
    assert_raises,
    assert_same_patches,
    kept_by,
    make_bags,
    make_images,
)


def check_input_is_not_changed(estimator):
    """Neither transform nor fit writes into the input."""
    images = make_images()
    clone(estimator).fit_transform(images)
    assert_same_patches(images, make_images())


def check_read_only_memory_maps(estimator):
    """A read-only memory map gives what the array gives."""
    images = make_images((20, 20))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "images.npy"
        np.save(path, np.stack(images))
        X = np.load(path, mmap_mode="r")
        np.testing.assert_array_equal(
            clone(estimator).fit_transform(X), np.stack(clone(estimator).fit_transform(images))
        )
        del X


def check_single_precision(estimator):
    """float32 comes out as float32, and keeps what the same numbers in float64 keep."""
    images = make_images(dtype=np.float32)
    assert all(out.dtype == np.float32 for out in clone(estimator).fit_transform(images))
    assert_same_patches(kept_by(estimator, images), kept_by(estimator, [image.astype(float) for image in images]))


def check_single_patch(estimator):
    """An image of one patch keeps it, whatever the rate and whatever is in it."""
    images = [np.ones((1, 5)), np.zeros((1, 5)), np.arange(5.0)[None]]
    assert_same_patches(kept_by(estimator, images), [[0], [0], [0]])


def check_few_patches(estimator):
    """Two or three patches are enough."""
    assert [len(k) for k in kept_by(clone(estimator).set_params(rate=0.5), make_images((2, 3)))] == [1, 2]


def check_single_feature(estimator):
    """One feature is enough."""
    assert len(kept_by(clone(estimator).set_params(rate=0.5), [np.arange(10.0)[:, None]])[0]) == 5


def check_constant_patches(estimator):
    """Patches that are all the same, zeros included, are no error, and numbers stay finite."""
    for value in (0.0, 3.0):
        selector = clone(estimator).fit([np.full((10, 4), value)])
        assert len(selector.get_support(indices=True)[0]) == n_keep(10, selector.rate)
        for name, learned in vars(selector).items():
            if name.endswith("scores_"):
                assert np.isfinite(learned[0]).all()


def check_constant_features(estimator):
    """Features that do not vary are no error."""
    images = [np.hstack([image, np.ones((len(image), 2)), np.zeros((len(image), 1))]) for image in make_images()]
    assert [len(k) for k in kept_by(estimator, images)] == [n_keep(n, estimator.rate) for n in SIZES]


def check_integers(estimator):
    """Integer features are numbers too."""
    images = [np.round(100 * image).astype(np.int64) for image in make_images()]
    assert_same_patches(kept_by(estimator, images), kept_by(estimator, [image.astype(float) for image in images]))


def check_pickle_and_clone(estimator):
    """A pickled selector selects the same; a clone is unfitted and has the same parameters."""
    images = make_images()
    selector = clone(estimator).fit(images)
    assert_same_patches(pickle.loads(pickle.dumps(selector)).transform(images), selector.transform(images))
    assert not hasattr(clone(selector), "selected_idx_")


def check_workers_change_nothing(estimator):
    """Two workers give what one gives, to the last bit."""
    if "n_jobs" not in estimator.get_params():
        return
    one, two = (clone(estimator).set_params(n_jobs=n).fit(make_images()) for n in (None, 2))
    for name, value in vars(one).items():
        if name.endswith("_"):
            np.testing.assert_equal(getattr(two, name), value)


def check_cache_changes_nothing(estimator):
    """With a cache, filled or empty, the same patches are kept."""
    if "memory" not in estimator.get_params():
        return
    images = make_images()
    with tempfile.TemporaryDirectory() as folder:
        for rate in (0.3, 0.3, 0.6):
            cached = clone(estimator).set_params(memory=folder, rate=rate)
            assert_same_patches(kept_by(cached, images), kept_by(clone(estimator).set_params(rate=rate), images))


def check_cross_validation(estimator):
    """In front of a pooling step and a regressor, grouped cross-validation works on bags and on lists."""
    bags = make_bags(sizes=(12, 9, 15, 10, 11, 13))
    pipeline = make_pipeline(clone(estimator), _MeanOfBags(), Ridge())
    y, groups = np.arange(6.0), [0, 0, 1, 1, 2, 2]
    options = {"groups": groups, "cv": GroupKFold(3), "scoring": "neg_mean_absolute_error", "error_score": "raise"}
    scores = cross_val_score(pipeline, bags, y, **options)
    assert np.isfinite(scores).all()
    np.testing.assert_allclose(cross_val_score(pipeline, bags.to_list(), y, **options), scores)


class _MeanOfBags(TransformerMixin, BaseEstimator):
    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return np.stack([image.mean(axis=0) for image in X])

    def __sklearn_is_fitted__(self):
        return True


def check_single_patch_table_warns(estimator):
    """A table is read as one patch per image, with a warning that says what else may be meant."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        out = clone(estimator).fit_transform(np.eye(4))
    np.testing.assert_array_equal(out, np.eye(4))
    messages = [str(w.message) for w in caught if issubclass(w.category, SinglePatchBagWarning)]
    assert messages and "[X]" in messages[0]


def check_bad_numbers_are_located(estimator):
    """NaN and infinity are refused, with the image and the patch that hold them."""
    for value, word in ((np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")):
        images = make_images()
        images[1][4, 2] = value
        assert_raises(ValueError, [word, "image 1", "patch 4"], lambda images=images: clone(estimator).fit(images))


def check_different_numbers_of_features(estimator):
    """Images must agree in their features, within a call and between fit and transform."""
    images = make_images()
    selector = clone(estimator).fit(images)
    narrow = [image[:, :7] for image in images]
    assert_raises(ValueError, ["Image 1", "7", str(N_FEATURES)], lambda: clone(estimator).fit([images[0], narrow[1]]))
    expected = f"X has 7 features, but {type(selector).__name__} is expecting {N_FEATURES} features as input"
    assert_raises(ValueError, [expected], lambda: selector.transform(narrow))


def check_empty_images(estimator):
    """An image without patches and a call without images are refused."""
    assert_raises(ValueError, ["Image 1"], lambda: clone(estimator).fit([np.ones((3, 2)), np.ones((0, 2))]))
    assert_raises(ValueError, [], lambda: clone(estimator).fit([]))


def check_kinds_of_numbers(estimator):
    """Complex numbers, texts and sparse matrices are refused."""
    image = make_images((8,))[0]
    assert_raises(ValueError, ["omplex"], lambda: clone(estimator).fit([image * 1j]))
    assert_raises((TypeError, ValueError), [], lambda: clone(estimator).fit([np.full((3, 2), "a")]))
    assert_raises((TypeError, ValueError), [], lambda: clone(estimator).fit([np.full((3, 2), None, dtype=object)]))
    assert_raises(TypeError, ["parse"], lambda: clone(estimator).fit(scipy.sparse.csr_array(image)))
    assert_raises(TypeError, ["parse"], lambda: clone(estimator).fit([scipy.sparse.csr_array(image)]))


def check_one_dimension(estimator):
    """A vector is no image."""
    assert_raises(ValueError, [], lambda: clone(estimator).fit(np.arange(5.0)))
    assert_raises(ValueError, ["Image 1"], lambda: clone(estimator).fit([np.ones((3, 2)), np.ones(3)]))


def check_bad_rates(estimator):
    """Rates that mean nothing are refused with one message that lists those that do."""
    for rate in (0, 0.0, 1.5, -0.1, True, None, "half", np.nan):
        selector = clone(estimator).set_params(rate=rate)
        assert_raises(ValueError, ["rate=", "(0, 1]", "int"], lambda s=selector: s.fit(make_images()))


def check_set_output(estimator):
    """The default output is accepted, a dataframe refused."""
    assert clone(estimator).set_output(transform="default") is not None
    assert_raises(ValueError, ["pandas", "BagPooling"], lambda: clone(estimator).set_output(transform="pandas"))
