import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from joblib import parallel_config
from PIL import Image
from scipy.stats import spearmanr
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from patchdistill import PatchBags, ResidualPatchSelector
from patchdistill.baselines import RandomPatchSelector
from patchdistill.embedding import PatchStatistics
from patchdistill.evaluation import SceneShuffleSplit, agreement
from patchdistill.models import BagPooling, PatchwiseRegressor
from patchdistill.panorama import FibonacciSampler, UniformSampler
from patchdistill.sampling import StatelessBagMixin
from patchdistill.studies import Study, pieces, read_study, run, run_study
from patchdistill.studies.design import identity

pandas = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")

N_SCENES, N_VERSIONS, N_PATCHES = 5, 5, 9
MODELS = {
    "pooled": make_pipeline(BagPooling(), Ridge(1e3)),
    "patch-wise": PatchwiseRegressor(Ridge(1e3)),
}


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """Five scenes in five versions: more and more noise."""
    folder, rows = tmp_path_factory.mktemp("pictures"), []
    rng = np.random.default_rng(0)
    for scene in range(N_SCENES):
        smooth = np.kron(rng.uniform(60, 190, (4, 8, 3)), np.ones((16, 16, 1)))
        for level in range(N_VERSIONS):
            noisy = smooth + rng.normal(0, 3 + 8 * level, smooth.shape)
            path = folder / f"{scene}_{level}.png"
            Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(path)
            mos = 80 - 12 * level + rng.normal(0, 3)
            rows.append({"image": str(path), "scene": f"s{scene}", "level": level, "mos": mos, "mos_kind": "mos"})
    return pandas.DataFrame(rows)


def make_study(manifest, **changes):
    samplings = {"ERP": UniformSampler(N_PATCHES, 32), "sphere": FibonacciSampler(N_PATCHES, 32)}
    parameters = {"metrics": ("euclidean", "cosine"), "h": (2, 4), "rates": (0.3, 0.6), "n_seeds": 3, **changes}
    return Study(manifest, parameters.pop("samplings", samplings), parameters.pop("models", MODELS), **parameters)


@pytest.fixture(scope="module")
def finished(manifest, tmp_path_factory):
    """A study, and what it found."""
    study = make_study(manifest)
    out = tmp_path_factory.mktemp("studies") / "study"
    return study, out, run_study(study, out, progress=False)


@pytest.fixture
def counted(monkeypatch):
    """Number of calls of each kind of work."""
    counts = dict.fromkeys(("image_features", "select_all", "cells"), 0)

    def count(name, function):
        def counting(*arguments):
            counts[name] += 1
            return function(*arguments)

        return counting

    monkeypatch.setattr(run, "image_features", count("image_features", pieces.image_features))
    monkeypatch.setattr(run, "select_all", count("select_all", pieces.select_all))
    monkeypatch.setattr(pieces.CellWork, "__call__", count("cells", pieces.CellWork.__call__))
    return counts


