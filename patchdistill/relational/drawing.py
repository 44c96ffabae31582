"""What is done to a picture, and how it is drawn."""

import numbers
from dataclasses import asdict, dataclass, replace

from patchdistill.relational.channels import FULL12, check_channels
from patchdistill.relational.masks import KINDS, draw_kind

# A version is the picture itself this often. Levels are at least this share of the highest one.
_CLEAN = 0.1
_SMALLEST_SHARE = 0.1


@dataclass(frozen=True)
class Operation:
    """One change of a picture, all of it: engines of the same parameters make the same bytes of it.

    Attributes
    ----------
    channel : str
        What is changed.
    level : float
        How much, where the mask is 1: in [-1, 1].
    mask : {"full", "field", "box", "half", "ramp"}
        Kind of the mask.
    seed : int
        Of the mask and of the operator.
    """

    channel: str
    level: float
    mask: str = "full"
    seed: int = 0

    def __post_init__(self):
        check_channels([self.channel])
        if not (isinstance(self.level, numbers.Real) and -1 <= self.level <= 1):
            raise ValueError(f"Levels lie in [-1, 1]; got {self.level!r}.")
        if self.mask not in KINDS:
            raise ValueError(f"mask must be one of {', '.join(map(repr, KINDS))}; got {self.mask!r}.")
        if not (isinstance(self.seed, numbers.Integral) and self.seed >= 0):
            raise ValueError(f"seed must be an int of at least 0; got {self.seed!r}.")

    def to_dict(self):
        """Give what JSON can hold; ``Operation(**d)`` is the way back.

        Returns
        -------
        dict
            The attributes.
        """
        return asdict(self) | {"level": float(self.level), "seed": int(self.seed)}


def draw_operations(ranges, max_ops, masks, order, rng):
    """Draw what is done to one version of a picture.

    Parameters
    ----------
    ranges : dict of str to (float, float)
        Lowest and highest level of each channel.
    max_ops : int
        Most operations.
    masks : str
        See :func:`patchdistill.relational.masks.check_masks`.
    order : {"isp", "random"}
        Whether they come in the order of a camera.
    rng : Generator
        What draws.

    Returns
    -------
    list of Operation
        None at all in a tenth of the cases, otherwise each number up to `max_ops` equally often; no channel twice.
    """
    if rng.random() < _CLEAN:
        return []
    names = list(ranges)
    n_ops = int(rng.integers(1, min(max_ops, len(names)) + 1))
    drawn = [names[i] for i in rng.permutation(len(names))[:n_ops]]
    if order == "isp":
        drawn.sort(key=FULL12.index)
    ops = []
    for name in drawn:
        low, high = ranges[name]
        level = _draw_level(high if rng.random() < 0.5 or not low else low, rng)
        ops.append(Operation(name, level, draw_kind(masks, rng), int(rng.integers(2**31))))
    return ops


def vary_operations(ops, ranges, rng):
    """Draw other levels, of the same sign, for the same operations.

    Parameters
    ----------
    ops : list of Operation
        Operations; their masks and seeds stay.
    ranges, rng : dict, Generator
        As for :func:`draw_operations`.

    Returns
    -------
    list of Operation
        More or less of the same.
    """
    return [replace(op, level=_draw_level(ranges[op.channel][op.level > 0], rng)) for op in ops]


def _draw_level(extreme, rng):
    return float(rng.uniform(_SMALLEST_SHARE, 1)) * extreme
