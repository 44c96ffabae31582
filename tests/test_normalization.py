import numpy as np
import pytest
from hypothesis import given
from sklearn.preprocessing import StandardScaler, normalize

from patchdistill.normalization import normalize_embeddings
from patchdistill.testing.strategies import embeddings


@given(embeddings())
def test_rows_equal_scikit_learn(E):
    np.testing.assert_allclose(normalize_embeddings(E, "rows"), normalize(E), atol=1e-14)


@given(embeddings(structures=("normal", "low rank")))
def test_columns_equal_scikit_learn(E):
    np.testing.assert_allclose(
        normalize_embeddings(E, "columns"), normalize(StandardScaler().fit_transform(E)), atol=1e-7
    )


@given(embeddings())
def test_none_changes_nothing(E):
    np.testing.assert_array_equal(normalize_embeddings(E, None), E)


@pytest.mark.parametrize("how", ["rows", "columns"])
@given(E=embeddings())
def test_scale_does_not_matter(how, E):
    expected = normalize_embeddings(E, how)
    for factor in (7.3, 1e200, 1e-200):
        np.testing.assert_allclose(normalize_embeddings(factor * E, how), expected, atol=1e-7)


def test_columns_that_do_not_vary_become_zero():
    E = np.column_stack([np.full(7, 0.1), np.arange(7.0)])
    normalized = normalize_embeddings(E, "columns")
    assert (normalized[:, 0] == 0).all() and (np.abs(normalized[:3, 1]) == 1).all()
