import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from torch import nn  # noqa: E402

from patchdistill.qfm.networks import QFMNetwork, TinyViT, encode  # noqa: E402

SIZE = 32


def seeded(make):
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return make()


def rand(seed, *shape, dtype=torch.float64):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


class TestTinyViT:
    def vit(self):
        return seeded(lambda: TinyViT(size=16, patch=4, width=12, depth=2, n_heads=3)).double()

    @pytest.mark.parametrize(("size", "patch", "n_tokens"), [(64, 8, 65), (16, 4, 17), (8, 8, 2)])
    def test_makes_a_token_of_each_patch_and_a_summary(self, size, patch, n_tokens):
        tokens = TinyViT(size, patch, width=8)(torch.zeros(2, 3, size, size))
        assert tokens.shape == (2, n_tokens, 8)

    def test_takes_patches_row_by_row(self):
        vit = self.vit()
        with torch.no_grad():  # without attention and places, each token shows its own patch alone
            for layer in vit.layers[:-1]:
                layer.self_attn.out_proj.weight.zero_()
            vit.places.zero_()
        images = rand(0, 1, 3, 16, 16)
        tokens = vit(images)
        images[:, :, 4:8, 8:12] += 1  # second row, third column
        changed = (vit(images) != tokens).any(dim=2)[0]
        assert changed.nonzero().flatten().tolist() == [1 + 4 + 2]

    def test_sees_where_patches_are_and_sums_them_all_up(self):
        vit, images = self.vit(), rand(0, 1, 3, 16, 16).requires_grad_()
        summary = vit(images)[0, 0]
        assert (vit(images.roll(4, dims=3))[0, 0] - summary).abs().max() > 1e-4
        summary[0].backward()
        assert (images.grad != 0).all()

    def test_a_batch_is_the_loop_over_images_in_training_and_in_use(self):
        vit, images = self.vit(), rand(0, 3, 3, 16, 16)
        tokens = vit.train()(images)
        alone = torch.cat([vit(image[None]) for image in images])
        torch.testing.assert_close(alone, tokens, rtol=0, atol=1e-12)
        with torch.no_grad():
            torch.testing.assert_close(vit.eval()(images), tokens, rtol=0, atol=1e-12)

    def test_normalizes_its_tokens(self):
        tokens = self.vit()(rand(0, 2, 3, 16, 16)).detach()
        np.testing.assert_allclose(tokens.mean(dim=2), 0, atol=1e-12)
        np.testing.assert_allclose(tokens.std(dim=2, correction=0), 1, atol=1e-3)

    def test_all_its_weights_are_trained_from_different_starts(self):
        vit = self.vit()
        assert (vit.layers[0].linear1.weight != vit.layers[1].linear1.weight).any()
        (vit(rand(0, 2, 3, 16, 16)) ** 3).sum().backward()
        assert all((parameter.grad != 0).any() for parameter in vit.parameters())

    @pytest.mark.parametrize("shape", [(2, 3, 16, 24), (2, 3, 8, 8), (2, 1, 16, 16), (3, 16, 16)])
    def test_refuses_other_images(self, shape):
        with pytest.raises(ValueError) as error:
            self.vit()(torch.zeros(shape))
        assert str(error.value) == (
            f"Got images of shape {shape}, but this TinyViT takes (n, 3, 16, 16); resize them, or make it with another "
            "size."
        )

    def test_refuses_what_cannot_be_divided(self):
        with pytest.raises(ValueError, match="size=60 is no multiple of patch=8; make it one."):
            TinyViT(size=60)
        with pytest.raises(ValueError, match="width=30 is no multiple of n_heads=4; make it one."):
            TinyViT(width=30)


def identity(x):
    return x


