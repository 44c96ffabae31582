import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from patchdistill.large.outliers import find_outliers_of_many
from patchdistill.outliers import find_outliers, outlyingness
from patchdistill.testing.strategies import embeddings

THRESHOLDS = st.sampled_from([0.7, 1.3, 2.1, 3.5])


@given(embeddings(n_patches=(8, 50)), THRESHOLDS, st.integers(0, 99))
def test_closures_find_what_the_forward_search_finds(E, threshold, seed):
    """More features than patches included, for which the dense way was made."""
    rng = np.random.default_rng(seed)
    scores = rng.random(len(E))
    E[scores > 0.9] += 5 * E.std() * rng.normal(size=(np.sum(scores > 0.9), E.shape[1]))
    D = cdist(E, E)
    found = outlyingness(D, scores)
    borders = np.array([threshold / 2, threshold])
    assume(np.abs(found[:, None] - borders).min() > 1e-6)
    np.testing.assert_array_equal(find_outliers_of_many(E, scores, threshold), find_outliers(D, scores, threshold))


def groups(*places):
    """A core, and as many groups apart as there are places."""
    rng = np.random.default_rng(0)
    E = rng.normal(size=(80, 4))
    for k, place in enumerate(places):
        E[5 * k : 5 * k + 5, k] += place
    return E, np.r_[np.ones(20), np.zeros(60)]


def test_one_striking_group_condemns_a_mild_one():
    E, scores = groups(30.0, 20.0, 10.0)
    levels = [outlyingness(cdist(E, E), scores)[5 * k : 5 * k + 5].max() for k in range(3)]
    assert levels[1] > levels[0] / 2 > levels[2]
    found = find_outliers_of_many(E, scores, 0.99 * levels[0])
    np.testing.assert_array_equal(np.flatnonzero(found), np.arange(10))
    assert not find_outliers_of_many(E, scores, 1.01 * levels[0]).any()


def test_the_border_of_the_core_is_no_outlier():
    rng = np.random.default_rng(0)
    scores = np.r_[np.ones(20), np.zeros(60)]
    for n_apart, expected in ((18, 18), (19, 0)):
        E = rng.normal(size=(80, 4))
        E[:n_apart, 0] += 20
        assert find_outliers_of_many(E, scores, 3.5).sum() == expected


@pytest.mark.parametrize("n_apart", [0, 2, 4])
def test_a_core_of_copies_condemns_nobody(n_apart):
    """Nor does what is left of it by rounding, when its mean is taken away."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        E = np.tile(rng.normal(size=4), (20, 1))
        E[:n_apart] += rng.normal(size=(n_apart, 4))
        for threshold in (0.01, 3.5):
            assert not find_outliers_of_many(E, np.r_[np.ones(4), np.zeros(16)], threshold).any()


@given(
    embeddings(n_patches=(8, 40), structures=("normal",), copies=False, zero_rows=False), st.sampled_from([1e-6, 7.3])
)
def test_scale_and_shift_do_not_matter(E, scale):
    assume(E.shape[1] > 1)
    scores = np.abs(E).sum(axis=1)
    assume(np.abs(outlyingness(cdist(E, E), scores)[:, None] - [0.6, 1.2]).min() > 1e-3)
    changed = scale * (E + 3.0)
    np.testing.assert_array_equal(find_outliers_of_many(changed, scores, 1.2), find_outliers_of_many(E, scores, 1.2))
