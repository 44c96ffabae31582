"""What would an image's features be, had it the semantics of another one: the statistics of the channels are moved."""

import torch

# Added to variances: channels that do not vary keep a finite gradient and logarithm, and no other channel notices.
_LEAST_VARIANCE = 1e-12
# A channel that is all but constant shows rounding, or the last trace of a rectifier: it is not magnified further.
_LARGEST_RATIO = 100.0


def channel_statistics(tokens):
    """Mean and standard deviation of every channel over the tokens of an image.

    Parameters
    ----------
    tokens : Tensor of shape (n_images, 1 + n_tokens, width)
        Tokens, with the summary token first. It is left out, unless there is no other.

    Returns
    -------
    mean, std : Tensor of shape (n_images, width)
        Their statistics; the standard deviation of a channel that does not vary is 1e-6.

    See Also
    --------
    perturb : Gives tokens the statistics of another image.

    Examples
    --------
    >>> import torch
    >>> from patchdistill.qfm.perturbation import channel_statistics
    >>> channel_statistics(torch.tensor([[[9.0], [1.0], [3.0]]]))
    (tensor([[2.]]), tensor([[1.]]))
    """
    of_places = tokens[:, 1:] if tokens.shape[1] > 1 else tokens
    mean = of_places.mean(dim=1)
    variance = ((of_places - mean[:, None]) ** 2).mean(dim=1)  # var_mean takes 14 times as long along this axis
    return mean, (variance + _LEAST_VARIANCE).sqrt()


def perturb(tokens, mean, std, other_mean, other_std, strength, kind="style"):
    """Move the statistics of an image's channels towards those of another image.

    Tokens of different images do not show the same places, so only their statistics can be exchanged. All tokens of an
    image, its summary too, are moved alike.

    Parameters
    ----------
    tokens : Tensor of shape (n_images, 1 + n_tokens, width)
        Tokens, with the summary token first.
    mean, std : Tensor of shape (n_images, width)
        Statistics of `tokens`, as :func:`channel_statistics` gives them. Gradients flow through them; detach them if
        they should not.
    other_mean, other_std : Tensor of shape (n_images, width)
        Statistics of each image's partner.
    strength : Tensor of shape (n_images,)
        How far they are moved: 0 leaves the tokens exactly as they are, 1 gives them the statistics of the partner.
    kind : {"style", "shift"}, default="style"
        "shift" moves the mean alone. "style" moves the standard deviation too, which with strength 1 is adaptive
        instance normalization [1]_; a standard deviation is at most multiplied by 100.

    Returns
    -------
    Tensor of shape (n_images, 1 + n_tokens, width)
        The perturbed tokens, linear in `strength`.

    Raises
    ------
    ValueError
        If `kind` is another one.

    References
    ----------
    .. [1] X. Huang, S. Belongie, "Arbitrary Style Transfer in Real-Time with Adaptive Instance Normalization",
       ICCV 2017.

    Examples
    --------
    >>> import torch
    >>> from patchdistill.qfm.perturbation import channel_statistics, perturb
    >>> tokens, mean, std = torch.tensor([[[2.0], [1.0], [3.0]]]), torch.tensor([[5.0]]), torch.tensor([[10.0]])
    >>> perturb(tokens, *channel_statistics(tokens), mean, std, strength=torch.ones(1)).flatten()
    tensor([ 5., -5., 15.])
    """
    if kind not in ("style", "shift"):
        raise ValueError(f'kind={kind!r} is no kind of perturbation; use "style" or "shift".')
    move = (other_mean - mean)[:, None]
    if kind == "style":
        ratio = other_std / torch.maximum(std, other_std / _LARGEST_RATIO)
        move = move + (ratio - 1)[:, None] * (tokens - mean[:, None])
    return tokens + strength[:, None, None] * move


@torch.no_grad()
def worst_partner(score, tokens, statistics, partners, valid, strength, kind="style"):
    """Find the partner whose statistics move an image's score most.

    Parameters
    ----------
    score : callable
        Maps tokens to scores (n_images,). It is run without gradients, once for the tokens as they are and once for
        each of the `k` partners.
    tokens : Tensor of shape (n_images, 1 + n_tokens, width)
        Tokens, with the summary token first.
    statistics : tuple of 2 Tensor of shape (n_images, width)
        Mean and standard deviation of `tokens`.
    partners : tuple of 2 Tensor of shape (n_images, k, width)
        Those of the partners.
    valid : Tensor of bool, shape (n_images, k)
        Which of them there are.
    strength : Tensor of shape (n_images,)
        Strength of the perturbation.
    kind : {"style", "shift"}, default="style"
        Kind of the perturbation.

    Returns
    -------
    Tensor of int64, shape (n_images,)
        Column of that partner, the first of equals; 0 for an image without any, which the caller leaves out.

    See Also
    --------
    perturb : The perturbation.

    Examples
    --------
    >>> import torch
    >>> from patchdistill.qfm.perturbation import channel_statistics, worst_partner
    >>> tokens = torch.tensor([[[2.0], [1.0], [3.0]]])
    >>> partners = torch.tensor([[[2.0], [-7.0], [9.0]]]), torch.ones(1, 3, 1)
    >>> valid, strength = torch.tensor([[True, True, True]]), torch.ones(1)
    >>> worst_partner(lambda x: x.mean(dim=(1, 2)), tokens, channel_statistics(tokens), partners, valid, strength)
    tensor([1])
    """
    before = score(tokens)
    changes = torch.full(valid.shape, -1.0, dtype=before.dtype, device=before.device)
    for column in range(valid.shape[1]):
        partner = (values[:, column] for values in partners)
        changes[:, column] = (score(perturb(tokens, *statistics, *partner, strength, kind)) - before).abs()
    return changes.masked_fill(~valid, -1.0).argmax(dim=1)
