"""How much the parameters of the selection matter: one at a time, and all together in an analysis of variance.

Panoramas, clean and at two of five levels of every distortion, PatchStatistics, label ws_ssim, mean and standard
deviation of the patches into an SVR, as in study_downstream.py, where "retrained", "fixed", "change" and the two halves
of the scenes are explained.
"""

import itertools
from dataclasses import replace
from functools import partial

import numpy as np
from _common import arguments, write_results
from _downstream_data import load_panoramas
from _evaluation import Judge, lazy_experiment
from _resume import CACHE, Pieces
from study_downstream import ALL, NORMALIZE, halves, rounded, weight_matrix
from threadpoolctl import threadpool_limits

from patchdistill import ResidualPatchSelector
from patchdistill.demo.agreement import summary
from patchdistill.evaluation import anova, srcc

FEATURE, LABEL, MODEL = "PatchStatistics", "ws_ssim", "svr"
SELECTIONS = {
    "representatives": {},
    "lowest residual": {"coverage": None},
    "highest residual": {"coverage": None, "keep": "high"},
}
RATES = (0.1, 0.45)
SWEEPS = {
    "h": (2, 5, 10, 20, 40),
    "metric": ("euclidean", "manhattan", "mahalanobis", "cosine"),
    "alpha": (0.03, 0.1, 0.3),
    "beta": (0.1, 0.3, 1.0, np.inf),
    "bandwidth": (0.25, 1.0, 4.0, 16.0),
    "outlier_threshold": (2.0, 3.5, 6.0, np.inf),
}
FACTORS = {
    "h": (5, 20),
    "metric": ("euclidean", "manhattan"),
    "alpha": (0.03, 0.3),
    "beta": (0.1, 1.0),
    "bandwidth": (1.0, 16.0),
}
FACTOR_RATE, LEVELS = 0.1, (0, 2, 4)


def predictions_of(experiment, bags, memory, parameters, rate):
    """Predictions of the SVR in both modes, as JSON can hold them."""
    selector = ResidualPatchSelector(normalize=NORMALIZE[FEATURE], rate=rate, memory=memory, **parameters)
    return by_mode(experiment().predict(weight_matrix(selector, bags), models=(MODEL,)))


def predictions_of_all(experiment):
    """The same with all patches."""
    return by_mode(experiment().predict(experiment().everything, models=(MODEL,)))


def by_mode(predictions):
    """Predictions of one model, as JSON can hold them."""
    return {mode: values.round(6).tolist() for (_, mode), values in predictions.items()}


def one_at_a_time(data, folder, smoke):
    """Every value of every parameter, the others at their defaults."""
    bags, labels = data.features[FEATURE], data.labels[LABEL]
    experiment, memory = lazy_experiment(bags, data.labels[LABEL], data.scenes), str(folder / "scores")
    sweeps = {"h": (5, 10)} if smoke else SWEEPS
    names = ("representatives", "lowest residual")
    cases = [(p, v, s, r) for p, values in sweeps.items() for v in values for s in names for r in RATES]
    work = {ALL: partial(predictions_of_all, experiment)}
    for parameter, value, selection, rate in cases:
        parameters = {**SELECTIONS[selection], parameter: value}
        work[f"{parameter}={value} {selection} {rate}"] = partial(
            predictions_of, experiment, bags, memory, parameters, rate
        )
    found = Pieces("sensitivity", settings(data), folder).compute(work)
    y = (labels - labels.mean()) / labels.std()
    rows = []
    for (part, chosen), mode in itertools.product(halves(data.scenes).items(), ("retrained", "fixed")):
        judge = Judge(y, np.array(found[ALL][mode]), data.scenes, chosen)
        for parameter, value, selection, rate in cases:
            judged = judge(np.array(found[f"{parameter}={value} {selection} {rate}"][mode]))
            row = {"scenes": part, "mode": mode, "parameter": parameter, "value": str(value), "selection": selection}
            row |= {"rate": rate, "srcc_sd": float(np.std(judged["srcc"][1:]))}
            rows.append(rounded(row | {key: summary(judged[key]) for key in ("srcc", "change")}))
    return rows


