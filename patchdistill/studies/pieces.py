"""The work of a study, piece by piece: features of an image, selections from all images, one trained model."""

import time
import warnings
from contextlib import contextmanager
from functools import lru_cache

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from patchdistill._threads import single_blas_thread
from patchdistill.bags import PATCH_INDEX, PatchBags
from patchdistill.baselines import RandomPatchSelector
from patchdistill.evaluation import agreement
from patchdistill.ordered import OrderedPatches
from patchdistill.selection import CHOICE_PARAMETERS, choice_at_rates, select_patches
from patchdistill.studies.design import RANDOM, RESIDUAL

PIXELS = "pixels"

# Features of that many samplings stay in the memory of a worker: pieces of one sampling come one after the other.
_SAMPLINGS_IN_MEMORY = 1


def image_features(sampler, embedding, path):
    """Sample and embed one image.

    Parameters
    ----------
    sampler, embedding : transformer
        Of the study. The embedding is fitted to the image.
    path : str
        The picture.

    Returns
    -------
    dict of str to ndarray
        ``features`` (n_patches, n_features), ``seconds`` of sampling and of embedding, and for each field of the
        patches ``field_NAME``.
    """
    start = time.perf_counter()
    pixels = sampler.transform([path])
    pixels = pixels.with_values(np.asarray(pixels.values))  # decoded and cut, if that was left for later
    sampled = time.perf_counter()
    bags = embedding.fit_transform(pixels)
    seconds = [sampled - start, time.perf_counter() - sampled]
    fields = {
        f"field_{name}": np.asarray(bags.fields[name]) for name in bags.fields if name not in (PIXELS, PATCH_INDEX)
    }
    return {"features": np.asarray(bags.values), "seconds": np.array(seconds), **fields}


@lru_cache(maxsize=_SAMPLINGS_IN_MEMORY)
def load_features(folder, files, ids):
    """Read the features of all images of a sampling.

    Parameters
    ----------
    folder : Path
        Of the study.
    files : tuple of str
        Names of their files.
    ids : tuple of str
        Names of the images.

    Returns
    -------
    PatchBags
        All patches of all images.
    """
    images, fields = [], {}
    for file in files:
        arrays = read_arrays(folder / file)
        images.append(arrays["features"])
        for name, values in arrays.items():
            if name.startswith("field_"):
                fields.setdefault(name.removeprefix("field_"), []).append(values)
    return PatchBags.from_list(images, fields=fields, ids=ids)


def select_all(bags, selector, rates):
    """Select patches of all images at all rates; each is solved once.

    Parameters
    ----------
    bags : PatchBags
        Features of all patches.
    selector : ResidualPatchSelector
        The selection.
    rates : sequence of float or int
        Rates.

    Returns
    -------
    dict of str to ndarray
        Per image ``n_iter``, ``gap``, ``converged``, ``n_outliers`` and ``seconds`` (of one selection, solution
        included); ``scores`` of all patches; and for each rate the names of :func:`of_rate`, with the number of kept
        patches per image, and the kept patches and weights of all images one after the other.
    """
    parameters = {**selector.get_params(), "memory": None}
    choice_parameters = {name: parameters[name] for name in CHOICE_PARAMETERS if name != "rate"}
    per_image = {name: [] for name in ("n_iter", "gap", "converged", "n_outliers", "seconds")}
    scores, chosen = [], {rate: [] for rate in rates}
    for E in bags:
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the table tells which images
            selection = select_patches(E, **parameters)
        solution = selection.solution
        gap = solution.dual_gap / solution.objective if solution.objective > 0 else 0.0
        n_outliers = len(selection.outliers)
        of_image = solution.n_iter, gap, solution.converged, n_outliers, time.perf_counter() - start
        for values, value in zip(per_image.values(), of_image, strict=True):
            values.append(value)
        scores.append(selection.scores)
        choose, _ = choice_at_rates(OrderedPatches(E, selector.normalize), selection.scores, **choice_parameters)
        for rate, choices in chosen.items():
            choice = choose(rate)
            choices.append((choice.kept, choice.weights()))
    arrays = {name: np.array(values) for name, values in per_image.items()}
    arrays["scores"] = np.concatenate(scores)
    for rate, choices in chosen.items():
        kept, weights = zip(*choices, strict=True)
        columns = [len(patches) for patches in kept], np.concatenate(kept), np.concatenate(weights)
        arrays |= {name: np.array(column) for name, column in zip(of_rate(rate), columns, strict=True)}
    return arrays


def of_rate(rate):
    """Name the arrays that hold the selection at a rate.

    Parameters
    ----------
    rate : float or int
        The rate.

    Returns
    -------
    tuple of str
        Of the number of kept patches per image, of the kept patches, and of their weights.
    """
    return f"n_{rate!r}", f"kept_{rate!r}", f"weights_{rate!r}"


