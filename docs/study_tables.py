"""Tables of the page "What selection buys, and when", from the files that the studies wrote."""

import itertools

from tables import _interval, _load, _source, _table

# The table on planted bags: key, header, and whether higher is better.
PLANTED = (
    ("copies_dropped", "Copies dropped"),
    ("originals_present", "Originals present"),
    ("outliers_dropped", "Outliers dropped"),
    ("coverage", "Coverage"),
    ("cov_error_unweighted", "Covariance error"),
    ("cov_error", "... with weights"),
    ("same_permuted", "Permuted"),
    ("same_scaled", "Scaled"),
    ("same_other_seed", "Other seed"),
)


def planted(encoder):
    """Selectors on planted bags."""
    results = _load("bench_selection_quality")
    rows = []
    for name, row in results["tables"][encoder]["all"].items():
        label = f"**{name}**" if name == "default selection" else name.replace("_", " ")
        rows.append([label, *(f"{row[key]:.2f}" for key, _ in PLANTED), f"{row['ms']:.1f}"])
    missing = ", ".join(results["missing"]) or "none"
    text = f"{len(results['pictures'])} pictures, {results['bags_per_picture']} bags each; packages: "
    text += f"{', '.join(results['peers'])}; missing: {missing}.\n\n"
    text += _table(["Selector", *(header for _, header in PLANTED), "ms"], rows)
    return text + _source("bench_selection_quality", results)


def planted_halves():
    """Compare the default selection with the bar, on the pictures that were chosen on and on the others."""
    tables = _load("bench_selection_quality")["tables"]
    rows = []
    for encoder, of_half in tables.items():
        for half in ("chosen on", "confirmed on"):
            for name in ("default selection", "trim, then k-medoids"):
                row = of_half[half][name]
                rows.append([encoder, half, name, *(f"{row[key]:.3f}" for key, _ in PLANTED[:5])])
    return _table(["Features", "Pictures", "Selector", *(header for _, header in PLANTED[:5])], rows)


def study_table(data, features, label, scenes):
    """Rows of one table of the downstream study."""
    tables = _load("study_downstream")[data]["tables"]
    return next(t for t in tables if (t["features"], t["label"], t["scenes"]) == (features, label, scenes))


def downstream(data, features, label, scenes, model="svr", mode="fixed", selectors=None):
    """One model in one mode: selectors at every rate."""
    table = study_table(data, features, label, scenes)
    of_model = [row for row in table["rows"] if (row["model"], row["mode"]) == (model, mode)]
    all_patches = next(row for row in of_model if row["selector"] == "all patches")
    rows = []
    for row in of_model:
        if row["selector"] == "all patches" or (selectors and row["selector"] not in selectors):
            continue
        srcc = f"{row['srcc']['value']:.3f}" if row["srcc"]["value"] is not None else "constant"
        cells = [f"{row['rate']:.0%}", row["selector"], srcc + (f" ± {row['srcc_sd']:.3f}" if "srcc_sd" in row else "")]
        for key in ("srcc_minus_random", "srcc_minus_all"):
            cells.append(_interval(row[key]) if key in row and row[key]["value"] is not None else "")
        if mode == "fixed":
            cells.append(f"{row['change']['value']:.3f}")
            ratio = row.get("change_over_random")
            cells.append(f"{ratio['value']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})" if ratio else "")
        rows.append(cells)
    header = ["Kept", "Selector", "SRCC", "Minus random", "Minus all patches"]
    header += ["Change", "Change over random's"] if mode == "fixed" else []
    whole = all_patches["srcc"]
    text = f"{table['n_scenes']} scenes; all patches: SRCC {whole['value']:.3f} "
    return text + f"({whole['low']:.3f} to {whole['high']:.3f}).\n\n" + _table(header, rows)


def factors():
    """Analysis of variance."""
    results = _load("study_sensitivity")
    rows = []
    for name, table in results["all_together"]["tables"].items():
        for factor, row in table.items():
            if factor != "scene":
                means = ", ".join(f"{level}: {mean:.3f}" for level, mean in row["means"].items())
                p = f"{row['p']:.2g}" if row["p"] >= 1e-4 else "< 0.0001"
                rows.append([name, factor, p, f"{row['eta_squared']:.4f}", means])
    header = ["Model and selections", "Factor", "p", "Partial η²", "Mean SRCC within a scene, by level"]
    return _table(header, rows) + _source("study_sensitivity", results)


