"""The report: one HTML file that needs nothing else."""

from html import escape

from patchdistill.demo.distortions import LEVELS, STRENGTHS
from patchdistill.demo.study import MODES, SELECTORS
from patchdistill.demo.wording import NAMES, findings, headline, number, panorama_caption, panorama_findings
from patchdistill.pages import write_figure, write_page, write_table

_LIMITS = (
    "<b>No human opinion.</b> The label is a full-reference measure, SSIM, computed from the distorted image and its "
    "original. A model that predicts it well need not agree with people.",
    "<b>Few scenes.</b> The intervals come from drawing the {n_scenes} scenes again with replacement. With so few they "
    "are rough, and they say nothing about other kinds of scenes. Many comparisons are made, each at 95 %: one in "
    "twenty "
    "would leave out zero by chance alone.",
    "<b>One embedding.</b> Patches are described by hand-made natural-scene statistics. With a trained network the "
    "selection may behave otherwise.",
    "<b>One model.</b> Means and standard deviations over patches and a support vector machine with fixed parameters. "
    "A "
    "model that weighs patches itself may gain or lose more.",
    "<b>Artificial distortions</b> of the whole image, one at a time. Faults that touch only a part of an image, "
    "which is "
    "where the choice of patches should matter most, do not occur in the comparison.",
    "<b>Flat pictures.</b> The comparison treats panoramas, if there are any, as flat pictures: poles stretched, edges "
    "not joined. Only the part &ldquo;On a panorama&rdquo; knows about the sphere, and no quality model is trained "
    "there.",
    "<b>Nothing about the publication</b> that the method comes from: other data, other features, other labels.",
)


def render(results, figures):
    """Make the page.

    Parameters
    ----------
    results : dict
        What :func:`patchdistill.demo.run_demo` writes to ``results.json``; every number of the page is in it.
    figures : dict of str to bytes
        PNG files: ``selections``, ``panorama``, ``agreement``, ``residuals``, ``convergence``, ``times``.

    Returns
    -------
    str
        HTML.
    """
    setup, study, solver, literal = (results[key] for key in ("setup", "study", "solver", "pipeline"))
    n_scenes, n_images = len(setup["scenes"]), setup["n_images"]
    limits = "".join(f"<li>{limit.format(n_scenes=n_scenes)}</li>" for limit in _LIMITS)
    rates = ", ".join(f"{rate:.0%}" for rate in setup["rates"])
    parts = [
        f"<h1>Patch selection by residuals, tried on {n_images} images of {n_scenes} scenes</h1>",
        f'<p class="headline">{escape(headline(study))}</p>',
        f"<ul>{''.join(f'<li>{escape(sentence)}</li>' for sentence in findings(study))}</ul>",
        '<p class="note">&ldquo;Default selection&rdquo;: patches that stand apart are set aside, those kept represent '
        "the others and come with weights, which the pooled features use. &ldquo;Lowest residuals&rdquo;, "
        "&ldquo;highest residuals&rdquo;: the patches at one end of the residuals, all counting alike, as random ones "
        "do. &ldquo;Retrained&rdquo;: the model learns from kept patches and is given kept patches. "
        "&ldquo;Fixed&rdquo;: it learned from all patches and is given kept ones.</p>",
        '<p class="note">In parentheses: 95 % intervals over scenes. &ldquo;Better&rdquo; and &ldquo;worse&rdquo; are '
        "said "
        "only where the interval of the difference leaves out zero; &ldquo;no clear difference&rdquo; does not mean "
        "that there is "
        "none. SRCC and PLCC are the rank and the linear correlation "
        "between predicted and true label, over the predictions of all folds together; PLCC is raw, without a logistic "
        "map, because the model is trained on the scale of the label. The label is SSIM, not a human rating.</p>",
        "<h2>What is kept</h2>",
        write_figure(
            figures["selections"],
            f"Clear: kept ({setup['default_rate']:.0%}, default selection). Dark: dropped. A dot marks the middle of "
            "each patch and tells its relative residual. Patches overlap; each pixel is shown as its nearest patch is. "
            "Left: the clean scene. Right: a distorted version of it, selected on its own.",
        ),
        f"<p>Share of the patches that were set aside because they stand apart: {_shares(results['outliers'])}.</p>",
        "<h2>On a panorama</h2>",
        write_figure(figures["panorama"], escape(panorama_caption(results["panorama"]))),
        f"<p>{escape(' '.join(panorama_findings(results['panorama'])))}</p>",
        "<h2>How well quality is predicted</h2>",
        write_figure(
            figures["agreement"],
            f"Correlation with the label against the share of patches kept ({rates}), on scenes that the model did "
            f"not "
            f"learn from. Band: standard deviation over {setup['n_seeds']} random selections; it does not include that "
            "other scenes would give other values.",
        ),
        _agreement_table(study),
        '<p class="note">&Delta; all: SRCC minus that with all patches. &Delta; random: SRCC minus the mean of the '
        "random "
        "selections. 95 % intervals over scenes in parentheses; &plusmn; is the standard deviation over random "
        "selections. "
        "Change: root mean square difference to what the same model predicts from all patches, in standard deviations "
        "of the labels.</p>",
        "<h2>The code that ran</h2>",
        f"<pre>{escape(_code(literal['code'], setup['n_folds']))}</pre>",
        f"<p>This pipeline, from files to scores, was cross-validated as it stands: SRCC {number(literal['srcc'])}, "
        f"PLCC "
        f"{number(literal['plcc'])}. Largest difference to the predictions of the study above (retrained, default "
        f"selection, {setup['default_rate']:.0%}), which embeds and solves each image only once: "
        f"{_difference(literal['largest_difference'])}.</p>",
        "<h2>Residuals</h2>",
        write_figure(
            figures["residuals"],
            "Relative residuals of all patches, on a log axis: 0 would be explained perfectly, 1 is as far off as no "
            "explanation at all, more than 1 is farther off.",
        ),
        "<h2>Solver: convergence and certificate</h2>",
        write_figure(
            figures["convergence"],
            "The duality gap, relative to the objective, bounds how far the solution can be from the optimum. Dashed: "
            "where "
            "the solver may stop.",
        ),
        f"<p>{solver['n_converged']} of {n_images} images reached the tolerance {solver['tol']:g}; largest relative "
        f"gap "
        f"{solver['largest_gap']:.1e}; {solver['median_steps']:g} steps in the median, {solver['most_steps']} at "
        f"most.</p>",
        "<h2>Time</h2>",
        write_figure(
            figures["times"],
            f"Wall time per image and stage. Sampling, embedding and selection with {setup['n_jobs']} workers. Pooling "
            f"and model: fitting and predicting in {setup['n_folds']} folds, with one.",
        ),
        _pairs_table(("stage of this run", "seconds"), [(k, f"{v:.1f}") for k, v in results["seconds"].items()]),
        "<h2>Labels</h2>",
        _labels_table(results["labels"]),
        '<p class="note">Mean SSIM over scenes; the clean scene has 1.</p>',
        f"<h2>What this does not show</h2><ul>{limits}</ul>",
        "<h2>Setup</h2>",
        _pairs_table(("", ""), _setup_rows(setup), n_text=2),
    ]
    return write_page(f"patchdistill: residual patch selection on {n_scenes} scenes", parts)


