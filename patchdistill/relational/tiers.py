"""Versions of pictures whose order is known: what scores of quality learn from and are tested on, without opinions."""

import itertools
from dataclasses import dataclass

import numpy as np

from patchdistill.relational.masks import draw_kind, make_mask

# What can be compared: steps of one ladder, versions of one picture, versions of two pictures.
PAIR_KINDS = ("ladder", "tiers", "scenes")

# Steps of a ladder, as shares of the highest level, and the calibrated levels of the tiers.
STEPS = (0.25, 0.5, 0.75, 1.0)
TIERS = (0.1, 0.2, 0.35, 0.6)

_MAX_CHANNELS = 3


@dataclass(frozen=True)
class RankedVersions:
    """Versions of one picture whose order is known.

    Attributes
    ----------
    images : list of ndarray of float32, shape (height, width, 3)
        The versions.
    amounts : ndarray of shape (n_versions,)
        How much each is distorted: the mean over the picture of the sum of its absolute labels, in calibrated levels.
        This is what "worse" means here; it is no opinion of people.
    ladders : ndarray of int, shape (n_versions,)
        Which ladder each is a step of; -1 for the versions of mixed type.
    """

    images: list
    amounts: np.ndarray
    ladders: np.ndarray


def make_ranked_versions(picture, engine, *, n_ladders=2, n_types=4, random_state=0):
    """Make versions of a picture whose order is known.

    On a ladder the types of distortion and the place stay, and the level grows: every step is worse than the one
    before, in each pixel. A tier holds versions of one level and different types: one to three channels that share the
    level evenly. All tiers of a picture have the same place. Types are drawn at random, mixes of every number of
    channels equally often.

    Parameters
    ----------
    picture : ndarray of shape (height, width, 3)
        The picture, uint8 or float in [0, 1].
    engine : DistortionEngine
        Distorts it, and decides on the channels and the masks.
    n_ladders : int, default=2
        Ladders, of four steps: a quarter, a half, three quarters and all of the highest level of their type.
    n_types : int, default=4
        Versions in each of the four tiers, of levels 0.1, 0.2, 0.35 and 0.6; fewer where fewer types reach the level.
    random_state : int or sequence of int, default=0
        Seed.

    Returns
    -------
    RankedVersions
        ``4 * n_ladders`` steps and at most ``4 * n_types`` versions of mixed type.

    See Also
    --------
    list_pairs : What can be compared in them.

    Examples
    --------
    >>> from patchdistill.datasets import dead_leaves
    >>> from patchdistill.relational import DistortionEngine
    >>> from patchdistill.relational.tiers import make_ranked_versions
    >>> engine = DistortionEngine(["noise", "blockiness"], masks="full", severity="strength")
    >>> make_ranked_versions(dead_leaves(48), engine, n_ladders=1, n_types=2).amounts.round(2)
    array([0.25, 0.5 , 0.75, 1.  , 0.1 , 0.1 , 0.2 , 0.2 , 0.35, 0.35, 0.6 ,
           0.6 ])
    """
    rng = np.random.default_rng(random_state)
    lowest, highest = np.transpose([engine.level_range(name) for name in engine.channel_names_])
    types = _list_types(lowest, highest)
    images, amounts, ladders = [], [], []

    def add(levels, mask, seed, ladder):
        image, label, _ = engine.apply(picture, np.clip(levels, lowest, highest), mask, np.random.default_rng(seed))
        images.append(image)
        amounts.append(float(np.abs(label).sum(axis=0).mean(dtype=np.float64)))
        ladders.append(ladder)

    def draw_mask():
        kind = draw_kind(engine.masks, rng)
        return make_mask(kind, *np.shape(picture)[:2], rng, on_sphere=engine.geometry != "flat")

    for ladder in range(n_ladders):
        type_, mask, seed = _draw_types(types, 1, rng)[0], draw_mask(), _draw_seed(rng)
        top = _highest_levels(type_, lowest, highest)
        for step in STEPS:
            add(step * top * type_, mask, seed, ladder)
    mask = draw_mask()
    for level in TIERS:
        reachable = types[_highest_levels(types, lowest, highest) >= level]
        for type_ in _draw_types(reachable, n_types, rng):
            add(level * type_, mask, _draw_seed(rng), -1)
    return RankedVersions(images, np.array(amounts), np.array(ladders))


def _list_types(lowest, highest):
    """List all mixes of up to three channels, as shares of the level: (n_types, n_channels)."""
    sides = [(k, sign) for k in range(len(lowest)) for sign, end in ((1, highest[k]), (-1, lowest[k])) if end]
    types = []
    for size in range(1, _MAX_CHANNELS + 1):
        for mix in itertools.combinations(sides, size):
            channels, signs = zip(*mix, strict=True)
            if len(set(channels)) == size:
                types.append(np.zeros(len(lowest)))
                types[-1][list(channels)] = np.divide(signs, size)
    return np.array(types)


def _highest_levels(types, lowest, highest):
    """Give the level that each type can reach, at most 1."""
    ends = np.where(types < 0, -lowest, highest)
    reach = np.divide(ends, np.abs(types), out=np.ones(types.shape), where=types != 0)
    return np.minimum(reach.min(axis=-1), 1)


def _draw_types(types, n, rng):
    """Draw different types, or all if there are fewer; mixes of each number of channels are equally likely."""
    sizes = np.count_nonzero(types, axis=1)
    # The first of exponential clocks, each as fast as the chance of its type (Efraimidis and Spirakis, 2006).
    clocks = rng.exponential(size=len(types)) * np.bincount(sizes)[sizes]
    return types[np.argsort(clocks)[:n]]


def _draw_seed(rng):
    return int(rng.integers(2**32))


def list_pairs(amounts, scenes, ladders):
    """List the pairs of versions that can be compared.

    Parameters
    ----------
    amounts : ndarray of shape (n_versions,)
        How much each version is distorted.
    scenes : ndarray of int, shape (n_versions,)
        Which picture it is a version of.
    ladders : ndarray of int, shape (n_versions,)
        Which ladder of its picture it is a step of; -1 for versions of mixed type.

    Returns
    -------
    dict of str to ndarray of int, shape (n_pairs, 2)
        ``"ladder"``: steps of one ladder. ``"tiers"``: versions of mixed type of one picture. ``"scenes"``: versions
        of mixed type of two pictures. In no pair the second version is the less distorted one.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.relational.tiers import list_pairs
    >>> amounts, scenes = np.array([0.5, 0.25, 0.3, 0.2]), np.array([0, 0, 0, 1])
    >>> pairs = list_pairs(amounts, scenes, ladders=np.array([0, 0, -1, -1]))
    >>> pairs["ladder"].tolist(), pairs["tiers"].tolist(), pairs["scenes"].tolist()
    ([[1, 0]], [], [[3, 2]])
    """
    pairs = np.stack(np.triu_indices(len(amounts), 1), axis=1)
    pairs = np.where((amounts[pairs[:, 0]] > amounts[pairs[:, 1]])[:, None], pairs[:, ::-1], pairs)
    same_scene, same_ladder = (np.equal(*values[pairs].T) for values in (scenes, ladders))
    mixed, steps = (ladders[pairs] < 0).all(axis=1), (ladders[pairs] >= 0).all(axis=1)
    chosen = (steps & same_scene & same_ladder, mixed & same_scene, mixed & ~same_scene)
    return {kind: pairs[where] for kind, where in zip(PAIR_KINDS, chosen, strict=True)}
