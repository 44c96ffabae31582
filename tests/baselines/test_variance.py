import numpy as np
from hypothesis import given, settings

from patchdistill.baselines import HighVarianceSelector
from patchdistill.testing.strategies import embeddings


@settings(max_examples=30)
@given(embeddings(structures=("normal", "rectified", "clusters"), copies=False, zero_rows=False, n_features=(3, 30)))
def test_highest_variance_first(E):
    (ranking,) = HighVarianceSelector().fit([E]).ranking_
    variances = np.array([np.mean((row - np.mean(row)) ** 2) for row in E])[ranking]
    assert (np.diff(variances) <= 1e-8 * variances[0]).all()


def test_equal_variances_go_by_index():
    E = np.array([[0.0, 0.3], [0.1, 0.4], [0.2, 0.5], [0.0, 1.0]])
    np.testing.assert_array_equal(HighVarianceSelector().fit([7 * E]).ranking_[0], [3, 0, 1, 2])
