"""How well scores agree with labels, against rate and h. All figures are for the cells of one model."""

from itertools import product

import numpy as np

from patchdistill.studies.figures.style import (
    BLUE,
    COLORS,
    GRAY,
    MARKERS,
    RED,
    SKY,
    new_figure,
    panels,
    plain,
    shared_legend,
)
from patchdistill.studies.findings import compare, default_rate, of_default, smallest_rates, summarize
from patchdistill.studies.wording import share

_ALL = {"color": "black", "linestyle": (0, (5, 3)), "linewidth": 1.2, "zorder": 1.5}
_FONT = 8.5
_BEHIND = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.4}
_RANDOM = {"color": GRAY, "marker": "^", "label": "random selection"}


def draw_smallest_rates(cells, settings):
    """Draw the smallest rate at which kept patches are at least as good as all, one spoke per sampling and metric.

    Parameters
    ----------
    cells : DataFrame
        Cells of one model.
    settings : dict
        Settings of the study.

    Returns
    -------
    matplotlib Figure
        Left on average, right by intervals, see :func:`patchdistill.studies.findings.smallest_rates`; h is the
        default.
    """
    table = smallest_rates(cells)
    metrics, rates, h = settings["metrics"], sorted(settings["rates"]), settings["default"]["h"]
    spokes = list(product(settings["samplings"], metrics))
    labels = ["\n".join(spoke) if len(metrics) > 1 else spoke[0] for spoke in spokes]
    residual = table[(table["selection"] == "residual") & (table["h"] == h)].set_index(["sampling", "metric"])
    random = table[table["selection"] == "random"].set_index("sampling")
    lines = (
        (random, [sampling for sampling, _ in spokes], {**_RANDOM, "linestyle": (0, (4, 2))}),
        (residual, spokes, {"color": BLUE, "marker": "o", "label": f"residual selection, h = {h}"}),
    )
    angles = np.arange(len(spokes)) * 2 * np.pi / len(spokes)
    figure = new_figure(5.6)
    axes = figure.subplots(1, 2, subplot_kw={"projection": "polar"})
    rules = {"mean": "on average not below all patches", "interval": "above all patches by 95 % intervals"}
    for ax, (rule, title) in zip(axes, rules.items(), strict=True):
        _draw_rings(ax, rates)
        for rows, keys, style in lines:
            rings = np.array([_ring(rows[rule], key, rates) for key in keys])
            ax.plot([*angles, angles[0]], [*rings, rings[0]], linewidth=1.6, markersize=6, clip_on=False, **style)
        _name_spokes(ax, labels, angles)
        ax.set_title(title, fontsize=10, pad=14 + _FONT * 0.6 * max(len(word) for spoke in spokes for word in spoke))
    shared_legend(figure)
    return figure


def _ring(column, key, rates):
    """Which ring a rate is on: 1 is the smallest rate, and the one behind the last is "never"."""
    if key not in column.index:
        return np.nan
    return len(rates) + 1 if np.isnan(column[key]) else rates.index(column[key]) + 1


def _draw_rings(ax, rates):
    never = len(rates) + 1
    ax.set_theta_zero_location("N")
    ax.set_theta_direction(-1)
    ax.set_ylim(0, never)
    ax.set_yticks(range(1, never + 1), [*(share(rate) for rate in rates), "never"], fontsize=7.5, bbox=_BEHIND)
    ax.spines["polar"].set_color(RED)
    ax.grid(color="#d8d8d8", linewidth=0.6)


def _name_spokes(ax, labels, angles):
    """Write along the spokes, from left to right on either side."""
    ax.set_xticks(angles, [""] * len(angles))
    # The scale stands between the last and the first spoke, where no marker is.
    ax.set_rlabel_position(-180 / len(angles))
    edge = 1.07 * ax.get_ylim()[1]
    for label, angle in zip(labels, angles, strict=True):
        degrees = 90 - np.degrees(angle)
        is_left = np.cos(np.radians(degrees)) < -1e-9
        ax.text(
            angle,
            edge,
            label,
            rotation=degrees + 180 * is_left,
            rotation_mode="anchor",
            ha="right" if is_left else "left",
            va="center",
            fontsize=_FONT,
        )


def draw_h(cells, settings):
    """Draw SRCC and PLCC against h, with one standard deviation over splits, one line per metric.

    Parameters
    ----------
    cells : DataFrame
        Cells of one model.
    settings : dict
        Settings of the study.

    Returns
    -------
    matplotlib Figure
        One column per sampling; the rate is the one closest to the default.
    """
    rate, levels, metrics = default_rate(settings), sorted(settings["h"]), settings["metrics"]
    table = summarize(cells)
    samplings, measures = list(settings["samplings"]), ("srcc", "plcc")
    figure = new_figure(5.6)
    axes = figure.subplots(2, len(samplings), squeeze=False, sharex=True, sharey="row")
    for (row, measure), (column, sampling) in product(enumerate(measures), enumerate(samplings)):
        ax = axes[row, column]
        rows = table[table["sampling"] == sampling]
        _draw_all(ax, rows, measure)
        rows = rows[rows["rate"] == rate]
        for mean in rows.loc[rows["selection"] == "random", measure]:
            ax.axhline(mean, label="random selection, mean", color=GRAY, linestyle=":", linewidth=1.8, zorder=1.5)
        for i, metric in enumerate(metrics):
            line = rows[rows["metric"] == metric].sort_values("h")
            # Side by side, so that the standard deviations do not hide each other.
            places = np.array([levels.index(h) for h in line["h"]]) + 0.5 * ((i + 0.5) / len(metrics) - 0.5)
            style = {"color": COLORS[i % len(COLORS)], "marker": MARKERS[i % len(MARKERS)], "label": metric}
            spread = line[f"{measure}_sd"].fillna(0)
            ax.errorbar(places, line[measure], spread, markersize=4.5, linewidth=1.3, elinewidth=0.8, **style)
        plain(ax)
        ax.set_xticks(range(len(levels)), levels)
        ax.set_xlim(-0.5, len(levels) - 0.5)
        if row == 1:
            ax.set_xlabel("h")
        if row == 0:
            ax.set_title(sampling, fontsize=10)
        if column == 0:
            ax.set_ylabel(measure.upper())
    figure.suptitle(f"{share(rate)} of the patches kept" if rate <= 1 else f"{share(rate)} kept", fontsize=10)
    shared_legend(figure)
    return figure


