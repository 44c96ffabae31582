import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

from patchdistill.demo.agreement import Agreement, summary


@pytest.fixture
def study():
    rng = np.random.default_rng(0)
    scenes = np.repeat([f"s{i}" for i in range(8)], 6)
    labels = rng.random(48).round(1)  # with ties
    return labels, scenes, labels + rng.normal(0, 0.2, 48)


def test_first_entry_equals_scipy(study):
    labels, scenes, predictions = study
    values = Agreement(labels, scenes, n_resamples=50)(predictions)
    assert values["srcc"].shape == values["plcc"].shape == (51,)
    assert values["srcc"][0] == pytest.approx(spearmanr(labels, predictions).statistic)
    assert values["plcc"][0] == pytest.approx(pearsonr(labels, predictions).statistic)


def test_resamples_are_whole_scenes(study):
    labels, scenes, predictions = study
    agreement = Agreement(labels, scenes, n_resamples=20)
    for rows, value in zip(agreement.rows, agreement(predictions)["plcc"], strict=True):
        assert value == pytest.approx(pearsonr(labels[rows], predictions[rows]).statistic)
        _, counts = np.unique(rows, return_counts=True)
        assert (counts.reshape(-1, 6) == counts.reshape(-1, 6)[:, :1]).all()


def test_constant_predictions_have_no_correlation(study):
    labels, scenes, _ = study
    agreement = Agreement(labels, scenes, n_resamples=10)
    for values in agreement(np.full(48, 0.1)).values():
        assert summary(values) == {"value": None, "low": None, "high": None}


def test_summary_is_value_and_interval(study):
    labels, scenes, predictions = study
    figure = summary(Agreement(labels, scenes)(predictions)["srcc"])
    assert figure["low"] < figure["value"] < figure["high"]
