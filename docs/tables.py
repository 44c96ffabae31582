"""Write the tables of the documentation from the files that the benchmarks wrote: no figure is typed by hand.

``python docs/tables.py`` brings the figures of the README up to date; a test compares them.
"""

import json
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
MARKS = ("<!-- figures: written by docs/tables.py -->\n", "<!-- end of figures -->\n")


def write_tables(folder):
    """Write one reStructuredText file per table."""
    from cost_tables import COST_TABLES  # they take their tools from this module
    from feature_tables import FEATURE_TABLES
    from panorama_tables import PANORAMA_TABLES
    from relational_tables import RELATIONAL_TABLES
    from study_tables import STUDY_TABLES

    folder.mkdir(parents=True, exist_ok=True)
    others = {**STUDY_TABLES, **COST_TABLES, **PANORAMA_TABLES, **FEATURE_TABLES, **RELATIONAL_TABLES}
    for name, make in {**TABLES, **others}.items():
        (folder / f"{name}.rst").write_text(make(), encoding="utf-8")


def _load(name):
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def _table(header, rows):
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in [header, *rows]:
        lines += [f"   {'* -' if i == 0 else '  -'} {cell}" for i, cell in enumerate(row)]
    return "\n".join(lines) + "\n"


def _source(name, results):
    setup = results["setup"]
    where = setup.get("processor") or setup["machine"]
    return f"\nFrom ``benchmarks/results/{name}.json``: {where}, {setup['date'][:10]}.\n"


def _outliers():
    results = _load("bench_outliers")
    text = ""
    for folder in ("panoramas", "photos"):
        table = results[folder]["table"]
        kinds = list(dict.fromkeys(row["kind"] for row in table))
        groups = list(dict.fromkeys((row["encoder"], row["normalize"], row["score"]) for row in table))
        cells = {(*[row[k] for k in ("encoder", "normalize", "score")], row["kind"]): row for row in table}
        rows = []
        for group in groups:
            values = [cells[(*group, kind)] for kind in kinds]
            rows.append([*group, *(f"{row['auc_mean']:.2f} ± {row['auc_sd']:.2f}" for row in values)])
        text += f"{len(results[folder]['pictures'])} {folder}:\n\n"
        text += _table(["Features", "``normalize``", "Residual", *kinds], rows) + "\n"
    return text + _source("bench_outliers", results)


def _interval(value):
    return f"{value['value']:+.3f} ({value['low']:+.3f} to {value['high']:+.3f})"


def _against_random(file):
    results = _load(file)
    study = results["study"]
    setup = results["setup"]
    whole = study["all"]["srcc"]
    text = (
        f"{len(setup['scenes'])} scenes, {setup['n_images']} images, {setup['n_patches']} patches each. "
        f"All patches: SRCC {whole['value']:.3f} ({whole['low']:.3f} to {whole['high']:.3f}), "
        f"PLCC {study['all']['plcc']['value']:.3f}.\n\n"
    )
    header = ["Model", "Kept", "Default", "Lowest", "Highest", "Random", "Default - random", "Lowest - random"]
    text += _table([*header, "Default - all"], [_against_random_row(cells) for cells in _cells(study).values()])
    text += "\nHow far the predictions of the fixed model move:\n\n"
    changes = [
        [f"{rate:.0%}", *(f"{cells[name]['change']:.3f}" for name in ("cover", "low", "high", "random"))]
        for (mode, rate), cells in _cells(study).items()
        if mode == "fixed"
    ]
    return text + _table(["Kept", "Default", "Lowest", "Highest", "Random"], changes) + _source(file, results)


def _cells(study):
    """Rows of a study by mode and rate, then by selector."""
    cells = {}
    for row in study["rows"]:
        cells.setdefault((row["mode"], row["rate"]), {})[row["selector"]] = row
    return cells


def _against_random_row(cells):
    cover, low, high, random = (cells[name] for name in ("cover", "low", "high", "random"))
    return [
        cover["mode"],
        f"{cover['rate']:.0%}",
        *(f"{row['srcc']['value']:.3f}" for row in (cover, low, high)),
        f"{random['srcc']['value']:.3f} ± {random['srcc']['sd']:.3f}",
        _interval(cover["srcc_minus_random"]),
        _interval(low["srcc_minus_random"]),
        _interval(cover["srcc_minus_all"]),
    ]


