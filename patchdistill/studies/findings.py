"""What the tables of a study say: comparisons on the same splits, and sentences about them.

In the tables made here ``metric`` is ``""`` and ``h`` is 0 where all or random patches are meant. All differences are
paired: between two models that learned from the same scenes.
"""

from itertools import product

import numpy as np

from patchdistill.evaluation import anova
from patchdistill.evaluation.significance import resampled_half_width
from patchdistill.selector import ResidualPatchSelector

SELECTION = ["sampling", "model", "selection", "metric", "h"]
CONDITION = [*SELECTION, "rate"]

# Means this close count as equal: rounding must not decide whether patches are as good as all.
_ROUNDING = 1e-9


def summarize(cells):
    """Average over splits.

    Parameters
    ----------
    cells : DataFrame
        Cells of a study, see :class:`patchdistill.studies.StudyResults`.

    Returns
    -------
    DataFrame
        One row per ``sampling``, ``model``, ``selection``, ``metric``, ``h`` and ``rate``: of ``srcc``, ``krcc``,
        ``plcc`` and ``rmse`` the means, and the standard deviations ``srcc_sd`` and so on, over the splits on which
        they are defined; ``srcc_min`` and ``srcc_max``; ``n_seeds`` and ``n_undefined``, the number of splits in all
        and of those with constant predictions; the means of ``n_kept`` and ``fit_seconds`` and, per test image,
        ``predict_seconds``.
    """
    cells = _without_missing(cells).assign(
        undefined=lambda table: table["srcc"].isna(),
        predict_seconds=lambda table: table["predict_seconds"] / table["n_test"],
    )
    measures = {name: (name, "mean") for name in ("srcc", "krcc", "plcc", "rmse", "n_kept", "fit_seconds")}
    deviations = {f"{name}_sd": (name, "std") for name in ("srcc", "krcc", "plcc", "rmse")}
    return (
        cells.groupby(CONDITION, sort=False)
        .agg(
            **measures,
            **deviations,
            srcc_min=("srcc", "min"),
            srcc_max=("srcc", "max"),
            n_seeds=("seed", "size"),
            n_undefined=("undefined", "sum"),
            predict_seconds=("predict_seconds", "mean"),
        )
        .reset_index()
    )


def compare(cells, reference, measure="srcc"):
    r"""Compare selections with all patches, or residual selection with random selection, on the same splits.

    The interval is that of the corrected resampled t-test [1]_: with :math:`d` the mean difference over :math:`J`
    splits and :math:`s` their standard deviation, :math:`d \pm t_{0.975, J - 1} s \sqrt{1 / J + n_{test} / n_{train}}`.
    Without the second term under the root an interval over splits of the same images would shrink to nothing as splits
    are added, although no image is.

    Parameters
    ----------
    cells : DataFrame
        Cells of a study.
    reference : {"all", "random"}
        Compare with all patches, or with as many random ones.
    measure : {"srcc", "krcc", "plcc"}, default="srcc"
        What is compared.

    Returns
    -------
    DataFrame
        One row per ``sampling``, ``model``, ``selection``, ``metric``, ``h`` and ``rate``: the mean difference
        ``value`` over the splits on which both are there and defined, its 95 % interval ``low`` to ``high``, NaN where
        there are fewer than two; their number ``n_pairs``; and ``n_undefined``, on how many others the reference is
        defined but the predictions are constant.

    References
    ----------
    .. [1] C. Nadeau, Y. Bengio, "Inference for the Generalization Error", Machine Learning 52, 2003.
    """
    cells = _without_missing(cells)
    keys = ["sampling", "model", "seed", *(["rate"] if reference == "random" else [])]
    compared = ["residual"] if reference == "random" else ["residual", "random"]
    others = cells.loc[(cells["selection"] == reference) & cells[measure].notna(), [*keys, measure]]
    pairs = cells[cells["selection"].isin(compared)].merge(
        others, on=keys, suffixes=("", "_reference"), validate="many_to_one"
    )
    pairs = pairs.assign(
        difference=pairs[measure] - pairs[f"{measure}_reference"],
        undefined=pairs[measure].isna(),
        overlap=pairs["n_test"] / pairs["n_train"],
    )
    table = (
        pairs.groupby(CONDITION, sort=False)
        .agg(
            value=("difference", "mean"),
            sd=("difference", "std"),
            n_pairs=("difference", "count"),
            n_undefined=("undefined", "sum"),
            overlap=("overlap", "mean"),
        )
        .reset_index()
    )
    half = resampled_half_width(table["sd"], table["n_pairs"], table["overlap"])
    table = table.assign(low=table["value"] - half, high=table["value"] + half)
    return table.drop(columns=["sd", "overlap"])


