"""A quality model of pixels that is trained not to mind what images show."""

import numbers
from dataclasses import fields
from functools import partial

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin, TransformerMixin
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import nn

from patchdistill._compat import Interval, StrOptions, _fit_context
from patchdistill.evaluation import srcc
from patchdistill.modules.devices import check_device
from patchdistill.modules.running import place
from patchdistill.qfm.checkpoints import OF_STUDENT, describe_images, describe_run
from patchdistill.qfm.distillation import Stages, add_unlabeled
from patchdistill.qfm.inputs import Reading
from patchdistill.qfm.matching import MATCHING_CONSTRAINTS, match_pairs
from patchdistill.qfm.preparation import check_labels, describe_semantics, make_network, match_images, split_images
from patchdistill.qfm.readout import read_out, scores_with_partners, validation_loss
from patchdistill.qfm.sensitivity import semantic_sensitivity
from patchdistill.qfm.training import Recipe, Samples

_AT_LEAST_0 = [Interval(numbers.Real, 0, None, closed="left")]
_ABOVE_0 = [Interval(numbers.Real, 0, None, closed="neither")]
_COUNT = [Interval(numbers.Integral, 1, None, closed="left")]


class QFMRegressor(RegressorMixin, TransformerMixin, BaseEstimator):
    """Learn the quality of images from pixels, with what images show as the adversary.

    An encoder makes tokens of a patch; a gate per channel weighs them; a panel of queries scores them. Besides the
    labels, the network learns from partners, see :func:`match_pairs`: images of similar quality that show something
    else. The channel statistics of the tokens are moved towards those of the partner that changes the score most, and
    the score must stay (consistency). With the converse pairs, images of similar quality must lie together, and those
    that show similar things in other quality apart (contrast).

    Images without labels can be given along: the network trained on labels, the teacher, scores them, and a new one,
    the student, learns from those it is most certain of, too.

    Every patch is a sample with the label of its image, mirrored half of the time. The score of an image is the mean of
    its patches' scores, weighted by the field ``weights`` where there is one. Crops are made by a sampler in front.

    Parameters
    ----------
    encoder : nn.Module, default=None
        Maps (n, 3, height, width) to tokens (n, n_tokens, C), maps, features, or what the models of `transformers`
        return, as in :class:`patchdistill.embedding.TorchEmbedder`. A copy of it is trained, except for parameters that
        need no gradient. None: a small vision transformer with random weights, for trying things out.
    layer : str, default=None
        The layer of the encoder whose output is taken; None is the last.
    pooling : {"cls", "mean", "max"}, default="cls"
        What sums up the other tokens: the first one, or their mean or maximum. For maps, one of the latter.
    channels_last : bool, default=False
        Whether maps are (n, height, width, C).
    size : int, tuple of int or None, default=64
        Side, or height and width, that patches are resized to; None leaves them, and all must have one size.
    mean, std : sequence of 3 float, default=(0, 0, 0) and (1, 1, 1)
        Subtracted from, and divided out of, the channels in [0, 1].
    descriptor : {"auto", "encoder", "thumbnail"}, default="auto"
        What tells what images show: the token that sums up, of the encoder before training, or
        :func:`thumbnail_descriptor`. ``"auto"`` is the encoder where one is given.
    pairing : {"quality", "semantic", "both"}, default="quality"
        What partners are for: consistency, contrast, or both.
    tau : float, default=0.25
        What similar quality is, in standard deviations of the labels; above 0.
    k : int, default=3
        Most partners of an image.
    perturbation : {"style", "shift"}, default="style"
        Whether means and standard deviations of the channels are moved, or means alone.
    max_strength : float, default=1.0
        How far they are moved at most, as a share of the way to the partner; drawn uniformly for every sample, and
        smaller in the first third of the epochs.
    consistency, contrast, sparsity, distillation : float, default=0.5, 0.1, 1e-3 and 0.1
        Weights of the losses beside the one of the labels: scores that move with the partner; hidden features of
        partners, compared by InfoNCE; the mean of the gate; hidden features that differ from the teacher's. With 0, a
        loss is left out.
    temperature : float, default=0.1
        Of InfoNCE; above 0.
    gate : {"adaptive", "static"} or None, default="adaptive"
        Whether the gate depends on the image, or is one for all; None is none.
    n_queries : int, default=6
        Size of the panel; 0 is a linear score of the mean token, which learns more from a few hundred images.
    keep : float, default=0.8
        Share of the images without labels, in (0, 1], that the student learns from.
    max_epochs : int, default=9
        Passes over the patches. The learning rate falls to a tenth after each third of them.
    batch_size : int, default=16
        Most patches in a step.
    lr, weight_decay : float, default=2e-4 and 0.05
        Of AdamW.
    early_stopping : bool, default=False
        Whether scenes are held out to stop by, and the weights of the best epoch taken.
    validation_fraction : float, default=0.2
        Share of the scenes that are held out.
    n_iter_no_change : int, default=3
        Epochs without a smaller loss on them, after which training ends.
    checkpoint : str or path-like, default=None
        Folder where the state is kept after every epoch, as safetensors and JSON: a `fit` that was stopped goes on
        there and ends as if it had not been, and one that was finished is read back.
    device : str or torch.device, default=None
        Where to train and to predict; None is where the encoder is. The network is brought back afterwards.
    autocast : {"bfloat16"} or None, default=None
        Type of automatic mixed precision.
    random_state : int, RandomState instance or None, default=0
        Of the first weights and all that is drawn in training. On a CPU, the same int gives the same bytes.
    verbose : int, default=0
        Whether to print progress.

    Attributes
    ----------
    network_ : QFMNetwork
        The trained network; of teacher and student, the student.
    teacher_ : QFMNetwork or None
        The teacher; None without `X_unlabeled`.
    history_ : list of dict
        Per epoch the stage (``"teacher"`` or ``"student"``), the learning rate and the mean of each loss.
    n_epochs_ : int
        Their number.
    gate_ : ndarray of shape (C,)
        Mean gate over the images of `fit`, in (0, 1); 1 without a gate.
    selected_channels_ : ndarray of bool, shape (C,)
        Where it is above 0.5.
    unmatched_rate_ : float or None
        Share of the training images that have no partners for any loss; None if no loss needs partners.
    y_mean_, y_std_ : float
        By which labels are standardized.

    Warns
    -----
    UserWarning
        If no image has partners, and the network is trained on labels alone.

    See Also
    --------
    QFMRidge : The same idea in closed form, for features.
    patchdistill.sampling.RandomCropSampler : Crops in front of it.

    References
    ----------
    After "Adaptive Feature Selection for No-Reference Image Quality Assessment by Mitigating Semantic Noise
    Sensitivity", ICML 2024, arXiv:2312.06158, whose code could not be had: this is not a reproduction.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.qfm import QFMRegressor
    >>> rng = np.random.default_rng(0)
    >>> noise = np.repeat([0.0, 0.1, 0.2], 4)
    >>> images = [np.clip(0.5 + s * rng.normal(size=(16, 16, 3)), 0, 1) for s in noise]
    >>> model = QFMRegressor(size=16, max_epochs=1).fit(images, -noise)
    >>> model.predict(images).shape, model.transform(images).shape
    ((12,), (12, 96))
    """

    _parameter_constraints = {
        "encoder": [nn.Module, None],
        "layer": [str, None],
        "pooling": [StrOptions({"cls", "mean", "max"})],
        "channels_last": ["boolean"],
        "size": "no_validation",  # Preprocess has one message for all its forms
        "mean": "no_validation",
        "std": "no_validation",
        "descriptor": [StrOptions({"auto", "encoder", "thumbnail"})],
        **MATCHING_CONSTRAINTS,
        "pairing": [StrOptions({"quality", "semantic", "both"})],
        "perturbation": [StrOptions({"style", "shift"})],
        "max_strength": _AT_LEAST_0,
        "consistency": _AT_LEAST_0,
        "contrast": _AT_LEAST_0,
        "sparsity": _AT_LEAST_0,
        "temperature": _ABOVE_0,
        "gate": [StrOptions({"adaptive", "static"}), None],
        "n_queries": [Interval(numbers.Integral, 0, None, closed="left")],
        "distillation": _AT_LEAST_0,
        "keep": [Interval(numbers.Real, 0, 1, closed="right")],
        "max_epochs": _COUNT,
        "batch_size": _COUNT,
        "lr": _ABOVE_0,
        "weight_decay": _AT_LEAST_0,
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(numbers.Real, 0, 1, closed="neither")],
        "n_iter_no_change": _COUNT,
        "checkpoint": "no_validation",
        "device": "no_validation",  # only PyTorch knows its devices
        "autocast": [StrOptions({"bfloat16"}), None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        encoder=None,
        *,
        layer=None,
        pooling="cls",
        channels_last=False,
        size=64,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        descriptor="auto",
        pairing="quality",
        tau=0.25,
        k=3,
        perturbation="style",
        max_strength=1.0,
        consistency=0.5,
        contrast=0.1,
        sparsity=1e-3,
        temperature=0.1,
        gate="adaptive",
        n_queries=6,
        distillation=0.1,
        keep=0.8,
        max_epochs=9,
        batch_size=16,
        lr=2e-4,
        weight_decay=0.05,
        early_stopping=False,
        validation_fraction=0.2,
        n_iter_no_change=3,
        checkpoint=None,
        device=None,
        autocast=None,
        random_state=0,
        verbose=0,
    ):
        self.encoder = encoder
        self.layer = layer
        self.pooling = pooling
        self.channels_last = channels_last
        self.size = size
        self.mean = mean
        self.std = std
        self.descriptor = descriptor
        self.pairing = pairing
        self.tau = tau
        self.k = k
        self.perturbation = perturbation
        self.max_strength = max_strength
        self.consistency = consistency
        self.contrast = contrast
        self.sparsity = sparsity
        self.temperature = temperature
        self.gate = gate
        self.n_queries = n_queries
        self.distillation = distillation
        self.keep = keep
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.weight_decay = weight_decay
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.checkpoint = checkpoint
        self.device = device
        self.autocast = autocast
        self.random_state = random_state
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, groups=None, semantics=None, X_unlabeled=None):
        """Match the images and train the network, and with images without labels a student of it.

        Parameters
        ----------
        X : list of path, list of array of shape (height, width, 3), array of shape (n_images, height, width, 3), \
PatchBags, list of array of shape (n_patches_i, height, width, 3), or array of shape \
(n_images, n_patches, height, width, 3)
            Pictures, each its own only patch, or patches: the field ``pixels`` of PatchBags, or their values. Pixels
            are uint8, or float in [0, 1]. What is in files is read batch by batch, in every epoch anew, unless
            :meth:`patchdistill.PatchBags.load` did it.
        y : array-like of shape (n_images,)
            Quality labels.
        groups : array-like of shape (n_images,), default=None
            Scenes: versions of one scene are no partners, and are held out together. None: every image is a scene of
            its own.
        semantics : array-like of shape (n_images, m), default=None
            What the images show, in place of `descriptor`.
        X_unlabeled : as `X`, default=None
            Images without labels.

        Returns
        -------
        self
            The model.

        Raises
        ------
        ValueError, TypeError
            If images, labels or groups cannot be used: fewer than 10 images, constant labels, one group only, NaN,
            patches that do not fit the encoder; if a loss is not finite; or if the checkpoint is of another training.
        """
        reading, seed = self._reading(), self._draw_seed()
        images = reading.open(X)
        y, groups = check_labels(y, groups, len(images))
        unlabeled = None if X_unlabeled is None else reading.open(X_unlabeled, like=images)
        train, held_out = split_images(y, groups, self.validation_fraction if self.early_stopping else None, seed)
        mean, std = float(y[train].mean()), float(y[train].std())
        labels = (y - mean) / std
        initial = self._make_network(images, reading, seed)
        home = place(initial)[0]
        initial.to(home if self.device is None else check_device(self.device))
        settings = {}
        if self.checkpoint is not None:
            settings = describe_run(self, initial, images, y, groups, semantics)

        recipe, partners, unmatched_rate = Recipe.of(self), None, None
        if recipe.consistency or recipe.contrast:
            semantics = self._describe(images, reading, semantics)[train]
            partners, unmatched_rate = match_images(y[train], semantics, groups[train], recipe, tau=self.tau, k=self.k)
        validate = None
        if self.early_stopping:
            validate = partial(validation_loss, images=images.take(held_out), labels=labels[held_out], reading=reading)
        preprocess = reading.preprocess(initial)
        stages = Stages(initial, preprocess, recipe, seed, partners, validate, self.checkpoint, not self.verbose)
        samples = Samples(images.take(train), labels[train], np.ones(len(train)), len(train))
        network, history = stages.train("teacher", samples, settings)
        teacher = None
        if unlabeled is not None:
            teacher = network
            samples = add_unlabeled(samples, unlabeled, teacher, reading, self.keep)
            if self.checkpoint is not None:
                own = {name: getattr(self, name) for name in OF_STUDENT}
                settings = {**settings, **own, "unlabeled images": describe_images(unlabeled)}
            network, later = stages.train("student", samples, settings, teacher)
            history = history + later
            teacher.to(home)
        self.network_, self.teacher_ = network.to(home), teacher
        self.history_, self.n_epochs_ = history, len(history)
        self.y_mean_, self.y_std_, self.unmatched_rate_ = mean, std, unmatched_rate
        self.gate_ = read_out(network, images, reading, "gate")[0].mean(axis=0)
        self.selected_channels_ = self.gate_ > 0.5
        return self

    def predict(self, X):
        """Score images.

        Parameters
        ----------
        X : images
            As in `fit`.

        Returns
        -------
        ndarray of float64, shape (n_images,)
            Scores, in the unit of the labels.

        Raises
        ------
        ValueError
            If these are no images, or a score is not finite.
        """
        scores = self._read_out(X, "scores")
        if not np.isfinite(scores).all():
            raise ValueError(
                f"The score of image {np.isfinite(scores).argmin()} is not finite; check the weights of the network, "
                "and with autocast, try None."
            )
        return self.y_mean_ + self.y_std_ * scores

    def transform(self, X):
        """Give the gated features of images: the mean of each channel over the tokens, times its gate.

        Parameters
        ----------
        X : images
            As in `fit`.

        Returns
        -------
        ndarray of float64, shape (n_images, C)
            Features.
        """
        return self._read_out(X, "features")

    def score(self, X, y):
        """Compute the rank correlation of scores and labels.

        Parameters
        ----------
        X : images
            As in `fit`.
        y : array-like of shape (n_images,)
            Quality labels.

        Returns
        -------
        float
            SRCC, in [-1, 1].
        """
        return srcc(y, self.predict(X))

    def semantic_sensitivity(self, X, y, groups=None, semantics=None):
        """Compute how much the scores change when only what is shown changes.

        The statistics of the tokens are replaced by those of each of the image's partners of similar quality, the mean
        over their patches.

        Parameters
        ----------
        X, y, groups, semantics : images and array-like
            As in `fit`.

        Returns
        -------
        float
            Mean difference of the scores, in standard deviations of the scores.

        Raises
        ------
        ValueError
            If no image has a partner, or all scores are equal; and as :meth:`fit` for labels and groups.

        See Also
        --------
        patchdistill.qfm.semantic_sensitivity : The same for the scores of any model.
        """
        check_is_fitted(self)
        reading = self._reading()
        images = reading.open(X)
        y, groups = check_labels(y, groups, len(images))
        partners = match_pairs(y, self._describe(images, reading, semantics), groups, tau=self.tau, k=self.k)
        scores, moved = scores_with_partners(self.network_, images, reading, partners, self.perturbation)
        return semantic_sensitivity(scores, partners, moved)

    def _reading(self):
        return Reading(**{field.name: getattr(self, field.name) for field in fields(Reading)})

    def _read_out(self, X, name):
        check_is_fitted(self)
        reading = self._reading()
        return read_out(self.network_, reading.open(X), reading, name)[0]

    def _draw_seed(self):
        if isinstance(self.random_state, numbers.Integral):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))

    def _make_network(self, images, reading, seed):
        options = {name: getattr(self, name) for name in ("layer", "pooling", "channels_last", "gate", "n_queries")}
        return make_network(self.encoder, images, reading, seed, **options)

    def _describe(self, images, reading, semantics):
        """Give what images show: what the caller knows of it, or else the descriptor."""
        if semantics is not None:
            check_consistent_length(images, semantics)
            return np.asarray(semantics)
        if self.descriptor == "encoder" and self.encoder is None:
            raise ValueError(
                'descriptor="encoder" needs an encoder: random weights describe nothing. Pass one, or use "thumbnail".'
            )
        if self.descriptor == "thumbnail" or self.encoder is None:
            return describe_semantics(images, reading)
        return describe_semantics(images, reading, self._make_network(images, reading, seed=0))
