import pickle

import numpy as np
import pytest

torch = pytest.importorskip("torch")
Image = pytest.importorskip("PIL.Image")

from numpy.testing import assert_allclose, assert_array_equal  # noqa: E402
from scipy.ndimage import gaussian_filter  # noqa: E402
from sklearn.base import clone  # noqa: E402
from sklearn.model_selection import GroupKFold, cross_val_predict  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.utils._param_validation import InvalidParameterError  # noqa: E402
from torch import nn  # noqa: E402

from patchdistill import (  # noqa: E402
    PatchBags,
    ResidualPatchSelector,
    checkpoints,  # noqa: E402
)
from patchdistill.embedding import PatchStatistics, embed_patches  # noqa: E402
from patchdistill.evaluation import srcc  # noqa: E402
from patchdistill.qfm import QFMRegressor, distillation, match_pairs, regressor  # noqa: E402
from patchdistill.qfm.networks import TinyViT  # noqa: E402
from patchdistill.qfm.training import Training  # noqa: E402
from patchdistill.sampling import RandomCropSampler  # noqa: E402


def toy(n, seed, size=16):
    """Blurred noise of any color, with sharp noise on it whose strength is the label."""
    rng = np.random.default_rng(seed)
    labels = rng.uniform(0, 1, n)
    pictures = []
    for label in labels:
        shown = gaussian_filter(rng.random((size, size, 3)), (3, 3, 0))
        shown = 0.2 + 0.6 * (shown - shown.min()) / np.ptp(shown)
        pictures.append(np.clip(shown + 0.2 * (1 - label) * rng.normal(size=shown.shape), 0, 1).astype(np.float32))
    return pictures, labels


X, Y = toy(20, seed=0)
OTHERS = toy(10, seed=1)[0]
PLAIN = {"consistency": 0.0, "contrast": 0.0, "sparsity": 0.0, "gate": None}
# Every loss, both stages.
FULL = {"pairing": "both", "tau": 0.5, "max_epochs": 3, "lr": 1e-2}


def tiny(dropout=0.0):
    torch.manual_seed(0)
    return nn.Sequential(TinyViT(size=16, patch=8, width=8, depth=1), nn.Dropout(dropout))


def model(encoder=None, **parameters):
    encoder = tiny() if encoder is None else encoder
    defaults = {"size": 16, "max_epochs": 2, "lr": 1e-2, "batch_size": 14, "descriptor": "thumbnail", "tau": 0.5}
    return QFMRegressor(encoder, **{**defaults, **parameters})


@pytest.fixture(scope="module")
def fitted():
    return model(**FULL).fit(X, Y, X_unlabeled=OTHERS)


class Details(nn.Module):
    """Maps of what differs from its surroundings."""

    def __init__(self):
        super().__init__()
        self.filters = nn.Conv2d(3, 8, 3, stride=2)

    def forward(self, x):
        return (self.filters(x) - self.filters(nn.functional.avg_pool2d(x, 3, 1, 1))).abs()


def test_learns_the_quality_of_images_it_has_not_seen():
    torch.manual_seed(0)
    learned = model(Details(), pooling="mean", max_epochs=15, batch_size=20).fit(*toy(60, seed=2))
    assert learned.score(*toy(60, seed=3)) > 0.9