def smallest_rates(cells):
    """Find the smallest rates at which kept patches are at least as good as all.

    Parameters
    ----------
    cells : DataFrame
        Cells of a study.

    Returns
    -------
    DataFrame
        One row per ``sampling``, ``model``, ``selection``, ``metric`` and ``h``: ``mean``, the smallest rate at which
        neither SRCC nor PLCC is on average below that of all patches on the same splits; ``interval``, the smallest
        one at which the 95 % intervals of both differences (see :func:`compare`) lie above zero. NaN where no rate
        is. A rate at which predictions are constant on any split does not count.
    """
    srcc, plcc = (compare(cells, "all", measure).set_index(CONDITION) for measure in ("srcc", "plcc"))
    plcc = plcc.reindex(srcc.index)
    defined = (srcc["n_undefined"] == 0) & (plcc["n_undefined"] == 0)
    rates = srcc.index.to_frame(index=False)
    rules = {
        "mean": defined & (srcc["value"] >= -_ROUNDING) & (plcc["value"] >= -_ROUNDING),
        "interval": defined & (srcc["low"] > _ROUNDING) & (plcc["low"] > _ROUNDING),
    }
    for name, fulfilled in rules.items():
        rates[name] = rates["rate"].where(fulfilled.to_numpy())
    return rates.groupby(SELECTION, sort=False)[list(rules)].min().reset_index()


def of_default(table, settings):
    """Take the rows of all patches, of random ones, and of residual selection with the default metric and h.

    Parameters
    ----------
    table : DataFrame
        One of those that are made here.
    settings : dict
        Settings of the study; the default is in them, and was set before there were results.

    Returns
    -------
    DataFrame
        Its rows.
    """
    metric, h = settings["default"]["metric"], settings["default"]["h"]
    is_default = (table["metric"] == metric) & (table["h"] == h)
    return table[is_default | (table["selection"] != "residual")]


def default_rate(settings):
    """Choose the rate at which one must be chosen: that closest to the default of the selector.

    Parameters
    ----------
    settings : dict
        Settings of the study.

    Returns
    -------
    float
        One of its rates.
    """
    return min(settings["rates"], key=lambda rate: abs(rate - ResidualPatchSelector().rate))


def best_after_the_fact(cells):
    """Find the metric and h with the highest mean SRCC at each rate.

    It is chosen by the same test images that it is reported on, and so it is too good.

    Parameters
    ----------
    cells : DataFrame
        Cells of a study.

    Returns
    -------
    DataFrame
        One row per ``sampling``, ``model`` and ``rate``, of :func:`summarize`.
    """
    table = summarize(cells)
    table = table[(table["selection"] == "residual") & table["srcc"].notna()]
    return table.loc[table.groupby(["sampling", "model", "rate"], sort=False)["srcc"].idxmax()]