def _speed():
    results = _load("bench_solver")
    ours = [
        [
            row["metric"],
            f"{row['tol']:g}",
            f"{1e3 * row['seconds']:.1f}",
            f"{1e3 * row['seconds_slowest_image']:.1f}",
            f"{row['relative_gap_max']:.1e}",
            f"{row['objective_mean']:.4f}",
            f"{row['n_iter_median']:.0f}",
        ]
        for row in results["ours"]
    ]
    text = f"{results['n']} x {results['d']}, {results['n_images']} images, one BLAS thread:\n\n"
    text += _table(
        ["Metric", "``tol``", "ms, median", "ms, slowest image", "Largest gap", "Mean objective", "Steps"], ours
    )
    script, call, ratios = results["published_iteration"], results["script_mahalanobis_call"], results["ratios"]
    low, high = script["range_of_ratios_1e-3"]
    ratio, ratio_mahalanobis = (
        ratios[f"{name}_1e-3"]
        for name in ("published_iteration_over_ours_euclidean", "script_mahalanobis_call_over_ours_mahalanobis")
    )
    text += (
        f"\nIn the same run the published iteration, with its {results['d']} x {results['d']} inverse, took "
        f"{script['seconds']:.1f} s, {ratio:.0f} times a whole selection at ``tol=1e-3`` (median of the images, each "
        f"timed before and after; {low:.0f} to {high:.0f}), and ended at an objective of "
        f"{script['objective']:.1f}, with a relative gap of {script['relative_gap']:.2f}; the script's own Mahalanobis "
        f"call took {call['seconds']:.0f} s ({ratio_mahalanobis:.0f} times a whole selection with that metric).\n\n"
    )
    floor = results["floor"]
    text += (
        f"The floor, reading the embeddings once ({1e3 * floor['read_seconds']:.2f} ms) and one matrix of inner "
        f"products ({1e3 * floor['gram_seconds']:.2f} ms), is a "
        f"{results['ours'][0]['seconds'] / sum(floor.values()):.0f}th of a whole selection.\n\n"
        "Beside the baseline that drops isolated patches and keeps medoids of the others, both as estimators at their "
        "defaults:\n\n"
    )
    beside = [
        [name, *(f"{1e3 * row[key]:.1f}" for key in ("default_selection", "trimmed_medoids")), f"{row['ratio']:.1f}"]
        for name, row in results["against_baseline"].items()
    ]
    text += _table(["Features", "ms, default selection", "ms, trim, then k-medoids", "Ratio"], beside) + "\n"
    growth = [
        [row["metric"], f"{row['tol']:g}", f"{row['exponent_in_n']:.2f}", f"{row['exponent_in_d']:.2f}"]
        for row in results["growth"]
    ]
    n, d = (sorted({row[axis] for row in results["sweep"]}) for axis in ("n", "d"))
    text += f"The time grows with the power of n ({n[0]} to {n[-1]}) and of d ({d[0]} to {d[-1]}):\n\n"
    return text + _table(["Metric", "``tol``", "Power of n", "Power of d"], growth) + _source("bench_solver", results)


def _memory():
    results = _load("bench_memory")
    rows = [
        [
            row["n_jobs"],
            f"{row['peak_main_process_mb']:.0f}",
            f"{row['peak_all_processes_pss_mb']:.0f}",
            f"{row['peak_all_processes_rss_mb']:.0f}",
            f"{row['images_per_second']:.1f}",
        ]
        for row in results["runs"]
    ]
    header = [
        "``--n-jobs``",
        "MB, largest process",
        "MB, all processes",
        "MB, shared pages counted for each",
        "Images/s",
    ]
    shape = f"{results['n_images']} images of {results['n_patches']} x {results['n_features']} {results['dtype']}"
    return f"{shape} ({results['input_mb']:.0f} MB):\n\n" + _table(header, rows) + _source("bench_memory", results)


