from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_rel

from patchdistill.evaluation import anova
from patchdistill.studies.findings import (
    CONDITION,
    best_after_the_fact,
    compare,
    convergence,
    default_rate,
    factor_effects,
    of_default,
    smallest_rates,
    stage_costs,
    summarize,
    verdict,
)


def make_cells(*conditions, n_train=32, n_test=8):
    """Cells of conditions (selection, metric, h, rate, SRCC per split[, PLCC per split]); None is a missing cell."""
    rows = []
    for selection, metric, h, rate, srcc, *plcc in conditions:
        for seed, (s, p) in enumerate(zip(srcc, plcc[0] if plcc else srcc, strict=True)):
            if s is not None:
                key = {"sampling": "ERP", "selection": selection, "metric": metric, "h": h, "rate": rate}
                sizes = {"n_train": n_train, "n_test": n_test, "n_kept": 180 * rate}
                seconds = {"fit_seconds": 0.1, "predict_seconds": 0.01}
                agreed = {"srcc": s, "krcc": s, "plcc": p, "rmse": 1 - s}
                rows.append({**key, "model": "svr", "seed": seed, **sizes, **agreed, **seconds})
    return pd.DataFrame(rows).astype({"metric": "string", "h": "Int64", "rate": "float64"})


ALL = ("all", None, None, 1.0, [0.80, 0.70, 0.90, 0.60])


def only(table, **key):
    for name, value in key.items():
        table = table[table[name] == value]
    assert len(table) == 1
    return table.iloc[0]


def test_means_are_those_over_splits(results):
    table = summarize(results.cells)
    row = only(table, sampling="ERP", selection="residual", metric="cosine", h=5, rate=0.2)
    cells = results.cells
    chosen = cells[
        (cells["sampling"] == "ERP")
        & (cells["selection"] == "residual")
        & (cells["metric"] == "cosine")
        & (cells["h"] == 5)
        & (cells["rate"] == 0.2)
    ]
    assert len(chosen) == row["n_seeds"] == 6 and row["n_undefined"] == 0
    for name in ("srcc", "krcc", "plcc", "rmse"):
        assert row[name] == pytest.approx(np.mean(chosen[name].to_numpy()))
        assert row[f"{name}_sd"] == pytest.approx(np.std(chosen[name].to_numpy(), ddof=1))
    assert (row["srcc_min"], row["srcc_max"]) == (chosen["srcc"].min(), chosen["srcc"].max())
    assert row["predict_seconds"] == pytest.approx(np.mean(chosen["predict_seconds"] / chosen["n_test"]))
    assert row["n_kept"] == 36 and row["fit_seconds"] == pytest.approx(chosen["fit_seconds"].mean())
    # Three samplings: all, four rates of random and of each of the four metrics and h.
    assert len(table) == 3 * (1 + 4 + 16)
    assert set(table.loc[table["selection"] != "residual", "metric"]) == {""}


def test_constant_predictions_are_counted_and_left_out():
    row = summarize(make_cells(("all", None, None, 1.0, [0.8, np.nan, 0.6]))).iloc[0]
    assert (row["n_seeds"], row["n_undefined"], row["srcc"]) == (3, 1, pytest.approx(0.7))


def test_the_interval_is_the_paired_t_interval_where_splits_do_not_overlap():
    """With next to no test images among the training ones the correction vanishes."""
    srcc = [0.82, 0.74, 0.89, 0.66]
    cells = make_cells(ALL, ("residual", "cosine", 10, 0.45, srcc), n_train=10**15, n_test=1)
    row = only(compare(cells, "all"), selection="residual")
    expected = ttest_rel(srcc, ALL[-1]).confidence_interval(0.95)
    assert row["value"] == pytest.approx(np.mean(np.subtract(srcc, ALL[-1])))
    assert (row["low"], row["high"]) == pytest.approx((expected.low, expected.high))
    assert row["n_pairs"] == 4