def test_every_cell_is_there_once(finished):
    study, _, results = finished
    keys = ["sampling", "selection", "metric", "h", "rate", "model", "seed"]
    cells = results.cells
    assert len(cells) == results.n_cells == 2 * 2 * 3 * (1 + 2 + 2 * 2 * 2)
    assert not cells.duplicated(keys).any()
    of = {name: cells[cells.selection == name] for name in ("all", "random", "residual")}
    assert [len(of[name]) for name in of] == [12, 24, 96]
    assert of["all"].rate.eq(1).all() and of["all"].n_kept.eq(N_PATCHES).all()
    assert of["residual"].metric.notna().all() and of["random"].h.isna().all()
    assert set(cells.n_kept[cells.rate == 0.3]) == {3}
    assert (cells.n_train + cells.n_test == len(study.manifest)).all()
    assert cells[["srcc", "krcc", "plcc", "rmse"]].notna().all(axis=None)
    assert len(results.costs) == 2 * len(study.manifest) and (results.costs.sampling_seconds > 0).all()
    assert len(results.solutions) == 8 * len(study.manifest)
    assert results.solutions.query("sampling == 'ERP' and metric == 'cosine' and h == 4").image.tolist() == study.paths
    assert results.solutions.converged.all() and results.solutions.gap.between(0, study.selector.tol).all()


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("selection", ["all", "random", "residual"])
def test_a_cell_is_what_the_estimators_give_one_after_the_other(finished, selection, model):
    study, _, results = finished
    y, scenes = study.manifest.mos.to_numpy(), study.manifest.scene.to_numpy()
    splits = list(SceneShuffleSplit(n_splits=3, test_size=0.2, random_state=0).split(y, groups=scenes))
    bags = PatchStatistics().fit_transform(study.samplings["sphere"].transform(study.paths))
    for seed, (train, test) in enumerate(splits):
        kept = bags
        if selection == "random":
            kept = RandomPatchSelector(0.6, random_state=seed).fit_transform(bags)
        elif selection == "residual":
            kept = ResidualPatchSelector(h=4, metric="cosine", rate=0.6, normalize="columns").fit_transform(bags)
        predicted = clone(MODELS[model]).fit(kept[train], y[train]).predict(kept[test])
        of_seed = results.cells.query(f"sampling == 'sphere' and selection == '{selection}' and seed == {seed}")
        of_seed = of_seed[of_seed.model == model]
        if selection == "residual":
            of_seed = of_seed.query("metric == 'cosine' and h == 4")
        if selection != "all":
            of_seed = of_seed[of_seed.rate == 0.6]
        (found,) = of_seed.to_dict("records")
        assert found["srcc"] == pytest.approx(spearmanr(y[test], predicted).statistic, abs=1e-12)
        expected = agreement(y[test], predicted, mapping="logistic4")
        assert found["mapping"] == expected["mapping"]
        for name in ("plcc", "rmse"):
            assert found[name] == pytest.approx(expected[name], rel=1e-9)


def test_selections_of_all_rates_are_those_of_the_selector():
    rng = np.random.default_rng(0)
    images = [rng.normal(size=(n, 5)) for n in (30, 24)]
    images[1][3:5] += 1000
    selector = ResidualPatchSelector(h=3, normalize="columns")
    found = pieces.select_all(PatchBags.from_list(images), selector, (0.1, 7, 1.0))
    for rate in (0.1, 7, 1.0):
        selector.set_params(rate=rate).fit(images)
        n_kept, kept, weights = (found[name] for name in pieces.of_rate(rate))
        assert n_kept.tolist() == [len(of_image) for of_image in selector.selected_idx_]
        np.testing.assert_array_equal(kept, np.concatenate(selector.selected_idx_))
        np.testing.assert_allclose(weights, np.concatenate(selector.weights_), rtol=1e-12)
    np.testing.assert_allclose(found["scores"], np.concatenate(selector.residual_scores_), rtol=1e-12)
    np.testing.assert_allclose(found["gap"], selector.dual_gap_ / selector.objective_, rtol=1e-9)
    assert found["n_iter"].tolist() == selector.n_iter_per_image_.tolist() and found["converged"].all()
    assert found["n_outliers"].tolist() == [len(outliers) for outliers in selector.outliers_]
    assert found["n_outliers"][1] >= 2 and (found["seconds"] > 0).all()


def test_solutions_that_did_not_converge_are_in_the_table():
    images = [np.random.default_rng(seed).normal(size=(30, 5)) for seed in range(3)]
    found = pieces.select_all(PatchBags.from_list(images), ResidualPatchSelector(max_iter=1, tol=1e-12), (0.5,))
    assert not found["converged"].any() and (found["gap"] > 1e-12).all()


def test_default_is_that_of_the_selector_or_the_first(manifest):
    study = make_study(manifest, metrics=("cosine", "euclidean"), h=(4, 10), rates=(0.3, 0.45))
    assert study.default == {"metric": "euclidean", "h": 10, "rate": 0.45}
    study = make_study(manifest, metrics=("cosine", "manhattan"), h=(4, 2), rates=(0.6, 0.3))
    assert study.default == {"metric": "cosine", "h": 4, "rate": 0.6}


