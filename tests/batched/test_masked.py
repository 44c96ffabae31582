import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from patchdistill.batched.masked import median, percentile, places_of, prefix, take, take_columns, take_square  # noqa: E402


@st.composite
def masked_rows(draw):
    """Rows with many equal numbers, of which some count."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_rows, n = draw(st.integers(1, 5)), draw(st.integers(1, 12))
    return rng.integers(0, 5, (n_rows, n)) + rng.random() * rng.random((n_rows, n)), rng.random((n_rows, n)) < 0.7


@given(masked_rows())
def test_median(rows):
    values, real = rows
    expected = [np.median(v[r]) if r.any() else np.nan for v, r in zip(values, real, strict=True)]
    np.testing.assert_allclose(median(torch.tensor(values), torch.tensor(real)), expected, rtol=1e-15)


@given(masked_rows(), st.sampled_from([0, 5, 50, 95, 100]))
def test_percentile(rows, q):
    values, real = rows
    real[:, 0] = True
    expected = [np.percentile(v[r], q) for v, r in zip(values, real, strict=True)]
    np.testing.assert_allclose(percentile(torch.tensor(values), torch.tensor(real), q), expected, rtol=1e-14)


def test_places():
    mask = torch.tensor([[False, True, False, True], [True, False, False, False]])
    assert places_of(mask, 3).tolist() == [[1, 3, 0], [0, 1, 2]]
    assert prefix(torch.tensor([2, 0]), 3).tolist() == [[True, True, False], [False, False, False]]


def test_taking():
    A = np.arange(2 * 3 * 3).reshape(2, 3, 3)
    places = np.array([[2, 0], [1, 1]])
    for image in range(2):
        p = places[image]
        for function, expected in (
            (take, A[image][p]),
            (take_columns, A[image][:, p]),
            (take_square, A[image][p][:, p]),
        ):
            np.testing.assert_array_equal(function(torch.tensor(A), torch.tensor(places))[image], expected)
