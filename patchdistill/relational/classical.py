"""Maps of what changed between two versions of a picture, without any network."""

import numbers
from importlib.resources import as_file, files

import numpy as np
from joblib import Parallel, delayed
from sklearn.base import BaseEstimator, clone
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from patchdistill._compat import Interval
from patchdistill.images import check_images
from patchdistill.relational.channels import CELL, SETS, check_channels
from patchdistill.relational.content import draw_content
from patchdistill.relational.engine import DistortionEngine
from patchdistill.relational.features import EVEN, HALO, ODD, cell_mean, pair_features, wide
from patchdistill.relational.tiles import check_pair, map_tiles

# Features are clipped at so many standard deviations: an unusual picture must not lead far beyond what was learned.
_CLIP = 3.0

# Cells of which at least half of the pixels are valid are learned from.
_VALID = 0.5


class ClassicalRelationalMap(BaseEstimator):
    """Signed maps of what changed between a picture and its reference, from features and a ridge regression.

    In each cell of 8 x 8 pixels, odd features (they change sign with the order of the two pictures) are multiplied by
    even ones (they do not), and summed with weights that are learned from pictures distorted by a
    :class:`DistortionEngine`. So ``D(b, a) == -D(a, b)`` and ``D(a, a) == 0`` to the last bit, whatever the pictures
    and whatever was learned.

    Parameters
    ----------
    engine : DistortionEngine, default=None
        Makes the pairs to learn from, and says which channels there are; one with the six core channels by default.
    n_pairs : int, default=800
        Number of pairs.
    size : int, default=128
        Side of the pictures, or crops of pictures, that are distorted, in pixels.
    alpha : float, default=0.03
        Ridge penalty, relative to the mean square of the standardized features.
    n_jobs : int, default=None
        Pictures, or parts of one, worked on at the same time; see joblib.
    random_state : int, RandomState instance or None, default=0
        Draws pictures and crops; distortions are drawn by the engine if that has a `random_state`, and by this one
        otherwise.

    Attributes
    ----------
    channel_names_ : tuple of str
        The channels of a map.
    coef_ : ndarray of float32, shape (n_channels, n_products)
        Weights of the products.
    scale_ : dict of str to ndarray
        ``odd``: what odd features are divided by; ``even_mean`` and ``even``: what is taken from even ones, and what
        they are divided by then.

    See Also
    --------
    RelationalMapNet : The same by a network.
    RelationalScorer : One number from a map.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.datasets import dead_leaves
    >>> from patchdistill.relational import ClassicalRelationalMap
    >>> model = ClassicalRelationalMap.pretrained()
    >>> reference = dead_leaves(64) / 255
    >>> noisy = np.clip(reference + np.random.default_rng(0).normal(0, 0.06, reference.shape), 0, 1)
    >>> change = model.predict_map(noisy, reference)
    >>> change.shape
    (6, 8, 8)
    >>> model.channel_names_[change.mean(axis=(1, 2)).argmax()]
    'noise'
    """

    _parameter_constraints = {
        "engine": [DistortionEngine, None],
        "n_pairs": [Interval(numbers.Integral, 1, None, closed="left")],
        "size": [Interval(numbers.Integral, 32, None, closed="left")],
        "alpha": [Interval(numbers.Real, 0, None, closed="neither")],
        "n_jobs": [numbers.Integral, None],
        "random_state": ["random_state"],
    }

    def __init__(self, engine=None, *, n_pairs=800, size=128, alpha=0.03, n_jobs=None, random_state=0):
        self.engine = engine
        self.n_pairs = n_pairs
        self.size = size
        self.alpha = alpha
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(self, images=None, y=None):
        """Learn from pictures that are distorted on the way.

        Parameters
        ----------
        images : list of array-like of shape (height, width, 3), list of path, or None, default=None
            Clean pictures, at least `size` pixels high and wide; dead leaves by default.
        y : None
            Not used.

        Returns
        -------
        ClassicalRelationalMap
            Itself.

        Raises
        ------
        ValueError
            If a picture is too small or cannot be read, or a parameter is not valid.
        """
        self._validate_params()
        items = None if images is None else check_images(images)[0]
        rng = check_random_state(self.random_state)
        seeds = rng.randint(2**31, size=self.n_pairs)
        engine = self._seeded_engine(rng)
        pairs = Parallel(n_jobs=self.n_jobs)(delayed(_make_pair)(engine, items, self.size, int(seed)) for seed in seeds)
        if not any(valid.any() for *_, valid in pairs):
            raise ValueError("Every cell of every pair was clipped; pass pictures that are not all black and white.")
        self.channel_names_ = engine.channel_names_
        self.scale_ = _scales([pair[0] for pair in pairs], [pair[1] for pair in pairs])
        self.coef_ = self._solve(pairs)
        return self

    def predict_map(self, a, ref, geometry="flat"):
        """Map what changed.

        Parameters
        ----------
        a, ref : array-like of shape (height, width, 3)
            The picture and its reference: uint8 in [0, 255], or float in [0, 1]; at least 32 pixels high and wide.
        geometry : {"flat", "panorama"}, default="flat"
            Whether left and right border are neighbors.

        Returns
        -------
        ndarray of float32, shape (n_channels, ceil(height / 8), ceil(width / 8))
            How much more of each channel the picture has than its reference, in [-1, 1].

        Raises
        ------
        ValueError
            If one of the two is no color picture, their sizes differ, or they are too small.
        """
        check_is_fitted(self)
        a, ref = check_pair(a, ref, geometry)
        return map_tiles(self._predict_tile, a, ref, geometry, HALO, self.n_jobs)

    def _seeded_engine(self, rng):
        """Give an engine whose samples depend on nothing but their index, on whichever worker they are made."""
        engine = DistortionEngine() if self.engine is None else clone(self.engine)
        if engine.random_state is None:
            engine.set_params(random_state=int(rng.randint(2**31)))
        elif not isinstance(engine.random_state, numbers.Integral):
            engine.set_params(random_state=int(engine.random_state.randint(2**31)))
        return engine

    def _predict_tile(self, a, ref):
        return evaluate(*pair_features(a, ref), self.scale_, self.coef_)

    @classmethod
    def pretrained(cls, channels="core6"):
        """Load what is shipped with the package, as ``python benchmarks/fit_relational.py`` made it.

        Parameters
        ----------
        channels : {"core6", "full12"}, default="core6"
            Which channels.

        Returns
        -------
        ClassicalRelationalMap
            Fitted on dead leaves.

        Raises
        ------
        ValueError
            If there is no such set.
        """
        if channels not in tuple(SETS):
            raise ValueError(f"There are maps of {' and '.join(map(repr, SETS))}; got channels={channels!r}.")
        with as_file(files("patchdistill.relational").joinpath(f"data/{channels}.npz")) as path:
            return cls.load(path)

    def save(self, path):
        """Write what was learned to a file.

        Parameters
        ----------
        path : str or path-like
            A file ending in ``.npz``: arrays, nothing that is executed.
        """
        check_is_fitted(self)
        np.savez_compressed(
            path,
            channel_names=self.channel_names_,
            coef=self.coef_,
            **{f"scale_{k}": v for k, v in self.scale_.items()},
        )

    @classmethod
    def load(cls, path):
        """Read what :meth:`save` wrote.

        Parameters
        ----------
        path : str or path-like
            The file.

        Returns
        -------
        ClassicalRelationalMap
            Fitted; its engine has its channels, the other parameters have their defaults.

        Raises
        ------
        ValueError
            If the file holds no such map, or one of other features.
        """
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        names = check_channels(map(str, arrays.get("channel_names", ())))
        shapes = {
            "coef": (len(names), len(ODD) * (2 + len(EVEN))),
            "scale_odd": (len(ODD), 1, 1),
            "scale_even": (len(EVEN), 1, 1),
            "scale_even_mean": (len(EVEN), 1, 1),
        }
        got = {key: arrays[key].shape for key in shapes if key in arrays}
        if got != shapes:
            raise ValueError(
                f"{path} holds arrays of shapes {got}, but a map of this version has {shapes}; fit it again."
            )
        model = cls(DistortionEngine(names))
        model.channel_names_ = names
        model.coef_ = arrays["coef"]
        model.scale_ = {key: arrays[f"scale_{key}"] for key in ("odd", "even", "even_mean")}
        return model

    def _solve(self, pairs):
        """Ridge regression on all products, from their Gram matrix."""
        gram, moment, n_cells = 0.0, 0.0, 0
        for odd, even, label, valid in pairs:
            X = _products(odd, even, self.scale_)[valid.ravel()].astype(np.float64)
            gram, moment, n_cells = gram + X.T @ X, moment + X.T @ label[:, valid].T, n_cells + len(X)
        scale = np.sqrt(gram.diagonal() / max(n_cells, 1)) + np.finfo(np.float32).tiny
        gram, moment = gram / np.outer(scale, scale), moment / scale[:, None]
        np.fill_diagonal(gram, gram.diagonal() + self.alpha * n_cells)
        return (np.linalg.solve(gram, moment) / scale[:, None]).T.astype(np.float32)


