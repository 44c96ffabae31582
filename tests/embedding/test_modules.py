import inspect
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

torch = pytest.importorskip("torch")

from patchdistill import PatchBags, ResidualPatchSelector  # noqa: E402
from patchdistill.embedding import TorchEmbedder, embed_patches  # noqa: E402
from patchdistill.models import BagPooling  # noqa: E402

nn = torch.nn
RNG = np.random.default_rng(0)
POOLS = [RNG.integers(0, 256, (n, 12, 12, 3), dtype=np.uint8) for n in (7, 4, 5)]
NORM = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
without_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="is about machines without a GPU")
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    torch.set_num_threads(1)


def make_network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.5), nn.Conv2d(6, 8, 3, stride=2), nn.Tanh()
    )


@pytest.fixture
def network():
    return make_network()


def bags_of(pools, **keywords):
    return PatchBags.from_list(pools, **keywords)


# --- against the definition


@pytest.mark.parametrize("layer", [None, "0", "2"])
@pytest.mark.parametrize(("pooling", "reduce"), [("mean", np.mean), ("max", np.max)])
def test_features_are_those_of_a_loop_over_patches(network, layer, pooling, reduce):
    network = network.double()
    features = TorchEmbedder(network, layer, pooling, **NORM).transform(POOLS)
    assert features.values.dtype == np.float64
    part = network.eval()[: 6 if layer is None else int(layer) + 1]
    for i, pool in enumerate(POOLS):
        for patch, row in zip(pool, features[i], strict=True):
            x = (patch / 255 - NORM["mean"]) / NORM["std"]
            with torch.no_grad():
                maps = part(torch.from_numpy(x.transpose(2, 0, 1)[None]))[0].numpy()
            assert_allclose(row, [reduce(plane) for plane in maps], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("pool", POOLS)
def test_the_function_is_the_embedder_for_one_image(network, pool):
    parameters = {"layer": "2", "pooling": "max", "size": (9, 8), "batch_size": 3, "device": "cpu", **NORM}
    features = embed_patches(pool, network, **parameters)
    assert features.dtype == np.float32 and features.shape == (len(pool), 6)
    assert_array_equal(TorchEmbedder(network, **parameters).transform([pool])[0], features)


def test_functions_have_the_embedders_defaults(network):
    names = inspect.signature(embed_patches).parameters
    own = TorchEmbedder(network).get_params()
    assert {name: names[name].default for name in names if name not in ("patches", "module")} == {
        name: own[name] for name in own if name not in ("module", "cache", "verbose")
    }


def test_any_function_will_do():
    def color(x):
        return x.mean(dim=(2, 3))

    assert_allclose(TorchEmbedder(color).transform(POOLS)[1], POOLS[1].mean(axis=(1, 2)) / 255, atol=1e-6)


def test_maps_may_have_their_channels_last():
    features = TorchEmbedder(lambda x: x.movedim(1, -1), channels_last=True).transform(POOLS)
    assert_allclose(features[0], POOLS[0].mean(axis=(1, 2)) / 255, atol=1e-6)


@pytest.mark.parametrize("autocast", ["bfloat16", "float16"])
def test_autocast_is_near_and_gives_float32(network, autocast):
    exact = embed_patches(POOLS[0], network)
    features = embed_patches(POOLS[0], network, autocast=autocast)
    assert features.dtype == np.float32
    assert 0 < np.abs(features - exact).max() < 0.02


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_networks_in_half_precision_give_float32(network, dtype):
    features = embed_patches(POOLS[0], network.to(dtype), size=10)
    assert features.dtype == np.float32
    assert_allclose(features, embed_patches(POOLS[0], make_network(), size=10), atol=0.02)


# --- forms of the input


class Store:
    """Rows somewhere else; tells what was asked for."""

    def __init__(self, values):
        self.values, self.reads = values, []
        self.shape, self.dtype, self.ndim = values.shape, values.dtype, values.ndim

    def __len__(self):
        return len(self.values)

    def __getitem__(self, rows):
        self.reads.append((rows.start, rows.stop))
        return self.values[rows]


def test_the_forms_of_pools_agree(network):
    expected = TorchEmbedder(network).transform(POOLS)
    assert expected.n_patches.tolist() == [7, 4, 5]
    assert_array_equal(expected.fields["pixels"], np.concatenate(POOLS))
    for X in (tuple(POOLS), bags_of(POOLS), [np.asfortranarray(pool) for pool in POOLS]):
        assert_array_equal(TorchEmbedder(network).transform(X).values, expected.values)
    floats = TorchEmbedder(network).transform([pool / 255 for pool in POOLS])
    assert_allclose(floats.values, expected.values, atol=1e-6)


def test_a_stack_is_a_list(network):
    stack = np.stack([pool[:4] for pool in POOLS])
    bags = TorchEmbedder(network).transform(stack)
    assert bags.n_patches.tolist() == [4, 4, 4]
    assert_array_equal(bags.values, TorchEmbedder(network).transform(list(stack)).values)


def test_fields_and_ids_come_along(network):
    lon = [np.arange(len(pool)) / 3 for pool in POOLS]
    X = bags_of(POOLS, fields={"lon": lon}, ids=["a", "b", "c"]).take([[3, 1], [0], [4, 2, 0]])
    bags = TorchEmbedder(network).fit_transform(X)
    assert bags.ids.tolist() == ["a", "b", "c"] and set(bags.fields) == {"lon", "patch_index", "pixels"}
    assert bags.field("patch_index", 2).tolist() == [4, 2, 0]
    assert_array_equal(bags.field("lon", 0), lon[0][[3, 1]])
    assert_array_equal(bags.field("pixels", 2), POOLS[2][[4, 2, 0]])
    assert_allclose(bags[0], embed_patches(POOLS[0], network)[[3, 1]], atol=1e-6)


def test_a_store_is_read_image_by_image_and_stays_the_field(network):
    store = Store(np.concatenate(POOLS))
    X = PatchBags(store, [0, 7, 11, 16])
    network.register_forward_pre_hook(lambda m, x: store.reads.append(len(x[0])))
    bags = TorchEmbedder(network, batch_size=5).transform(X)
    assert store.reads == [(0, 7), 5, 2, (7, 11), 4, (11, 16), 5]
    assert bags.fields["pixels"] is store
    assert_array_equal(bags.values, TorchEmbedder(network).transform(POOLS).values)


@pytest.mark.parametrize("dtype", ["u1", "<f4", ">f4", "<f8", "f2"])
def test_memory_maps_that_cannot_be_written_are_embedded(network, tmp_path, dtype):
    values = np.concatenate(POOLS) if dtype == "u1" else (np.concatenate(POOLS) / 255).astype(dtype)
    np.save(tmp_path / "pixels.npy", values)
    stored = np.load(tmp_path / "pixels.npy", mmap_mode="r")
    bags = TorchEmbedder(network).transform(PatchBags(stored, [0, 7, 11, 16]))
    assert isinstance(bags.fields["pixels"], np.memmap)
    expected = TorchEmbedder(network).transform(POOLS).values
    assert_allclose(bags.values, expected, atol=1e-3 if dtype == "f2" else 1e-6)


def test_pixels_of_the_user_are_not_changed(network):
    def spoil(x):
        return network(x.mul_(0).add_(1))

    pools = [(pool / 255).astype(np.float32) for pool in POOLS]
    before = [pool.copy() for pool in pools]
    TorchEmbedder(spoil).transform(pools)
    for pool, kept in zip(pools, before, strict=True):
        assert_array_equal(pool, kept)


# --- what must not matter


@settings(max_examples=20)
@given(batch_size=st.one_of(st.integers(1, 9), st.just(np.int64(2))), seed=st.integers(0, 3))
def test_the_batch_size_changes_nothing_but_rounding(batch_size, seed):
    pool = np.random.default_rng(seed).integers(0, 256, (7, 12, 12, 3), dtype=np.uint8)
    network = make_network()
    expected = embed_patches(pool, network, batch_size=7)
    assert_allclose(embed_patches(pool, network, batch_size=batch_size), expected, atol=1e-6)


def test_images_have_no_influence_on_each_other(network):
    together = TorchEmbedder(network, batch_size=6).transform(POOLS)
    for i, pool in enumerate(POOLS):
        assert TorchEmbedder(network, batch_size=6).transform([pool])[0].tobytes() == together[i].tobytes()
    turned = TorchEmbedder(network, batch_size=6).transform(POOLS[::-1])
    assert turned[2].tobytes() == together[0].tobytes()


def test_the_order_of_patches_is_the_order_of_rows(network):
    order = np.random.default_rng(0).permutation(7)
    assert_allclose(embed_patches(POOLS[0][order], network), embed_patches(POOLS[0], network)[order], atol=1e-6)


@pytest.mark.parametrize("layer", [None, "2", "nowhere"])
def test_the_network_is_afterwards_as_it_was(network, layer):
    network.train()
    network[1].eval()
    before = pickle.dumps(network)
    try:
        TorchEmbedder(network, layer).transform(POOLS)
    except ValueError:
        assert layer == "nowhere"
    assert pickle.dumps(network) == before


@needs_cuda
def test_the_gpu_gives_the_same(network):
    expected = TorchEmbedder(network).transform(POOLS).values
    assert_allclose(TorchEmbedder(network, device="cuda").transform(POOLS).values, expected, atol=5e-3)
    assert next(network.parameters()).device.type == "cpu"


# --- the estimator


def test_is_an_estimator(network):
    embedder = TorchEmbedder(network, "2", pooling="max", size=8)
    expected = embedder.transform(POOLS).values
    for twin in (clone(embedder), pickle.loads(pickle.dumps(embedder)), embedder.fit(POOLS)):
        assert_array_equal(twin.transform(POOLS).values, expected)
    assert clone(embedder).module is not network
    tags = embedder.__sklearn_tags__()
    assert tags.no_validation and not tags.requires_fit
    with pytest.raises(ValueError, match="cannot output 'pandas'"):
        embedder.set_output(transform="pandas")


def test_stands_in_a_pipeline_and_is_set_from_outside(network):
    pipeline = make_pipeline(TorchEmbedder(network), ResidualPatchSelector(rate=0.5), BagPooling())
    assert pipeline.fit_transform(POOLS).shape == (3, 2 * 8)
    pipeline.set_params(torchembedder__layer="2", torchembedder__pooling="max", residualpatchselector__rate=0.3)
    pipeline = clone(pipeline)
    assert pipeline.fit_transform(bags_of(POOLS)).shape == (3, 2 * 6)
    kept = pipeline[:2].transform(POOLS)
    assert kept.n_patches.tolist() == [3, 2, 2]
    assert_array_equal(kept.field("pixels", 0), POOLS[0][kept.field("patch_index", 0)])


def test_progress_is_printed_when_it_is_asked_for(network, capfd):
    TorchEmbedder(network).transform(POOLS)
    assert capfd.readouterr() == ("", "")
    TorchEmbedder(network, verbose=10).transform(POOLS)
    assert "Done" in "".join(capfd.readouterr())


# --- networks of others

PICTURES = [RNG.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8) for n in (3, 2)]
SIZES = {"resnet": 32, "vit": 32, "swin": 32, "dinov2": 28}


