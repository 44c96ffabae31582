"""Training of maps: what a step does, how a run goes on where it was stopped, and that something is learned."""

import json
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from numpy.testing import assert_allclose  # noqa: E402
from torch.utils.data import Dataset  # noqa: E402

from patchdistill.relational import map_training  # noqa: E402
from patchdistill.relational.engine import DistortionEngine  # noqa: E402
from patchdistill.relational.map_losses import (  # noqa: E402
    cocycle_loss,
    leakage_loss,
    map_loss,
    swap_loss,
    variation_loss,
)
from patchdistill.relational.map_training import MapRecipe, MapTraining, train_map, turned  # noqa: E402
from patchdistill.relational.network import RelationalMapNet  # noqa: E402
from patchdistill.relational.pairs import HeldPairs, RelationalPairs  # noqa: E402

DEFAULTS = {
    "max_epochs": 3,
    "batch_size": 4,
    "lr": 1e-3,
    "weight_decay": 0.01,
    "ema": 0.9,
    "leakage": 0.05,
    "cocycle": 0.1,
    "variation": 0.01,
    "autocast": None,
}
SMALL = {"max_epochs": 3, "batch_size": 4}


def recipe(**parameters):
    return MapRecipe(**{**DEFAULTS, **parameters})


def network(seed=0, **parameters):
    torch.manual_seed(seed)
    return RelationalMapNet(**{"width": 8, "n_filters": 3, "depth": 1, **parameters})


def pairs(n=10, **parameters):
    return RelationalPairs(crop=32, n=n, **parameters)


HELD = HeldPairs(pairs())


def weights_of(module):
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


def batch_of(data, rows=None):
    rows = range(len(data)) if rows is None else rows
    return {name: torch.stack([data[i][name] for i in rows]) for name in data[0]}


# The recipe


def test_the_learning_rate_rises_and_falls_along_a_cosine():
    rates = [recipe(lr=2.0).lr_at(step, 100) for step in range(100)]
    assert_allclose(rates[:4], [2 / 3, 4 / 3, 2, 2])
    assert_allclose(rates[3:], [1 + math.cos(math.pi * k / 97) for k in range(97)])
    assert 0 < rates[-1] < 1e-2
    assert recipe(lr=2.0).lr_at(0, 1) == 2


def test_the_running_mean_forgets_the_beginning():
    assert_allclose([recipe(ema=0.6).ema_at(step) for step in (0, 8, 10, 99)], [0.1, 0.5, 0.55, 0.6])
    assert recipe(ema=0.0).ema_at(50) == 0


# Symmetries


@given(st.integers(0, 7), st.integers(0, 7))
def test_turns_are_the_symmetries_of_the_square(first, second):
    x = torch.arange(12.0).view(1, 3, 2, 2)
    assert len({tuple(turned(x, turn).flatten().tolist()) for turn in range(8)}) == 8
    composed = turned(turned(x, first), second)
    assert any(torch.equal(composed, turned(x, turn)) for turn in range(8))
    assert torch.equal(turned(x, 0), x)


@given(st.integers(0, 7))
def test_cells_turn_with_their_pixels(turn):
    x = torch.rand(2, 3, 32, 32)
    cells = torch.nn.functional.avg_pool2d(x, 8)
    assert_allclose(turned(cells, turn), torch.nn.functional.avg_pool2d(turned(x, turn), 8), atol=1e-6)


# One step