@lru_cache(maxsize=1)
def load_selected(folder, files, ids, file, rate):
    """Read the features that are kept of every image at a rate.

    Parameters
    ----------
    folder, files, ids
        As for :func:`load_features`.
    file : str
        Name of the file of selections.
    rate : float or int
        The rate.

    Returns
    -------
    PatchBags
        Kept patches of all images, with their weights.
    """
    n_kept, kept, weights = read_arrays(folder / file, of_rate(rate)).values()
    bags = load_features(folder, files, ids).take(np.split(kept, np.cumsum(n_kept)[:-1]))
    return bags.with_values(bags.values, weights=weights)


class CellWork:
    """Train and test one model.

    Parameters
    ----------
    study : Study
        The study.
    folder : Path
        Where its files are.
    """

    def __init__(self, study, folder):
        self.folder, self.mapping = folder, study.mapping
        self.feature_files, self.selection_files = study.feature_files, study.selection_files
        self.models, self.splits = study.models, study.splits
        self.labels, self.deviations, self.paths = study.labels, study.deviations, study.paths
        self.pixels = {}
        if study.pixels:
            self.pixels = {name: sampler.transform(self.paths).values for name, sampler in study.samplings.items()}

    def __call__(self, cell):
        """Agreement of a model's predictions with the labels of the test images.

        Parameters
        ----------
        cell : dict
            Which: ``sampling``, ``selection``, ``metric``, ``h``, ``rate``, ``model`` and ``seed``.

        Returns
        -------
        dict
            The cell with ``n_train``, ``n_test``, ``n_kept``, what :func:`patchdistill.evaluation.agreement` gives,
            ``fit_seconds`` and ``predict_seconds``.
        """
        bags = self._select(cell)
        train, test = self.splits[cell["seed"]]
        model = clone(self.models[cell["model"]])
        with single_blas_thread():
            start = time.perf_counter()
            model.fit(bags[train].load(), self.labels[train])  # networks read the pixels in every epoch
            fitted = time.perf_counter()
            scores = np.asarray(model.predict(bags[test]), dtype=np.float64)
            seconds = {"fit_seconds": fitted - start, "predict_seconds": time.perf_counter() - fitted}
            deviations = None if self.deviations is None else self.deviations[test]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # constant predictions and lines instead of curves are in the table
                agreed = agreement(self.labels[test], scores, mapping=self.mapping, mos_std=deviations)
        sizes = {"n_train": len(train), "n_test": len(test), "n_kept": float(bags.n_patches.mean())}
        return {**cell, **sizes, **agreed, **seconds}

    def _select(self, cell):
        features = self.folder, tuple(self.feature_files[cell["sampling"]]), tuple(self.paths)
        bags = everything = load_features(*features)
        if cell["selection"] == RANDOM:
            bags = RandomPatchSelector(cell["rate"], random_state=cell["seed"]).fit_transform(everything)
        elif cell["selection"] == RESIDUAL:
            file = self.selection_files[cell["sampling"], cell["metric"], cell["h"]]
            bags = load_selected(*features, file, cell["rate"])
        if self.pixels:
            rows = np.repeat(everything.offsets[:-1], bags.n_patches) + bags.fields[PATCH_INDEX]
            bags = bags.with_values(bags.values, pixels=self.pixels[cell["sampling"]][rows])
        return bags


def read_arrays(path, names=None):
    """Read arrays of a file of the study.

    Parameters
    ----------
    path : Path
        The file.
    names : sequence of str, default=None
        Which; all by default.

    Returns
    -------
    dict of str to ndarray
        Arrays by name.

    Raises
    ------
    ValueError
        If the file cannot be read.
    """
    with _opened(path) as arrays:
        return {name: arrays[name] for name in names or arrays.files}


def array_names(path):
    """List the arrays of a file of the study.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    list of str
        Their names.

    Raises
    ------
    ValueError
        If the file cannot be read.
    """
    with _opened(path) as arrays:
        return arrays.files


@contextmanager
def _opened(path):
    with open(path, "rb") as stream:
        try:
            yield np.load(stream, allow_pickle=False)
        except Exception as error:  # a broken file can raise anything
            raise ValueError(f"{path} cannot be read ({error}). Remove it; it will be made again.") from error


def write_arrays(arrays, path):
    """Write arrays to a file of the study.

    Parameters
    ----------
    arrays : dict of str to ndarray
        Arrays by name.
    path : Path
        The file.
    """
    with open(path, "wb") as stream:
        np.savez(stream, **arrays)
