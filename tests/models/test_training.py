import pickle

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("skorch")

from numpy.testing import assert_allclose, assert_array_equal  # noqa: E402
from sklearn.base import clone  # noqa: E402
from sklearn.compose import TransformedTargetRegressor  # noqa: E402
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_predict  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from skorch import NeuralNetRegressor  # noqa: E402
from skorch.callbacks import Checkpoint, EarlyStopping, LoadInitState, TrainEndCheckpoint  # noqa: E402
from skorch.dataset import ValidSplit  # noqa: E402
from skorch.helper import predefined_split  # noqa: E402
from torch import nn  # noqa: E402

from patchdistill import PatchBags  # noqa: E402
from patchdistill.models import (  # noqa: E402
    BagDataset,
    BagNetRegressor,
    PatchMean,
    PatchTransformer,
    SelectedPatches,
    pad_collate,
)

RNG = np.random.default_rng(0)
IMAGES = [RNG.normal(size=(n, 3)).astype(np.float32) for n in (4, 2, 7, 5, 3, 6)]
LABELS = np.array([image[:, 0].mean() for image in IMAGES])
SCENES = np.array([0, 0, 1, 1, 2, 2])


def net(module=PatchTransformer, **parameters):
    if module is PatchTransformer:
        parameters = {"module__n_features": 3, "module__width": 8, **parameters}
    return BagNetRegressor(module, **{"max_epochs": 3, "batch_size": 4, "lr": 0.05, "verbose": 0, **parameters})


def weights_of(fitted):
    return torch.cat([parameter.detach().cpu().flatten() for parameter in fitted.module_.parameters()]).numpy()


def test_learns_what_there_is_to_learn():
    rng = np.random.default_rng(1)
    images = [rng.normal(size=(n, 3)) + rng.normal() for n in rng.integers(2, 9, 60)]
    labels = np.array([image[:, 1].mean() for image in images])
    model = net(PatchMean, module__network=nn.Linear(3, 1), max_epochs=60, batch_size=10, lr=0.1).fit(images, labels)
    assert_allclose(model.predict(images), labels, atol=0.02)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_one_seed_gives_the_same_bytes_and_leaves_the_generator_alone(dropout):
    state = torch.get_rng_state()
    first = net(module__dropout=dropout).fit(IMAGES, LABELS)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(99)
    second = net(module__dropout=dropout).fit(IMAGES, LABELS)
    assert_array_equal(weights_of(first), weights_of(second))
    assert_array_equal(weights_of(first.fit(IMAGES, LABELS)), weights_of(second))
    assert not np.array_equal(weights_of(net(random_state=1).fit(IMAGES, LABELS)), weights_of(second))
    torch.set_rng_state(state)


def test_without_a_seed_the_generator_of_pytorch_decides():
    with torch.random.fork_rng([]):
        torch.manual_seed(3)
        first = weights_of(net(random_state=None).fit(IMAGES, LABELS))
        torch.manual_seed(3)
        assert_array_equal(weights_of(net(random_state=None).fit(IMAGES, LABELS)), first)
        assert not np.array_equal(weights_of(net(random_state=None).fit(IMAGES, LABELS)), first)


def test_padding_and_company_do_not_change_predictions():
    fitted = net().fit(IMAGES, LABELS)
    alone = np.concatenate([fitted.predict([image]) for image in IMAGES])
    assert_allclose(fitted.predict(IMAGES), alone, atol=1e-6)


def test_is_the_regressor_of_skorch_with_our_data_set_and_batches():
    parameters = {"module__network": nn.Linear(3, 1), "max_epochs": 3, "batch_size": 4, "lr": 0.05, "verbose": 0}
    plain = NeuralNetRegressor(
        PatchMean,
        dataset=BagDataset,
        iterator_train__collate_fn=pad_collate,
        iterator_valid__collate_fn=pad_collate,
        train_split=None,
        **parameters,
    )
    ours = BagNetRegressor(PatchMean, iterator_train__shuffle=False, **parameters)
    expected = plain.fit(IMAGES, LABELS.astype(np.float32)).predict(IMAGES)
    assert_array_equal(ours.fit(IMAGES, LABELS).predict(IMAGES), expected)


def test_training_images_are_shuffled():
    in_order = net(iterator_train__shuffle=False, batch_size=2).fit(IMAGES, LABELS)
    assert not np.array_equal(weights_of(in_order), weights_of(net(batch_size=2).fit(IMAGES, LABELS)))


def test_early_stopping_on_scenes_apart():
    seen = []

    class Spy(ValidSplit):
        def __call__(self, dataset, y=None, groups=None):
            train, valid = super().__call__(dataset, y, groups)
            seen.append((set(SCENES[train.indices]), set(SCENES[valid.indices])))
            return train, valid

    model = net(
        max_epochs=50,
        lr=0.0,
        train_split=Spy(GroupKFold(3)),
        callbacks=[EarlyStopping(patience=2, sink=lambda _: None)],
    )
    model.fit(IMAGES, LABELS, groups=SCENES)
    ((train, valid),) = seen
    assert not train & valid
    assert len(model.history) < 10
    assert "valid_loss" in model.history[-1]


