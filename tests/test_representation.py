import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from patchdistill import PatchBags, ResidualPatchSelector, select_patches
from patchdistill.baselines import RandomPatchSelector
from patchdistill.models import BagPooling
from patchdistill.quadrature import quadrature_error, quadrature_kernel
from patchdistill.representation import represent
from patchdistill.testing.strategies import embeddings

RATES = st.sampled_from([0.1, 0.45, 1.0, 1, 3, "auto"])


@given(embeddings(n_patches=(1, 25)), RATES, st.data())
def test_outliers_come_last_and_weights_are_positive(E, rate, data):
    n = len(E)
    is_outlier = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    is_outlier[data.draw(st.integers(0, n - 1))] = False
    choice = represent(E, cdist(E, E), rate, is_outlier)
    assert sorted(choice.ranking) == list(range(n))
    n_inside = np.sum(~is_outlier)
    assert not is_outlier[choice.ranking[:n_inside]].any()
    np.testing.assert_array_equal(choice.ranking[n_inside:], np.flatnonzero(is_outlier))
    weights = choice.weights()
    assert len(weights) == len(choice.kept) and (weights > 0).all() and np.isclose(weights.sum(), 1)
    if isinstance(rate, float) and rate == 1:
        np.testing.assert_allclose(weights, 1 / n, atol=1e-7)


@given(embeddings(n_patches=(2, 25)), st.integers(0, 99))
def test_lower_rates_keep_a_part_of_what_higher_ones_keep(E, seed):
    is_outlier = np.random.default_rng(seed).random(len(E)) < 0.2
    is_outlier[0] = False
    kept = [set(represent(E, cdist(E, E), rate, is_outlier).kept) for rate in (0.1, 0.3, "auto", 0.6, 1.0)]
    kept.sort(key=len)
    assert all(low <= high for low, high in zip(kept[:-1], kept[1:], strict=True))


@given(embeddings(n_patches=(2, 25)))
def test_auto_keeps_the_fewest_with_a_small_error(E):
    D, none = cdist(E, E), np.zeros(len(E), dtype=bool)
    K, counts = quadrature_kernel(E, D), np.full(len(E), 1 / len(E))

    def error(rate):
        choice = represent(E, D, rate, none)
        return quadrature_error(K, counts, choice.kept, choice.weights())

    n = represent(E, D, "auto", none).n_kept
    assert error(n) <= 0.05 + 1e-9
    assert n == 1 or error(n - 1) > 0.05 - 1e-9


def test_simple_images_keep_less():
    rng = np.random.default_rng(0)
    simple = rng.normal(size=(3, 30))[rng.integers(0, 3, 60)] + 0.001 * rng.normal(size=(60, 30))
    rich = rng.normal(size=(60, 30))
    kept = [len(select_patches(E, rate="auto").indices) for E in (simple, rich)]
    assert kept[0] <= 5 and kept[1] >= 30


def test_weighted_pooling_of_kept_patches_is_near_pooling_of_all():
    """At most half as far off as the average random selection of as many patches."""
    rng = np.random.default_rng(0)
    E = rng.gamma(2.0, size=(120, 12)) * rng.gamma(2.0, size=12)
    bags = PatchBags.from_list([E])
    pooled = BagPooling().fit_transform(bags)[0]
    scale = np.r_[E.std(axis=0), E.std(axis=0)]

    def distance(kept):
        return np.linalg.norm((BagPooling().fit_transform(kept)[0] - pooled) / scale)

    ours = distance(ResidualPatchSelector(rate=40, normalize="columns").fit_transform(bags))
    random = np.mean([distance(bags.take([rng.choice(120, 40, replace=False)])) for _ in range(50)])
    assert ours < random / 2


def test_patches_that_come_with_weights_keep_their_say():
    """A patch that counts as much as twenty is worth a copy of it twenty times over."""
    rng = np.random.default_rng(0)
    E = rng.random((30, 8))
    counts = np.ones(30)
    counts[:3] = 20.0
    weighted = PatchBags.from_list([E], fields={"weights": [counts]})
    selector = ResidualPatchSelector(rate=10, outlier_threshold=np.inf, normalize=None)
    kept = selector.fit_transform(weighted)
    np.testing.assert_array_equal(kept.fields["weights"], selector.weights_[0])
    mean = kept.fields["weights"] @ kept.values
    assert np.linalg.norm(mean - np.average(E, axis=0, weights=counts)) < np.linalg.norm(mean - E.mean(axis=0)) / 2


