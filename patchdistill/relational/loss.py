"""The distortion map as a loss, to tune what processes pictures."""

import copy

from torch import nn

from patchdistill.relational.channels import CHANNELS, check_channels

_REDUCTIONS = ("mean", "sum", "none")
_DIRECTIONS = ("more", "less")


class RelationalLoss(nn.Module):
    r"""Penalize what a distortion map finds wrong with a picture, beside its reference.

    The loss of a picture is the weighted mean of the squared harm over the cells and channels of its map,

    .. math:: \sum_k w_k \operatorname{mean}_{ij} h_k(D_{kij})^2 \Big/ \sum_k w_k ,

    and only what is harm counts. Channels of one sign, such as noise and blockiness, harm where the picture has more
    of them than its reference: :math:`h(D) = \max(D, 0)`. The others, such as exposure and sharpness, harm in either
    direction, :math:`h(D) = D`, unless one is tolerated. The loss is 0 for the reference itself and never negative,
    and its gradient is continuous: 0 where the picture is the reference.

    Parameters
    ----------
    module : nn.Module
        Maps pictures and references (n, 3, H, W) to distortions (n, K, h, w) in [-1, 1], such as
        :class:`ClassicalMapModule` or :class:`RelationalMapNet`. A frozen copy in evaluation mode is used: the module
        itself is left as it is, and the parameters of the copy never get a gradient.
    channels : {"core6", "full12"} or sequence of str, default=None
        Names of the K channels; by default ``module.channel_names_``.
    weights : dict of str to float, default=None
        How much each channel counts, at least 0; 1 for those that are not named.
    tolerated : dict of str to {"more", "less"}, default=None
        For channels of two signs, a direction that is no harm: ``{"sharpness": "more"}`` lets a picture be sharper
        than its reference.
    reduction : {"mean", "sum", "none"}, default="mean"
        Over the pictures.

    Attributes
    ----------
    higher_is_better : bool
        False: a loss is minimized.

    See Also
    --------
    RelationalScorer : The score, for what has no gradient, such as the quality of an encoder.

    Examples
    --------
    >>> import torch
    >>> from patchdistill.relational.loss import RelationalLoss
    >>> class Brightness(torch.nn.Module):
    ...     channel_names_ = ("exposure",)
    ...     def forward(self, image, ref):
    ...         return torch.nn.functional.avg_pool2d((image - ref).mean(dim=1, keepdim=True), 8)
    >>> loss = RelationalLoss(Brightness())
    >>> ref = torch.full((1, 3, 16, 16), 0.5)
    >>> loss(ref, ref), loss(ref + 0.2, ref).round(decimals=4)
    (tensor(0.), tensor(0.0400))
    """

    higher_is_better = False

    def __init__(self, module, channels=None, *, weights=None, tolerated=None, reduction="mean"):
        super().__init__()
        if reduction not in _REDUCTIONS:
            raise ValueError(f"reduction={reduction!r} is unknown; use one of {', '.join(_REDUCTIONS)}.")
        if not isinstance(module, nn.Module):
            raise TypeError(
                f"module is a {type(module).__name__}, but gradients need an nn.Module; pass ClassicalMapModule(map) "
                "or a RelationalMapNet."
            )
        if channels is None and not hasattr(module, "channel_names_"):
            raise ValueError(f"{type(module).__name__} has no channel_names_; pass channels, the names of its maps.")
        self.channel_names_ = check_channels(module.channel_names_ if channels is None else channels)
        self.reduction = reduction
        weights = _of_channels(weights, self.channel_names_, "weights", 1.0)
        tolerated = _of_channels(tolerated, self.channel_names_, "tolerated", None)
        self._shares = _shares(weights)
        self._sides = [_harmful_sides(name, direction) for name, direction in tolerated.items()]
        self.module = copy.deepcopy(module).requires_grad_(False).eval()

    def train(self, mode=True):
        """Set the mode of the loss; the map stays in evaluation mode, in which it predicts.

        Parameters
        ----------
        mode : bool, default=True
            Whether to train.

        Returns
        -------
        RelationalLoss
            The loss.
        """
        super().train(mode)
        self.module.eval()
        return self

    def forward(self, image, ref):
        """Compute the loss.

        Parameters
        ----------
        image, ref : Tensor of shape (n, 3, H, W)
            Pictures, and what they should be, in [0, 1].

        Returns
        -------
        Tensor of shape (), or (n,) without reduction
            The loss, at least 0; lower is better.

        Raises
        ------
        ValueError
            If the shapes differ, or the module predicts another number of channels.
        """
        if image.shape != ref.shape or image.ndim != 4:
            raise ValueError(
                f"image has shape {tuple(image.shape)} and ref {tuple(ref.shape)}, but one shape (n, 3, H, W) is "
                "expected for both."
            )
        distortions = self.module(image, ref)
        if distortions.ndim != 4 or distortions.shape[1] != len(self.channel_names_):
            raise ValueError(
                f"The module gave shape {tuple(distortions.shape)}, but (n, {len(self.channel_names_)}, h, w) is "
                f"expected for the channels {', '.join(self.channel_names_)}."
            )
        more, less = distortions.new_tensor(self._sides)[:, :, None, None].unbind(dim=1)
        harm = more * distortions.clamp(min=0) ** 2 + less * distortions.clamp(max=0) ** 2
        losses = harm.mean(dim=(2, 3)) @ distortions.new_tensor(self._shares)
        return losses if self.reduction == "none" else getattr(losses, self.reduction)()

    def extra_repr(self):
        """Describe the loss for ``repr``.

        Returns
        -------
        str
            Channels and reduction.
        """
        return f"channels={self.channel_names_}, reduction={self.reduction!r}"


def _harmful_sides(name, tolerated):
    """Whether more of a channel is harm, and whether less is."""
    if tolerated is None:
        return [1.0, float(CHANNELS[name].signed)]
    if tolerated not in _DIRECTIONS:
        raise ValueError(f'tolerated holds {tolerated!r} for {name}; it must be "more" or "less".')
    if not CHANNELS[name].signed:
        raise ValueError(
            f"tolerated names {name}, of which more is harm and less is none; leave it out, or give it the weight 0."
        )
    return [float(tolerated != direction) for direction in _DIRECTIONS]


def _of_channels(given, names, parameter, default):
    """Give what was given for each channel, in their order."""
    given = {} if given is None else given
    unknown = [name for name in given if name not in names]
    if unknown:
        raise ValueError(f"{parameter} names {unknown[0]!r}, but the channels are {', '.join(names)}.")
    return {name: given.get(name, default) for name in names}


def _shares(weights):
    total = sum(weights.values())
    if not (min(weights.values()) >= 0 and 0 < total < float("inf")):
        raise ValueError(f"weights must be finite, at least 0 and not all 0; got {weights}.")
    return [weight / total for weight in weights.values()]