@pytest.fixture(scope="module", params=SIZES)
def model(request):
    """Name, a model with random weights, and its features of PICTURES."""
    transformers = pytest.importorskip("transformers")
    small = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    torch.manual_seed(0)
    if request.param == "resnet":
        config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
        model = transformers.ResNetModel(config)
    elif request.param == "vit":
        model = transformers.ViTModel(transformers.ViTConfig(image_size=32, patch_size=8, **small))
    elif request.param == "swin":
        config = transformers.SwinConfig(
            image_size=32, patch_size=4, embed_dim=8, depths=[1, 1], num_heads=[1, 2], window_size=4
        )
        model = transformers.SwinModel(config)
    else:
        model = transformers.Dinov2Model(transformers.Dinov2Config(image_size=28, patch_size=7, **small))
    return request.param, model


def hidden(name, model, pixels):
    """The last hidden state, from what the model's own documentation says."""
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    if SIZES[name] != x.shape[-1]:
        x = nn.functional.interpolate(x, SIZES[name], mode="bilinear", antialias=True)
    x = (x - torch.tensor(NORM["mean"])[:, None, None]) / torch.tensor(NORM["std"])[:, None, None]
    with torch.no_grad():
        return model.eval()(pixel_values=x).last_hidden_state.numpy()


def test_models_of_transformers_give_their_last_hidden_state(model):
    name, network = model
    bags = TorchEmbedder(network.train(), size=SIZES[name], **NORM).transform(PICTURES)
    assert network.training
    for i, pictures in enumerate(PICTURES):
        expected = hidden(name, network, pictures)
        axes = (2, 3) if name == "resnet" else 1
        assert_allclose(bags[i], expected.mean(axis=axes), atol=1e-5)
        assert bags[i].shape == (len(pictures), 16)


