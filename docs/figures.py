"""Figures of the pages: from the files that the studies wrote, and of where the samplings place patches."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
from feature_figures import FEATURE_FIGURES  # noqa: E402
from relational_figures import RELATIONAL_FIGURES  # noqa: E402
from study_tables import study_table  # noqa: E402
from tables import _load  # noqa: E402

from patchdistill.datasets import make_panoramas  # noqa: E402
from patchdistill.models.compute import ComputeReport, StageCost  # noqa: E402
from patchdistill.panorama import (  # noqa: E402
    FibonacciSampler,
    LatitudeSampler,
    RandomSampler,
    TrajectorySampler,
    UniformSampler,
)
from patchdistill.plotting import ComputeDisplay  # noqa: E402

# Told apart without color too: each has its own marker and line.
STYLES = {
    "default selection": {"color": "#0072b2", "marker": "o", "linestyle": "-"},
    "lowest residual": {"color": "#d55e00", "marker": "v", "linestyle": "--"},
    "highest residual": {"color": "#882255", "marker": "^", "linestyle": ":"},
    "k-medoids": {"color": "#009e73", "marker": "s", "linestyle": "-."},
    "kernel herding": {"color": "#cc79a7", "marker": "D", "linestyle": (0, (3, 1, 1, 1))},
}
SAMPLERS = {
    "uniform": UniformSampler(),
    "latitude": LatitudeSampler(),
    "Fibonacci": FibonacciSampler(view="tangent"),
    "random": RandomSampler(view="tangent"),
    "trajectory": TrajectorySampler(view="tangent"),
}


def write_figures(folder):
    """Write all figures as SVG."""
    folder.mkdir(parents=True, exist_ok=True)
    # The same bytes for the same figures.
    with plt.rc_context({"svg.hashsalt": "patchdistill", "font.size": 9, "svg.fonttype": "path"}):
        for name, draw in FIGURES.items():
            figure = draw()
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None}, bbox_inches="tight")
            plt.close(figure)


def rate_curves():
    """SRCC and change against the share kept, fixed and retrained, on the scenes that were to confirm."""
    table = study_table("panoramas", "PatchStatistics", "ws_ssim", "confirmed on")
    rows = [row for row in table["rows"] if row["model"] == "svr"]
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained")
    panels = (
        ("fixed", "change", "fixed: change of the predictions"),
        ("fixed", "srcc", "fixed: SRCC"),
        ("retrained", "srcc", "retrained: SRCC"),
    )
    for ax, (mode, key, title) in zip(axes, panels, strict=True):
        of_mode = [row for row in rows if row["mode"] == mode]
        curve(ax, of_mode, key)
        if key == "srcc":
            whole = next(row for row in of_mode if row["selector"] == "all patches")
            ax.axhline(whole["srcc"]["value"], color="black", linewidth=0.8, label="all patches")
        else:
            ax.set_yscale("log")
            ax.set_ylabel("standard deviations of the labels")
        ax.set_xscale("log")
        ax.set_xticks([0.01, 0.02, 0.05, 0.1, 0.25, 0.45], ["1 %", "2 %", "5 %", "10 %", "25 %", "45 %"])
        ax.minorticks_off()
        ax.set_xlabel("patches kept")
        ax.set_title(title)
        ax.grid(alpha=0.3)
    axes[1].legend(fontsize=7)
    return figure


def curve(ax, rows, key):
    """One line per selector; random selection with a band of one standard deviation over seeds, where that is known."""
    random = [row for row in rows if row["selector"] == "random"]
    x, y = [row["rate"] for row in random], [row[key]["value"] for row in random]
    ax.plot(x, y, color="0.4", marker=".", label="random")
    if key == "srcc":
        sd = [row["srcc_sd"] for row in random]
        ax.fill_between(
            x, [a - b for a, b in zip(y, sd, strict=True)], [a + b for a, b in zip(y, sd, strict=True)], color="0.85"
        )
    for name, style in STYLES.items():
        of_selector = [row for row in rows if row["selector"] == name]
        values = [row[key]["value"] for row in of_selector]
        ax.plot([row["rate"] for row in of_selector], values, label=name, markersize=4, linewidth=1.2, **style)


def sensitivity():
    """SRCC of the retrained and the fixed model against every parameter, one at a time, with one standard deviation."""
    rows = _load("study_sensitivity")["one_at_a_time"]
    rows = [row for row in rows if row["scenes"] == "chosen on" and row["rate"] == 0.1]
    parameters = list(dict.fromkeys(row["parameter"] for row in rows))
    figure, axes = plt.subplots(
        2, len(parameters), figsize=(2.1 * len(parameters), 4.8), sharey="row", layout="constrained"
    )
    lines = {"representatives": STYLES["default selection"], "lowest residual": STYLES["lowest residual"]}
    for of_mode, mode in zip(axes, ("fixed", "retrained"), strict=True):
        for ax, parameter in zip(of_mode, parameters, strict=True):
            for shift, (selection, style) in zip((-0.06, 0.06), lines.items(), strict=True):
                found = [r for r in rows if (r["mode"], r["parameter"], r["selection"]) == (mode, parameter, selection)]
                x = [k + shift for k in range(len(found))]
                y, sd = [row["srcc"]["value"] for row in found], [row["srcc_sd"] for row in found]
                ax.errorbar(x, y, yerr=sd, label=selection, markersize=4, linewidth=1, capsize=2, **style)
            ax.set_xticks(range(len(found)), [row["value"] for row in found], rotation=45, fontsize=7)
            ax.set_title(parameter if mode == "fixed" else "")
            ax.grid(alpha=0.3)
        of_mode[0].set_ylabel(f"SRCC, {mode}, 10 % kept")
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


def growth():
    """Time of a selection against the numbers of patches and of features, above its floor."""
    results = _load("bench_solver")
    rows = [row for row in results["sweep"] if row["tol"] == 1e-3]
    figure, axes = plt.subplots(1, 2, figsize=(8, 3.4), sharey=True, layout="constrained")
    fixed = {"n": "d", "d": "n"}
    for ax, (axis, other), label in zip(axes, fixed.items(), ("patches", "features"), strict=True):
        line = sorted((row for row in rows if row[other] == results[other]), key=lambda row: row[axis])
        for metric, style in (("euclidean", STYLES["default selection"]), ("mahalanobis", STYLES["lowest residual"])):
            of_metric = [row for row in line if row["metric"] == metric]
            ax.plot(
                [row[axis] for row in of_metric], [1e3 * row["seconds"] for row in of_metric], label=metric, **style
            )
        of_metric = [row for row in line if row["metric"] == "euclidean"]
        floors = [1e3 * row["floor_seconds"] for row in of_metric]
        ax.plot([row[axis] for row in of_metric], floors, color="0.4", marker=".", label="floor")
        ax.set_xscale("log")
        ax.set_yscale("log")
        sizes = [row[axis] for row in of_metric]
        ax.set_xticks(sizes, sizes)
        ax.minorticks_off()
        ax.set_xlabel(f"{label}, with {results[other]} {'features' if other == 'd' else 'patches'}")
        ax.grid(alpha=0.3)
    axes[0].set_ylabel("milliseconds")
    axes[0].legend(fontsize=7)
    return figure


def end_to_end():
    """Cost of a network on all patches, on selected ones and on random ones, stage by stage."""
    stages = _load("study_end_to_end")["stages"]
    return ComputeDisplay.from_report(ComputeReport(tuple(StageCost(**stage) for stage in stages))).figure_


def samplings():
    """Middles of the patches of every sampling on one synthetic panorama, and how many lie how far from the equator."""
    panorama = make_panoramas(1, height=512)
    small = panorama[0].reshape(64, 8, 128, 8, 3).mean(axis=(1, 3)) / 255
    figure, axes = plt.subplots(2, 3, figsize=(11, 4.6), layout="constrained")
    shares = axes.flat[-1]
    for ax, (name, sampler), style in zip(axes.flat, SAMPLERS.items(), STYLES.values(), strict=False):
        patches = sampler.transform(panorama)
        lon, lat = patches.field("lon", 0), patches.field("lat", 0)
        ax.imshow(small, extent=(-180, 180, -90, 90), alpha=0.5, interpolation="none")
        ax.plot(lon, lat, "o", color="black", markerfacecolor="white", markersize=3, markeredgewidth=0.7)
        ax.set(title=name, xticks=range(-180, 181, 90), yticks=range(-90, 91, 45))
        line = {**style, "marker": None}
        shares.step(
            [0, *np.sort(np.abs(lat)), 90], [*np.linspace(0, 1, len(lat) + 1), 1], where="post", label=name, **line
        )
    degrees = np.linspace(0, 90)
    shares.plot(degrees, np.sin(np.deg2rad(degrees)), color="black", linewidth=0.8, label="area of the sphere")
    shares.set(title="share at most so far from the equator", xlabel="degrees", xticks=range(0, 91, 30))
    shares.grid(alpha=0.3)
    shares.legend(fontsize=7)
    return figure


def panorama_rates():
    """SRCC against the share kept, one panel per sampling of the sphere, for the SVR of the study of panoramas."""
    results = _load("study_panoramas")
    rows = [row for row in results["agreement"] if row["model"] == "SVR"]
    names = list(results["settings"]["samplings"])
    figure, axes = plt.subplots(1, len(names), figsize=(2.4 * len(names), 3.2), sharey=True, layout="constrained")
    for ax, name in zip(axes, names, strict=True):
        of_sampling = [row for row in rows if row["sampling"] == name]
        lines = {kind: [row for row in of_sampling if row["selection"] == kind] for kind in ("random", "residual")}
        styles = {"random": {"color": "0.4", "marker": "."}, "residual": STYLES["default selection"]}
        for kind, style in styles.items():
            x, y = [row["rate"] for row in lines[kind]], [row["srcc"] for row in lines[kind]]
            ax.plot(x, y, label={"residual": "selected"}.get(kind, kind), markersize=4, linewidth=1.2, **style)
        low, high = ([row["srcc"] + sign * row["srcc_sd"] for row in lines["random"]] for sign in (-1, 1))
        ax.fill_between([row["rate"] for row in lines["random"]], low, high, color="0.85")
        whole = next(row for row in of_sampling if row["selection"] == "all")
        ax.axhline(whole["srcc"], color="black", linewidth=0.8, linestyle="--", label="all patches")
        ax.set_title(name)
        ax.set_xlabel("patches kept")
        ax.grid(alpha=0.3)
    axes[0].set_ylabel("SRCC")
    axes[0].legend(fontsize=7, loc="lower right")
    return figure


FIGURES = {
    "rate_curves": rate_curves,
    "sensitivity": sensitivity,
    "growth": growth,
    "end_to_end": end_to_end,
    "samplings": samplings,
    "panorama_rates": panorama_rates,
    **FEATURE_FIGURES,
    **RELATIONAL_FIGURES,
}
