"""Losses of maps against loops over single values."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from patchdistill.relational.map_losses import (  # noqa: E402
    cocycle_loss,
    leakage_loss,
    map_loss,
    swap_loss,
    variation_loss,
)

SHAPE = (3, 4, 5, 6)


def maps(seed):
    return torch.tensor(np.random.default_rng(seed).normal(0, 0.5, SHAPE))


def targets():
    """Cells below, at and above the bound of 0.05; channels without any change, or with one in a single cell."""
    target = maps(0)
    target[:, :, :, 0] = 0.05
    target[:, :, 0] = 0.01
    target[0, 1] = target[2, 3] = 0
    target[1, 2] = 0
    target[1, 2, 4, 5] = -1e-3
    return target


def shares():
    valid = torch.tensor(np.random.default_rng(1).random((3, 5, 6)))
    valid[0, :2] = 0
    return valid


def test_the_map_loss_weighs_what_changes_four_times():
    found, target, valid = maps(2), targets(), shares()
    total = weights = 0.0
    for n, k, i, j in np.ndindex(*SHAPE):
        error = abs((found[n, k, i, j] - target[n, k, i, j]).item())
        huber = error**2 / 2 if error <= 0.25 else 0.25 * (error - 0.125)
        weight = (4 if abs(target[n, k, i, j]) > 0.05 else 1) * valid[n, i, j].item()
        total, weights = total + weight * huber, weights + weight
    assert map_loss(found, target, valid).item() == pytest.approx(total / weights, rel=1e-12)


def test_leakage_is_what_is_found_in_channels_that_do_not_change():
    found, target, valid = maps(2), targets(), shares()
    values, weights = [], []
    for n, k, i, j in np.ndindex(*SHAPE):
        if (n, k) in ((0, 1), (2, 3)):
            values.append(abs(found[n, k, i, j].item()))
            weights.append(valid[n, i, j].item())
    assert leakage_loss(found, target, valid).item() == pytest.approx(np.average(values, weights=weights), rel=1e-12)


def test_where_nothing_counts_the_losses_are_zero_and_so_are_their_gradients():
    found = maps(2).requires_grad_()
    loss = map_loss(found, targets(), torch.zeros(3, 5, 6)) + leakage_loss(found, targets(), torch.zeros(3, 5, 6))
    loss = loss + leakage_loss(found, torch.ones(SHAPE), torch.ones(3, 5, 6))
    loss.backward()
    assert loss.item() == 0 and not found.grad.any()


def test_clipped_cells_have_no_gradient():
    found, valid = maps(2).requires_grad_(), shares()
    (map_loss(found, targets(), valid) + leakage_loss(found, targets(), valid)).backward()
    assert not found.grad[0, :, :2].any() and found.grad[0, :, 2:].abs().min() > 0


def test_what_is_perfect_has_no_loss():
    target = targets()
    assert map_loss(target, target, shares()) == 0 and leakage_loss(target, target, shares()) == 0
    a, b, c = maps(1), maps(2), maps(3)
    assert cocycle_loss(a - b, b - c, a - c).item() < 1e-30
    assert swap_loss(a, -a) == 0
    assert variation_loss(torch.full(SHAPE, 0.7)) == 0


def test_cocycle_and_swap_are_mean_squares():
    a, b, c = maps(1), maps(2), maps(3)
    values = [(a, b, c), (b, c, a)]
    for ab, bc, ac in values:
        squares = [(ab[at] + bc[at] - ac[at]).item() ** 2 for at in np.ndindex(*SHAPE)]
        assert cocycle_loss(ab, bc, ac).item() == pytest.approx(np.mean(squares), rel=1e-12)
    squares = [(a[at] + b[at]).item() ** 2 for at in np.ndindex(*SHAPE)]
    assert swap_loss(a, b).item() == pytest.approx(np.mean(squares), rel=1e-12)


def test_variation_is_over_neighbours_in_columns_and_rows():
    found = maps(1)
    down = [abs((found[n, k, i + 1, j] - found[n, k, i, j]).item()) for n, k, i, j in np.ndindex(3, 4, 4, 6)]
    across = [abs((found[n, k, i, j + 1] - found[n, k, i, j]).item()) for n, k, i, j in np.ndindex(3, 4, 5, 5)]
    assert variation_loss(found).item() == pytest.approx(math.fsum(down) / len(down) + math.fsum(across) / len(across))
