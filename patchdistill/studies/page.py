"""The report of a study: one HTML file that needs nothing else, and its figures as files."""

import re
from functools import partial
from html import escape
from io import BytesIO
from pathlib import Path

from patchdistill.journal.files import check_parent, write_whole
from patchdistill.pages import write_figure, write_page
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
from patchdistill.studies.findings import factor_effects, stage_costs
from patchdistill.studies.tables import agreement_table, best_table, cost_table, overview_table, settings_table
from patchdistill.studies.wording import headline, limits

_DPI = 160

_CAPTIONS = {
    "differences": "SRCC less that of all patches on the same splits: mean and 95 % interval. Where a line is above "
    "zero, kept patches predict quality better than all of them.",
    "rates": "SRCC against the share of patches kept. Gray: random selection, another one on every split; mean, "
    "standard deviation, and the least and most of all splits. Light blue: from the lowest to the highest mean of all "
    "metrics and h. Blue line: the default, which was not chosen by these results.",
    "smallest": "Smallest rate at which kept patches are at least as good as all, from the center, the smallest rate, "
    "to the edge, “never”. Left: neither SRCC nor PLCC is on average below that of all patches on the same splits. "
    "Right: the 95 % intervals of both differences lie above zero, which is much more to ask. Random selection has no "
    "metric; its line is what luck gives.",
    "h": "Mean over splits and one standard deviation to both sides. Most of the deviation is common to all "
    "selections, because some splits are harder than others; differences are better seen in the paired comparisons.",
    "effects": "How much of the SRCC of residual selection each factor explains, other factors aside. Splits are a "
    "block. Splits share images, so that p-values are too small; the sizes describe this study.",
    "examples": "Clear: kept. Dark: dropped. A dot marks the middle of each patch and tells its relative residual. "
    "Patches overlap; each pixel is shown as the patch with the nearest middle is.",
    "convergence": "Per metric and h, over all images and samplings: median, quartiles and extremes. The duality gap, "
    "relative to the objective, bounds how far a solution can be from the optimum.",
    "costs": "Milliseconds to score one image, with the default metric and h; number: the sum. Sampling and embedding "
    "of all patches are paid before any is dropped. Training is not in it.",
}


def write_report(results, out):
    """Write the report of a study.

    Parameters
    ----------
    results : StudyResults
        Results of a study, finished or not.
    out : path-like
        Folder; it is made if it is missing. It gets ``report.html`` and, in ``figures``, each figure as PNG and PDF.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    FileNotFoundError
        If the folder that `out` is to lie in does not exist.
    ImportError
        If matplotlib is not installed.

    See Also
    --------
    patchdistill.studies.read_study : Reads the results.
    """
    out = Path(out)
    check_parent(out)
    (out / "figures").mkdir(parents=True, exist_ok=True)
    pictures = {}
    for name, figure in _draw(results).items():
        for kind in ("png", "pdf"):
            data = _encode(figure, kind)
            figure.set_layout_engine("none")  # to find the places of axes takes half of the time: once for both files
            write_whole(out / "figures" / f"{name}.{kind}", partial(_write_bytes, data))
            if kind == "png":
                pictures[name] = data
    page = out / "report.html"
    write_whole(page, partial(_write_bytes, render(results, pictures).encode()))
    return page


