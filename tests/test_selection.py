import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import InvalidParameterError

from patchdistill import ResidualPatchSelector, ResidualProblem, select_patches, solve
from patchdistill.normalization import normalize_embeddings
from patchdistill.ranking import n_keep
from patchdistill.scoring import relative_residuals
from patchdistill.similarity import METRICS, pairwise_distances, rbf_affinity, spectral_target
from patchdistill.testing.strategies import embeddings

metrics = st.sampled_from(METRICS)
normalizations = st.sampled_from(["rows", "columns", None])


@settings(max_examples=60)
@given(embeddings(), metrics, normalizations, st.randoms(use_true_random=False))
def test_permuting_patches_permutes_scores_to_the_last_bit(E, metric, normalize, random):
    order = random.sample(range(len(E)), len(E))
    scores = select_patches(E, metric=metric, normalize=normalize).scores
    permuted = select_patches(E[order], metric=metric, normalize=normalize)
    np.testing.assert_array_equal(permuted.scores, scores[order])
    np.testing.assert_array_equal(permuted.solution.residual_norms.shape, scores.shape)


@settings(max_examples=60)
@given(embeddings(), metrics, normalizations, st.sampled_from([7.3, 1e-4, 2.0**20]))
def test_scale_changes_nothing(E, metric, normalize, scale):
    parameters = {"metric": metric, "normalize": normalize, "tol": 1e-8}
    plain, scaled = select_patches(E, **parameters), select_patches(scale * E, **parameters)
    # Two solutions within the gap of the optimum differ in their misfit by at most its square root.
    np.testing.assert_allclose(scaled.scores, plain.scores, atol=5e-3)


@given(
    embeddings(n_patches=(5, 25), n_features=(5, 30), structures=("normal", "rectified"), copies=False, zero_rows=False)
)
def test_scale_keeps_the_same_patches(E):
    np.testing.assert_array_equal(select_patches(7.3 * E).indices, select_patches(E).indices)


@given(embeddings(n_patches=(2, 20)), st.data())
def test_copies_score_equally(E, data):
    original = data.draw(st.integers(0, len(E) - 1))
    copies = np.vstack([E, E[[original, original]]])
    scores = select_patches(copies).scores
    assert scores[original] == scores[-1] == scores[-2]


@given(embeddings(), st.sampled_from([0.05, 0.3, 0.5, 1.0, 1, 3]), st.sampled_from(["low", "high"]))
def test_what_is_kept_is_the_end_asked_for(E, rate, keep):
    selection = select_patches(E, rate=rate, keep=keep, coverage=None)
    kept = selection.indices
    assert len(kept) == n_keep(len(E), rate) and (np.diff(kept) > 0).all()
    dropped = np.setdiff1d(np.arange(len(E)), kept)
    np.testing.assert_array_equal(np.sort(selection.ranking[: len(kept)]), kept)
    if len(dropped):
        low, high = (kept, dropped) if keep == "low" else (dropped, kept)
        assert selection.scores[low].max() <= selection.scores[high].min() + 1e-9


@given(embeddings(n_patches=(2, 20)), st.sampled_from([0.1, 0.5]), st.sampled_from([0.1, 1.0]))
def test_scores_are_those_of_the_problem_by_hand(E, alpha, beta):
    rows = normalize_embeddings(E)
    Z = spectral_target(rbf_affinity(pairwise_distances(rows), 4.0), 10)
    largest_beta = ResidualProblem(rows, Z).beta_max()
    largest_alpha = ResidualProblem(rows, Z, beta=beta * largest_beta).alpha_max()
    selection = select_patches(E, alpha=alpha, beta=beta, tol=1e-8)
    if largest_alpha > 0:
        assert np.isclose(selection.problem.alpha, alpha * largest_alpha)
        assert np.isclose(selection.problem.beta, beta * largest_beta)
        # The target is unique up to a rotation, which the solution follows.
        np.testing.assert_allclose(selection.problem.Z @ selection.problem.Z.T, Z @ Z.T, atol=1e-6)
        expected = solve(ResidualProblem(rows, Z, alpha * largest_alpha, beta * largest_beta), tol=1e-8)
        assert np.isclose(selection.solution.objective, expected.objective, rtol=1e-6, atol=1e-12)
    misfit = np.linalg.norm(selection.problem.misfit(selection.solution.W), axis=1)
    np.testing.assert_allclose(selection.solution.residual_norms, misfit, atol=1e-10)
    np.testing.assert_allclose(selection.scores, misfit / np.linalg.norm(selection.problem.Z, axis=1), atol=1e-8)
    gap = selection.problem.dual_gap(selection.solution.W)
    assert np.isclose(gap, selection.solution.dual_gap, atol=1e-12 * (1 + selection.solution.objective))


def test_relative_residuals_where_there_is_nothing_to_explain():
    norms, targets = np.array([0.5, 0.0, 0.3, 0.0]), np.array([1.0, 1.0, 0.0, 0.0])
    scores = relative_residuals(norms, targets)
    np.testing.assert_array_equal(scores[[0, 1, 3]], [0.5, 0.0, 1.0])
    assert 1e10 < scores[2] < np.inf