@pytest.mark.parametrize("n_train, n_test", [(32, 8), (13, 3), (1, 1)])
def test_the_interval_is_wider_by_the_correction_for_overlap(n_train, n_test):
    conditions = ALL, ("residual", "cosine", 10, 0.45, [0.82, 0.74, 0.89, 0.66])
    plain = compare(make_cells(*conditions, n_train=10**15, n_test=1), "all").iloc[0]
    wide = compare(make_cells(*conditions, n_train=n_train, n_test=n_test), "all").iloc[0]
    ratio = (wide["high"] - wide["low"]) / (plain["high"] - plain["low"])
    assert ratio == pytest.approx(np.sqrt((1 / 4 + n_test / n_train) / (1 / 4)))
    assert wide["value"] == plain["value"] == pytest.approx((wide["low"] + wide["high"]) / 2)


def test_splits_are_paired_whatever_the_order_of_cells(results):
    shuffled = results.cells.sample(frac=1, random_state=1)
    for reference in ("all", "random"):
        expected = compare(results.cells, reference).set_index(CONDITION).sort_index()
        found = compare(shuffled, reference).set_index(CONDITION).sort_index()
        pd.testing.assert_frame_equal(found, expected)


def test_random_patches_of_the_same_rate_are_compared_with():
    cells = make_cells(
        ALL,
        ("random", None, None, 0.1, [0.1, 0.2, 0.3, 0.4]),
        ("random", None, None, 0.5, [0.5, 0.6, 0.7, 0.5]),
        ("residual", "cosine", 10, 0.5, [0.6, 0.6, 0.6, 0.6]),
    )
    table = compare(cells, "random")
    assert list(table["selection"]) == ["residual"]
    assert table["value"].iloc[0] == pytest.approx(0.6 - 0.575)
    assert sorted(compare(cells, "all")["selection"]) == ["random", "random", "residual"]


def test_samplings_models_and_measures_are_kept_apart(results):
    two = pd.concat([results.cells, results.cells.assign(model="ridge", srcc=results.cells["srcc"] ** 2)])
    table = compare(two, "all").set_index(CONDITION)
    for model, cells in two.groupby("model"):
        for sampling, rows in cells.groupby("sampling"):
            alone = compare(rows, "all").set_index(CONDITION)
            pd.testing.assert_frame_equal(table.loc[alone.index], alone)
            assert {key[:2] for key in alone.index} == {(sampling, model)}
    plcc = compare(results.cells, "all", "plcc")
    renamed = results.cells.drop(columns="srcc").rename(columns={"plcc": "srcc"})
    pd.testing.assert_frame_equal(plcc, compare(renamed, "all"))


def test_only_splits_with_both_cells_are_compared():
    cells = make_cells(ALL, ("residual", "cosine", 10, 0.45, [0.9, None, None, 0.9]))
    row = compare(cells, "all").iloc[0]
    assert (row["n_pairs"], row["n_undefined"], row["value"]) == (2, 0, pytest.approx(0.2))


def test_constant_predictions_are_told_from_a_missing_reference():
    of_all = ("all", None, None, 1.0, [0.8, np.nan, 0.9, None])
    cells = make_cells(of_all, ("residual", "cosine", 10, 0.45, [np.nan, np.nan, 0.9, 0.9]))
    row = compare(cells, "all").iloc[0]
    assert (row["n_pairs"], row["n_undefined"]) == (1, 1)
    assert row["value"] == pytest.approx(0.0) and np.isnan(row["low"])


@pytest.mark.parametrize("reference", ["all", "random"])
def test_without_a_reference_there_is_nothing(reference):
    cells = make_cells(("residual", "cosine", 10, 0.45, [0.8, 0.9]))
    assert len(compare(cells, reference)) == 0


def test_one_split_has_no_interval():
    row = compare(make_cells(("all", None, None, 1.0, [0.8]), ("residual", "cosine", 10, 0.45, [0.9])), "all").iloc[0]
    assert row["value"] == pytest.approx(0.1) and np.isnan(row["low"]) and np.isnan(row["high"])
    assert verdict(row) == "unknown"


def shifted(*shifts):
    return np.add(ALL[-1], shifts).tolist()


def smallest(*conditions):
    return only(smallest_rates(make_cells(ALL, *conditions)), selection="residual")


def test_smallest_rates():
    row = smallest(
        ("residual", "cosine", 10, 0.9, shifted(0.05, 0.05, 0.05, 0.05)),
        ("residual", "cosine", 10, 0.05, shifted(-0.01, 0, 0, 0)),
        ("residual", "cosine", 10, 0.45, shifted(0.05, 0.05, 0.051, 0.05)),
        ("residual", "cosine", 10, 0.1, shifted(-0.1, 0.1, 0.2, -0.1)),
    )
    assert (row["mean"], row["interval"]) == (0.1, 0.45)


