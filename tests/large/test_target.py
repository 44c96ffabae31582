import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning

from patchdistill import ResidualPatchSelector, select_patches
from patchdistill.large import target
from patchdistill.large.affinity import BlockAffinity, at_most_n_columns
from patchdistill.large.sizes import evenly_spaced, row_blocks
from patchdistill.large.target import large_target, nystrom, refine
from patchdistill.normalization import normalize_embeddings
from patchdistill.similarity import METRICS, pairwise_distances, rbf_affinity, spectral_target
from patchdistill.testing.strategies import embeddings

# Where a covariance is nearly singular, whitening multiplies rounding.
REGULAR = {"structures": ("normal", "rectified"), "copies": False, "zero_rows": False}


def dense_affinity(rows, metric="euclidean", bandwidth=4.0):
    return rbf_affinity(pairwise_distances(rows, metric), bandwidth)


def gapped(K, h):
    """Whether there is a gap after eigenvalue h, so that the target is unique up to a rotation."""
    values = np.linalg.eigvalsh(K)[::-1]
    return len(values) <= h or values[h - 1] - values[h] > 1e-4 * values[0]


@pytest.mark.parametrize("metric", METRICS)
@given(data=st.data(), bandwidth=st.sampled_from([0.3, 4.0]))
def test_affinity_in_blocks_is_the_affinity(metric, data, bandwidth):
    rows = data.draw(embeddings(n_patches=(2, 40), **(REGULAR if metric == "mahalanobis" else {})))
    K = dense_affinity(rows, metric, bandwidth)
    affinity = BlockAffinity(rows, metric, bandwidth, n_landmarks=40)
    everything = np.arange(len(rows))
    np.testing.assert_allclose(affinity.columns(everything, everything), K, atol=1e-6)
    V = np.random.default_rng(0).normal(size=(len(rows), 3))
    np.testing.assert_allclose(affinity.multiply(V), K @ V, atol=1e-5 * len(rows))


def test_single_precision_is_left_where_distances_are_small_next_to_norms():
    """Most patches are near copies of each other, and the bandwidth is theirs."""
    rng = np.random.default_rng(0)
    rows = 1 + 1e-4 * rng.normal(size=(40, 3))
    rows[:5] += 1.0
    affinity = BlockAffinity(rows, "euclidean", 4.0, n_landmarks=40)
    V = rng.normal(size=(40, 2))
    np.testing.assert_allclose(affinity.multiply(V), dense_affinity(rows) @ V, atol=1e-5)


@given(embeddings(n_patches=(1, 12), n_features=(1, 30)))
def test_points_keep_their_inner_products_in_fewer_dimensions(E):
    points = at_most_n_columns(E)
    assert points.shape == (len(E), min(E.shape))
    np.testing.assert_allclose(points @ points.T, E @ E.T, atol=1e-12 * (1 + np.abs(E).max() ** 2 * E.shape[1]))


@pytest.mark.parametrize("unit", [1e-30, 1e30])
def test_units_do_not_overflow_single_precision(unit):
    rows = np.random.default_rng(0).normal(size=(40, 5))
    plain, scaled = (BlockAffinity(c * rows, "euclidean", 4.0, 12) for c in (1.0, unit))
    V = np.ones((40, 1))
    np.testing.assert_allclose(scaled.multiply(V), plain.multiply(V), rtol=1e-5)


def test_median_where_all_landmarks_are_copies():
    """Nearly all pairs that are not copies are then pairs of one patch with the others."""
    rows = np.zeros((400, 3))
    rows[[5, 9, 200]] = [[1.0, 0, 0], [0, 5.0, 0], [0, 0, 9.0]]
    affinity = BlockAffinity(rows, "euclidean", 4.0, n_landmarks=4)
    assert (rows[affinity.landmarks] == 0).all()
    np.testing.assert_allclose(affinity.columns(slice(0, 10), np.arange(400)), dense_affinity(rows)[:10], rtol=1e-9)
    np.testing.assert_array_equal(BlockAffinity(0 * rows, "manhattan", 4.0, 4).columns([3], [7, 8]), [[1, 1]])


@given(embeddings(n_patches=(2, 40)), st.integers(1, 6), st.sampled_from([0.3, 4.0]))
def test_with_all_patches_as_landmarks_the_target_is_the_dense_one(E, h, bandwidth):
    K = dense_affinity(E, bandwidth=bandwidth)
    assume(gapped(K, h))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(target, "_LANDMARKS", 40)
        Z, error = large_target(E, "euclidean", bandwidth, h)
    dense = spectral_target(K, h)
    np.testing.assert_allclose(Z @ Z.T, dense @ dense.T, atol=1e-7)
    assert Z.shape == (len(E), h) and 0 <= error < 1e-8


@given(embeddings(n_patches=(13, 40), n_features=(4, 30), **REGULAR), st.sampled_from([0.1, 0.5]))
def test_landmarks_give_the_nystrom_approximation(E, bandwidth):
    affinity = BlockAffinity(E, "euclidean", bandwidth, n_landmarks=12)
    C = affinity.columns(np.arange(len(E)), affinity.landmarks)
    assume(np.linalg.cond(C[affinity.landmarks]) < 1e8)
    expected = C @ np.linalg.inv(C[affinity.landmarks]) @ C.T
    values, V, error = nystrom(affinity, 12)
    np.testing.assert_allclose((V * values) @ V.T, expected, atol=1e-6)
    assert np.isclose(error, (len(E) - np.trace(expected)) / np.linalg.norm(expected, 2), atol=1e-7)


