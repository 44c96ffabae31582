"""Checks of what is kept: how much, of what, in which order and form, and what must not change it."""

import warnings

import numpy as np
from sklearn.base import clone

from patchdistill.bags import PatchBags
from patchdistill.ranking import n_keep
from patchdistill.testing._tools import SIZES, assert_same_patches, kept_by, make_bags, make_images


def check_form_out_is_form_in(estimator):
    """Lists give lists, stacks give stacks, bags give bags, all with the same patches."""
    images = make_images((20, 20))
    as_list = clone(estimator).fit_transform(images)
    as_stack = clone(estimator).fit_transform(np.stack(images))
    as_bags = clone(estimator).fit_transform(PatchBags.from_list(images))
    assert isinstance(as_list, list) and isinstance(as_stack, np.ndarray) and isinstance(as_bags, PatchBags)
    np.testing.assert_array_equal(np.stack(as_list), as_stack)
    assert_same_patches(as_bags.to_list(), as_list)


def check_one_image_is_one_sample(estimator):
    """The number of images never changes."""
    bags = make_bags()
    for X in (bags, bags.to_list(), bags[:1]):
        assert len(clone(estimator).fit(X).transform(X)) == len(X)


def check_number_kept(estimator):
    """Shares are rounded up, counts are kept to, at least one patch stays."""
    for rate in (0.01, 0.1, 0.3, 0.45, 1.0, 1, 5):
        kept = kept_by(clone(estimator).set_params(rate=rate), make_images())
        assert [len(k) for k in kept] == [n_keep(n, rate) for n in SIZES]


def check_count_above_number_of_patches_keeps_all_and_warns(estimator):
    """A count that an image cannot meet keeps all of its patches, and says so."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        kept = kept_by(clone(estimator).set_params(rate=20), make_images())
    assert [len(k) for k in kept] == [20, 17, 20]
    assert any("rate=20" in str(w.message) for w in caught)


def check_kept_patches_come_unchanged_and_in_order(estimator):
    """What is kept are rows of the input, in the order of the input."""
    images = make_images()
    selector = clone(estimator).fit(images)
    for image, kept, out in zip(images, selector.get_support(indices=True), selector.transform(images), strict=True):
        assert (np.diff(kept) > 0).all()
        np.testing.assert_array_equal(out, image[kept])


def check_fields_follow_their_patches(estimator):
    """Fields, ids and the original patch index go with the kept patches."""
    bags = make_bags()
    selector = clone(estimator)
    out = selector.fit_transform(bags)
    assert list(out.ids) == list(bags.ids)
    for i, kept in enumerate(selector.get_support(indices=True)):
        for name in bags.fields:
            np.testing.assert_array_equal(out.field(name, i), bags.field(name, i)[kept])
        np.testing.assert_array_equal(out.field("patch_index", i), kept)


def check_weights_travel(estimator):
    """Kept patches have positive weights that sum to 1 per image, as an attribute and as a field."""
    bags = make_bags()
    selector = clone(estimator)
    out = selector.fit_transform(bags)
    for i, weights in enumerate(selector.weights_):
        assert len(weights) == len(selector.selected_idx_[i]) and (weights > 0).all() and np.isclose(weights.sum(), 1)
        np.testing.assert_array_equal(out.field("weights", i), weights)


def check_equal_weights_are_none(estimator):
    """Images that come with equal weights are treated as those that come without."""
    bags = make_bags()
    weighted = bags.with_values(bags.values, weights=np.full(len(bags.values), 2.0))
    plain, other = clone(estimator).fit(bags), clone(estimator).fit(weighted)
    assert_same_patches(other.selected_idx_, plain.selected_idx_)
    for a, b in zip(plain.weights_, other.weights_, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-6)


def check_support_forms_agree(estimator):
    """Masks and indices say the same, and the kept are the first of the ranking."""
    selector = clone(estimator).fit(make_images())
    for mask, kept, ranking in zip(selector.support_, selector.selected_idx_, selector.ranking_, strict=True):
        np.testing.assert_array_equal(np.flatnonzero(mask), kept)
        np.testing.assert_array_equal(np.sort(ranking[: len(kept)]), kept)
        np.testing.assert_array_equal(np.sort(ranking), np.arange(len(mask)))


def check_fit_transform_is_fit_then_transform(estimator):
    """Both ways keep the same patches."""
    images = make_images()
    assert_same_patches(clone(estimator).fit_transform(images), clone(estimator).fit(images).transform(images))


def check_same_bytes_twice(estimator):
    """Two fits give the same patches and the same learned numbers."""
    first, second = (clone(estimator).fit(make_images()) for _ in range(2))
    for name, value in vars(first).items():
        if name.endswith("_"):
            np.testing.assert_equal(getattr(second, name), value)


def check_permutation_equivariant(estimator):
    """The order of the patches does not matter."""
    images = make_images()
    rng = np.random.default_rng(1)
    orders = [rng.permutation(n) for n in SIZES]
    kept = kept_by(estimator, [image[order] for image, order in zip(images, orders, strict=True)])
    assert_same_patches([np.sort(order[k]) for order, k in zip(orders, kept, strict=True)], kept_by(estimator, images))


def check_scale_invariant(estimator):
    """The unit of the features does not matter."""
    for factor in (7.3, 1e-6, 1e6):
        assert_same_patches(
            kept_by(estimator, [factor * image for image in make_images()]), kept_by(estimator, make_images())
        )


def check_images_are_independent(estimator):
    """An image's patches do not depend on the other images."""
    bags = make_bags()
    for chosen in ([1], [2, 0]):
        assert_same_patches(kept_by(estimator, bags[chosen]), [kept_by(estimator, bags)[i] for i in chosen])


def check_rates_are_nested(estimator):
    """What is kept at a rate is kept at every higher one."""
    kept = [kept_by(clone(estimator).set_params(rate=rate), make_images()) for rate in (0.1, 0.4, 0.5, 0.9)]
    for low, high in zip(kept[:-1], kept[1:], strict=True):
        assert all(np.isin(a, b).all() for a, b in zip(low, high, strict=True))
