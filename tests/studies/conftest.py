"""A study that never ran: tables like those of a real one."""

from itertools import product
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

RATES = (0.05, 0.1, 0.2, 0.3, 0.45, 0.6, 0.75, 0.9)


def make_results(
    samplings=("ERP", "latitude", "fibonacci"),
    metrics=("euclidean", "cosine", "manhattan"),
    h=(10, 5, 20, 40),
    rates=RATES,
    models=("svr",),
    n_seeds=20,
    n_images=40,
    seed=0,
):
    rng = np.random.default_rng(seed)
    settings = {
        "n_images": n_images,
        "n_scenes": n_images // 4,
        "label": "MOS",
        "samplings": {name: f"{name.title()}Sampler()" for name in samplings},
        "embedding": "PatchStatistics()",
        "selector": "ResidualPatchSelector(normalize='columns')",
        "metrics": list(metrics),
        "h": list(h),
        "rates": list(rates),
        "models": {name: f"{name.upper()}()" for name in models},
        "n_seeds": n_seeds,
        "test_size": 0.2,
        "mapping": "logistic4",
        "tol": 1e-3,
        "default": {"metric": metrics[0], "h": h[0]},
        "version": "0.0",
        "python": "3.11",
        "machine": "x86_64",
    }
    cells = make_cells(rng, samplings, metrics, h, rates, models, n_seeds, n_images)
    return SimpleNamespace(
        settings=settings,
        cells=cells,
        n_cells=len(cells),
        solutions=make_solutions(rng, samplings, metrics, h, n_images, settings["tol"]),
        costs=make_costs(rng, samplings, n_images),
        examples=[make_example(rng, sampling, settings["default"]) for sampling in samplings],
    )


def make_cells(rng, samplings, metrics, h, rates, models, n_seeds, n_images):
    """Agreement that grows with the rate, with what a sampling, metric, h and split add to it."""
    effect = {
        name: rng.normal(0, sd) for names, sd in ((samplings, 0.03), (metrics, 0.01), (h, 0.01)) for name in names
    }
    of_split = rng.normal(0, 0.04, n_seeds)
    selections = [("all", None, None, 1.0)]
    selections += [("random", None, None, rate) for rate in rates]
    selections += [("residual", *choice) for choice in product(metrics, h, rates)]
    rows = []
    for sampling, model, (selection, metric, n, rate), split in product(samplings, models, selections, range(n_seeds)):
        share = min(rate, 1.0)
        loss = {"all": 0.0, "random": 0.12 * np.exp(-share / 0.15), "residual": 0.07 * np.exp(-share / 0.2) - 0.006}
        quality = 0.82 + effect[sampling] + effect.get(metric, 0) + effect.get(n, 0) + of_split[split]
        srcc = np.clip(quality - loss[selection] + rng.normal(0, 0.012), -1, 0.995)
        rows.append(
            {
                "sampling": sampling,
                "selection": selection,
                "metric": metric,
                "h": n,
                "rate": rate,
                "model": model,
                "seed": split,
                "n_train": n_images - n_images // 5,
                "n_test": n_images // 5,
                "n_kept": 180.0 * share,
                "srcc": srcc,
                "krcc": srcc - 0.15,
                "plcc": srcc + 0.01 + rng.normal(0, 0.01),
                "rmse": 12 * (1 - srcc),
                "mapping": "logistic4",
                "fit_seconds": 0.02 * share + 0.01,
                "predict_seconds": 0.03 * share + 0.002,
            }
        )
    return pd.DataFrame(rows).astype({"metric": "string", "h": "Int64", "rate": "float64"})


def make_solutions(rng, samplings, metrics, h, n_images, tol):
    rows = []
    for sampling, metric, n, image in product(samplings, metrics, h, range(n_images)):
        converged = rng.random() > 0.03
        rows.append(
            {
                "sampling": sampling,
                "metric": metric,
                "h": n,
                "image": f"scene{image // 4}-{image % 4}.png",
                "n_iter": int(rng.gamma(4, 8 * np.sqrt(n))) + 1 if converged else 1000,
                "gap": tol * 10 ** -rng.exponential(0.4) if converged else tol * (1 + 3 * rng.random()),
                "converged": converged,
                "n_outliers": int(rng.poisson(3)),
                "seconds": rng.gamma(9, 0.002 * np.sqrt(n) / 9),
            }
        )
    return pd.DataFrame(rows)


def make_costs(rng, samplings, n_images):
    rows = [(name, f"{i}.png", *rng.gamma(9, [0.004, 0.012])) for name in samplings for i in range(n_images)]
    return pd.DataFrame(rows, columns=["sampling", "image", "sampling_seconds", "embedding_seconds"])


def make_example(rng, sampling, default, n=60, height=128):
    """Every second sampling has views, the others have crops."""
    lat = np.degrees(np.arcsin(rng.uniform(-0.95, 0.95, n)))
    fields = {"lon": rng.uniform(-180, 180, n), "lat": lat, "fov": np.full(n, 40.0)}
    if len(sampling) % 2:
        side = height // 5
        top = np.clip((90 - lat) / 180 * height - side / 2, 0, height - side).astype(int)
        fields |= {"top": top, "left": rng.integers(0, 2 * height, n), "size": np.full(n, side)}
    gradient = np.linspace(60, 220, height)[:, None, None] + rng.normal(0, 12, (height, 2 * height, 3))
    return {
        "sampling": sampling,
        "title": "scene5-0",
        "image": gradient.clip(0, 255).astype(np.uint8),
        "fields": fields,
        "scores": rng.gamma(9, 0.1, n),
        "kept": np.sort(rng.choice(n, 27, replace=False)),
        "rate": 0.45,
        **default,
    }


@pytest.fixture(scope="session", name="make_results")
def results_maker():
    return make_results


@pytest.fixture(scope="session")
def results():
    return make_results(h=(10, 5), rates=(0.05, 0.2, 0.45, 0.9), metrics=("euclidean", "cosine"), n_seeds=6)


@pytest.fixture(scope="session")
def unfinished():
    """A study of two models that was stopped, with constant predictions here and there."""
    results = make_results(
        samplings=("ERP", "latitude"),
        h=(10, 5),
        rates=(0.05, 0.45),
        metrics=("euclidean", "cosine"),
        models=("svr", "ridge & <co>"),
        n_seeds=5,
    )
    cells = results.cells.sample(frac=0.5, random_state=0)
    cells.loc[(cells["rate"] == 0.05) & (cells["seed"] == 1), ["srcc", "krcc", "plcc"]] = np.nan
    results.cells = cells.reset_index(drop=True)
    results.solutions = results.solutions[results.solutions["metric"] != "cosine"]
    results.costs = results.costs[results.costs["sampling"] != "latitude"]
    results.examples = results.examples[:1]
    return results
