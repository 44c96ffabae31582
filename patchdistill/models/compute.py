"""What a pipeline costs, stage by stage: seconds, and floating-point operations of PyTorch."""

import statistics
import sys
import time
from dataclasses import asdict, dataclass
from functools import partial

from sklearn.base import clone
from sklearn.pipeline import Pipeline

from patchdistill.base import BasePatchSelector

ALL, KEPT = "all patches", "kept patches"
TRAINING, INFERENCE = "training", "inference"


@dataclass(frozen=True)
class StageCost:
    """What one stage of one pipeline costs.

    Attributes
    ----------
    variant : str
        Name of the pipeline.
    phase : {"training", "inference"}
        Which of the two.
    stage : str
        Name of the step.
    seconds : float
        Median over the repeats.
    flops : int or None
        Floating-point operations of the matrix products, convolutions and attentions that PyTorch's counter knows, a
        multiplication and an addition being two; None where it saw none: the work of NumPy is not counted.
    """

    variant: str
    phase: str
    stage: str
    seconds: float
    flops: int | None


@dataclass(frozen=True)
class ComputeReport:
    """What pipelines cost, see :func:`compute_report`.

    Attributes
    ----------
    stages : tuple of StageCost
        One per pipeline, phase and step.
    """

    stages: tuple

    @property
    def variants(self):
        """Names of the pipelines, in order."""
        return list(dict.fromkeys(stage.variant for stage in self.stages))

    def seconds(self, variant, phase=None, stage=None):
        """Sum seconds.

        Parameters
        ----------
        variant : str
            Name of the pipeline.
        phase : {"training", "inference"}, default=None
            None is both.
        stage : str, default=None
            None is all.

        Returns
        -------
        float
            Seconds.
        """
        return sum(cost.seconds for cost in self._chosen(variant, phase, stage))

    def flops(self, variant, phase=None, stage=None):
        """Sum the operations that were counted.

        Parameters
        ----------
        variant, phase, stage
            As for :meth:`seconds`.

        Returns
        -------
        int
            Operations.
        """
        return sum(cost.flops or 0 for cost in self._chosen(variant, phase, stage))

    def ratio(self, variant=KEPT, to=ALL, phase=None):
        """Seconds of one pipeline as a share of those of another.

        Parameters
        ----------
        variant, to : str
            Names of the two pipelines.
        phase : {"training", "inference"}, default=None
            None is both.

        Returns
        -------
        float
            Below 1 where `variant` is faster.
        """
        return self.seconds(variant, phase) / self.seconds(to, phase)

    def to_dict(self):
        """Give everything as JSON can hold it.

        Returns
        -------
        dict
            ``stages``, a list of dicts.
        """
        return {"stages": [asdict(stage) for stage in self.stages]}

    def _chosen(self, variant, phase, stage):
        if variant not in self.variants:
            raise ValueError(f"{variant!r} is no pipeline of this report; there are {self.variants}.")
        return [
            cost
            for cost in self.stages
            if cost.variant == variant and phase in (None, cost.phase) and stage in (None, cost.stage)
        ]

    def __str__(self):
        rows = [("pipeline", "phase", "stage", "seconds", "GFLOP")]
        for cost in self.stages:
            operations = "not counted" if cost.flops is None else f"{cost.flops / 1e9:.3f}"
            rows.append((cost.variant, cost.phase, cost.stage, f"{cost.seconds:.3f}", operations))
        rows += [(variant, "", "total", f"{self.seconds(variant):.3f}", "") for variant in self.variants]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def compute_report(pipeline, X, y=None, *, X_test=None, fit_params=None, repeats=1, count_flops=True):
    """Measure what every stage of a pipeline costs, on kept patches and on all.

    All patches are embedded before some are kept: a selection pays if what it saves in the model is more than what the
    embedding and the selection themselves take. Other ways to pay less, such as a cheaper embedding, or one that is
    cached, are pipelines of their own: give a dict.

    Parameters
    ----------
    pipeline : Pipeline, or dict of str to Pipeline
        The pipeline. It is compared with itself without its selectors, under the names ``"kept patches"`` and ``"all
        patches"``. Of a dict each pipeline is measured as it is: a model on pixels needs no embedding when all patches
        are kept.
    X : object
        What the first step takes.
    y : array-like of shape (n_images,), default=None
        Labels. Copies of the pipelines are trained with them. None measures inference alone, of pipelines that are
        fitted.
    X_test : object, default=None
        What to predict; `X` by default.
    fit_params : dict of str to object, default=None
        What steps need in training besides, such as ``{"model__groups": scenes}``, as for ``Pipeline.fit``.
    repeats : int, default=1
        How many times to take the time; the median is reported.
    count_flops : bool, default=True
        Whether a first run counts the operations. It is slower than the others, and fills caches.

    Returns
    -------
    ComputeReport
        Seconds and operations of every stage. ``print`` it, or draw it with
        :class:`patchdistill.plotting.ComputeDisplay`.

    Raises
    ------
    TypeError
        If something else than pipelines is given.
    ValueError
        If the one pipeline has no selector, or `repeats` is below 1.

    Notes
    -----
    Once caches are full, of a :class:`~patchdistill.embedding.TorchEmbedder` with a `cache`, the time
    is that of reading. Cost with a cache that is empty is cost without one.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import Ridge
    >>> from sklearn.pipeline import Pipeline
    >>> from patchdistill import ResidualPatchSelector
    >>> from patchdistill.models import PatchwiseRegressor, compute_report
    >>> images = list(np.random.default_rng(0).random((4, 20, 8)))
    >>> pipeline = Pipeline([("select", ResidualPatchSelector()), ("model", PatchwiseRegressor(Ridge()))])
    >>> report = compute_report(pipeline, images, [1, 2, 3, 4])
    >>> report.variants
    ['kept patches', 'all patches']
    >>> [cost.stage for cost in report.stages if cost.variant == "kept patches" and cost.phase == "training"]
    ['select', 'model']
    """
    pipelines = pipeline if isinstance(pipeline, dict) else {KEPT: pipeline, ALL: _without_selection(pipeline)}
    if not all(isinstance(each, Pipeline) for each in pipelines.values()):
        kinds = sorted({type(each).__name__ for each in pipelines.values()})
        raise TypeError(f"Got {kinds}, but a Pipeline, or a dict of them, is needed: its steps are the stages.")
    if repeats < 1:
        raise ValueError(f"repeats={repeats} is not valid; the time must be taken at least once.")
    X_test = X if X_test is None else X_test
    stages = []
    for variant, each in pipelines.items():
        data = X, y, X_test, fit_params or {}
        counted = _run(each, *data, _flops) if count_flops else {}
        timed = [_run(each, *data, _seconds) for _ in range(repeats)]
        for phase, stage in timed[0]:
            seconds = statistics.median(run[phase, stage] for run in timed)
            stages.append(StageCost(variant, phase, stage, seconds, counted.get((phase, stage)) or None))
    return ComputeReport(tuple(stages))