class TestEncode:
    def test_of_tokens_has_the_first_in_front_or_the_mean_or_the_maximum(self):
        tokens = rand(0, 2, 5, 4)
        assert torch.equal(encode(identity, tokens), tokens)
        for pooling, summary in (("mean", tokens.numpy().mean(axis=1)), ("max", tokens.numpy().max(axis=1))):
            encoded = encode(identity, tokens, pooling=pooling)
            np.testing.assert_allclose(encoded[:, 0], summary, rtol=0, atol=1e-15)
            assert torch.equal(encoded[:, 1:], tokens)

    def test_of_maps_has_a_token_of_each_place_row_by_row(self):
        maps = rand(0, 2, 4, 3, 2)
        encoded = encode(identity, maps, pooling="mean")
        assert encoded.shape == (2, 7, 4)
        np.testing.assert_allclose(encoded[:, 0], maps.numpy().mean(axis=(2, 3)), rtol=0, atol=1e-15)
        for row in range(3):
            for column in range(2):
                assert torch.equal(encoded[:, 1 + 2 * row + column], maps[:, :, row, column])
        last = encode(identity, maps.permute(0, 2, 3, 1), pooling="mean", channels_last=True)
        assert torch.equal(last, encoded)

    @pytest.mark.parametrize("pooling", ["cls", "mean", "max"])
    def test_of_features_is_the_summary_alone(self, pooling):
        features = rand(0, 2, 4)
        assert torch.equal(encode(identity, features, pooling=pooling), features[:, None])

    def test_is_that_of_a_named_layer_or_of_what_transformers_return(self):
        network = nn.Sequential(nn.Conv2d(3, 4, 2), nn.ReLU(), nn.Flatten(), nn.Linear(1, 1))
        images = rand(0, 2, 3, 6, 6, dtype=torch.float32)
        expected = network[1](network[0](images)).flatten(2).transpose(1, 2)
        assert torch.equal(encode(network, images, layer="1", pooling="mean")[:, 1:], expected)
        tokens = rand(0, 2, 5, 4)
        assert torch.equal(encode(lambda x: {"last_hidden_state": x, "pooler_output": x[:, 0]}, tokens), tokens)

    def test_has_single_precision_at_least(self):
        types = torch.float16, torch.bfloat16, torch.float32, torch.float64
        encoded = [encode(identity, rand(0, 2, 5, 4).to(dtype)).dtype for dtype in types]
        assert encoded == [torch.float32] * 3 + [torch.float64]

    def test_refuses_what_does_not_go_together(self):
        with pytest.raises(ValueError, match='pooling=\'first\' is not known; use "cls", "mean" or "max".'):
            encode(identity, rand(0, 2, 5, 4), pooling="first")
        with pytest.raises(ValueError, match='pooling="cls" takes the first token, but the layer returned maps'):
            encode(identity, rand(0, 2, 4, 3, 2))
        with pytest.raises(ValueError, match=r"The layer returned shape \(2,\), but features"):
            encode(identity, rand(0, 2))


