import copy
import io

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from patchdistill.datasets import dead_leaves  # noqa: E402
from patchdistill.relational.channels import CORE6  # noqa: E402
from patchdistill.relational.loss import RelationalLoss  # noqa: E402

SEEDS = st.integers(0, 2**32 - 1)


class OddMap(nn.Module):
    """A map that changes its sign when the two pictures change places."""

    channel_names_ = CORE6

    def __init__(self, seed=0):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.weight = nn.Parameter(torch.randn((6, 3, 8, 8), generator=generator, dtype=torch.float64) / 4)
        self.dropout = nn.Dropout()

    def forward(self, image, ref):
        return self.dropout(torch.tanh(functional.conv2d(image - ref, self.weight.to(image.dtype), stride=8)))


class GivenMap(nn.Module):
    """Takes the first picture for the map."""

    def forward(self, image, ref):
        return image


def pictures(seed, n=2, size=16):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand((2, n, 3, size, size), generator=generator, dtype=torch.float64)


def loss_of(distortions, names, **parameters):
    distortions = torch.as_tensor(distortions)[:, :, None, None]
    return RelationalLoss(GivenMap(), names, **parameters)(distortions, torch.zeros_like(distortions))


@given(SEEDS)
def test_is_the_weighted_mean_of_squared_harm(seed):
    distortions = np.random.default_rng(seed).uniform(-1, 1, (2, 6, 3, 4))
    weights = {"noise": 3.0, "exposure": 0.5, "contrast": 0.0}
    loss = RelationalLoss(GivenMap(), "core6", weights=weights, tolerated={"sharpness": "more", "saturation": "less"})
    expected = 0
    for name, one in zip(CORE6, distortions.swapaxes(0, 1), strict=True):
        harm = np.abs(one)
        if name in ("noise", "blockiness", "saturation"):
            harm = np.maximum(one, 0)
        if name == "sharpness":
            harm = np.maximum(-one, 0)
        expected += weights.get(name, 1.0) * np.mean(harm**2) / 6.5
    found = loss(torch.tensor(distortions), torch.zeros(2, 6, 3, 4, dtype=torch.float64))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_only_harm_is_penalized():
    names = ("sharpness", "noise")
    signed = [[0.5, 0.0], [-0.5, 0.0]]
    unsigned = [[0.0, 0.5], [0.0, -0.5]]
    none = {"reduction": "none"}
    assert loss_of(signed, names, **none).tolist() == [0.125, 0.125]
    assert loss_of(unsigned, names, **none).tolist() == [0.125, 0.0]
    assert loss_of(signed, names, tolerated={"sharpness": "more"}, **none).tolist() == [0.0, 0.125]
    assert loss_of(signed, names, tolerated={"sharpness": "less"}, **none).tolist() == [0.125, 0.0]
    assert loss_of(signed, names, weights={"sharpness": 0}, **none).tolist() == [0.0, 0.0]


@given(SEEDS)
def test_is_zero_at_equality_and_never_negative(seed):
    image, ref = pictures(seed)
    loss = RelationalLoss(OddMap(seed))
    assert loss(ref, ref=ref).item() == 0
    assert loss(image, ref=ref).item() > 0


def test_gradient_at_equality_is_zero():
    _, ref = pictures(0)
    image = ref.clone().requires_grad_()
    RelationalLoss(OddMap())(image, ref).backward()
    assert (image.grad == 0).all()


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("equal", [False, True])
def test_gradient_is_right(equal, reduction):
    image, ref = pictures(1, size=8)
    image = (ref.clone() if equal else image).requires_grad_()
    loss = RelationalLoss(OddMap(), tolerated={"sharpness": "more"}, weights={"noise": 2}, reduction=reduction)
    assert torch.autograd.gradcheck(lambda x: loss(x, ref), image, atol=1e-6)


