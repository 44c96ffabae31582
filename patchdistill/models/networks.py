"""Networks over the patches of images: padding has no influence on what they say."""

from copy import deepcopy

import torch
from torch import nn

from patchdistill.images import LUMA
from patchdistill.modules.layers import SCORES, one_per_row, tensor_of
from patchdistill.modules.preprocessing import Preprocess

# Side of the window of local contrast in pixels, and what is added to it, in the range [0, 1]: less is noise that is
# not seen.
_WINDOW, _SMALLEST_CONTRAST = 7, 0.02


class PatchMean(nn.Module):
    """Score every patch by a network, and an image by the mean over its patches.

    The patches of all images of a batch go through the network as one flat batch, without their padding.

    Parameters
    ----------
    network : nn.Module
        Maps patches (n, ...) to one score each, (n,) or (n, 1), or to what models of `transformers` return, whose
        ``logits`` are taken. It is copied, so that every training begins with the weights it has now. To pixels as
        they are stored, :class:`Preprocess` in front of it gives their form: ``nn.Sequential(Preprocess(), network)``.

    See Also
    --------
    PatchCNN : With a small network of its own.

    Examples
    --------
    >>> import torch
    >>> from patchdistill.models import PatchMean
    >>> model = PatchMean(torch.nn.Linear(5, 1))
    >>> patches, mask = torch.zeros(2, 3, 5), torch.tensor([[True, True, True], [True, False, False]])
    >>> model(patches, mask).shape
    torch.Size([2])
    """

    def __init__(self, network):
        super().__init__()
        self.network = deepcopy(network)

    def forward(self, patches, mask=None, weights=None):
        """Score images.

        Parameters
        ----------
        patches : Tensor of shape (n_images, n_patches, ...)
            Patches, padded.
        mask : Tensor of bool, shape (n_images, n_patches), default=None
            True where a patch is real; all by default.
        weights : Tensor of shape (n_images, n_patches), default=None
            How much each patch counts; all alike by default.

        Returns
        -------
        Tensor of shape (n_images,)
            Scores.
        """
        mask = check_mask(patches, mask)
        flat = one_per_row(tensor_of(self.network(patches[mask]), SCORES), int(mask.sum()), "patches")
        counts = flat.new_zeros(mask.shape)
        counts[mask] = 1.0 if weights is None else weights[mask].to(flat.dtype)
        scores = flat.new_zeros(mask.shape).masked_scatter(mask, flat)
        return (counts * scores).sum(dim=1) / counts.sum(dim=1)


class PatchCNN(PatchMean):
    """A small convolutional network over patches of pixels, in the manner of patch-based quality models.

    Luma is normalized by the local mean and contrast [1]_, without which what a patch shows drowns what was done to it.
    Each stage is a convolution of stride 2, batch normalization and a rectifier; the mean over a patch's places goes
    to a linear score, and the mean over the patches is the image's [2]_. It is for examples, and as a start.

    Parameters
    ----------
    channels : sequence of int, default=(16, 32, 64)
        Filters of each stage.

    References
    ----------
    .. [1] L. Kang, P. Ye, Y. Li, D. Doermann, "Convolutional Neural Networks for No-Reference Image Quality
       Assessment", CVPR 2014.
    .. [2] A. Sendjasni, M.-C. Larabi, "SAL-360IQA: A Saliency Weighted Patch-Based CNN Model for 360-Degree Images
       Quality Assessment", ICMEW 2022.

    Examples
    --------
    >>> import torch
    >>> from patchdistill.models import PatchCNN
    >>> PatchCNN()(torch.zeros(2, 3, 32, 32, 3, dtype=torch.uint8)).shape
    torch.Size([2])
    """

    def __init__(self, channels=(16, 32, 64)):
        stages = []
        for fan_in, fan_out in zip((1, *channels[:-1]), channels, strict=True):
            stages += [
                nn.Conv2d(fan_in, fan_out, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(fan_out),
                nn.ReLU(),
            ]
        head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels[-1], 1)
        super().__init__(nn.Sequential(Preprocess(), LocalContrast(), *stages, *head))