def one_at_a_time():
    """Range of the SRCC over the values of every parameter, a tenth of the patches kept."""
    found = [row for row in _load("study_sensitivity")["one_at_a_time"] if row["rate"] == 0.1]
    rows = []
    for parameter in dict.fromkeys(row["parameter"] for row in found):
        values = ", ".join(dict.fromkeys(row["value"] for row in found if row["parameter"] == parameter))
        for selection in ("representatives", "lowest residual"):
            cells = [parameter, values, selection]
            for mode, scenes in itertools.product(("fixed", "retrained"), ("chosen on", "confirmed on")):
                asked = (parameter, selection, mode, scenes)
                keys = ("parameter", "selection", "mode", "scenes")
                srcc = [row["srcc"]["value"] for row in found if tuple(map(row.get, keys)) == asked]
                cells.append(f"{min(srcc):.3f} to {max(srcc):.3f}")
            rows.append(cells)
    header = ["Parameter", "Values", "Selection", "Fixed, chosen on", "Fixed, confirmed on"]
    return _table([*header, "Retrained, chosen on", "Retrained, confirmed on"], rows)


def first_confirmation():
    """Show the default selection on the confirming scenes as first looked at, and as it is now."""
    first = {(row["mode"], row["rate"]): row for row in _load("first_confirmation")["rows"]}
    table = study_table("panoramas", "PatchStatistics", "ws_ssim", "confirmed on")
    rated = study_table("livec", "PatchStatistics", "mos", "all")
    rows = []
    for rate in (0.05, 0.1, 0.25, 0.45):
        cells = [f"{rate:.0%}"]
        now = [
            next(
                row
                for row in found["rows"]
                if (row["model"], row["mode"], row["rate"], row["selector"])
                == ("svr", "fixed", rate, "default selection")
            )
            for found in (table, rated)
        ]
        for row in (first["fixed", rate], *now):
            ratio = row["change_over_random"]
            cells.append(f"{ratio['value']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})")
        rows.append(cells)
    header = ["Kept", "Confirming panoramas, first look", "The same, with the rule", "Rated photographs"]
    return _table(header, rows) + _source("first_confirmation", _load("first_confirmation"))


def automatic():
    """Say what the automatic rate keeps."""
    results = _load("study_sensitivity")["automatic_rate"]
    share = results["share"]
    rows = [
        [name, f"{value['srcc']['value']:.3f}", f"{value['change']['value']:.3f}"]
        for name, value in results.items()
        if name != "share"
    ]
    text = (
        f"With ``rate='auto'`` {share['mean']:.0%} of a panorama's patches are kept on average, {share['5 %']:.0%} to "
        f"{share['95 %']:.0%} from the 5th to the 95th percentile.\n\n"
    )
    return text + _table(["Scenes and mode", "SRCC", "Change"], rows)


SHOWN = (
    "random",
    "default selection",
    "default, weights ignored",
    "lowest residual",
    "highest residual",
    "kernel herding",
    "k-medoids",
)
STUDY_TABLES = {
    "planted_filters": lambda: planted("random filters"),
    "planted_statistics": lambda: planted("PatchStatistics"),
    "planted_halves": planted_halves,
    "fixed": lambda: downstream("panoramas", "PatchStatistics", "ws_ssim", "confirmed on", selectors=SHOWN),
    "retrained": lambda: downstream(
        "panoramas", "PatchStatistics", "ws_ssim", "confirmed on", mode="retrained", selectors=SHOWN
    ),
    "fixed_network": lambda: downstream("panoramas", "RandomCNN", "ws_ssim", "confirmed on", selectors=SHOWN),
    "livec_fixed": lambda: downstream("livec", "PatchStatistics", "mos", "all", selectors=SHOWN),
    "livec_retrained": lambda: downstream("livec", "PatchStatistics", "mos", "all", mode="retrained", selectors=SHOWN),
    "first_confirmation": first_confirmation,
    "automatic": automatic,
    "factors": factors,
    "one_at_a_time": one_at_a_time,
}