def test_a_step_is_that_of_adamw_on_the_weighted_losses():
    made, expected = network(), network()
    training = MapTraining(made, recipe(lr=1e-2, weight_decay=0.1), 0)
    items = batch_of(HELD, range(4))
    losses = training._step(items, 5, 0, 1e-2)

    x = {name: turned(tensor, 5) for name, tensor in items.items()}
    maps = [expected(x[first], x[second]) for first, second in (("a", "b"), ("b", "ref"), ("a", "ref"))]
    found, target = torch.cat(maps), torch.cat([x["target"], x["target_ref"], x["target"] + x["target_ref"]])
    valid = torch.cat([x["valid"]] * 3)
    parts = {
        "map": map_loss(found, target, valid),
        "leakage": leakage_loss(found, target, valid),
        "cocycle": cocycle_loss(*maps),
        "variation": variation_loss(found),
    }
    loss = parts["map"] + 0.05 * parts["leakage"] + 0.1 * parts["cocycle"] + 0.01 * parts["variation"]
    assert set(losses) == {"loss", *parts}
    assert losses["loss"] == pytest.approx(loss.item(), rel=1e-5)
    for name, part in parts.items():
        assert losses[name] == pytest.approx(part.item(), rel=1e-4)
    before = weights_of(expected)
    optimizer = torch.optim.AdamW(expected.parameters(), lr=1e-2, weight_decay=0.1)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(expected.parameters(), 1.0)
    optimizer.step()
    moved = (weights_of(made) - weights_of(expected)).abs()
    # Where a gradient is next to nothing, its sign, which is all that counts in a first step, is rounding.
    assert (weights_of(made) - before).abs().max() > 5e-3 and (moved < 1e-4).float().mean() > 0.99
    mean = torch.cat([training.mean[name].flatten() for name, _ in made.named_parameters()])
    assert_allclose(mean, 0.1 * before + 0.9 * weights_of(made), atol=1e-6)


def test_gradients_are_clipped(monkeypatch):
    clipped = []
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda parameters, norm: clipped.append(norm))
    MapTraining(network(), recipe(), 0)._step(batch_of(HELD), 0, 0, 1e-3)
    assert clipped == [1.0]


@pytest.mark.parametrize("without", ["leakage", "cocycle", "variation"])
def test_a_loss_of_weight_zero_is_not_computed(without, monkeypatch):
    monkeypatch.setattr(map_training, f"{without}_loss", None)
    losses = MapTraining(network(), recipe(**{without: 0.0}), 0)._step(batch_of(HELD), 0, 0, 1e-3)
    assert without not in losses and len(losses) == 4


def test_only_the_soft_head_is_asked_for_the_symmetry():
    made, items = network(head="soft"), batch_of(HELD)
    expected = swap_loss(made(items["a"], items["b"]), made(items["b"], items["a"])).item()
    losses = MapTraining(made, recipe(), 0)._step(items, 0, 0, 1e-3)
    assert losses["swap"] == pytest.approx(expected, rel=1e-5)
    rest = losses["map"] + 0.05 * losses["leakage"] + 0.1 * losses["cocycle"] + 0.01 * losses["variation"]
    assert losses["loss"] == pytest.approx(rest + expected, rel=1e-5)


def test_potentials_have_no_cocycle_loss():
    history = train_map(network(head="potential"), HELD, max_epochs=1)
    assert history[0]["cocycle"] < 1e-12


# Whole runs


def test_epochs_are_means_over_their_items(monkeypatch):
    """With a learning rate of next to nothing, an epoch of several batches gives the mean losses of all its items."""
    monkeypatch.setattr(map_training, "turned", lambda x, turn: x)
    made, items = network(), batch_of(HELD)
    (row,) = train_map(made, HELD, max_epochs=1, batch_size=4, lr=1e-12)
    maps = [made(items[first], items[second]) for first, second in (("a", "b"), ("b", "ref"), ("a", "ref"))]
    assert set(row) == {"lr", "loss", "map", "leakage", "cocycle", "variation"}
    assert row["cocycle"] == pytest.approx(cocycle_loss(*maps).item(), rel=1e-4)
    assert row["variation"] == pytest.approx(variation_loss(torch.cat(maps)).item(), rel=1e-4)


@pytest.mark.parametrize("make", [lambda: pairs(), lambda: HELD])
def test_the_same_run_has_the_same_weights_and_another_seed_others(make):
    runs = []
    for seed in (0, 0, 1):
        made = network()
        history = train_map(made, make(), **SMALL, random_state=seed)
        runs.append((weights_of(made), history))
    assert torch.equal(runs[0][0], runs[1][0]) and runs[0][1] == runs[1][1]
    assert not torch.equal(runs[0][0], runs[2][0])
    assert len(runs[0][1]) == 3 and runs[0][1][-1]["lr"] == DEFAULTS["lr"] * (1 + math.cos(math.pi * 7 / 8)) / 2


