import math
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from numpy.testing import assert_allclose, assert_array_equal  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn.functional import cosine_similarity, smooth_l1_loss  # noqa: E402

from patchdistill.qfm import QFMRegressor  # noqa: E402
from patchdistill.qfm.bank import StatisticsBank  # noqa: E402
from patchdistill.qfm.inputs import Reading  # noqa: E402
from patchdistill.qfm.networks import QFMNetwork, TinyViT  # noqa: E402
from patchdistill.qfm.perturbation import channel_statistics, perturb  # noqa: E402
from patchdistill.qfm.training import Recipe, Samples, Training  # noqa: E402

RNG = np.random.default_rng(0)
PICTURES = RNG.random((12, 16, 16, 3)).astype(np.float32)
LABELS = RNG.normal(size=12)
PARTNERS = np.array([np.roll(np.arange(12), -shift) for shift in (1, 5, 7)]).T
READING = Reading(size=None, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), batch_size=5, device=None, autocast=None)
PLAIN = {"consistency": 0.0, "contrast": 0.0, "sparsity": 0.0, "distillation": 0.0}


def recipe(**parameters):
    defaults = {"temperature": 0.1, "perturbation": "style", "max_strength": 1.0, "max_epochs": 3, "batch_size": 5}
    defaults |= {"lr": 1e-2, "weight_decay": 0.05, "n_iter_no_change": 3, "autocast": None}
    return Recipe(**{**PLAIN, **defaults, **parameters})


def network(seed=0, dropout=0.0, **parameters):
    torch.manual_seed(seed)
    encoder = nn.Sequential(TinyViT(size=16, patch=8, width=8, depth=1), nn.Dropout(dropout))
    return QFMNetwork(encoder, width=8, **parameters)


def training(made=None, bank=False, teacher=None, **parameters):
    made = network() if made is None else made
    bank = StatisticsBank(PARTNERS, np.roll(PARTNERS, 3, axis=0), width=8) if bank else None
    return Training(made, recipe(**parameters), (7, 0), READING.preprocess(made), bank, teacher)


def samples(n_labelled=12, weights=None, pictures=PICTURES):
    return Samples(READING.open(pictures), LABELS, np.ones(12) if weights is None else weights, n_labelled)


def weights_of(module):
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()]).numpy()


def draws(epoch, seed=(7, 0)):
    seed = int(np.random.SeedSequence([*seed, epoch]).generate_state(1)[0])
    generator = torch.Generator().manual_seed(seed)
    return torch.randperm(12, generator=generator), *(torch.rand(12, generator=generator) for _ in range(2))


def mirrored(order, coins):
    """All pictures in the order of an epoch with a single batch."""
    x = torch.from_numpy(PICTURES).permute(0, 3, 1, 2)[order]
    return torch.where((coins[order] < 0.5)[:, None, None, None], x.flip(-1), x)


def test_learning_rate_falls_and_strength_rises_in_thirds():
    nine = recipe(max_epochs=9, lr=1.0)
    assert_allclose([nine.lr_at(epoch) for epoch in range(9)], [1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01])
    assert_allclose([nine.ramp(epoch) for epoch in range(9)], [1 / 3, 2 / 3, *[1] * 7])
    assert recipe(max_epochs=1).lr_at(0) == recipe().lr and recipe(max_epochs=1).ramp(0) == 1
    assert_allclose([recipe(max_epochs=4, lr=1.0).lr_at(epoch) for epoch in range(4)], [1, 1, 0.1, 0.01])


@pytest.mark.parametrize(
    ("pairing", "gate", "weights"),
    [
        ("quality", "adaptive", (0.5, 0.0, 1e-3)),
        ("semantic", "static", (0.0, 0.1, 1e-3)),
        ("both", None, (0.5, 0.1, 0.0)),
    ],
)
def test_a_recipe_leaves_out_what_the_pairing_and_the_gate_do(pairing, gate, weights):
    made = Recipe.of(QFMRegressor(pairing=pairing, gate=gate))
    assert (made.consistency, made.contrast, made.sparsity) == weights
    assert (made.lr, made.max_epochs, made.distillation) == (2e-4, 9, 0.1)


