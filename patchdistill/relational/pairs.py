"""Distorted pairs with their maps, as PyTorch likes them: made when they are asked for, or once and held."""

import numbers

import numpy as np
import torch
from joblib import Parallel, delayed
from sklearn.base import clone
from torch.utils.data import Dataset

from patchdistill._compat import Interval, validate_parameter_constraints
from patchdistill.codecs import to_8_bits
from patchdistill.datasets.leaves import dead_leaves
from patchdistill.embedding.cache import digest
from patchdistill.images import check_images, is_path, load_image
from patchdistill.relational.channels import CELL
from patchdistill.relational.content import photograph
from patchdistill.relational.engine import DistortionEngine
from patchdistill.relational.features import cell_mean

# Crops that are taken from a picture before the next one: to read or paint it takes longer than to distort a crop.
_CROPS = 8

# Dead leaves are painted up to so many times larger than a crop, so that leaves and edges have all sizes.
_LARGEST = 4

# What draws a picture, and what draws the place of a crop.
_PICTURE, _PLACE = 0, 1


class RelationalPairs(Dataset):
    """Pairs of versions of a picture, with what one has more than the other in every cell: a data set of PyTorch.

    An item is made when it is asked for, from `random_state`, the epoch and its index alone: the same item has the same
    bytes in every process, whatever the number of workers.

    Parameters
    ----------
    pictures : list of array-like of shape (height, width, 3), list of path, or array, default=None
        What is distorted: uint8, or float in [0, 1], sides of at least `crop`. None paints dead leaves.
    engine : DistortionEngine, default=None
        What distorts; that of the default parameters by default. Its `random_state` is not used.
    crop : int, default=64
        Side of the pairs in pixels, a multiple of 8.
    n : int, default=4096
        Pairs per epoch.
    random_state : int, default=0
        Seed.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    See Also
    --------
    patchdistill.relational.pairs.HeldPairs : Keeps the items of one epoch.
    patchdistill.datasets.dead_leaves : The pictures.

    Notes
    -----
    Pictures are rounded to 8 bits, as files hold them.

    Examples
    --------
    >>> from patchdistill.relational.pairs import RelationalPairs
    >>> pairs = RelationalPairs(crop=32, n=2)
    >>> {name: tuple(tensor.shape) for name, tensor in pairs[1].items()}
    {'a': (3, 32, 32), 'b': (3, 32, 32), 'ref': (3, 32, 32), 'target': (6, 4, 4), 'target_ref': (6, 4, 4),
     'valid': (4, 4)}
    """

    _parameter_constraints = {
        "crop": [Interval(numbers.Integral, 32, None, closed="left")],
        "n": [Interval(numbers.Integral, 1, None, closed="left")],
        "random_state": [Interval(numbers.Integral, 0, None, closed="left")],
    }

    def __init__(self, pictures=None, engine=None, crop=64, n=4096, random_state=0):
        validate_parameter_constraints(
            self._parameter_constraints, {"crop": crop, "n": n, "random_state": random_state}, "RelationalPairs"
        )
        if crop % CELL:
            raise ValueError(f"crop={crop} is no multiple of {CELL}; use {crop - crop % CELL}.")
        self.pictures = None if pictures is None else check_images(pictures)[0]
        self.engine = clone(DistortionEngine() if engine is None else engine).set_params(random_state=random_state)
        self.crop = crop
        self.n = n
        self.random_state = random_state
        self.epoch = 0
        self._last = (None, None)

    @property
    def settings(self):
        """Give what decides the items, as JSON can hold it."""
        return {
            **self.engine.get_params(),
            "channels": list(self.engine.channel_names_),
            "pictures": self.pictures and [str(item) if is_path(item) else digest(item)[:16] for item in self.pictures],
            "crop": self.crop,
            "n": self.n,
        }

    def set_epoch(self, epoch):
        """Make all items anew.

        Parameters
        ----------
        epoch : int
            Number of the epoch, from 0.
        """
        self.epoch = epoch

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        """Make a pair.

        Parameters
        ----------
        i : int
            Its index.

        Returns
        -------
        dict of str to Tensor
            ``a``, ``b`` and ``ref`` (3, crop, crop): two versions and the clean picture, in [0, 1]. ``target`` and
            ``target_ref`` (n_channels, crop / 8, crop / 8): what `a` has more than `b`, and `b` more than `ref`; their
            sum is what `a` has more than `ref`. ``valid`` (crop / 8, crop / 8): share of pixels that were not clipped.
        """
        if not -self.n <= i < self.n:
            raise IndexError(f"There is no pair {i}; an epoch has {self.n}.")
        i = i % self.n
        picture = self._picture(i // _CROPS)
        spare = np.array(picture.shape[:2]) - self.crop
        top, left = self._generator(_PLACE, i).integers(0, spare + 1)
        ref = picture[top : top + self.crop, left : left + self.crop]
        sample = self.engine.sample(ref, index=self.epoch * self.n + i)
        return {
            "a": _picture_tensor(sample.a),
            "b": _picture_tensor(sample.b),
            "ref": _picture_tensor(ref),
            "target": torch.from_numpy(cell_mean(sample.s_a - sample.s_b)),
            "target_ref": torch.from_numpy(cell_mean(sample.s_b)),
            "valid": torch.from_numpy(cell_mean(sample.valid.astype(np.float32))),
        }

    def _picture(self, number):
        """Give the picture that a run of items is cut from."""
        held, picture = self._last
        if held != (self.epoch, number):
            picture = self._make_picture(number)
            self._last = (self.epoch, number), picture
        return picture

    def _make_picture(self, number):
        rng = self._generator(_PICTURE, number)
        if self.pictures is None:
            size = int(rng.integers(self.crop, _LARGEST * self.crop + 1))
            leaves = dead_leaves(size, random_state=int(rng.integers(2**31)))
            return to_8_bits(photograph(leaves, rng))
        index = int(rng.integers(len(self.pictures)))
        picture = load_image(self.pictures[index], index)
        if min(picture.shape[:2]) < self.crop:
            raise ValueError(
                f"Picture {index} has shape {picture.shape}, less than crop={self.crop}; lower crop, or leave it out."
            )
        return picture

    def _generator(self, what, number):
        return np.random.default_rng([self.random_state, what, self.epoch, number])


class HeldPairs(Dataset):
    """Pairs of one epoch, made once and held in memory: 37 kB per pair of 64 pixels.

    Where computing power is short, to see pairs again costs less than to make new ones.

    Parameters
    ----------
    pairs : RelationalPairs
        What is held.
    n_jobs : int, default=None
        Processes that make them, as joblib has it.

    Examples
    --------
    >>> from patchdistill.relational.pairs import HeldPairs, RelationalPairs
    >>> pairs = RelationalPairs(crop=32, n=2)
    >>> held = HeldPairs(pairs)
    >>> bool((held[1]["a"] == pairs[1]["a"]).all())
    True
    """

    def __init__(self, pairs, n_jobs=None):
        self.settings = {**pairs.settings, "held": pairs.epoch}
        # A process takes whole runs of items that share a picture.
        runs = [range(start, min(start + _CROPS, len(pairs))) for start in range(0, len(pairs), _CROPS)]
        made = Parallel(n_jobs)(delayed(_make_run)(pairs, run) for run in runs)
        self._items = [item for run in made for item in run]

    def __len__(self):
        return len(self._items)

    def __getitem__(self, i):
        """Give a pair, as :class:`RelationalPairs` does.

        Parameters
        ----------
        i : int
            Its index.

        Returns
        -------
        dict of str to Tensor
            The pair.
        """
        return {
            name: tensor.float() / 255 if tensor.dtype == torch.uint8 else tensor
            for name, tensor in self._items[i].items()
        }


def _picture_tensor(pixels):
    """8 bits of a picture, as numbers in [0, 1] and channels first."""
    return torch.from_numpy(to_8_bits(pixels).transpose(2, 0, 1).copy()).float() / 255


def _make_run(pairs, run):
    # Eight bits, times 255 again, are themselves.
    return [
        {
            name: (tensor * 255).to(torch.uint8) if name in ("a", "b", "ref") else tensor
            for name, tensor in pairs[i].items()
        }
        for i in run
    ]
