"""The network that makes maps: its symmetries hold for any weights, and tiles fit together."""

import json
import sys
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from joblib import parallel_config  # noqa: E402
from numpy.testing import assert_allclose, assert_array_equal  # noqa: E402
from scipy.fft import dctn  # noqa: E402
from torch import nn  # noqa: E402

from patchdistill.datasets import dead_leaves  # noqa: E402
from patchdistill.relational import tiles  # noqa: E402
from patchdistill.relational.channels import CORE6  # noqa: E402
from patchdistill.relational.classical import ClassicalRelationalMap  # noqa: E402
from patchdistill.relational.content import draw_content  # noqa: E402
from patchdistill.relational.encoder import Block, CellEncoder, ChannelNorm, FilterBank, level, step_profiles  # noqa: E402
from patchdistill.relational.engine import DistortionEngine  # noqa: E402
from patchdistill.relational.features import cell_mean  # noqa: E402
from patchdistill.relational.network import RelationalMapNet  # noqa: E402

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
RNG = np.random.default_rng(0)
SMALL = {"width": 8, "n_filters": 3, "depth": 1}


def network(seed=0, **parameters):
    torch.manual_seed(seed)
    return RelationalMapNet(**{**SMALL, **parameters})


def pictures(n=1, height=40, width=48, seed=0, kind="random"):
    if kind == "constant":
        return torch.full((n, 3, height, width), 0.3)
    generator = torch.Generator().manual_seed(seed)
    made = torch.rand(n, 3, height, width, generator=generator)
    return made.round() if kind == "extreme" else made