def test_models_of_transformers_have_a_first_token_or_none(model):
    name, network = model
    embedder = TorchEmbedder(network, pooling="cls", size=SIZES[name], **NORM)
    if name == "resnet":
        with pytest.raises(ValueError, match='pooling="cls" takes the first token, but the layer returned maps'):
            embedder.transform(PICTURES)
    else:
        assert_allclose(embedder.transform(PICTURES)[1], hidden(name, network, PICTURES[1])[:, 0], atol=1e-5)


LAYERS = {
    "resnet": {"embedder": 8, "encoder.stages.0": 8, "encoder.stages.1": 16, "pooler": 16, "encoder": 16},
    "vit": {"embeddings": 16, "layernorm": 16, "pooler.dense": 16},
    "swin": {"embeddings": 8, "encoder.layers.0": 16, "encoder.layers.1": 16, "layernorm": 16},
    "dinov2": {"embeddings": 16, "encoder.layer.0": 16, "encoder.layer.1.mlp": 16, "layernorm": 16},
}


def test_models_of_transformers_answer_by_layer(model):
    name, network = model
    for layer, width in LAYERS[name].items():
        bags = TorchEmbedder(network, layer, size=SIZES[name], **NORM).transform(PICTURES)
        assert bags.values.shape == (5, width), layer
    last = "encoder.stages.1" if name == "resnet" else "layernorm"
    whole = TorchEmbedder(network, size=SIZES[name], **NORM).transform(PICTURES)
    at_last = TorchEmbedder(network, last, size=SIZES[name], **NORM).transform(PICTURES)
    assert_allclose(at_last.values, whole.values, atol=1e-6)


