import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.linear_model import LinearRegression

from patchdistill.evaluation import anova, wilcoxon_over_seeds


def test_wilcoxon_by_hand():
    """Differences 1, -2, 3, 4, 5, 6: ranks in favor 1 + 3 + 4 + 5 + 6 = 19, against 2.

    Of the 64 signs, sums of ranks of at most 2 have {}, {1} and {2}: p = 2 * 3 / 64.
    """
    found = wilcoxon_over_seeds([11, 8, 13, 14, 15, 16], [10] * 6)
    expected = {"statistic": 2, "p": 6 / 64, "median_difference": 3.5, "rank_biserial": 17 / 21}
    assert found == pytest.approx({**expected, "n": 6, "n_zero": 0, "n_tied": 0})


@given(st.integers(0, 10**6), st.integers(5, 80), st.floats(-1, 1))
def test_wilcoxon_is_that_of_scipy(seed, n, shift):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=n), rng.normal(size=n) + shift
    found, expected = wilcoxon_over_seeds(a, b), stats.wilcoxon(a, b)
    assert (found["statistic"], found["p"]) == pytest.approx((expected.statistic, expected.pvalue))
    assert found["median_difference"] == pytest.approx(np.median(a - b))
    turned = wilcoxon_over_seeds(b, a)
    assert turned["p"] == pytest.approx(found["p"])
    assert turned["rank_biserial"] == pytest.approx(-found["rank_biserial"])
    assert -1 <= found["rank_biserial"] <= 1


def test_wilcoxon_with_ties_and_zeros():
    """Differences 0.1 (three times, told apart by rounding), -0.1, 0.2 and 0: ranks 2.5 four times, then 5."""
    a, b = [0.8, 0.9, 0.4, 0.2, 0.5, 0.7], [0.7, 0.8, 0.3, 0.3, 0.3, 0.7]
    assert len({x - y for x, y in zip(a[:3], b[:3], strict=True)}) == 3
    found = wilcoxon_over_seeds(a, b)
    assert (found["n"], found["n_zero"], found["n_tied"]) == (5, 1, 4)
    assert found["statistic"] == 2.5 and found["rank_biserial"] == pytest.approx((12.5 - 2.5) / 15)
    assert found["p"] == stats.wilcoxon([1, 1, 1, -1, 2]).pvalue
    assert found["median_difference"] == pytest.approx(0.1)


@pytest.mark.parametrize("unit", [1e-15, 1e15])
def test_wilcoxon_of_another_unit(unit):
    a, b = np.array([0.8, 0.9, 0.4, 0.2, 0.5, 0.7]), np.array([0.7, 0.8, 0.3, 0.3, 0.3, 0.7])
    here, there = wilcoxon_over_seeds(a, b), wilcoxon_over_seeds(a * unit, b * unit)
    assert there.pop("median_difference") == pytest.approx(here.pop("median_difference") * unit)
    assert there == here


@pytest.mark.parametrize("values", [[0.9, 0.8, 0.7], [0.0, 0.0, 0.0]])
def test_equal_models(values):
    found = wilcoxon_over_seeds(values, np.array(values) * (1 + 1e-16))
    expected = {"statistic": 0, "p": 1, "median_difference": 0, "rank_biserial": 0, "n": 0, "n_zero": 3, "n_tied": 0}
    assert found == expected


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ([1, 2], [1, 2, 3], "There are 2 values of a, but 3 of b; pass one of each per seed"),
        ([1, np.nan], [1, 2], "Input a contains NaN"),
        ([1, 2], [1, np.nan], "Input b contains NaN"),
    ],
)
def test_wilcoxon_bad_input(a, b, message):
    with pytest.raises(ValueError, match=message):
        wilcoxon_over_seeds(a, b)


def study(seed=0, n_seeds=4, keep=None):
    """A balanced table of two factors and seeds, or some of its rows."""
    rng = np.random.default_rng(seed)
    h, metric, run = (
        g.ravel() for g in np.meshgrid([2, 5, 10], ["cosine", "euclidean"], range(n_seeds), indexing="ij")
    )
    srcc = 0.05 * (h == 5) + 0.03 * (metric == "cosine") + 0.02 * run + 0.03 * rng.normal(size=len(h))
    table = {"h": h, "metric": metric, "run": run, "srcc": srcc}
    return table if keep is None else {name: column[keep] for name, column in table.items()}