def draw_rates(cells, settings):
    """Draw SRCC against the rate: residual selection, random selection and all patches.

    Parameters
    ----------
    cells : DataFrame
        Cells of one model.
    settings : dict
        Settings of the study.

    Returns
    -------
    matplotlib Figure
        One axes per sampling.
    """
    table = summarize(cells).sort_values("rate", kind="stable")
    figure, axes = panels(list(settings["samplings"]), 3.0, sharex=True, sharey=True)
    for sampling, ax in axes.items():
        rows = table[table["sampling"] == sampling]
        _draw_all(ax, rows, "srcc")
        random, residual = (rows[rows["selection"] == name] for name in ("random", "residual"))
        _band(ax, random["rate"], random["srcc_min"], random["srcc_max"], GRAY, 0.13, "random, least and most")
        spread = random["srcc_sd"].fillna(0)
        _band(ax, random["rate"], random["srcc"] - spread, random["srcc"] + spread, GRAY, 0.25, "random, ± sd")
        ax.plot(random["rate"], random["srcc"], markersize=4, linewidth=1.2, **_RANDOM)
        means = residual.groupby("rate")["srcc"]
        _band(ax, means.min().index, means.min(), means.max(), SKY, 0.5, "residual, means of all metrics and h")
        line = of_default(residual, settings)
        ax.plot(line["rate"], line["srcc"], **_default_style(settings))
    _name_axes(axes.values(), settings, "SRCC")
    shared_legend(figure)
    return figure


def draw_differences(cells, settings):
    """Draw SRCC less that of all patches on the same splits, against the rate, with 95 % intervals.

    Parameters
    ----------
    cells : DataFrame
        Cells of one model.
    settings : dict
        Settings of the study.

    Returns
    -------
    matplotlib Figure
        One axes per sampling, see :func:`patchdistill.studies.findings.compare`.
    """
    table = of_default(compare(cells, "all"), settings).sort_values("rate", kind="stable")
    figure, axes = panels(list(settings["samplings"]), 3.0, sharex=True, sharey=True)
    for sampling, ax in axes.items():
        rows = table[table["sampling"] == sampling]
        ax.axhline(0, label="all patches", **_ALL)
        for selection, style, shift in (("random", _RANDOM, 1.03), ("residual", _default_style(settings), 1 / 1.03)):
            line = rows[rows["selection"] == selection]
            half = (line["high"] - line["low"]).fillna(0) / 2
            style = {**style, "linewidth": 1.3, "markersize": 4.5, "elinewidth": 0.9}
            ax.errorbar(line["rate"] * shift, line["value"], half, **style)
    _name_axes(axes.values(), settings, "SRCC less that of all patches")
    shared_legend(figure)
    return figure


def _default_style(settings):
    metric, h = settings["default"]["metric"], settings["default"]["h"]
    return {"color": BLUE, "marker": "o", "markersize": 4.5, "linewidth": 2, "label": f"residual, {metric}, h = {h}"}


def _draw_all(ax, table, measure):
    """All patches: a line, and one standard deviation to both sides."""
    for mean, sd in table.loc[table["selection"] == "all", [measure, f"{measure}_sd"]].to_numpy():
        ax.axhline(mean, label="all patches", **_ALL)
        for side in (-1, 1):
            ax.axhline(mean + side * sd, color="black", linewidth=0.6, linestyle=":", label="all patches, ± sd")


def _band(ax, x, low, high, color, alpha, label):
    ax.fill_between(x, low, high, color=color, alpha=alpha, linewidth=0, label=label)


def _name_axes(axes, settings, ylabel):
    """Rates on a log axis, as shares in percent or as numbers of patches."""
    rates = sorted(settings["rates"])
    labels, last = [], 0.0
    for rate in rates:
        # Labels of neighbors must not touch.
        is_far = rate > 1.28 * last
        labels.append(f"{100 * rate if rate <= 1 else rate:g}" if is_far else "")
        last = rate if is_far else last
    for ax in axes:
        ax.set_xscale("log")
        ax.set_xticks(rates, labels)
        ax.minorticks_off()
        ax.set_xlabel("patches kept, %" if rates[-1] <= 1 else "patches kept")
        if ax.get_subplotspec().is_first_col():
            ax.set_ylabel(ylabel)
