"""A network that tells what one picture has more of than another, cell by cell."""

import json
from importlib.resources import as_file, files
from pathlib import Path

import torch
from torch import nn

from patchdistill._compat import import_optional
from patchdistill.journal.files import write_whole
from patchdistill.modules.running import inference
from patchdistill.relational.channels import CELL, check_channels
from patchdistill.relational.encoder import Block, CellEncoder, ChannelNorm
from patchdistill.relational.tiles import SMALLEST, check_pair, map_tiles


class RelationalMapNet(nn.Module):
    """Network that maps, per kind of change and cell of 8 x 8 pixels, how much more of it a picture has than another.

    The map of two pictures is the negative of that of the pictures exchanged, and that of a picture and itself is
    zero, whatever the weights are: ``D(a, b) = h(a, b) - h(b, a) + psi(a) - psi(b)``.

    Parameters
    ----------
    channels : {"core6", "full12"} or sequence of str, default="core6"
        Kinds of change.
    width : int, default=48
        Features per cell.
    n_filters : int, default=16
        Filters at each of the four scales.
    depth : int, default=3
        Residual blocks of the encoder.
    head : {"pair", "potential", "soft"}, default="pair"
        ``"potential"`` leaves `h` out. Then ``D(a, c) = D(a, b) + D(b, c)`` for all pictures, but what can be seen only
        in two pictures beside each other is lost. ``"soft"`` is for comparison: ``D(a, b) = h(a, b)``, and only a loss
        in training asks for the symmetry.

    Attributes
    ----------
    channel_names_ : tuple of str
        Kinds of change, in the order of the maps.

    See Also
    --------
    patchdistill.relational.map_training.train_map : Trains the network.

    Notes
    -----
    Features are normalized over the channels of each cell, and never over places or images: with BatchNorm a picture's
    map would depend on its batch, and with GroupNorm over places on what lies far away, so that tiles would not fit
    together.

    :meth:`forward` is not bounded: two versions can be up to two levels apart, one too dark and one too bright, and
    squashed differences of potentials would not add up. :meth:`predict_map` clips to [-1, 1], as all maps do.

    Examples
    --------
    >>> import torch
    >>> from patchdistill.relational.network import RelationalMapNet
    >>> network = RelationalMapNet(width=16, depth=1)
    >>> a, b = torch.rand(2, 1, 3, 40, 52)
    >>> network(a, b).shape
    torch.Size([1, 6, 5, 7])
    >>> bool((network(a, b) == -network(b, a)).all()), bool((network(a, a) == 0).all())
    (True, True)
    """

    def __init__(self, channels="core6", *, width=48, n_filters=16, depth=3, head="pair"):
        super().__init__()
        if head not in ("pair", "potential", "soft"):
            raise ValueError(f'head={head!r} is not known; use "pair", "potential" or "soft".')
        self.channel_names_ = check_channels(channels)
        self.settings = {
            "channels": list(self.channel_names_),
            "width": width,
            "n_filters": n_filters,
            "depth": depth,
            "head": head,
        }
        n_channels = len(self.channel_names_)
        self.encoder = CellEncoder(width, n_filters, depth)
        # Without a norm: levels of energy, whose differences tell most, reach it unchanged through the residual blocks.
        self.psi = nn.Conv2d(width, n_channels, 1)
        self.pair = None
        if head != "potential":
            self.pair = _PairHead(width, 2 * self.encoder.n_responses, n_channels)
        self.antisymmetric = head != "soft"

    @property
    def reach(self):
        """How many cells a value of the map depends on, on each side of its own."""
        return self.encoder.reach + (0 if self.pair is None else self.pair.reach)

    def encode(self, x):
        """Encode pictures; each has to be encoded only once, however many it is compared with.

        Parameters
        ----------
        x : Tensor of shape (n, 3, height, width)
            RGB in [0, 1], sides of at least 32 pixels. Cells that go over the edge are mirrored there.

        Returns
        -------
        Encoded
            For :meth:`difference` and :meth:`potential`.

        Raises
        ------
        ValueError
            If the shape is another one.
        """
        if x.ndim != 4 or x.shape[1] != 3 or min(x.shape[2:]) < SMALLEST:
            raise ValueError(
                f"Got pictures of shape {tuple(x.shape)}, but (n, 3, height, width) with sides of at least {SMALLEST} "
                "pixels are expected."
            )
        for axis in (2, 3):
            missing = -x.shape[axis] % CELL
            x = torch.cat([x, x.narrow(axis, x.shape[axis] - missing, missing).flip(axis)], dim=axis)
        return self.encoder(x)

    def potential(self, encoded):
        """Give the part of the map that each picture has alone.

        Parameters
        ----------
        encoded : Encoded
            Pictures.

        Returns
        -------
        Tensor of shape (n, n_channels, h, w)
            Potentials; only their differences mean something.
        """
        return self.psi(encoded.features)

    def difference(self, a, b):
        """Compare pictures that are encoded.

        Parameters
        ----------
        a, b : Encoded
            Pictures.

        Returns
        -------
        Tensor of shape (n, n_channels, h, w)
            What each of `a` has more than that of `b`.
        """
        if self.pair is None:
            return self.potential(a) - self.potential(b)
        common = self.encoder.compare(a, b)
        if not self.antisymmetric:
            return self.pair(a.features, b.features, common)
        # One call for each order: rows of one batch need not be computed alike to the last bit.
        pair = self.pair(a.features, b.features, common) - self.pair(b.features, a.features, common)
        return pair + (self.potential(a) - self.potential(b))

    def forward(self, a, b):
        """Compare pictures.

        Parameters
        ----------
        a, b : Tensor of shape (n, 3, height, width)
            RGB in [0, 1], sides of at least 32 pixels.

        Returns
        -------
        Tensor of shape (n, n_channels, ceil(height / 8), ceil(width / 8))
            What each of `a` has more than that of `b`; not bounded.

        Raises
        ------
        ValueError
            If the shapes are others, or disagree.
        """
        if a.shape != b.shape:
            raise ValueError(f"The pictures have the shapes {tuple(a.shape)} and {tuple(b.shape)}; they must agree.")
        return self.difference(self.encode(a), self.encode(b))

    def predict_map(self, a, ref, geometry="flat"):
        """Map what a picture has more than its reference.

        Parameters
        ----------
        a, ref : array-like of shape (height, width, 3)
            Pictures: uint8, or float in [0, 1].
        geometry : {"flat", "panorama"}, default="flat"
            Whether the left and the right border are neighbors.

        Returns
        -------
        ndarray of float32, shape (n_channels, ceil(height / 8), ceil(width / 8))
            Map in [-1, 1]. Large pictures are read in tiles, which changes nothing but rounding errors.

        Raises
        ------
        ValueError
            If one of the two is no color picture, their sizes differ or are too small, or there is no such geometry.
        """
        a, ref = check_pair(a, ref, geometry)
        with inference(self) as (device, dtype):

            def predict(*tile):
                return self(*(torch.from_numpy(x)[None].to(device, dtype) for x in tile))[0].float().cpu().numpy()

            # One after the other: PyTorch has threads of its own, and gradients are off in this one alone.
            return map_tiles(predict, a, ref, geometry, self.reach, n_jobs=1).clip(-1, 1)

    def save(self, path, metadata=None):
        """Write the weights, with all that is needed to make the network again, as safetensors.

        Parameters
        ----------
        path : str or path-like
            The file; it is there as a whole or not at all.
        metadata : dict of str to str, default=None
            What else the header of the file says: a licence, the command that made it.
        """
        safetensors = import_optional("safetensors.torch", "RelationalMapNet.save", "models")
        header = {**(metadata or {}), "settings": json.dumps(self.settings)}
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
        write_whole(Path(path), lambda unfinished: safetensors.save_file(weights, unfinished, header))

    @classmethod
    def pretrained(cls):
        """Load what is shipped with the package.

        Returns
        -------
        RelationalMapNet
            Of the six core channels, in evaluation mode, on the CPU; trained on dead leaves by
            ``python benchmarks/train_relational.py benchmarks/train_relational_cpu.yaml``. The header of the file tells
            the licence and all parameters.

        See Also
        --------
        patchdistill.relational.ClassicalRelationalMap.pretrained : The same without PyTorch.
        """
        with as_file(files("patchdistill.relational").joinpath("data/network.safetensors")) as path:
            return cls.load(path)

    @classmethod
    def load(cls, path):
        """Read a network that :meth:`save` has written.

        Parameters
        ----------
        path : str or path-like
            The file.

        Returns
        -------
        RelationalMapNet
            The network, in evaluation mode, on the CPU.

        Raises
        ------
        ValueError
            If the file is no such file.
        FileNotFoundError
            If there is none.
        """
        safetensors = import_optional("safetensors", "RelationalMapNet.load", "models")
        try:
            with safetensors.safe_open(path, "pt") as file:
                network = cls(**json.loads((file.metadata() or {})["settings"]))
                network.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
        except FileNotFoundError:
            raise
        except Exception as error:  # the errors of safetensors have a type of their own
            raise ValueError(
                f"{path} is no file of RelationalMapNet.save, or is broken ({type(error).__name__}: {error})."
            ) from error
        return network.eval()


class _PairHead(nn.Module):
    """What is seen only in two pictures beside each other: any function of both, in this order."""

    def __init__(self, width, n_common, n_channels):
        super().__init__()
        self.first = nn.Conv2d(2 * width + n_common, width, 1)
        self.block = Block(width)
        self.last = nn.Sequential(ChannelNorm(width), nn.Conv2d(width, n_channels, 1))
        self.reach = self.block.reach

    def forward(self, a, b, common):
        return self.last(self.block(self.first(torch.cat([a, b, common], dim=1))))