def test_the_plain_baseline_is_a_loop_of_a_few_lines():
    weights = RNG.uniform(0.2, 2.0, 12)
    trained = training(network(gate=None), max_epochs=3)
    expected = network(gate=None)
    optimizer = torch.optim.AdamW(expected.parameters(), lr=1e-2, weight_decay=0.05)
    losses = []
    for epoch in range(3):
        order, coins, _ = draws(epoch)
        optimizer.param_groups[0]["lr"] = 1e-2 * 0.1**epoch
        x = torch.from_numpy(PICTURES).permute(0, 3, 1, 2)
        x = torch.where((coins < 0.5)[:, None, None, None], x.flip(-1), x)
        total = 0.0
        for rows in order.split(4):  # 12 in as few batches of at most 5 as there can be
            w, y = torch.tensor(weights[rows]).float(), torch.tensor(LABELS[rows]).float()
            loss = (w * smooth_l1_loss(expected(x[rows]).scores, y, reduction="none")).sum() / w.sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(rows)
        losses.append(total / 12)
    trained.run(samples(weights=weights))
    assert_array_equal(weights_of(trained.network), weights_of(expected))
    assert_allclose([epoch["regression"] for epoch in trained.history], losses, rtol=1e-6)
    assert [set(epoch) for epoch in trained.history] == [{"lr", "loss", "regression"}] * 3


@pytest.mark.parametrize("n_labelled", [12, 8])
@pytest.mark.parametrize("kind", ["style", "shift"])
def test_consistency_is_that_of_the_partner_that_moves_the_score_most(kind, n_labelled):
    parameters = {"consistency": 0.7, "batch_size": 12, "max_strength": 0.8, "perturbation": kind, "max_epochs": 9}
    run, start = training(bank=True, **parameters), network()
    if n_labelled < 12:  # partners are among the images with labels
        run.bank = StatisticsBank(PARTNERS[:8] % 8, None, width=8)
    history = run._run_epoch(samples(n_labelled), 0)
    order, coins, strength = draws(0)
    with torch.no_grad():
        tokens = start.encode(mirrored(order, coins))
        scores = start.head(tokens).scores
        mean, std = channel_statistics(tokens)
        place = {int(image): place for place, image in enumerate(order)}
        losses = []
        for image in range(n_labelled):
            i = [place[image]]
            others = [place[int(other)] for other in (PARTNERS if n_labelled == 12 else PARTNERS[:8] % 8)[image]]
            moved = [
                start.head(
                    perturb(tokens[i], mean[i], std[i], mean[[j]], std[[j]], 0.8 / 3 * strength[[image]], kind)
                ).scores
                for j in others
            ]
            worst = max(moved, key=lambda score, i=i: abs(score - scores[i]).item())
            losses.append(smooth_l1_loss(worst, scores[i]).item())
    assert_allclose(history["consistency"], np.mean(losses), rtol=1e-4)
    assert_allclose(history["loss"], history["regression"] + 0.7 * history["consistency"], rtol=1e-6)
    assert run.bank.filled.all() and len(run.bank.filled) == n_labelled


def test_a_partner_that_was_not_seen_is_passed_over_and_gradients_flow_through_both_scores():
    run, start = training(consistency=0.7), network()
    run.bank = StatisticsBank([[11, 1], [11, 0], *[[-1, -1]] * 10], None, width=8)
    x = torch.from_numpy(PICTURES[:3]).permute(0, 3, 1, 2)
    strength = torch.tensor([0.3, 0.9, 0.5])
    labels = torch.zeros(3)
    losses = run._losses(x, labels, torch.ones(3), torch.arange(3), strength, torch.tensor([True, True, True]))
    tokens = start.encode(x)
    mean, std = channel_statistics(tokens)
    others = [1, 0]
    moved = perturb(tokens[:2], mean[:2], std[:2], mean[others].detach(), std[others].detach(), strength[:2], "style")
    expected = smooth_l1_loss(start.head(moved).scores, start.head(tokens).scores[:2])
    assert_allclose(losses["consistency"].item(), expected.item(), rtol=1e-4)
    losses["consistency"].backward()
    expected.backward()
    for found, right in zip(run.network.parameters(), start.parameters(), strict=True):
        assert_allclose(found.grad, right.grad, rtol=1e-3, atol=1e-6)


