"""Figures of the page "Features that fool a quality model": partners, gates, and what the study found."""

from functools import lru_cache

import matplotlib.pyplot as plt
import numpy as np
from sklearn.preprocessing import StandardScaler
from tables import _load

from patchdistill.datasets import make_semantic_confound
from patchdistill.embedding import PatchStatistics
from patchdistill.models import BagPooling
from patchdistill.qfm import QFMRidge, match_pairs, thumbnail_descriptor

# Told apart without color too. One mark for what is the same in linear models and in networks.
MARKS = {
    "quality": {"color": "#0072b2", "marker": "o"},
    "semantic": {"color": "#d55e00", "marker": "s"},
    "both": {"color": "#009e73", "marker": "D"},
    "any quality": {"color": "0.4", "marker": "x"},
    "gated features": {"color": "#882255", "marker": "^"},
    "both, gate": {"color": "#882255", "marker": "v"},
    "both, gate, panel": {"color": "#cc79a7", "marker": "P"},
    "plain, distillation": {"color": "black", "marker": "*", "markerfacecolor": "white"},
    "both, gate, distillation": {"color": "black", "marker": "*"},
}
PANELS = {
    ("linear", "statistics"): "linear, PatchStatistics",
    ("linear", "statistics and colors"): "linear, PatchStatistics and colors",
    ("linear", "network"): "linear, transformer with random weights",
    ("network", "pixels"): "networks, pixels",
}


@lru_cache(maxsize=1)
def confound():
    """Pictures to learn from and to test on, with what they show and their features, standardized as in training."""
    parts = make_semantic_confound()
    statistics = PatchStatistics()
    for part in parts:
        part.shown = thumbnail_descriptor(part.images)
        part.features = BagPooling(stats=("mean",)).fit_transform(statistics.fit_transform(part.images[:, None]))
    scaler = StandardScaler().fit(parts[0].features)
    for part in parts:
        part.features = scaler.transform(part.features)
    return *parts, list(statistics.get_feature_names_out())


def partners():
    """Pictures over their best partner of either kind."""
    train, _, _ = confound()
    columns = [match_pairs(train.y, train.shown, pairing=pairing, k=1)[:, 0] for pairing in ("quality", "semantic")]
    chosen = np.argsort(train.y)[np.linspace(20, len(train.y) - 11, 6).astype(int)]
    rows = (chosen, *(column[chosen] for column in columns))
    labels = ("picture", "as good,\nlooks least like it", "not as good, or better,\nlooks most like it")
    figure, axes = plt.subplots(3, len(chosen), figsize=(1.45 * len(chosen) + 1.4, 5.2), layout="constrained")
    for of_row, images, label in zip(axes, rows, labels, strict=True):
        of_row[0].set_ylabel(label, rotation=0, ha="right", va="center")
        for ax, image in zip(of_row, images, strict=True):
            ax.imshow(train.images[image], interpolation="none")
            ax.set(xticks=[], yticks=[])
            ax.set_title(f"score {train.y[image]:.0f}", fontsize=9, pad=3)
    return figure


def gates():
    """Gates of the statistics, and how features go with the scores in training and in the test."""
    train, test, names = confound()
    model = QFMRidge(lam=1.0).fit(train.features, train.y, semantics=train.shown)
    figure, (grid, scatter) = plt.subplots(1, 2, figsize=(10.5, 4.6), width_ratios=(3, 2), layout="constrained")
    statistics = list(dict.fromkeys(name.split("_", 2)[2] for name in names))
    places = [f"{color}, {scale}" for color in ("luma", "redgreen", "yellowblue") for scale in (1, 2, 3)]
    table = np.full((len(statistics), len(places)), np.nan)
    for name, gate in zip(names, model.gate_, strict=True):
        scale, color, statistic = name.split("_", 2)
        table[statistics.index(statistic), places.index(f"{color}, {scale[-1]}")] = gate
    grid.patch.set(hatch="////", edgecolor="0.7")  # where there is no such feature
    picture = grid.imshow(table, cmap="gray_r", vmin=0, aspect="auto")
    grid.set_xticks(range(len(places)), places, rotation=60, ha="right")
    grid.set_yticks(range(len(statistics)), [name.replace("_", " ") for name in statistics])
    figure.colorbar(picture, ax=grid, label="gate", shrink=0.7)
    kinds = {"statistics": (train.features, test.features), "colors and thumbnail": (train.shown, test.shown)}
    for (kind, sides), marker in zip(kinds.items(), ("o", "x"), strict=True):
        along, across = (_correlations(X, part.y) for X, part in zip(sides, (train, test), strict=True))
        scatter.plot(along, across, marker, color={"o": "black", "x": "#d55e00"}[marker], markersize=3, label=kind)
    for line in (scatter.axhline, scatter.axvline):
        line(0, color="0.4", linewidth=0.8)
    scatter.set(xlabel="correlation with the scores, training", ylabel="the same, test", aspect="equal")
    scatter.legend(fontsize=7)
    scatter.grid(alpha=0.3)
    return figure


def _correlations(X, y):
    return np.array([np.corrcoef(column, y)[0, 1] for column in X.T])


def study():
    """Change of SRCC against change of sensitivity, both less those of the plain model, on misleading pictures."""
    table = [row for row in _load("study_qfm")["table"] if row["data"] == "confound"]
    figure, axes = plt.subplots(2, 2, figsize=(9, 7.2), layout="constrained")
    for ax, ((model, feature), title) in zip(axes.flat, PANELS.items(), strict=True):
        plain, *others = [row for row in table if (row["model"], row["feature"]) == (model, feature)]
        for row in others:
            (x, *of_x), (y, *of_y) = (row[f"{name}_difference"] for name in ("sensitivity", "srcc"))
            ax.errorbar(
                x,
                y,
                xerr=np.abs(np.transpose([of_x]) - x),
                yerr=np.abs(np.transpose([of_y]) - y),
                label=row["arm"],
                linewidth=0.9,
                markersize=7,
                **MARKS[row["arm"]],
            )
        for line in (ax.axhline, ax.axvline):
            line(0, color="black", linewidth=0.8)
        ax.set_title(f"{title}\nplain: SRCC {plain['srcc']:.2f}, sensitivity {plain['sensitivity']:.2f}")
        ax.grid(alpha=0.3)
    named = {name: mark for ax in axes.flat for mark, name in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure.legend(named.values(), named, loc="outside upper center", ncols=3)
    figure.supxlabel("sensitivity, less that of the plain model")
    figure.supylabel("SRCC, less that of the plain model")
    return figure


FEATURE_FIGURES = {"feature_partners": partners, "feature_gates": gates, "feature_study": study}
