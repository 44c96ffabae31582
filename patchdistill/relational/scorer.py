"""One number for how much worse a picture is than its reference, learned without any opinion of people."""

import json
import numbers
from importlib import resources

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from patchdistill._compat import HasMethods, Interval, StrOptions, _fit_context
from patchdistill.images import check_images, load_image
from patchdistill.relational.additive import bend, fit_additive
from patchdistill.relational.channels import CHANNELS
from patchdistill.relational.checkpoints import choose_checkpoint
from patchdistill.relational.classical import ClassicalRelationalMap
from patchdistill.relational.content import draw_content
from patchdistill.relational.engine import DistortionEngine
from patchdistill.relational.pooling import cell_weights, pool_map
from patchdistill.relational.tiers import list_pairs, make_ranked_versions


class RelationalScorer(BaseEstimator):
    r"""Score versions of a picture by what a distortion map finds in them.

    The map of a version is pooled over the picture (:func:`~patchdistill.relational.pooling.pool_map`), and the score
    is minus a sum of three curves of each of the pooled distortions :math:`p`, with weights of at least 0:

    .. math:: s(a \mid r) = - \sum_j \sum_{c \in \{0.1, 0.3, 1\}} w_{jc} \, \frac{p_j^2}{p_j^2 + c^2}

    So the reference itself has score 0 and everything else at most 0, more distortion in any cell of the map never
    raises the score, and ``compare`` is exactly anti-symmetric and transitive. The weights are learned from versions
    whose order is known because a :class:`DistortionEngine` made them: ladders of growing levels, tiers of mixed types
    at equal calibrated level, and versions of different pictures. A score of -0.5 is as bad as, on average, the level
    0.5 of one channel over the whole picture.

    Less noise than in the reference, and less of other channels that have one sign only, is no distortion here.

    Parameters
    ----------
    map : estimator, default=None
        What predicts distortion maps: has ``channel_names_`` and ``predict_map(a, ref, geometry)``. By default the
        pre-fitted :class:`ClassicalRelationalMap`.
    pooling : {"all", "mean"}, default="all"
        What is weighed: three curves of four statistics of each channel and direction; or the plain means alone, as
        many as there are channels and directions.
    n_pictures : int, default=48
        Pictures, or crops of pictures, that are distorted to learn from.
    size : int, default=128
        Their side in pixels.
    alpha : float, default=1e-4
        Weight of the squared norm of the weights.
    tie_weight : float, default=0.01
        How much pairs of equal distortion count beside pairs of different distortion.
    tol : float, default=1e-5
        Largest entry of the projected gradient that is accepted.
    random_state : int, default=0
        Seed of the pictures and of their distortions.

    Attributes
    ----------
    map_ : estimator
        What predicts the maps.
    channel_names_ : tuple of str
        Its channels.
    weights_ : ndarray of shape (n_channels, 2, n_features)
        For each channel and direction (more, less) the weights, at least 0: of the four statistics in turn those of the
        curves that are half saturated at 0.1, 0.3 and 1; of the mean alone with ``pooling="mean"``.
    optimality_ : float
        Largest entry of the projected gradient; the problem is strongly convex, and 0 means the optimum.
    n_iter_ : int
        Iterations of the solver.

    See Also
    --------
    RelationalMapNet : A better map, for :meth:`pretrained`.
    MOSCalibrator : From scores to opinion scores.
    RelationalLoss : The map as a loss.

    References
    ----------
    After "Pixel Perfect: Relational Image Quality Assessment with Spatially-Aware Distortions", arXiv 2605.02863: the
    score relative to a reference and ranked sets without opinions. Its additive form is this package's.

    Examples
    --------
    >>> from patchdistill.datasets import dead_leaves
    >>> from patchdistill.relational import DistortionEngine, RelationalScorer
    >>> scorer = RelationalScorer.pretrained()
    >>> picture = dead_leaves(96)
    >>> noisy = DistortionEngine(["noise"]).apply(picture, [0.5])[0]
    >>> scorer.score(picture, ref=picture), scorer.score(noisy, ref=picture) < -0.1
    (0.0, True)
    """

    _parameter_constraints = {
        "map": [None, HasMethods("predict_map")],
        "pooling": [StrOptions({"mean", "all"})],
        "n_pictures": [Interval(numbers.Integral, 2, None, closed="left")],
        "size": [Interval(numbers.Integral, 32, None, closed="left")],
        "alpha": [Interval(numbers.Real, 0, None, closed="neither")],
        "tie_weight": [Interval(numbers.Real, 0, None, closed="left")],
        "tol": [Interval(numbers.Real, 0, None, closed="neither")],
        "random_state": [Interval(numbers.Integral, 0, None, closed="left")],
    }

    def __init__(
        self,
        map=None,
        *,
        pooling="all",
        n_pictures=48,
        size=128,
        alpha=1e-4,
        tie_weight=0.01,
        tol=1e-5,
        random_state=0,
    ):
        self.map = map
        self.pooling = pooling
        self.n_pictures = n_pictures
        self.size = size
        self.alpha = alpha
        self.tie_weight = tie_weight
        self.tol = tol
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, images=None, y=None):
        """Learn the weights from versions of pictures whose order is known.

        Parameters
        ----------
        images : list of array-like of shape (height, width, 3), or of path, default=None
            Clean pictures, at least `size` pixels high and wide; dead leaves by default.
        y : object, default=None
            Ignored.

        Returns
        -------
        self
            The fitted scorer.

        Raises
        ------
        ValueError
            If a picture is too small or cannot be read, or the map orders nothing.

        Warns
        -----
        ConvergenceWarning
            If the solver stays above `tol`.
        """
        self._use_map(self.map)
        engine = DistortionEngine(self.channel_names_)
        items = None if images is None else check_images(images)[0]
        made, pooled = [], []
        for index in range(self.n_pictures):
            seed = [self.random_state, index]
            picture = draw_content(items, self.size, np.random.default_rng(seed))
            versions = make_ranked_versions(picture, engine, random_state=seed)
            pooled += [self._pool(image, picture, "flat") for image in versions.images]
            made.append((versions.amounts, np.full(len(versions.amounts), index), versions.ladders))
        amounts, scenes, ladders = map(np.concatenate, zip(*made, strict=True))
        features = self._features(np.array(pooled))
        counts = _counts(self.channel_names_)
        used = features[:, counts]
        pairs = list_pairs(amounts, scenes, ladders)
        found = fit_additive(used.reshape(len(used), -1), amounts, pairs, self.alpha, self.tie_weight, self.tol)
        self.weights_ = np.zeros(features.shape[1:])
        self.weights_[counts] = found.weights.reshape(used.shape[1:])
        self.optimality_, self.n_iter_ = found.optimality, found.n_iter
        return self

    @classmethod
    def pretrained(cls, map="classical"):
        """Give a scorer that comes with the package.

        Parameters
        ----------
        map : {"classical", "network"}, default="classical"
            What it reads: the shipped :class:`ClassicalRelationalMap`, or the shipped :class:`RelationalMapNet`, which
            is better and needs PyTorch.

        Returns
        -------
        RelationalScorer
            Fitted with that map, on dead leaves, by ``python benchmarks/fit_relational.py``.

        Raises
        ------
        ValueError
            If there is no such map.
        ImportError
            If PyTorch is needed and not there.
        """
        if map not in PRETRAINED:
            raise ValueError(f"map must be one of {', '.join(PRETRAINED)}; got {map!r}.")
        file = resources.files("patchdistill.relational") / "data" / f"scorer_{map}.json"
        return cls.from_dict(json.loads(file.read_text(encoding="utf-8")), PRETRAINED[map]())

    @classmethod
    def from_dict(cls, state, map=None):
        """Make a scorer from what :meth:`to_dict` gave.

        Parameters
        ----------
        state : dict
            Parameters and weights.
        map : estimator, default=None
            What predicts maps; by default the pre-fitted :class:`ClassicalRelationalMap`.

        Returns
        -------
        RelationalScorer
            The fitted scorer.

        Raises
        ------
        ValueError
            If the map has other channels than the one that the weights were learned with.
        """
        scorer = cls(map, **state["parameters"])
        scorer._use_map(map)
        if tuple(state["channels"]) != scorer.channel_names_:
            raise ValueError(
                f"These weights belong to the channels {', '.join(state['channels'])}, but the map predicts "
                f"{', '.join(scorer.channel_names_)}; fit a scorer with RelationalScorer(map).fit()."
            )
        scorer.weights_ = np.array(state["weights"], dtype=np.float64)
        scorer.optimality_, scorer.n_iter_ = state["optimality"], state["n_iter"]
        return scorer

    def to_dict(self):
        """Give all of a fitted scorer but its map, in types that JSON knows.

        Returns
        -------
        dict
            For :meth:`from_dict`.
        """
        check_is_fitted(self)
        parameters = {name: value for name, value in self.get_params(deep=False).items() if name != "map"}
        return {
            "channels": list(self.channel_names_),
            "parameters": parameters,
            "optimality": self.optimality_,
            "n_iter": self.n_iter_,
            "weights": self.weights_.tolist(),
        }

    def score(self, image, ref, geometry="flat"):
        """Score a picture.

        Parameters
        ----------
        image, ref : array-like of shape (height, width, 3)
            The picture and its reference, uint8 or float in [0, 1].
        geometry : {"flat", "panorama"}, default="flat"
            On a panorama (equirectangular) left and right border meet, and rows count by the cosine of their latitude.

        Returns
        -------
        float
            At most 0, and 0 for the reference; higher is better.
        """
        check_is_fitted(self)
        return self._score(self._pool(image, ref, geometry))

    def score_map(self, distortion_map, weights=None):
        """Score a distortion map that is already there.

        Parameters
        ----------
        distortion_map : array-like of shape (n_channels, h, w)
            What the map predicts.
        weights : array-like of shape (h, w), default=None
            How much each cell counts: :func:`~patchdistill.relational.pooling.cell_weights` gives what :meth:`score`
            takes. By default all alike.

        Returns
        -------
        float
            The score.

        Raises
        ------
        ValueError
            If there are more or fewer channels than in ``channel_names_``.
        """
        check_is_fitted(self)
        pooled = pool_map(distortion_map, weights)
        if len(pooled) != len(self.channel_names_):
            raise ValueError(
                f"The map has {len(pooled)} channels, but this scorer reads {len(self.channel_names_)}: "
                f"{', '.join(self.channel_names_)}."
            )
        return self._score(pooled)

    def compare(self, a, b, ref, *, ref_b=None, geometry="flat"):
        """Tell how much better one picture is than another.

        Parameters
        ----------
        a, b : array-like of shape (height, width, 3)
            Two pictures.
        ref : array-like of shape (height, width, 3)
            Reference of both.
        ref_b : array-like, default=None
            Reference of `b`, if it shows another scene than `a`. What is compared then is how much each lost of its
            own reference, not how good the references are.
        geometry : {"flat", "panorama"}, default="flat"
            As for :meth:`score`.

        Returns
        -------
        float
            The score of `a` less that of `b`: above 0 if `a` is better.
        """
        return self.score(a, ref, geometry) - self.score(b, ref if ref_b is None else ref_b, geometry)

    def rank(self, images, ref, geometry="flat"):
        """Order versions of a picture.

        Parameters
        ----------
        images : list of array-like of shape (height, width, 3), or of path
            The versions.
        ref : array-like of shape (height, width, 3)
            Their reference.
        geometry : {"flat", "panorama"}, default="flat"
            As for :meth:`score`.

        Returns
        -------
        order : ndarray of int, shape (n_images,)
            The versions, best first; equal ones in the order in which they came.
        scores : ndarray of float, shape (n_images,)
            Score of each, in the order in which they came.
        """
        items, _ = check_images(images)
        scores = np.array([self.score(load_image(item, i), ref, geometry) for i, item in enumerate(items)])
        return np.argsort(-scores, kind="stable"), scores

    def select_checkpoint(self, outputs, refs, geometry="flat", **options):
        """Choose the model that restores pictures best.

        Parameters
        ----------
        outputs : dict of str to list of array-like of shape (height, width, 3), or of path
            What each model, or each checkpoint of one, made of the same pictures.
        refs : list of array-like of shape (height, width, 3), or of path
            The pictures as they should be, in the same order.
        geometry : {"flat", "panorama"}, default="flat"
            As for :meth:`score`.
        **options : object
            Of the interval: `n_resamples`, `confidence` and `random_state` of
            :func:`~patchdistill.relational.checkpoints.choose_checkpoint`.

        Returns
        -------
        CheckpointChoice
            The best one, mean scores, and whether its lead over the second is clear.

        Raises
        ------
        ValueError
            If there are fewer than two models or pictures, or a model has not one output for each reference.
        """
        refs, _ = check_images(refs)
        outputs = {name: check_images(made)[0] for name, made in outputs.items()}
        scores = {name: np.empty(len(refs)) for name in outputs}
        for name, made in outputs.items():
            if len(made) != len(refs):
                raise ValueError(f"{name!r} has {len(made)} pictures, but there are {len(refs)} references.")
        for i, item in enumerate(refs):
            ref = load_image(item, i)
            for name, made in outputs.items():
                scores[name][i] = self.score(load_image(made[i], i), ref, geometry)
        return choose_checkpoint(scores, **options)

    def _use_map(self, map):
        self.map_ = PRETRAINED["classical"]() if map is None else map
        self.channel_names_ = tuple(self.map_.channel_names_)

    def _pool(self, image, ref, geometry):
        distortion_map = self.map_.predict_map(image, ref, geometry=geometry)
        return pool_map(distortion_map, cell_weights(*np.shape(ref)[:2], geometry))

    def _score(self, pooled):
        return 0.0 - float((self.weights_ * self._features(pooled)).sum())

    def _features(self, pooled):
        """Numbers that are weighed: (..., n_channels, 2, n_features)."""
        if self.pooling == "mean":
            return pooled[..., :1]
        return bend(pooled).reshape(*pooled.shape[:-1], -1)


def _pretrained_network():
    from patchdistill.relational import RelationalMapNet  # needs PyTorch

    return RelationalMapNet.pretrained()


# The maps that come with the package.
PRETRAINED = {"classical": ClassicalRelationalMap.pretrained, "network": _pretrained_network}


def _counts(channel_names):
    """Tell which directions of which channels are distortions."""
    return np.array([[True, CHANNELS[name].signed] for name in channel_names])
