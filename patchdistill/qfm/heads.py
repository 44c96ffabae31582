"""What stands between tokens and a score: a gate over channels, and a panel of queries or a linear map."""

import torch
from torch import nn

from patchdistill.qfm.perturbation import channel_statistics

# Gates start open: sigmoid(3) = 0.95.
_OPEN = 3.0
# Beyond it the sigmoid of single precision is 1, and the gate would no longer be one.
_LARGEST_LOGIT = 15.0
_N_HEADS = (8, 6, 4, 3, 2, 1)


class ChannelGate(nn.Module):
    """Decide how much of each channel is let through; at the start, nearly all.

    Parameters
    ----------
    width : int
        Number of channels.
    kind : {"adaptive", "static"}, default="adaptive"
        "adaptive" decides for each image, by a small network over the statistics of its channels. "static" learns
        one decision for all images.

    Raises
    ------
    ValueError
        If `kind` is another one.

    Examples
    --------
    >>> import torch
    >>> from patchdistill.qfm.heads import ChannelGate
    >>> ChannelGate(width=3, kind="static")(torch.zeros(1, 3), torch.ones(1, 3))
    tensor([[0.9526, 0.9526, 0.9526]], grad_fn=<SigmoidBackward0>)
    """

    def __init__(self, width, kind="adaptive"):
        super().__init__()
        if kind not in ("adaptive", "static"):
            raise ValueError(f'kind={kind!r} is no kind of gate; use "adaptive" or "static".')
        self.kind = kind
        if kind == "static":
            self.logits = nn.Parameter(torch.full((width,), _OPEN))
        else:
            hidden = max(1, width // 4)
            self.logits = nn.Sequential(nn.Linear(2 * width, hidden), nn.GELU(), nn.Linear(hidden, width))
            nn.init.normal_(self.logits[-1].weight, std=0.1 / hidden**0.5)
            nn.init.constant_(self.logits[-1].bias, _OPEN)

    def forward(self, mean, std):
        """Compute the gates of images.

        Parameters
        ----------
        mean, std : Tensor of shape (n_images, width)
            Statistics of their channels, as :func:`patchdistill.qfm.perturbation.channel_statistics` gives them.

        Returns
        -------
        Tensor of shape (n_images, width)
            Gates, above 0 and below 1.
        """
        if self.kind == "static":
            logits = self.logits.expand_as(mean)
        else:
            # Both are logarithms for large values, so that features of any scale are told apart and none overflow.
            logits = self.logits(torch.cat([mean.asinh(), std.log()], dim=1)).to(mean.dtype)
        return logits.clamp(-_LARGEST_LOGIT, _LARGEST_LOGIT).sigmoid()


class PanelDecoder(nn.Module):
    """Let a panel of learned queries look at the tokens, and take the mean of its scores, after DEIQT [1]_.

    Each query is the summary token plus what is learned. One decoder layer, with the normalization in front, lets the
    queries see each other and all tokens; one linear map makes a score of each.

    Parameters
    ----------
    width : int
        Features of a token. There are as many heads as divide it: 8, 6, 4, 3, 2 or 1.
    n_queries : int, default=6
        Size of the panel.

    References
    ----------
    .. [1] G. Qin et al., "Data-Efficient Image Quality Assessment with Attention-Panel Decoder", AAAI 2023.

    Examples
    --------
    >>> import torch
    >>> from patchdistill.qfm.heads import PanelDecoder
    >>> scores, hidden = PanelDecoder(width=12)(torch.zeros(2, 5, 12))
    >>> scores.shape, hidden.shape
    (torch.Size([2]), torch.Size([2, 12]))
    """

    def __init__(self, width, n_queries=6):
        super().__init__()
        n_heads = next(n for n in _N_HEADS if width % n == 0)
        self.queries = nn.Parameter(torch.randn(1, n_queries, width) / width**0.5)
        self.layer = nn.TransformerDecoderLayer(
            width, n_heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.norm = nn.LayerNorm(width)
        self.score = nn.Linear(width, 1)

    def forward(self, tokens):
        """Score images.

        Parameters
        ----------
        tokens : Tensor of shape (n_images, 1 + n_tokens, width)
            Tokens, with the summary token first; the order of the others has no influence.

        Returns
        -------
        scores : Tensor of shape (n_images,)
            Mean of the panel's scores.
        hidden : Tensor of shape (n_images, width)
            Mean of what the queries became, the vector that the scores are read from.
        """
        panel = self.norm(self.layer(tokens[:, :1] + self.queries, tokens))
        return self.score(panel).mean(dim=(1, 2)).to(tokens.dtype), panel.mean(dim=1)


class LinearHead(nn.Module):
    """Score images by a linear map of the mean over their tokens: what QFMRidge solves in closed form.

    Parameters
    ----------
    width : int
        Features of a token.

    Examples
    --------
    >>> import torch
    >>> from patchdistill.qfm.heads import LinearHead
    >>> scores, hidden = LinearHead(width=12)(torch.zeros(2, 5, 12))
    >>> scores.shape, hidden.shape
    (torch.Size([2]), torch.Size([2, 12]))
    """

    def __init__(self, width):
        super().__init__()
        self.score = nn.Linear(width, 1)

    def forward(self, tokens):
        """Score images.

        Parameters
        ----------
        tokens : Tensor of shape (n_images, 1 + n_tokens, width)
            Tokens, with the summary token first, which is left out unless there is no other.

        Returns
        -------
        scores : Tensor of shape (n_images,)
            Scores.
        hidden : Tensor of shape (n_images, width)
            Mean over the tokens.
        """
        hidden, _ = channel_statistics(tokens)
        return self.score(hidden)[:, 0].to(tokens.dtype), hidden
