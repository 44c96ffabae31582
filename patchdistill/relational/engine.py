"""Distort pictures, and say at every pixel what was done to it."""

import numbers
from dataclasses import dataclass

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from patchdistill._compat import Interval, StrOptions
from patchdistill.images import check_images, check_pixels, load_image
from patchdistill.relational.channels import FULL12, check_channels
from patchdistill.relational.drawing import draw_operations, vary_operations
from patchdistill.relational.masks import check_masks, expand_masks, make_mask
from patchdistill.relational.operators import CODECS, FILTERS, NOISES, operator_of
from patchdistill.relational.operators.filters import GEOMETRIES, noise_gain
from patchdistill.relational.severity import SEVERITIES, highest_level, to_level, to_strength

ORDERS = ("isp", "random")

# The second version of a sample is this often the first one with more or less of the same.
_SAME = 0.25

# Values that rounding alone carries beyond [0, 1] are not clipped.
_TOLERANCE = 1e-4


@dataclass(frozen=True)
class RelationalSample:
    """Two versions of a picture, and what tells them apart.

    Attributes
    ----------
    a, b : ndarray of float32, shape (height, width, 3)
        The versions, in [0, 1].
    s_a, s_b : ndarray of float32, shape (n_channels, height, width)
        What was done to each, in levels.
    ops_a, ops_b : list of Operation
        How to do it again.
    valid : ndarray of bool, shape (height, width)
        False where a value of either version was clipped: there the labels say more than the picture shows.
    """

    a: np.ndarray
    b: np.ndarray
    s_a: np.ndarray
    s_b: np.ndarray
    ops_a: list
    ops_b: list
    valid: np.ndarray

    @property
    def label(self):
        """How much more of each channel `a` has than `b`: ``s_a - s_b``."""
        return self.s_a - self.s_b


