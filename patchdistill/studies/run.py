"""A study, run in parallel, that goes on where it was stopped."""

import json
import platform
from contextlib import closing
from functools import partial
from pathlib import Path
from threading import current_thread, main_thread

import numpy as np
from joblib import Parallel, delayed
from sklearn.base import clone

from patchdistill import __version__
from patchdistill._threads import single_blas_thread
from patchdistill.images import load_image
from patchdistill.journal.files import check_parent, write_whole
from patchdistill.journal.log import RunLog
from patchdistill.progress import Progress
from patchdistill.selection import select_patches
from patchdistill.studies.pieces import (
    CellWork,
    array_names,
    image_features,
    load_features,
    of_rate,
    select_all,
    write_arrays,
)
from patchdistill.studies.results import CELLS, DESIGN, EXAMPLES, read_study

# Pictures of examples are shown this wide at most.
_EXAMPLE_WIDTH = 1024


def run_study(study, out, n_jobs=None, progress=True):
    """Run a study, or what is left of it.

    Everything that is finished is kept in a folder: features of an image, selections from all images for one metric
    and h, and every trained model. Run again, after whatever stopped it, the study goes on from there; with another
    rate, model or image it computes what is new. A model in progress is lost, and the selections in progress.

    Parameters
    ----------
    study : Study
        What is compared.
    out : path-like
        Folder; it is made if it is missing.
    n_jobs : int, default=None
        Pieces worked on at the same time, as in joblib. Changes nothing but time.
    progress : bool, default=True
        Whether to tell on stderr what is done and how long the rest takes.

    Returns
    -------
    StudyResults
        Tables of all cells, solutions and costs.

    Raises
    ------
    ValueError
        If another run is writing there, or an image cannot be sampled, embedded or selected from.

    Examples
    --------
    >>> from patchdistill.studies import Study, run_study
    >>> results = run_study(Study(manifest, samplings, models), "study/", n_jobs=2)  # doctest: +SKIP
    >>> results.cells.groupby(["selection", "rate"])["srcc"].mean()  # doctest: +SKIP
    """
    out = Path(out)
    check_parent(out)
    for folder in (out, out / "features", out / "selections", out / EXAMPLES):
        folder.mkdir(exist_ok=True)
    log = RunLog(out / CELLS, {"command": "study", "version": __version__})
    with closing(log):
        _write_design(study, out)
        parallel = Parallel(n_jobs=n_jobs, return_as="generator_unordered", pre_dispatch="2*n_jobs", max_nbytes=None)
        compute = partial(_compute, parallel, quiet=not progress)
        compute("features", _feature_tasks(study, out), partial(_write, out), "images")
        compute("selections", _selection_tasks(study, out), partial(_write, out), "selections")
        compute("models", _cell_tasks(study, out, log), log.append, "models")
        _write_examples(study, out)
    results = read_study(out)
    results.write_tables(out)
    return results


def _compute(parallel, title, tasks, keep, things, quiet):
    """Do the tasks that are left, and keep the result of each as it comes."""
    done, left = tasks
    progress = Progress(title, done + len(left), done, quiet, things)
    with closing(progress):
        for result in parallel(left):
            keep(result)
            progress.step()
        progress.finish(f"{done + len(left)} {things} are there")


def _write(out, result):
    file, arrays = result
    write_whole(out / file, partial(write_arrays, arrays))


def _feature_tasks(study, out):
    embedding = clone(study.embedding)
    tasks = [
        delayed(_features)(sampler, embedding, path, file)
        for name, sampler in study.samplings.items()
        for path, file in zip(study.paths, study.feature_files[name], strict=True)
        if not (out / file).exists()
    ]
    return len(study.paths) * len(study.samplings) - len(tasks), tasks


def _features(sampler, embedding, path, file):
    if current_thread() is not main_thread():  # others share it, and a network can be run by one at a time
        embedding = clone(embedding)
    with single_blas_thread():
        return file, _naming(path, image_features, sampler, embedding, path)


