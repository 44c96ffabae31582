"""Architectures that nobody here wrote: they embed, are selected for, and are trained on the patches that are kept."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("skorch")

from sklearn.pipeline import Pipeline  # noqa: E402
from torch import nn  # noqa: E402

from patchdistill import ResidualPatchSelector  # noqa: E402
from patchdistill.embedding import TorchEmbedder  # noqa: E402
from patchdistill.models import BagNetRegressor, FrozenModuleRegressor, PatchMean, Preprocess  # noqa: E402

SIZE = 32
RNG = np.random.default_rng(0)
# Brightness is quality here: few steps are enough to learn it.
LABELS = np.linspace(0.2, 0.8, 6)
POOLS = [
    RNG.integers(0, int(300 * label), (n, 24, 24, 3), dtype=np.uint8)
    for n, label in zip((9, 12, 10, 8, 11, 9), LABELS, strict=True)
]


def of_transformers(kind):
    transformers = pytest.importorskip("transformers")
    small = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = {
        "ResNet": lambda: transformers.ResNetConfig(
            embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic"
        ),
        "ViT": lambda: transformers.ViTConfig(**small, image_size=SIZE, patch_size=8),
        "Dinov2": lambda: transformers.Dinov2Config(
            hidden_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=SIZE, patch_size=8
        ),
        "Swin": lambda: transformers.SwinConfig(
            image_size=SIZE, patch_size=2, embed_dim=8, depths=[1, 1], num_heads=[1, 2], window_size=4
        ),
    }[kind]()
    config.num_labels = 1
    model = getattr(transformers, f"{kind}ForImageClassification")(config)
    return model, {"ResNet": "resnet", "ViT": "vit", "Dinov2": "dinov2", "Swin": "swin"}[kind]


def of_timm(name):
    timm = pytest.importorskip("timm")
    model = timm.create_model(name, pretrained=False, num_classes=1)
    return model, None


def of_torchvision(name):
    models = pytest.importorskip("torchvision.models")
    return getattr(models, name)(weights=None, num_classes=1), None


ARCHITECTURES = [
    *(pytest.param(of_transformers, kind, id=f"transformers-{kind}") for kind in ("ResNet", "ViT", "Dinov2", "Swin")),
    pytest.param(of_timm, "resnet10t", id="timm-resnet10t"),
    pytest.param(of_torchvision, "squeezenet1_1", id="torchvision-squeezenet"),
]


@pytest.mark.parametrize(("make", "name"), ARCHITECTURES)
def test_embeds_is_selected_for_and_trained_on_kept_patches(make, name):
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        model, backbone = make(name)
    encoder = model if backbone is None else getattr(model, backbone)
    module = nn.Sequential(Preprocess(size=SIZE, mean=(0.5,) * 3, std=(0.25,) * 3), model)
    net = BagNetRegressor(
        PatchMean,
        module__network=module,
        dataset__field="pixels",
        optimizer=torch.optim.Adam,
        lr=3e-3,
        max_epochs=8,
        batch_size=3,
        verbose=0,
    )
    pipeline = Pipeline(
        [
            ("embed", TorchEmbedder(encoder, size=SIZE, mean=(0.5,) * 3, std=(0.25,) * 3)),
            ("select", ResidualPatchSelector(h=3, rate=0.5)),
            ("model", net),
        ]
    )
    predicted = pipeline.fit(POOLS, LABELS).predict(POOLS)
    assert predicted.shape == LABELS.shape
    losses = pipeline[-1].history[:, "train_loss"]
    assert losses[-1] < losses[0]
    assert [len(kept) for kept in pipeline["select"].selected_idx_] == [5, 6, 5, 4, 6, 5]
    # The trained network, as somebody else would be given it, says the same of the same patches.
    frozen = FrozenModuleRegressor(
        pipeline[-1].module_.network[1], size=SIZE, mean=(0.5,) * 3, std=(0.25,) * 3, aggregate="mean", field="pixels"
    )
    np.testing.assert_allclose(frozen.predict(pipeline[:-1].transform(POOLS)), predicted, rtol=1e-4, atol=1e-5)