def _without_selection(pipeline):
    if not isinstance(pipeline, Pipeline):
        raise TypeError(f"Got a {type(pipeline).__name__}, but a Pipeline is needed: its steps are the stages.")
    steps = [(name, step) for name, step in pipeline.steps if not isinstance(step, BasePatchSelector)]
    if len(steps) == len(pipeline.steps):
        raise ValueError(
            f"None of the steps {[name for name, _ in pipeline.steps]} is a selector; to compare pipelines of your "
            "own, give a dict of them."
        )
    return Pipeline(steps)


def _run(pipeline, X, y, X_test, fit_params, measure):
    """Cost of every step: in training, if there are labels, and in inference."""
    costs = {}
    steps = (pipeline if y is None else clone(pipeline)).steps
    steps = [(name, step) for name, step in steps if step not in (None, "passthrough")]
    *transformers, (model_name, model) = steps
    if y is not None:
        data = X
        for name, step in transformers:
            data, costs[TRAINING, name] = measure(partial(step.fit_transform, **_of_step(name, fit_params)), data, y)
        _, costs[TRAINING, model_name] = measure(partial(model.fit, **_of_step(model_name, fit_params)), data, y)
    data = X_test
    for name, step in transformers:
        data, costs[INFERENCE, name] = measure(step.transform, data)
    _, costs[INFERENCE, model_name] = measure(model.predict, data)
    return costs


def _of_step(name, fit_params):
    return {key.removeprefix(f"{name}__"): value for key, value in fit_params.items() if key.startswith(f"{name}__")}


def _seconds(function, *args):
    _wait_for_gpu()
    start = time.perf_counter()
    result = function(*args)
    _wait_for_gpu()
    return result, time.perf_counter() - start


def _flops(function, *args):
    torch = sys.modules.get("torch")
    if torch is None:  # whatever is measured does not use it
        return function(*args), 0
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        result = function(*args)
    return result, counter.get_total_flops()


def _wait_for_gpu():
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.synchronize()