def test_models_of_transformers_are_resized_for(model):
    name, network = model
    large = [np.repeat(np.repeat(pictures, 2, axis=1), 2, axis=2) for pictures in PICTURES]
    bags = TorchEmbedder(network, size=SIZES[name]).transform(large)
    assert bags.values.shape == (5, 16) and bags.field("pixels", 0).shape == (3, 64, 64, 3)


def test_models_of_transformers_are_kept_in_a_cache(model, tmp_path):
    name, network = model
    embedder = TorchEmbedder(network, size=SIZES[name], cache=tmp_path)
    first = embedder.transform(PICTURES)
    assert clone(embedder).transform(PICTURES).values.tobytes() == first.values.tobytes()
    assert len(list(tmp_path.iterdir())) == 2


def test_classifiers_of_transformers_give_their_logits():
    transformers = pytest.importorskip("transformers")
    config = transformers.ResNetConfig(embedding_size=4, hidden_sizes=[8], depths=[1], layer_type="basic", num_labels=7)
    assert embed_patches(PICTURES[0], transformers.ResNetForImageClassification(config)).shape == (3, 7)


def test_networks_of_timm():
    timm = pytest.importorskip("timm")
    network = timm.create_model("resnet10t", pretrained=False, num_classes=0)
    whole = embed_patches(PICTURES[0], network, **NORM)
    assert whole.shape == (3, 512)
    assert_allclose(embed_patches(PICTURES[0], network, "layer4", **NORM), whole, atol=1e-4)
    vit = timm.create_model("vit_tiny_patch16_224", pretrained=False, num_classes=0, img_size=32)
    assert_allclose(embed_patches(PICTURES[0], vit, "norm", "cls"), embed_patches(PICTURES[0], vit), atol=1e-4)


def test_networks_of_torchvision():
    models = pytest.importorskip("torchvision.models")
    network = models.resnet18(weights=None)
    pooled = embed_patches(PICTURES[0], network, "avgpool", **NORM)
    assert pooled.shape == (3, 512)
    assert_allclose(embed_patches(PICTURES[0], network, "layer4", **NORM), pooled, atol=1e-4)
    swin = models.swin_t(weights=None)
    assert embed_patches(PICTURES[0], swin, "norm", channels_last=True).shape == (3, 768)


# --- what is refused


class Broken(nn.Module):
    """Not a number where a patch begins with 200."""

    def forward(self, x):
        features = x.mean(dim=(2, 3))
        return torch.where((x[:, 0, 0, 0] * 255).round()[:, None] == 200, torch.nan, features)


def test_features_that_are_not_finite_are_named():
    pools = [np.minimum(pool, 100) for pool in POOLS]
    pools[1][2, 0, 0, 0] = 200
    pools[1][3, 0, 0, 0] = 200
    for batch_size in (1, 64):
        with pytest.raises(ValueError, match="The features of image 1, patch 2 are not finite. Check the weights"):
            TorchEmbedder(Broken(), batch_size=batch_size).transform(pools)


