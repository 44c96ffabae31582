"""The demonstration, stage by stage."""

import json
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from joblib import Parallel, cpu_count, delayed
from sklearn.model_selection import cross_val_predict

from patchdistill._compat import import_optional
from patchdistill.bags import PatchBags
from patchdistill.demo import figures, record
from patchdistill.demo.clock import Clock
from patchdistill.demo.distortions import CLEAN, write_versions
from patchdistill.demo.panorama import select_on_panorama
from patchdistill.demo.report import render
from patchdistill.demo.scenes import find_scenes
from patchdistill.demo.study import (
    DEFAULT_RATE,
    N_SEEDS,
    RATES,
    SELECTION,
    CrossValidation,
    compare,
    folds,
    quality_pipeline,
    time_pooling_and_model,
)
from patchdistill.embedding import PatchStatistics
from patchdistill.journal.files import write_whole
from patchdistill.selection import select_patches

_PATCH_SIZE = 64
_TOL = 1e-3
# Beyond a few workers, starting them takes longer than they save on small pictures.
_MOST_WORKERS = 4
# Distortions whose strongest level is shown beside the clean scene, one scene each.
_SHOWN = ("JPEG", "blur", "noise")


class Design(NamedTuple):
    """Size of the study; the tests make it smaller."""

    levels: tuple = (1, 2, 3, 4, 5)
    n_patches: int = 180
    rates: tuple = RATES
    n_seeds: int = N_SEEDS
    panorama_height: int = 512


class Images(NamedTuple):
    """The images of the study, one entry of each field per image."""

    files: list
    scenes: np.ndarray
    kinds: np.ndarray
    levels: np.ndarray
    labels: np.ndarray


class Solved(NamedTuple):
    """What is kept of one image's solution: the coefficients of all images would fill the memory."""

    scores: np.ndarray
    steps: np.ndarray
    gaps: np.ndarray
    n_iter: int
    converged: bool


def run_demo(out, images=None, n_jobs=None, progress=True):
    """Distort photographs, select patches, predict quality, and write a report with pictures.

    Photographs are distorted by JPEG, JPEG 2000, blur and noise at five levels and labelled by their structural
    similarity to the original. A quality model is cross-validated, grouped by scene, with all patches, with those that
    the default selection keeps and their weights, with as many at either end of the residuals, and with as many chosen
    at random. Besides, patches of a panorama are selected of which one half is spoiled.

    Parameters
    ----------
    out : path-like
        Folder for ``report.html``, one file with everything in it, and ``results.json``, its numbers. Made if it does
        not exist.
    images : path-like, default=None
        Folder of pictures, one per scene, of at least 32 pixels each way; larger ones are shrunk to 1280 pixels. By
        default ten color photographs that come with scikit-learn and scikit-image; nothing is downloaded. The first
        one that is exactly twice as wide as high is the panorama, shrunk to 512 pixels of height; without one, as by
        default, a synthetic panorama is made.
    n_jobs : int, default=None
        Workers for distorting and embedding; None takes the cores there are, at most four. Changes nothing but time.
    progress : bool, default=True
        Whether to tell on stderr what is being done.

    Returns
    -------
    Path
        The report.

    Raises
    ------
    ValueError
        If `images` holds fewer than two pictures, or one that cannot be read or is too small.
    ImportError
        If a package of the extra ``demo`` is not installed.

    Examples
    --------
    >>> from patchdistill.demo import run_demo
    >>> run_demo("demo_report", images="holiday_photos")  # doctest: +SKIP
    PosixPath('demo_report/report.html')
    """
    paths, longest_side = find_scenes(images)
    n_jobs = min(_MOST_WORKERS, cpu_count()) if n_jobs is None else n_jobs
    return run_study(Path(out), paths, longest_side, n_jobs, progress)


