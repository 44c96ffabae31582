import re
from html import unescape

import numpy as np
import pytest

from patchdistill.studies.findings import best_after_the_fact, compare, smallest_rates, stage_costs, summarize, verdict
from patchdistill.studies.tables import (
    agreement_table,
    best_table,
    cost_table,
    grouped_table,
    overview_table,
    settings_table,
)
from patchdistill.studies.wording import interval, number, or_never, share


def read(html):
    """Cells of a table as text, the first one written out in every row."""
    head, *rows = (re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall(r"<tr.*?</tr>", html))
    name = ""
    for row in rows:
        name = row[0] = row[0] or name
    return [unescape(cell) for cell in head], [[unescape(cell) for cell in row] for row in rows]


def test_names_are_written_once_and_escaped():
    html = grouped_table(("a", "b"), [("<x>", "1"), ("<x>", "2"), ("y", "3")])
    assert html.count("&lt;x&gt;") == 1 and "<x>" not in html
    assert html.count('class="first"') == 2
    assert read(html) == (["a", "b"], [["<x>", "1"], ["<x>", "2"], ["y", "3"]])
    assert grouped_table(("a", "b"), [("x", "1")], n_text=2).count('class="text"') == 4


def of(table, **key):
    for name, value in key.items():
        table = table[table[name] == value]
    (row,) = table.to_dict("records")
    return row


DEFAULT = {"selection": "residual", "metric": "euclidean", "h": 10}


def test_agreement_of_all_kept_and_random_patches(results):
    _, rows = read(agreement_table(results.cells, results.settings))
    assert len(rows) == 3 * (1 + 2 * 4)
    assert [row[:3] for row in rows[:3]] == [
        ["ERP", share(1.0), "all"],
        ["ERP", share(0.05), "residual"],
        ["ERP", share(0.05), "random"],
    ]
    means, to_all, to_random = summarize(results.cells), compare(results.cells, "all"), compare(results.cells, "random")
    for sampling, rate, selection, patches, splits, srcc, plcc, less_all, less_random in rows:
        key = DEFAULT if selection == "residual" else {"selection": selection}
        key = {**key, "sampling": sampling, "rate": float(rate[:-2]) / 100}
        mean = of(means, **key)
        assert srcc == f"{number(mean['srcc'])} ± {number(mean['srcc_sd'])}"
        assert plcc == f"{number(mean['plcc'])} ± {number(mean['plcc_sd'])}"
        assert (patches, splits) == (f"{mean['n_kept']:.0f}", "6")
        assert less_all == ("" if selection == "all" else interval(of(to_all, **key)))
        assert less_random == (interval(of(to_random, **key)) if selection == "residual" else "")


def test_constant_predictions_are_counted(results):
    cells = results.cells.copy()
    cells.loc[(cells["selection"] == "random") & (cells["rate"] == 0.2) & (cells["seed"] < 2), "srcc"] = np.nan
    _, rows = read(agreement_table(cells, results.settings))
    assert {row[4] for row in rows if row[1:3] == [share(0.2), "random"]} == {"6 (2 constant)"}
    assert {row[4] for row in rows if row[1:3] != [share(0.2), "random"]} == {"6"}


def test_overview(results):
    head, rows = read(overview_table(results.cells, results.settings))
    compared, smallest = compare(results.cells, "random"), smallest_rates(results.cells)
    assert [row[0] for row in rows] == list(results.settings["samplings"])
    for row in rows:
        cell = dict(zip(head, row, strict=True))
        outcomes = {
            rate: verdict(of(compared, **DEFAULT, sampling=row[0], rate=rate)) for rate in (0.05, 0.2, 0.45, 0.9)
        }
        for outcome, name in (
            ("better", "better than random"),
            ("worse", "worse than random"),
            ("unclear", "no clear difference"),
        ):
            expected = ", ".join(share(rate) for rate, found in outcomes.items() if found == outcome)
            assert cell[name] == (expected or "–")
        for selection, key in (("residual", DEFAULT), ("random", {"selection": "random"})):
            reached = of(smallest, **key, sampling=row[0])
            assert cell[f"{selection} ≥ all from"] == or_never(reached["mean"])
            assert cell[f"{selection} > all from"] == or_never(reached["interval"])


def test_best_is_beside_the_default(results):
    _, rows = read(best_table(results.cells, results.settings))
    best, means = best_after_the_fact(results.cells), summarize(results.cells)
    assert len(rows) == 3 * 4
    for sampling, rate, chosen, srcc, default in rows:
        key = {"sampling": sampling, "rate": float(rate[:-2]) / 100}
        row = of(best, **key)
        assert chosen == f"{row['metric']}, h = {row['h']}"
        assert srcc == f"{number(row['srcc'])} ± {number(row['srcc_sd'])}"
        assert default == number(of(means, **DEFAULT, **key)["srcc"])


def test_costs_and_their_sums(results, unfinished):
    _, rows = read(cost_table(stage_costs(results, "svr")))
    assert [row[1] for row in rows[:3]] == ["all patches", share(0.05), share(0.45)]
    for row in rows:
        *stages, total = map(float, row[2:])
        assert total == pytest.approx(sum(stages), abs=0.03)
    _, rows = read(cost_table(stage_costs(unfinished, "svr")))
    assert {row[-1] for row in rows if row[0] == "latitude"} == {"–"}


def test_several_models_are_named_in_the_order_of_the_settings(unfinished):
    for table in (overview_table, agreement_table, best_table):
        _, rows = read(table(unfinished.cells, unfinished.settings))
        names = list(dict.fromkeys(row[0] for row in rows))
        assert names == [f"{s}, {m}" for m in unfinished.settings["models"] for s in unfinished.settings["samplings"]]


def test_settings_are_written_out():
    _, rows = read(settings_table({"n_images": 3, "h": [5, 10], "models": {"svr": "SVR()", "a": "B<C>"}}))
    assert rows == [["n images", "3"], ["h", "5, 10"], ["models", "svr: SVR(); a: B<C>"]]