def test_the_network_ends_with_the_running_mean_which_training_does_not_feel():
    weights, histories = [], []
    for ema in (0.0, 0.9):
        made = network()
        training = MapTraining(made, recipe(ema=ema), 0)
        training.run(HELD)
        assert all(torch.equal(tensor, training.mean[name]) for name, tensor in made.state_dict().items())
        weights.append(weights_of(made))
        histories.append(training.history)
    assert histories[0] == histories[1] and not torch.equal(*weights)


def test_workers_change_nothing():
    first, second = network(), network()
    train_map(first, pairs(), max_epochs=2)
    train_map(second, pairs(), max_epochs=2, num_workers=2)
    assert torch.equal(weights_of(first), weights_of(second))


class Stopping(Dataset):
    """Pairs that the user interrupts at the given epoch and item."""

    def __init__(self, pairs, epoch, item):
        self.pairs, self.stop, self.settings = pairs, (epoch, item), pairs.settings

    def set_epoch(self, epoch):
        self.pairs.set_epoch(epoch)

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, i):
        if (self.pairs.epoch, i) == self.stop:
            raise KeyboardInterrupt
        return self.pairs[i]


@pytest.mark.parametrize(("stop", "head"), [((0, 5), "pair"), ((1, 0), "soft"), ((2, 9), "pair")])
def test_a_run_that_was_interrupted_ends_as_one_that_was_not(stop, head, tmp_path):
    pytest.importorskip("safetensors")
    through, stopped = network(head=head), network(head=head)
    expected = train_map(through, pairs(), **SMALL, checkpoint=tmp_path / "through")
    with pytest.raises(KeyboardInterrupt):
        train_map(stopped, Stopping(pairs(), *stop), **SMALL, checkpoint=tmp_path / "stopped")
    kept = tmp_path / "stopped" / "map.json"
    assert (json.loads(kept.read_text())["epoch"] if kept.exists() else 0) == stop[0]
    goes_on = network(seed=7, head=head)  # whatever it began with
    if stop[0] == 0:
        goes_on = network(head=head)
    assert train_map(goes_on, pairs(), **SMALL, checkpoint=tmp_path / "stopped") == expected
    assert torch.equal(weights_of(goes_on), weights_of(through))
    # What is finished is only read.
    again = network(seed=8, head=head)
    assert train_map(again, Stopping(pairs(), 0, 0), **SMALL, checkpoint=tmp_path / "stopped") == expected
    assert torch.equal(weights_of(again), weights_of(through))


def test_held_pairs_go_on_too(tmp_path, monkeypatch):
    pytest.importorskip("safetensors")
    through = network()
    train_map(through, HELD, **SMALL)
    run = MapTraining._run_epoch
    epochs = []

    def stop(self, *args):
        if len(self.history) == 2 and not epochs:
            epochs.append(2)
            raise KeyboardInterrupt
        return run(self, *args)

    monkeypatch.setattr(MapTraining, "_run_epoch", stop)
    with pytest.raises(KeyboardInterrupt):
        train_map(network(), HELD, **SMALL, checkpoint=tmp_path)
    goes_on = network(seed=3)
    train_map(goes_on, HELD, **SMALL, checkpoint=tmp_path)
    assert torch.equal(weights_of(goes_on), weights_of(through))


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"lr": 1e-2}, "lr 0.001, now 0.01"),
        ({"random_state": 1}, "random_state 0, now 1"),
        ({"autocast": "bfloat16"}, "autocast"),
    ],
)
def test_another_run_is_refused(parameters, named, tmp_path):
    pytest.importorskip("safetensors")
    train_map(network(), HELD, max_epochs=1, checkpoint=tmp_path)
    with pytest.raises(ValueError, match=f"begun with other settings or data: .*{named}"):
        train_map(network(), HELD, max_epochs=1, checkpoint=tmp_path, **parameters)
    for made, data, what in ((network(width=16), HELD, "network"), (network(), pairs(), "pairs")):
        with pytest.raises(ValueError, match=f"other settings or data: {what}"):
            train_map(made, data, max_epochs=1, checkpoint=tmp_path)


def test_fresh_pairs_are_new_in_each_epoch_and_in_order():
    seen = []

    class Watched(RelationalPairs):
        def __getitem__(self, i):
            seen.append((self.epoch, i))
            return super().__getitem__(i)

    train_map(network(), Watched(crop=32, n=5), max_epochs=2, batch_size=2)
    assert seen == [(epoch, i) for epoch in range(2) for i in range(5)]