def _scale():
    results = _load("bench_scale")
    rows = [
        [
            f"{row['n']:,}",
            row["d"],
            row["way"],
            f"{row['cpu_seconds']:.1f}",
            f"{row['megabytes']:.0f}",
            f"{row['relative_gap']:.0e}",
            f"{row['target_error']:.0e}" if row["target_error"] else "0",
            f"{row['error_of_means']:.4f} ({row['error_of_means_random']:.3f})",
        ]
        for row in results["rows"]
    ]
    header = ["Patches", "Features", "Way", "CPU s", "MB", "Gap", "Target error", "Error of means (random)"]
    growth = results["growth_of_cpu_seconds"]
    text = (
        "One BLAS thread, default parameters. *MB*: what the process needs above the embeddings. *Error of means*: "
        "root mean square over features, in standard deviations, of the kept patches with their weights, and of as "
        f"many random ones. Time grows with the power {growth['dense']:.1f} of n by matrices of n x n and "
        f"{growth['blocks']:.1f} by blocks.\n\n"
    )
    text += _table(header, rows)
    beside = {row["way"]: row for row in results["beside_scikit_matter"]}
    if len(beside) > 1:
        ours, theirs = beside["blocks"], beside["scikit-matter FPS"]
        text += (
            f"\nIn the same run, {ours['n']:,} x {ours['d']:,} took {ours['cpu_seconds']:.1f} s of one core and "
            f"{ours['megabytes']:.0f} MB; scikit-matter's farthest point sampling of as many patches took "
            f"{theirs['cpu_seconds']:.1f} s and {theirs['megabytes']:.0f} MB.\n"
        )
    return text + _source("bench_scale", results)


def _scale_changes():
    results = _load("bench_scale")
    pools = results["changes"]
    ways = ("dense", "blocks")
    scores = [
        [
            f"{pool['n']:,}",
            f"{pool['spearman']:.6f}",
            f"{pool['same_core']:.4f}",
            " / ".join(str(count) for count in pool["outliers"]),
            *(" / ".join(f"{pool[way][name]:.2f}" for way in ways) for name in ("outliers_dropped", "copies_dropped")),
            " / ".join(str(count) for count in reversed(pool["n_auto"])),
            f"{pool['same_kept']:.2f}",
        ]
        for pool in pools
    ]
    header = ["Patches", "Rank correlation of scores", "Same core", "Set aside by blocks / dense / both"]
    header += ["Outliers dropped, dense / blocks", "Copies dropped, dense / blocks", "Kept by auto, dense / blocks"]
    header += [f"Kept by both at {results['rate']:g}"]
    text = _table(header, scores) + "\nMean over these pools:\n\n"
    rows = []
    for k, cell in enumerate(pools[0]["rates"]):
        row = [f"{cell['rate']:.0%}"]
        for name in ("averages", "coverage"):
            for way in (*ways, "random"):
                row.append(f"{sum(pool['rates'][k][way][name] for pool in pools) / len(pools):.4f}")
        rows.append(row)
    names = [f"{name}, {way}" for name in ("Error of the averages", "Coverage") for way in (*ways, "random")]
    return text + _table(["Kept", *names], rows) + _source("bench_scale", results)


def _parallel():
    results = _load("bench_parallel")
    rows = [
        [
            {"loky": "joblib's own", "dask": "dask", "dask-keeps-memory": "dask, keeping memory"}[row["backend"]],
            row["n_jobs"],
            f"{row['seconds_one_worker']:.1f}",
            f"{row['seconds']:.1f}",
            f"{row['speedup']:.2f} ({row['speedup_lowest']:.2f} to {row['speedup_highest']:.2f})",
            f"{row['seconds_to_start']:.1f}",
            f"{row['peak_mb']:.0f}",
        ]
        for row in results["runs"]
    ]
    header = [
        "Workers",
        "Number",
        "Seconds, one",
        "Seconds, all",
        "Times as fast",
        "Seconds to start",
        "MB, all processes",
    ]
    shape = f"{results['n_images']} images of {results['n_patches']} x {results['n_features']} {results['dtype']}"
    text = f"{shape} ({results['input_mb']:.0f} MB in memory), median and range of {results['repeats']} repeats:\n\n"
    gap, objective = (max(row[name] for row in results["runs"]) for name in ("relative_gap_max", "objective_max"))
    text += _table(header, rows) + f"\nLargest relative gap {gap:.1e}, largest objective {objective:.1f}.\n"
    return text + _source("bench_parallel", results)


def _backends():
    results = _load("bench_backends")
    rows = [
        [
            "NumPy, one by one" if row["backend"] == "numpy" else f"PyTorch, {row['device']}",
            str(row["threads"]),
            f"{row['batch']:,}",
            f"{1e3 * row['seconds_per_image']:.1f}",
            f"{1e3 * row['floor_seconds_per_image']:.1f}",
            f"{row['relative_gap_max']:.1e}",
            f"{100 * row['same_patches']:.1f} %" if "same_patches" in row else "",
        ]
        for row in results["rows"]
    ]
    paired = results["beside_numpy"]
    where = "" if results["gpu"] else " No GPU was at hand."
    text = f"Images of {results['n']} x {results['d']} in float32:{where}\n\n"
    text += _table(["", "Threads", "Batch", "ms per image", "Floor", "Largest gap", "Patches as NumPy decides"], rows)
    low, high = min(paired["ratios"]), max(paired["ratios"])
    text += (
        "\nThe floor is the least arithmetic that the method needs, three matrices of inner products and two looks at "
        "all features, at the rate of a product of large float64 matrices. Taken in turn, a batch of "
        f"{paired['batch']} on {paired['threads']} threads was {paired['ratio']:.1f} times as fast as NumPy one by one "
        f"on one ({low:.1f} to {high:.1f}).\n"
    )
    return text + _source("bench_backends", results)


