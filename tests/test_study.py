"""The tools of the studies: what they compute is what they say."""

import json
from pathlib import Path

import numpy as np
import pytest
from _evaluation import Experiment, FourierRidge, Judge
from _planted import CLEAN, COPY, N_COPIED, OUTLIER, PlantedBag, judge, moment_errors
from _resume import Pieces
from scipy.stats import spearmanr
from sklearn.linear_model import Ridge

from patchdistill import PatchBags
from patchdistill.models import BagPooling

rng = np.random.default_rng(0)
features = rng.gamma(2.0, size=(24, 9, 5)).astype(np.float32)
labels = features.mean(axis=(1, 2)) + 0.1 * rng.normal(size=24)
scenes = np.repeat([f"scene {i}" for i in range(6)], 4)


def some_weights(seed=1):
    weights = np.random.default_rng(seed).random((24, 9)) * (np.random.default_rng(seed).random((24, 9)) < 0.5)
    weights[:, 0] += 0.1
    return weights / weights.sum(axis=1, keepdims=True)


def test_pooling_is_that_of_the_package():
    weights = some_weights()
    kept = [np.flatnonzero(w) for w in weights]
    bags = PatchBags.from_list(list(features)).take(kept)
    bags = bags.with_values(bags.values, weights=np.concatenate([w[k] for w, k in zip(weights, kept, strict=True)]))
    np.testing.assert_allclose(Experiment(features, labels, scenes).pool(weights), BagPooling().fit_transform(bags))


def test_patchwise_regression_is_weighted_ridge_on_the_waves():
    weights = some_weights()
    model = FourierRidge(features)
    everything = [(np.arange(0), np.arange(24))]
    means, squares = model.moments(weights, everything)
    waves = model.waves.reshape(-1, model.waves.shape[-1]).astype(float)
    expected = Ridge(alpha=model.ridge).fit(waves[:, :-1], np.repeat(labels, 9), sample_weight=weights.ravel())
    predicted = means @ model.fit(squares[0], means, labels)
    of_patches = expected.predict(waves[:, :-1]).reshape(24, 9)
    np.testing.assert_allclose(predicted, (weights * of_patches).sum(axis=1), rtol=1e-3, atol=1e-4)


def test_waves_have_the_kernel_of_a_gaussian():
    points = np.random.default_rng(0).normal(size=(1, 40, 6)).astype(np.float32)
    waves = FourierRidge(points, n_fourier=20000).waves[0, :, :-1]
    scaled = (points[0] - points[0].mean(axis=0)) / points[0].std(axis=0)
    squared = np.sum((scaled[:, None] - scaled) ** 2, axis=-1)
    np.testing.assert_allclose(waves @ waves.T, np.exp(-squared / (4 * 6)), atol=0.05)


def test_all_patches_are_no_change_and_scenes_are_not_split():
    experiment = Experiment(features, labels, scenes)
    everything = np.full((24, 9), 1 / 9)
    found = experiment.predict(everything)
    for model in ("svr", "ridge", "patch-wise"):
        np.testing.assert_allclose(found[model, "retrained"], found[model, "fixed"], atol=1e-6)
    for train, test in experiment.folds:
        assert not set(scenes[train]) & set(scenes[test])


def test_judge_by_hand():
    y, on_all = labels, labels + 0.1 * np.random.default_rng(1).normal(size=24)
    predictions = on_all + 0.2
    found = Judge(y, on_all, scenes, ["scene 1", "scene 4"])(predictions)
    of_chosen = np.isin(scenes, ["scene 1", "scene 4"])
    assert found["srcc"][0] == pytest.approx(spearmanr(predictions[of_chosen], y[of_chosen])[0])
    assert found["plcc"][0] == pytest.approx(np.corrcoef(predictions[of_chosen], y[of_chosen])[0, 1])
    np.testing.assert_allclose(found["change"], 0.2)


def test_pieces_are_computed_once(tmp_path):
    calls = []

    def work(number):
        return {f"piece {k}": lambda k=k: calls.append(k) or {"value": k} for k in range(number)}

    assert Pieces("study", {"a": 1}, tmp_path).compute(work(2)) == {f"piece {k}": {"value": k} for k in range(2)}
    assert list(Pieces("study", {"a": 1}, tmp_path).compute(work(3))) == ["piece 0", "piece 1", "piece 2"]
    assert calls == [0, 1, 2]
    Pieces("study", {"a": 2}, tmp_path).compute(work(1))
    assert calls == [0, 1, 2, 0]


