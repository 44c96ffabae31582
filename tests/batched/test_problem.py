import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

import patchdistill  # noqa: E402
from patchdistill.batched.problem import ResidualProblem, row_norms, scaled_problem  # noqa: E402


def random_problems(seed):
    """Three problems as one batch, and one by one; the images have different numbers of patches."""
    rng = np.random.default_rng(seed)
    d, h, n = rng.integers(1, 30), rng.integers(1, 6), 12
    E, Z = rng.normal(size=(3, n, d)), rng.normal(size=(3, n, h))
    alpha, beta = rng.uniform(0.1, 3, 3), np.array([*rng.uniform(0.1, 3, 2), np.inf])
    sizes = rng.integers(1, n + 1, 3)
    for i, size in enumerate(sizes):
        E[i, size:] = Z[i, size:] = 0.0
    problems = [
        patchdistill.ResidualProblem(E[i, :size], Z[i, :size], alpha[i], beta[i]) for i, size in enumerate(sizes)
    ]
    W = rng.normal(size=(3, d, h)) * (rng.random((3, d, 1)) < 0.5)
    return ResidualProblem(*map(torch.tensor, (E, Z, alpha, beta))), problems, torch.tensor(W), sizes


@given(st.integers(0, 2**32 - 1))
def test_a_batch_is_its_problems(seed):
    batch, problems, W, sizes = random_problems(seed)
    U = batch.misfit(W)
    dual, correlations = batch.dual_value(U)
    found = {"objective": batch.objective(W), "dual_gap": batch.dual_gap(W)}
    for i, (problem, n) in enumerate(zip(problems, sizes, strict=True)):
        misfit = problem.misfit(W[i].numpy())
        A = 2 * problem.clip(misfit)
        expected = problem.correlations(A)
        np.testing.assert_allclose(U[i, :n], misfit, atol=1e-12)
        np.testing.assert_allclose(batch.clip(U)[i, :n], problem.clip(misfit), atol=1e-12)
        np.testing.assert_allclose(correlations[i], expected, rtol=1e-10, atol=1e-12)
        assert np.isclose(dual[i], problem.dual_on_ray(A, expected), rtol=1e-10, atol=1e-12)
        assert np.isclose(found["objective"][i], problem.objective(W[i].numpy()), rtol=1e-12)
        assert np.isclose(found["dual_gap"][i], problem.dual_gap(W[i].numpy()), rtol=1e-9, atol=1e-10)
        assert not U[i, n:].any()


@pytest.mark.parametrize("scale", [1.0, 1e-25, 1e25])  # squares vanish, squares overflow
def test_single_precision_does_not_decide_between_like_features(scale):
    rng = np.random.default_rng(0)
    E = (scale * rng.normal(size=(5, 60, 1)) * (1 + 1e-7 * rng.normal(size=(5, 60, 500)))).astype(np.float32)
    E[2] = 0.0
    Z, one = torch.tensor(rng.normal(size=(5, 60, 3))), torch.ones(5, dtype=torch.float64)
    E = torch.tensor(E)
    double = ResidualProblem(E.to(torch.float64), Z, one, one)
    single = ResidualProblem(E, Z, one, one, size=torch.linalg.vector_norm(double.E, dim=(1, 2)))
    largest = single.correlations(-Z).amax(dim=1)
    torch.testing.assert_close(largest, double.correlations(-Z).amax(dim=1), rtol=1e-14, atol=0.0)
    torch.testing.assert_close(single[[3, 1]].correlations(-Z[[3, 1]]).amax(dim=1), largest[[3, 1]])


def test_one_problem_of_a_batch_is_a_problem():
    batch, problems, W, sizes = random_problems(0)
    one = batch[1]
    assert one.E.ndim == 2 and one.objective(W[1]).shape == ()
    assert np.isclose(one.dual_gap(W[1]), problems[1].dual_gap(W[1].numpy()))


def test_scaled_problem():
    rng = np.random.default_rng(0)
    E, Z = torch.tensor(rng.normal(size=(2, 9, 7))), torch.tensor(rng.normal(size=(2, 9, 3)))
    E[1] = 0.0
    problem, correlations = scaled_problem(E, Z, 0.2, 0.5)
    torch.testing.assert_close(problem.beta, 0.5 * 2 * row_norms(Z).amax(dim=1))
    one = patchdistill.ResidualProblem(E[0].numpy(), Z[0].numpy(), beta=problem.beta[0].item())
    assert np.isclose(problem.alpha[0], 0.2 * one.alpha_max()) and np.isclose(correlations[0].amax(), one.alpha_max())
    torch.testing.assert_close(correlations, problem.dual_value(-Z)[1])
    assert problem.alpha[1] == 0.2  # nothing can be explained: any positive number serves
    assert scaled_problem(E, Z, 0.2, torch.inf)[0].beta.isinf().all()
