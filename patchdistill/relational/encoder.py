"""What a network sees of one picture, cell by cell, and what two pictures have in common there."""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from scipy.fft import idctn
from torch import nn

from patchdistill.images import LUMA
from patchdistill.relational.channels import CELL

# Energy below which a response counts as none: about that of rounding to 8 bits, (1 / 255)^2 / 12.
_FLOOR = 1e-6

_N_SCALES = 4
_FILTER_SIZE = 5


class Encoded(NamedTuple):
    """What is kept of pictures, so that each has to be encoded only once.

    Attributes
    ----------
    features : Tensor of shape (n, width, h, w)
        One row of features per cell of 8 x 8 pixels.
    responses : tuple of Tensor, of shape (n, n_filters, rows, columns) each
        Responses of the filters, scale by scale.
    energies : tuple of Tensor, of shape (n, n_filters, h, w) each
        Their mean squares over the cells.
    """

    features: torch.Tensor
    responses: tuple
    energies: tuple


class ChannelNorm(nn.Module):
    """Normalize every place of a map by itself, over its channels.

    Nothing is averaged over places, images or time: tiles of a picture give what the whole picture gives, and training
    what evaluation gives.

    Parameters
    ----------
    width : int
        Number of channels.
    """

    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width, 1, 1))
        self.bias = nn.Parameter(torch.zeros(width, 1, 1))

    def forward(self, x):
        """Normalize.

        Parameters
        ----------
        x : Tensor of shape (n, width, h, w)
            Maps.

        Returns
        -------
        Tensor of shape (n, width, h, w)
            Maps with mean `bias` and standard deviation `weight` at every place.
        """
        centered = x - x.mean(dim=1, keepdim=True)
        return centered * torch.rsqrt(centered.square().mean(dim=1, keepdim=True) + 1e-5) * self.weight + self.bias


class Block(nn.Module):
    """Residual block over the cells.

    Parameters
    ----------
    width : int
        Number of channels.
    reach : int, default=1
        How far it looks, in cells.
    """

    def __init__(self, width, reach=1):
        super().__init__()
        self.reach = reach
        self.layers = nn.Sequential(
            ChannelNorm(width),
            nn.Conv2d(width, width, 3, padding=reach, dilation=reach, padding_mode="replicate"),
            nn.GELU(),
            nn.Conv2d(width, width, 1),
        )

    def forward(self, x):
        """Add what the block has found.

        Parameters
        ----------
        x : Tensor of shape (n, width, h, w)
            Maps.

        Returns
        -------
        Tensor of shape (n, width, h, w)
            Maps.
        """
        return x + self.layers(x)