def factor_effects(cells):
    """Analyze how much of the SRCC of residual selection each factor explains, with splits as blocks.

    Parameters
    ----------
    cells : DataFrame
        Cells of one model.

    Returns
    -------
    effects : dict of str to dict
        What :func:`patchdistill.evaluation.anova` gives for ``sampling``, ``metric``, ``h`` and ``rate``, as far as
        they have several levels, and for ``seed``; empty if it cannot be done.
    problem : str
        Why it cannot be done, or nothing.
    """
    table = _without_missing(cells)
    table = table[(table["selection"] == "residual") & table["srcc"].notna()]
    factors = [name for name in ("sampling", "metric", "h", "rate") if table[name].nunique() > 1]
    try:
        return anova(table, "srcc", factors, block="seed"), ""
    except ValueError as error:  # an unfinished study can lack what tells one factor from another
        return {}, str(error)


def convergence(solutions):
    """Summarize how the problems were solved.

    Parameters
    ----------
    solutions : DataFrame
        Solutions of a study.

    Returns
    -------
    DataFrame
        One row per ``metric`` and ``h``: number of problems ``n``, how many ``converged``, and of their steps and
        relative duality gaps the least, the quartiles and the largest, ``n_iter_0``, ``n_iter_25`` to ``n_iter_100``,
        and ``gap_0`` to ``gap_100``.
    """
    groups = solutions.groupby(["metric", "h"])
    table = groups.agg(n=("converged", "size"), converged=("converged", "sum"))
    for name, percent in product(("n_iter", "gap"), (0, 25, 50, 75, 100)):
        table[f"{name}_{percent}"] = groups[name].quantile(percent / 100)
    return table.reset_index()


def stage_costs(results, model):
    """Add up what scoring one image costs, in milliseconds.

    All patches are sampled and embedded before any is dropped, so that both stages cost the same at every rate.

    Parameters
    ----------
    results : StudyResults
        Results of a study.
    model : str
        Name of the model.

    Returns
    -------
    DataFrame
        For each ``sampling`` a row of ``selection`` "all", and two of residual selection with the default metric and
        h, at the smallest ``rate`` and at the default one: ``sampling_ms``, ``embedding_ms``, ``selection_ms`` and
        ``model_ms``; NaN where it was not measured yet.
    """
    cells, settings = results.cells, results.settings
    table = of_default(summarize(cells[cells["model"] == model]), settings)
    rates = (min(settings["rates"]), default_rate(settings))
    is_shown = (table["selection"] == "all") | ((table["selection"] == "residual") & table["rate"].isin(rates))
    table = table[is_shown]
    table = table.assign(place=table["sampling"].map(list(settings["samplings"]).index))
    table = table.sort_values(["place", "selection", "rate"])
    costs = 1e3 * results.costs.groupby("sampling")[["sampling_seconds", "embedding_seconds"]].mean()
    solutions = of_default(results.solutions.assign(selection="residual"), settings)
    solving = 1e3 * solutions.groupby("sampling")["seconds"].mean()
    table = table.assign(
        sampling_ms=table["sampling"].map(costs["sampling_seconds"]),
        embedding_ms=table["sampling"].map(costs["embedding_seconds"]),
        selection_ms=table["sampling"].map(solving).where(table["selection"] == "residual", 0.0),
        model_ms=1e3 * table["predict_seconds"],
    )
    return table[["sampling", "selection", "rate", "sampling_ms", "embedding_ms", "selection_ms", "model_ms"]]


def verdict(row):
    """Tell which side of zero a difference is on.

    Parameters
    ----------
    row : Series or dict
        A row of :func:`compare`.

    Returns
    -------
    {"better", "worse", "unclear", "unknown"}
        "better" and "worse" where the interval leaves out zero, "unclear" where it does not, "unknown" where there
        is none.
    """
    if np.isnan(row["low"]):
        return "unknown"
    if row["low"] > _ROUNDING:
        return "better"
    return "worse" if row["high"] < -_ROUNDING else "unclear"


def _without_missing(cells):
    return cells.assign(
        metric=cells["metric"].astype(object).where(cells["metric"].notna(), ""), h=cells["h"].fillna(0).astype(int)
    )
