from itertools import combinations

import numpy as np
import pytest

from patchdistill.studies.figures import (
    draw_convergence,
    draw_costs,
    draw_differences,
    draw_effects,
    draw_examples,
    draw_h,
    draw_rates,
    draw_smallest_rates,
)
from patchdistill.studies.findings import compare, factor_effects, of_default, smallest_rates, stage_costs, summarize

matplotlib = pytest.importorskip("matplotlib")


def draw_all(results):
    model = next(iter(results.settings["models"]))
    cells = results.cells[results.cells["model"] == model]
    yield draw_smallest_rates(cells, results.settings)
    yield draw_h(cells, results.settings)
    yield draw_rates(cells, results.settings)
    yield draw_differences(cells, results.settings)
    yield draw_effects(*factor_effects(cells))
    yield draw_convergence(results.solutions, results.settings)
    yield draw_examples(results.examples)
    yield draw_costs(stage_costs(results, model))


def axes_by_title(figure):
    return {ax.get_title(): ax for ax in figure.axes if ax.get_visible()}


def line(ax, label):
    """Places and values of a line with a label."""
    handle = dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))[label]
    drawn = handle[0] if isinstance(handle, tuple) else handle
    return np.array(drawn.get_xdata(), dtype=float), np.array(drawn.get_ydata(), dtype=float)


def tick_labels(axis):
    low, high = sorted(axis.get_view_interval())
    return [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]


def texts_that_touch(figure):
    """Pairs of texts outside of the plots that cover each other, and texts that are cut off."""
    figure.draw_without_rendering()
    texts = [text for legend in figure.legends for text in legend.get_texts()]
    for ax in figure.axes:
        if ax.get_visible():
            texts += [ax.title, ax.xaxis.label, ax.yaxis.label, *tick_labels(ax.xaxis)]
            texts += [] if ax.name == "polar" else tick_labels(ax.yaxis)
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts if text.get_visible() and text.get_text()]
    found = [(a, b) for (a, box), (b, other) in combinations(boxes, 2) if box.overlaps(other)]
    for ax in (ax for ax in figure.axes if ax.name == "polar"):
        # Slanted texts lie inside their boxes; the title must not touch even these.
        around = [(text.get_text(), text.get_window_extent()) for text in ax.texts]
        found += [(ax.get_title(), a) for a, box in around if box.overlaps(ax.title.get_window_extent())]
        boxes += around
    return found + [(a,) for a, box in boxes if box.x0 < -1 or box.x1 > figure.bbox.x1 + 1]


def test_no_labels_touch(results):
    for figure in draw_all(results):
        assert texts_that_touch(figure) == []


def test_no_labels_touch_in_a_large_study(make_results):
    many = make_results(
        samplings=("uniform", "latitude", "fibonacci", "random", "trajectory"),
        metrics=("euclidean", "cosine", "manhattan", "mahalanobis"),
        n_seeds=3,
        n_images=8,
    )
    for draw in (draw_smallest_rates, draw_rates):
        assert texts_that_touch(draw(many.cells, many.settings)) == []


def test_unfinished_studies_are_drawn(unfinished):
    for figure in draw_all(unfinished):
        figure.draw_without_rendering()


@pytest.mark.parametrize(
    "options",
    [
        {"h": (10,), "rates": (0.3,), "n_seeds": 1},
        {"rates": (12, 30)},
    ],
    ids=["nothing varied", "numbers of patches"],
)
def test_small_studies_are_drawn(make_results, options):
    small = {"samplings": ("ERP",), "metrics": ("cosine",), "h": (10, 5), "rates": (0.1, 0.5), "n_seeds": 3}
    for figure in draw_all(make_results(**{**small, **options})):
        figure.draw_without_rendering()


@pytest.mark.parametrize("kept", ["all", "residual"])
def test_a_study_that_has_just_begun_is_drawn(results, kept):
    cells = results.cells[results.cells["selection"] == kept][:1]
    for draw in (draw_smallest_rates, draw_h, draw_rates, draw_differences):
        draw(cells, results.settings).draw_without_rendering()
    draw_convergence(results.solutions[:0], results.settings).draw_without_rendering()


