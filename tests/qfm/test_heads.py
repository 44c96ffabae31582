import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hypothesis import example, given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from hypothesis.extra import numpy as hnp  # noqa: E402
from torch import nn  # noqa: E402

from patchdistill.qfm.heads import ChannelGate, LinearHead, PanelDecoder  # noqa: E402
from patchdistill.qfm.perturbation import channel_statistics  # noqa: E402

LARGEST = float(np.finfo(np.float32).max)
ANY = st.floats(-LARGEST, LARGEST, width=32)
POSITIVE = st.floats(0, LARGEST, width=32).map(lambda std: max(std, np.float32(1e-6)))  # as channel_statistics has it
OPEN = 1 / (1 + math.exp(-3))


def seeded(make, seed=0):
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return make()


def randn(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class TestGate:
    width = 3

    @pytest.mark.parametrize("kind", ["adaptive", "static"])
    @given(
        hnp.arrays(np.float32, (2, width), elements=ANY),
        hnp.arrays(np.float32, (2, width), elements=POSITIVE),
        st.sampled_from([1.0, 1e3, -1e3]),
    )
    @example(np.full((2, width), LARGEST, np.float32), np.full((2, width), LARGEST, np.float32), 1e3)
    @example(np.full((2, width), -LARGEST, np.float32), np.full((2, width), 1e-6, np.float32), 1e3)
    def test_is_above_0_and_below_1(self, kind, mean, std, trained):
        gate = seeded(lambda: ChannelGate(self.width, kind))
        with torch.no_grad():
            for parameter in gate.parameters():
                parameter.mul_(trained)
        g = gate(torch.from_numpy(mean), torch.from_numpy(std))
        assert g.shape == (2, self.width) and g.dtype == torch.float32
        assert ((g > 0) & (g < 1)).all()

    @pytest.mark.parametrize("kind", ["adaptive", "static"])
    @pytest.mark.parametrize("width", [1, 2, 96, 1024])
    @pytest.mark.parametrize("scale", [0.0, 1e-3, 1.0, 1e3])
    def test_starts_open(self, kind, width, scale):
        gate = seeded(lambda: ChannelGate(width, kind)).double()
        g = gate(*channel_statistics(scale * randn(0, 3, 5, width)))
        assert (abs(g - OPEN) < (1e-6 if kind == "static" else 0.15)).all()

    def test_decides_alike_for_all_images_where_static(self):
        gate = ChannelGate(self.width, "static").double()
        with torch.no_grad():
            gate.logits.copy_(torch.tensor([-1.0, 0.0, 2.0]))
        g = gate(randn(0, 4, self.width), randn(1, 4, self.width).exp())
        np.testing.assert_allclose(g.detach(), np.tile(1 / (1 + np.exp([1.0, 0.0, -2.0])), (4, 1)))
        g.sum().backward()
        np.testing.assert_allclose(gate.logits.grad, 4 * (g * (1 - g))[0].detach())

    def test_decides_for_each_image_by_its_means_and_deviations_where_adaptive(self):
        gate = seeded(lambda: ChannelGate(self.width)).double()
        mean, std = randn(0, 4, self.width).requires_grad_(), randn(1, 4, self.width).exp().requires_grad_()
        g = gate(mean, std)
        for i in range(4):
            torch.testing.assert_close(g[i : i + 1], gate(mean[i : i + 1], std[i : i + 1]), rtol=0, atol=1e-14)
        of_mean, of_std = torch.autograd.grad(g[1].sum(), (mean, std))
        for gradient in (of_mean, of_std):
            assert (gradient[1] != 0).all() and (gradient[[0, 2, 3]] == 0).all()

    @pytest.mark.parametrize("n_tokens", [0, 4])
    def test_of_constant_channels_has_a_finite_gradient(self, n_tokens):
        tokens = torch.zeros(2, 1 + n_tokens, self.width, requires_grad=True)
        seeded(lambda: ChannelGate(self.width))(*channel_statistics(tokens)).sum().backward()
        assert torch.isfinite(tokens.grad).all()

    def test_has_the_right_gradient(self):
        gate = seeded(lambda: ChannelGate(self.width)).double()
        inputs = randn(0, 2, self.width).requires_grad_(), randn(1, 2, self.width).exp().requires_grad_()
        assert torch.autograd.gradcheck(gate, inputs)

    def test_of_another_kind_is_refused(self):
        with pytest.raises(ValueError, match='kind=\'soft\' is no kind of gate; use "adaptive" or "static".'):
            ChannelGate(3, "soft")


class TestPanel:
    width, n_queries = 12, 4

    def panel(self):
        return seeded(lambda: PanelDecoder(self.width, self.n_queries)).double()

    @given(st.integers(0, 2**32 - 1), st.integers(1, 6).flatmap(lambda n: st.permutations(range(1, n + 1))))
    def test_the_order_of_the_tokens_behind_the_summary_does_not_count(self, seed, order):
        panel, tokens = self.panel(), randn(seed, 2, 1 + len(order), self.width)
        for got, expected in zip(panel(tokens[:, [0, *order]]), panel(tokens), strict=True):
            torch.testing.assert_close(got, expected, rtol=0, atol=1e-10)

    @given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 4))
    def test_is_a_pre_norm_decoder_layer_over_the_tokens_and_a_shared_linear_map(self, seed, n, n_tokens):
        panel, tokens = self.panel(), randn(seed, n, n_tokens, self.width)
        layer, with_grad = panel.layer, panel(tokens)
        queries = tokens[:, :1] + panel.queries
        normed = layer.norm1(queries)
        queries = queries + layer.self_attn(normed, normed, normed)[0]
        queries = queries + layer.multihead_attn(layer.norm2(queries), tokens, tokens)[0]
        queries = queries + layer.linear2(nn.functional.gelu(layer.linear1(layer.norm3(queries))))
        normed = nn.functional.layer_norm(queries, (self.width,))
        torch.testing.assert_close(with_grad[0], panel.score(normed).mean(dim=1)[:, 0], rtol=0, atol=1e-10)
        torch.testing.assert_close(with_grad[1], normed.mean(dim=1), rtol=0, atol=1e-10)
        with torch.no_grad():
            for got, expected in zip(panel.eval()(tokens), with_grad, strict=True):
                torch.testing.assert_close(got, expected, rtol=0, atol=1e-10)

    def test_asks_different_questions_of_all_tokens(self):
        panel, tokens = self.panel(), randn(0, 2, 5, self.width).requires_grad_()
        assert len(torch.unique(panel.queries[0], dim=0)) == self.n_queries
        panel(tokens)[0][1].backward()
        assert (tokens.grad[1] != 0).any(dim=1).all() and (tokens.grad[0] == 0).all()
        assert all((parameter.grad != 0).any() for parameter in panel.parameters())

    @pytest.mark.parametrize(
        ("width", "n_heads"),
        [(1, 1), (2, 2), (3, 3), (4, 4), (5, 1), (6, 6), (7, 1), (8, 8), (9, 3), (10, 2), (12, 6), (20, 4), (48, 8)],
    )
    def test_has_as_many_heads_as_divide_the_width(self, width, n_heads):
        panel = PanelDecoder(width)
        assert panel.layer.self_attn.num_heads == panel.layer.multihead_attn.num_heads == n_heads
        scores, hidden = panel(torch.randn(2, 3, width))
        assert scores.shape == (2,) and hidden.shape == (2, width)
        assert torch.isfinite(scores).all() and torch.isfinite(hidden).all()


@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 5), st.integers(1, 5))
def test_a_linear_head_is_a_linear_map_of_the_mean_over_tokens(seed, n, n_tokens, width):
    head, tokens = seeded(lambda: LinearHead(width)).double(), randn(seed, n, n_tokens, width)
    scores, hidden = head(tokens)
    expected = tokens.numpy()[:, 1 if n_tokens > 1 else 0 :].mean(axis=1)
    np.testing.assert_allclose(hidden, expected, rtol=0, atol=1e-12)
    weight, bias = head.score.weight.detach().numpy()[0], head.score.bias.item()
    np.testing.assert_allclose(scores.detach(), expected @ weight + bias, rtol=0, atol=1e-12)