def test_as_good_is_good_enough_on_average_and_not_by_intervals():
    row = smallest(("residual", "cosine", 10, 0.3, shifted(0, 0, 0, 0)))
    assert row["mean"] == 0.3 and np.isnan(row["interval"])


def test_never_is_nan():
    row = smallest(("residual", "cosine", 10, 0.3, shifted(0, 0, 0, -0.001)))
    assert np.isnan(row["mean"]) and np.isnan(row["interval"])


@pytest.mark.parametrize("worse", ["srcc", "plcc"])
def test_both_srcc_and_plcc_have_to_be_as_good(worse):
    good, bad = shifted(0.05, 0.05, 0.051, 0.05), shifted(-0.05, -0.05, -0.05, -0.05)
    pair = (bad, good) if worse == "srcc" else (good, bad)
    row = smallest(("residual", "cosine", 10, 0.3, *pair), ("residual", "cosine", 10, 0.6, good, good))
    assert (row["mean"], row["interval"]) == (0.6, 0.6)
    noisy = shifted(0.2, -0.1, 0.1, -0.1)
    pair = (noisy, good) if worse == "srcc" else (good, noisy)
    row = smallest(("residual", "cosine", 10, 0.3, *pair), ("residual", "cosine", 10, 0.6, good, good))
    assert (row["mean"], row["interval"]) == (0.3, 0.6)


@pytest.mark.parametrize("worse", ["srcc", "plcc"])
def test_a_rate_with_constant_predictions_does_not_count(worse):
    good, gap = shifted(0.05, 0.05, 0.051, 0.05), shifted(0.05, 0.05, 0.051, np.nan)
    pair = (gap, good) if worse == "srcc" else (good, gap)
    row = smallest(("residual", "cosine", 10, 0.3, *pair), ("residual", "cosine", 10, 0.6, good, good))
    assert (row["mean"], row["interval"]) == (0.6, 0.6)


def test_smallest_rates_are_those_of_each_selection(results):
    table = smallest_rates(results.cells)
    assert len(table) == 3 * (1 + 4)
    for _, row in table.iterrows():
        rows = compare(results.cells, "all"), compare(results.cells, "all", "plcc")
        names = ["sampling", "model", "selection", "metric", "h"]
        here = [t[(t[names] == row[names]).all(axis=1)].set_index("rate") for t in rows]
        fulfilled = [r for r in sorted(here[0].index) if all(t.loc[r, "value"] >= 0 for t in here)]
        clearly = [r for r in sorted(here[0].index) if all(t.loc[r, "low"] > 0 for t in here)]
        assert row["mean"] == (pytest.approx(fulfilled[0]) if fulfilled else pytest.approx(np.nan, nan_ok=True))
        assert row["interval"] == (pytest.approx(clearly[0]) if clearly else pytest.approx(np.nan, nan_ok=True))


def test_default_rows(results):
    table = of_default(summarize(results.cells), results.settings)
    residual = table[table["selection"] == "residual"]
    assert set(zip(residual["metric"], residual["h"], strict=True)) == {("euclidean", 10)}
    assert len(residual) == 12 and (table["selection"] == "random").sum() == 12
    assert (table["selection"] == "all").sum() == 3


def test_default_rate_is_the_closest_to_that_of_the_selector():
    assert default_rate({"rates": [0.9, 0.4, 0.1]}) == 0.4
    assert default_rate({"rates": [0.05, 0.45]}) == 0.45


def test_best_after_the_fact_has_the_highest_mean():
    cells = make_cells(
        ALL,
        ("random", None, None, 0.3, [0.99] * 4),
        ("residual", "cosine", 10, 0.3, [0.5, 0.9, 0.7, 0.7]),
        ("residual", "euclidean", 10, 0.3, [0.8, 0.8, 0.8, 0.4]),
        ("residual", "euclidean", 5, 0.3, [0.8, 0.8, 0.8, 0.5]),
        ("residual", "cosine", 5, 0.3, [np.nan] * 4),
        ("residual", "cosine", 5, 0.6, [np.nan] * 4),
    )
    row = only(best_after_the_fact(cells))
    assert (row["metric"], row["h"], row["rate"]) == ("euclidean", 5, 0.3)


