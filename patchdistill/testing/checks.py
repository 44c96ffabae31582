"""Checks of what every patch selector owes its users.

scikit-learn's own battery gives an estimator tables, which here mean one patch per image, and so never reaches the
selection. These checks give it images. Each is a function ``check(estimator)`` that raises AssertionError where the
estimator falls short.
"""

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

from patchdistill.bags import PatchBags
from patchdistill.forms import SinglePatchBagWarning
from patchdistill.ranking import n_keep

_SIZES = (30, 17, 24)
_N_FEATURES = 12


def bag_checks():
    """List the checks.

    Returns
    -------
    list of callable
        Each takes an unfitted estimator, which it clones.
    """
    return [function for name, function in globals().items() if name.startswith("check_")]


def parametrize_with_bag_checks(estimators, *, expected_failed_checks=None):
    """Decorate a test with every check for every estimator.

    The counterpart of :func:`sklearn.utils.estimator_checks.parametrize_with_checks`.

    Parameters
    ----------
    estimators : list of estimator instances
        Selectors: transformers of bags with a parameter `rate`.
    expected_failed_checks : callable, default=None
        Maps an estimator to a dict of check name to the reason why it is expected to fail.

    Returns
    -------
    decorator
        A :func:`pytest.mark.parametrize` of the arguments ``estimator`` and ``check``.

    Examples
    --------
    >>> from patchdistill import ResidualPatchSelector
    >>> from patchdistill.testing import parametrize_with_bag_checks
    >>> @parametrize_with_bag_checks([ResidualPatchSelector()])
    ... def test_bags(estimator, check):
    ...     check(estimator)
    """
    import pytest

    cases = []
    for estimator in estimators:
        expected = expected_failed_checks(estimator) if expected_failed_checks else {}
        for check in bag_checks():
            name = check.__name__
            marks = [pytest.mark.xfail(reason=expected[name], strict=True)] if name in expected else []
            cases.append(pytest.param(estimator, check, marks=marks, id=f"{type(estimator).__name__}-{name}"))
    return pytest.mark.parametrize(("estimator", "check"), cases)


def _images(sizes=_SIZES, seed=0, dtype=np.float64):
    """Images with some structure: patches near a few scenes, on a few features."""
    rng = np.random.default_rng(seed)
    scenes = np.abs(rng.normal(size=(4, _N_FEATURES)))
    return [(scenes[rng.integers(0, 4, n)] + 0.3 * rng.random((n, _N_FEATURES))).astype(dtype) for n in sizes]


def _bags(sizes=_SIZES, seed=0):
    images = _images(sizes, seed)
    fields = {"lon": [np.linspace(-180, 180, n) for n in sizes], "tag": [np.arange(n) * 10 for n in sizes]}
    return PatchBags.from_list(images, fields=fields, ids=[f"image {i}" for i in range(len(sizes))])


def _kept(estimator, X):
    return clone(estimator).fit(X).get_support(indices=True)