@given(embeddings(n_patches=(13, 40)), st.sampled_from([0.1, 1.0, 4.0]))
def test_stated_error_of_landmarks_bounds_the_norm(E, bandwidth):
    affinity = BlockAffinity(E, "euclidean", bandwidth, n_landmarks=12)
    values, V, error = nystrom(affinity, 12)
    K = affinity.columns(np.arange(len(E)), np.arange(len(E)))
    np.testing.assert_allclose(V.T @ V, np.eye(len(values)), atol=1e-4)
    norm, rounding = np.linalg.norm(K - (V * values) @ V.T, 2), 1e-6 * values[0]
    assert norm <= error * values[0] + rounding
    V, values = V[:, :4], values[:4]
    assert np.linalg.norm(K @ V - V * values, 2) <= norm + rounding
    assert (np.abs(values - np.linalg.eigvalsh(K)[::-1][: len(values)]) <= norm + rounding).all()


@pytest.mark.parametrize("metric", METRICS)
@given(data=st.data(), bandwidth=st.sampled_from([0.1, 1.0, 4.0]))
def test_stated_error_after_passes_is_the_residual(metric, data, bandwidth):
    E = data.draw(embeddings(n_patches=(13, 40), **REGULAR))
    K = dense_affinity(E, metric, bandwidth)
    affinity = BlockAffinity(E, metric, bandwidth, n_landmarks=len(E))
    values, V, error = refine(affinity.multiply, nystrom(BlockAffinity(E, metric, bandwidth, 12), 8)[1], 4)
    assert error <= target.TOLERANCE
    np.testing.assert_allclose(V.T @ V, np.eye(len(values)), atol=1e-6)
    residual = np.linalg.norm(K @ V - V * values, 2) / np.linalg.norm(K, 2)
    assert abs(error - residual) < 1e-5
    # Near every Ritz value is an eigenvalue, as near as the residual is small.
    eigenvalues = np.linalg.eigvalsh(K)
    distances = np.abs(values[:, None] - eigenvalues).min(axis=1)
    assert (distances <= (residual + 1e-5) * eigenvalues[-1]).all()


def test_passes_find_leading_eigenvectors_from_a_poor_start():
    rng = np.random.default_rng(0)
    rows = normalize_embeddings(rng.normal(size=(200, 30)))
    affinity = BlockAffinity(rows, "euclidean", 0.1, n_landmarks=200)
    calls = []

    def multiply(V):
        calls.append(V.shape)
        return affinity.multiply(V)

    values, _, error = refine(multiply, rng.normal(size=(200, 8)), 3)
    eigenvalues = np.linalg.eigvalsh(dense_affinity(rows, bandwidth=0.1))[::-1]
    assert len(calls) > 2 and error <= target.TOLERANCE
    np.testing.assert_allclose(values, eigenvalues[:3], rtol=1e-3)


def test_new_directions_are_new():
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(50, 6)))[0]
    outside = rng.normal(size=(50, 2))
    new = target._new_directions(basis @ rng.normal(size=(6, 4)) + 1e-9 * outside @ rng.normal(size=(2, 4)), basis)
    assert new.shape == (50, 2)
    np.testing.assert_allclose(new.T @ np.hstack([basis, new]), np.eye(8)[6:], atol=1e-14)


def test_landmarks_that_do_are_not_refined(monkeypatch):
    monkeypatch.setattr(target, "refine", None)
    rows = np.random.default_rng(0).normal(size=(60, 1))
    _, error = large_target(rows, "euclidean", 4.0, 2)
    assert 0 < error <= target.TOLERANCE
    with pytest.raises(TypeError):
        large_target(np.random.default_rng(0).normal(size=(60, 30)), "euclidean", 4.0, 2)
    with pytest.raises(TypeError):  # the trace bounds nothing where the affinity is not positive
        large_target(rows, "manhattan", 4.0, 2)


def test_targets_that_are_not_accurate_are_told(monkeypatch):
    monkeypatch.setattr(target, "_PASSES", 1)
    E = np.random.default_rng(0).normal(size=(80, 30))
    with pytest.warns(ConvergenceWarning, match="The target of 1 of 1 image is not accurate to 0.001 .* at image 0"):
        error = select_patches(E, bandwidth=0.1).target_error
    with pytest.warns(ConvergenceWarning, match="The target of 1 of 2 images is not accurate to 0.001 .* at image 1"):
        selector = ResidualPatchSelector(bandwidth=0.1).fit([E[:5], E])
    np.testing.assert_array_equal(selector.target_error_, [0, error])


@given(st.integers(1, 500), st.integers(1, 200))
def test_blocks_cover_all_rows_and_are_bounded(n, width):
    blocks = row_blocks(n, width)
    np.testing.assert_array_equal(np.concatenate([np.arange(n)[block] for block in blocks]), np.arange(n))
    assert all((block.stop - block.start) * width <= max(90, width) for block in blocks)


@given(st.integers(1, 500), st.integers(1, 200))
def test_evenly_spaced(n, count):
    places = evenly_spaced(n, count)
    assert len(places) == min(n, count) and 0 <= places[0] and places[-1] < n
    steps = np.diff(places)
    assert (steps > 0).all() and (len(steps) == 0 or steps.max() - steps.min() <= 1)
    assert abs(places[0] - (n - 1 - places[-1])) <= 1