def test_deviations_of_opinions_give_outlier_ratios(manifest, tmp_path):
    samplings, models = {"ERP": UniformSampler(N_PATCHES, 32)}, {"pooled": MODELS["pooled"]}
    base = {"samplings": samplings, "models": models, "metrics": ("cosine",), "h": (2,), "rates": (0.3,), "n_seeds": 1}
    without = run_study(make_study(manifest, **base), tmp_path / "study", progress=False).cells
    assert without.outlier_ratio.isna().all()
    cells = run_study(make_study(manifest.assign(mos_std=0.0), **base), tmp_path / "study", progress=False).cells
    assert (cells.outlier_ratio == 1).all()
    missing = manifest.assign(mos_std=[np.nan, *[0.0] * (len(manifest) - 1)])
    assert make_study(missing, **base).deviations is None


def test_run_again_computes_nothing(finished, counted):
    study, out, results = finished
    again = run_study(study, out, progress=False)
    assert not any(counted.values())
    pandas.testing.assert_frame_equal(again.cells, results.cells)


def test_another_rate_or_seed_or_model_or_image_computes_what_is_new(manifest, tmp_path, counted):
    samplings = {"ERP": UniformSampler(N_PATCHES, 32)}
    base = {"samplings": samplings, "metrics": ("euclidean",), "h": (2,), "rates": (0.3,), "n_seeds": 2}
    one = {"pooled": MODELS["pooled"]}
    run_study(make_study(manifest, **base, models=one), tmp_path / "study", progress=False)
    assert counted == {"image_features": len(manifest), "select_all": 1, "cells": 6}
    results = run_study(make_study(manifest, **base, models=MODELS), tmp_path / "study", progress=False)
    assert counted == {"image_features": len(manifest), "select_all": 1, "cells": 12}
    assert len(results.cells) == 12
    run_study(make_study(manifest, **{**base, "rates": (0.3, 0.5)}, models=one), tmp_path / "study", progress=False)
    assert counted == {"image_features": len(manifest), "select_all": 2, "cells": 12 + 4}
    run_study(make_study(manifest, **{**base, "n_seeds": 3}, models=one), tmp_path / "study", progress=False)
    assert counted == {"image_features": len(manifest), "select_all": 2, "cells": 16 + 3}
    os.utime(manifest.image[3], ns=(1, 1))
    run_study(make_study(manifest, **base, models=one), tmp_path / "study", progress=False)
    assert counted["image_features"] == len(manifest) + 1


class Other(PatchStatistics):
    """Another embedding, by its name."""


def test_another_embedding_or_sampling_of_the_same_name_computes_everything(manifest, tmp_path, counted):
    base = {"models": {"pooled": MODELS["pooled"]}, "metrics": ("euclidean",), "h": (2,), "rates": (0.3,), "n_seeds": 1}
    first = {"ERP": UniformSampler(N_PATCHES, 32)}
    run_study(make_study(manifest, **base, samplings=first), tmp_path / "study", progress=False)
    run_study(make_study(manifest, **base, samplings=first, embedding=Other()), tmp_path / "study", progress=False)
    assert counted == {"image_features": 2 * len(manifest), "select_all": 2, "cells": 6}
    second = {"ERP": UniformSampler(N_PATCHES - 1, 32)}
    run_study(make_study(manifest, **base, samplings=second), tmp_path / "study", progress=False)
    assert counted == {"image_features": 3 * len(manifest), "select_all": 3, "cells": 9}


def test_another_model_of_the_same_name_or_other_splits_compute_all_models(manifest, tmp_path, counted):
    base = {"samplings": {"ERP": UniformSampler(N_PATCHES, 32)}, "metrics": ("euclidean",), "h": (2,), "rates": (0.3,)}
    for n, (model, test_size) in enumerate(((1e3, 0.2), (1e-3, 0.2), (1e-3, 0.4)), start=1):
        models = {"pooled": make_pipeline(BagPooling(), Ridge(model))}
        study = make_study(manifest, **base, models=models, n_seeds=1, test_size=test_size)
        run_study(study, tmp_path / "study", progress=False)
        assert counted == {"image_features": len(manifest), "select_all": 1, "cells": 3 * n}