def test_held_pairs_are_shuffled_and_turned(monkeypatch):
    seen, turns = [], []

    class Watched(HeldPairs):
        def __getitem__(self, i):
            seen.append(i)
            return super().__getitem__(i)

    turn = map_training.turned
    monkeypatch.setattr(map_training, "turned", lambda x, k: turns.append(k) or turn(x, k))
    train_map(network(), Watched(pairs()), max_epochs=6, batch_size=2)
    epochs = np.reshape(seen, (6, 10))
    assert (np.sort(epochs) == np.arange(10)).all() and len({tuple(epoch) for epoch in epochs}) == 6
    assert len(set(turns)) == 8


def test_half_the_precision_is_close(monkeypatch):
    whole, half = network(), network()
    types = []
    difference = half.difference
    half.difference = lambda a, b: types.append((a.features.dtype, a.responses[0].dtype)) or difference(a, b)
    first = train_map(whole, HELD, max_epochs=1)
    second = train_map(half, HELD, max_epochs=1, autocast="bfloat16")
    assert set(types) == {(torch.bfloat16, torch.float32)}
    assert second[0]["loss"] == pytest.approx(first[0]["loss"], rel=0.05)
    assert all(parameter.dtype == torch.float32 for parameter in half.parameters())


def test_something_is_learned():
    data = HeldPairs(pairs(32, engine=DistortionEngine(["exposure"], masks="full")))
    made = network(channels=["exposure"])
    items = batch_of(data)

    def error():
        with torch.no_grad():
            return (made(items["a"], items["b"]) - items["target"]).square().mean().item()

    history = train_map(made, data, max_epochs=16, batch_size=8, lr=1e-2, ema=0.8)
    assert history[-1]["map"] < 0.2 * history[0]["map"]
    assert error() < 0.1 * items["target"].square().mean().item()


def test_progress_is_told_if_asked_for(capsys):
    train_map(network(), HELD, max_epochs=2)
    assert capsys.readouterr().err == ""
    train_map(network(), HELD, max_epochs=2, batch_size=4, verbose=1)
    assert "Training the map: 6 steps, loss 0." in capsys.readouterr().err


def test_what_is_not_finite_stops_the_run():
    made = network()
    made.psi.bias.data.fill_(float("nan"))
    with pytest.raises(ValueError, match=r"The loss of step 1 is nan; lower lr \(0.001\)"):
        train_map(made, HELD)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"max_epochs": 0}, "'max_epochs' parameter of train_map"),
        ({"batch_size": 0.5}, "'batch_size'"),
        ({"lr": 0}, "'lr'"),
        ({"weight_decay": -1}, "'weight_decay'"),
        ({"ema": 1}, "'ema'"),
        ({"leakage": -1}, "'leakage'"),
        ({"cocycle": "x"}, "'cocycle'"),
        ({"variation": None}, "'variation'"),
        ({"autocast": "float16"}, "'autocast'"),
        ({"num_workers": -1}, "'num_workers'"),
        ({"random_state": None}, "'random_state'"),
        ({"device": "gpu"}, "device='gpu' is unknown"),
    ],
)
def test_wrong_parameters_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        train_map(network(), HELD, **parameters)


def test_other_channels_are_refused():
    with pytest.raises(ValueError, match=r"The pairs have the channels \['exposure', .*but the network \['hue'\]"):
        train_map(network(channels=["hue"]), HELD)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_an_error():
    with pytest.raises(ValueError, match="PyTorch finds 0 CUDA devices"):
        train_map(network(), HELD, device="cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_learns_the_same(tmp_path):
    pytest.importorskip("safetensors")
    on_cpu, on_gpu = network(), network()
    first = train_map(on_cpu, HELD, **SMALL)
    second = train_map(on_gpu, HELD, **SMALL, device="cuda", checkpoint=tmp_path)
    assert all(parameter.is_cuda for parameter in on_gpu.parameters())
    assert second[-1]["loss"] == pytest.approx(first[-1]["loss"], rel=0.02)
    again = network()
    assert train_map(again, HELD, **SMALL, device="cuda", checkpoint=tmp_path) == second
    train_map(network(), HELD, max_epochs=1, device="cuda", autocast="bfloat16")
