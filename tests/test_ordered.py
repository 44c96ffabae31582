import pickle

import joblib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from patchdistill.normalization import normalize_embeddings
from patchdistill.ordered import OrderedPatches, content_order
from patchdistill.similarity import METRICS, pairwise_distances
from patchdistill.testing.strategies import embeddings

dtypes = st.sampled_from([np.float32, np.float64])


@given(embeddings(n_patches=(1, 15), n_features=(1, 30)), st.sampled_from([np.float32, np.float64]))
def test_content_order_is_lexicographic(E, dtype):
    E = E.astype(dtype)
    order, copies = content_order(E)
    rows = [tuple((row + 0.0).tolist()) for row in E]
    assert order.tolist() == sorted(range(len(rows)), key=lambda i: (rows[i], i))
    expected = [k for k in range(1, len(rows)) if rows[order[k]] == rows[order[k - 1]]]
    assert copies.tolist() == expected


@given(embeddings(), dtypes, st.sampled_from(["rows", "columns", None]), st.sampled_from(METRICS))
def test_distances_of_the_score_are_those_of_the_normalized_rows(E, dtype, normalize, metric):
    # Means of features depend on the order, which single precision shows.
    patches = OrderedPatches(E.astype(dtype) if normalize != "columns" else E, normalize)
    rows = normalize_embeddings(patches.E, normalize)[patches.order]
    np.testing.assert_allclose(patches.rows, rows, atol=1e-6)
    if normalize == "rows":  # in double precision, whatever the embeddings are
        rows = normalize_embeddings(patches.E.astype(float), normalize)[patches.order]
    expected = pairwise_distances(rows, metric)
    found = patches.normalized_distances(patches.rows, metric)
    if normalize is None:  # in a unit of its own
        found = found * (np.abs(patches.E).max() if metric == "euclidean" else 1)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


@given(embeddings(), dtypes, st.sampled_from(["rows", None]), st.integers(0, 2**32 - 1))
def test_distances_of_the_choice_are_those_of_the_embeddings(E, dtype, normalize, seed):
    """With lengths that differ by many orders of magnitude, each distance is exact on the scale of its own pair."""
    rng = np.random.default_rng(seed)
    if normalize == "rows":
        E = E * 10.0 ** rng.integers(-9, 1, size=(len(E), 1))
    patches = OrderedPatches(E.astype(dtype), normalize)
    places = rng.permutation(len(E))
    points = patches.points(places, core=np.arange(len(E)))
    np.testing.assert_array_equal(points, patches.E[patches.order[places]])
    points = points.astype(float)
    found = patches.distances(points, places)
    norms = np.linalg.norm(points, axis=1)
    unit = (norms if normalize == "rows" else np.abs(points)).max() or 1.0
    sizes = norms[:, None] + norms if normalize == "rows" else norms.sum()
    assert (np.abs(found * unit - cdist(points, points)) <= 1e-6 * sizes).all()
    assert (found == found.T).all() and not found.diagonal().any()


@given(embeddings(n_patches=(2, 12)), dtypes, st.sampled_from(["rows", "columns", None]))
def test_copies_are_at_distance_zero(E, dtype, normalize):
    E = np.concatenate([E, E]).astype(dtype)
    patches = OrderedPatches(E, normalize)
    places = np.arange(len(E))
    distances = patches.distances(patches.points(places, core=places), places)
    assert not distances[patches.copies, patches.copies - 1].any()


def test_lengths_beyond_what_can_be_squared():
    E = np.diag([1e200, 1e-200, 3e-200]) @ np.array([[3.0, 4.0], [3.0, 4.0], [3.0, 4.0]])
    places = np.arange(3)
    for normalize in ("rows", None):
        patches = OrderedPatches(E, normalize)
        distances = patches.distances(patches.points(places, core=places), places)
        np.testing.assert_allclose(distances / distances.max(), [[0, 0, 1], [0, 0, 1], [1, 1, 0]], atol=1e-100)
    np.testing.assert_allclose(np.linalg.norm(OrderedPatches(E).rows, axis=1), 1.0)


@pytest.mark.parametrize("normalize", ["rows", "columns", None])
def test_a_cache_goes_by_what_came_in(normalize):
    E = np.random.default_rng(0).normal(size=(6, 4))
    patches = OrderedPatches(E, normalize)
    before = joblib.hash(patches)
    patches.distances(patches.points(np.arange(6), core=np.arange(6)), np.arange(6))
    assert joblib.hash(patches) == before == joblib.hash(OrderedPatches(E.copy(), normalize))
    assert before != joblib.hash(OrderedPatches(E + 1, normalize))
    assert len(pickle.dumps(patches)) < E.nbytes + 500