def test_validation_on_images_of_your_own():
    model = net(train_split=predefined_split(BagDataset(IMAGES[4:], LABELS[4:]))).fit(IMAGES[:4], LABELS[:4])
    assert np.isfinite(model.history[:, "valid_loss"]).all()


def test_checkpoints_go_on_where_training_stopped(tmp_path):
    whole = net(max_epochs=4, iterator_train__shuffle=False, optimizer=torch.optim.Adam, lr=0.01).fit(IMAGES, LABELS)
    end = TrainEndCheckpoint(dirname=str(tmp_path))
    clone(whole).set_params(max_epochs=2, callbacks=[end]).fit(IMAGES, LABELS)
    load = LoadInitState(end)
    second = clone(whole).set_params(max_epochs=2, callbacks=[end, load], random_state=5).fit(IMAGES, LABELS)
    assert_array_equal(weights_of(second), weights_of(whole))


def test_the_best_checkpoint_can_be_loaded(tmp_path):
    best = Checkpoint(dirname=str(tmp_path), monitor="train_loss_best", load_best=True, sink=lambda _: None)
    model = net(callbacks=[best]).fit(IMAGES, LABELS)
    loaded = net().initialize()
    loaded.load_params(checkpoint=best)
    assert_array_equal(loaded.predict(IMAGES), model.predict(IMAGES))


def test_opinion_scores_are_standardized_around_it():
    opinions = 50 + 20 * LABELS
    model = TransformedTargetRegressor(net(max_epochs=10), transformer=StandardScaler())
    predicted = cross_val_predict(model, IMAGES, opinions, groups=SCENES, cv=GroupKFold(3))
    assert predicted.shape == (6,)
    assert np.abs(predicted - opinions.mean()).max() < 100


def test_search_clone_and_pickle():
    search = GridSearchCV(net(), {"lr": [0.01, 0.1], "module__width": [4, 8]}, cv=GroupKFold(3), error_score="raise")
    search.fit(PatchBags.from_list(IMAGES), LABELS, groups=SCENES)
    best = search.best_estimator_
    assert_array_equal(pickle.loads(pickle.dumps(best)).predict(IMAGES), best.predict(IMAGES))
    assert clone(best).get_params()["lr"] == best.lr


def test_a_data_set_of_kept_patches_trains_too():
    kept = [np.arange(0, len(image), 2) for image in IMAGES]
    view = SelectedPatches(BagDataset(IMAGES, LABELS), kept)
    expected = net().fit([image[of] for image, of in zip(IMAGES, kept, strict=True)], LABELS)
    assert_array_equal(weights_of(net().fit(view)), weights_of(expected))


class Wide(nn.Module):
    def __init__(self):
        super().__init__()
        self.score = nn.Linear(3, 2)

    def forward(self, patches, mask):
        return self.score(patches).mean(dim=1)


class Broken(Wide):
    def forward(self, patches, mask):
        return super().forward(patches, mask)[:, 0] * torch.nan


@pytest.mark.parametrize(
    ("model", "y", "message"),
    [
        (net(Wide), LABELS, r"Got shape \(4, 2\) for 4 images; one number each is needed, \(4,\) or \(4, 1\)"),
        (net(Broken), LABELS, "The loss is nan; lower lr"),
        (net(), LABELS[:4], "y has 4 labels, but there are 6 images"),
        (net(), LABELS[:, None], r"y has shape \(6, 1\).*Pass y.ravel"),
        (net(), None, "requires y to be passed"),
    ],
)
def test_refuses(model, y, message):
    with pytest.raises(ValueError, match=message):
        model.fit(IMAGES, y)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_that_is_not_there():
    with pytest.raises(ValueError, match="was asked for, but PyTorch finds 0 CUDA devices"):
        net(device="cuda").fit(IMAGES, LABELS)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_trains_on_a_gpu():
    on_cpu, on_gpu = net().fit(IMAGES, LABELS), net(device="cuda").fit(IMAGES, LABELS)
    assert_allclose(on_gpu.predict(IMAGES), on_cpu.predict(IMAGES), atol=1e-3)
    assert_array_equal(weights_of(net(device="cuda").fit(IMAGES, LABELS)), weights_of(on_gpu))


def test_the_device_may_be_left_to_the_module():
    assert_array_equal(weights_of(net(device=None).fit(IMAGES, LABELS)), weights_of(net().fit(IMAGES, LABELS)))


def test_refuses_scores_that_are_not_finite():
    fitted = net().fit(IMAGES, LABELS)
    with torch.no_grad():
        fitted.module_.query.fill_(torch.nan)
    with pytest.raises(ValueError, match="score of image 0 is not finite"):
        fitted.predict(IMAGES)


def test_a_column_of_scores_will_do():
    class Column(PatchMean):
        def forward(self, patches, mask):
            return super().forward(patches, mask)[:, None]

    assert net(Column, module__network=nn.Linear(3, 1)).fit(IMAGES, LABELS).predict(IMAGES).shape == (6,)