class FilterBank(nn.Module):
    """Filters at one scale of a picture, and the means of products of their responses over the cells.

    Filters of more than one pixel have mean 0 by construction: the least offset would hide noise, whose energy is
    thousands of times less than that of the mean color.

    Parameters
    ----------
    n_filters : int
        Number of filters.
    size : int
        Their side in pixels, odd.
    step : int
        Pixels of this scale along the side of a cell. With one pixel per cell, the eight cells around it count as much
        as it does.
    """

    def __init__(self, n_filters, size, step):
        super().__init__()
        self.size, self.step = size, step
        self.filters = nn.Parameter(_random_filters(n_filters, size))

    def forward(self, x):
        """Filter pictures.

        Parameters
        ----------
        x : Tensor of shape (n, 3, rows, columns)
            Pictures at this scale.

        Returns
        -------
        Tensor of shape (n, n_filters, rows, columns)
            Responses.
        """
        filters = self.filters
        if self.size > 1:
            filters = filters - filters.mean(dim=(2, 3), keepdim=True)
        return F.conv2d(F.pad(x, [self.size // 2] * 4, mode="reflect"), filters)

    def pool(self, products):
        """Average over the cells.

        Parameters
        ----------
        products : Tensor of shape (n, n_filters, rows, columns)
            Products of responses.

        Returns
        -------
        Tensor of shape (n, n_filters, h, w)
            Means.
        """
        if self.step == 1:
            return F.avg_pool2d(F.pad(products, [1] * 4, mode="replicate"), 3, stride=1)
        return F.avg_pool2d(products, self.step)


class CellEncoder(nn.Module):
    """Encoder of pictures: energies of filters at four scales, in the logarithm, and a small network over the cells.

    Parameters
    ----------
    width : int
        Number of features per cell.
    n_filters : int
        Filters at each scale.
    depth : int
        Blocks of the network over the cells.
    """

    def __init__(self, width, n_filters, depth):
        super().__init__()
        # Mean color, colors themselves at half the size, and textures at all scales.
        self.banks = nn.ModuleList(
            [
                FilterBank(8, 1, CELL // 2),
                *(FilterBank(n_filters, _FILTER_SIZE, CELL >> scale) for scale in range(_N_SCALES)),
            ]
        )
        self.scales = (1, *range(_N_SCALES))
        # Blocks of JPEG lie where the cells lie; where they show, most of their frequencies are empty.
        self.frequencies = nn.Parameter(_cosines())
        self.n_responses = 8 + _N_SCALES * n_filters
        self.first = nn.Conv2d(3 + self.n_responses + len(self.frequencies) + 2 * CELL, width, 1)
        # What contrast is measured about spans many cells.
        self.blocks = nn.Sequential(*(Block(width, 2**i) for i in range(depth)))

    @property
    def reach(self):
        """How many cells a feature sees on each side of its own."""
        return _FILTER_SIZE // 2 + 1 + sum(block.reach for block in self.blocks)

    def forward(self, x):
        """Encode pictures whose sides are multiples of 8.

        Parameters
        ----------
        x : Tensor of shape (n, 3, rows, columns)
            RGB in [0, 1].

        Returns
        -------
        Encoded
            Features, responses and energies.
        """
        # The energy of weak noise is less than what bfloat16 resolves of a color.
        with torch.autocast(x.device.type, enabled=False):
            pyramid = [x]
            for _ in range(1, _N_SCALES):
                pyramid.append(F.avg_pool2d(pyramid[-1], 2))
            responses = tuple(bank(pyramid[scale]) for bank, scale in zip(self.banks, self.scales, strict=True))
            energies = tuple(bank.pool(response.square()) for bank, response in zip(self.banks, responses, strict=True))
            frequencies = F.conv2d(x, self.frequencies, stride=CELL)
            color = pyramid[-1] * 4 - 2
            blocks = level(torch.cat([frequencies.square(), step_profiles(x)], dim=1))
            seen = torch.cat([color, *map(level, energies), blocks], dim=1)
        return Encoded(self.blocks(self.first(seen)), responses, energies)

    def compare(self, a, b):
        """Tell how much pictures have in common; the same for (a, b) and (b, a), to the last bit.

        Parameters
        ----------
        a, b : Encoded
            Pictures.

        Returns
        -------
        Tensor of shape (n, 2 * n_responses, h, w)
            Correlation of the responses in each cell, and the level of their difference.
        """
        common, different = [], []
        with torch.autocast(a.features.device.type, enabled=False):
            for bank, *responses, energy_a, energy_b in zip(
                self.banks, a.responses, b.responses, a.energies, b.energies, strict=True
            ):
                product = bank.pool(responses[0] * responses[1])
                total = energy_a + energy_b
                common.append((2 * product + _FLOOR) / (total + _FLOOR))
                different.append(level(torch.clamp(total - 2 * product, min=0)))
            return torch.cat([*common, *different], dim=1)


def step_profiles(x):
    """Tell how much luma changes from each pixel to the next, by the place in the cell.

    Where blocks show, it changes most between the last pixel of a cell and the first of the next.

    Parameters
    ----------
    x : Tensor of shape (n, 3, rows, columns)
        Pictures; the sides are multiples of 8.

    Returns
    -------
    Tensor of shape (n, 16, h, w)
        Mean squares: of the steps to each column from the one before it, then to each row.
    """
    luma = torch.tensordot(x, x.new_tensor(LUMA), dims=([1], [0]))
    profiles = []
    for values in (luma, luma.transpose(1, 2)):
        steps = F.pad(values, (1, 0), mode="replicate").diff(dim=2).square()
        cells = steps.unflatten(1, (-1, CELL)).unflatten(3, (-1, CELL)).mean(dim=2)
        profiles.append(cells.movedim(3, 1))
    return torch.cat([profiles[0], profiles[1].transpose(2, 3)], dim=1)


def level(energies):
    """Give energies in the logarithm, in a range that suits a network.

    Parameters
    ----------
    energies : Tensor
        At least 0.

    Returns
    -------
    Tensor
        About -4 for nothing, and 3 for black beside white.
    """
    return torch.log(energies + _FLOOR) / 2 + 3


def _random_filters(n_filters, size):
    """Make filters of which every other one sees differences of colors alone: most colors are nearly gray."""
    filters = torch.randn(n_filters, 3, size, size) / size
    filters[1::2] -= filters[1::2].mean(dim=1, keepdim=True)
    return filters


def _cosines():
    """Make the 64 basis functions of the 8 x 8 cosine transform, of luma."""
    basis = idctn(np.eye(CELL**2).reshape(-1, CELL, CELL), axes=(1, 2), norm="ortho")
    return torch.tensor(basis[:, None] * np.reshape(LUMA, (3, 1, 1)), dtype=torch.float32)
