"""What all baselines owe: both batteries, and properties on awkward bags."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from sklearn.base import clone
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks

from patchdistill.baselines import (
    FacilityLocationSelector,
    FarthestPointSelector,
    HighVarianceSelector,
    KernelHerdingSelector,
    KMeansSelector,
    KMedoidsSelector,
    PublishedPatchSelector,
    RandomPatchSelector,
    TrimmedMedoidsSelector,
)
from patchdistill.baselines._base import from_mean_outwards
from patchdistill.normalization import normalize_embeddings
from patchdistill.ranking import n_keep
from patchdistill.testing import parametrize_with_bag_checks
from patchdistill.testing.strategies import embeddings, patch_bags

COVERS = [FarthestPointSelector(), KMeansSelector(), KMedoidsSelector(), FacilityLocationSelector()]
OTHERS = [KernelHerdingSelector(), TrimmedMedoidsSelector(), HighVarianceSelector(), PublishedPatchSelector()]
# tests/test_selector.py has the batteries for RandomPatchSelector.
SELECTORS = COVERS + OTHERS
BY_DISTANCES = [*COVERS, KernelHerdingSelector(), TrimmedMedoidsSelector()]
NESTED = [FarthestPointSelector(), FacilityLocationSelector(), KernelHerdingSelector(), HighVarianceSelector()]


@pytest.mark.filterwarnings("ignore::patchdistill.SinglePatchBagWarning")
@parametrize_with_checks(SELECTORS)
def test_scikit_learn_battery(estimator, check):
    check(estimator)


@pytest.mark.parametrize("estimator", SELECTORS)
def test_scikit_learn_battery_is_not_empty(estimator):
    assert len(list(estimator_checks_generator(estimator))) >= 40


def what_the_methods_cannot(estimator):
    if isinstance(estimator, (KMeansSelector, KMedoidsSelector, TrimmedMedoidsSelector)):
        return {"check_rates_are_nested": "more clusters have other centers, not more of the same"}
    if isinstance(estimator, PublishedPatchSelector):
        return {
            "check_permutation_equivariant": "the random start belongs to places",
            "check_scale_invariant": "the penalties and the bandwidth are absolute",
            "check_images_are_independent": "images draw their starts one after the other",
        }
    return {}


@pytest.mark.filterwarnings("ignore::UserWarning:sklearn")
@parametrize_with_bag_checks(SELECTORS, expected_failed_checks=what_the_methods_cannot)
def test_bag_battery(estimator, check):
    check(estimator)


@pytest.mark.parametrize("estimator", SELECTORS)
@settings(max_examples=15)
@given(bags=patch_bags(), rate=st.floats(0.01, 1), columns=st.booleans())
def test_every_image_keeps_its_number_and_its_weights_are_shares(estimator, bags, rate, columns):
    selector = clone(estimator).set_params(rate=rate)
    if columns and "normalize" in selector.get_params():
        selector.set_params(normalize="columns")
    selector.fit(bags)
    for n, ranking, kept, weights in zip(
        bags.n_patches, selector.ranking_, selector.selected_idx_, selector.weights_, strict=True
    ):
        assert len(kept) == n_keep(int(n), rate)
        np.testing.assert_array_equal(np.sort(ranking), np.arange(n))
        np.testing.assert_array_equal(np.sort(ranking[: len(kept)]), kept)
        assert weights.shape == kept.shape and (weights > 0).all()
        assert weights.sum() == pytest.approx(1)


@pytest.mark.parametrize("estimator", [s for s in SELECTORS if not isinstance(s, PublishedPatchSelector)])
@settings(max_examples=15)
@given(bags=patch_bags(), exponent=st.sampled_from([-900, -1, 2, 900]))
def test_the_unit_of_the_features_does_not_matter_however_large_or_small(estimator, bags, exponent):
    # A power of two changes no digit of the features, and so nothing at all.
    plain = clone(estimator).fit(bags)
    scaled = clone(estimator).fit(bags.with_values(np.ldexp(bags.values, exponent)))
    for name in ("ranking_", "selected_idx_", "weights_"):
        for a, b in zip(getattr(plain, name), getattr(scaled, name), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("estimator", BY_DISTANCES)
@settings(max_examples=25)
@given(E=embeddings(), seed=st.integers(0, 2**32 - 1), rate=st.floats(0.05, 1))
def test_the_order_of_the_patches_does_not_matter(estimator, E, seed, rate):
    """Not even where two patches serve equally well, as the last medoids often do."""
    order = np.random.default_rng(seed).permutation(len(E))
    plain, permuted = (clone(estimator).set_params(rate=rate).fit([image]) for image in (E, E[order]))
    # Which of two copies comes first does depend on it, but not what the patches contain.
    np.testing.assert_array_equal(E[order][permuted.ranking_[0]], E[plain.ranking_[0]])


def test_patches_come_from_the_mean_outwards_and_ties_by_their_features():
    rng = np.random.default_rng(6)
    # The corners of a cube are equally far from its mean, but not to the last digit.
    cube = np.array(list(product([0.1, 0.7], repeat=3))) + rng.normal(size=3)
    E = np.concatenate([cube, 2 * cube - cube.mean(axis=0)])
    for _ in range(20):
        shuffled = E[rng.permutation(len(E))]
        np.testing.assert_array_equal(shuffled[from_mean_outwards(shuffled)], E)
    np.testing.assert_array_equal(from_mean_outwards(np.ones((3, 2))), [0, 1, 2])


@pytest.mark.parametrize("estimator", NESTED)
def test_greedy_rankings_do_not_depend_on_the_rate(estimator):
    X = np.random.default_rng(0).normal(size=(1, 20, 4))
    first, second = (clone(estimator).set_params(rate=rate).fit(X).ranking_[0] for rate in (0.2, 0.7))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("estimator", COVERS)
def test_patches_count_where_they_are_nearest(estimator):
    E = np.random.default_rng(1).normal(size=(40, 5))
    selector = clone(estimator).set_params(rate=0.3).fit([E])
    (kept,) = selector.selected_idx_
    shares = np.bincount(cdist(E, E[kept]).argmin(axis=1), minlength=len(kept)) / len(E)
    np.testing.assert_allclose(selector.weights_[0], shares)
    assert len(set(shares)) > 1


@pytest.mark.parametrize("estimator", [KMeansSelector(), KMedoidsSelector()])
def test_patches_not_kept_are_ranked_by_how_badly_they_are_covered(estimator):
    E = np.random.default_rng(2).normal(size=(40, 5))
    selector = clone(estimator).set_params(rate=10).fit([E])
    others = selector.ranking_[0][10:]
    to_nearest = cdist(E[others], E[selector.selected_idx_[0]]).min(axis=1)
    assert (np.diff(to_nearest) <= 0).all()


@pytest.mark.parametrize("estimator", [KernelHerdingSelector(), HighVarianceSelector(), PublishedPatchSelector()])
def test_other_patches_count_alike(estimator):
    selector = clone(estimator).set_params(rate=5).fit(np.random.default_rng(3).normal(size=(1, 20, 4)))
    np.testing.assert_allclose(selector.weights_[0], 1 / 5)


@pytest.mark.parametrize("estimator", [s for s in SELECTORS if "normalize" in s.get_params()])
def test_normalization_comes_first(estimator):
    rng = np.random.default_rng(4)
    E = rng.normal(size=(30, 6)) + 2
    stretched = E * rng.uniform(0.1, 10, size=(30, 1))
    unit = normalize_embeddings(stretched, "rows")
    by_option = clone(estimator).set_params(normalize="rows").fit([stretched]).ranking_[0]
    np.testing.assert_array_equal(by_option, clone(estimator).fit([unit]).ranking_[0])
    assert (by_option != clone(estimator).fit([stretched]).ranking_[0]).any()


@pytest.mark.parametrize("estimator", [RandomPatchSelector(), KMeansSelector(), PublishedPatchSelector()])
def test_chance_is_seeded_and_declared(estimator):
    X = np.random.default_rng(5).normal(size=(1, 60, 6))
    rankings = [clone(estimator).set_params(random_state=seed).fit(X).ranking_[0] for seed in (1, 1, 2)]
    np.testing.assert_array_equal(rankings[0], rankings[1])
    assert (rankings[0] != rankings[2]).any()
    for random_state, declared in ((0, False), (None, True), (np.random.RandomState(0), True)):
        assert clone(estimator).set_params(random_state=random_state).__sklearn_tags__().non_deterministic == declared


def test_random_patches_may_be_pixels():
    rng = np.random.default_rng(0)
    pixels = [rng.integers(0, 256, (n, 8, 8, 3), dtype=np.uint8) for n in (10, 7)]
    features = [pool.mean(axis=(1, 2)) for pool in pixels]
    selector = RandomPatchSelector(rate=0.3)
    expected = clone(selector).fit(features).selected_idx_
    for kept, pool, of_image in zip(selector.fit_transform(pixels), pixels, expected, strict=True):
        np.testing.assert_array_equal(kept, pool[of_image])
        assert kept.dtype == np.uint8
    with pytest.raises(ValueError, match="dim 4"):
        KMedoidsSelector().fit(pixels)


@pytest.mark.parametrize(
    ("estimator", "parameters"),
    [
        (KMedoidsSelector(), {"normalize": "unit"}),
        (KernelHerdingSelector(), {"bandwidth": 0.0}),
        (TrimmedMedoidsSelector(), {"trim": 1.0}),
        (TrimmedMedoidsSelector(), {"n_neighbors": 0}),
        (KMeansSelector(), {"random_state": "seed"}),
    ],
)
def test_parameters_are_checked(estimator, parameters):
    (name,) = parameters
    with pytest.raises(ValueError, match=f"The '{name}' parameter of {type(estimator).__name__} must be"):
        clone(estimator).set_params(**parameters).fit(np.ones((1, 5, 2)))