def run_study(out, paths, longest_side, n_jobs, progress, design=None):
    """Do what :func:`run_demo` does, with named scenes and in any size.

    Parameters
    ----------
    out : Path
        Folder for the report.
    paths : dict of str to Path
        Scenes by name.
    longest_side : int
        Size to which they are shrunk.
    n_jobs : int
        Workers.
    progress : bool
        Whether to tell on stderr what is being done.
    design : Design, default=None
        Size of the study; that of the demonstration by default.

    Returns
    -------
    Path
        The report.
    """
    design = design or Design()
    for name in ("skimage.metrics", "matplotlib.figure"):  # what is missing is told at once, not after minutes
        import_optional(name, "run_demo", "demo")
    out.mkdir(parents=True, exist_ok=True)
    clock = Clock(progress)
    with tempfile.TemporaryDirectory(prefix="patchdistill_demo_") as folder:
        with clock.stage("distort and label") as track:
            images, patch_size = _make_images(paths, longest_side, Path(folder), design.levels, n_jobs, track)
        with clock.stage("sample and embed") as track:
            embedding = PatchStatistics(n_patches=design.n_patches, patch_size=patch_size, n_jobs=n_jobs)
            bags = _embed(images, embedding, track)
        with clock.stage("select") as track:
            # Solutions are cached: the pipeline below meets each image in every fold and solves none again.
            cache = str(Path(folder) / "cache")
            work = (delayed(_solve)(E, cache) for E in bags)
            solutions = list(track(Parallel(n_jobs=n_jobs, return_as="generator")(work), len(bags)))
        with clock.stage("compare with random") as track:
            validation = CrossValidation(bags, images.labels, images.scenes)
            study = compare(validation, rates=design.rates, n_seeds=design.n_seeds, memory=cache, track=track)
        again = folds(images.scenes).get_n_splits()
        with clock.stage("literal pipeline", f"embeds every image again in each of {again} folds"):
            pipeline = quality_pipeline(design.n_patches, patch_size, n_jobs, cache)
            predicted = cross_val_predict(
                pipeline, images.files, images.labels, groups=images.scenes, cv=folds(images.scenes)
            )
        with clock.stage("select on a panorama"):
            on_panorama = select_on_panorama(paths, design.panorama_height, design.n_patches)
        with clock.stage("time the model, draw"):
            selector = pipeline["select"]
            kept = selector.fit_transform(bags)
            expected = validation.predict(kept)["retrained"]
            times = _milliseconds(clock.seconds, kept, bags, images)
            pictures = {
                "selections": figures.draw_selections(_examples(images, bags)),
                "panorama": figures.draw_panorama(on_panorama),
                "agreement": figures.draw_agreement(study),
                "residuals": figures.draw_residuals([solved.scores for solved in solutions], images.kinds),
                "convergence": figures.draw_convergence(solutions, _TOL),
                "times": figures.draw_times(times),
            }
    results = {
        "setup": record.describe_setup(images, bags, patch_size, n_jobs, design),
        "labels": record.mean_labels(images),
        "study": study,
        "pipeline": record.describe_pipeline(pipeline, predicted, expected, images),
        "outliers": record.share_of_outliers(selector.outliers_, bags, images.kinds),
        "solver": record.describe_solutions(solutions, _TOL),
        "panorama": on_panorama.results,
        "milliseconds_per_image": times,
        "seconds": clock.seconds,
    }
    return _write(out, results, pictures)


def _make_images(paths, longest_side, folder, levels, n_jobs, track):
    work = (delayed(write_versions)(name, path, longest_side, folder, levels) for name, path in paths.items())
    made = list(track(Parallel(n_jobs=n_jobs, return_as="generator")(work), len(paths)))
    versions = [version for versions, _ in made for version in versions]
    columns = [[getattr(version, name) for version in versions] for name in ("scene", "kind", "level", "label")]
    images = Images([version.path for version in versions], *map(np.array, columns))
    # Twice a patch each way is room enough for many different ones.
    return images, min(_PATCH_SIZE, *(min(shape) // 2 for _, shape in made))


def _embed(images, embedding, track):
    """Features of all images, scene by scene, so that progress shows."""
    scenes = dict.fromkeys(images.scenes.tolist())  # in the order of the files
    files = [[f for f, of in zip(images.files, images.scenes, strict=True) if of == scene] for scene in scenes]
    chunks = [embedding.transform(some) for some in track(files, len(files))]
    fields = {name: [bags.field(name, i) for bags in chunks for i in range(len(bags))] for name in chunks[0].fields}
    return PatchBags.from_list([E for bags in chunks for E in bags], fields=fields)


def _solve(E, cache):
    selection = select_patches(E, tol=_TOL, memory=cache, **SELECTION)
    solution = selection.solution
    gaps = solution.history["dual_gap"] / np.maximum(solution.history["objective"], np.finfo(float).tiny)
    return Solved(selection.scores, solution.history["n_iter"], gaps, solution.n_iter, solution.converged)


def _milliseconds(seconds, kept, bags, images):
    """Time of each stage for one image, with kept patches and with all."""
    bars = {}
    for name, some in ((f"{DEFAULT_RATE:.0%} kept", kept), ("all patches", bags)):
        bars[name] = {"sampling + embedding": seconds["sample and embed"]}
        if some is kept:
            bars[name]["selection"] = seconds["select"]
        bars[name]["pooling + model"] = time_pooling_and_model(some, images.labels, images.scenes)
    return {name: {stage: 1000 * s / len(bags) for stage, s in bar.items()} for name, bar in bars.items()}


def _examples(images, bags):
    """Choose a few scenes, each clean and distorted, with what is kept of them."""
    names = list(dict.fromkeys(images.scenes.tolist()))
    some = np.unique(np.linspace(0, len(names) - 1, len(_SHOWN)).round().astype(int))
    shown = []
    for scene, distortion in zip(some, _SHOWN, strict=False):
        for kind, level in ((CLEAN, 0), (distortion, images.levels.max())):
            chosen = (images.scenes == names[scene]) & (images.kinds == kind) & (images.levels == level)
            i = int(np.flatnonzero(chosen)[0])
            title = f"{names[scene]}, {kind}" + (f", level {level}" if level else "")
            shown.append((title, images.files[i], bags[[i]], select_patches(bags[i], rate=DEFAULT_RATE, **SELECTION)))
    return shown


def _write(out, results, pictures):
    text = json.dumps(results, indent=1, allow_nan=False)
    page = render(results, pictures)
    write_whole(out / "results.json", lambda path: path.write_text(text, encoding="utf-8"))
    report = out / "report.html"
    write_whole(report, lambda path: path.write_text(page, encoding="utf-8"))
    return report