def test_a_piece_that_was_cut_off_is_computed_again(tmp_path):
    def fails():
        raise KeyboardInterrupt

    pieces = Pieces("study", {}, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        pieces.compute({"a": lambda: 1, "b": fails})
    assert pieces.compute({"a": lambda: 2, "b": lambda: 3}) == {"a": 1, "b": 3}
    assert all(json.loads(file.read_text()) in (1, 3) for file in pieces.folder.glob("*.json"))


@pytest.fixture(scope="module")
def bag():
    return PlantedBag(np.random.default_rng(0).integers(0, 256, (700, 900, 3), dtype=np.uint8), seed=0)


def test_bags_have_what_is_planted(bag):
    assert np.bincount(bag.kind).tolist() == [120, 36, 8, 8, 8]
    assert bag.pixels.shape == (180, 64, 64, 3)
    for group in range(N_COPIED):
        members = bag.pixels[bag.group == group].astype(int)
        original = bag.pixels[(bag.group == group) & (bag.kind == CLEAN)][0].astype(int)
        same = [np.mean(np.abs(member - original) <= 1) > 0.99 for member in members]
        shifted = [
            (member[:, :-1] == original[:, 1:]).all() or (member[:-1] == original[1:]).all() for member in members
        ]
        assert len(members) == 4 and all(a or b for a, b in zip(same, shifted, strict=True))
    blank = bag.pixels[bag.kind == OUTLIER]
    assert (blank == blank[:, :1, :1]).all()


def test_judgement_of_a_selection_that_is_known(bag):
    E = np.random.default_rng(0).normal(size=(180, 20))
    perfect = judge(bag, E, np.flatnonzero(bag.kind == CLEAN))
    assert (perfect["copies_dropped"], perfect["originals_present"], perfect["outliers_dropped"]) == (1, 1, 1)
    assert perfect["coverage"] == perfect["mean_error"] == 0 and perfect["cov_error"] == pytest.approx(0, abs=1e-7)
    everything = judge(bag, E, np.arange(180))
    assert (everything["copies_dropped"], everything["outliers_dropped"]) == (0, 0)
    half = judge(bag, E, np.flatnonzero((bag.kind == COPY) & (bag.group < 6)))
    assert half["originals_present"] == 0.5 and half["copies_dropped"] == pytest.approx(1 - 6 * 2 / 36)


def test_moment_errors_by_definition():
    generator = np.random.default_rng(0)
    clean, kept, weights = generator.normal(size=(30, 4)), generator.normal(size=(8, 4)), generator.random(8)
    found = moment_errors(clean, kept, weights)
    covariance = np.cov(clean.T, bias=True)
    of_kept = np.cov(kept.T, aweights=weights, ddof=0)
    expected = np.linalg.norm(of_kept - covariance) / np.linalg.norm(covariance)
    assert found["cov_error"] == pytest.approx(expected)
    mean = np.average(kept, axis=0, weights=weights)
    assert found["mean_error"] == pytest.approx(
        np.linalg.norm(mean - clean.mean(axis=0)) / np.sqrt(np.trace(covariance))
    )


def test_what_the_page_says_of_the_panoramas_is_in_their_results():
    path = Path(__file__).parents[1] / "benchmarks" / "results" / "study_panoramas.json"
    results = json.loads(path.read_text(encoding="utf-8"))
    compared = results["every_metric_and_h_against_random"]
    assert not [row for row in compared if row["verdict"] == "worse"]
    assert {row["rate"] for row in compared if row["verdict"] == "better"} == {0.05, 0.1}
    tenth = [row for row in results["against_all"] if row["selection"] == "residual" and row["rate"] == 0.1]
    assert len(tenth) == 10 and all(row["high"] > 0 for row in tenth)
    for effects in results["effects"].values():
        assert max(effects["metric"]["eta_squared"], effects["h"]["eta_squared"]) < 0.001
        assert effects["seed"]["eta_squared"] == max(row["eta_squared"] for row in effects.values())