def test_seeds_with_the_same_split_are_there_each(manifest):
    two = manifest[manifest.scene.isin(["s0", "s1"])]
    study = make_study(two, n_seeds=5, test_size=0.5)
    assert len({tuple(test) for _, test in study.splits}) == 2
    assert len(study.cells) == 2 * 11 * 2 * 5


def test_workers_change_nothing_but_time(finished, tmp_path):
    study, _, results = finished
    study = make_study(study.manifest, models={"pooled": MODELS["pooled"]}, h=(2,), rates=(0.3,))
    found = run_study(study, tmp_path / "study", n_jobs=2, progress=False).cells
    same = results.cells.merge(found, on=["sampling", "selection", "metric", "h", "rate", "model", "seed"])
    assert len(same) == len(found) == 2 * 3 * 4
    for name in ("srcc", "krcc", "plcc", "rmse", "n_kept"):
        assert (same[f"{name}_x"] == same[f"{name}_y"]).all()


def test_what_is_equal_under_two_names_is_there_under_both(manifest, tmp_path):
    samplings = {"here": UniformSampler(N_PATCHES, 32), "there": UniformSampler(N_PATCHES, 32)}
    models = {"one": MODELS["pooled"], "other": clone(MODELS["pooled"])}
    study = make_study(manifest, samplings=samplings, models=models, metrics=("euclidean",), h=(2,), rates=(0.3,))
    results = run_study(study, tmp_path / "study", progress=False)
    assert len(results.cells) == results.n_cells == 2 * 2 * 3 * 3
    counts = results.cells.groupby(["sampling", "model"])["srcc"].agg(["size", "sum"])
    assert counts.index.tolist() == [("here", "one"), ("here", "other"), ("there", "one"), ("there", "other")]
    assert (counts == counts.iloc[0]).all(axis=None)


def test_another_name_of_a_model_or_sampling_is_shown(manifest, tmp_path, counted):
    base = {"metrics": ("euclidean",), "h": (2,), "rates": (0.3,), "n_seeds": 1}
    for sampling, model in (("ERP", "pooled"), ("ERP", "ridge"), ("uniform", "ridge")):
        samplings, models = {sampling: UniformSampler(N_PATCHES, 32)}, {model: MODELS["pooled"]}
        study = make_study(manifest, **base, samplings=samplings, models=models)
        cells = run_study(study, tmp_path / "study", progress=False).cells
        assert len(cells) == 3 and set(cells.sampling) == {sampling} and set(cells.model) == {model}
    assert counted == {"image_features": len(manifest), "select_all": 1, "cells": 9}


class Weights:
    """Stands for a network: copied with its embedding, by joblib named by its kind alone."""

    copies = []

    def __deepcopy__(self, memo):
        Weights.copies.append(type(self)())
        return Weights.copies[-1]

    def __reduce__(self):
        return type(self), ()


class OfWeights(StatelessBagMixin, BaseEstimator):
    """Remembers which weights were used for which image."""

    used = []
    _parameter_constraints = {"weights": [Weights]}

    def __init__(self, weights):
        self.weights = weights

    def fit(self, X, y=None):
        self.mean_ = X.values.mean()
        return self

    def transform(self, X):
        assert self.mean_ == X.values.mean()
        OfWeights.used.append(self.weights)
        return PatchStatistics().transform(X)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_network_is_copied_once_or_for_every_image_of_threads(manifest, tmp_path, n_jobs):
    Weights.copies, OfWeights.used = [], []
    own = Weights()
    base = {"samplings": {"ERP": UniformSampler(N_PATCHES, 32)}, "models": {"pooled": MODELS["pooled"]}, "h": (2,)}
    study = make_study(manifest, embedding=OfWeights(own), metrics=("euclidean",), rates=(0.3,), n_seeds=1, **base)
    with parallel_config(backend="threading", n_jobs=n_jobs):
        run_study(study, tmp_path / "study", progress=False)
    assert len(OfWeights.used) == len(manifest) and own not in OfWeights.used
    assert not hasattr(study.embedding, "mean_")
    assert len(set(map(id, OfWeights.used))) == (1 if n_jobs == 1 else len(manifest))
    assert len(Weights.copies) == (1 if n_jobs == 1 else 1 + len(manifest))


