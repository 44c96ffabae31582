"""What a study compares, and of which pieces it consists."""

import itertools
import pickle
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Integral
from pathlib import Path

import joblib
import numpy as np
from sklearn.base import clone

from patchdistill import __version__
from patchdistill.datasets import check_manifest
from patchdistill.embedding import PatchStatistics
from patchdistill.evaluation import MAPPINGS, SceneShuffleSplit
from patchdistill.pools import stamp
from patchdistill.ranking import check_rate
from patchdistill.selector import ResidualPatchSelector

ALL, RESIDUAL, RANDOM = "all", "residual", "random"

# What decides nothing but the time, or is varied.
_NOT_IDENTITY = ("rate", "memory", "n_jobs", "verbose")


@dataclass(frozen=True)
class Study:
    """Samplings x metrics x h x rates x seeds x models, on one manifest.

    For every sampling each model learns from all patches, from those that the selector keeps with every metric, h and
    rate, and from as many random ones. It is trained on the images of some scenes and tested on those of the others;
    every seed is another split, and another random selection.

    Parameters
    ----------
    manifest : DataFrame
        Images, scenes and labels, see :func:`patchdistill.datasets.check_manifest`.
    samplings : dict of str to transformer
        By name, what makes PatchBags of pixels from picture files, such as
        :class:`patchdistill.panorama.LatitudeSampler` or :class:`patchdistill.sampling.GridSampler`.
    models : dict of str to regressor
        By name, what is fitted on PatchBags and labels: pipelines that begin with
        :class:`patchdistill.models.BagPooling`, :class:`patchdistill.models.PatchwiseRegressor`,
        :class:`patchdistill.models.BagNetRegressor` and the like.
    embedding : transformer, default=PatchStatistics()
        Makes PatchBags of features from PatchBags of pixels.
    selector : ResidualPatchSelector, default=ResidualPatchSelector(normalize="columns")
        The selection; `metrics`, `h` and `rates` take the place of its parameters of that name.
    metrics : sequence of str, default=("euclidean",)
        Distances between patches.
    h : sequence of int, default=(10,)
        Numbers of eigenvectors.
    rates : sequence of float or int, default=(0.05, 0.1, 0.2, 0.3, 0.45, 0.6, 0.75, 0.9)
        Shares of the patches to keep, or their numbers.
    n_seeds : int, default=20
        Number of splits.
    test_size : float, default=0.2
        Share of the scenes that a model is tested on.
    mapping : {"logistic4", "logistic5", "linear"}, default="logistic4"
        Map after which PLCC and RMSE are taken, see :func:`patchdistill.evaluation.fit_mapping`.
    label : str, default=""
        What the labels are, for the report, such as "similarity to the original, computed"; by default it says which
        kind of opinion score the manifest holds.
    pixels : bool, default=False
        Whether patches have their pixels as the field ``pixels``, read from the files when a model asks for them.

    Raises
    ------
    ValueError, TypeError
        If something is missing or not valid.

    See Also
    --------
    run_study : Runs it.
    read_config : Reads one from a file.
    """

    manifest: object
    samplings: dict
    models: dict
    embedding: object = field(default_factory=PatchStatistics)
    selector: ResidualPatchSelector = field(default_factory=lambda: ResidualPatchSelector(normalize="columns"))
    metrics: tuple = ("euclidean",)
    h: tuple = (10,)
    rates: tuple = (0.05, 0.1, 0.2, 0.3, 0.45, 0.6, 0.75, 0.9)
    n_seeds: int = 20
    test_size: float = 0.2
    mapping: str = "logistic4"
    label: str = ""
    pixels: bool = False

    def __post_init__(self):
        object.__setattr__(self, "manifest", check_manifest(self.manifest))
        for name in ("samplings", "models"):
            if not isinstance(getattr(self, name), dict) or not getattr(self, name):
                raise ValueError(f"{name} is {getattr(self, name)!r}; give a dict with at least one entry.")
        for name in ("metrics", "h", "rates"):
            values = tuple(getattr(self, name))
            object.__setattr__(self, name, values)
            if not values or len(set(values)) < len(values):
                raise ValueError(f"{name} is {values!r}; give at least one value, each once.")
        for rate in self.rates:
            check_rate(rate)
        object.__setattr__(self, "rates", tuple(int(r) if isinstance(r, Integral) else float(r) for r in self.rates))
        if self.mapping not in MAPPINGS:
            raise ValueError(f"mapping={self.mapping!r} is unknown; use one of {', '.join(MAPPINGS)}.")
        if self.selector.embedding is not None or self.selector.backend == "torch":
            raise ValueError(
                "The selector of a study has an embedding or a backend of its own; give the embedding to the study, "
                'and leave backend="auto".'
            )
        # What is wrong is told now, not after hours.
        for sampler in self.samplings.values():
            clone(sampler).fit()
        for metric, h in itertools.product(self.metrics, self.h):
            clone(self.selector).set_params(metric=metric, h=h)._validate_params()
        self.splits  # noqa: B018

    @property
    def default(self):
        """Which metric, h and rate the report looks at first: those of `selector`, or else the first ones."""
        values = {"metric": self.metrics, "h": self.h, "rate": self.rates}
        own = self.selector.get_params()
        return {name: own[name] if own[name] in some else some[0] for name, some in values.items()}

    @property
    def paths(self):
        """Files of the images."""
        return self.manifest["image"].tolist()

    @property
    def labels(self):
        """Opinion scores, ndarray of shape (n_images,)."""
        return self.manifest["mos"].to_numpy(dtype=np.float64)

    @property
    def deviations(self):
        """Standard deviations of the opinion scores, ndarray of shape (n_images,), or None where one is missing."""
        column = self.manifest["mos_std"]
        return None if column.isna().any() else column.to_numpy(dtype=np.float64)

    @cached_property
    def splits(self):
        """Training and test images of each seed."""
        splitter = SceneShuffleSplit(n_splits=self.n_seeds, test_size=self.test_size, random_state=0)
        scenes = self.manifest["scene"].to_numpy()
        return list(splitter.split(scenes, groups=scenes))

    @cached_property
    def feature_files(self):
        """Of each sampling, the name of each image's file of features."""
        stamps = [stamp(Path(path)) for path in self.paths]
        samplers = {name: identity(sampler) for name, sampler in self.samplings.items()}
        embedding = identity(self.embedding)
        return {
            name: [
                f"features/{joblib.hash((__version__, sampler, embedding, path, image_stamp))}.npz"
                for path, image_stamp in zip(self.paths, stamps, strict=True)
            ]
            for name, sampler in samplers.items()
        }

    @cached_property
    def selection_files(self):
        """Of each (sampling, metric, h), the name of the file with the selections of all images, at any rates."""
        selector = {name: value for name, value in self.selector.get_params().items() if name not in _NOT_IDENTITY}
        return {
            (sampling, metric, h): "selections/{}.npz".format(
                joblib.hash((__version__, {**selector, "metric": metric, "h": h}, self.feature_files[sampling]))
            )
            for sampling, metric, h in itertools.product(self.samplings, self.metrics, self.h)
        }

    @cached_property
    def cells(self):
        """All cells: dict of digest to what they are, those of one selection one after the other."""
        selections = [(sampling, ALL, None, None, 1.0) for sampling in self.samplings]
        selections += [(sampling, RANDOM, None, None, rate) for sampling in self.samplings for rate in self.rates]
        selections += [(s, RESIDUAL, m, h, rate) for (s, m, h) in self.selection_files for rate in self.rates]
        models = {name: identity(model) for name, model in self.models.items()}
        data = joblib.hash((self.labels, self.deviations, self.mapping))
        splits = [joblib.hash(split) for split in self.splits]
        cells = {}
        for sampling, selection, metric, h, rate in selections:
            files = self.feature_files[sampling] if metric is None else self.selection_files[sampling, metric, h]
            cell = {"sampling": sampling, "selection": selection, "metric": metric, "h": h, "rate": rate}
            # The names are in it, too: what is equal under two names is in the tables twice.
            source = joblib.hash((__version__, data, files, cell))
            for (model, of_model), seed in itertools.product(models.items(), range(self.n_seeds)):
                digest = joblib.hash((source, model, of_model, seed, splits[seed]))
                cells[digest] = {**cell, "model": model, "seed": seed}
        return cells


def identity(estimator):
    """Name everything that an estimator was made with.

    Parameters
    ----------
    estimator : estimator
        Fitted or not, which makes no difference.

    Returns
    -------
    str
        Digest, the same in every process.

    Raises
    ------
    ValueError
        If a parameter cannot be pickled.
    """
    try:
        return joblib.hash(_described(estimator))
    except pickle.PicklingError as error:
        raise ValueError(
            f"{estimator} has a parameter that cannot be pickled, so that results cannot be told from those of another "
            f"one ({error}). Define functions and classes at the top of a module."
        ) from None


def _described(value):
    if isinstance(value, (list, tuple)):  # the steps of a pipeline
        return [_described(one) for one in value]
    if not hasattr(value, "get_params") or isinstance(value, type):
        return value
    parameters = {name: _described(one) for name, one in value.get_params(deep=False).items()}
    return type(value).__module__, type(value).__qualname__, parameters
