import json
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from patchdistill.qfm import QFMRegressor  # noqa: E402
from patchdistill.qfm.checkpoints import describe_images, describe_network, describe_run  # noqa: E402
from patchdistill.qfm.inputs import ImagePatches  # noqa: E402


def images(pixels, n_patches=(2, 1), weights=(1.0, 1.0, 1.0)):
    return ImagePatches(lambda row: pixels[row], n_patches, np.array(weights))


def test_images_are_told_apart():
    pixels = np.zeros((3, 4, 4, 3))
    other = pixels.copy()
    other[2, 3, 3, 2] = 1e-3
    described = [
        describe_images(images(pixels)),
        describe_images(images(other)),
        describe_images(images(pixels, n_patches=(1, 2))),
        describe_images(images(pixels, weights=(0.5, 1.5, 1.0))),
        describe_images(images(pixels.astype(np.float32))),
    ]
    assert len(set(described)) == 5
    assert describe_images(images(pixels.copy())) == described[0]


def test_few_patches_of_many_are_read():
    read = []
    many = ImagePatches(lambda row: read.append(row) or np.zeros((2, 2, 3)), np.ones(10000, int), np.ones(10000))
    describe_images(many)
    assert len(read) == 32 and {0, 9999} <= set(read)


def test_networks_are_told_apart():
    def network(kernel=1, fill=0.5):
        made = torch.nn.Sequential(torch.nn.Conv2d(1, 1, kernel, padding=kernel // 2), torch.nn.BatchNorm2d(1))
        torch.nn.init.constant_(made[0].weight, fill)
        torch.nn.init.zeros_(made[0].bias)
        return made

    strided = network()
    strided[0].stride = (2, 2)
    described = [describe_network(each) for each in (network(), network(fill=0.25), network(kernel=3), strided)]
    assert len(set(described)) == 4
    assert describe_network(network()) == described[0]


def test_what_decides_a_run_is_listed_once():
    network, pictures = SimpleNamespace(encoder=torch.nn.Linear(2, 1)), images(np.zeros((3, 4, 4, 3)))
    labels = np.arange(2.0)

    def described(labels=labels, groups=labels, semantics=None, **parameters):
        return describe_run(QFMRegressor(**parameters), network, pictures, labels, groups, semantics)

    settings = described()
    parameters = set(QFMRegressor().get_params()) - {"checkpoint", "device", "verbose", "distillation", "keep"}
    assert set(settings) == parameters | {"images", "labels", "groups", "semantics"}
    assert settings["random_state"] == 0 and settings["semantics"] is None
    json.dumps(settings)
    for name, changed in {
        "labels": described(labels=labels + 1),
        "groups": described(groups=labels + 1),
        "semantics": described(semantics=[[1.0], [2.0]]),
        "lr": described(lr=1e-3),
    }.items():
        assert {key for key in settings if settings[key] != changed[key]} == {name}
    assert described(verbose=1, device="cpu", keep=0.5, checkpoint="here") == settings


@pytest.mark.parametrize("random_state", [None, np.random.RandomState(0)])
def test_a_run_that_is_never_made_twice_cannot_go_on(random_state):
    model = QFMRegressor(random_state=random_state)
    with pytest.raises(ValueError, match="pass an int"):
        describe_run(model, torch.nn.Linear(2, 1), images(np.zeros((3, 4, 4, 3))), np.zeros(2), np.zeros(2), None)
