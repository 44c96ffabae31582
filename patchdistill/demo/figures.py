"""The figures of the report, each as the bytes of a PNG file."""

from io import BytesIO

import numpy as np

from patchdistill._compat import import_optional
from patchdistill.demo.wording import example_title
from patchdistill.panorama import tangent_views
from patchdistill.plotting import PanoramaSelectionDisplay, SelectionDisplay

# Colors that color-blind readers can tell apart (Okabe and Ito), with markers for print in gray.
STYLES = {
    "cover": {"color": "#0072b2", "marker": "o", "linewidth": 2.4, "label": "default selection"},
    "low": {"color": "#009e73", "marker": "v", "linewidth": 1.4, "label": "lowest residuals"},
    "high": {"color": "#d55e00", "marker": "s", "linewidth": 1.4, "label": "highest residuals"},
    "random": {"color": "#555555", "marker": "^", "linewidth": 1.4, "label": "random: mean ± sd of seeds"},
}
_KIND_COLORS = ("#000000", "#0072b2", "#56b4e9", "#009e73", "#d55e00")
_MARK = "#d55e00"
_ALL = {"color": "#000000", "linestyle": (0, (5, 3)), "linewidth": 1.2}


def _new_figure(width, height):
    Figure = import_optional("matplotlib.figure", "run_demo", "demo").Figure
    return Figure(figsize=(width, height), layout="constrained")


def _png(figure, dpi=120):
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def _plain(axes):
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)


def draw_selections(shown):
    """Kept and dropped patches on pictures.

    Parameters
    ----------
    shown : list of tuple (title, path, patches, selection)
        Two pictures per row, of one size.

    Returns
    -------
    bytes
        PNG file.
    """
    Image = import_optional("PIL.Image", "run_demo", "demo")
    shapes = [_shape(Image, path) for _, path, _, _ in shown[::2]]
    heights = [5.4 * height / width + 0.5 for height, width in shapes]
    figure = _new_figure(12, sum(heights) + 0.4)
    axes = figure.subplots(len(heights), 2, squeeze=False, height_ratios=heights).ravel()
    for i, (ax, (title, path, patches, selection)) in enumerate(zip(axes, shown, strict=True)):
        display = SelectionDisplay.from_selection(path, patches, selection, ax=ax, legend=i >= len(shown) - 2)
        display.ax_.set_title(title, fontsize=11)
    return _png(figure, dpi=100)


def _shape(Image, path):
    with Image.open(path) as picture:
        return picture.height, picture.width


def draw_agreement(study):
    """SRCC and PLCC against the rate, for both modes.

    Parameters
    ----------
    study : dict
        What :func:`patchdistill.demo.study.compare` returns.

    Returns
    -------
    bytes
        PNG file.
    """
    figure = _new_figure(11, 7)
    axes = figure.subplots(2, 2, sharex=True, sharey="row")
    titles = {
        "retrained": "retrained: learns from kept patches, is given kept patches",
        "fixed": "fixed: learned from all patches, is given kept patches",
    }
    for column, (mode, title) in enumerate(titles.items()):
        for row, key in enumerate(("srcc", "plcc")):
            ax = axes[row, column]
            if study["all"][key]["value"] is not None:
                ax.axhline(study["all"][key]["value"], label="all patches", zorder=1, **_ALL)
            for name, style in STYLES.items():
                _draw_selector(ax, study["rows"], mode, key, name, style)
            _plain(ax)
            if row == 0:
                ax.set_title(title, fontsize=11)
            if column == 0:
                ax.set_ylabel(key.upper())
    rates = sorted({row["rate"] for row in study["rows"]})
    for ax in axes[1]:
        ax.set_xscale("log")
        ax.set_xticks(rates, [f"{rate:.0%}" for rate in rates])
        ax.minorticks_off()
        ax.set_xlabel("share of patches kept")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, frameon=False)
    return _png(figure)


def _draw_selector(ax, rows, mode, key, name, style):
    rows = [row for row in rows if row["mode"] == mode and row["selector"] == name and row[key]["value"] is not None]
    rates, values = [row["rate"] for row in rows], np.array([row[key]["value"] for row in rows])
    ax.plot(rates, values, markersize=5, **style)
    spread = np.array([row[key].get("sd") or 0.0 for row in rows])
    if spread.any():
        ax.fill_between(rates, values - spread, values + spread, color=style["color"], alpha=0.22, linewidth=0)


def draw_residuals(scores, kinds):
    """Distribution of the relative residual of all patches, for each kind of distortion.

    Parameters
    ----------
    scores : list of ndarray of shape (n_patches_i,)
        Scores of each image's patches.
    kinds : ndarray of str, shape (n_images,)
        Kind of distortion of each image.

    Returns
    -------
    bytes
        PNG file.
    """
    figure = _new_figure(8, 3.6)
    ax = figure.subplots()
    everything = np.concatenate(scores)
    # The few patches beyond the outer bins are counted in these; they would squeeze the rest.
    low, high = np.quantile(np.maximum(everything, 1e-6), [0.001, 0.999])
    edges = np.geomspace(low, max(high, 1.01 * low), 46)
    for kind, color in zip(dict.fromkeys(kinds), _KIND_COLORS, strict=False):
        values = np.concatenate([score for score, k in zip(scores, kinds, strict=True) if k == kind])
        style = {"linewidth": 2.2, "linestyle": "--"} if color == _KIND_COLORS[0] else {"linewidth": 1.5}
        density = np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0] / len(values)
        ax.stairs(density * 100, edges, color=color, label=kind, **style)
    ax.set(xlabel="relative residual of a patch", ylabel="patches, %", xscale="log", xlim=edges[[0, -1]])
    ax.set_ylim(bottom=0)
    _plain(ax)
    ax.legend(frameon=False)
    return _png(figure)


