import numpy as np
import pytest
from sklearn.linear_model import MultiTaskLasso

torch = pytest.importorskip("torch")

import patchdistill  # noqa: E402
from patchdistill.batched.newton import attempt_step  # noqa: E402
from patchdistill.batched.problem import ResidualProblem, row_norms, scaled_problem  # noqa: E402
from patchdistill.batched.solver import _judge, _Steps, collect  # noqa: E402
from patchdistill.batched.solver import solve_exact as solve_from  # noqa: E402
from patchdistill.normalization import normalize_embeddings  # noqa: E402
from patchdistill.similarity import pairwise_distances, rbf_affinity, spectral_target  # noqa: E402
from patchdistill.solvers.exact import _FEW_UNKNOWNS  # noqa: E402
from patchdistill.solvers.exact import _LocalModel as LocalModel  # noqa: E402
from patchdistill.solvers.exact import _Point as Point  # noqa: E402
from patchdistill.solvers.exact import _step as step_of_one  # noqa: E402
from patchdistill.solvers.exact import solve_exact as solve_one  # noqa: E402


def solve_exact(problem, tol, max_iter=1000):
    _, correlations = problem.dual_value(-problem.Z)
    return solve_from(problem, correlations, torch.full((len(problem.Z),), problem.Z.shape[2]), tol, max_iter)


def batch_of(images, alpha=0.1, beta=0.3, h=10):
    """Problems of the selection, as one batch."""
    E = np.stack([normalize_embeddings(image) for image in images])
    Z = np.stack([spectral_target(rbf_affinity(pairwise_distances(rows)), h) for rows in E])
    return scaled_problem(torch.tensor(E), torch.tensor(Z), alpha, beta)[0]


def one_by_one(batch):
    return [
        patchdistill.ResidualProblem(E.numpy(), Z.numpy(), alpha.item(), beta.item())
        for E, Z, alpha, beta in zip(batch.E, batch.Z, batch.alpha, batch.beta, strict=True)
    ]


def coefficients(solutions, i, n_features):
    """Coefficients of an image as a matrix of all features."""
    W = np.zeros((n_features + 1, solutions.W.shape[2]))
    W[solutions.active[i]] = solutions.W[i]
    assert not W[-1].any()
    return W[:-1]


@pytest.mark.parametrize("beta", [0.05, 0.3, np.inf])
@pytest.mark.parametrize("tol", [1e-3, 1e-6])
def test_every_image_goes_the_way_it_goes_alone(photographs, beta, tol):
    batch = batch_of(photographs, beta=beta)
    found = solve_exact(batch, tol)
    for i, problem in enumerate(one_by_one(batch)):
        expected = solve_one(problem, tol)
        assert found.n_iter[i] == expected.n_iter and found.converged[i]
        assert np.isclose(found.objective[i], expected.objective, rtol=1e-12)
        assert np.isclose(found.dual_gap[i], expected.dual_gap, rtol=1e-6, atol=1e-11 * expected.objective)
        np.testing.assert_allclose(row_norms(found.U[i]), expected.residual_norms, atol=1e-9)
        np.testing.assert_allclose(coefficients(found, i, batch.E.shape[2]), expected.W, atol=1e-7)


def random_batch(seed):
    """Images of different kinds and sizes: correlated, rectified, sparse, constant; easy and hard ones together."""
    rng = np.random.default_rng(seed)
    n, d, h = 40, 80, int(rng.integers(1, 12))
    E = rng.normal(size=(6, n, d))
    E[0] = rng.normal(size=(n, 5)) @ rng.normal(size=(5, d)) + 0.1 * E[0]
    E[1] = np.maximum(E[1], 0)
    E[2] *= rng.random((n, d)) < 0.1
    E[3] = 1.0
    Z = rng.normal(size=(6, n, h))
    E[4, 10:] = Z[4, 10:] = 0.0  # padding
    alpha, beta = 10 ** rng.uniform(-2, -0.2), 10 ** rng.uniform(-2, 0.5)
    return scaled_problem(torch.tensor(E), torch.tensor(Z), alpha, beta)[0]


@pytest.mark.parametrize("seed", range(20))
def test_certificates_hold(seed):
    """Gap and objective by the definitions of the problem of one image, from the coefficients alone."""
    batch = random_batch(seed)
    found = solve_exact(batch, 1e-6)
    assert found.converged.all()
    for i, problem in enumerate(one_by_one(batch)):
        W = coefficients(found, i, batch.E.shape[2])
        assert np.isclose(found.objective[i], problem.objective(W), rtol=1e-12)
        assert np.isclose(found.dual_gap[i], problem.dual_gap(W), atol=1e-11 * found.objective[i])
        assert found.dual_gap[i] <= 1e-6 * found.objective[i]


@pytest.mark.parametrize("seed", range(3))
def test_without_outliers_it_is_the_multi_task_lasso(seed):
    rng = np.random.default_rng(seed)
    E, Z = rng.normal(size=(2, 30, 50)), rng.normal(size=(2, 30, 4))
    batch, _ = scaled_problem(torch.tensor(E), torch.tensor(Z), 0.2, torch.inf)
    found = solve_exact(batch, 1e-12)
    for i in range(2):
        lasso = MultiTaskLasso(alpha=batch.alpha[i].item() / 60, fit_intercept=False, tol=1e-12, max_iter=10**5)
        np.testing.assert_allclose(coefficients(found, i, 50), lasso.fit(E[i], Z[i]).coef_.T, atol=1e-7)


