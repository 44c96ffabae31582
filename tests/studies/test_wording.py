import numpy as np
import pytest

from patchdistill.studies.findings import compare, of_default, verdict
from patchdistill.studies.wording import headline, interval, limits, number, or_never, share


def with_shift(results, shift):
    """Cells whose residual selection is better than random selection by a shift."""
    cells = results.cells.copy()
    of_random = cells[cells["selection"] == "random"].set_index(["sampling", "model", "rate", "seed"])["srcc"]
    residual = cells["selection"] == "residual"
    key = ["sampling", "model", "rate", "seed"]
    cells.loc[residual, "srcc"] = [of_random[tuple(row)] + shift for row in cells.loc[residual, key].to_numpy()]
    return cells


@pytest.mark.parametrize(
    "shift, counts, end",
    [
        (0.01, "better in 12, worse in 0, no clear difference in 0 of 12 comparisons", "random selection everywhere."),
        (-0.01, "better in 0, worse in 12, no clear difference in 0 of 12 comparisons", "nowhere is it shown"),
        (0.0, "better in 0, worse in 0, no clear difference in 12 of 12 comparisons", "nowhere is it shown"),
    ],
)
def test_the_headline_says_what_came_out(results, shift, counts, end):
    sentence = headline(with_shift(results, shift), results.settings)
    assert sentence.startswith("Residual selection (euclidean, h = 10) against as many random patches, by SRCC: ")
    assert counts in sentence and end in sentence


def test_the_headline_counts_the_verdicts_on_the_default(results):
    compared = of_default(compare(results.cells, "random"), results.settings)
    verdicts = [verdict(row) for _, row in compared.iterrows()]
    n_better, n_worse, n_unclear = (verdicts.count(name) for name in ("better", "worse", "unclear"))
    assert 0 < n_better < 12  # or else another ending is tested
    sentence = headline(results.cells, results.settings)
    counts = f"better in {n_better}, worse in {n_worse}, no clear difference in {n_unclear} of 12 comparisons"
    assert counts in sentence and "nothing speaks against plain random selection" in sentence


@pytest.mark.parametrize("kept", ["all", "random", "residual"])
def test_nothing_is_said_where_nothing_is_known(results, kept):
    cells = results.cells[results.cells["selection"] == kept]
    assert headline(cells, results.settings).startswith("No two splits can be compared yet")
    assert headline(results.cells[results.cells["seed"] == 0], results.settings).startswith("No two splits")


def test_numbers():
    assert number(-0.0001) == "0.000" and number(-0.5, sign=True) == "−0.500" and number(2, digits=0) == "2"
    assert interval({"value": 0.01, "low": -0.002, "high": 0.0216}) == "+0.010 (−0.002 to +0.022)"
    assert interval({"value": 0.01, "low": np.nan, "high": np.nan}) == "+0.010"
    assert or_never(np.nan) == "never" and or_never(0.3) == share(0.3) == "30\N{NO-BREAK SPACE}%"
    assert share(1.0) == "100\N{NO-BREAK SPACE}%" and share(24.0) == "24\N{NO-BREAK SPACE}patches"


def test_limits_come_from_the_settings(results):
    text = " ".join(f"{topic} {sentence}" for topic, sentence in limits({**results.settings, "label": "DMOS"}))
    for words in ("DMOS", "6 splits", "10 scenes", "PatchStatistics()", "svr"):
        assert words in text
