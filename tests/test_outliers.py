import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import DotProduct

from patchdistill.outliers import find_outliers, outlyingness, split_core
from patchdistill.testing.strategies import embeddings

RIDGE = 1e-3


def by_definition(E, scores):
    """The forward search, every conditional variance by scikit-learn's Gaussian process."""
    core, others = (list(part) for part in split_core(scores))
    E = E - E[core].mean(axis=0)
    E = E / np.sqrt(np.mean(np.sum(E[core] ** 2, axis=1)))

    def variance(i, given):
        kernel = DotProduct(sigma_0=0.0, sigma_0_bounds="fixed")
        process = GaussianProcessRegressor(kernel, alpha=RIDGE, optimizer=None).fit(E[given], np.zeros(len(given)))
        return process.predict(E[[i]], return_std=True)[1][0] ** 2

    typical = np.percentile([variance(i, [j for j in core if j != i]) for i in core], 95)
    result, largest, joined = np.zeros(len(E)), 0.0, list(core)
    while others:
        variances = [variance(i, joined) for i in others]
        largest = max(largest, min(variances))
        best = others.pop(int(np.argmin(variances)))
        result[best] = np.sqrt(largest / typical)
        joined.append(best)
    return result


@pytest.mark.filterwarnings("ignore:Predicted variances smaller than 0")
@pytest.mark.parametrize("shape", [(9, 3), (24, 40), (16, 5)])
def test_forward_search_by_gaussian_processes(shape):
    rng = np.random.default_rng(sum(shape))
    E, scores = rng.normal(size=shape), rng.random(shape[0])
    E[np.argmax(scores)] *= 5
    found = outlyingness(cdist(E, E), scores)
    np.testing.assert_allclose(found, by_definition(E, scores), rtol=1e-6, atol=1e-6)


def test_core_is_three_quarters_with_the_lowest_scores():
    core, others = split_core(np.array([0.4, 0.1, 0.9, 0.2, 0.3]))
    np.testing.assert_array_equal(core, [1, 3, 4, 0])
    np.testing.assert_array_equal(others, [2])


@given(embeddings(n_patches=(1, 25)), st.integers(0, 1000))
def test_core_is_never_outlying_and_nothing_is_nan(E, seed):
    scores = np.random.default_rng(seed).random(len(E))
    found = outlyingness(cdist(E, E), scores)
    assert np.isfinite(found).all() and (found >= 0).all()
    assert (found[split_core(scores)[0]] == 0).all()


@given(
    embeddings(n_patches=(8, 25), structures=("normal",), copies=False, zero_rows=False), st.sampled_from([1e-6, 7.3])
)
def test_scale_and_shift_do_not_matter(E, scale):
    assume(E.shape[1] > 1)
    scores = np.abs(E).sum(axis=1)
    found = outlyingness(cdist(E, E), scores)
    changed = scale * (E + 3.0)
    np.testing.assert_allclose(outlyingness(cdist(changed, changed), scores), found, rtol=1e-4, atol=1e-6)


def test_a_core_of_copies_condemns_nobody():
    E = np.ones((20, 4))
    E[:4] = np.random.default_rng(0).normal(size=(4, 4))
    scores = np.r_[np.ones(4), np.zeros(16)]
    np.testing.assert_array_equal(outlyingness(cdist(E, E), scores), np.zeros(20))


def test_small_steps_stay_low_and_what_lies_behind_a_jump_is_high():
    rng = np.random.default_rng(0)
    core = rng.normal(size=(60, 3))
    path = np.outer(np.arange(1, 11), [1.0, 0.0, 0.0]) * 0.8 + 0.3 * rng.normal(size=(10, 3))
    E = np.zeros((80, 6))
    E[:70, :3] = np.vstack([core, path])
    E[:, 3:] = 0.2 * rng.normal(size=(80, 3))
    E[70:, 3] += 8 + 0.1 * rng.normal(size=10)  # a group elsewhere, close together
    found = outlyingness(cdist(E, E), np.r_[np.zeros(60), np.ones(20)])
    assert found[70:].min() > 3 * found[60:70].max() and found[60:70].max() < 1.75


def two_groups(n_apart, n=80):
    """A core, as many patches apart as asked for, and ordinary patches that do not belong to the core."""
    rng = np.random.default_rng(0)
    E = rng.normal(size=(n, 4))
    E[:n_apart] += [20.0, 0, 0, 0]
    scores = np.r_[np.ones(20), np.zeros(n - 20)]
    return cdist(E, E), scores


def test_both_thresholds():
    rng = np.random.default_rng(0)
    E = rng.normal(size=(80, 4))
    E[:5] += [30.0, 0, 0, 0]
    E[5:10] += [0, 20.0, 0, 0]
    E[10:15] += [0, 0, 10.0, 0]
    D, scores = cdist(E, E), np.r_[np.ones(20), np.zeros(60)]
    found = outlyingness(D, scores)
    levels = [found[5 * k : 5 * k + 5].max() for k in range(3)]
    assert levels[1] > levels[0] / 2 > levels[2]
    np.testing.assert_array_equal(np.flatnonzero(find_outliers(D, scores, levels[0] * 0.99)), np.arange(10))
    assert not find_outliers(D, scores, levels[0] * 1.01).any()


def test_the_border_of_the_core_is_no_outlier():
    for n_apart, expected in ((18, 18), (19, 0)):
        D, scores = two_groups(n_apart)
        assert find_outliers(D, scores, 3.5).sum() == expected
