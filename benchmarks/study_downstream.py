"""What selection buys a quality model: selectors, rates and models, on panoramas and on rated photographs.

Every image has 180 patches; a model that pools them, or one that scores them one by one, predicts its label. It is
"retrained" on selected patches, or it is "fixed": trained on all patches, and given selected ones with their weights.
No scene is on both sides of a split. "change" is the root mean square difference to what the same model says with all
patches, in standard deviations of the labels. Intervals are 95 % over scenes drawn again; random selection is the mean
of many seeds.

Parameters of the selection were chosen on every second panorama in alphabetical order. What would confirm them on the
others was written down before these were looked at: see CONFIRMATION.
"""

from functools import partial

import numpy as np
from _common import arguments, write_results
from _downstream_data import load_livec, load_panoramas
from _evaluation import MODES, Judge, lazy_experiment
from _resume import CACHE, Pieces
from threadpoolctl import threadpool_limits

from patchdistill import ResidualPatchSelector, baselines
from patchdistill.demo.agreement import summary
from patchdistill.ranking import Choice

RATES = (0.01, 0.02, 0.03, 0.05, 0.10, 0.25, 0.45)
N_SEEDS = 20
NORMALIZE = {"PatchStatistics": "columns", "RandomCNN": "rows"}
RANDOM, DEFAULT, ALL = "random", "default selection", "all patches"

# Of the default selection, PatchStatistics, pooled by the SVR, label ws_ssim, on the half that was not chosen on.
CONFIRMATION = {
    "fixed, change over that of random": {"0.05": 0.62, "0.1": 0.50, "0.45": 0.30},
    "fixed, SRCC at 10 %": "within .02 of all patches and above random's mean by 1.5 of its standard deviations",
    "retrained, SRCC at 45 %": "not below all patches; the best documented setting above random by two standard "
    "deviations with a paired interval above 0",
}


class WeightsIgnored(ResidualPatchSelector):
    """The default selection in front of a model that cannot weigh patches."""

    def _choose(self, bags):
        choices, learned = super()._choose(bags)
        return [Choice(choice.ranking, choice.n_kept) for choice in choices], learned


def selectors(normalize, memory):
    """Selectors by the name they have in the tables; all but the random one."""
    residual = partial(ResidualPatchSelector, normalize=normalize, memory=memory)
    return {
        DEFAULT: residual(),
        "default, weights ignored": WeightsIgnored(normalize=normalize, memory=memory),
        "cover without dropping": residual(outlier_threshold=np.inf),
        "lowest residual": residual(coverage=None),
        "highest residual": residual(coverage=None, keep="high"),
        "k-medoids": baselines.KMedoidsSelector(normalize=normalize),
        "k-means centers": baselines.KMeansSelector(normalize=normalize),
        "facility location": baselines.FacilityLocationSelector(normalize=normalize),
        "farthest point": baselines.FarthestPointSelector(normalize=normalize),
        "kernel herding": baselines.KernelHerdingSelector(normalize=normalize),
        "trim, then k-medoids": baselines.TrimmedMedoidsSelector(normalize=normalize),
        "highest variance": baselines.HighVarianceSelector(),
        "published script": baselines.PublishedPatchSelector(),
    }


def weight_matrix(selector, bags):
    """Weights (n_images, n_patches) of the patches that a selector keeps; the others have 0."""
    selector.fit(bags)
    weights = np.zeros((len(bags), bags.n_patches[0]))
    for row, kept, of_kept in zip(weights, selector.selected_idx_, selector.weights_, strict=True):
        row[kept] = of_kept
    return weights


def pieces_of(data, feature, label, memory, n_seeds, rates):
    """Work of one combination: name of each piece to a function that returns predictions as JSON can hold them."""
    bags, labels = data.features[feature], data.labels[label]

    experiment = lazy_experiment(bags, labels, data.scenes)

    def predictions(weights):
        return {f"{model}, {mode}": p.round(6).tolist() for (model, mode), p in experiment().predict(weights).items()}

    def of_all():
        return predictions(experiment().everything)

    def of_selector(selector, rate):
        return predictions(weight_matrix(selector.set_params(rate=rate), bags))

    work = {ALL: of_all}
    for rate in rates:
        for name, selector in selectors(NORMALIZE[feature], memory).items():
            work[piece(name, selector, rate)] = partial(of_selector, selector, rate)
        for seed in range(n_seeds):
            random = baselines.RandomPatchSelector(random_state=seed)
            work[piece(RANDOM, random, rate)] = partial(of_selector, random, rate)
    return work


def piece(name, selector, rate):
    """Name of a piece, with every parameter of its selector: other parameters, another piece."""
    parameters = {key: value for key, value in selector.get_params().items() if key not in ("rate", "memory")}
    return f"{rate} {name} {sorted(parameters.items())}"