def evaluate(odd, even, scale, coef):
    """Weigh the products of odd and even features.

    Parameters
    ----------
    odd, even : ndarray or Tensor, shapes (..., n_odd, h, w) and (..., n_even, h, w)
        Of :func:`patchdistill.relational.features.pair_features`.
    scale : dict of str to ndarray or Tensor
        See :class:`ClassicalRelationalMap`.
    coef : ndarray or Tensor, shape (n_channels, n_products)
        Weights.

    Returns
    -------
    ndarray or Tensor, shape (..., n_channels, h, w)
        In [-1, 1].
    """
    odd, even = _standardize(odd, even, scale)
    *rest, n_odd, h, w = odd.shape
    n_even = even.shape[-3]
    around = wide(odd).reshape(*rest, n_odd, h * w)
    odd, even = odd.reshape(*rest, n_odd, h * w), even.reshape(*rest, n_even, h * w)
    maps = 0
    # One even feature after the other: all products at once would need a hundred times the memory of the map.
    for part, weight in [(odd, None), (around, None), *((odd, even[..., j, None, :]) for j in range(n_even))]:
        weights, coef = coef[:, :n_odd], coef[:, n_odd:]
        maps = maps + (weights @ part if weight is None else (weights @ part) * weight)
    return maps.reshape(*rest, -1, h, w).clip(-1, 1)


