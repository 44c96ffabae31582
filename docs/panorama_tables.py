"""Tables and sentences about the study of five samplings."""

from tables import _load, _source, _table

NAME = "study_panoramas"
SHOWN_RATES = (0.05, 0.1, 0.2, 0.45)
_VERDICTS = ("better", "unclear", "worse")


def agreement(model):
    """Compare all, selected and random patches of one model, by sampling and rate."""
    results = _load(NAME)
    rows = []
    for sampling in results["settings"]["samplings"]:
        (whole,) = _of(results["agreement"], sampling, model, "all")
        for rate in SHOWN_RATES:
            selected, random = (
                _at(_of(results["agreement"], sampling, model, selection), rate) for selection in ("residual", "random")
            )
            difference = _at(_of(results["against_random"], sampling, model, "residual"), rate)
            rows.append(
                [
                    sampling if rate == SHOWN_RATES[0] else "",
                    _with_sd(whole) if rate == SHOWN_RATES[0] else "",
                    f"{rate:.0%}",
                    _with_sd(selected),
                    _with_sd(random),
                    f"{difference['value']:+.3f} ({difference['low']:+.3f} to {difference['high']:+.3f})",
                ]
            )
    header = ["Sampling", "All patches", "Kept", "Selected", "Random", "Selected less random"]
    return _table(header, rows) + _source(NAME, results)


def design():
    """Describe the study, and what it took."""
    results = _load(NAME)
    settings = results["settings"]
    return (
        f"{settings['n_images']} versions of {settings['n_scenes']} panoramas; {len(settings['samplings'])} samplings, "
        f"{len(settings['metrics'])} metrics, {len(settings['h'])} values of ``h``, {len(settings['rates'])} rates, "
        f"{settings['n_seeds']} splits by scene and {len(settings['models'])} models: {results['n_cells']:,} trained "
        f"models in {results['hours']:.1f} hours with {results['n_jobs']} workers, over {len(results['runs'])} runs, "
        f"{sum(run['state'] == 'unfinished' for run in results['runs'])} of which were killed.\n"
    )


def verdicts():
    """Count where selection is better than random selection, over all metrics and h."""
    results = _load(NAME)
    settings = results["settings"]
    rows = []
    for model in settings["models"]:
        for sampling in settings["samplings"]:
            counts = {
                verdict: sum(
                    row["n"]
                    for row in results["every_metric_and_h_against_random"]
                    if (row["sampling"], row["model"], row["verdict"]) == (sampling, model, verdict)
                )
                for verdict in _VERDICTS
            }
            rows.append([model, sampling, *counts.values()])
    header = ["Model", "Sampling", "Better", "No clear difference", "Worse"]
    return _table(header, rows) + _source(NAME, results)


def effects():
    """List how much of the SRCC of the selections each factor explains."""
    results = _load(NAME)
    rows = [
        [model, factor, f"{row['eta_squared']:.3f}", f"{row['omega_squared']:.3f}"]
        for model, table in results["effects"].items()
        for factor, row in table.items()
    ]
    return _table(["Model", "Factor", "Partial η²", "Partial ω²"], rows) + _source(NAME, results)


def _of(rows, sampling, model, selection):
    return [row for row in rows if (row["sampling"], row["model"], row["selection"]) == (sampling, model, selection)]


def _at(rows, rate):
    return next(row for row in rows if row["rate"] == rate)


def _with_sd(row):
    return f"{row['srcc']:.3f} ± {row['srcc_sd']:.3f}"


PANORAMA_TABLES = {
    "panoramas_design": design,
    "panoramas_svr": lambda: agreement("SVR"),
    "panoramas_ridge": lambda: agreement("ridge"),
    "panoramas_verdicts": verdicts,
    "panoramas_effects": effects,
}