def judge_scenes(predictions, normalize, labels, scenes, chosen, n_seeds, rates):
    """Rows of the table for some scenes: one per model, mode, rate and selector."""
    y = (labels - labels.mean()) / labels.std()
    rows = []
    for key in predictions[ALL]:
        model, mode = key.split(", ")
        on_all = np.array(predictions[ALL][key])
        judge = Judge(y, on_all, scenes, chosen)
        reference = judge(on_all)
        rows.append({"model": model, "mode": mode, "rate": 1.0, "selector": ALL, "srcc": summary(reference["srcc"])})
        for rate in rates:
            seeds = [piece(RANDOM, baselines.RandomPatchSelector(random_state=seed), rate) for seed in range(n_seeds)]
            runs = [judge(np.array(predictions[seed][key])) for seed in seeds]
            random = {measure: np.mean([run[measure] for run in runs], axis=0) for measure in runs[0]}
            sd = {measure: float(np.std([run[measure][0] for run in runs], ddof=1)) for measure in runs[0]}
            cell = {"model": model, "mode": mode, "rate": rate}
            rows.append(cell | {"selector": RANDOM, "srcc_sd": sd["srcc"]} | compared(random, reference, None, sd))
            for name, selector in selectors(normalize, None).items():
                found = judge(np.array(predictions[piece(name, selector, rate)][key]))
                rows.append(cell | {"selector": name} | compared(found, reference, random, sd))
    return [rounded(row) for row in rows]


def compared(found, reference, random, sd):
    """Figures of one selector, against all patches and against random selection."""
    row = {measure: summary(found[measure]) for measure in ("srcc", "plcc", "change")}
    row["srcc_minus_all"] = summary(found["srcc"] - reference["srcc"])
    if random is not None:
        row["srcc_minus_random"] = summary(found["srcc"] - random["srcc"])
        difference = found["srcc"][0] - random["srcc"][0]
        row["srcc_minus_random_in_sd"] = float(difference / sd["srcc"]) if sd["srcc"] > 0 else None
        row["change_over_random"] = summary(found["change"] / np.maximum(random["change"], 1e-12))
    return row


def rounded(value):
    """The same with numbers of four decimals."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return round(value, 4) if isinstance(value, float) else value


def halves(scenes):
    """The scenes that parameters were chosen on, and those that were to confirm them."""
    names = np.unique(scenes)
    return {"chosen on": names[::2], "confirmed on": names[1::2]}


def study(name, data, combinations, options, folder):
    """All combinations of features and label of one data set."""
    n_seeds, rates = (3, (0.1, 0.45)) if options.smoke else (N_SEEDS, RATES)
    parts = halves(data.scenes) if name == "panoramas" else {"all": np.unique(data.scenes)}
    tables = []
    for feature, label in combinations:
        work = pieces_of(data, feature, label, str(folder / "scores"), n_seeds, rates)
        settings = {
            "data": [name, feature, label, data.features[feature].ids.tolist(), data.labels[label].round(6).tolist()],
        }
        with threadpool_limits(1):
            predictions = Pieces(f"{name} {feature} {label}", settings, folder).compute(work)
        for part, chosen in parts.items():
            of_part = data.labels[label], data.scenes, chosen
            rows = judge_scenes(predictions, NORMALIZE[feature], *of_part, n_seeds, rates)
            tables.append({"features": feature, "label": label, "scenes": part, "n_scenes": len(chosen), "rows": rows})
            show(name, tables[-1])
    return {"n_images": len(data.scenes), "missing": data.missing, "tables": tables}


def show(name, table):
    """Print the rows of the pooled SVR."""
    for row in table["rows"]:
        if row["model"] == "svr" and row["selector"] in (ALL, RANDOM, DEFAULT, "lowest residual"):
            more = {key: row[key]["value"] for key in ("change", "change_over_random") if key in row}
            where = (name, table["features"], table["label"], table["scenes"], row["mode"], row["rate"])
            print(*where, row["selector"], row["srcc"]["value"], *more.values(), sep="  ", flush=True)


def main():
    options = arguments(__doc__).parse_args()
    folder = options.out.parent if options.smoke and options.out else CACHE
    panoramas = load_panoramas(folder, smoke=options.smoke)
    results = {"n_seeds": N_SEEDS, "modes": MODES, "confirmation": CONFIRMATION}
    if not options.smoke:
        rated = load_livec(folder)
        results["livec"] = study("livec", rated, [("PatchStatistics", "mos"), ("RandomCNN", "mos")], options, folder)
    combinations = [("PatchStatistics", "ws_ssim"), ("RandomCNN", "ws_ssim"), ("PatchStatistics", "ws_gms")]
    results["panoramas"] = study("panoramas", panoramas, combinations[: 1 if options.smoke else 3], options, folder)
    write_results("study_downstream", results, options.out, indent=None)


if __name__ == "__main__":
    main()
