import pickle

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from numpy.testing import assert_allclose, assert_array_equal  # noqa: E402
from sklearn.base import clone  # noqa: E402
from sklearn.exceptions import NotFittedError  # noqa: E402
from torch import nn  # noqa: E402

from patchdistill import PatchBags  # noqa: E402
from patchdistill.evaluation import fit_mapping  # noqa: E402
from patchdistill.models import FrozenModuleRegressor  # noqa: E402

RNG = np.random.default_rng(0)
PIXELS = [RNG.integers(0, 256, (n, 8, 8, 3), dtype=np.uint8) for n in (4, 1, 6, 3, 5, 2)]
FEATURES = [RNG.normal(size=(n, 5)).astype(np.float32) for n in (4, 1, 6, 3, 5, 2)]
LABELS = np.linspace(10, 90, 6)


def network():
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(), nn.Linear(144, 1)
        )


def by_hand(module, images, mean=0.0, std=1.0):
    module = pickle.loads(pickle.dumps(module)).eval()
    with torch.no_grad():
        return [
            [float(module((torch.tensor(patch).movedim(-1, 0)[None] / 255 - mean) / std)) for patch in image]
            for image in images
        ]


def test_an_image_scores_the_mean_over_its_patches():
    module = network()
    expected = [np.mean(scores) for scores in by_hand(module, PIXELS, 0.4, 0.2)]
    model = FrozenModuleRegressor(module, mean=(0.4,) * 3, std=(0.2,) * 3)
    assert_allclose(model.predict(PIXELS), expected, rtol=1e-5)


@pytest.mark.parametrize("aggregate", ["weighted", "mean", "median", "trimmed"])
def test_aggregates(aggregate):
    module = network()
    weights = [RNG.random(len(image)) + 0.1 for image in PIXELS]
    X = PatchBags.from_list(PIXELS, fields={"weights": weights})
    oracle = {"mean": np.mean, "median": np.median, "trimmed": np.mean}
    scores = by_hand(module, PIXELS)
    expected = [
        np.average(s, weights=w) if aggregate == "weighted" else oracle[aggregate](s)
        for s, w in zip(scores, weights, strict=True)
    ]
    assert_allclose(FrozenModuleRegressor(module, aggregate=aggregate).predict(X), expected, rtol=1e-5)


@pytest.mark.parametrize("mapping", ["linear", "logistic4", "logistic5"])
def test_the_mapping_is_fitted_to_the_scores_of_the_module(mapping):
    raw = np.array([1.0, 2.0, 3.5, 4.0, 6.0, 7.0])
    images = [np.full((2, 1), value, dtype=np.float32) for value in raw]
    labels = 20 + 50 / (1 + np.exp(-(raw - 4))) + np.array([0.1, -0.2, 0.1, 0.0, 0.2, -0.1])
    model = FrozenModuleRegressor(nn.Identity(), mapping).fit(images, labels)
    assert_allclose(model.predict(images), fit_mapping(raw, labels, mapping)(raw))
    assert model.mapping_.kind == mapping


def test_a_module_of_whole_images():
    class OfImages(nn.Module):
        def forward(self, patches):
            return patches.flatten(1).max(dim=1).values

    model = FrozenModuleRegressor(OfImages(), output="image", batch_size=1)
    assert_allclose(model.predict(FEATURES), [image.max() for image in FEATURES])
    assert_allclose(model.predict(PIXELS), [image.max() / 255 for image in PIXELS], rtol=1e-6)


def test_one_column_of_several():
    module = nn.Linear(5, 3)
    with torch.no_grad():
        expected = [float(module(torch.from_numpy(image))[:, 2].mean()) for image in FEATURES]
    assert_allclose(FrozenModuleRegressor(module, column=2).predict(FEATURES), expected, rtol=1e-5)


def test_the_module_is_as_it_was():
    module = network().train()
    before = pickle.dumps(module.state_dict())
    FrozenModuleRegressor(module).predict(PIXELS)
    assert module.training
    assert all(part.training for part in module)
    assert pickle.dumps(module.state_dict()) == before


def test_batches_and_company_change_nothing():
    model = FrozenModuleRegressor(network())
    expected = model.predict(PIXELS)
    assert_array_equal(np.concatenate([model.predict([image]) for image in PIXELS]), expected)
    assert_allclose(clone(model).set_params(batch_size=1).predict(PIXELS), expected, rtol=1e-5)


def test_double_precision_is_kept():
    module = nn.Linear(5, 1).double()
    images = [image.astype(np.float64) for image in FEATURES]
    weight, bias = (tensor.detach().numpy() for tensor in (module.weight, module.bias))
    expected = [(image @ weight[0] + bias[0]).mean() for image in images]
    assert_allclose(FrozenModuleRegressor(module).predict(images), expected, rtol=1e-13)


def test_double_precision_is_kept_for_mean_and_deviation_of_pixels():
    module = nn.Sequential(nn.Flatten(), nn.Linear(192, 1)).double()
    images = [image.astype(np.dtype(np.float64).newbyteorder(">")) / 255 for image in PIXELS]
    weight, bias = (tensor.detach().numpy() for tensor in module[1].parameters())
    expected = [(np.moveaxis((i - 0.1) / 0.3, -1, 1).reshape(len(i), -1) @ weight[0] + bias[0]).mean() for i in images]
    model = FrozenModuleRegressor(module, mean=(0.1,) * 3, std=(0.3,) * 3)
    assert_allclose(model.predict(images), expected, rtol=1e-12)


def test_needs_no_fit_without_a_mapping():
    model = FrozenModuleRegressor(nn.Linear(5, 1))
    assert_array_equal(model.predict(FEATURES), model.fit(FEATURES, LABELS).predict(FEATURES))
    with pytest.raises(NotFittedError):
        FrozenModuleRegressor(nn.Linear(5, 1), "linear").predict(FEATURES)


@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_that_is_not_there(device):
    with pytest.raises(ValueError, match="was asked for, but PyTorch finds 0 CUDA devices"):
        FrozenModuleRegressor(nn.Linear(5, 1), device=device).predict(FEATURES)


@pytest.mark.parametrize(
    ("module", "parameters", "message"),
    [
        (nn.Linear(5, 2), {}, r"Got shape \(4, 2\) for 4 patches; one number each is needed"),
        (nn.Linear(5, 2), {"column": 2}, r"column=2 is not in what the module returned, shape \(4, 2\)"),
        (nn.Linear(5, 1), {"output": "image"}, r"Got shape \(1, 4, 1\) for 1 images"),
        (lambda x: x[:, 0] / 0 * 0, {}, "score of image 0, patch 0, is not finite"),
        (nn.Linear(5, 1), {"field": "pixels"}, "field='pixels' is no field"),
        (nn.Linear(5, 1), {"mapping": "cubic"}, "The 'mapping' parameter of FrozenModuleRegressor"),
    ],
)
def test_refuses(module, parameters, message):
    with pytest.raises(ValueError, match=message):
        FrozenModuleRegressor(module, **parameters).predict(FEATURES)


def test_refuses_other_outputs():
    with pytest.raises(TypeError, match="The module returned a dict with .*'scores'.*Wrap it"):
        FrozenModuleRegressor(lambda x: {"scores": x}).predict(FEATURES)


@pytest.mark.parametrize(
    ("y", "message"), [(LABELS[:5], "y has 5 labels, but there are 6"), (LABELS[:, None], r"y has shape \(6, 1\)")]
)
def test_refuses_other_labels(y, message):
    with pytest.raises(ValueError, match=message):
        FrozenModuleRegressor(nn.Linear(5, 1)).fit(FEATURES, y)