def render(results, pictures):
    """Make the page.

    Parameters
    ----------
    results : StudyResults
        Results of a study, finished or not.
    pictures : dict of str to bytes
        The figures as PNG files, by the names that :func:`write_report` gives them.

    Returns
    -------
    str
        HTML.
    """
    cells, settings = results.cells, results.settings

    def figures(kind):
        names = _names(kind, settings)
        return [
            write_figure(pictures[name], escape(f"Model: {model}. " * (len(names) > 1) + _CAPTIONS[kind]))
            for name, model in names.items()
        ]

    parts = [
        f"<h1>Residual patch selection on {settings['n_images']} images of {settings['n_scenes']} scenes</h1>",
        f'<p class="headline">{escape(headline(cells, settings))}</p>',
        f"<p>{_completeness(results)}</p>",
        overview_table(cells, settings),
        '<p class="note">Rates at which residual selection, with the default metric and h, predicts quality better or '
        "worse than as many random patches, by SRCC; “≥ all”: smallest rate at which neither SRCC nor PLCC is on "
        "average below that of all patches; “> all”: at which both are clearly above it. “Better”, “worse” and "
        "“clearly” are said only where the 95 % interval of the difference, paired over splits, leaves out zero; “no "
        "clear difference” does not mean that there is none. Intervals are those of the corrected resampled t-test "
        "(Nadeau and Bengio, 2003), because the splits share images; they describe this study.</p>",
        "<h2>How well quality is predicted</h2>",
        *figures("differences"),
        *figures("rates"),
        *figures("smallest"),
        agreement_table(cells, settings),
        '<p class="note">Mean ± standard deviation over splits; “less all” and “less random”: difference, paired over '
        "splits, with its 95 % interval. PLCC after a map fitted to the test images "
        f"({escape(str(settings['mapping']))}).</p>",
        "<h2>Metric and h</h2>",
        *figures("h"),
        *figures("effects"),
        best_table(cells, settings),
        '<p class="note">These were chosen after the fact, by the same test images that they are reported on: such '
        "values are too good, the more so the more metrics and h were tried.</p>",
        "<h2>What is kept</h2>",
        *(figures("examples") if results.examples else ["<p>No example yet.</p>"]),
        "<h2>Solver</h2>",
        *figures("convergence"),
        "<h2>Cost</h2>",
        *figures("costs"),
        *(_named(model, cost_table(stage_costs(results, model))) for model in settings["models"]),
        '<p class="note">Milliseconds per image, as measured while other pieces of the study ran.</p>',
        "<h2>What this does not show</h2>",
        _limits(settings),
        "<h2>Settings</h2>",
        settings_table(settings),
    ]
    return write_page(f"patchdistill: a study on {settings['n_images']} images", parts)


def _draw(results):
    """All figures by name."""
    cells, settings = results.cells, results.settings
    of_model = {
        "differences": lambda rows, model: draw_differences(rows, settings),
        "rates": lambda rows, model: draw_rates(rows, settings),
        "smallest": lambda rows, model: draw_smallest_rates(rows, settings),
        "h": lambda rows, model: draw_h(rows, settings),
        "effects": lambda rows, model: draw_effects(*factor_effects(rows)),
        "costs": lambda rows, model: draw_costs(stage_costs(results, model)),
    }
    figures = {}
    for kind, function in of_model.items():
        for name, model in _names(kind, settings).items():
            figures[name] = function(cells[cells["model"] == model], model)
    figures["convergence"] = draw_convergence(results.solutions, settings)
    if results.examples:
        figures["examples"] = draw_examples(results.examples)
    return figures


def _names(kind, settings):
    """Names of the figures of a kind, and the model that each is for."""
    models = list(settings["models"])
    if kind in ("examples", "convergence") or len(models) == 1:
        return {kind: models[0]}
    return {f"{kind}-{i + 1}-{re.sub(r'[^A-Za-z0-9.]+', '-', model)}": model for i, model in enumerate(models)}


def _encode(figure, kind):
    buffer = BytesIO()
    # Without a date, the same figure is the same file.
    metadata = {"CreationDate": None} if kind == "pdf" else None
    figure.savefig(buffer, format=kind, dpi=_DPI, metadata=metadata)
    return buffer.getvalue()


def _write_bytes(data, path):
    path.write_bytes(data)


def _named(name, html):
    return f"<h3>{escape(name)}</h3>{html}"


def _limits(settings):
    items = "".join(f"<li><b>{escape(topic)}</b> {escape(text)}</li>" for topic, text in limits(settings))
    return f"<ul>{items}</ul>"


def _completeness(results):
    n, n_cells = len(results.cells), results.n_cells
    if n == n_cells:
        return f"All {n_cells} models of the study were trained and tested."
    return f"The study is not finished: {n} of {n_cells} models are there. What follows is about these alone."