def _selection_tasks(study, out):
    tasks = [
        delayed(_selections)(
            out,
            tuple(study.feature_files[sampling]),
            tuple(study.paths),
            clone(study.selector).set_params(metric=metric, h=h),
            study.rates,
            file,
        )
        for (sampling, metric, h), file in study.selection_files.items()
        if not _has_rates(out / file, study.rates)
    ]
    return len(study.selection_files) - len(tasks), tasks


def _has_rates(path, rates):
    """Whether selections are there, at all of the rates."""
    return path.exists() and {of_rate(rate)[0] for rate in rates} <= set(array_names(path))


def _selections(out, files, ids, selector, rates, file):
    return file, select_all(load_features(out, files, ids), selector, rates)


def _cell_tasks(study, out, log):
    finished = {record["cell"] for record in log.records}
    work = CellWork(study, out)
    tasks = [delayed(_cell)(work, name, cell) for name, cell in study.cells.items() if name not in finished]
    return len(study.cells) - len(tasks), tasks


def _cell(work, name, cell):
    return {"cell": name, **_naming(f"cell {cell}", work, cell)}


def _naming(what, work, *arguments):
    """Call a function; an error in it names what was worked on."""
    try:
        return work(*arguments)
    except ValueError as error:
        if str(what) in str(error):
            raise
        raise ValueError(f"{what}: {error}") from error


def _write_design(study, out):
    """Write down what is to come, so that the tables can be made at any time."""
    design = {
        "settings": _settings(study),
        "features": [
            [sampling, *pair]
            for sampling, files in study.feature_files.items()
            for pair in zip(study.paths, files, strict=True)
        ],
        "selections": [[*key, file] for key, file in study.selection_files.items()],
        "cells": list(study.cells),
    }
    text = json.dumps(design, indent=1)
    write_whole(out / DESIGN, lambda path: path.write_text(text, encoding="utf-8"))


def _settings(study):
    """Describe the study for readers of its results."""
    return {
        "n_images": len(study.paths),
        "n_scenes": int(study.manifest["scene"].nunique()),
        "label": study.label or f"the {study.manifest['mos_kind'].iloc[0]} of the manifest",
        "samplings": {name: _on_one_line(sampler) for name, sampler in study.samplings.items()},
        "embedding": _on_one_line(study.embedding),
        "selector": _on_one_line(study.selector),
        "metrics": list(study.metrics),
        "h": list(study.h),
        "rates": list(study.rates),
        "models": {name: _on_one_line(model) for name, model in study.models.items()},
        "n_seeds": study.n_seeds,
        "test_size": study.test_size,
        "mapping": study.mapping,
        "tol": study.selector.tol,
        "default": study.default,
        "version": __version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }


def _on_one_line(estimator):
    return " ".join(repr(estimator).split())


def _write_examples(study, out):
    """One image of each sampling with its patches, for the report: one in the middle of the manifest."""
    for old in (out / EXAMPLES).glob("*.npz"):
        old.unlink()
    middle = len(study.paths) // 2
    path = study.paths[middle]
    image = load_image(path, middle)
    step = -(-image.shape[1] // _EXAMPLE_WIDTH)
    parameters = {**study.selector.get_params(), **study.default, "memory": None}
    for number, sampling in enumerate(study.samplings):
        bags = load_features(out, (study.feature_files[sampling][middle],), (path,))
        selection = select_patches(bags[0], **parameters)
        fields = {name: bags.field(name, 0) for name in bags.fields}
        fields |= {name: fields[name] // step for name in ("top", "left", "size") if name in fields}
        about = {"sampling": sampling, "title": Path(path).stem, **study.default}
        arrays = {f"field_{name}": values for name, values in fields.items()}
        arrays |= {"image": image[::step, ::step], "scores": selection.scores, "kept": selection.indices}
        arrays["about"] = np.array(json.dumps(about))
        write_whole(out / EXAMPLES / f"{number}.npz", partial(write_arrays, arrays))