def test_what_is_learned_has_its_shapes(fitted):
    assert [epoch["stage"] for epoch in fitted.history_] == ["teacher"] * 3 + ["student"] * 3
    assert fitted.n_epochs_ == 6
    losses = {"stage", "lr", "loss", "regression", "consistency", "contrast", "sparsity"}
    assert set(fitted.history_[0]) == losses and set(fitted.history_[-1]) == losses | {"distillation"}
    with torch.no_grad():
        gates = fitted.network_(torch.from_numpy(np.stack(X)).permute(0, 3, 1, 2)).gate
    assert_allclose(fitted.gate_, gates.mean(dim=0), rtol=1e-5)
    assert fitted.gate_.shape == (8,) and ((fitted.gate_ > 0) & (fitted.gate_ < 1)).all()
    assert_array_equal(fitted.selected_channels_, fitted.gate_ > 0.5)
    assert fitted.unmatched_rate_ == 0.0
    assert_allclose([fitted.y_mean_, fitted.y_std_], [Y.mean(), Y.std()])
    assert fitted.predict(X).shape == (20,) and fitted.transform(X).shape == (20, 8)
    assert fitted.score(X, Y) == srcc(Y, fitted.predict(X))
    assert fitted.teacher_ is not fitted.network_
    assert model().fit(X, Y).teacher_ is None


def test_works_with_no_argument():
    assert QFMRegressor(max_epochs=1).fit(X, Y).predict(X).shape == (20,)