def _products(odd, even, scale):
    """Give the same products as columns: odd features, their surroundings, and odd times each even one."""
    odd, even = _standardize(odd, even, scale)
    parts = [odd, wide(odd), *(odd * plane for plane in even)]
    return np.concatenate([part.reshape(len(odd), -1) for part in parts]).T


def _standardize(odd, even, scale):
    odd = (odd / scale["odd"]).clip(-_CLIP, _CLIP)
    return odd, ((even - scale["even_mean"]) / scale["even"]).clip(-_CLIP, _CLIP)


def _scales(odd, even):
    odd, even = (np.stack(features).swapaxes(0, 1).reshape(features[0].shape[0], -1) for features in (odd, even))
    tiny = 1e-6  # a feature that never changes
    numbers_of = {
        "odd": np.sqrt((odd**2).mean(axis=1)) + tiny,
        "even_mean": even.mean(axis=1),
        "even": even.std(axis=1) + tiny,
    }
    return {name: values.astype(np.float32)[:, None, None] for name, values in numbers_of.items()}


def _make_pair(engine, items, size, seed):
    """Give features, labels and valid cells of one pair."""
    sample = engine.sample(draw_content(items, size, np.random.default_rng(seed)), seed)
    trimmed = (..., slice(size - size % CELL), slice(size - size % CELL))
    a, b = (np.ascontiguousarray(version.transpose(2, 0, 1)[trimmed]) for version in (sample.a, sample.b))
    label, valid = cell_mean(sample.label[trimmed]), cell_mean(sample.valid[trimmed].astype(np.float32)) >= _VALID
    return *pair_features(a, b), label, valid