def test_the_other_losses_are_what_they_say():
    teacher = network(seed=1).eval()
    parameters = {"contrast": 0.3, "sparsity": 0.2, "distillation": 0.6, "batch_size": 12, "max_epochs": 9}
    run, start = training(bank=True, teacher=teacher, temperature=0.5, **parameters), network()
    weights = RNG.uniform(0.2, 2.0, 12)
    history = run._run_epoch(samples(weights=weights), 0)
    order, coins, _ = draws(0)
    x = mirrored(order, coins)
    with torch.no_grad():
        output, imitated = start(x), teacher(x).hidden
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert_allclose(history["sparsity"], output.gate.mean(), rtol=1e-5)
    distances = 1 - cosine_similarity(output.hidden, imitated).numpy()
    assert_allclose(history["distillation"], np.average(distances, weights=weights[order]), rtol=1e-4)
    hidden = nn.functional.normalize(output.hidden[order.argsort()], dim=1).double().numpy()
    similar = np.exp(hidden @ hidden.T / 0.5)
    negatives = np.roll(PARTNERS, 3, axis=0)
    terms = [
        -math.log(similar[i, j] / (similar[i, j] + similar[i, negatives[i]].sum()))
        for i in range(12)
        for j in PARTNERS[i]
    ]
    assert_allclose(history["contrast"], np.mean(terms), rtol=1e-4)
    total = history["regression"] + 0.3 * history["contrast"] + 0.2 * history["sparsity"]
    assert_allclose(history["loss"], total + 0.6 / 3 * history["distillation"], rtol=1e-6)
    assert "consistency" not in history


def test_without_images_with_labels_in_a_batch_there_is_nothing_to_match():
    run = training(bank=True, consistency=0.5)
    assert set(run._run_epoch(samples(n_labelled=0), 0)) == {"lr", "loss", "regression"}
    assert not run.bank.filled.any()


def test_a_perturbation_without_strength_changes_nothing():
    plain, still = training(), training(bank=True, consistency=0.5, max_strength=0.0)
    plain.run(samples())
    still.run(samples())
    assert [epoch["consistency"] for epoch in still.history] == [0.0] * 3
    assert_array_equal(weights_of(plain.network), weights_of(still.network))


def test_a_teacher_that_is_not_imitated_is_not_run():
    assert "distillation" not in training(teacher=lambda x: pytest.fail())._run_epoch(samples(), 0)


def test_losses_that_are_left_out_do_not_change_the_batches_or_the_dropout():
    plain = training(network(dropout=0.3), max_epochs=1)
    other = training(network(dropout=0.3), bank=True, contrast=1e-12, max_epochs=1)
    plain.run(samples())
    other.run(samples())
    assert_allclose(weights_of(other.network), weights_of(plain.network), atol=1e-4)


def test_the_generator_of_the_caller_is_left_alone():
    run = training(network(dropout=0.5))
    state = torch.get_rng_state()
    run.run(samples())
    assert torch.equal(torch.get_rng_state(), state)


def test_a_network_in_evaluation_mode_is_trained_all_the_same():
    first, second = training(network(dropout=0.5)), training(network(dropout=0.5).eval())
    first.run(samples())
    second.run(samples())
    assert_array_equal(weights_of(first.network), weights_of(second.network))


def test_weights_that_need_no_gradient_stay():
    made = network()
    made.encoder.requires_grad_(False)
    before, head = weights_of(made.encoder), weights_of(made.decoder)
    training(made).run(samples())
    assert_array_equal(weights_of(made.encoder), before)
    assert np.abs(weights_of(made.decoder) - head).max() > 1e-3


