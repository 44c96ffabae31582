import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchdistill.ranking import Choice, check_rate, n_keep, rank


@given(st.integers(1, 1000), st.fractions(0, 1))
def test_shares_are_rounded_up_exactly(n, share):
    if share > 0:
        assert n_keep(n, float(share)) == max(1, -(-share * n // 1))


def test_shares_out_of_linspace_are_not_counted_up():
    assert [n_keep(10, rate) for rate in np.linspace(0.1, 1, 10)] == list(range(1, 11))


@given(st.integers(1, 1000), st.integers(1, 2000))
def test_counts_are_kept_to(n, count):
    assert n_keep(n, count) == n_keep(n, np.int64(count)) == min(n, count)


@pytest.mark.parametrize("rate", [0, 0.0, -1, -0.5, 1.5, True, np.True_, np.nan, np.inf, None, "0.5", [0.5]])
def test_other_rates_are_refused(rate):
    with pytest.raises(ValueError, match=r"rate=.*\(0, 1\].*an int >= 1"):
        check_rate(rate)


@given(st.lists(st.integers(-5, 5), min_size=1), st.sampled_from(["low", "high"]))
def test_ranking_sorts_and_ties_go_by_index(scores, keep):
    scores = np.array(scores, float)
    sign = 1 if keep == "low" else -1
    expected = sorted(range(len(scores)), key=lambda i: (sign * scores[i], i))
    np.testing.assert_array_equal(rank(scores, keep), expected)
    np.testing.assert_array_equal(rank(scores + 1e-13 * np.arange(len(scores))[::-1], keep), expected)


def test_patches_that_all_count_nothing_have_no_shares():
    choice = Choice(np.array([1, 2, 0]), 2)
    np.testing.assert_array_equal(choice.weights(np.array([5.0, 0.0, 3.0])), [0, 1])
    with pytest.raises(ValueError, match="All 2 kept patches have weight 0 by themselves"):
        choice.weights(np.array([5.0, 0.0, 0.0]))
