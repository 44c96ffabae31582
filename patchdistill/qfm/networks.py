"""From pixels to scores: an encoder makes tokens, a gate weighs their channels, and a head scores them."""

from copy import deepcopy
from typing import NamedTuple

import torch
from torch import nn

from patchdistill.modules.layers import FEATURES, as_tokens, output_of, pool, tensor_of
from patchdistill.qfm.heads import ChannelGate, LinearHead, PanelDecoder
from patchdistill.qfm.perturbation import channel_statistics


class TinyViT(nn.Module):
    """A small vision transformer [1]_ that a CPU can train. It is for examples, and as a start.

    Parameters
    ----------
    size : int, default=64
        Side of the images in pixels, a multiple of `patch`.
    patch : int, default=8
        Side of the squares that become tokens, in pixels.
    width : int, default=96
        Features of a token, a multiple of `n_heads`.
    depth : int, default=4
        Number of layers.
    n_heads : int, default=4
        Heads of every attention.

    Raises
    ------
    ValueError
        If `size` or `width` is no such multiple.

    References
    ----------
    .. [1] A. Dosovitskiy et al., "An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale",
       ICLR 2021.

    Examples
    --------
    >>> import torch
    >>> from patchdistill.qfm.networks import TinyViT
    >>> TinyViT(size=32, width=48)(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 17, 48])
    """

    def __init__(self, size=64, patch=8, width=96, depth=4, n_heads=4):
        super().__init__()
        for name, value, step_name, step in (("size", size, "patch", patch), ("width", width, "n_heads", n_heads)):
            if value % step:
                raise ValueError(f"{name}={value} is no multiple of {step_name}={step}; make it one.")
        self.size = size
        self.embed = nn.Conv2d(3, width, patch, stride=patch)
        self.summary = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.places = nn.Parameter(0.02 * torch.randn(1, (size // patch) ** 2, width))
        # nn.TransformerEncoder would begin with the same weights in all layers.
        layers = [
            nn.TransformerEncoderLayer(
                width, n_heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(depth)
        ]
        self.layers = nn.Sequential(*layers, nn.LayerNorm(width))

    def forward(self, images):
        """Make tokens of images.

        Parameters
        ----------
        images : Tensor of shape (n_images, 3, size, size)
            Images.

        Returns
        -------
        Tensor of shape (n_images, 1 + (size / patch)^2, width)
            Tokens, with the summary token first.

        Raises
        ------
        ValueError
            If the images are of another size.
        """
        if images.shape[1:] != (3, self.size, self.size):
            raise ValueError(
                f"Got images of shape {tuple(images.shape)}, but this TinyViT takes (n, 3, {self.size}, {self.size}); "
                "resize them, or make it with another size."
            )
        tokens = self.embed(images).flatten(2).transpose(1, 2) + self.places
        return self.layers(torch.cat([self.summary.expand(len(tokens), -1, -1), tokens], dim=1))


class QFMOutput(NamedTuple):
    """What a network says of images.

    Attributes
    ----------
    scores : Tensor of shape (n_images,)
        Scores, in the unit of the standardized labels.
    hidden : Tensor of shape (n_images, width)
        Vectors that the scores are read from.
    features : Tensor of shape (n_images, width)
        Mean of every channel over the tokens, times its gate.
    gate : Tensor of shape (n_images, width)
        Gates, above 0 and below 1; ones for a network without a gate.
    """

    scores: torch.Tensor
    hidden: torch.Tensor
    features: torch.Tensor
    gate: torch.Tensor


class QFMNetwork(nn.Module):
    """An encoder of any kind, a gate over its channels, and a decoder, all trained together.

    Parameters
    ----------
    encoder : nn.Module or callable
        Maps images (n, 3, height, width) to features (n, d), tokens (n, n_tokens, d), maps (n, d, height, width), or
        what the models of `transformers` return, whose ``last_hidden_state`` is taken, or else ``logits``. It is
        copied, so that every training begins with the weights it has now.
    width : int
        Number of channels of the encoder: ``encode(encoder, images).shape[-1]``.
    layer : str, default=None
        Name of the layer whose output is wanted, as in ``encoder.named_modules()``. None is the output of the encoder.
    pooling : {"cls", "mean", "max"}, default="cls"
        What sums up an image: the first token of the encoder, or the mean or the maximum over tokens or places.
    channels_last : bool, default=False
        Whether maps are (n, height, width, d).
    gate : {"adaptive", "static"} or None, default="adaptive"
        Gate over the channels, as in :class:`ChannelGate`; None lets all of them through.
    n_queries : int, default=6
        Size of the panel of :class:`PanelDecoder`; 0 makes the head a linear map of the mean over the tokens.

    See Also
    --------
    patchdistill.models.PatchCNN : A plain convolutional network.

    Examples
    --------
    >>> import torch
    >>> from patchdistill.qfm.networks import QFMNetwork, TinyViT
    >>> network = QFMNetwork(TinyViT(size=32, width=48), width=48)
    >>> output = network(torch.zeros(2, 3, 32, 32))
    >>> output.scores.shape, output.gate.shape
    (torch.Size([2]), torch.Size([2, 48]))
    """

    def __init__(self, encoder, *, width, layer=None, pooling="cls", channels_last=False, gate="adaptive", n_queries=6):
        super().__init__()
        self.encoder = deepcopy(encoder)
        self.width = width
        self.layer = layer
        self.pooling = pooling
        self.channels_last = channels_last
        self.gate = None if gate is None else ChannelGate(width, gate)
        self.decoder = PanelDecoder(width, n_queries) if n_queries else LinearHead(width)

    def encode(self, images):
        """Make tokens of images, as :func:`encode` does.

        Parameters
        ----------
        images : Tensor of shape (n_images, 3, height, width)
            Images.

        Returns
        -------
        Tensor of shape (n_images, 1 + n_tokens, width)
            Tokens, with the summary token first.

        Raises
        ------
        ValueError
            If the encoder has another number of channels.
        """
        tokens = encode(self.encoder, images, self.layer, self.pooling, self.channels_last)
        if tokens.shape[-1] != self.width:
            raise ValueError(
                f"The encoder has {tokens.shape[-1]} channels, but the network was made with width={self.width}."
            )
        return tokens

    def head(self, tokens):
        """Score images by their tokens.

        Parameters
        ----------
        tokens : Tensor of shape (n_images, 1 + n_tokens, width)
            Tokens, with the summary token first.

        Returns
        -------
        QFMOutput
            Scores, hidden vectors, gated features, gates.
        """
        mean, std = channel_statistics(tokens)
        gate = torch.ones_like(mean) if self.gate is None else self.gate(mean, std)
        scores, hidden = self.decoder(gate[:, None] * tokens)
        return QFMOutput(scores, hidden, gate * mean, gate)

    def forward(self, images):
        """Score images.

        Parameters
        ----------
        images : Tensor of shape (n_images, 3, height, width)
            Images.

        Returns
        -------
        QFMOutput
            Scores, hidden vectors, gated features, gates.
        """
        return self.head(self.encode(images))


def encode(encoder, images, layer=None, pooling="cls", channels_last=False):
    """Make tokens of images, by any encoder.

    Parameters
    ----------
    encoder, layer, pooling, channels_last
        As in :class:`QFMNetwork`.
    images : Tensor of shape (n_images, 3, height, width)
        Images.

    Returns
    -------
    Tensor of shape (n_images, 1 + n_tokens, width)
        Tokens, with what sums up the image first: the first token of the encoder where ``pooling="cls"``, else the mean
        or maximum in front of all. Features (n, d) are one token, the summary itself. The numbers have single
        precision, or double if the encoder computes in it.

    Raises
    ------
    ValueError, TypeError
        If the encoder returns something else, or `pooling` is another one or does not go with it.

    Examples
    --------
    >>> import torch
    >>> from patchdistill.qfm.networks import encode
    >>> encode(torch.nn.Conv2d(3, 8, 4, stride=4), torch.zeros(2, 3, 16, 16), pooling="mean").shape
    torch.Size([2, 17, 8])
    """
    if pooling not in ("cls", "mean", "max"):
        raise ValueError(f'pooling={pooling!r} is not known; use "cls", "mean" or "max".')
    tokens = tensor_of(output_of(encoder, layer)(images), FEATURES)
    tokens = tokens if tokens.dtype == torch.float64 else tokens.float()
    summary = pool(tokens, pooling, channels_last)[:, None]
    if tokens.ndim == 2:
        return summary
    tokens = as_tokens(tokens, channels_last)
    return tokens if pooling == "cls" else torch.cat([summary, tokens], dim=1)
