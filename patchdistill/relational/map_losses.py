"""What a network that makes maps is trained to make small."""

import torch
import torch.nn.functional as F

# A cell where a channel changes more than this counts four times: most cells of most channels have no change at all.
_ACTIVE = 0.05
_ACTIVE_WEIGHT = 4.0

# Where the Huber loss goes over from squares to absolute values; less than a fourth of a level is a small error.
_SMALL_ERROR = 0.25


def map_loss(found, target, valid):
    """Huber loss of maps, on cells where nothing was clipped.

    Parameters
    ----------
    found, target : Tensor of shape (n, n_channels, h, w)
        Maps and what they should be.
    valid : Tensor of shape (n, h, w)
        How much each cell counts.

    Returns
    -------
    Tensor of shape ()
        Weighted mean; values whose target is beyond 0.05 count four times. 0 if no cell counts.

    Examples
    --------
    >>> import torch
    >>> from patchdistill.relational.map_losses import map_loss
    >>> target = torch.tensor([1.0, 0.0]).view(1, 1, 1, 2)
    >>> map_loss(target + 0.2, target, torch.ones(1, 1, 2))
    tensor(0.0200)
    """
    weights = torch.where(target.abs() > _ACTIVE, _ACTIVE_WEIGHT, 1.0) * valid[:, None]
    return _mean(F.huber_loss(found, target, reduction="none", delta=_SMALL_ERROR), weights)


def leakage_loss(found, target, valid):
    """Mean absolute value of channels in which a pair does not differ at all.

    Parameters
    ----------
    found, target, valid
        As for :func:`map_loss`.

    Returns
    -------
    Tensor of shape ()
        Mean over the cells that count; 0 if there are none.
    """
    inactive = (target == 0).all(dim=3).all(dim=2)[:, :, None, None]
    return _mean(found.abs(), inactive * valid[:, None])


def cocycle_loss(ab, bc, ac):
    """Mean square of what is missing for ``D(a, b) + D(b, c) = D(a, c)``.

    Parameters
    ----------
    ab, bc, ac : Tensor of shape (n, n_channels, h, w)
        Maps of three pictures.

    Returns
    -------
    Tensor of shape ()
        0 for potentials.
    """
    return (ab + bc - ac).square().mean()


def swap_loss(ab, ba):
    """Mean square of what is missing for ``D(b, a) = -D(a, b)``.

    Parameters
    ----------
    ab, ba : Tensor of shape (n, n_channels, h, w)
        Maps of pictures in both orders.

    Returns
    -------
    Tensor of shape ()
        0 for a network that is anti-symmetric by construction.
    """
    return (ab + ba).square().mean()


def variation_loss(found):
    """Total variation: mean absolute difference of neighbours.

    Parameters
    ----------
    found : Tensor of shape (n, n_channels, h, w)
        Maps.

    Returns
    -------
    Tensor of shape ()
        Mean over neighbours in a column, plus mean over neighbours in a row.
    """
    return (found[..., 1:, :] - found[..., :-1, :]).abs().mean() + (found[..., 1:] - found[..., :-1]).abs().mean()


def _mean(values, weights):
    weights = weights.expand_as(values).to(values.dtype)
    return (weights * values).sum() / weights.sum().clamp(min=torch.finfo(values.dtype).tiny)
