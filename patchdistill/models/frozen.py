"""A trained network as it is, on the patches of images."""

import numbers

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from patchdistill._compat import Interval, StrOptions, _fit_context, import_optional
from patchdistill.evaluation.mapping import MAPPINGS, fit_mapping
from patchdistill.forms import own_weights
from patchdistill.models.aggregation import AGGREGATES, aggregate_scores
from patchdistill.models.inputs import check_labels, read_patches

# What decides the module's scores, besides the module and the patches.
_OF_MODULE = ("column", "size", "mean", "std", "batch_size", "device", "autocast")


class FrozenModuleRegressor(RegressorMixin, BaseEstimator):
    """Score images by a trained module that is not trained any further.

    Parameters
    ----------
    module : nn.Module or callable
        The network, run in evaluation mode and without gradients; it is afterwards as it was. Pixels reach it as
        (n, 3, height, width), in [0, 1] unless `mean` and `std` say otherwise; features as they are.
    mapping : {"linear", "logistic4", "logistic5"} or None, default=None
        Map from the module's scores to the labels, fitted by :meth:`fit`, see
        :func:`patchdistill.evaluation.fit_mapping`. None gives the module's own scores, and needs no fit.
    output : {"patch", "image"}, default="patch"
        What the module returns when it is given patches: one score each, (n,) or (n, 1); or one score for all, in which
        case it is given the patches of one image as (1, n, ...) and returns (1,) or (1, 1). Models of `transformers`
        return these as ``logits``.
    column : int, default=None
        Where it returns several numbers per patch (or image), (n, k): which of them is the score.
    aggregate : {"weighted", "mean", "median", "trimmed"}, default="weighted"
        With ``output="patch"``, what an image's score is: the mean of its patches' scores, weighted by the field
        ``weights`` where the patches have one, as after a selection by coverage; the plain mean; the median; or the
        mean without the lowest and the highest tenth.
    field : str, default=None
        Field of PatchBags that the module gets, ``"pixels"`` for example; None is the values.
    size : int or tuple of int, default=None
        Side, or height and width, that patches of pixels are resized to; None leaves them as they are.
    mean, std : sequence of 3 float, default=(0, 0, 0) and (1, 1, 1)
        Subtracted from, and divided out of, the channels in [0, 1].
    batch_size : int, default=64
        Most patches that are run at a time; with ``output="image"`` all of an image are.
    device : str or torch.device, default=None
        Where to run: ``"cpu"``, ``"cuda"``. The module is moved there, and back. None is where it is.
    autocast : {"bfloat16", "float16"} or None, default=None
        Type of automatic mixed precision.

    Attributes
    ----------
    mapping_ : ScoreMapping
        The fitted map, where there is one.

    See Also
    --------
    PatchwiseRegressor : With a regressor that learns.

    Examples
    --------
    >>> import numpy as np
    >>> from torch import nn
    >>> from patchdistill.models import FrozenModuleRegressor
    >>> trained = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 1))
    >>> images = [np.zeros((n, 16, 16, 3), dtype=np.uint8) for n in (3, 5)]
    >>> FrozenModuleRegressor(trained).predict(images).shape
    (2,)
    """

    _parameter_constraints = {
        "module": [callable],
        "mapping": [StrOptions(set(MAPPINGS)), None],
        "output": [StrOptions({"patch", "image"})],
        "column": [Interval(numbers.Integral, 0, None, closed="left"), None],
        "aggregate": [StrOptions(set(AGGREGATES))],
        "field": [str, None],
        "size": "no_validation",  # Preprocess has one message for all its forms
        "mean": "no_validation",
        "std": "no_validation",
        "batch_size": [Interval(numbers.Integral, 1, None, closed="left")],
        "device": "no_validation",  # only PyTorch knows its devices
        "autocast": [StrOptions({"bfloat16", "float16"}), None],
    }

    def __init__(
        self,
        module,
        mapping=None,
        *,
        output="patch",
        column=None,
        aggregate="weighted",
        field=None,
        size=None,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        batch_size=64,
        device=None,
        autocast=None,
    ):
        self.module = module
        self.mapping = mapping
        self.output = output
        self.column = column
        self.aggregate = aggregate
        self.field = field
        self.size = size
        self.mean = mean
        self.std = std
        self.batch_size = batch_size
        self.device = device
        self.autocast = autocast

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y):
        """Fit the map to the labels, where there is one; the module stays as it is.

        Parameters
        ----------
        X : PatchBags, list of array-like of shape (n_patches_i, ...), or array of shape (n_images, n_patches, ...)
            Images.
        y : array-like of shape (n_images,)
            Label of each image.

        Returns
        -------
        self : object
            Fitted estimator.
        """
        bags = read_patches(X, self.field)
        labels = check_labels(y, len(bags))
        if self.mapping is not None:
            self.mapping_ = fit_mapping(self._score(bags), labels, self.mapping)
        return self

    def predict(self, X):
        """Score images.

        Parameters
        ----------
        X : PatchBags, list of array-like of shape (n_patches_i, ...), or array of shape (n_images, n_patches, ...)
            Images.

        Returns
        -------
        ndarray of shape (n_images,)
            Scores.

        Raises
        ------
        ValueError, TypeError
            If the module returns something else than was declared, or a score that is not finite.
        """
        self._validate_params()
        if self.mapping is not None:
            check_is_fitted(self, "mapping_")
        scores = self._score(read_patches(X, self.field))
        return scores if self.mapping is None else self.mapping_(scores)

    def _score(self, bags):
        """Scores of images as the module has them."""
        import_optional("torch", "FrozenModuleRegressor", "torch")
        from patchdistill.modules.scores import module_scores

        parameters = {name: getattr(self, name) for name in _OF_MODULE}
        scores = module_scores(bags, self.module, whole=self.output == "image", **parameters)
        if self.output == "image":
            return np.concatenate(scores)
        return np.array([aggregate_scores(s, self.aggregate, own_weights(bags, i)) for i, s in enumerate(scores)])

    def __sklearn_is_fitted__(self):
        return self.mapping is None or hasattr(self, "mapping_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.requires_fit = self.mapping is not None
        return tags