class Stops(RegressorMixin, BaseEstimator):
    """Is interrupted when it is fitted for the fourth time."""

    n_fitted = 0

    def fit(self, X, y):
        Stops.n_fitted += 1
        if Stops.n_fitted == 4:
            raise KeyboardInterrupt
        self.mean_ = np.array([image.mean() for image in X]).mean()
        return self

    def predict(self, X):
        return np.array([image.mean() for image in X]) - self.mean_


def test_an_interrupted_study_can_be_read_and_goes_on(manifest, tmp_path):
    samplings = {"ERP": UniformSampler(N_PATCHES, 32)}
    study = make_study(manifest, samplings=samplings, models={"mean": Stops()}, h=(2,), rates=(0.3,))
    Stops.n_fitted = 0
    with pytest.raises(KeyboardInterrupt):
        run_study(study, tmp_path / "study", progress=False)
    results = read_study(tmp_path / "study")
    assert len(results.cells) == 3 and results.n_cells == 3 * (1 + 1 + 2)
    results = run_study(study, tmp_path / "study", progress=False)
    assert len(results.cells) == results.n_cells
    assert Stops.n_fitted == 1 + results.n_cells


def test_models_that_ask_for_pixels_get_those_of_the_kept_patches(manifest, tmp_path):
    class OfPixels(RegressorMixin, BaseEstimator):
        def fit(self, X, y):
            self.n_ = X.n_patches
            return self

        def predict(self, X):
            pixels = X.with_values(X.fields["pixels"])
            return np.array([image.std() for image in pixels])

    small = {"metrics": ("cosine",), "h": (2,), "rates": (0.3,), "n_seeds": 1}
    study = make_study(manifest, models={"std": OfPixels()}, pixels=True, **small)
    cells = run_study(study, tmp_path / "study", progress=False).cells
    _, test = study.splits[0]
    for name, sampler in study.samplings.items():
        pixels = sampler.transform(study.paths)
        bags = PatchStatistics().fit_transform(pixels)
        kept = ResidualPatchSelector(h=2, metric="cosine", rate=0.3, normalize="columns").fit(bags).selected_idx_
        stds = [pixels[i][kept[i]].std() for i in test]
        (srcc,) = cells.query(f"sampling == '{name}' and selection == 'residual'").srcc
        assert srcc == pytest.approx(spearmanr(study.labels[test], stds).statistic, abs=1e-12)


def test_examples_show_the_default_selection(finished):
    study, _, results = finished
    assert [example["sampling"] for example in results.examples] == list(study.samplings)
    for example in results.examples:
        assert example["image"].shape == (64, 128, 3)
        assert {name: example[name] for name in study.default} == study.default
        assert len(example["scores"]) == len(example["fields"]["lon"]) == N_PATCHES
        assert len(example["kept"]) == np.ceil(N_PATCHES * example["rate"])