@pytest.mark.parametrize("losses", [{}, {"bank": True, "consistency": 0.5, "contrast": 0.1, "sparsity": 1e-2}])
def test_the_state_taken_over_by_another_run_continues_as_the_first(losses):
    whole = training(network(dropout=0.3), **losses)
    for epoch in range(3):
        whole.history.append(whole._run_epoch(samples(), epoch))
        if epoch == 0:
            tensors = {name: tensor.clone() for name, tensor in whole.tensors().items()}
            history = list(whole.history)
    continued = training(network(seed=5, dropout=0.3), **losses)
    continued.load(tensors, history)
    continued.run(samples())
    assert continued.history == whole.history
    assert_array_equal(weights_of(continued.network), weights_of(whole.network))
    for name, tensor in whole.tensors().items():
        assert torch.equal(continued.tensors()[name], tensor), name


def test_the_best_weights_are_taken_over_as_well():
    left, states = iter([2.0, 1.0, 3.0, 4.0]), []

    def save(tensors, history):
        states.append(({name: tensor.clone() for name, tensor in tensors.items()}, list(history)))

    whole, continued = (training(network(seed), max_epochs=4, n_iter_no_change=9) for seed in (0, 5))
    whole.run(samples(), lambda trained: next(left), SimpleNamespace(load=lambda: ({}, []), save=save))
    continued.run(samples(), lambda trained: 4.0, SimpleNamespace(load=lambda: states[2], save=save))
    assert_array_equal(weights_of(continued.network), weights_of(whole.network))


def test_moments_are_kept_by_the_names_of_parameters():
    run = training(bank=True, consistency=0.5)
    run.run(samples())
    names = {name for name, _ in run.network.named_parameters()}
    kinds = ("exp_avg", "exp_avg_sq", "step")
    assert {f"optimizer.{name}.{kind}" for name in names for kind in kinds} <= set(run.tensors())
    assert {"bank.mean", "bank.std", "bank.hidden", "bank.filled"} <= set(run.tensors())


@pytest.mark.parametrize(
    ("losses", "n_epochs", "best"),
    [([3.0, 1.0, 2.0, 1.0, 5.0, 0.5], 5, 1), ([3.0, 2.0, 1.0, 0.5, 0.4, 0.3], 6, 5), ([1.0, 2.0, 3.0], 3, 0)],
)
def test_training_stops_when_held_out_images_say_so_and_takes_the_best_weights(losses, n_epochs, best):
    seen, left = [], iter(losses)

    def validate(trained):
        seen.append(weights_of(trained))
        return next(left)

    run = training(max_epochs=len(losses), n_iter_no_change=3)
    run.run(samples(), validate)
    assert [epoch["valid_loss"] for epoch in run.history] == losses[:n_epochs]
    assert_array_equal(weights_of(run.network), seen[best])
    assert len({weights.tobytes() for weights in seen}) == n_epochs


def test_a_loss_that_is_not_finite_is_an_error():
    with pytest.raises(ValueError, match=r"The loss of epoch \d is (nan|inf); lower lr \(1e\+30\)"):
        training(lr=1e30).run(samples())


def test_mixed_precision_trains_in_another_type_and_keeps_the_weights_in_single():
    run = training(bank=True, consistency=0.5, contrast=0.1, autocast="bfloat16")
    run.run(samples())
    exact = training(bank=True, consistency=0.5, contrast=0.1)
    exact.run(samples())
    assert {parameter.dtype for parameter in run.network.parameters()} == {torch.float32}
    assert np.isfinite(weights_of(run.network)).all()
    assert not np.array_equal(weights_of(run.network), weights_of(exact.network))
    assert_allclose(run.history[0]["loss"], exact.history[0]["loss"], rtol=0.05)


def test_progress_is_printed_when_asked_for(capsys):
    training().run(samples())
    assert capsys.readouterr().err == ""
    training().run(samples(), name="teacher", quiet=False)
    assert "Training the teacher: 3 epochs, loss " in capsys.readouterr().err


def test_a_finished_run_is_not_run_again(monkeypatch):
    run = training()
    run.run(samples())
    stored = SimpleNamespace(load=lambda: (run.tensors(), run.history), save=None)
    other = training(network(seed=3))
    monkeypatch.setattr(other, "_run_epoch", None)
    other.run(samples(), checkpoint=stored)
    assert_array_equal(weights_of(other.network), weights_of(run.network))
