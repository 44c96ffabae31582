"""Orders of the patches of every image: by what they contain, and by their scores."""

import numbers

import torch

from patchdistill.batched.masked import take
from patchdistill.ordered import _FIRST_FEATURES
from patchdistill.ranking import _DECIMALS


def content_order(E, real):
    """Order patches by what they contain, whatever order they came in: by the first feature, equal ones by the next.

    The order is that of :func:`patchdistill.scoring.content_order`.

    Parameters
    ----------
    E : Tensor of shape (n_images, n_patches, n_features)
        Embeddings.
    real : Tensor of bool, shape (n_images, n_patches)
        Which patches are no padding: the first ones.

    Returns
    -------
    order : Tensor of int, shape (n_images, n_patches)
        All patches, padding last; copies are neighbours and keep the order they came in.
    is_copy : Tensor of bool, shape (n_images, n_patches)
        Places in `order` of patches that are copies of the one before.
    """
    order, is_copy = _lexicographic_order(E[:, :, :_FIRST_FEATURES], real)
    tied = is_copy.any(dim=1).nonzero()[:, 0]  # elsewhere the other features decide nothing
    if len(tied):
        order[tied], is_copy[tied] = _lexicographic_order(E[tied], real[tied])
    return order, is_copy


def _lexicographic_order(E, real):
    """Sort groups of equal patches by the first feature in which they differ, until only copies are left together."""
    n_images, n, n_features = E.shape
    order = torch.arange(n, device=E.device).repeat(n_images, 1)
    starts = ~real  # of groups: padding is not compared
    starts[:, 0] = True
    while True:
        contents = take(E, order)
        differs = contents[:, 1:] != contents[:, :-1]
        first = differs.to(torch.int8).argmax(dim=2).masked_fill(~differs.any(dim=2) | starts[:, 1:], n_features)
        if not (first < n_features).any():
            return order, ~starts
        group = starts.cumsum(dim=1) - 1
        feature = torch.full_like(order, n_features).scatter_reduce(1, group[:, 1:], first, "amin").gather(1, group)
        decided = feature == n_features
        value = contents.gather(2, feature.masked_fill(decided, 0)[:, :, None])[:, :, 0].masked_fill(decided, 0.0)
        value = value + 0.0  # one zero instead of two, for devices that sort by bits
        places = value.argsort(dim=1, stable=True)
        places = places.gather(1, group.gather(1, places).argsort(dim=1, stable=True))
        order, value = order.gather(1, places), value.gather(1, places)
        starts[:, 1:] |= value[:, 1:] != value[:, :-1]


def rank(scores, real, keep="low"):
    """Order patches from the first to keep to the last.

    Parameters
    ----------
    scores : Tensor of float64, shape (n_images, n_patches)
        Scores.
    real : Tensor of bool, shape (n_images, n_patches)
        Which patches are no padding.
    keep : {"low", "high"}, default="low"
        Which end is kept first.

    Returns
    -------
    Tensor of int, shape (n_images, n_patches)
        Places, best first, padding last; equal scores go by place.
    """
    rounded = (scores * 10.0**_DECIMALS).round()
    rounded = rounded if keep == "low" else -rounded
    return rounded.masked_fill(~real, torch.inf).argsort(dim=1, stable=True)


def n_keep(n_patches, rate):
    """Count the patches to keep of every image, as :func:`patchdistill.ranking.n_keep` does.

    Parameters
    ----------
    n_patches : Tensor of int, shape (n_images,)
        Patches of each image.
    rate : float or int
        Share, or number.

    Returns
    -------
    Tensor of int, shape (n_images,)
        At least 1.
    """
    if isinstance(rate, numbers.Integral):
        return n_patches.clamp(max=int(rate))
    return (rate * n_patches.to(torch.float64) - 1e-9).ceil().long().clamp(min=1)