def test_each_image_is_solved_as_if_it_were_alone():
    batch = random_batch(1)
    together = solve_exact(batch, 1e-4)
    for i in range(len(batch.E)):
        alone = solve_exact(batch[[i]], 1e-4)
        assert alone.n_iter[0] == together.n_iter[i]
        torch.testing.assert_close(alone.U[0], together.U[i], rtol=0, atol=1e-10)


def test_order_of_the_batch_does_not_matter():
    batch = random_batch(2)
    order = torch.tensor([4, 0, 5, 2, 1, 3])
    found, permuted = solve_exact(batch, 1e-4), solve_exact(batch[order], 1e-4)
    assert permuted.n_iter.tolist() == found.n_iter[order].tolist()
    torch.testing.assert_close(permuted.U, found.U[order], rtol=0, atol=1e-10)


def test_too_few_steps_are_told_with_a_gap_that_holds(photographs):
    batch = batch_of(photographs)
    found = solve_exact(batch, 1e-9, max_iter=3)
    assert not found.converged.any() and (found.n_iter == 3).all()
    for i, problem in enumerate(one_by_one(batch)):
        W = coefficients(found, i, batch.E.shape[2])
        assert np.isclose(found.dual_gap[i], problem.dual_gap(W), rtol=1e-8)
        assert found.dual_gap[i] > 1e-9 * found.objective[i]


def test_more_than_the_machine_can_do_ends():
    found = solve_exact(random_batch(3), 0.0)
    assert (found.dual_gap <= 1e-9 * found.objective).all()


def test_wider_targets_are_put_together():
    batch = random_batch(4)
    parts = []
    for images, h in ((torch.tensor([5, 1, 2]), 1), (torch.tensor([0, 3, 4]), batch.Z.shape[2])):
        part = ResidualProblem(batch.E, batch.Z[:, :, :h], batch.alpha, batch.beta)[images]
        parts.append((images, solve_exact(part, 1e-4)))
    together = collect(parts, batch.E.shape[2])
    assert together.U.shape == batch.Z.shape
    for images, part in parts:
        for k, i in enumerate(images.tolist()):
            assert together.n_iter[i] == part.n_iter[k]
            torch.testing.assert_close(together.U[i, :, : part.U.shape[2]], part.U[k])
            assert not together.U[i, :, part.U.shape[2] :].any()


@pytest.mark.parametrize("damping", [0.001, 0.1, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_steps_are_those_of_one_image(seed, damping):
    """Far from the minimum, where rows turn round and steps have to be tried again with more damping."""
    whole, rng = random_batch(seed), np.random.default_rng(seed)
    batch = ResidualProblem(whole.E[:, :, :8], whole.Z, whole.alpha, whole.beta)[[0, 1, 2, 5]]
    W = torch.tensor(rng.normal(size=(4, 8, batch.Z.shape[2])))
    U, objective, used = batch.misfit(W), batch.objective(W), torch.full((4,), damping, dtype=torch.float64)
    expected = []
    for problem, w in zip(one_by_one(batch), W.numpy(), strict=True):
        at = Point(problem, w, problem.misfit(w))
        after, next_damping = step_of_one(problem, problem.E, at, LocalModel(problem, problem.E, at), damping)
        expected.append((after.W, after.U, after.objective, next_damping))
    waiting = torch.ones(4, dtype=torch.bool)
    while waiting.any():
        accepted, *after = attempt_step(batch, W, U, objective, used, are_few=8 * W.shape[2] <= _FEW_UNKNOWNS)
        for i in (waiting & (accepted | (used == 1.0))).nonzero()[:, 0].tolist():
            for a, b in zip(after, expected[i], strict=True):
                np.testing.assert_allclose(a[i], b, rtol=1e-6, atol=1e-7 * np.abs(b).max())
            waiting[i] = False
        used = torch.where(waiting, after[3], used)


def test_a_step_in_the_middle_ends_nothing():
    """While a step is tried again, no judgement of its image changes anything."""
    batch = random_batch(5)
    W = torch.ones(6, batch.E.shape[2], batch.Z.shape[2], dtype=torch.float64)
    U, objective = batch.misfit(W), batch.objective(W)
    zeros, ones = torch.zeros(6, dtype=torch.int64), torch.ones(6, dtype=torch.float64)
    state = _Steps(
        images=torch.arange(6),
        W=W,
        U=U,
        objective=objective,
        previous=objective,
        best_W=W,
        best_U=U,
        best_gap=0 * ones,
        patience=zeros,
        n_iter=zeros,
        damping=ones,
        widths=zeros + W.shape[2],
        goals=torch.inf * torch.tensor([[1], [-1], [1], [-1], [1], [-1.0]], dtype=torch.float64).expand(6, 2),
        budget=zeros + 5,
        gap=ones,
        is_whole=torch.tensor([False, False, True, True, False, False]),
    )
    assert _judge(batch, state).tolist() == [False, False, True, True, False, False]
    assert state.patience[[0, 1, 4, 5]].tolist() == [0, 0, 0, 0]