def test_one_seed_gives_the_same_bytes_and_leaves_the_generator_alone():
    encoder, state = tiny(dropout=0.5), torch.get_rng_state()
    first, second, other = (
        model(encoder, random_state=seed, **FULL).fit(X, Y, X_unlabeled=OTHERS).predict(X) for seed in (0, 0, 1)
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert first.tobytes() == second.tobytes() != other.tobytes()


def test_the_encoder_of_the_caller_is_not_trained():
    encoder = tiny()
    before = {name: weight.clone() for name, weight in encoder.state_dict().items()}
    trained = model(encoder).fit(X, Y)
    assert all(torch.equal(weight, before[name]) for name, weight in encoder.state_dict().items())
    assert encoder.training and not trained.network_.training
    assert not torch.equal(trained.network_.encoder[0].summary, encoder[0].summary)


def test_clone_pickle_and_parameters(fitted):
    again = pickle.loads(pickle.dumps(fitted))
    assert_array_equal(again.predict(X), fitted.predict(X))
    copied = clone(fitted).set_params(lr=0.5)
    assert copied.get_params()["lr"] == 0.5 and fitted.lr == 1e-2
    assert not hasattr(copied, "network_")


def test_a_second_fit_forgets_the_first():
    refitted = model().fit(X[:12], Y[:12], X_unlabeled=OTHERS).set_params(**PLAIN).fit(X, Y)
    assert refitted.teacher_ is None and refitted.unmatched_rate_ is None and refitted.n_epochs_ == 2
    assert_array_equal(refitted.predict(X), model(**PLAIN).fit(X, Y).predict(X))


def test_the_plain_baseline_needs_no_partners(monkeypatch):
    for module, name in (
        (distillation, "StatisticsBank"),
        (regressor, "match_images"),
        (regressor, "describe_semantics"),
    ):
        monkeypatch.setattr(module, name, None)
    plain = model(**PLAIN).fit(X, Y)
    assert plain.unmatched_rate_ is None
    assert_array_equal(plain.gate_, np.ones(8))
    assert set(plain.history_[0]) == {"stage", "lr", "loss", "regression"}
    changed = {"k": 1, "temperature": 9.0, "perturbation": "shift", "max_strength": 5.0, "pairing": "both", "tau": 3.0}
    assert_array_equal(model(**PLAIN, **changed).fit(X, Y).predict(X), plain.predict(X))


def test_labels_are_standardized():
    scaled = model(**PLAIN).fit(X, 100 + 50 * Y)
    assert_allclose(scaled.predict(X), 100 + 50 * model(**PLAIN).fit(X, Y).predict(X), rtol=1e-4)


def pools():
    rng = np.random.default_rng(5)
    return [rng.integers(0, 256, (n, 16, 16, 3), dtype=np.uint8) for n in [1, 2, 3] * 4]


def test_the_score_of_an_image_is_the_mean_over_its_patches_by_their_weights():
    rng = np.random.default_rng(6)
    weights = [rng.random(len(pool)) for pool in pools()]
    bags = PatchBags.from_list(pools(), fields={"weights": weights})
    trained = model().fit(bags, Y[:12])
    for found in (trained.predict, trained.transform):
        single = [found(pool[:, None]) for pool in pools()]
        expected = [np.average(each, axis=0, weights=w) for each, w in zip(single, weights, strict=True)]
        assert_allclose(found(bags), expected, rtol=1e-4, atol=1e-6)
    assert not np.allclose(trained.predict(bags), trained.predict(pools()))
    assert not np.allclose(trained.predict(bags), model().fit(pools(), Y[:12]).predict(bags))


def test_a_patch_without_weight_has_no_influence_in_training():
    pixels, weights = pools(), [np.eye(1, len(pool))[0] for pool in pools()]
    other = [np.concatenate([pool[:1], 255 - pool[1:]]) for pool in pixels]
    parameters = {**PLAIN, "batch_size": 64}
    first, second = (
        model(**parameters).fit(PatchBags.from_list(each, fields={"weights": weights}), Y[:12]).predict(pixels)
        for each in (pixels, other)
    )
    assert_allclose(first, second, atol=1e-5)


def test_all_forms_of_images_give_the_same(tmp_path):
    pictures = [np.round(255 * picture).astype(np.uint8) for picture in X]
    paths = [tmp_path / f"{i:02}.png" for i in range(len(X))]
    for path, picture in zip(paths, pictures, strict=True):
        Image.fromarray(picture).save(path)
    forms = {
        "array": np.stack(pictures),
        "paths": paths,
        "texts": [str(path) for path in paths],
        "pools": [picture[None] for picture in pictures],
        "stack": np.stack(pictures)[:, None],
        "bags": PatchBags(np.stack(pictures), np.arange(21)),
        "field": PatchBags(np.zeros((20, 3)), np.arange(21), fields={"pixels": np.stack(pictures)}),
    }
    parameters = {**PLAIN, "max_epochs": 1}
    expected = model(**parameters).fit(pictures, Y).predict(pictures)
    for name, form in forms.items():
        assert_array_equal(model(**parameters).fit(form, Y).predict(form), expected, err_msg=name)


def test_pictures_of_differing_sizes_are_resized():
    pictures = [*X[:19], np.zeros((31, 20, 3))]
    assert np.isfinite(model().fit(pictures, Y).predict(pictures)).all()
    with pytest.raises(ValueError, match="Image 19 has patches of 31 x 20 pixels"):
        model(size=None).fit(pictures, Y)


@pytest.mark.parametrize("embedded", [True, False])
def test_learns_from_the_patches_that_a_selector_keeps(embedded, tmp_path):
    pictures = [np.round(255 * picture).astype(np.uint8) for picture in toy(12, seed=4, size=40)[0]]
    paths = [tmp_path / f"{i:02}.png" for i in range(12)]
    for path, picture in zip(paths, pictures, strict=True):
        Image.fromarray(picture).save(path)

    def statistics(patches):
        return PatchStatistics().transform([patches])[0]

    steps = [RandomCropSampler(n_patches=10, patch_size=16)]
    steps += [PatchStatistics(), ResidualPatchSelector(rate=0.3)] if embedded else []
    steps += [] if embedded else [ResidualPatchSelector(rate=0.3, embedding=statistics)]
    pipeline = make_pipeline(*steps, model(size=None, max_epochs=1))
    scores = pipeline.fit(paths, Y[:12]).predict(paths)
    kept = pipeline[:-1].transform(paths)
    assert_array_equal(kept.n_patches, np.full(12, 3))
    pixels = kept.fields["pixels"] if embedded else kept.values
    assert getattr(pixels, "is_lazy", False)
    weights = {name: field for name, field in kept.fields.items() if name == "weights"}
    loaded = PatchBags(np.asarray(pixels), kept.offsets, fields=weights)
    assert_array_equal(model(size=None, max_epochs=1).fit(loaded, Y[:12]).predict(loaded), scores)


def test_cross_validation_by_scenes():
    pictures = np.stack(X)
    scores = cross_val_predict(model(max_epochs=1), pictures, Y, groups=np.arange(20) // 2, cv=GroupKFold(2))
    assert np.isfinite(scores).all()


def watch_matching(monkeypatch):
    """Find no partners, and keep what was asked."""
    asked = []
    monkeypatch.setattr(regressor, "match_images", lambda *args, **kwargs: asked.append(args) or (None, 1.0))
    return asked


def test_images_are_matched_by_what_was_chosen(monkeypatch):
    asked = watch_matching(monkeypatch)
    given = np.random.default_rng(0).normal(size=(20, 3))
    scenes = ["sea", "sky"] * 10
    model(encoder := tiny(), descriptor="auto").fit(X, Y, groups=scenes)
    model(encoder, descriptor="encoder").fit(X, Y)
    model(encoder, descriptor="thumbnail").fit(X, Y)
    model(encoder).fit(X, Y, semantics=given.tolist())
    QFMRegressor(size=16, max_epochs=1).fit(X, Y)
    by_auto, by_encoder, by_thumbnail, by_given, without = (args[1] for args in asked)
    tokens = embed_patches(np.stack(X), encoder, pooling="cls")
    assert_allclose(by_encoder, tokens / np.linalg.norm(tokens, axis=1, keepdims=True), rtol=1e-4, atol=1e-6)
    assert_array_equal(by_auto, by_encoder)
    assert by_thumbnail.shape == (20, 216)
    assert_array_equal(by_given, given)
    assert_array_equal(without, by_thumbnail)
    assert_array_equal(asked[0][0], Y)
    assert_array_equal(asked[0][2], [0, 1] * 10)


def test_partners_of_training_images_alone_are_matched_when_some_are_held_out(monkeypatch):
    asked = watch_matching(monkeypatch)
    model(early_stopping=True).fit(X, Y, semantics=np.arange(20.0)[:, None])
    labels, semantics, groups, *_ = asked[0]
    assert len(labels) == 16
    assert_array_equal(labels, Y[semantics[:, 0].astype(int)])
    assert_array_equal(groups, semantics[:, 0])


def test_images_that_are_held_out_decide_when_to_stop():
    stopped = model(early_stopping=True, max_epochs=40, lr=0.05, n_iter_no_change=2).fit(X, Y)
    losses = [epoch["valid_loss"] for epoch in stopped.history_]
    assert stopped.n_epochs_ == int(np.argmin(losses)) + 3 < 40
    train, held_out = regressor.split_images(Y, np.arange(20), 0.2, 0)
    assert_allclose([stopped.y_mean_, stopped.y_std_], [Y[train].mean(), Y[train].std()])
    differences = np.abs(stopped.predict([X[i] for i in held_out]) - Y[held_out]) / Y[train].std()
    loss = np.where(differences < 1, differences**2 / 2, differences - 0.5).mean()
    assert_allclose(loss, min(losses), rtol=1e-5)


def test_without_partners_the_network_learns_from_labels_alone():
    with pytest.warns(UserWarning, match="No image has partners with tau=1e-09") as warned:
        lonely = model(tau=1e-9).fit(X, Y)
    assert warned[0].filename == __file__
    assert lonely.unmatched_rate_ == 1.0
    assert "consistency" not in lonely.history_[0]
    assert_array_equal(lonely.predict(X), model(consistency=0.0).fit(X, Y).predict(X))


def test_sensitivity_is_that_of_a_loop(fitted):
    shown = np.random.default_rng(7).normal(size=(20, 4))
    groups = np.arange(20) // 2
    network, changes = fitted.network_, []
    with torch.no_grad():
        tokens = network.encode(torch.from_numpy(np.stack(X)).permute(0, 3, 1, 2))
        scores = network.head(tokens).scores.numpy()
        mean, std = tokens[:, 1:].mean(dim=1), tokens[:, 1:].std(dim=1, correction=0)
        for i, partners in enumerate(match_pairs(Y, shown, groups, tau=0.5, k=3)):
            for j in partners[partners >= 0]:
                moved = (tokens[[i]] - mean[i]) * (std[j] / std[i]) + mean[j]
                changes.append(abs(network.head(moved).scores.item() - scores[i]))
    assert_allclose(fitted.semantic_sensitivity(X, Y, groups, shown), np.mean(changes) / scores.std(), rtol=1e-3)


def test_sensitivity_describes_images_as_fit_does(fitted):
    encoder = tiny()
    by_encoder = model(encoder, descriptor="auto", tau=0.5).fit(X, Y)
    tokens = embed_patches(np.stack(X), encoder, pooling="cls")
    assert by_encoder.semantic_sensitivity(X, Y) == by_encoder.semantic_sensitivity(X, Y, semantics=tokens)
    thumbnails = regressor.describe_semantics(fitted._reading().open(X), fitted._reading())
    assert fitted.semantic_sensitivity(X, Y) == fitted.semantic_sensitivity(X, Y, semantics=thumbnails)


def stop_after(monkeypatch, n_epochs):
    """Stop the training in the middle of the epoch after so many, counted over both stages."""
    run, begun = Training._run_epoch, []

    def stop(self, samples, epoch):
        if len(begun) == n_epochs:
            self._step = interrupt
        begun.append(epoch)
        return run(self, samples, epoch)

    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(Training, "_run_epoch", stop)
    return begun


@pytest.fixture(scope="module")
def uninterrupted():
    """The same runs without a stop."""
    return {
        early: model(tiny(dropout=0.2), early_stopping=early, **FULL).fit(X, Y, X_unlabeled=OTHERS)
        for early in (False, True)
    }


@pytest.mark.parametrize(("n_epochs", "early_stopping"), [(0, False), (2, False), (3, False), (4, False), (4, True)])
def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(n_epochs, early_stopping, tmp_path, uninterrupted):
    pytest.importorskip("safetensors")
    run = model(tiny(dropout=0.2), early_stopping=early_stopping, checkpoint=tmp_path, **FULL)
    with pytest.MonkeyPatch.context() as monkeypatch:
        stop_after(monkeypatch, n_epochs)
        with pytest.raises(KeyboardInterrupt):
            run.fit(X, Y, X_unlabeled=OTHERS)
    with pytest.MonkeyPatch.context() as monkeypatch:
        begun = stop_after(monkeypatch, None)
        resumed = clone(run).fit(X, Y, X_unlabeled=OTHERS)
    whole = uninterrupted[early_stopping]
    assert len(begun) == whole.n_epochs_ - n_epochs
    assert resumed.history_ == whole.history_
    for name in ("network_", "teacher_"):
        weights = getattr(whole, name).state_dict()
        for key, weight in getattr(resumed, name).state_dict().items():
            assert torch.equal(weight, weights[key]), key
    assert resumed.predict(X).tobytes() == whole.predict(X).tobytes()


def test_a_finished_run_is_read_back_and_a_student_can_be_added(tmp_path, monkeypatch):
    pytest.importorskip("safetensors")
    first = model(checkpoint=tmp_path).fit(X, Y)
    begun = stop_after(monkeypatch, None)
    again = model(checkpoint=str(tmp_path), verbose=1, device="cpu").fit(X, Y)
    assert not begun
    assert_array_equal(again.predict(X), first.predict(X))
    assert again.history_ == first.history_
    student = model(checkpoint=tmp_path).fit(X, Y, X_unlabeled=OTHERS)
    assert begun == [0, 1]
    assert_array_equal(student.predict(X), model().fit(X, Y, X_unlabeled=OTHERS).predict(X))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("lr 0.01, now 0.02", {"lr": 0.02}),
        ("random_state 0, now 1", {"random_state": 1}),
        ("labels '", {"y": Y[::-1]}),
        ("images '", {"X": X[1:] + X[:1]}),
        ("groups '", {"groups": np.arange(20) // 2}),
        ("semantics None, now '", {"semantics": np.eye(20)}),
        ("encoder '", {"encoder": TinyViT(size=16, patch=8, width=8, depth=1)}),
        ("keep 0.8, now 0.5", {"keep": 0.5}),
        ("unlabeled images '", {"X_unlabeled": OTHERS[1:]}),
    ],
)
def test_another_run_does_not_go_on_in_the_same_folder(name, change, folder_of_a_run):
    data = {"X": X, "y": Y, "X_unlabeled": OTHERS}
    data |= {key: change[key] for key in change if key in (*data, "groups", "semantics")}
    parameters = {key: change[key] for key in change if key not in data}
    with pytest.raises(ValueError, match=rf"begun with other settings or data: {name}"):
        model(**{"checkpoint": folder_of_a_run, "max_epochs": 1, **parameters}).fit(**data)


@pytest.fixture(scope="module")
def folder_of_a_run(tmp_path_factory):
    pytest.importorskip("safetensors")
    folder = tmp_path_factory.mktemp("run")
    model(checkpoint=folder, max_epochs=1).fit(X, Y, X_unlabeled=OTHERS)
    return folder


def test_without_a_checkpoint_nothing_is_described(monkeypatch):
    monkeypatch.setattr(regressor, "describe_run", None)
    monkeypatch.setattr(checkpoints, "import_optional", None)
    model(random_state=None).fit(X, Y)


def test_a_student_learns_from_images_without_labels(fitted):
    other = model(**FULL).fit(X, Y, X_unlabeled=toy(14, seed=9)[0])
    assert_array_equal(other.history_[2]["loss"], fitted.history_[2]["loss"])
    assert not np.allclose(other.predict(X), fitted.predict(X))
    few = clone(fitted).set_params(keep=0.2).fit(X, Y, X_unlabeled=OTHERS)
    assert not np.allclose(few.predict(X), fitted.predict(X))
    teacher = model(**FULL).fit(X, Y)
    for name, weight in teacher.network_.state_dict().items():
        assert torch.equal(weight, fitted.teacher_.state_dict()[name])


def test_mixed_precision_works_on_a_cpu(fitted):
    mixed = clone(fitted).set_params(autocast="bfloat16", max_epochs=1).fit(X, Y, X_unlabeled=OTHERS)
    assert np.isfinite(mixed.predict(X)).all()
    in_single = pickle.loads(pickle.dumps(mixed)).set_params(autocast=None).predict(X)
    assert not np.array_equal(mixed.predict(X), in_single)
    assert_allclose(mixed.predict(X), in_single, atol=0.1)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_an_error():
    with pytest.raises(ValueError, match="device='cuda' was asked for"):
        model(device="cuda").fit(X, Y)
    with pytest.raises(ValueError, match="device='cuda' was asked for"):
        model().fit(X, Y).set_params(device="cuda").predict(X)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_what_the_cpu_does():
    on_gpu = model(device="cuda", **FULL).fit(X, Y, X_unlabeled=OTHERS)
    assert {parameter.device.type for parameter in on_gpu.network_.parameters()} == {"cpu"}
    on_cpu = model(**FULL).fit(X, Y, X_unlabeled=OTHERS)
    assert_allclose(on_gpu.history_[0]["loss"], on_cpu.history_[0]["loss"], rtol=1e-3)
    assert np.isfinite(on_gpu.predict(X)).all()


class Broken(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return (x.mean(dim=(2, 3)) - 0.5 * self.weight).log()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": np.ones(20)}, "All labels are 1"),
        ({"y": np.where(np.arange(20) == 3, np.nan, Y)}, r"y contains nan \(image 3\)"),
        ({"y": Y[:19]}, "y has 19 labels, but there are 20 images"),
        ({"y": None}, "requires y to be passed"),
        ({"groups": np.ones(20)}, "All images are of one group"),
        ({"groups": np.arange(19)}, "inconsistent numbers of samples"),
        ({"X": X[:9], "y": Y[:9]}, "There are 9 images"),
        ({"X": np.ones((20, 7))}, "a table of features"),
        ({"semantics": np.ones((19, 2))}, "inconsistent numbers of samples"),
        ({"semantics": np.full((20, 2), np.nan)}, "Input semantics contains NaN"),
        ({"size": None, "X_unlabeled": [np.zeros((17, 16, 3))]}, "Image 0 has patches of 17 x 16 pixels"),
        ({"X_unlabeled": []}, "no pictures"),
        ({"size": 24}, "cannot be run on patches of 24 x 24 pixels"),
        ({"size": 0}, "size=0 is not valid"),
        ({"encoder": Broken()}, "tokens of the first patch are not finite"),
        ({"layer": "missing"}, "layer='missing' is no layer of Sequential"),
        ({"lr": 1e30}, "The loss of epoch . is nan|The loss of epoch . is inf"),
        ({"checkpoint": "somewhere", "random_state": None}, "pass an int"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_bad_input_gets_one_clear_error(change, message):
    data = {"X": X, "y": Y}
    data |= {key: change[key] for key in change if key in (*data, "groups", "semantics", "X_unlabeled")}
    parameters = {key: change[key] for key in change if key not in data}
    with pytest.raises(ValueError, match=message):
        model(**parameters).fit(**data)


def test_random_weights_are_no_descriptor():
    with pytest.raises(ValueError, match='descriptor="encoder" needs an encoder'):
        QFMRegressor(size=16, descriptor="encoder").fit(X, Y)


@pytest.mark.parametrize(
    "change",
    [
        {"tau": 0},
        {"tau": -1.0},
        {"k": 0},
        {"pairing": "none"},
        {"keep": 0.0},
        {"keep": 1.1},
        {"max_epochs": 0},
        {"batch_size": 0},
        {"lr": 0.0},
        {"consistency": -0.1},
        {"temperature": 0.0},
        {"gate": "open"},
        {"n_queries": -1},
        {"validation_fraction": 1.0},
        {"autocast": "float16"},
        {"encoder": len},
        {"random_state": "seed"},
    ],
    ids=lambda change: "-".join(map(str, *change.items())),
)
def test_parameters_that_are_not_legal_are_refused(change):
    with pytest.raises(InvalidParameterError, match=f"The '{next(iter(change))}' parameter of QFMRegressor must be"):
        model(**change).fit(X, Y)


def test_a_score_that_is_not_finite_is_an_error(fitted):
    broken = pickle.loads(pickle.dumps(fitted))
    nn.init.constant_(broken.network_.decoder.score.bias, torch.nan)
    with pytest.raises(ValueError, match="The score of image 0 is not finite"):
        broken.predict(X)


def test_a_fit_that_fails_leaves_the_model_as_it_was():
    trained = model().fit(X, Y)
    before, unfitted = trained.predict(X), model(lr=1e30)
    for each in (trained.set_params(lr=1e30), unfitted):
        with pytest.raises(ValueError, match="The loss of epoch"):
            each.fit(OTHERS, 100 + np.arange(10.0), X_unlabeled=X)
    assert_array_equal(trained.predict(X), before)
    with pytest.raises(ValueError, match="not fitted yet"):
        unfitted.predict(X)


def test_nothing_is_predicted_before_a_fit():
    for method in ("predict", "transform"):
        with pytest.raises(ValueError, match="not fitted yet"):
            getattr(model(), method)(X)
    with pytest.raises(ValueError, match="not fitted yet"):
        model().semantic_sensitivity(X, Y)