def test_names_of_files_are_the_same_in_another_process(finished, tmp_path):
    study, *_ = finished
    script = (
        "from patchdistill.studies.design import identity\n"
        "from patchdistill.panorama import UniformSampler\n"
        "from patchdistill.models import BagPooling\n"
        "from sklearn.linear_model import Ridge\n"
        "from sklearn.pipeline import make_pipeline\n"
        f"print(identity(UniformSampler({N_PATCHES}, 32)), identity(make_pipeline(BagPooling(), Ridge(1e3))))\n"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert found == [identity(study.samplings["ERP"]), identity(study.models["pooled"])]
    assert identity(UniformSampler(N_PATCHES, 33)) != found[0]
    assert identity(make_pipeline(BagPooling(), Ridge(1e2))) != found[1]
    assert identity(clone(study.models["pooled"]).fit([np.eye(2), np.ones((3, 2))], [1, 2])) == found[1]


def test_a_model_that_cannot_be_told_from_others_is_refused(manifest):
    with pytest.raises(ValueError, match="cannot be pickled"):
        make_study(manifest, models={"own": FunctionTransformer(lambda X: X)}).cells  # noqa: B018


def test_tables_are_written(finished):
    _, out, results = finished
    for name in ("cells", "solutions", "costs"):
        pandas.testing.assert_frame_equal(pandas.read_parquet(out / f"{name}.parquet"), getattr(results, name))


def test_two_runs_into_one_folder_are_refused(finished, monkeypatch):
    pytest.importorskip("fcntl")
    study, out, _ = finished

    def another(*_):
        with pytest.raises(ValueError, match="Another run is writing"):
            run_study(study, out, progress=False)

    monkeypatch.setattr(run, "_write_examples", another)
    run_study(study, out, progress=False)


def test_an_image_that_cannot_be_read_is_named(manifest, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(Path(manifest.image[0]).read_bytes()[:500])
    with pytest.raises(ValueError, match=r"broken\.png is broken or truncated"):
        run_study(make_study(manifest.assign(image=[str(broken), *manifest.image[1:]])), tmp_path / "x", progress=False)


def test_a_file_of_the_study_that_is_broken_is_named(manifest, tmp_path):
    study = make_study(manifest, samplings={"ERP": UniformSampler(N_PATCHES, 32)}, h=(2,), rates=(0.3,), n_seeds=1)
    run_study(study, tmp_path / "study", progress=False)
    file = tmp_path / "study" / study.feature_files["ERP"][0]
    file.write_bytes(file.read_bytes()[:100])
    pieces.load_features.cache_clear()
    with pytest.raises(ValueError, match=f"{file.name} cannot be read"):
        run_study(make_study(manifest, samplings=study.samplings, n_seeds=1), tmp_path / "study", progress=False)


def test_settings_are_json_and_say_what_was_done(finished):
    study, out, results = finished
    settings = json.loads((out / "study.json").read_text())["settings"]
    assert settings == results.settings
    assert settings["n_images"] == len(study.manifest) and settings["n_scenes"] == N_SCENES
    assert settings["label"] == "the mos of the manifest"
    assert settings["rates"] == [0.3, 0.6] and settings["default"] == {"metric": "euclidean", "h": 2, "rate": 0.3}


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"models": {}}, "models is {}; give a dict"),
        ({"samplings": [UniformSampler()]}, "samplings is .*; give a dict"),
        ({"rates": (0.3, 0.3)}, "each once"),
        ({"rates": ()}, "at least one value"),
        ({"rates": (1.5,)}, "rate=1.5 is not valid"),
        ({"h": (0,)}, "'h' parameter"),
        ({"metrics": ("euclid",)}, "'metric' parameter"),
        ({"mapping": "cubic"}, "mapping='cubic' is unknown"),
        ({"samplings": {"ERP": UniformSampler(0)}}, "'n_patches' parameter"),
        ({"selector": ResidualPatchSelector(embedding=np.sqrt)}, "embedding .* of its own"),
        ({"selector": ResidualPatchSelector(backend="torch")}, "backend of its own"),
        ({"test_size": 1.5}, "test_size"),
        ({"n_seeds": 0}, "n_splits|n_seeds"),
    ],
)
def test_what_cannot_be_run_is_refused_at_once(manifest, changes, message):
    with pytest.raises(ValueError, match=message):
        make_study(manifest, **changes)


def test_a_folder_without_a_study_is_told(tmp_path):
    with pytest.raises(ValueError, match="holds no study"):
        read_study(tmp_path)