@pytest.mark.parametrize("E", [np.ones((1, 4)), np.zeros((1, 4)), np.ones((6, 4)), np.zeros((6, 4)), np.eye(3)])
def test_degenerate_images_have_finite_scores(E):
    selection = select_patches(E, h=10)
    assert np.isfinite(selection.scores).all() and selection.solution.converged
    np.testing.assert_allclose(selection.scores, selection.scores[0], atol=1e-9)


@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "mahalanobis", "cosine"])
def test_single_precision_costs_seven_digits_at_most(metric):
    E = np.random.default_rng(0).random((60, 300), dtype=np.float32)
    single, double = (select_patches(A, metric=metric, tol=1e-10) for A in (E, E.astype(np.float64)))
    np.testing.assert_allclose(single.scores, double.scores, atol=1e-4)
    assert single.scores.dtype == single.weights.dtype == np.float64
    assert np.array_equal(single.indices, double.indices)
    np.testing.assert_allclose(single.weights, double.weights, atol=1e-5)


def test_a_patch_of_zeros_is_not_explained():
    E = np.vstack([np.random.default_rng(0).random((20, 30)), np.zeros(30)])
    assert select_patches(E).scores[-1] == 1.0


def test_planted_outliers_score_high():
    rng = np.random.default_rng(0)
    E = np.abs(rng.normal(size=(3, 60)))[rng.integers(0, 3, 80)] + 0.05 * rng.random((80, 60))
    E[:6] = np.abs(rng.normal(size=(6, 60)))
    assert set(select_patches(E, coverage=None).ranking[-6:]) == set(range(6))
    assert set(select_patches(E, coverage=None, keep="high").ranking[:6]) == set(range(6))


def test_takes_every_parameter_of_the_estimator():
    E = np.random.default_rng(0).random((20, 8))
    selector = ResidualPatchSelector(h=4, metric="manhattan", rate=0.2, normalize="columns")
    selection = select_patches(E, **selector.get_params())
    np.testing.assert_array_equal(selection.indices, selector.fit([E]).selected_idx_[0])
    np.testing.assert_array_equal(selection.scores, selector.residual_scores_[0])


def test_embedding_maps_pixels():
    pixels = np.random.default_rng(0).integers(0, 256, (15, 8, 8, 3), dtype=np.uint8)
    E = pixels.reshape(15, -1).astype(float)
    selection = select_patches(pixels, embedding=lambda p: p.reshape(len(p), -1).astype(float))
    np.testing.assert_array_equal(selection.scores, select_patches(E).scores)


@pytest.mark.parametrize("returned", [np.ones((14, 3)), np.ones(15), np.ones((15, 2, 2)), 3.0])
def test_an_embedding_must_return_one_row_per_patch(returned):
    with pytest.raises(ValueError, match=r"embedding returned.*15 patches.*\(15, n_features\)"):
        select_patches(np.ones((15, 8)), embedding=lambda p: returned)


def test_the_published_solver_is_seeded():
    E = np.random.default_rng(0).random((20, 30))
    first, second, other = (select_patches(E, solver="published", random_state=seed).scores for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()


def test_too_few_iterations_are_told_once_with_the_gap():
    E = np.random.default_rng(0).random((30, 60))
    with pytest.warns(ConvergenceWarning, match=r"1 of 1 image did not reach tol=1e-06 in 1 iterations \(largest gap"):
        select_patches(E, tol=1e-6, max_iter=1)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"h": 0}, "'h' parameter.*Got 0"),
        ({"h": 2.5}, "'h' parameter"),
        ({"metric": "minkowski"}, "'metric' parameter.*'minkowski'"),
        ({"keep": "best"}, "'keep' parameter.*'best'"),
        ({"alpha": 0}, "'alpha' parameter"),
        ({"alpha": 1.1}, "'alpha' parameter"),
        ({"beta": 0}, "'beta' parameter"),
        ({"bandwidth": 0}, "'bandwidth' parameter"),
        ({"normalize": True}, "'normalize' parameter"),
        ({"solver": "newton"}, "'solver' parameter"),
        ({"tol": -1.0}, "'tol' parameter"),
        ({"max_iter": 0}, "'max_iter' parameter"),
        ({"embedding": 3}, "'embedding' parameter"),
        ({"rate": 0}, "rate=0 is not valid"),
        ({"rate": 1.5}, "rate=1.5 is not valid"),
        ({"rate": True}, "rate=True is not valid"),
    ],
)
def test_wrong_parameters(parameters, message):
    with pytest.raises((InvalidParameterError, ValueError), match=message):
        select_patches(np.ones((4, 3)), **parameters)


@pytest.mark.parametrize(
    "E",
    [
        np.full((4, 3), np.nan),
        np.full((4, 3), np.inf),
        np.ones((0, 3)),
        np.ones((4, 0)),
        np.ones(4),
        np.ones((4, 3, 2)),
        np.ones((4, 3)) * 1j,
        np.full((4, 3), None),
        np.full((4, 3), "a"),
    ],
)
def test_wrong_embeddings(E):
    with pytest.raises((ValueError, TypeError)):
        select_patches(E)