def some_rows(seed, n=24, n_kept=17):
    return np.sort(np.random.default_rng(seed).choice(n, n_kept, replace=False))


def test_anova_by_hand():
    """Two factors of two levels, two observations each: cells (1, 3), (5, 7), (2, 4), (10, 12).

    Cell means 2, 6, 3, 11; mean 5.5. Rows have the means 4 and 7, columns 2.5 and 8.5.
    a: 8 * 1.5**2 = 18. b: 8 * 3**2 = 72. a:b: cells deviate from the sum of effects by 1: 8. Within cells: 8 * 1 = 8.
    """
    table = {"a": list("xxxxyyyy"), "b": [0, 0, 1, 1] * 2, "y": [1, 3, 5, 7, 2, 4, 10, 12]}
    found = anova(table, "y", ["a", "b"], interactions=True)
    assert list(found) == ["a", "b", "a:b"]
    for name, square in {"a": 18, "b": 72, "a:b": 8}.items():
        row = found[name]
        assert row["sum_of_squares"] == pytest.approx(square) and (row["df"], row["df_residual"]) == (1, 4)
        assert row["f"] == pytest.approx(square / 2)
        assert row["p"] == pytest.approx(stats.f.sf(square / 2, 1, 4))
        assert row["eta_squared"] == pytest.approx(square / (square + 8))
        assert row["omega_squared"] == pytest.approx((square - 2) / (square + 7 * 2))
    assert found["a"]["means"] == {"x": 4, "y": 7} and found["b"]["means"] == {"0": 2.5, "1": 8.5}
    assert "means" not in found["a:b"]
    without = anova(table, "y", ["a", "b"])
    assert list(without) == ["a", "b"]
    assert without["b"]["f"] == pytest.approx(72 / (16 / 5)) and without["b"]["df_residual"] == 5
    blocked = anova(table, "y", ["b"], block="a")
    assert list(blocked) == ["b", "a"] and "means" not in blocked["a"]
    for name in ("f", "p", "eta_squared", "omega_squared", "sum_of_squares", "means"):
        assert blocked["b"][name] == pytest.approx(without["b"][name])


@given(st.integers(0, 10**6), st.integers(8, 24))
def test_one_factor_is_that_of_scipy_however_unbalanced(seed, n_kept):
    table = study(seed, keep=some_rows(seed, n_kept=n_kept))
    groups = [table["srcc"][table["h"] == h] for h in dict.fromkeys(table["h"].tolist())]
    if len(groups) < 2:
        return
    row, expected = anova(table, "srcc", ["h"])["h"], stats.f_oneway(*groups)
    assert (row["f"], row["p"]) == pytest.approx((expected.statistic, expected.pvalue))
    assert list(row["means"].values()) == pytest.approx([group.mean() for group in groups])


def residual_of_regression(table, terms):
    """Squared error of a regression on products of contrasts, and its rank with the mean."""
    n = len(table["srcc"])
    columns = [np.ones((n, 1))]
    for term in terms:
        product = np.ones((n, 1))
        for name in term:
            levels = np.unique(table[name])
            contrasts = (table[name][:, None] == levels[1:]) - (table[name][:, None] == levels[:1]).astype(float)
            product = (product[:, :, None] * contrasts[:, None, :]).reshape(n, -1)
        columns.append(product)
    design = np.hstack(columns)
    predicted = LinearRegression(fit_intercept=False).fit(design, table["srcc"]).predict(design)
    return np.sum((table["srcc"] - predicted) ** 2), np.linalg.matrix_rank(design)


