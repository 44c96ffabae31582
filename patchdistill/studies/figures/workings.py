"""What the study shows besides agreement: factors, solver, kept patches, costs."""

from itertools import cycle
from types import SimpleNamespace

import numpy as np

from patchdistill.plotting import PanoramaSelectionDisplay
from patchdistill.studies.figures.style import BLUE, COLORS, GRAY, GREEN, ORANGE, SKY, new_figure, plain, shared_legend
from patchdistill.studies.findings import convergence
from patchdistill.studies.wording import share

_STAGES = {
    "sampling_ms": ("sampling", SKY),
    "embedding_ms": ("embedding", BLUE),
    "selection_ms": ("selection", ORANGE),
    "model_ms": ("model", GREEN),
}

# Gaps of problems that were solved exactly are drawn here.
_LEAST_GAP = 1e-16


def draw_effects(effects, problem):
    """Draw the effect sizes of the factors, with p-values.

    Parameters
    ----------
    effects : dict of str to dict
        What :func:`patchdistill.studies.findings.factor_effects` gives.
    problem : str
        What is written if there are no effects.

    Returns
    -------
    matplotlib Figure
        One bar per factor; the block of splits is gray.
    """
    effects = {name: row for name, row in effects.items() if row["eta_squared"] is not None}
    figure = new_figure(1.2 + 0.36 * max(len(effects), 2))
    ax = figure.subplots()
    for name, row in effects.items():
        label = "split (block)" if name == "seed" else name
        ax.barh(label, row["eta_squared"], height=0.6, color=GRAY if name == "seed" else BLUE)
        text = f" {row['eta_squared']:.2f},  {_p_value(row['p'])}"
        ax.annotate(text, (row["eta_squared"], label), va="center", fontsize=9)
    if not effects:
        ax.text(0.5, 0.5, f"No analysis of variance. {problem}", ha="center", va="center", fontsize=9, wrap=True)
        ax.set_yticks([])
    ax.set(xlim=(0, 1.25), xticks=np.linspace(0, 1, 6), xlabel="partial eta squared")
    ax.invert_yaxis()
    plain(ax, "x")
    ax.spines["bottom"].set_bounds(0, 1)
    return figure


def _p_value(p):
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def draw_convergence(solutions, settings):
    """Draw the steps of the solver, the duality gaps it ended with, and the share that converged.

    Parameters
    ----------
    solutions : DataFrame
        Solutions of a study.
    settings : dict
        Settings of the study, with the gap at which the solver was to stop, ``tol``.

    Returns
    -------
    matplotlib Figure
        One row per metric and h: boxes from the lower to the upper quartile, with whiskers to the extremes.
    """
    table, tol = convergence(solutions), settings["tol"]
    figure = new_figure(1.3 + 0.27 * max(len(table), 3))
    axes = steps, gaps, shares = figure.subplots(1, 3, sharey=True, width_ratios=(4, 4, 2))
    colors = dict(zip(settings["metrics"], cycle(COLORS), strict=False))
    for y, row in table.iterrows():
        for ax, name in ((steps, "n_iter"), (gaps, "gap")):
            least, low, middle, high, most = (max(row[f"{name}_{q}"], _LEAST_GAP) for q in (0, 25, 50, 75, 100))
            ax.plot((least, most), (y, y), color="black", linewidth=0.8, marker="|")
            ax.barh(y, high - low, left=low, height=0.6, color=colors[row["metric"]])
            ax.plot((middle, middle), (y - 0.3, y + 0.3), color="black", linewidth=2)
        shares.barh(y, row["converged"] / row["n"], color=GRAY, height=0.6)
        shares.text(0.04, y, f"{row['converged']} of {row['n']}", va="center", fontsize=8, color="white")
    gaps.axvline(tol, color="black", linestyle=(0, (5, 3)), linewidth=1.2)
    gaps.set_title(f"dashed: tol = {tol:g}", fontsize=9)
    steps.set_yticks(table.index, [f"{row['metric']}, h = {row['h']}" for _, row in table.iterrows()])
    steps.set(xscale="log", xlabel="steps of the solver")
    gaps.set(xscale="log", xlabel="relative duality gap at the end")
    shares.set(xlim=(0, 1), xlabel="share converged")
    shares.set_xticks([0, 0.5, 1], ["0 %", "50 %", "100 %"])
    steps.set_ylim(len(table) - 0.4, -0.6)
    for ax in axes:
        plain(ax, "x")
    return figure


def draw_examples(examples):
    """Draw kept and dropped patches on a picture, one example per sampling.

    Parameters
    ----------
    examples : list of dict
        Examples of a study.

    Returns
    -------
    matplotlib Figure
        Two pictures in a row.
    """
    n_rows = -(-len(examples) // 2)
    heights = [max(_relative_height(example) for example in examples[2 * i : 2 * i + 2]) for i in range(n_rows)]
    figure = new_figure(sum(4.1 * height + 0.75 for height in heights))
    axes = figure.subplots(n_rows, 2, squeeze=False, height_ratios=heights).ravel()
    for ax in axes[len(examples) :]:
        ax.set_visible(False)
    for ax, example in zip(axes, examples, strict=False):
        selection = SimpleNamespace(scores=example["scores"], indices=example["kept"])
        display = PanoramaSelectionDisplay(example["image"], example["fields"], selection)
        display.plot(ax)
        ax.set_title(f"{example['sampling']}: {len(example['kept'])} of {len(example['scores'])} kept", fontsize=10)
    return figure


def _relative_height(example):
    height, width = example["image"].shape[:2]
    return height / width


def draw_costs(costs):
    """Draw milliseconds per image and stage, with all patches and with kept ones.

    Parameters
    ----------
    costs : DataFrame
        What :func:`patchdistill.studies.findings.stage_costs` gives.

    Returns
    -------
    matplotlib Figure
        One bar per sampling and rate; all patches first.
    """
    figure = new_figure(1.2 + 0.27 * len(costs))
    ax = figure.subplots()
    labels, longest = [], np.nansum(costs[list(_STAGES)].to_numpy(), axis=1).max()
    for y, (_, row) in enumerate(costs.iterrows()):
        start = 0.0
        for column, (name, color) in _STAGES.items():
            width = np.nan_to_num(row[column])
            ax.barh(y, width, left=start, color=color, height=0.7, label=name if y == 0 else None)
            start += width
        missing = [name for column, (name, _) in _STAGES.items() if np.isnan(row[column])]
        note = f" without {', '.join(missing)}" if missing else ""
        ax.text(start + 0.008 * longest, y, f"{start:.1f}{note}", va="center", fontsize=8)
        labels.append(f"{row['sampling']}, " + ("all" if row["selection"] == "all" else share(row["rate"])))
    ax.set_yticks(range(len(costs)), labels)
    ax.set(xlabel="milliseconds per image", xlim=(0, 1.1 * longest))
    ax.set_ylim(len(costs) - 0.4, -0.6)
    plain(ax, "x")
    shared_legend(figure)
    return figure
