"""The tables of a study's report, as HTML."""

from html import escape
from itertools import product

import numpy as np

from patchdistill.pages import write_table
from patchdistill.studies.findings import (
    best_after_the_fact,
    compare,
    of_default,
    smallest_rates,
    summarize,
    verdict,
)
from patchdistill.studies.wording import OUTCOMES, interval, number, or_never, share


def grouped_table(head, rows, n_text=1):
    """Write a table whose rows belong together where their first cells agree.

    Parameters
    ----------
    head : sequence of str
        Names of the columns.
    rows : sequence of sequence of str
        What the cells say, as plain text. A row gets a line above where its first cell is not that of the row before,
        and the first cell is written there alone.
    n_text : int, default=1
        How many columns, from the left, are text.

    Returns
    -------
    str
        HTML.
    """
    lines, last = [], None
    for name, *others in rows:
        cells = ("" if name == last else name, *others)
        lines.append(([escape(cell) for cell in cells], name != last))
        last = name
    return write_table([escape(name) for name in head], lines, n_text)


def overview_table(cells, settings):
    """Write, per sampling and model, at which rates residual selection is better than random selection or all patches.

    Parameters
    ----------
    cells : DataFrame
        Cells of a study.
    settings : dict
        Its settings.

    Returns
    -------
    str
        HTML.
    """
    against_random = of_default(compare(cells, "random"), settings).sort_values("rate")
    smallest = of_default(smallest_rates(cells), settings)
    rows = []
    for name, compared, reached in _by_sampling(settings, against_random, smallest):
        rates = {outcome: [] for outcome in OUTCOMES}
        for _, row in compared.iterrows():
            rates[verdict(row)].append(share(row["rate"]))
        reached = reached.set_index("selection")
        from_rate = [
            or_never(reached.loc[selection, rule]) if selection in reached.index else "–"
            for selection, rule in product(("residual", "random"), ("mean", "interval"))
        ]
        rows.append((name, *(", ".join(of_outcome) or "–" for of_outcome in rates.values()), *from_rate))
    head = (
        "sampling",
        *OUTCOMES.values(),
        *(f"{selection} {sign} all from" for selection, sign in product(("residual", "random"), "≥>")),
    )
    return grouped_table(head, rows, n_text=len(head))


def agreement_table(cells, settings):
    """Write how well all, kept and random patches do at every rate, with the default metric and h.

    Parameters
    ----------
    cells : DataFrame
        Cells of a study.
    settings : dict
        Its settings.

    Returns
    -------
    str
        HTML.
    """
    tables = [
        of_default(table, settings) for table in (summarize(cells), compare(cells, "all"), compare(cells, "random"))
    ]
    rows = []
    for name, means, *differences in _by_sampling(settings, *tables):
        differences = [table.set_index(["selection", "rate"]) for table in differences]
        is_part, is_random = means["selection"] != "all", means["selection"] == "random"
        for _, row in (
            means.assign(is_part=is_part, is_random=is_random).sort_values(["is_part", "rate", "is_random"]).iterrows()
        ):
            key = row["selection"], row["rate"]
            n_undefined = f" ({row['n_undefined']} constant)" if row["n_undefined"] else ""
            rows.append(
                (
                    name,
                    share(row["rate"]),
                    row["selection"],
                    f"{row['n_kept']:.0f}",
                    f"{row['n_seeds']}{n_undefined}",
                    _mean_and_deviation(row, "srcc"),
                    _mean_and_deviation(row, "plcc"),
                    *(interval(table.loc[key]) if key in table.index else "" for table in differences),
                )
            )
    head = ("sampling", "rate", "selection", "patches", "splits", "SRCC", "PLCC", "SRCC less all", "SRCC less random")
    return grouped_table(head, rows, n_text=3)


def best_table(cells, settings):
    """Write which metric and h have the highest mean SRCC at every rate.

    Parameters
    ----------
    cells : DataFrame
        Cells of a study.
    settings : dict
        Its settings.

    Returns
    -------
    str
        HTML.
    """
    summary = summarize(cells)
    default = of_default(summary[summary["selection"] == "residual"], settings)
    rows = []
    for name, best, of_default_here in _by_sampling(settings, best_after_the_fact(cells).sort_values("rate"), default):
        srcc = of_default_here.set_index("rate")["srcc"]
        for _, row in best.iterrows():
            chosen = f"{row['metric']}, h = {row['h']}"
            of_same = number(srcc.get(row["rate"], np.nan))
            rows.append((name, share(row["rate"]), chosen, _mean_and_deviation(row, "srcc"), of_same))
    return grouped_table(("sampling", "rate", "highest mean SRCC", "SRCC", "SRCC of the default"), rows, n_text=3)


def cost_table(costs):
    """Write milliseconds per image and stage.

    Parameters
    ----------
    costs : DataFrame
        What :func:`patchdistill.studies.findings.stage_costs` gives.

    Returns
    -------
    str
        HTML.
    """
    stages = ["sampling_ms", "embedding_ms", "selection_ms", "model_ms"]
    rows = []
    for _, row in costs.iterrows():
        kept = "all patches" if row["selection"] == "all" else share(row["rate"])
        values = [*row[stages], row[stages].sum(skipna=False)]
        rows.append((row["sampling"], kept, *(number(value, digits=2) for value in values)))
    return grouped_table(("sampling", "kept", "sampling", "embedding", "selection", "model", "sum"), rows, n_text=2)


def settings_table(settings):
    """Write the settings of a study.

    Parameters
    ----------
    settings : dict
        Settings.

    Returns
    -------
    str
        HTML.
    """
    rows = []
    for name, value in settings.items():
        if isinstance(value, dict):
            value = "; ".join(f"{key}: {of_key}" for key, of_key in value.items())
        elif isinstance(value, list):
            value = ", ".join(map(str, value))
        rows.append((name.replace("_", " "), str(value)))
    return grouped_table(("setting", "value"), rows, n_text=2)


def _by_sampling(settings, *tables):
    """For each sampling and model that there is anything of, its name and its rows of every table."""
    for model, sampling in product(settings["models"], settings["samplings"]):
        rows = [table[(table["sampling"] == sampling) & (table["model"] == model)] for table in tables]
        if any(map(len, rows)):
            yield f"{sampling}, {model}" if len(settings["models"]) > 1 else sampling, *rows


def _mean_and_deviation(row, measure):
    return f"{number(row[measure])} ± {number(row[f'{measure}_sd'])}"