@pytest.mark.parametrize("interactions", [False, True])
@pytest.mark.parametrize("block", ["run", None])
@pytest.mark.parametrize("seed", range(4))
def test_type_two_by_comparing_regressions(seed, block, interactions):
    table = study(seed, keep=some_rows(seed))
    found = anova(table, "srcc", ["h", "metric"], block=block, interactions=interactions)
    blocks = [(block,)] if block else []
    crossed = [("h", "metric")] if interactions else []
    everything = [("h",), ("metric",), *crossed, *blocks]
    residual, rank = residual_of_regression(table, everything)
    comparisons = {  # what each term adds, and to what
        "h": [("metric",), *blocks],
        "metric": [("h",), *blocks],
        "h:metric": [("h",), ("metric",), *blocks],
        "run": [("h",), ("metric",), *crossed],
    }
    assert list(found) == [":".join(term) for term in everything]
    for name, row in found.items():
        without, rank_without = residual_of_regression(table, comparisons[name])
        within, rank_within = residual_of_regression(table, [*comparisons[name], tuple(name.split(":"))])
        df, df_residual = rank_within - rank_without, len(table["srcc"]) - rank
        assert (row["df"], row["df_residual"]) == (df, df_residual)
        assert row["sum_of_squares"] == pytest.approx(without - within)
        f = (without - within) / df / (residual / df_residual)
        assert (row["f"], row["p"]) == pytest.approx((f, stats.f.sf(f, df, df_residual)))
        # Partial omega squared of Olejnik and Algina (2003), from F.
        assert row["omega_squared"] == pytest.approx(df * (f - 1) / (df * (f - 1) + len(table["srcc"])))
        assert row["eta_squared"] == pytest.approx(f * df / (f * df + df_residual))


def test_a_missing_cell_takes_its_degree_of_freedom():
    table = study()
    keep = ~((table["h"] == 5) & (table["metric"] == "cosine"))
    found = anova({k: v[keep] for k, v in table.items()}, "srcc", ["h", "metric"], interactions=True)
    assert found["h:metric"]["df"] == 1 and found["h"]["df"] == 2


@given(st.integers(0, 10**6), st.floats(1e-6, 1e6), st.floats(-10, 10))
def test_unit_and_order_do_not_matter(seed, unit, offset):
    table = study(seed)
    order = np.random.default_rng(seed).permutation(24)
    other = {name: column[order] for name, column in table.items()}
    other["srcc"] = (other["srcc"] + offset) * unit
    here, there = (anova(t, "srcc", ["h", "metric"], block="run") for t in (table, other))
    for name in here:
        for figure in ("f", "p", "eta_squared", "omega_squared"):
            assert there[name][figure] == pytest.approx(here[name][figure], rel=1e-6, abs=1e-12)


def test_a_table_of_pandas_is_as_good():
    pandas = pytest.importorskip("pandas")
    assert anova(pandas.DataFrame(study()), "srcc", ["h", "metric"]) == anova(study(), "srcc", ["h", "metric"])


def test_rows_can_be_written():
    found = anova(study(), "srcc", ["h", "metric"], block="run", interactions=True)
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize("srcc", [[0.1, 0.1, 0.3, 0.3], [0.7, 0.7, 0.7, 0.7]])
def test_nothing_left_to_compare_with(srcc):
    with pytest.warns(UndefinedMetricWarning, match="the terms explain all of srcc") as caught:
        row = anova({"h": [1, 1, 2, 2], "srcc": srcc}, "srcc", ["h"])["h"]
    assert caught[0].filename == __file__
    assert [row[k] for k in ("f", "p", "eta_squared", "omega_squared")] == [None] * 4
    assert row["sum_of_squares"] == pytest.approx((srcc[2] - srcc[0]) ** 2, abs=1e-20)
    assert row["means"] == pytest.approx({"1": srcc[0], "2": srcc[2]})


def test_small_differences_are_not_nothing():
    table = study()
    table["srcc"] = 1 + 1e-9 * table["srcc"]
    assert anova(table, "srcc", ["h"])["h"]["f"] == pytest.approx(anova(study(), "srcc", ["h"])["h"]["f"], rel=1e-4)


@pytest.mark.parametrize(
    ("changed", "arguments", "message"),
    [
        ({}, ["plcc", ["h"]], "The table has no column 'plcc'; there are 'h', 'metric', 'run', 'srcc'"),
        ({}, ["srcc", ["rate"]], "The table has no column 'rate'"),
        ({"h": [2] * 24}, ["srcc", ["h"]], "'h' has the one level '2' only, which cannot be tested; leave it out"),
        ({"h": [2, 5]}, ["srcc", ["h"]], "Column 'h' has 2 rows, but the response has 24"),
        ({"srcc": [np.nan] * 24}, ["srcc", ["h"]], "Input srcc contains NaN"),
        ({"run": study()["h"] ** 2}, ["srcc", ["h", "run"]], "h cannot be told from the other terms"),
        ({"run": np.arange(24)}, ["srcc", ["run"]], "24 observations do not leave a residual after 24 coefficients"),
    ],
)
def test_anova_bad_input(changed, arguments, message):
    with pytest.raises(ValueError, match=message):
        anova({**study(), **changed}, *arguments)
