import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import nnls

torch = pytest.importorskip("torch")

import patchdistill.batched.nonnegative  # noqa: E402
from patchdistill.batched.nonnegative import minimize_nonnegative  # noqa: E402


def random_programs(seed, n_images=4):
    """Programs with many zeros in their solutions, the later unknowns of each image padding."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 25))
    A = rng.normal(size=(n_images, 30, n)) + rng.uniform(0, 3)  # correlated columns: exchanges go wrong at first
    H = A.transpose(0, 2, 1) @ A / 30 + 1e-2 * np.eye(n)
    real = np.arange(n) < rng.integers(1, n + 1, n_images)[:, None]
    return H, rng.normal(size=(n_images, n)), 10 ** rng.uniform(0, 8, n_images), rng.uniform(0.1, 2), real


def solve_one(H, target, penalty, total):
    """Lawson and Hanson's method, the sum as a last row."""
    factor = np.linalg.cholesky(H).T
    rows = np.vstack([factor, np.full(len(H), np.sqrt(penalty))])
    return nnls(rows, np.append(np.linalg.solve(factor.T, target), np.sqrt(penalty) * total))[0]


def check(programs):
    H, target, penalty, total, real = programs
    found = minimize_nonnegative(*map(torch.tensor, (H, target, penalty)), total, torch.tensor(real)).numpy()
    assert (found >= 0).all() and not found[~real].any()
    for i, mask in enumerate(real):
        x, among = found[i, mask], H[i][np.ix_(mask, mask)]
        gradient = among @ x - target[i, mask] + penalty[i] * (x.sum() - total)
        size = np.abs(among @ x).max() + np.abs(target[i]).max() + penalty[i] * total * 1e-8
        assert np.abs(gradient[x > 0]).max(initial=0) <= 1e-7 * size
        assert gradient.min() >= -1e-7 * size
        expected = solve_one(among, target[i, mask], penalty[i], total)
        np.testing.assert_allclose(x, expected, atol=1e-10 * max(1, expected.max()) * max(1, penalty[i] / 1e6))


@given(st.integers(0, 2**32 - 1))
def test_it_is_the_non_negative_least_squares(seed):
    check(random_programs(seed))


@given(st.integers(0, 2**32 - 1))
def test_one_exchange_at_a_time_gets_there_too(seed):
    """The rule that cannot cycle, from the first step that does not help on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(patchdistill.batched.nonnegative, "_PATIENCE", 0)
        check(random_programs(seed))


def test_free_unknowns_are_all_positive_where_nothing_binds():
    H = torch.eye(3, dtype=torch.float64)[None]
    x = minimize_nonnegative(H, torch.zeros(1, 3, dtype=torch.float64), torch.tensor([1e12]), 3.0, torch.ones(1, 3) > 0)
    torch.testing.assert_close(x, torch.ones(1, 3, dtype=torch.float64))


def test_exchanges_that_go_round_in_circles_end():
    """Found by search: with all exchanges at once this program comes back to where it was after four of them."""
    H = [
        [14.1, 16, -4, 9, -1],
        [16, 22.1, -7, 6, -10],
        [-4, -7, 27.1, 9, 12],
        [9, 6, 9, 22.1, 15],
        [-1, -10, 12, 15, 24.1],
    ]
    target = [1.0, -1.0, -4.0, 0.0, 1.0]
    check((np.array([H]), np.array([target]), np.array([1e-9]), 0.0, np.ones((1, 5), dtype=bool)))