def picture(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


sides = st.integers(32, 70)
kinds = st.sampled_from(["random", "constant", "extreme"])


@settings(max_examples=25)
@given(
    sides, sides, st.integers(1, 3), kinds, st.booleans(), st.sampled_from(["pair", "potential"]), st.integers(0, 99)
)
def test_swapped_pictures_have_the_opposite_map_and_equal_ones_none(height, width, n, kind, train, head, seed):
    made = network(seed, head=head).train(train)
    a, b = pictures(n, height, width, seed), pictures(n, height, width, seed + 1, kind)
    found = made(a, b)
    assert found.shape == (n, 6, -(-height // 8), -(-width // 8)) and found.dtype == torch.float32
    assert (made(b, a) + found).abs().max() < 1e-6
    for x in (a, b):
        assert not made(x, x.clone()).any()
    assert torch.isfinite(found).all() and found.abs().max() > 1e-3


def test_the_symmetries_outlive_training():
    made = network()
    a, b, target = pictures(2), pictures(2, seed=1), torch.randn(2, 6, 5, 6)
    optimizer = torch.optim.AdamW(made.parameters(), lr=1e-2)
    before = made(a, b)
    for _ in range(5):
        optimizer.zero_grad()
        (made(a, b) - target).square().mean().backward()
        optimizer.step()
    found = made(a, b)
    assert (found - before).abs().max() > 0.1
    assert (made(b, a) + found).abs().max() < 1e-6 and not made(a, a).any()


def test_the_symmetries_hold_in_half_the_precision():
    made, a, b = network(), pictures(2), pictures(2, seed=1)
    with torch.autocast("cpu", torch.bfloat16):
        found, swapped, own = made(a, b), made(b, a), made(a, a)
    assert found.dtype == torch.bfloat16
    assert_array_equal(swapped.float().detach(), -found.float().detach())
    assert not own.any()
    assert_allclose(found.float().detach(), made(a, b).detach(), atol=0.1)


def test_training_and_evaluation_and_the_rest_of_a_batch_change_nothing():
    made, a, b = network(), pictures(3), pictures(3, seed=1)
    found = made.train()(a, b)
    assert_array_equal(made.eval()(a, b).detach(), found.detach())
    assert_allclose(made(a[1:2], b[1:2]).detach(), found[1:2].detach(), atol=1e-6)


def test_potentials_form_a_cocycle_and_the_pair_head_none():
    a, b, c = (pictures(2, seed=seed) for seed in range(3))
    for head, exact in (("potential", True), ("pair", False)):
        made = network(head=head)
        missing = (made(a, b) + made(b, c) - made(a, c)).abs().max()
        assert (missing < 1e-6) if exact else (missing > 1e-3)
    made = network(head="potential")
    difference = made.potential(made.encode(a)) - made.potential(made.encode(b))
    assert_array_equal(made(a, b).detach(), difference.detach())


def test_the_pair_head_adds_to_a_potential():
    made, a, b = network(), pictures(), pictures(seed=1)
    found = made(a, b)
    made.pair.last[1].weight.data.zero_()
    potential = made.potential(made.encode(a)) - made.potential(made.encode(b))
    assert_array_equal(made(a, b).detach(), potential.detach())
    assert (found - potential).abs().max() > 1e-3


def test_the_soft_head_has_no_symmetry_of_its_own():
    made, a, b = network(head="soft"), pictures(), pictures(seed=1)
    assert (made(a, b) + made(b, a)).abs().max() > 1e-3 and made(a, a).abs().max() > 1e-3
    assert not made.antisymmetric and network().antisymmetric and network(head="potential").antisymmetric


def test_to_encode_first_changes_nothing():
    made, a, b = network(), pictures(), pictures(seed=1)
    assert_array_equal(made.difference(made.encode(a), made.encode(b)).detach(), made(a, b).detach())


def test_gradients_are_finite_where_pictures_are_equal():
    made = network()
    for x in (pictures(), torch.zeros(1, 3, 32, 32), torch.ones(1, 3, 32, 32)):
        a = x.clone().requires_grad_()
        made(a, x).square().mean().backward()
        made(a, x).sum().backward()
        assert torch.isfinite(a.grad).all()
        assert all(torch.isfinite(p.grad).all() for p in made.parameters() if p.grad is not None)


def test_a_cell_over_the_edge_is_mirrored():
    made, a, b = network(), pictures(1, 44, 51), pictures(1, 44, 51, seed=1)
    whole = [torch.from_numpy(np.pad(x.numpy(), ((0, 0), (0, 0), (0, 4), (0, 5)), mode="symmetric")) for x in (a, b)]
    assert_array_equal(made(a, b).detach(), made(*whole).detach())


def test_channels_are_named_and_counted():
    assert network().channel_names_ == CORE6
    made = network(channels=["hue", "noise"])
    assert made.channel_names_ == ("hue", "noise") and made(pictures(), pictures(seed=1)).shape[1] == 2
    with pytest.raises(ValueError, match="core6"):
        network(channels="core7")


@pytest.mark.parametrize("shape", [(3, 40, 40), (1, 40, 40, 3), (1, 4, 40, 40), (1, 3, 31, 40), (1, 3, 40, 31)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"Got pictures of shape .* sides of at least 32"):
        network()(torch.zeros(shape), torch.zeros(shape))


def test_shapes_that_disagree_are_refused():
    with pytest.raises(ValueError, match=r"\(1, 3, 40, 48\) and \(2, 3, 40, 48\); they must agree"):
        network()(pictures(1), pictures(2))
    with pytest.raises(ValueError, match='head=\'both\' is not known; use "pair", "potential" or "soft"'):
        network(head="both")


# Maps of pictures


@pytest.mark.parametrize(("height", "width"), [(40, 48), (45, 67)])
def test_a_map_is_what_the_network_says_clipped(height, width):
    made = network()
    made.psi.weight.data *= 3
    a, ref = picture(height, width), picture(height, width, 1)
    tensors = [torch.tensor(x).permute(2, 0, 1)[None] / 255 for x in (a, ref)]
    expected = made(*tensors)[0].detach().numpy()
    found = made.predict_map(a, ref)
    assert found.dtype == np.float32 and np.abs(expected).max() > 1
    assert_allclose(found, expected.clip(-1, 1), atol=1e-5)
    assert_allclose(made.predict_map(a / 255, (ref / 255).astype(np.float32)), found, atol=1e-5)
    assert_allclose(made.predict_map(ref, a), -found, atol=1e-6)
    assert not made.predict_map(a, a).any()


def test_a_map_leaves_no_trace():
    made = network().train()
    a, ref = picture(40, 48), picture(40, 48, 1)
    a.setflags(write=False)
    assert_array_equal(made.predict_map(a, ref), made.predict_map(a, ref))
    assert made.training and all(p.grad is None for p in made.parameters())
    assert_array_equal(made.predict_map(a[::-1, ::-1], ref), made.predict_map(a[::-1, ::-1].copy(), ref))


@pytest.mark.parametrize("geometry", ["flat", "panorama"])
@pytest.mark.parametrize(("height", "width"), [(200, 264), (197, 259), (33, 300)])
def test_tiles_fit_together(height, width, geometry, monkeypatch):
    made = network(depth=2)
    a, ref = picture(height, width), picture(height, width, 1)
    whole = made.predict_map(a, ref, geometry)
    sizes = []
    forward = made.forward
    monkeypatch.setattr(made, "forward", lambda x, y: sizes.append(x.shape) or forward(x, y))
    monkeypatch.setattr(tiles, "_TILE", 8)
    assert_allclose(made.predict_map(a, ref, geometry), whole, atol=2e-6)
    assert len(sizes) > 3 and max(max(size[2:]) for size in sizes) == 8 * (8 + 2 * made.reach)


def test_threads_of_others_do_no_harm():
    made, a, ref = network(), picture(40, 48), picture(40, 48, 1)
    with parallel_config("threading", n_jobs=2):
        found = made.predict_map(a, ref)
    assert_array_equal(found, made.predict_map(a, ref))


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("head", ["pair", "potential"])
def test_a_value_reaches_no_farther_than_it_says(depth, head):
    """One pixel changes the values within reach, and does change some at its edge."""
    torch.manual_seed(0)
    made = network(depth=depth, head=head).double()
    n = 2 * made.reach + 5
    ref = pictures(1, 8, 8 * n).double().repeat(1, 1, 5, 1)
    a = ref.clone()
    cell = n // 2
    a[..., 8 * cell : 8 * cell + 8] = torch.rand(1, 3, 40, 8, dtype=torch.float64)
    other = pictures(1, 40, 8 * n, 2).double()
    changed = (made(a, other) - made(ref, other)).abs().amax(dim=(0, 1, 2)) > 0
    columns = torch.nonzero(changed).flatten().tolist()
    assert columns == list(range(cell - made.reach, cell + made.reach + 1))


@pytest.mark.parametrize("head", ["pair", "potential"])
def test_the_seam_of_a_panorama_is_no_border(head):
    made = network(head=head)
    a, ref = picture(64, 128), picture(64, 128, 1)
    found = made.predict_map(a, ref, "panorama")
    for cells in (1, 7):
        rolled = made.predict_map(np.roll(a, 8 * cells, 1), np.roll(ref, 8 * cells, 1), "panorama")
        assert_allclose(rolled, np.roll(found, cells, 2), atol=2e-6)
    flat = made.predict_map(a, ref)
    inner = slice(made.reach, 16 - made.reach)
    assert_allclose(found[..., inner], flat[..., inner], atol=2e-6)
    assert np.abs(found[..., 0] - flat[..., 0]).max() > 1e-3


def test_a_last_cell_over_the_seam_goes_on_on_the_other_side():
    made = network()
    a, ref = picture(40, 61), picture(40, 61, 1)
    found = made.predict_map(a, ref, "panorama")
    around = [np.concatenate([x, x, x, x], axis=1)[:, 61 * 2 - 56 :][:, :176] for x in (a, ref)]
    assert_allclose(found, made.predict_map(*around)[..., 7:15], atol=2e-6)


@pytest.mark.parametrize(
    ("a", "ref", "geometry", "message"),
    [
        (picture(40, 40), picture(40, 48), "flat", "two versions of one picture, of one size"),
        (picture(24, 40), picture(24, 40), "flat", "at least 32 x 32 are needed"),
        (picture(40, 40), picture(40, 40), "sphere", "geometry must be 'flat' or 'panorama'; got 'sphere'"),
    ],
)
def test_other_pictures_are_refused(a, ref, geometry, message):
    with pytest.raises(ValueError, match=message):
        network().predict_map(a, ref, geometry)


# Files


def test_a_file_holds_the_network(tmp_path):
    pytest.importorskip("safetensors")
    made = network(channels=["noise", "hue"], head="potential").train()
    path = tmp_path / "map.safetensors"
    made.save(path, {"license": "CC0-1.0"})
    loaded = RelationalMapNet.load(path)
    assert loaded.channel_names_ == ("noise", "hue") and loaded.settings == made.settings and not loaded.training
    a, b = pictures(), pictures(seed=1)
    assert_array_equal(loaded(a, b).detach(), made(a, b).detach())
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        assert file.metadata()["license"] == "CC0-1.0"
    assert [item.name for item in tmp_path.iterdir()] == ["map.safetensors"]


def test_other_files_are_refused(tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    path = tmp_path / "map.safetensors"
    with pytest.raises(FileNotFoundError):
        RelationalMapNet.load(path)
    path.write_bytes(b"no numbers")
    with pytest.raises(ValueError, match=r"map.safetensors is no file of RelationalMapNet.save, or is broken"):
        RelationalMapNet.load(path)
    for metadata in (None, {"settings": "{}"}, {"settings": '{"size": 3}'}):
        safetensors.save_file({"x": torch.zeros(1)}, path, metadata)
        with pytest.raises(ValueError, match=r"is no file of RelationalMapNet.save"):
            RelationalMapNet.load(path)


def test_without_safetensors_the_error_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    with pytest.raises(ImportError, match=r"RelationalMapNet.save needs safetensors"):
        network().save(tmp_path / "map.safetensors")


# Parts


def test_channel_norm_is_layer_norm_of_every_place():
    norm, expected = ChannelNorm(7), nn.LayerNorm(7)
    x = torch.randn(2, 7, 3, 4)
    for parameter in (norm.weight, norm.bias, expected.weight, expected.bias):
        parameter.data = torch.randn(7).view(parameter.shape)
    expected.weight.data, expected.bias.data = norm.weight.data.flatten(), norm.bias.data.flatten()
    assert_allclose(norm(x).detach(), expected(x.movedim(1, -1)).movedim(-1, 1).detach(), atol=1e-5)


def test_filters_are_correlations_without_their_mean():
    bank = FilterBank(2, 5, 8)
    x = torch.rand(1, 3, 9, 10)
    filters = bank.filters.detach().numpy()
    filters = filters - filters.mean(axis=(2, 3), keepdims=True)
    padded = np.pad(x[0].numpy(), ((0, 0), (2, 2), (2, 2)), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5), axis=(1, 2))
    assert_allclose(bank(x)[0].detach(), np.einsum("cijkl,fckl->fij", windows, filters), atol=1e-5)
    assert bank(torch.full((1, 3, 9, 10), 0.7)).abs().max() < 1e-5
    assert FilterBank(2, 1, 4)(torch.full((1, 3, 9, 10), 0.7)).abs().max() > 0.1  # colors themselves


def test_every_other_filter_begins_with_differences_of_colors():
    torch.manual_seed(0)
    gray = torch.rand(1, 1, 9, 10).repeat(1, 3, 1, 1)
    for size in (1, 5):
        found = FilterBank(6, size, 8)(gray).abs().amax(dim=(0, 2, 3))
        assert found[1::2].max() < 1e-5 and found[::2].min() > 1e-2


def test_pooling_is_the_mean_over_a_cell():
    products = torch.rand(1, 2, 8, 12)
    assert_allclose(FilterBank(2, 3, 4).pool(products), products.view(1, 2, 2, 4, 3, 4).mean(dim=(3, 5)), atol=1e-6)


def test_a_single_pixel_per_cell_is_pooled_with_its_neighbours():
    products = torch.rand(1, 2, 5, 6)
    padded = np.pad(products[0].numpy(), ((0, 0), (1, 1), (1, 1)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    assert_allclose(FilterBank(2, 3, 1).pool(products)[0], windows.mean(axis=(3, 4)), atol=1e-6)


def test_levels_are_logarithms():
    assert level(torch.tensor(0.0)).item() == pytest.approx(np.log(1e-6) / 2 + 3)
    assert level(torch.tensor(0.25)).item() == pytest.approx(np.log(0.25 + 1e-6) / 2 + 3)


def test_the_first_frequencies_are_those_of_the_cosine_transform_of_luma():
    encoder = CellEncoder(8, 3, 1)
    x = np.random.default_rng(0).random((3, 8, 8))
    luma = np.tensordot([0.299, 0.587, 0.114], x, axes=1)
    found = torch.tensordot(encoder.frequencies.double(), torch.tensor(x), dims=3)
    assert_allclose(found.detach(), dctn(luma, norm="ortho").ravel(), atol=1e-6)


def test_what_is_common_is_the_correlation_and_the_energy_of_the_difference():
    encoder = CellEncoder(8, 3, 1)
    a, b = (torch.tensor(dead_leaves(32, random_state=seed)).permute(2, 0, 1)[None] / 255 for seed in (0, 1))
    common = encoder.compare(encoder(a), encoder(b))
    assert_array_equal(common.detach(), encoder.compare(encoder(b), encoder(a)).detach())
    assert common.shape == (1, 2 * encoder.n_responses, 4, 4) and encoder.n_responses == 8 + 4 * 3
    bank = encoder.banks[1]
    mean = lambda x: bank.pool(x)[0].detach()  # noqa: E731
    product, total = mean(bank(a) * bank(b)), mean(bank(a).square() + bank(b).square())
    assert_allclose(common[0, 8:11].detach(), (2 * product + 1e-6) / (total + 1e-6), atol=1e-5)
    expected = level(mean((bank(a) - bank(b)).square()))
    assert_allclose(common[0, 20 + 8 : 20 + 11].detach(), expected, atol=1e-4)
    own = encoder.compare(encoder(a), encoder(a))[0].detach()
    assert_allclose(own[:20], 1, atol=1e-6)
    assert_allclose(own[20:], np.log(1e-6) / 2 + 3, atol=1e-6)


def test_a_block_adds_to_what_comes_in():
    block = Block(4)
    block.layers[-1].weight.data.zero_()
    block.layers[-1].bias.data.zero_()
    x = torch.randn(1, 4, 3, 3)
    assert_array_equal(block(x).detach(), x)


def test_the_shipped_file_is_small_and_says_where_it_comes_from():
    safetensors, yaml = pytest.importorskip("safetensors"), pytest.importorskip("yaml")
    path = files("patchdistill.relational") / "data" / "network.safetensors"
    assert path.stat().st_size < 5e6
    with safetensors.safe_open(path, "pt") as file:
        header = file.metadata()
    assert header["license"] == "BSD-3-Clause"
    assert header["command"] == "python benchmarks/train_relational.py benchmarks/train_relational_cpu.yaml"
    config = yaml.safe_load((BENCHMARKS / "train_relational_cpu.yaml").read_text())
    assert json.loads(header["config"]) == config and config["pairs"]["pictures"] is None


def test_the_shipped_network_is_better_than_the_classical_map():
    pytest.importorskip("safetensors")
    engine, errors = DistortionEngine(random_state=9), []
    maps = RelationalMapNet.pretrained(), ClassicalRelationalMap.pretrained()
    for index in range(12):
        sample = engine.sample(draw_content(None, 128, np.random.default_rng(100 + index)), index)
        true, valid = cell_mean(sample.label), cell_mean(sample.valid.astype(np.float32)) >= 0.5
        errors.append([np.square(made.predict_map(sample.a, sample.b) - true)[:, valid].mean() for made in maps])
    of_network, of_classical = np.mean(errors, axis=0)
    assert of_network < 0.7 * of_classical


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_the_map_is_the_same_and_symmetric():
    made, a, ref = network(), picture(72, 96), picture(72, 96, 1)
    expected = made.predict_map(a, ref)
    made.cuda()
    assert_allclose(made.predict_map(a, ref), expected, atol=1e-2)
    assert_allclose(made.predict_map(ref, a), -made.predict_map(a, ref), atol=1e-6)
    assert not made.predict_map(a, a).any()


def test_profiles_are_the_steps_at_each_place_of_a_cell():
    x = torch.rand(1, 3, 16, 24)
    luma = np.tensordot([0.299, 0.587, 0.114], x[0].numpy(), axes=1)
    profiles = step_profiles(x)[0].numpy()
    assert profiles.shape == (16, 2, 3)
    for place in range(8):
        across = np.diff(luma, axis=1, prepend=luma[:, :1])[:, place::8] ** 2
        down = np.diff(luma, axis=0, prepend=luma[:1])[place::8] ** 2
        assert_allclose(profiles[place], across.reshape(2, 8, 3).mean(axis=1), atol=1e-6)
        assert_allclose(profiles[8 + place], down.reshape(2, 3, 8).mean(axis=2), atol=1e-6)