@pytest.mark.parametrize("coverage", ["representatives", None])
def test_weights_travel_with_the_patches(coverage):
    bags = PatchBags.from_list([np.random.default_rng(i).random((n, 6)) for i, n in enumerate((20, 30))])
    selector = ResidualPatchSelector(rate=0.3, coverage=coverage)
    kept = selector.fit_transform(bags)
    for i, weights in enumerate(selector.weights_):
        np.testing.assert_array_equal(kept.field("weights", i), weights)
        assert np.isclose(weights.sum(), 1)
        if coverage is None:
            np.testing.assert_allclose(weights, 1 / len(weights))


@given(embeddings(n_patches=(4, 20), structures=("normal",), copies=False, zero_rows=False), st.data())
def test_permuting_patches_permutes_the_choice_to_the_last_bit(E, data):
    order = np.array(data.draw(st.permutations(range(len(E)))))
    plain, permuted = select_patches(E, rate=0.4), select_patches(E[order], rate=0.4)
    by_patch = dict(zip(plain.indices, plain.weights, strict=True))
    assert {order[i]: w for i, w in zip(permuted.indices, permuted.weights, strict=True)} == by_patch
    np.testing.assert_array_equal(np.sort(order[permuted.outliers]), plain.outliers)


def test_outliers_are_told_and_left_out():
    rng = np.random.default_rng(0)
    E = np.abs(rng.normal(size=(3, 60)))[rng.integers(0, 3, 80)] + 0.05 * rng.random((80, 60))
    E[:6] = 5 * np.abs(rng.normal(size=(6, 60)))
    selection = select_patches(E)
    np.testing.assert_array_equal(selection.outliers, np.arange(6))
    assert selection.indices.min() >= 6
    assert (np.diff(selection.scores[selection.ranking[-6:]]) >= 0).all()  # outliers come last, the worst at the end
    assert select_patches(E, outlier_threshold=np.inf).outliers.size == 0
    assert select_patches(E, coverage=None).outliers.size == 0


@pytest.mark.parametrize("weights", [[-1.0, 1, 1], [np.nan, 1, 1], [0.0, 0, 0]])
def test_weights_that_are_none_are_refused(weights):
    bags = PatchBags.from_list([np.eye(3)], fields={"weights": [weights]})
    for coverage in ("representatives", None):
        with pytest.raises(ValueError, match="The weights of image 0 have shape .* one finite weight of at least 0"):
            ResidualPatchSelector(coverage=coverage).fit(bags)


def test_an_image_in_which_only_outliers_count_is_refused():
    points = np.arange(6.0)[:, None]
    is_outlier = np.array([True, False, False, False, False, False])
    with pytest.raises(ValueError, match="5 patches of an image that are no outliers all have weight 0"):
        represent(points, np.abs(points - points.T), 0.5, is_outlier, np.array([1.0, 0, 0, 0, 0, 0]))


def test_combinations_that_make_no_sense_are_refused():
    E = np.random.default_rng(0).random((10, 4))
    with pytest.raises(ValueError, match='keep="high" keeps the worst .* Use coverage=None with it'):
        select_patches(E, keep="high")
    with pytest.raises(ValueError, match='rate="auto" counts .* Use coverage="representatives" with it'):
        ResidualPatchSelector(rate="auto", coverage=None).fit([E])
    with pytest.raises(ValueError, match=r'rate=\'most\' is not valid.* or "auto"'):
        select_patches(E, rate="most")


def test_units_of_single_features_do_not_matter_if_columns_are_normalized():
    rng = np.random.default_rng(0)
    E = rng.gamma(2.0, size=(60, 8))
    units = np.array([1.0, 1e4, 1, 1, 1e-4, 1, 1, 10])
    plain = select_patches(E, rate=0.3, normalize="columns")
    scaled = select_patches(E * units, rate=0.3, normalize="columns")
    np.testing.assert_array_equal(scaled.indices, plain.indices)
    np.testing.assert_allclose(scaled.weights, plain.weights, rtol=1e-6)
    assert set(select_patches(E * units, rate=0.3).indices) != set(plain.indices)


def test_huge_and_tiny_units_are_no_trouble():
    E = np.random.default_rng(0).random((30, 6))
    plain = select_patches(E)
    for unit in (2.0**600, 2.0**-600):
        np.testing.assert_array_equal(select_patches(unit * E).indices, plain.indices)


def test_patches_kept_for_themselves_keep_the_proportions_of_their_weights():
    counts = np.arange(1.0, 31.0)
    bags = PatchBags.from_list([np.random.default_rng(0).random((30, 6))], fields={"weights": [counts]})
    selector = RandomPatchSelector(rate=10)
    kept = selector.fit_transform(bags)
    expected = counts[selector.selected_idx_[0]]
    np.testing.assert_allclose(kept.fields["weights"], expected / expected.sum())