@pytest.mark.parametrize(
    ("module", "rows"), [(lambda x: x[1:].flatten(1), 3), (lambda x: x.mean(dim=(0, 2, 3))[None], 1)]
)
def test_a_module_that_gives_another_number_of_rows_is_named(module, rows):
    with pytest.raises(ValueError, match=f"returned {rows} rows for the 4 patches of image 0; it must return one per"):
        TorchEmbedder(module).transform([POOLS[1]])


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"layer": "conv"}, ValueError, "layer='conv' is no layer of Sequential; near matches"),
        ({"module": len, "layer": "conv"}, ValueError, "layer='conv' is no layer of a builtin_function_or_method"),
        ({"module": lambda x: None}, TypeError, "The module returned a NoneType, but a tensor is needed"),
        ({"module": lambda x: x[:, 0, 0, 0]}, ValueError, r"returned shape \(7,\), but features"),
        ({"pooling": "cls"}, ValueError, 'pooling="cls" takes the first token'),
        ({"device": "gpu"}, ValueError, "device='gpu' is unknown"),
        ({"device": "meta"}, ValueError, "device='meta' cannot be used"),
        ({"size": 0}, ValueError, "size=0 is not valid"),
        ({"mean": (0.5,)}, ValueError, r"mean=\(0.5,\) is not valid"),
        ({"std": (1, 0, 1)}, ValueError, r"std=\(1, 0, 1\) must be positive"),
        ({"module": "resnet18"}, ValueError, "The 'module' parameter of .* must be a callable"),
        ({"layer": 3}, ValueError, "The 'layer' parameter"),
        ({"pooling": "sum"}, ValueError, "The 'pooling' parameter"),
        ({"channels_last": "yes"}, ValueError, "The 'channels_last' parameter"),
        ({"batch_size": 0}, ValueError, "The 'batch_size' parameter"),
        ({"autocast": "float64"}, ValueError, "The 'autocast' parameter"),
    ],
)
def test_refuses_parameters(network, parameters, error, message):
    parameters = {"module": network, **parameters}
    with pytest.raises(error, match=message):
        TorchEmbedder(**parameters).transform(POOLS)
    with pytest.raises(error, match=message):
        embed_patches(POOLS[0], **parameters)


@without_cuda
def test_a_gpu_that_is_not_there_is_named(network):
    with pytest.raises(ValueError, match="device='cuda' was asked for, but PyTorch finds 0 CUDA devices"):
        TorchEmbedder(network, device="cuda").transform(POOLS)


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize(
    ("X", "message"),
    [
        ([pool[0] for pool in POOLS], r"Pools of patches are expected.*Put GridSampler\(\) in front of pictures"),
        (POOLS[0], "Pools of patches are expected"),
        (["a.png", "b.png"], "Pools of patches are expected"),
        ([], "Pools of patches are expected"),
        (bags_of(POOLS)[:0], "There are no images"),
        ([POOLS[0], POOLS[1][0]], r"Image 1 has shape \(12, 12, 3\), but \(n_patches, height, width, 3\)"),
        ([POOLS[0], POOLS[1][..., :1]], r"Image 1 has shape \(4, 12, 12, 1\)"),
        ([POOLS[0], POOLS[1] / 255], "Image 1 has dtype float64, but image 0 has uint8"),
        ([POOLS[0], POOLS[1][:, :9]], r"Image 1 has patches of shape \(9, 12, 3\)"),
        ([POOLS[0] * 1.0], "Image 0 has float values from 0 to 255"),
        ([POOLS[0] * np.nan], r"Input X contains NaN \(image 0\)"),
        (bags_of([np.ones((4, 6))]), r"Image 0 has shape \(4, 6\), but \(n_patches, height, width, 3\)"),
        (bags_of([np.zeros((4, 12, 12, 4))]), "Drop the alpha channel"),
    ],
)
def test_refuses_what_are_no_pools(network, tmp_path, X, message, cached):
    with pytest.raises(ValueError, match=message):
        TorchEmbedder(network, cache=tmp_path if cached else None).transform(X)


@pytest.mark.parametrize("patches", [POOLS[0][0], POOLS[0][..., :1], POOLS[0][:0], POOLS[0] * 1.0])
def test_the_function_refuses_what_are_no_patches(network, patches):
    with pytest.raises(ValueError, match="Image 0 has"):
        embed_patches(patches, network)