class TestNetwork:
    width = 6

    def network(self, **parameters):
        return seeded(lambda: QFMNetwork(identity, width=self.width, **parameters)).double()

    @pytest.mark.parametrize("gate", ["adaptive", "static", None])
    @pytest.mark.parametrize("n_queries", [0, 2])
    @settings(max_examples=15)
    @given(st.integers(0, 2**32 - 1), st.integers(1, 4))
    def test_decodes_gated_tokens(self, gate, n_queries, seed, n_tokens):
        network, tokens = self.network(gate=gate, n_queries=n_queries), rand(seed, 3, n_tokens, self.width)
        if gate == "static":
            with torch.no_grad():
                network.gate.logits.copy_(torch.linspace(-2, 2, self.width))
        output = network(tokens)
        of_places = tokens.numpy()[:, 1 if n_tokens > 1 else 0 :]
        mean, std = of_places.mean(axis=1), np.sqrt(of_places.var(axis=1) + 1e-12)
        if gate is None:
            assert torch.equal(output.gate, torch.ones(3, self.width, dtype=torch.float64))
        else:
            expected = network.gate(torch.from_numpy(mean), torch.from_numpy(std))
            torch.testing.assert_close(output.gate, expected, rtol=0, atol=1e-10)
        np.testing.assert_allclose(output.features.detach(), output.gate.detach().numpy() * mean, rtol=0, atol=1e-12)
        scores, hidden = network.decoder(output.gate[:, None] * tokens)
        assert torch.equal(output.scores, scores) and torch.equal(output.hidden, hidden)
        assert torch.equal(network.head(network.encode(tokens)).scores, scores)

    def test_has_the_panel_and_the_gate_that_were_asked_for(self):
        assert self.network().decoder.queries.shape == (1, 6, self.width)
        assert self.network().gate.kind == "adaptive"
        assert self.network(n_queries=2, gate="static").decoder.queries.shape == (1, 2, self.width)
        assert not hasattr(self.network(n_queries=0).decoder, "queries")

    def test_copies_the_encoder_so_that_every_training_begins_alike(self):
        encoder = nn.Linear(3, 6)
        network = QFMNetwork(encoder, width=6)
        with torch.no_grad():
            network.encoder.weight.zero_()
        assert encoder.weight.abs().sum() > 0

    def test_takes_the_layer_and_pooling_it_is_given(self):
        encoder = seeded(lambda: nn.Sequential(nn.Conv2d(3, 6, 2), nn.Flatten(), nn.Linear(1, 1)))
        images = rand(0, 2, 3, 5, 5, dtype=torch.float32)
        network = QFMNetwork(encoder, width=6, layer="0", pooling="max")
        assert torch.equal(network.encode(images), encode(encoder, images, "0", "max"))
        network = QFMNetwork(identity, width=5, pooling="mean", channels_last=True)
        assert torch.equal(network.encode(images), encode(identity, images, None, "mean", True))

    def test_refuses_an_encoder_of_another_width(self):
        with pytest.raises(ValueError, match="The encoder has 4 channels, but the network was made with width=6."):
            self.network()(rand(0, 2, 5, 4))

    @pytest.mark.parametrize("gate", ["adaptive", "static"])
    def test_computes_gates_and_scores_in_single_precision_under_autocast(self, gate):
        vit = TinyViT(size=16, patch=8, width=12, depth=1)
        network = QFMNetwork(vit, width=12, gate=gate)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            (network.gate.logits if gate == "static" else network.gate.logits[-1].bias).fill_(12.0)
            output = network(rand(0, 2, 3, 16, 16, dtype=torch.float32))
        assert {part.dtype for part in output} == {torch.float32}
        assert (output.gate < 1).all()


def of_transformers(kind):
    transformers = pytest.importorskip("transformers")
    if kind == "ResNet":
        config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
        return transformers.ResNetModel(config), "mean"
    if kind == "Swin":
        config = transformers.SwinConfig(
            image_size=SIZE, patch_size=2, embed_dim=8, depths=[1, 1], num_heads=[1, 2], window_size=4
        )
        return transformers.SwinModel(config), "mean"
    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=SIZE,
        patch_size=8,
    )
    return transformers.ViTModel(config), "cls"


@pytest.mark.parametrize("kind", ["ViT", "ResNet", "Swin"])
@pytest.mark.parametrize(("gate", "n_queries"), [("adaptive", 6), ("static", 2), (None, 0)])
def test_stands_behind_encoders_of_others_and_trains_them(kind, gate, n_queries):
    encoder, pooling = seeded(lambda: of_transformers(kind))
    images = rand(0, 3, 3, SIZE, SIZE, dtype=torch.float32)
    width = encode(encoder, images[:1], pooling=pooling).shape[-1]
    network = seeded(lambda: QFMNetwork(encoder, width=width, pooling=pooling, gate=gate, n_queries=n_queries))
    output = network(images)
    assert width == 16 and output.scores.shape == (3,)
    assert output.hidden.shape == output.features.shape == output.gate.shape == (3, 16)
    assert all(torch.isfinite(part).all() for part in output)
    output.scores.square().sum().backward()
    of_encoder = [parameter.grad for parameter in network.encoder.parameters() if parameter.grad is not None]
    assert len(of_encoder) > 4 and any((gradient != 0).any() for gradient in of_encoder[:2])
    of_rest = [*network.decoder.parameters(), *([] if gate is None else network.gate.parameters())]
    assert all((parameter.grad != 0).any() for parameter in of_rest)


def test_learns_what_is_brighter():
    network = seeded(lambda: QFMNetwork(TinyViT(size=16, patch=8, width=16, depth=1), width=16))
    y = torch.linspace(-1.5, 1.5, 12)
    images = (0.5 + 0.2 * y)[:, None, None, None] * (0.5 + rand(0, 12, 3, 16, 16, dtype=torch.float32))
    before = copy.deepcopy(network.state_dict())
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(network(images).scores, y)
        loss.backward()
        optimizer.step()
    assert loss < 0.1
    assert all((before[name] != tensor).any() for name, tensor in network.state_dict().items())