def _pairs_table(head, pairs, n_text=1):
    return write_table(head, [((escape(name), escape(value)), False) for name, value in pairs], n_text)


def _with_interval(figure):
    if figure["value"] is None:
        return "undefined"
    low, high = (number(figure[end], sign=True) for end in ("low", "high"))
    return f"{number(figure['value'], sign=True)} ({low} to {high})"


def _correlation(figure):
    if figure["value"] is None:
        return "constant predictions"
    spread = figure.get("sd")
    return number(figure["value"]) + (f" &plusmn; {number(spread)}" if spread is not None else "")


def _agreement_table(study):
    head = ("model", "kept", "selection", "SRCC", "PLCC", "&Delta; all", "&Delta; random", "change")
    everything = study["all"]
    rows = [(("", "100%", "all", _correlation(everything["srcc"]), _correlation(everything["plcc"]), "", "", ""), True)]
    for mode in MODES:
        for row in (row for row in study["rows"] if row["mode"] == mode):
            is_first = row["selector"] == SELECTORS[0]
            cells = (
                mode if is_first else "",
                f"{row['rate']:.0%} ({row['n_kept']})" if is_first else "",
                NAMES[row["selector"]],
                _correlation(row["srcc"]),
                _correlation(row["plcc"]),
                _with_interval(row["srcc_minus_all"]),
                _with_interval(row["srcc_minus_random"]) if "srcc_minus_random" in row else "",
                number(row["change"]) if row["change"] is not None else "",
            )
            rows.append((cells, is_first))
    return write_table(head, rows, n_text=3)


def _labels_table(labels):
    levels = [str(level) for level in next(iter(labels.values()))]
    head = ("distortion", "strength", *(f"level {level}" for level in levels))
    rows = []
    for kind, means in labels.items():
        strengths = [LEVELS[kind][int(level) - 1] for level in levels]
        cells = [f"{number(means[level])} <small>[{s}]</small>" for level, s in zip(levels, strengths, strict=True)]
        rows.append(((escape(kind), f"[{escape(STRENGTHS[kind])}]", *cells), False))
    return write_table(head, rows, n_text=2)


def _shares(by_kind):
    return ", ".join(f"{escape(kind)} {number(100 * share, digits=1)} %" for kind, share in by_kind.items())


def _difference(value):
    return f"{value:.1e}" if value else "none"


def _code(pipeline, n_folds):
    return (
        f"pipeline = {pipeline}\n\n"
        "# files: the images; labels: SSIM; scenes: the photograph that each image was made from\n"
        f"cross_val_predict(pipeline, files, labels, groups=scenes, cv=GroupKFold(n_splits={n_folds}))"
    )


def _setup_rows(setup):
    rows = [
        ("date", setup["date"]),
        ("machine", f"{setup['machine']}, {setup['n_cores']} cores"),
        ("scenes", ", ".join(setup["scenes"])),
        ("images", f"{setup['n_images']}, {setup['n_images'] // len(setup['scenes'])} per scene"),
        ("patches", f"{setup['n_patches']} per image, {setup['patch_size']} x {setup['patch_size']} pixels"),
        ("features", f"{setup['n_features']} per patch"),
        ("selection", ", ".join(f"{name}={value!r}" for name, value in setup["selection"].items())),
        ("random selections", f"{setup['n_seeds']} seeds"),
        ("folds", f"{setup['n_folds']}, grouped by scene"),
        ("label", setup["label"]),
    ]
    return rows + [("version of " + name, version) for name, version in setup["versions"].items()]
