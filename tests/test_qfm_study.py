"""What the page "Features that fool a quality model" says is what its study and its figures found."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr, t, ttest_1samp

ROOT = Path(__file__).parents[1]
PATH = ROOT / "benchmarks" / "results" / "study_qfm.json"
FIGURES = ("srcc", "plcc", "sensitivity")


@pytest.fixture(scope="module")
def results():
    return json.loads(PATH.read_text(encoding="utf-8"))


@pytest.fixture
def tables(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    import feature_tables

    return feature_tables


@pytest.fixture(scope="module")
def confound():
    pytest.importorskip("matplotlib")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "docs")
        import feature_figures
    return feature_figures.confound()


def of_seeds(results, row, arm):
    same = {**{key: row[key] for key in ("data", "model", "feature", "n_labels")}, "arm": arm}
    found = [one for one in results["per_seed"] if all(one[key] == value for key, value in same.items())]
    return sorted(found, key=lambda one: one["seed"])


def test_the_table_is_that_of_the_seeds(results):
    for row in results["table"]:
        own, plain = (of_seeds(results, row, arm) for arm in (row["arm"], "plain"))
        assert [one["seed"] for one in own] == list(range(results["settings"]["n_seeds"]))
        for figure in FIGURES:
            assert row[figure] == pytest.approx(np.mean([one[figure] for one in own]), abs=2e-4)
            if row["arm"] == "plain":
                continue
            difference = np.array([a[figure] - b[figure] for a, b in zip(own, plain, strict=True)])
            interval = ttest_1samp(difference, 0).confidence_interval() if difference.any() else (0, 0)
            if row["data"] == "photographs":  # corrected, for splits of 75 % and 25 % of the same scenes
                n = len(difference)
                half = t.ppf(0.975, n - 1) * difference.std(ddof=1) * np.sqrt(1 / n + 0.25 / 0.75)
                interval = difference.mean() + half * np.array([-1, 1])
            np.testing.assert_allclose(row[f"{figure}_difference"], [difference.mean(), *interval], atol=1e-3)


def of(results, data, model, feature=None):
    """Rows by arm, of one kind of features, or a list of all rows with differences."""
    rows = [row for row in results["table"] if (row["data"], row["model"]) == (data, model)]
    if feature is None:
        return [row for row in rows if row["arm"] != "plain"]
    return {row["arm"]: row for row in rows if row["feature"] == feature}


def sign(row, figure):
    """1 or -1 where a difference to the plain model is clear, else 0."""
    _, low, high = row[f"{figure}_difference"]
    return int(low > 0) - int(high < 0)


def test_what_the_page_says_of_photographs(results):
    rows = of(results, "photographs", "linear") + of(results, "photographs", "network")
    assert len(rows) == 3 * (2 * 5 + 5)
    assert not [row for row in rows if sign(row, "srcc") > 0 or sign(row, "sensitivity") < 0]
    everything = [row for row in results["table"] if row["data"] == "photographs"]
    assert max(row["srcc"] for row in everything) < 0.5
    assert all(1.0 < row["sensitivity"] < 1.3 for row in everything)


def test_what_the_page_says_of_networks_on_dead_leaves(results):
    rows = of(results, "confound", "network", "pixels")
    for arm in ("semantic", "both"):
        assert sign(rows[arm], "srcc") == 1 and sign(rows[arm], "sensitivity") == -1
    assert sign(rows["quality"], "srcc") < 1
    assert rows["both, gate"]["srcc"] < rows["both"]["srcc"]
    assert sign(rows["both, gate, panel"], "srcc") == -1
    assert rows["both, gate, distillation"]["srcc"] == max(row["srcc"] for row in rows.values())
    assert sign(rows["plain, distillation"], "srcc") == 1
    students = [of_seeds(results, rows["plain"], arm) for arm in ("both, gate, distillation", "plain, distillation")]
    differences = [a["srcc"] - b["srcc"] for a, b in zip(*students, strict=True)]
    assert ttest_1samp(differences, 0).confidence_interval().low > 0
    assert sign(rows["both, gate, panel"], "sensitivity") == -1
    assert sign(rows["any quality"], "srcc") == -1
    statistics = of(results, "confound", "linear", "statistics")["plain"]
    assert statistics["srcc"] > max(row["srcc"] for row in rows.values()) + 0.15


def test_what_the_page_says_of_linear_models_on_dead_leaves(results):
    statistics, colors, network = (
        of(results, "confound", "linear", feature) for feature in ("statistics", "statistics and colors", "network")
    )
    assert sign(colors["both"], "srcc") == 1
    assert colors["both"]["srcc"] == max(row["srcc"] for row in colors.values())
    assert max(row["srcc_difference"][0] for arm, row in statistics.items() if arm != "plain") < 0.025
    assert sign(statistics["both"], "srcc") == sign(statistics["semantic"], "srcc") == 1
    assert sign(statistics["quality"], "srcc") == 0
    for rows in (statistics, colors, network):
        assert sign(rows["any quality"], "srcc") < 1
    assert sign(statistics["gated features"], "srcc") < 1 and sign(colors["gated features"], "srcc") < 1
    assert max(row["srcc"] for row in network.values()) < 0
    for rows, largest, share in ((statistics, 0.0, 0.85), (colors, 0.1, 0.5)):
        lams = [one["chosen"]["lam"] for one in of_seeds(results, rows["plain"], "any quality")]
        assert np.mean(np.array(lams) <= largest) > share


def test_what_the_page_says_of_gates(confound):
    from patchdistill.qfm import QFMRidge

    train, test, names = confound
    gates = QFMRidge(lam=1.0).fit(train.features, train.y, semantics=train.shown).gate_
    best = [names[i] for i in np.argsort(-gates)[:10]]
    assert all(name.startswith(("scale2_luma", "scale3_luma")) for name in best)
    assert max(gates[i] for i, name in enumerate(names) if name.endswith("_mean") and name.count("_") == 2) < 0.02

    def correlations(X, y):
        return np.array([np.corrcoef(column, y)[0, 1] for column in X.T])

    along, across = (correlations(np.hstack([part.features, part.shown]), part.y) for part in (train, test))
    n = len(names)
    assert spearmanr(gates, np.abs(along[:n])).statistic > 0.99
    strongest = np.argmax(np.where(along * across < 0, np.abs(along), 0))
    assert strongest >= n
    both = np.hstack([train.features, train.shown / train.shown.std(axis=0)])
    of_both = QFMRidge(lam=1.0).fit(both, train.y, semantics=train.shown).gate_
    for order in (of_both, np.abs(along)):
        assert np.mean(order > order[strongest]) < 0.06


def test_tables_show_each_row_and_mark_what_is_clear(tables, monkeypatch):
    figures = {"model": "linear", "feature": "statistics", "srcc": 0.5, "plcc": 0.25, "sensitivity": 1.0}
    rows = [
        {"data": "confound", "n_labels": 9, "arm": "plain", **figures},
        {"data": "confound", "n_labels": 9, "arm": "both", **figures},
        {"data": "photographs", "n_labels": 9, "arm": "other", **figures},
    ]
    rows[1] |= {"srcc_difference": [0.1, 0.05, 0.15], "sensitivity_difference": [-0.2, -0.5, 0.1]}
    rows[2] |= {"srcc_difference": [-0.1, -0.15, -0.05], "sensitivity_difference": [0.2, -0.1, 0.5]}
    seeds = [{**rows[1], "seed": seed, "chosen": {"lam": lam}} for seed, lam in enumerate((0.0, 0.3, 1.0))]
    seeds += [{**rows[2], "seed": seed, "chosen": {"lam": 0.1}} for seed in range(2)]
    results = {"table": rows, "per_seed": seeds, "setup": {"processor": "abacus", "date": "2026-01-01"}}
    monkeypatch.setattr(tables, "_load", lambda name: results)

    text = tables.models("confound")
    cells = [line.strip().removeprefix("* ").removeprefix("-").strip() for line in text.splitlines()]
    at = cells.index("both")
    assert cells[at - 7 : at] == ["plain", "0.500", "", "0.250", "1.000", "", ""]
    differences = "**+0.100 (+0.050 to +0.150)**", "-0.200 (-0.500 to +0.100)"
    assert cells[at + 1 : at + 7] == ["0.500", differences[0], "0.250", "1.000", differences[1], "2 of 3"]
    assert "other" not in text and "Labels" not in text and "abacus, 2026-01-01" in text

    fewer = [{**row, "data": "photographs", "n_labels": 5} for row in (rows[0], rows[2])]
    rows[2:] = [{**rows[0], "data": "photographs"}, rows[2], *fewer]
    seeds.append({**fewer[1], "seed": 0, "chosen": {"lam": 0.0}})
    text = tables.models("photographs")
    assert "* - Labels\n     - Partners\n     - SRCC" in text
    assert text.index("* - 5\n     - plain") < text.index("0 of 1") < text.index("* - 9\n     - plain")
    assert text.index("**-0.100 (-0.150 to -0.050)**") < text.index("2 of 2")