def draw_convergence(solutions, tol):
    """Relative duality gap against steps, and where it ended.

    Parameters
    ----------
    solutions : list of Solved
        One per image.
    tol : float
        Where the solver was to stop.

    Returns
    -------
    bytes
        PNG file.
    """
    figure = _new_figure(11, 3.8)
    course, ends = figure.subplots(1, 2, width_ratios=(3, 2))
    for solved in solutions:
        course.plot(solved.steps, np.maximum(solved.gaps, 1e-16), color="#0072b2", alpha=0.15, linewidth=0.8)
    gaps = np.maximum([solved.gaps[-1] for solved in solutions], 1e-16)
    course.axhline(tol, **_ALL)
    course.annotate(f"tol = {tol:g}", (1, tol), xycoords=("axes fraction", "data"), ha="right", va="bottom")
    course.set(yscale="log", xlabel="step of the solver", ylabel="relative duality gap", title="one line per image")
    exponents = np.log10(gaps)
    low, high = np.floor(exponents.min()), max(np.ceil(exponents.max()), np.log10(tol))
    ends.hist(gaps, bins=np.logspace(low, high, 31), color="#0072b2")
    ends.axvline(tol, **_ALL)
    ends.set(xscale="log", xlabel="relative duality gap at the end", ylabel="images", title=f"{len(gaps)} images")
    for ax in (course, ends):
        _plain(ax)
    return _png(figure)


def draw_times(per_image):
    """Time per image of each stage, with all patches and with kept ones.

    Parameters
    ----------
    per_image : dict of str to dict of str to float
        Milliseconds of each stage, by bar.

    Returns
    -------
    bytes
        PNG file.
    """
    figure = _new_figure(9, 2.4)
    ax = figure.subplots()
    stages = list(dict.fromkeys(stage for bar in per_image.values() for stage in bar))
    total = max(sum(bar.values()) for bar in per_image.values())
    for y, bar in enumerate(per_image.values()):
        start = 0.0
        for stage, color in zip(stages, ("#0072b2", "#e69f00", "#009e73"), strict=True):
            width = bar.get(stage, 0.0)
            ax.barh(y, width, left=start, color=color, height=0.55, label=stage if y == 0 else None)
            if width > 0.06 * total:
                ax.text(
                    start + width / 2, y, f"{width:.1f}", ha="center", va="center", color="white", fontweight="bold"
                )
            start += width
        ax.text(start + 0.01 * total, y, f"{start:.1f} ms", va="center")
    ax.set_yticks(range(len(per_image)), list(per_image))
    ax.set(xlabel="milliseconds per image", xlim=(0, total * 1.12))
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.tick_params(axis="y", length=0)
    figure.legend(loc="outside upper center", ncols=len(stages), frameon=False)
    return _png(figure)


def draw_panorama(part):
    """Kept and dropped patches on the panorama; below, some kept ones as they were cut out, and as views.

    Parameters
    ----------
    part : PanoramaPart
        What :func:`patchdistill.demo.panorama.select_on_panorama` returns.

    Returns
    -------
    bytes
        PNG file.
    """
    figure = _new_figure(11, 8)
    above, below = figure.subfigures(2, 1, height_ratios=(5.7, 2.3))
    ax = above.subplots()
    PanoramaSelectionDisplay.from_selection(part.image, part.patches, part.selection, ax=ax)
    ax.axvline(part.image.shape[1] / 2 - 0.5, color="white", linestyle=(0, (5, 3)), linewidth=1.6)
    ax.set_title("spoiled", loc="right", fontsize=11)
    ax.set_title("as it was", loc="left", fontsize=11)
    fields = ("left", "top", "size", "lon", "lat", "fov", "pixels")
    chosen = zip(*(part.patches.field(name, 0)[part.shown] for name in fields), strict=True)
    examples = zip(below.subfigures(1, len(part.shown), squeeze=False)[0], chosen, part.results["shown"], strict=True)
    for mark, (small, (left, top, size, lon, lat, fov, crop), told) in enumerate(examples, start=1):
        _outline(ax, mark, left, top, size)
        small.suptitle(f"{mark}: {example_title(told)}", fontsize=11)
        view = tangent_views(part.image, [lon], [lat], fov, size)[0]
        both = {"cut out of the picture": crop, "tangent view": view}
        for small_ax, (name, pixels) in zip(small.subplots(1, 2), both.items(), strict=True):
            small_ax.imshow(pixels)
            small_ax.set(xticks=[], yticks=[], xlabel=name)
    return _png(figure, dpi=100)


def _outline(ax, mark, left, top, size):
    """Mark a crop of the panorama drawn on `ax`; what reaches over the right border goes on at the left one."""
    Rectangle = import_optional("matplotlib.patches", "run_demo", "demo").Rectangle
    width = round(ax.get_xlim()[1] + 0.5)
    for start in (left, left - width):
        ax.add_patch(Rectangle((start - 0.5, top - 0.5), size, size, fill=False, edgecolor=_MARK, linewidth=2.2))
    box = {"facecolor": _MARK, "edgecolor": "none", "pad": 2}
    text = {"color": "white", "weight": "bold", "ha": "left", "va": "top", "bbox": box}
    ax.annotate(str(mark), (left, top), xytext=(4, -4), textcoords="offset points", **text)