def test_convergence_has_the_quantiles_of_each_metric_and_h(results):
    table = convergence(results.solutions)
    assert len(table) == 4
    for _, row in table.iterrows():
        rows = results.solutions[(results.solutions["metric"] == row["metric"]) & (results.solutions["h"] == row["h"])]
        assert row["n"] == len(rows) == 120 and row["converged"] == rows["converged"].sum() < 120
        for name in ("n_iter", "gap"):
            found = [row[f"{name}_{q}"] for q in (0, 25, 50, 75, 100)]
            np.testing.assert_allclose(found, np.quantile(rows[name].to_numpy(), [0, 0.25, 0.5, 0.75, 1]))


def test_costs_are_per_image_and_stage(results):
    table = stage_costs(results, "svr")
    assert list(table["sampling"].unique()) == list(results.settings["samplings"])
    assert [*zip(table["selection"], table["rate"], strict=True)] == 3 * [
        ("all", 1.0),
        ("residual", 0.05),
        ("residual", 0.45),
    ]
    cells, solutions, costs = results.cells, results.solutions, results.costs
    for _, row in table.iterrows():
        of_sampling = costs[costs["sampling"] == row["sampling"]]
        assert row["sampling_ms"] == pytest.approx(1000 * np.mean(of_sampling["sampling_seconds"]))
        assert row["embedding_ms"] == pytest.approx(1000 * np.mean(of_sampling["embedding_seconds"]))
        solved = solutions[
            (solutions["sampling"] == row["sampling"]) & (solutions["metric"] == "euclidean") & (solutions["h"] == 10)
        ]
        selection = 1000 * np.mean(solved["seconds"]) if row["selection"] == "residual" else 0
        assert row["selection_ms"] == pytest.approx(selection)
        tested = cells[(cells["sampling"] == row["sampling"]) & (cells["rate"] == row["rate"])]
        tested = tested[(tested["selection"] == "all") | ((tested["metric"] == "euclidean") & (tested["h"] == 10))]
        assert row["model_ms"] == pytest.approx(1000 * np.mean(tested["predict_seconds"]) / 8)


def test_costs_that_were_not_measured_are_nan(unfinished):
    table = stage_costs(unfinished, "svr")
    of_latitude = table["sampling"] == "latitude"
    assert table.loc[of_latitude, ["sampling_ms", "embedding_ms"]].isna().all(axis=None)
    assert table.loc[~of_latitude, ["sampling_ms", "embedding_ms"]].notna().all(axis=None)


def test_costs_are_those_of_one_model(unfinished):
    cells = unfinished.cells
    alone = SimpleNamespace(**{**vars(unfinished), "cells": cells[cells["model"] == "svr"]})
    expected = stage_costs(alone, "svr").reset_index(drop=True)
    pd.testing.assert_frame_equal(stage_costs(unfinished, "svr").reset_index(drop=True), expected)


def test_effects_are_those_of_residual_selection(results):
    effects, problem = factor_effects(results.cells)
    residual = results.cells[results.cells["selection"] == "residual"]
    assert problem == ""
    assert effects == anova(residual, "srcc", ["sampling", "metric", "h", "rate"], block="seed")


def test_effects_of_factors_with_several_levels_only(make_results):
    cells = make_results(samplings=("ERP",), metrics=("cosine",), h=(10, 5), rates=(0.1, 0.5), n_seeds=3).cells
    cells.loc[cells.index[-1], "srcc"] = np.nan
    effects, _ = factor_effects(cells)
    assert list(effects) == ["h", "rate", "seed"]


def test_why_there_are_no_effects_is_told(make_results):
    effects, problem = factor_effects(make_results(rates=(0.1,), n_seeds=1).cells)
    assert effects == {} and "'seed' has the one level" in problem


@pytest.mark.parametrize(
    "low, high, expected",
    [(0.01, 0.02, "better"), (-0.02, -0.01, "worse"), (-0.01, 0.01, "unclear"), (0.0, 0.0, "unclear")],
)
def test_verdicts(low, high, expected):
    assert verdict({"low": low, "high": high}) == expected
    assert verdict({"low": np.nan, "high": np.nan}) == "unknown"