def _published():
    results = _load("bench_published")
    ranges = results["ranges"]
    single = next(row for row in results["table"] if "mahalanobis_correlation" in row)

    def span(name, form="{:.2f}"):
        low, high = (form.format(value) for value in ranges[name])
        return low if low == high else f"{low} to {high}"

    rows = [
        ["Iterations until its stopping rule ends it", span("n_iter", "{:.0f}")],
        ["Objective of its problem, reached", span("objective")],
        ["Objective of its problem, minimum", span("minimum_at_most")],
        ["Rows of W that are not zero", span("nonzero_rows_of_W", "{:.0f}")],
        ["Rows of W that are not zero at the minimum", span("nonzero_rows_of_W_exact", "{:.0f}")],
        ["Rank correlation of the row norms of R with their random start", span("spearman_of_R_with_its_start")],
        ["Share of a 50 % selection that two runs have in common", span("shared_by_two_runs_at_half")],
        ["Share of the affinity's trace in its target", span("trace_share_of_target", "{:.4f}")],
        ["The same for the leading eigenvectors", span("trace_share_of_leading")],
        [
            "Correlation of its Mahalanobis distances with those of the shrunk covariance (one picture)",
            f"{single['mahalanobis_correlation']:.2f}",
        ],
    ]
    text = f"Range over {len(results['table'])} pictures:\n\n"
    return text + _table(["Measured", "Value"], rows) + _source("bench_published", results)


TABLES = {
    "outliers": _outliers,
    "against_random_photographs": lambda: _against_random("demo_photographs"),
    "against_random_panoramas": lambda: _against_random("demo_panoramas"),
    "speed": _speed,
    "memory": _memory,
    "scale": _scale,
    "scale_changes": _scale_changes,
    "parallel": _parallel,
    "backends": _backends,
    "published": _published,
}


def readme_figures():
    """Markdown of the figures in the README."""
    demo, solver, outliers = (_load(name) for name in ("demo_panoramas", "bench_solver", "bench_outliers"))
    study, setup = demo["study"], demo["setup"]
    cells = _cells(study)
    lines = [
        "| kept | retrained: default | retrained: random | fixed: default | fixed: random |",
        "|---|---|---|---|---|",
    ]
    for rate in setup["rates"]:
        values = [f"{rate:.0%}"]
        for mode in ("retrained", "fixed"):
            cover, random = (cells[mode, rate][name]["srcc"] for name in ("cover", "random"))
            values += [f"{cover['value']:.3f}", f"{random['value']:.3f} ± {random['sd']:.3f}"]
        lines.append(f"| {' | '.join(values)} |")
    found = [
        f"{row['kind']} {row['auc_mean']:.2f}"
        for row in outliers["panoramas"]["table"]
        if (row["encoder"], row["normalize"], row["score"]) == ("random filters", "rows", "relative")
    ]
    time = next(row for row in solver["ours"] if (row["metric"], row["tol"]) == ("euclidean", 1e-3))
    ratio = solver["ratios"]["published_iteration_over_ours_euclidean_1e-3"]
    return "\n".join(
        [
            f"SRCC with SSIM on {setup['n_images']} versions of {len(setup['scenes'])} panoramas, cross-validated over "
            f"scenes; all patches: {study['all']['srcc']['value']:.3f}.",
            "",
            *lines,
            "",
            f"Planted outliers, chance that one scores higher than a clean patch: {', '.join(found)}.",
            "",
            f"Time of a selection of {solver['n']} x {solver['d']}: {1e3 * time['seconds']:.0f} ms on one core; the "
            f"published iteration takes {ratio:.0f} times as long.",
            "",
        ]
    )


def update_readme():
    """Put the figures between their marks."""
    readme = ROOT / "README.md"
    before, rest = readme.read_text(encoding="utf-8").split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    readme.write_text(f"{before}{MARKS[0]}{readme_figures()}{MARKS[1]}{after}", encoding="utf-8")


if __name__ == "__main__":
    update_readme()