def _assert_same_patches(kept, expected):
    assert len(kept) == len(expected)
    for a, b in zip(kept, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def _assert_raises(errors, words, call):
    try:
        call()
    except errors as error:
        missing = [word for word in words if word not in str(error)]
        assert not missing, f"the error {str(error)!r} does not say {missing}"
    else:
        raise AssertionError(f"nothing was raised where {errors} was due")


def check_form_out_is_form_in(estimator):
    """Lists give lists, stacks give stacks, bags give bags, all with the same patches."""
    images = _images((20, 20))
    as_list = clone(estimator).fit_transform(images)
    as_stack = clone(estimator).fit_transform(np.stack(images))
    as_bags = clone(estimator).fit_transform(PatchBags.from_list(images))
    assert isinstance(as_list, list) and isinstance(as_stack, np.ndarray) and isinstance(as_bags, PatchBags)
    np.testing.assert_array_equal(np.stack(as_list), as_stack)
    _assert_same_patches(as_bags.to_list(), as_list)


def check_one_image_is_one_sample(estimator):
    """The number of images never changes."""
    bags = _bags()
    for X in (bags, bags.to_list(), bags[:1]):
        assert len(clone(estimator).fit(X).transform(X)) == len(X)


def check_number_kept(estimator):
    """Shares are rounded up, counts are kept to, at least one patch stays."""
    for rate in (0.01, 0.1, 0.3, 0.45, 1.0, 1, 5):
        kept = _kept(clone(estimator).set_params(rate=rate), _images())
        assert [len(k) for k in kept] == [n_keep(n, rate) for n in _SIZES]


def check_count_above_number_of_patches_keeps_all_and_warns(estimator):
    """A count that an image cannot meet keeps all of its patches, and says so."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        kept = _kept(clone(estimator).set_params(rate=20), _images())
    assert [len(k) for k in kept] == [20, 17, 20]
    assert any("rate=20" in str(w.message) for w in caught)


def check_kept_patches_come_unchanged_and_in_order(estimator):
    """What is kept are rows of the input, in the order of the input."""
    images = _images()
    selector = clone(estimator).fit(images)
    for image, kept, out in zip(images, selector.get_support(indices=True), selector.transform(images), strict=True):
        assert (np.diff(kept) > 0).all()
        np.testing.assert_array_equal(out, image[kept])


def check_fields_follow_their_patches(estimator):
    """Fields, ids and the original patch index go with the kept patches."""
    bags = _bags()
    selector = clone(estimator)
    out = selector.fit_transform(bags)
    assert list(out.ids) == list(bags.ids)
    for i, kept in enumerate(selector.get_support(indices=True)):
        for name in bags.fields:
            np.testing.assert_array_equal(out.field(name, i), bags.field(name, i)[kept])
        np.testing.assert_array_equal(out.field("patch_index", i), kept)


def check_support_forms_agree(estimator):
    """Masks and indices say the same, and the kept are the first of the ranking."""
    selector = clone(estimator).fit(_images())
    for mask, kept, ranking in zip(selector.support_, selector.selected_idx_, selector.ranking_, strict=True):
        np.testing.assert_array_equal(np.flatnonzero(mask), kept)
        np.testing.assert_array_equal(np.sort(ranking[: len(kept)]), kept)
        np.testing.assert_array_equal(np.sort(ranking), np.arange(len(mask)))


def check_fit_transform_is_fit_then_transform(estimator):
    """Both ways keep the same patches."""
    images = _images()
    _assert_same_patches(clone(estimator).fit_transform(images), clone(estimator).fit(images).transform(images))


def check_same_bytes_twice(estimator):
    """Two fits give the same patches and the same learned numbers."""
    first, second = (clone(estimator).fit(_images()) for _ in range(2))
    for name, value in vars(first).items():
        if name.endswith("_"):
            np.testing.assert_equal(getattr(second, name), value)


def check_permutation_equivariant(estimator):
    """The order of the patches does not matter."""
    images = _images()
    rng = np.random.default_rng(1)
    orders = [rng.permutation(n) for n in _SIZES]
    kept = _kept(estimator, [image[order] for image, order in zip(images, orders, strict=True)])
    _assert_same_patches([np.sort(order[k]) for order, k in zip(orders, kept, strict=True)], _kept(estimator, images))


def check_scale_invariant(estimator):
    """The unit of the features does not matter."""
    for factor in (7.3, 1e-6, 1e6):
        _assert_same_patches(_kept(estimator, [factor * image for image in _images()]), _kept(estimator, _images()))


def check_images_are_independent(estimator):
    """An image's patches do not depend on the other images."""
    bags = _bags()
    for chosen in ([1], [2, 0]):
        _assert_same_patches(_kept(estimator, bags[chosen]), [_kept(estimator, bags)[i] for i in chosen])


def check_rates_are_nested(estimator):
    """What is kept at a rate is kept at every higher one."""
    kept = [_kept(clone(estimator).set_params(rate=rate), _images()) for rate in (0.1, 0.4, 0.5, 0.9)]
    for low, high in zip(kept[:-1], kept[1:], strict=True):
        assert all(np.isin(a, b).all() for a, b in zip(low, high, strict=True))


def check_input_is_not_changed(estimator):
    """Neither transform nor fit writes into the input."""
    images = _images()
    clone(estimator).fit_transform(images)
    _assert_same_patches(images, _images())


def check_read_only_memory_maps(estimator):
    """A read-only memory map gives what the array gives."""
    images = _images((20, 20))
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
    images = _images(dtype=np.float32)
    assert all(out.dtype == np.float32 for out in clone(estimator).fit_transform(images))
    _assert_same_patches(_kept(estimator, images), _kept(estimator, [image.astype(float) for image in images]))


def check_single_patch(estimator):
    """An image of one patch keeps it, whatever the rate and whatever is in it."""
    images = [np.ones((1, 5)), np.zeros((1, 5)), np.arange(5.0)[None]]
    _assert_same_patches(_kept(estimator, images), [[0], [0], [0]])


def check_few_patches(estimator):
    """Two or three patches are enough."""
    assert [len(k) for k in _kept(clone(estimator).set_params(rate=0.5), _images((2, 3)))] == [1, 2]


def check_single_feature(estimator):
    """One feature is enough."""
    assert len(_kept(clone(estimator).set_params(rate=0.5), [np.arange(10.0)[:, None]])[0]) == 5


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
    images = [np.hstack([image, np.ones((len(image), 2)), np.zeros((len(image), 1))]) for image in _images()]
    assert [len(k) for k in _kept(estimator, images)] == [n_keep(n, estimator.rate) for n in _SIZES]


def check_integers(estimator):
    """Integer features are numbers too."""
    images = [np.round(100 * image).astype(np.int64) for image in _images()]
    _assert_same_patches(_kept(estimator, images), _kept(estimator, [image.astype(float) for image in images]))


def check_pickle_and_clone(estimator):
    """A pickled selector selects the same; a clone is unfitted and has the same parameters."""
    images = _images()
    selector = clone(estimator).fit(images)
    _assert_same_patches(pickle.loads(pickle.dumps(selector)).transform(images), selector.transform(images))
    assert not hasattr(clone(selector), "selected_idx_")


def check_workers_change_nothing(estimator):
    """Two workers give what one gives, to the last bit."""
    if "n_jobs" not in estimator.get_params():
        return
    one, two = (clone(estimator).set_params(n_jobs=n).fit(_images()) for n in (None, 2))
    for name, value in vars(one).items():
        if name.endswith("_"):
            np.testing.assert_equal(getattr(two, name), value)


def check_cache_changes_nothing(estimator):
    """With a cache, filled or empty, the same patches are kept."""
    if "memory" not in estimator.get_params():
        return
    images = _images()
    with tempfile.TemporaryDirectory() as folder:
        for rate in (0.3, 0.3, 0.6):
            cached = clone(estimator).set_params(memory=folder, rate=rate)
            _assert_same_patches(_kept(cached, images), _kept(clone(estimator).set_params(rate=rate), images))


def check_cross_validation(estimator):
    """In front of a pooling step and a regressor, grouped cross-validation works on bags and on lists."""
    bags = _bags(sizes=(12, 9, 15, 10, 11, 13))
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
        images = _images()
        images[1][4, 2] = value
        _assert_raises(ValueError, [word, "image 1", "patch 4"], lambda images=images: clone(estimator).fit(images))


def check_different_numbers_of_features(estimator):
    """Images must agree in their features, within a call and between fit and transform."""
    images = _images()
    selector = clone(estimator).fit(images)
    narrow = [image[:, :7] for image in images]
    _assert_raises(ValueError, ["Image 1", "7", str(_N_FEATURES)], lambda: clone(estimator).fit([images[0], narrow[1]]))
    expected = f"X has 7 features, but {type(selector).__name__} is expecting {_N_FEATURES} features as input"
    _assert_raises(ValueError, [expected], lambda: selector.transform(narrow))


def check_empty_images(estimator):
    """An image without patches and a call without images are refused."""
    _assert_raises(ValueError, ["Image 1"], lambda: clone(estimator).fit([np.ones((3, 2)), np.ones((0, 2))]))
    _assert_raises(ValueError, [], lambda: clone(estimator).fit([]))


def check_kinds_of_numbers(estimator):
    """Complex numbers, texts and sparse matrices are refused."""
    image = _images((8,))[0]
    _assert_raises(ValueError, ["omplex"], lambda: clone(estimator).fit([image * 1j]))
    _assert_raises((TypeError, ValueError), [], lambda: clone(estimator).fit([np.full((3, 2), "a")]))
    _assert_raises((TypeError, ValueError), [], lambda: clone(estimator).fit([np.full((3, 2), None, dtype=object)]))
    _assert_raises(TypeError, ["parse"], lambda: clone(estimator).fit(scipy.sparse.csr_array(image)))
    _assert_raises(TypeError, ["parse"], lambda: clone(estimator).fit([scipy.sparse.csr_array(image)]))


def check_one_dimension(estimator):
    """A vector is no image."""
    _assert_raises(ValueError, [], lambda: clone(estimator).fit(np.arange(5.0)))
    _assert_raises(ValueError, ["Image 1"], lambda: clone(estimator).fit([np.ones((3, 2)), np.ones(3)]))


def check_bad_rates(estimator):
    """Rates that mean nothing are refused with one message that lists those that do."""
    for rate in (0, 0.0, 1.5, -0.1, True, None, "half", np.nan):
        selector = clone(estimator).set_params(rate=rate)
        _assert_raises(ValueError, ["rate=", "(0, 1]", "int"], lambda s=selector: s.fit(_images()))


def check_set_output(estimator):
    """The default output is accepted, a dataframe refused."""
    assert clone(estimator).set_output(transform="default") is not None
    _assert_raises(ValueError, ["pandas", "BagPooling"], lambda: clone(estimator).set_output(transform="pandas"))