def all_together(data, folder, smoke):
    """Main effects of all parameters and of the kind of selection on the SRCC within a scene, scenes as blocks."""
    bags, labels, scenes = data.features[FEATURE], data.labels[LABEL], data.scenes
    experiment, memory = lazy_experiment(bags, data.labels[LABEL], data.scenes), str(folder / "scores")
    factors = {"h": (5, 20)} if smoke else FACTORS
    settings_of = [dict(zip(factors, values, strict=True)) for values in itertools.product(*factors.values())]
    cases = list(itertools.product(settings_of, SELECTIONS))
    work = {
        f"{case} {selection}": partial(
            predictions_of, experiment, bags, memory, {**SELECTIONS[selection], **case}, FACTOR_RATE
        )
        for case, selection in cases
    }
    found = Pieces("factors", settings(data), folder).compute(work)
    tables, n_undefined = {}, {}
    for mode in ("retrained", "fixed"):
        for kinds in (tuple(SELECTIONS), ("representatives",), ("lowest residual",)):
            observations = []
            for (case, selection), scene in itertools.product(cases, np.unique(scenes)):
                if selection in kinds:
                    of_scene = np.flatnonzero(scenes == scene)
                    value = srcc(labels[of_scene], np.array(found[f"{case} {selection}"][mode])[of_scene])
                    observations.append({**case, "selection": selection, "scene": scene, "srcc": value})
            several = len(kinds) > 1
            name = f"{mode}, {'all selections' if several else kinds[0]}"
            # Equal predictions for all of a scene have no SRCC.
            defined = [row for row in observations if np.isfinite(row["srcc"])]
            n_undefined[name] = len(observations) - len(defined)
            table = {column: [row[column] for row in defined] for column in observations[0]}
            tables[name] = anova(table, "srcc", [*factors, "selection"] if several else [*factors], block="scene")
    return {"rate": FACTOR_RATE, "tables": rounded(tables), "n_undefined": n_undefined}


def automatic_rate(data, folder):
    """What rate="auto" keeps, and what a model makes of it."""
    bags, labels = data.features[FEATURE], data.labels[LABEL]
    experiment, memory = lazy_experiment(bags, data.labels[LABEL], data.scenes), str(folder / "scores")

    def kept():
        selector = ResidualPatchSelector(normalize=NORMALIZE[FEATURE], rate="auto", memory=memory).fit(bags)
        return [len(patches) for patches in selector.selected_idx_]

    work = {ALL: partial(predictions_of_all, experiment), "kept": kept}
    work["auto"] = partial(predictions_of, experiment, bags, memory, {}, "auto")
    found = Pieces("auto", settings(data), folder).compute(work)
    shares = np.array(found["kept"]) / bags.n_patches
    results = {"share": dict(zip(("5 %", "50 %", "95 %"), np.percentile(shares, [5, 50, 95]).tolist(), strict=True))}
    results["share"]["mean"] = float(shares.mean())
    y = (labels - labels.mean()) / labels.std()
    for (part, chosen), mode in itertools.product(halves(data.scenes).items(), ("retrained", "fixed")):
        judge = Judge(y, np.array(found[ALL][mode]), data.scenes, chosen)
        judged = judge(np.array(found["auto"][mode]))
        results[f"{part}, {mode}"] = {key: summary(judged[key]) for key in ("srcc", "change")}
    return rounded(results)


def at_levels(data, levels):
    """The images of some levels of distortion."""
    images = np.flatnonzero(np.isin(data.levels, levels))
    parts = {name: getattr(data, name)[images] for name in ("scenes", "kinds", "levels")}
    features = {name: bags[images] for name, bags in data.features.items()}
    labels = {name: values[images] for name, values in data.labels.items()}
    return replace(data, features=features, labels=labels, **parts)


def settings(data):
    """What decides the results besides the names of the pieces."""
    return {
        "ids": data.features[FEATURE].ids.tolist(),
        "labels": data.labels[LABEL].round(6).tolist(),
        "defaults": repr(ResidualPatchSelector()),
    }


def main():
    options = arguments(__doc__).parse_args()
    folder = options.out.parent if options.smoke and options.out else CACHE
    data = at_levels(load_panoramas(folder, smoke=options.smoke), LEVELS)
    with threadpool_limits(1):
        results = {"levels": LEVELS, "n_images": len(data.scenes)}
        results["one_at_a_time"] = one_at_a_time(data, folder, options.smoke)
        results["automatic_rate"] = automatic_rate(data, folder)
        results["all_together"] = all_together(data, folder, options.smoke)
    for name, table in results["all_together"]["tables"].items():
        for factor, row in table.items():
            print(name, factor, row["p"], row["eta_squared"], sep="  ")
    write_results("study_sensitivity", results, options.out)


if __name__ == "__main__":
    main()
