import numpy as np
import pytest

from patchdistill import PatchBags, select_patches
from patchdistill.demo.study import MODES, SELECTORS, CrossValidation, compare
from patchdistill.scoring import score_patches

RATES = (0.1, 0.4, 1.0)


@pytest.fixture(scope="module")
def validation():
    rng = np.random.default_rng(0)
    labels, scenes = rng.random(24), np.repeat(np.arange(6), 4)
    # Every image has few rare patches among many usual ones.
    usual = rng.normal(size=(24, 30, 9)) * 0.3 + labels[:, None, None]
    rare = rng.normal(size=(24, 6, 9)) * 0.3 + 3 - labels[:, None, None]
    return CrossValidation(PatchBags.from_list(list(np.concatenate([usual, rare], axis=1))), labels, scenes)


@pytest.fixture(scope="module")
def rows(validation):
    study = compare(validation, rates=RATES, n_seeds=2)
    return {(row["mode"], row["rate"], row["selector"]): row for row in study["rows"]}


def pooled_by_hand(bags, weights_of):
    """Weighted means and standard deviations of every image, from sums."""
    rows = []
    for E in bags:
        weights = weights_of(E)[:, None]
        mean = (weights * E).sum(axis=0) / weights.sum()
        rows.append(np.concatenate([mean, np.sqrt((weights * (E - mean) ** 2).sum(axis=0) / weights.sum())]))
    return np.array(rows)


SELECTIONS = {"cover": {}, "low": {"coverage": None}, "high": {"coverage": None, "keep": "high"}}


@pytest.mark.parametrize("name", SELECTIONS)
def test_a_fixed_model_gets_the_kept_patches_with_their_weights(validation, rows, name):
    def weights_of(E):
        selection = select_patches(E, rate=0.4, normalize="columns", **SELECTIONS[name])
        weights = np.zeros(len(E))
        weights[selection.indices] = selection.weights
        return weights

    pooled = pooled_by_hand(validation.bags, weights_of)
    predictions = np.empty(len(pooled))
    for model, test in validation.fixed_models:
        predictions[test] = model.predict(pooled[test])
    change = np.sqrt(np.mean((predictions - validation.on_all) ** 2)) / validation.labels.std()
    assert rows["fixed", 0.4, name]["change"] == pytest.approx(change, rel=1e-9)


def test_all_patches_kept_change_nothing(rows):
    for mode in MODES:
        for name in SELECTORS:
            assert rows[mode, 1.0, name]["srcc_minus_all"]["value"] == pytest.approx(0, abs=1e-12)
    assert max(rows["fixed", 1.0, name]["change"] for name in SELECTORS) < 1e-9


def test_each_image_is_solved_once_for_all_rates_and_selectors(validation, tmp_path, monkeypatch):
    solved = []

    def counting(patches, **parameters):
        solved.append(1)
        return score_patches(patches, **parameters)

    monkeypatch.setattr("patchdistill.selector.score_patches", counting)
    compare(validation, rates=RATES, n_seeds=1, memory=str(tmp_path))
    assert len(solved) == len(validation.bags)


def test_every_selection_but_random_is_compared_with_random(rows):
    for (mode, rate, name), row in rows.items():
        assert ("srcc_minus_random" in row) == (name != "random")
        if name != "random":
            difference = row["srcc"]["value"] - rows[mode, rate, "random"]["srcc"]["value"]
            assert row["srcc_minus_random"]["value"] == pytest.approx(difference)
            assert row["srcc_minus_random"]["low"] <= row["srcc_minus_random"]["high"]