def test_reductions_go_over_pictures():
    image, ref = pictures(2, n=3)
    module = OddMap()
    alone = torch.stack([RelationalLoss(module)(image[i : i + 1], ref[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(RelationalLoss(module, reduction="none")(image, ref), alone)
    torch.testing.assert_close(RelationalLoss(module, reduction="sum")(image, ref), alone.sum())
    torch.testing.assert_close(RelationalLoss(module)(image, ref), alone.mean())


def test_descent_leads_back_to_the_reference():
    image, ref = pictures(3, n=1, size=8)
    module = OddMap()
    image, loss = image.requires_grad_(), RelationalLoss(module)
    optimizer = torch.optim.Adam([image], lr=0.02)
    first = loss(image, ref).item()
    for _ in range(60):
        optimizer.zero_grad()
        last = loss(image, ref)
        last.backward()
        optimizer.step()
    assert last.item() < first / 20


def test_the_module_is_left_as_it_is():
    module = OddMap()
    module.train()
    loss = RelationalLoss(module)
    image, ref = pictures(4)
    image.requires_grad_()
    loss(image, ref).backward()
    assert module.training and module.weight.requires_grad and module.weight.grad is None
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in loss.parameters())
    before = loss(image, ref)
    with torch.no_grad():
        module.weight.zero_()
    torch.testing.assert_close(loss(image, ref), before, rtol=0, atol=0)


def test_the_map_stays_in_evaluation_mode():
    image, ref = pictures(5)
    loss = RelationalLoss(OddMap().train())
    first = loss(image, ref)
    whole = nn.Sequential(loss).train()
    assert loss.training and not loss.module.training and not loss.module.dropout.training
    assert loss.train() is loss
    torch.testing.assert_close(whole[0](image, ref), first, rtol=0, atol=0)
    assert not loss.eval().training


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_keeps_the_type_of_the_map(dtype):
    image, ref = pictures(6)
    assert RelationalLoss(OddMap())(image.to(dtype), ref.to(dtype)).dtype == dtype


def test_is_copied_and_stored_whole():
    image, ref = pictures(7)
    loss = RelationalLoss(OddMap(), weights={"noise": 2})
    stored = io.BytesIO()
    torch.save(loss, stored)
    stored.seek(0)
    for other in (copy.deepcopy(loss), torch.load(stored, weights_only=False)):
        torch.testing.assert_close(other(image, ref), loss(image, ref), rtol=0, atol=0)
    other = RelationalLoss(OddMap(1), weights={"noise": 2})
    other.load_state_dict(loss.state_dict())
    torch.testing.assert_close(other(image, ref), loss(image, ref), rtol=0, atol=0)
    assert "reduction='mean'" in repr(loss) and "'blockiness'" in repr(loss)
    assert not loss.higher_is_better


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"reduction": "max"}, "reduction='max' is unknown; use one of mean, sum, none"),
        ({"channels": ["haze"]}, "There is no channel 'haze'"),
        ({"weights": {"hue": 1}}, "weights names 'hue', but the channels are exposure"),
        ({"weights": {"noise": -1}}, "weights must be finite, at least 0 and not all 0; got {'exposure': 1.0"),
        ({"weights": {"noise": float("inf")}}, "weights must be finite"),
        ({"weights": {"noise": float("nan")}}, "weights must be finite"),
        ({"weights": dict.fromkeys(CORE6, 0)}, "not all 0"),
        ({"tolerated": {"hue": "more"}}, "tolerated names 'hue', but"),
        ({"tolerated": {"sharpness": "sharper"}}, "tolerated holds 'sharper' for sharpness; it must be \"more\""),
        ({"tolerated": {"noise": "less"}}, "tolerated names noise, of which more is harm and less is none"),
    ],
)
def test_refuses_other_parameters(parameters, message):
    with pytest.raises(ValueError, match=message):
        RelationalLoss(OddMap(), **parameters)


def test_needs_a_module_with_channels():
    with pytest.raises(TypeError, match=r"module is a dict, but gradients need an nn.Module; pass ClassicalMapModule"):
        RelationalLoss({})
    with pytest.raises(ValueError, match="GivenMap has no channel_names_; pass channels"):
        RelationalLoss(GivenMap())


@pytest.mark.parametrize(
    ("image", "ref", "message"),
    [
        ((1, 3, 16, 16), (1, 3, 16, 24), r"image has shape \(1, 3, 16, 16\) and ref \(1, 3, 16, 24\), but one shape"),
        ((1, 3, 16, 16), (2, 3, 16, 16), "one shape"),
        ((3, 16, 16), (3, 16, 16), r"\(n, 3, H, W\) is expected for both"),
    ],
)
def test_refuses_pictures_of_other_shapes(image, ref, message):
    with pytest.raises(ValueError, match=message):
        RelationalLoss(OddMap())(torch.zeros(image), torch.zeros(ref))


def test_refuses_a_map_of_other_channels():
    with pytest.raises(ValueError, match=r"gave shape \(1, 3, 16, 16\), but \(n, 2, h, w\) .* sharpness, noise"):
        RelationalLoss(GivenMap(), ["sharpness", "noise"])(torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 16, 16))


class BandMap(nn.Module):
    """Coarse detail is sharpness, fine detail beyond that of the reference is noise."""

    channel_names_ = ("sharpness", "noise")

    def forward(self, image, ref):
        return torch.tanh(torch.log(self.energies(image) / self.energies(ref)))

    def energies(self, picture):
        luma = picture.mean(dim=1, keepdim=True)
        smooth = [luma] + [functional.avg_pool2d(luma, size, 1, size // 2, count_include_pad=False) for size in (3, 7)]
        bands = torch.cat([smooth[1] - smooth[2], smooth[0] - smooth[1]], dim=1)
        return functional.avg_pool2d(bands**2, 8) + 1e-5


def denoise(noisy, strength):
    """Wiener's filter over 5 x 5 pixels."""

    def mean(values):
        return functional.avg_pool2d(values, 5, 1, 2, count_include_pad=False)

    center = mean(noisy)
    variance = (mean(noisy**2) - center**2).clamp(min=1e-6)
    return center + variance / (variance + strength**2) * (noisy - center)


@pytest.mark.parametrize("start", [0.005, 1.0])
def test_tunes_a_denoiser_for_a_picture_it_has_not_seen(start):
    clean, unseen = (
        torch.from_numpy(dead_leaves(96, random_state=seed) / np.float32(255)).permute(2, 0, 1)[None] for seed in (0, 1)
    )
    generator = torch.Generator().manual_seed(0)
    noisy, noisy_unseen = (x + 0.08 * torch.randn(x.shape, generator=generator) for x in (clean, unseen))
    loss = RelationalLoss(BandMap())
    log_strength = torch.tensor(np.log(start), requires_grad=True)
    optimizer = torch.optim.Adam([log_strength], lr=0.3)
    for _ in range(30):
        optimizer.zero_grad()
        loss(denoise(noisy, log_strength.exp()), ref=clean).backward()
        optimizer.step()

    def error(strength):
        return (denoise(noisy_unseen, strength) - unseen).square().mean().item()

    best = min(error(strength) for strength in np.geomspace(0.005, 1, 30))
    assert error(log_strength.exp().item()) < 1.15 * best < 0.7 * error(start)