def test_rings_are_the_smallest_rates(results):
    figure = draw_smallest_rates(results.cells, results.settings)
    rates = sorted(results.settings["rates"])
    table = smallest_rates(results.cells)
    spokes = [(sampling, metric) for sampling in results.settings["samplings"] for metric in ("euclidean", "cosine")]
    for ax, rule in zip(figure.axes, ("mean", "interval"), strict=True):
        labels = {label.get_text(): place for label, place in zip(ax.get_yticklabels(), ax.get_yticks(), strict=True)}
        assert list(labels)[-1] == "never"
        for label, of_residual in (("residual selection, h = 10", True), ("random selection", False)):
            _, rings = line(ax, label)
            assert rings[0] == rings[-1] and len(rings) == 7
            for ring, (sampling, metric) in zip(rings, spokes, strict=False):
                rows = table[table["sampling"] == sampling]
                if of_residual:
                    rows = rows[(rows["metric"] == metric) & (rows["h"] == 10)]
                else:
                    rows = rows[rows["selection"] == "random"]
                (rate,) = rows[rule]
                expected = labels["never"] if np.isnan(rate) else rates.index(rate) + 1
                assert ring == expected
        assert list(labels)[: len(rates)] == [f"{100 * rate:g}\N{NO-BREAK SPACE}%" for rate in rates]
        names = [text.get_text() for text in ax.texts]
        assert names == [f"{sampling}\n{metric}" for sampling, metric in spokes]


def test_never_is_told_from_not_yet(results):
    cells = results.cells[results.cells["metric"].isna() | (results.cells["metric"] != "cosine")]
    _, rings = line(draw_smallest_rates(cells, results.settings).axes[0], "residual selection, h = 10")
    np.testing.assert_array_equal(np.isnan(rings), [False, True, False, True, False, True, False])


def test_lines_against_h(results):
    figure = draw_h(results.cells, results.settings)
    table = summarize(results.cells)
    table = table[table["rate"] == 0.45]
    axes = np.reshape(figure.axes, (2, 3))
    for row, measure in zip(axes, ("srcc", "plcc"), strict=True):
        assert row[0].get_ylabel() == measure.upper()
        for ax, sampling in zip(row, results.settings["samplings"], strict=True):
            rows = table[table["sampling"] == sampling]
            for metric in results.settings["metrics"]:
                of_metric = rows[rows["metric"] == metric].sort_values("h")
                x, y = line(ax, metric)
                np.testing.assert_array_equal(y, of_metric[measure])
                np.testing.assert_array_equal(np.round(x), [0, 1])
                handle = dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))[metric]
                bars = np.array([segment[:, 1] for segment in handle[2][0].get_segments()])
                np.testing.assert_allclose(np.diff(bars)[:, 0] / 2, of_metric[f"{measure}_sd"])
            if measure == "plcc":
                assert [label.get_text() for label in ax.get_xticklabels()] == ["5", "10"]
            (of_random,) = rows.loc[rows["selection"] == "random", measure]
            np.testing.assert_array_equal(line(ax, "random selection, mean")[1], of_random)


def test_lines_against_the_rate(results):
    figure = draw_rates(results.cells, results.settings)
    table = summarize(results.cells)
    for sampling, ax in axes_by_title(figure).items():
        rows = table[table["sampling"] == sampling].sort_values("rate")
        of_all = rows[rows["selection"] == "all"].iloc[0]
        random, residual = (rows[rows["selection"] == name] for name in ("random", "residual"))
        np.testing.assert_array_equal(line(ax, "all patches")[1], of_all["srcc"])
        np.testing.assert_array_equal(line(ax, "random selection"), random[["rate", "srcc"]].to_numpy().T)
        default = residual[(residual["metric"] == "euclidean") & (residual["h"] == 10)]
        np.testing.assert_array_equal(line(ax, "residual, euclidean, h = 10"), default[["rate", "srcc"]].to_numpy().T)
        bands = dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
        spread = random["srcc_sd"]
        means = [group["srcc"] for _, group in residual.groupby("rate")]
        for label, low, high in (
            ("random, least and most", random["srcc_min"], random["srcc_max"]),
            ("random, ± sd", random["srcc"] - spread, random["srcc"] + spread),
            ("residual, means of all metrics and h", [m.min() for m in means], [m.max() for m in means]),
        ):
            corners = {tuple(corner) for corner in bands[label].get_paths()[0].vertices}
            rates = results.settings["rates"]
            assert corners == {*zip(rates, low, strict=True), *zip(rates, high, strict=True)}
        sides = [np.unique(drawn.get_ydata()) for drawn in ax.lines if drawn.get_label() == "all patches, ± sd"]
        np.testing.assert_allclose(np.ravel(sides), of_all["srcc"] + np.array([-1, 1]) * of_all["srcc_sd"])


def test_differences_have_their_intervals(results):
    table = of_default(compare(results.cells, "all"), results.settings).sort_values("rate")
    for sampling, ax in axes_by_title(draw_differences(results.cells, results.settings)).items():
        for label, selection in (("residual, euclidean, h = 10", "residual"), ("random selection", "random")):
            rows = table[(table["sampling"] == sampling) & (table["selection"] == selection)]
            x, y = line(ax, label)
            np.testing.assert_array_equal(y, rows["value"])
            np.testing.assert_allclose(x, rows["rate"], rtol=0.04)
            handle = dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))[label]
            bars = np.array([segment[:, 1] for segment in handle[2][0].get_segments()])
            np.testing.assert_allclose(bars, rows[["low", "high"]])
        np.testing.assert_array_equal(line(ax, "all patches")[1], 0)