class LocalContrast(nn.Module):
    """Luma less its local mean, over its local standard deviation: (x - m) / (s + c), over windows of 7 x 7 pixels."""

    def forward(self, images):
        """Normalize images.

        Parameters
        ----------
        images : Tensor of shape (n, 3, height, width)
            In [0, 1].

        Returns
        -------
        Tensor of shape (n, 1, height, width)
            Of order one.
        """
        luma = nn.functional.conv2d(images, images.new_tensor(LUMA)[None, :, None, None])
        detail = luma - _window_mean(luma)
        return detail / (_window_mean(detail * detail).sqrt() + _SMALLEST_CONTRAST)


def _window_mean(x):
    """Average the pixels of a window that are in the image; on small images, products of matrices are fastest."""
    return _averages(x.shape[-2], x) @ (x @ _averages(x.shape[-1], x).T)


def _averages(n, like):
    """Make the matrix (n, n) whose rows average the pixels of a window."""
    places = torch.arange(n, device=like.device)
    inside = ((places[:, None] - places).abs() <= _WINDOW // 2).to(like.dtype)
    return inside / inside.sum(dim=1, keepdim=True)


class PatchTransformer(nn.Module):
    """A small transformer whose tokens are the patches of an image; a learned query reads the score from them.

    The patches are a set: there are no positions. It is for examples, and as a start.

    Parameters
    ----------
    n_features : int
        Features per patch.
    width : int, default=32
        Features of a token, a multiple of `n_heads`.
    n_heads : int, default=4
        Heads of every attention.
    n_layers : int, default=1
        Layers of the encoder.
    dropout : float, default=0.0
        Share of activations that training drops.

    Examples
    --------
    >>> import torch
    >>> from patchdistill.models import PatchTransformer
    >>> PatchTransformer(n_features=7)(torch.zeros(2, 5, 7)).shape
    torch.Size([2])
    """

    def __init__(self, n_features, width=32, n_heads=4, n_layers=1, dropout=0.0):
        super().__init__()
        self.embed = nn.Sequential(nn.LayerNorm(n_features), nn.Linear(n_features, width))
        layer = nn.TransformerEncoderLayer(width, n_heads, 2 * width, dropout, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, n_layers, enable_nested_tensor=False)
        self.query = nn.Parameter(torch.randn(1, 1, width) / width**0.5)
        self.attention = nn.MultiheadAttention(width, n_heads, dropout, batch_first=True)
        self.score = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 1))

    def forward(self, patches, mask=None):
        """Score images.

        Parameters
        ----------
        patches : Tensor of shape (n_images, n_patches, n_features)
            Features of the patches, padded.
        mask : Tensor of bool, shape (n_images, n_patches), default=None
            True where a patch is real; all by default.

        Returns
        -------
        Tensor of shape (n_images,)
            Scores.
        """
        padding = ~check_mask(patches, mask)
        tokens = self.encoder(self.embed(patches), src_key_padding_mask=padding)
        query = self.query.expand(len(tokens), -1, -1)
        answer, _ = self.attention(query, tokens, tokens, key_padding_mask=padding, need_weights=False)
        return self.score(answer[:, 0])[:, 0]


def check_mask(patches, mask):
    """Check a mask, or make that of a batch without padding.

    Parameters
    ----------
    patches : Tensor of shape (n_images, n_patches, ...)
        Patches.
    mask : Tensor of bool, shape (n_images, n_patches), or None
        True where a patch is real.

    Returns
    -------
    Tensor of bool, shape (n_images, n_patches)
        The mask.

    Raises
    ------
    ValueError
        If the shapes do not agree, or an image has no patch.
    """
    if mask is None:
        return torch.ones(patches.shape[:2], dtype=torch.bool, device=patches.device)
    if mask.shape != patches.shape[:2] or mask.dtype != torch.bool:
        raise ValueError(
            f"The mask has shape {tuple(mask.shape)} and dtype {mask.dtype}, but the patches have shape "
            f"{tuple(patches.shape)}; one bool per patch is needed, {tuple(patches.shape[:2])}."
        )
    empty = ~mask.any(dim=1)
    if empty.any():
        raise ValueError(
            f"Image {int(empty.nonzero()[0])} of the batch has no patch: its mask is False throughout. It is True "
            "where a patch is real."
        )
    return mask
