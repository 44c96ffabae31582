import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joblib import parallel_config
from scipy.stats import spearmanr

from patchdistill import PatchBags, ResidualPatchSelector, select_patches
from patchdistill.large import sizes, strata, target
from patchdistill.normalization import normalize_embeddings
from patchdistill.problem import row_norms
from patchdistill.similarity import METRICS
from patchdistill.testing import parametrize_with_bag_checks
from patchdistill.testing.strategies import embeddings

LARGE = {"n_patches": (11, 45)}
NO_TIES = {"structures": ("normal", "rectified"), "copies": False, "zero_rows": False}
metrics = st.sampled_from(METRICS)
normalizations = st.sampled_from(["rows", "columns", None])


def dense(E, **parameters):
    """The selection by n x n matrices, whatever n is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sizes, "LARGEST_DENSE", 10**6)
        return select_patches(E, **parameters)


def planted(n=400, n_outliers=12, seed=0):
    """Patches of a few scenes, the last ones outliers."""
    rng = np.random.default_rng(seed)
    E = np.abs(rng.normal(size=(6, 60)))[rng.integers(0, 6, n)] + 0.3 * rng.random((n, 60))
    E[n - n_outliers :] = 2 * np.abs(rng.normal(size=(n_outliers, 60)))
    return E


@settings(max_examples=50)
@given(embeddings(**LARGE), metrics, normalizations, st.randoms(use_true_random=False))
def test_permuting_patches_permutes_everything_to_the_last_bit(E, metric, normalize, random):
    order = np.array(random.sample(range(len(E)), len(E)))
    plain, permuted = (select_patches(X, metric=metric, normalize=normalize, rate=0.4) for X in (E, E[order]))
    np.testing.assert_array_equal(permuted.scores, plain.scores[order])
    assert permuted.target_error == plain.target_error
    if len(np.unique(E, axis=0)) == len(E):
        by_patch = dict(zip(plain.indices, plain.weights, strict=True))
        assert {order[i]: w for i, w in zip(permuted.indices, permuted.weights, strict=True)} == by_patch
        np.testing.assert_array_equal(np.sort(order[permuted.outliers]), plain.outliers)
    else:
        np.testing.assert_array_equal(np.sort(permuted.weights), np.sort(plain.weights))


@given(embeddings(n_patches=(11, 40), n_features=(5, 30), **NO_TIES), st.sampled_from([7.3, 1e-5, 2.0**300]))
def test_scale_keeps_the_same_patches(E, scale):
    np.testing.assert_array_equal(select_patches(scale * E).indices, select_patches(E).indices)


@given(embeddings(**LARGE), st.data())
def test_copies_score_equally_and_come_after_all_others(E, data):
    original = data.draw(st.integers(0, len(E) - 1))
    E = np.vstack([E, E[[original, original]]])
    selection = select_patches(E, outlier_threshold=np.inf)
    assert selection.scores[original] == selection.scores[-1] == selection.scores[-2]
    n_distinct = len(np.unique(E, axis=0))
    assert len(np.unique(E[selection.ranking[:n_distinct]], axis=0)) == n_distinct


@settings(max_examples=40)
@given(embeddings(**LARGE))
def test_lower_rates_keep_a_part_of_what_higher_ones_keep(E):
    kept = [set(select_patches(E, rate=rate).indices) for rate in (2, 0.25, "auto", 0.5, 0.8, 1.0)]
    kept.sort(key=len)
    assert all(low <= high for low, high in zip(kept[:-1], kept[1:], strict=True))


@given(embeddings(**LARGE), normalizations, st.sampled_from([0.1, 0.45, 1.0, 1, "auto"]))
def test_weights_are_positive_and_sum_to_one(E, normalize, rate):
    selection = select_patches(E, normalize=normalize, rate=rate)
    assert len(selection.weights) == len(selection.indices)
    assert (selection.weights > 0).all() and np.isclose(selection.weights.sum(), 1)
    assert not np.isin(selection.indices, selection.outliers).any() or rate == 1.0


@given(embeddings(**LARGE), metrics)
def test_the_certificate_is_that_of_the_problem_solved(E, metric):
    selection = select_patches(E, metric=metric, h=4)
    problem, solution = selection.problem, selection.solution
    assert 0 <= selection.target_error <= target.TOLERANCE
    assert solution.dual_gap <= 1e-3 * solution.objective
    assert np.isclose(problem.objective(solution.W), solution.objective, rtol=1e-9, atol=1e-12)
    assert np.isclose(problem.dual_gap(solution.W), solution.dual_gap, atol=1e-10 * (1 + solution.objective))
    misfit = normalize_embeddings(E) @ solution.W - problem.Z
    np.testing.assert_allclose(solution.residual_norms, row_norms(misfit), atol=1e-10)


@given(embeddings(n_patches=(2, 10)), st.sampled_from([0.4, "auto"]))
def test_up_to_the_switch_nothing_changes(E, rate):
    """The bytes are those of an image for which the switch is far away."""
    small, far = select_patches(E, rate=rate), dense(E, rate=rate)
    for name in ("indices", "weights", "outliers", "ranking", "scores"):
        np.testing.assert_array_equal(getattr(small, name), getattr(far, name))
    assert small.target_error == 0.0


@pytest.mark.parametrize("normalize", ["rows", "columns"])
def test_large_images_are_scored_and_purged_as_dense_ones(normalize, monkeypatch):
    monkeypatch.setattr(target, "_LANDMARKS", 100)
    monkeypatch.setattr(strata, "_STRATUM", 150)
    E = planted()
    ours, by_matrices = select_patches(E, normalize=normalize), dense(E, normalize=normalize)
    assert 0 < ours.target_error <= target.TOLERANCE
    assert spearmanr(ours.scores, by_matrices.scores)[0] > 0.999
    np.testing.assert_allclose(ours.scores, by_matrices.scores, rtol=0.02, atol=0.01)
    np.testing.assert_array_equal(ours.outliers, by_matrices.outliers)
    np.testing.assert_array_equal(ours.outliers, np.arange(388, 400))
    clean = planted(n_outliers=0)
    by_matrices = dense(clean, normalize=normalize).outliers
    np.testing.assert_array_equal(select_patches(clean, normalize=normalize).outliers, by_matrices)


@pytest.mark.parametrize("coverage", ["representatives", None])
def test_single_precision_selects_the_same(coverage):
    E = planted().astype(np.float32)
    ours, doubled = select_patches(E, coverage=coverage), select_patches(E.astype(float), coverage=coverage)
    np.testing.assert_array_equal(ours.indices, doubled.indices)
    np.testing.assert_allclose(ours.scores, doubled.scores, atol=1e-5)


def test_patches_that_come_with_weights_keep_their_say():
    rng = np.random.default_rng(0)
    E = rng.random((60, 8))
    counts = np.where(np.arange(60) < 6, 20.0, 1.0)
    weighted = PatchBags.from_list([E], fields={"weights": [counts]})
    selector = ResidualPatchSelector(rate=20, outlier_threshold=np.inf, normalize=None)
    kept = selector.fit_transform(weighted)
    mean = kept.fields["weights"] @ kept.values
    assert np.linalg.norm(mean - np.average(E, axis=0, weights=counts)) < np.linalg.norm(mean - E.mean(axis=0)) / 2
    assert selector.target_error_.shape == (1,) and selector.target_error_[0] > 0


def test_more_eigenvectors_than_patches():
    assert select_patches(planted(30), h=40).solution.converged


@pytest.mark.parametrize("E", [np.ones((30, 4)), np.zeros((30, 4)), np.eye(30), np.repeat(np.eye(3), 20, axis=0)])
def test_degenerate_images(E):
    selection = select_patches(E, rate=0.5)
    assert np.isfinite(selection.scores).all() and len(selection.indices) == len(E) / 2
    assert np.isclose(selection.weights.sum(), 1) and not len(selection.outliers)


def test_what_needs_a_matrix_of_all_distances_is_refused():
    E = np.random.default_rng(0).random((30, 4))
    with pytest.raises(ValueError, match='A callable metric returns an 30 x 30 matrix.* above 10 patches.*"euclidean"'):
        select_patches(E, metric=lambda E: np.ones((30, 30)))
    with pytest.raises(ValueError, match='solver="published" inverts an 30 x 30 matrix.*at most 10 .*Use "exact"'):
        ResidualPatchSelector(solver="published").fit([E[:5], E])


@pytest.mark.filterwarnings("ignore::UserWarning:sklearn")
@parametrize_with_bag_checks([ResidualPatchSelector(), ResidualPatchSelector(coverage=None, metric="manhattan")])
def test_bag_battery(estimator, check):
    with parallel_config(backend="threading"):  # other processes would not know of the small sizes
        check(estimator)
