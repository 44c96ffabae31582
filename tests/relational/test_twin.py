import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError

torch = pytest.importorskip("torch")

from patchdistill.relational import ClassicalMapModule, ClassicalRelationalMap  # noqa: E402
from patchdistill.relational.channels import CORE6  # noqa: E402

MAP = ClassicalRelationalMap.pretrained()
MODULE = ClassicalMapModule(MAP)


def pictures(height, width, seed, n=1):
    return np.random.default_rng(seed).random((n, height, width, 3)).astype(np.float32)


def tensor(images):
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))


@given(height=st.integers(32, 60), width=st.integers(32, 60), seed=st.integers(0, 1000))
@settings(max_examples=15)
def test_equals_the_map_it_is_made_of(height, width, seed):
    a, ref = pictures(height, width, seed, 2), pictures(height, width, seed + 1, 2)
    ref[1] = np.clip(a[1] + 0.1 * (ref[1] - 0.5), 0, 1)
    maps = MODULE(tensor(a), tensor(ref))
    assert maps.dtype == torch.float32
    assert_allclose(maps, [MAP.predict_map(x, y) for x, y in zip(a, ref, strict=True)], atol=1e-5)
    assert_array_equal(MODULE(tensor(ref), tensor(a)), -maps)
    assert not MODULE(tensor(a), tensor(a)).any()


def test_its_state_is_that_of_the_map():
    assert MODULE.channel_names_ == CORE6
    assert set(MODULE.state_dict()) == {"coef", "odd", "even_mean", "even"} and not list(MODULE.parameters())
    assert_array_equal(MODULE.state_dict()["coef"], MAP.coef_)


def test_gradients_are_finite_between_equal_pictures():
    for image in (tensor(pictures(40, 33, 0)), torch.full((1, 3, 32, 32), 0.5), torch.zeros(1, 3, 32, 32)):
        a = image.clone().requires_grad_()
        MODULE(a, image).sum().backward()
        assert torch.isfinite(a.grad).all() and a.grad.abs().max() > 0


def test_gradients_are_those_of_the_map():
    module = ClassicalMapModule(MAP).double()
    rng = torch.Generator().manual_seed(0)
    smooth = torch.nn.functional.interpolate(torch.rand(1, 3, 6, 6, generator=rng, dtype=torch.double), (32, 32))
    ref = 0.3 + 0.4 * smooth + 0.02 * torch.rand(1, 3, 32, 32, generator=rng, dtype=torch.double)
    a = (ref + 0.03 * torch.rand(1, 3, 32, 32, generator=rng, dtype=torch.double)).requires_grad_()
    direction = torch.randn(a.shape, generator=rng, dtype=torch.double)
    weights = torch.randn(1, 6, 4, 4, generator=rng, dtype=torch.double)

    def along(t):
        return (module(a + t * direction, ref) * weights).sum()

    t = torch.zeros((), dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(along, (t,), eps=1e-7, atol=1e-4, rtol=1e-4)
    assert torch.autograd.gradcheck(module, (a, ref), fast_mode=True, eps=1e-8, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(
    ("a", "ref", "message"),
    [
        (torch.zeros(1, 3, 32, 32), torch.zeros(1, 3, 32, 40), r"got \(1, 3, 32, 32\) and \(1, 3, 32, 40\)"),
        (torch.zeros(3, 32, 32), torch.zeros(3, 32, 32), r"one shape, \(n, 3, height, width\)"),
        (torch.zeros(1, 4, 32, 32), torch.zeros(1, 4, 32, 32), "one shape"),
        (torch.zeros(1, 3, 31, 32), torch.zeros(1, 3, 31, 32), "sides from 32 on"),
        (torch.zeros(1, 3, 32, 31), torch.zeros(1, 3, 32, 31), "sides from 32 on"),
        (torch.zeros(1, 3, 32, 32, dtype=torch.uint8), torch.zeros(1, 3, 32, 32), "uint8.*Divide by 255"),
        (torch.zeros(1, 3, 32, 32), torch.zeros(1, 3, 32, 32, dtype=torch.uint8), "uint8.*Divide by 255"),
    ],
)
def test_refuses_other_tensors(a, ref, message):
    with pytest.raises(ValueError, match=message):
        MODULE(a, ref)


def test_refuses_a_map_that_is_not_fitted():
    with pytest.raises(NotFittedError):
        ClassicalMapModule(ClassicalRelationalMap())
