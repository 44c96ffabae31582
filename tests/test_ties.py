from random import Random

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from patchdistill.ties import on_grid, rank_relative


@example(values=[5e-324, 1e-323], random=Random(0), exponent=0)
@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=30), st.randoms(), st.integers(-50, 50))
def test_sums_on_the_grid_do_not_depend_on_the_order(values, random, exponent):
    values = np.array(values)
    rounded = on_grid(values)
    np.testing.assert_allclose(rounded, values, rtol=0, atol=2.0**-32 * values.max())
    np.testing.assert_array_equal(on_grid(rounded), rounded)
    if values.max() > 1e-250:  # below, there are too few digits left to halve
        np.testing.assert_array_equal(on_grid(np.ldexp(values, exponent)), np.ldexp(rounded, exponent))
    shuffled = rounded.tolist()
    random.shuffle(shuffled)
    assert sum(shuffled) == sum(rounded.tolist())


def test_ties_are_told_relative_to_the_largest_score():
    scores = np.array([2.0, 1.0, 1.0 - 1e-13, 3.0])
    for unit in (1.0, 1e-20, 1e20):
        np.testing.assert_array_equal(rank_relative(unit * scores), [1, 2, 0, 3])
        np.testing.assert_array_equal(rank_relative(unit * scores, keep="high"), [3, 0, 1, 2])
    np.testing.assert_array_equal(rank_relative(np.zeros(3)), [0, 1, 2])