class DistortionEngine(TransformerMixin, BaseEstimator):
    """Make pictures worse, and label what was done: which channel, where, how much and in which direction.

    Labels are levels. They form an algebra: with ``D(a, b) = S(a) - S(b)``, ``D(b, a) = -D(a, b)`` and ``D(a, c) =
    D(a, b) + D(b, c)`` exactly. Levels are calibrated, so that a level of one channel does the same harm as that of
    another (on the average picture; see `severity`).

    =============  ========  =====================================================================================
    Channel        Sign      What is done at strength s
    =============  ========  =====================================================================================
    exposure       + and -   0.25 s is added
    contrast       + and -   luma is multiplied by exp(0.8 s) about its Gaussian mean of 20 pixels
    saturation     + and -   color is multiplied by exp(s) about luma
    temperature    + and -   red is multiplied by exp(0.3 s), blue by exp(-0.3 s); luma stays
    hue            + and -   colors turn by 60 s degrees in CIELAB
    sharpness      + and -   below 0 Gaussian blur of 3 abs(s) pixels, above 0 unsharp mask (2.5 s, 1.2 pixels)
    motion blur    +         mean along a line of 14 s pixels
    shot noise     +         Poisson counts, standard deviation 0.12 s at white
    noise          +         white noise of standard deviation 0.12 s
    chroma noise   +         the same in both color differences
    banding        +         values are pulled towards multiples of 1/4; at s = 1 nothing lies between them
    blockiness     +         quantized blocks of 8 x 8 pixels, or a real encoder (`codec`)
    =============  ========  =====================================================================================

    Parameters
    ----------
    channels : {"core6", "full12"} or sequence of str, default="core6"
        What is changed: exposure, contrast, saturation, sharpness, noise and blockiness; all twelve; or those named.
    max_ops : int, default=3
        Most channels that change in one version.
    masks : {"mixed", "full", "field", "box", "half", "ramp"}, default="mixed"
        Where: over the full frame in 30 % of all cases, where a smooth random field is high in 40 %, in a box or on
        one side of a line in 15 %, more and more towards one side in 15 %; or always one of these.
    order : {"isp", "random"}, default="isp"
        Which change comes first: that of the table, which is the order in a camera and leaves every label true, or a
        random one. There, what later blur or sharpening does to earlier noise is done to its label.
    severity : {"calibrated", "strength"}, default="calibrated"
        What a level is: the strength with which the channel does as much harm as others at this level, or the
        strength itself.
    codec : {"dct", "jpeg", "jpeg2000"}, default="dct"
        What makes blockiness: rounded block transforms, or an encoder of Pillow. JPEG 2000 leaves no blocks, but rings
        and blur: a map that learns from it finds compression rather than blocks.
    geometry : {"flat", "panorama", "sphere"}, default="flat"
        Whether borders are borders; or left and right meet and masks are shapes on the sphere; or blur and grain are as
        wide as on the sphere, too, so that flat views of it are equally bad wherever they look.
    random_state : int, RandomState instance or None, default=None
        Draws what is done. With an int, sample `index` of a picture is always the same.

    Attributes
    ----------
    channel_names_ : tuple of str
        Names of the channels, in the order of the labels (property).

    See Also
    --------
    RelationalPairs : The samples as a torch data set.
    patchdistill.datasets.dead_leaves : Pictures to distort, without any file.

    References
    ----------
    After "Pixel Perfect: Relational Image Quality Assessment with Spatially-Aware Distortions", arXiv 2605.02863. The
    channels, their operators and the calibration are this package's.

    Examples
    --------
    >>> from patchdistill.datasets import dead_leaves
    >>> from patchdistill.relational import DistortionEngine
    >>> engine = DistortionEngine(random_state=0)
    >>> sample = engine.sample(dead_leaves(64))
    >>> sample.a.shape, sample.label.shape
    ((64, 64, 3), (6, 64, 64))
    >>> bool((engine.replay(dead_leaves(64), sample.ops_a)[0] == sample.a).all())
    True
    """

    _parameter_constraints = {
        "channels": [str, list, tuple],
        "max_ops": [Interval(numbers.Integral, 1, None, closed="left")],
        "masks": [str],
        "order": [StrOptions(set(ORDERS))],
        "severity": [StrOptions(set(SEVERITIES))],
        "codec": [StrOptions(set(CODECS))],
        "geometry": [StrOptions(set(GEOMETRIES))],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        channels="core6",
        *,
        max_ops=3,
        masks="mixed",
        order="isp",
        severity="calibrated",
        codec="dct",
        geometry="flat",
        random_state=None,
    ):
        self.channels = channels
        self.max_ops = max_ops
        self.masks = masks
        self.order = order
        self.severity = severity
        self.codec = codec
        self.geometry = geometry
        self.random_state = random_state

    @property
    def channel_names_(self):
        """Names of the channels, in the order of the labels."""
        return check_channels(self.channels)

    def sample(self, ref, index=0):
        """Make two versions of a picture.

        Parameters
        ----------
        ref : array-like of shape (height, width, 3)
            The picture: uint8 in [0, 255], or float in [0, 1].
        index : int, default=0
            Which of the samples; each is another one.

        Returns
        -------
        RelationalSample
            The versions and their labels.

        Raises
        ------
        ValueError
            If `ref` is no color picture, or a parameter is not valid.
        """
        ref = self._check(ref)
        rng = self._generator(index)
        ops_a = self._draw(rng)
        ops_b = vary_operations(ops_a, self._ranges(), rng) if rng.random() < _SAME else self._draw(rng)
        (a, s_a, valid_a), (b, s_b, valid_b) = self._replay(ref, ops_a), self._replay(ref, ops_b)
        return RelationalSample(a, b, s_a, s_b, ops_a, ops_b, valid_a & valid_b)

    def transform(self, X):
        """Make one version of each picture.

        Parameters
        ----------
        X : list of array-like of shape (height, width, 3), list of path, or array of shape (n_images, height, width, 3)
            The pictures.

        Returns
        -------
        list of ndarray of float32, shape (height, width, 3)
            The versions, in [0, 1]; the first ones of the samples with the pictures' positions as `index`.
        """
        items, _ = check_images(X)
        versions = []
        for index, item in enumerate(items):
            picture = self._check(load_image(item, index))
            versions.append(self._replay(picture, self._draw(self._generator(index)))[0])
        return versions

    def fit(self, X=None, y=None):
        """Check the parameters; nothing is learned.

        Parameters
        ----------
        X, y : None
            Not used.

        Returns
        -------
        DistortionEngine
            Itself.
        """
        self._validate()
        return self

    def replay(self, ref, ops):
        """Do the same again.

        Parameters
        ----------
        ref : array-like of shape (height, width, 3)
            The picture.
        ops : sequence of Operation
            What is done, in this order.

        Returns
        -------
        image : ndarray of float32, shape (height, width, 3)
            The version, in [0, 1]; the picture itself if there are no operations.
        label : ndarray of float32, shape (n_channels, height, width)
            What was done, in levels.
        valid : ndarray of bool, shape (height, width)
            False where a value was clipped.
        """
        ref = self._check(ref)
        for op in ops:
            self._check_level(op.channel, op.level)
        return self._replay(ref, ops)

    def _replay(self, ref, ops):
        """Replay on a picture that is checked, what is known to be in range."""
        on_sphere = self.geometry != "flat"
        changes = [
            (
                op.channel,
                op.level,
                make_mask(op.mask, *ref.shape[:2], np.random.default_rng([op.seed, 0]), on_sphere),
                np.random.default_rng([op.seed, 1]),
            )
            for op in ops
        ]
        return self._run(ref, changes)

    def apply(self, ref, amplitudes, masks=None, rng=None):
        """Change a picture by given amounts at given places.

        Parameters
        ----------
        ref : array-like of shape (height, width, 3)
            The picture.
        amplitudes : array-like of shape (n_channels,)
            Level of each channel; at 0 nothing is done. What the highest ones are, :meth:`level_range` says.
        masks : array-like of shape (n_channels, height, width) or (height, width), default=None
            What each level is multiplied with at every pixel, in [0, 1]; everywhere 1 by default.
        rng : Generator, default=None
            Draws noise, and the order if that is random; a new one of seed 0 by default.

        Returns
        -------
        image, label, valid
            As :meth:`replay`.

        Raises
        ------
        ValueError
            If a level or a mask is out of range, or the shapes do not fit.
        """
        ref = self._check(ref)
        names = self.channel_names_
        rng = np.random.default_rng(0) if rng is None else rng
        amplitudes = np.asarray(amplitudes, dtype=float)
        if amplitudes.shape != (len(names),):
            raise ValueError(
                f"amplitudes must hold one level for each of the {len(names)} channels; got shape {amplitudes.shape}."
            )
        for name, level in zip(names, amplitudes, strict=True):
            self._check_level(name, level)
        masks = expand_masks(masks, len(names), ref.shape[:2])
        order = [name for name in FULL12 if name in names]
        if self.order == "random":
            order = [order[i] for i in rng.permutation(len(order))]
        # Every channel has a stream of its own: its noise does not depend on what else is done.
        seeds = dict(zip(FULL12, rng.integers(2**63, size=len(FULL12)), strict=True))
        changes = [
            (name, amplitudes[row], masks[row], np.random.default_rng(seeds[name]))
            for name in order
            if amplitudes[row := names.index(name)] != 0
        ]
        return self._run(ref, changes)

    def level_range(self, channel):
        """Give the lowest and the highest level of a channel.

        Parameters
        ----------
        channel : str
            Its name.

        Returns
        -------
        low, high : float
            Within [-1, 1]; `low` is 0 for a channel that has no negative side.

        Examples
        --------
        >>> from patchdistill.relational import DistortionEngine
        >>> DistortionEngine(severity="strength").level_range("noise")
        (0.0, 1.0)
        """
        self._row(channel)
        low, high = (highest_level(channel, side, self.codec, self.severity) for side in "-+")
        return 0.0 - low, high

    def _run(self, ref, changes):
        """Apply (channel, level, mask, generator) one after the other."""
        image = ref
        label = np.zeros((len(self.channel_names_), *ref.shape[:2]), dtype=np.float32)
        valid = np.ones(ref.shape[:2], dtype=bool)
        for channel, level, mask, rng in changes:
            row = self._row(channel)
            levels = np.float32(level) * mask
            # One number where it can be: nothing has to be interpolated then.
            of_operator = levels.flat[0] if (mask == mask.flat[0]).all() else levels
            strength = to_strength(of_operator, channel, self.codec, self.severity)
            image = operator_of(channel, self.codec)(image, strength, rng, self.geometry)
            valid &= ((image > -_TOLERANCE) & (image < 1 + _TOLERANCE)).all(axis=2)
            image = np.clip(image, 0, 1, dtype=np.float32)
            if channel in FILTERS:
                self._filter_noise_labels(label, noise_gain(channel, strength))
            label[row] += levels
        return image, np.clip(label, -1, 1), valid

    def _filter_noise_labels(self, label, gain):
        """Take from the labels of earlier noise what a filter takes from the noise."""
        for row, name in enumerate(self.channel_names_):
            if name in NOISES and label[row].any():
                left = gain * to_strength(label[row], name, self.codec, self.severity)
                label[row] = to_level(left, name, self.codec, self.severity)

    def _check_level(self, channel, level):
        low, high = self.level_range(channel)
        if not low <= level <= high:
            raise ValueError(f"Levels of {channel} lie in [{low:g}, {high:g}]; got {level:g}.")

    def _row(self, channel):
        names = self.channel_names_
        if channel not in names:
            raise ValueError(f"This engine has no channel {channel!r}; its channels are {', '.join(names)}.")
        return names.index(channel)

    def _draw(self, rng):
        return draw_operations(self._ranges(), self.max_ops, self.masks, self.order, rng)

    def _ranges(self):
        return {name: self.level_range(name) for name in self.channel_names_}

    def _generator(self, index):
        seed = self.random_state
        if isinstance(seed, numbers.Integral):
            return np.random.default_rng([seed, index])
        if seed is None:
            return np.random.default_rng()
        return np.random.default_rng(seed.randint(2**31))

    def _check(self, picture):
        self._validate()
        picture = check_pixels(picture, 0)
        return picture / np.float32(255) if picture.dtype == np.uint8 else picture.astype(np.float32)

    def _validate(self):
        self._validate_params()
        check_channels(self.channels)
        check_masks(self.masks)