def test_bars_of_effects():
    effects = {
        "rate": {"eta_squared": 0.7, "p": 0.0123},
        "h": {"eta_squared": 0.25, "p": 1e-9},
        "metric": {"eta_squared": None, "p": None},
        "seed": {"eta_squared": 0.9, "p": 0.5},
    }
    (ax,) = draw_effects(effects, "").axes
    assert [bar.get_width() for bar in ax.patches] == [0.7, 0.25, 0.9]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["rate", "h", "split (block)"]
    assert [text.get_text().strip() for text in ax.texts] == [
        "0.70,  p = 0.012",
        "0.25,  p < 0.001",
        "0.90,  p = 0.500",
    ]
    assert ax.patches[2].get_facecolor() != ax.patches[0].get_facecolor() == ax.patches[1].get_facecolor()


def test_why_there_are_no_effects_is_written():
    (ax,) = draw_effects({}, "One split only.").axes
    assert ax.texts[0].get_text() == "No analysis of variance. One split only."


def test_boxes_of_convergence(results):
    solutions = results.solutions.copy()
    solutions.loc[solutions.index[0], "gap"] = 0.0
    steps, gaps, shares = draw_convergence(solutions, results.settings).axes
    groups = [group for _, group in solutions.groupby(["metric", "h"])]
    for ax, name in ((steps, "n_iter"), (gaps, "gap")):
        for box, group in zip(ax.patches, groups, strict=True):
            values = np.maximum(group[name].to_numpy(dtype=float), 1e-16)
            ends = box.get_x(), box.get_x() + box.get_width()
            np.testing.assert_allclose(ends, np.quantile(values, [0.25, 0.75]))
        whiskers, medians = ax.lines[0:8:2], ax.lines[1:8:2]
        for whisker, median, group in zip(whiskers, medians, groups, strict=True):
            values = np.maximum(group[name].to_numpy(dtype=float), 1e-16)
            np.testing.assert_allclose(whisker.get_xdata(), [values.min(), values.max()])
            np.testing.assert_allclose(median.get_xdata(), np.median(values))
        assert ax.get_xscale() == "log"
    np.testing.assert_array_equal(gaps.lines[8].get_xdata(), results.settings["tol"])
    assert [bar.get_width() for bar in shares.patches] == [group["converged"].mean() for group in groups]
    assert [text.get_text() for text in shares.texts] == [f"{group['converged'].sum()} of 120" for group in groups]
    names = [label.get_text() for label in steps.get_yticklabels()]
    assert names == ["cosine, h = 5", "cosine, h = 10", "euclidean, h = 5", "euclidean, h = 10"]


def test_examples_show_what_was_kept(results):
    figure = draw_examples(results.examples)
    axes = [ax for ax in figure.axes if ax.get_visible() and ax.images]
    assert [ax.get_title() for ax in axes] == [f"{name}: 27 of 60 kept" for name in results.settings["samplings"]]
    for ax, example in zip(axes, results.examples, strict=True):
        np.testing.assert_array_equal(ax.images[0].get_array(), example["image"])
        (dots,) = (artist for artist in ax.collections if len(artist.get_paths()) == 60)
        np.testing.assert_array_equal(dots.get_array(), example["scores"])


def test_pieces_of_costs(results):
    costs = stage_costs(results, "svr")
    costs.loc[costs.index[1], "embedding_ms"] = np.nan
    (ax,) = draw_costs(costs).axes
    stages = ["sampling_ms", "embedding_ms", "selection_ms", "model_ms"]
    bars = np.reshape(ax.patches, (len(costs), 4))
    for pieces, values in zip(bars, np.nan_to_num(costs[stages].to_numpy(dtype=float)), strict=True):
        np.testing.assert_allclose([piece.get_width() for piece in pieces], values)
        np.testing.assert_allclose([piece.get_x() for piece in pieces], np.cumsum([0, *values])[:-1])
    sums = costs[stages].sum(axis=1)
    assert [text.get_text() for text in ax.texts] == [
        f"{total:.1f}" + " without embedding" * (i == 1) for i, total in enumerate(sums)
    ]
    labels = [label.get_text().replace("\N{NO-BREAK SPACE}", " ") for label in ax.get_yticklabels()]
    assert labels[:3] == ["ERP, all", "ERP, 5 %", "ERP, 45 %"]
    assert [text.get_text() for text in ax.figure.legends[0].get_texts()] == [
        "sampling",
        "embedding",
        "selection",
        "model",
    ]


def test_says_what_to_install(results, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'report of a study needs matplotlib.*\n.*"patchdistill\[viz\]"'):
        draw_effects({}, "")
