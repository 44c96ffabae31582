"""What training makes small: errors, sensitivity to the semantics of others, and likeness where quality differs."""

import torch
from torch.nn import functional


def regression_loss(scores, y, weights=None, beta=1.0):
    """Mean smooth L1 distance of scores to labels.

    Parameters
    ----------
    scores, y : Tensor of shape (n_images,)
        Scores and standardized labels.
    weights : Tensor of shape (n_images,), default=None
        How much each image counts; all alike by default.
    beta : float, default=1.0
        Differences below it cost their square / (2 beta), others their size less beta / 2.

    Returns
    -------
    Tensor of shape ()
        The loss; 0 if no image has weight.

    Raises
    ------
    ValueError
        If the shapes are not the same.

    Examples
    --------
    >>> import torch
    >>> from patchdistill.qfm.losses import regression_loss
    >>> regression_loss(torch.tensor([1.0, 2.0]), torch.tensor([0.0, 2.0]))
    tensor(0.2500)
    """
    return _weighted_mean(_smooth_l1(scores, y, beta), weights)


def consistency_loss(scores, perturbed, valid, beta=1.0):
    """Mean smooth L1 distance between the scores of images and of the same images with the semantics of others.

    Gradients flow through both.

    Parameters
    ----------
    scores, perturbed : Tensor of shape (n_images,) or (n_images, k)
        Scores before and after the perturbation.
    valid : Tensor of bool, same shape
        Where there was a partner to perturb with.
    beta : float, default=1.0
        As for :func:`regression_loss`.

    Returns
    -------
    Tensor of shape ()
        The loss; 0 if there was no partner at all.

    Raises
    ------
    ValueError
        If the shapes are not the same.

    See Also
    --------
    patchdistill.qfm.perturbation.perturb : The perturbation.

    Examples
    --------
    >>> import torch
    >>> from patchdistill.qfm.losses import consistency_loss
    >>> consistency_loss(torch.tensor([1.0, 2.0]), torch.tensor([0.0, 7.0]), torch.tensor([True, False]))
    tensor(0.5000)
    """
    return _weighted_mean(_smooth_l1(scores, perturbed, beta), valid)


def contrastive_loss(hidden, positives, positive_valid, negatives, negative_valid, temperature=0.1):
    """Tell images of other quality apart, however alike they look.

    The InfoNCE loss [1]_ of each positive against all negatives, with cosine similarities. Every image that has both
    counts alike, and its positives share its weight.

    Parameters
    ----------
    hidden : Tensor of shape (n_images, width)
        Hidden vectors.
    positives : Tensor of shape (n_images, k, width)
        Those of images of like quality.
    positive_valid : Tensor of bool, shape (n_images, k)
        Which of them there are.
    negatives : Tensor of shape (n_images, m, width)
        Those of images of other quality.
    negative_valid : Tensor of bool, shape (n_images, m)
        Which of them there are.
    temperature : float, default=0.1
        What similarities are divided by.

    Returns
    -------
    Tensor of shape ()
        The loss; 0 if no image has both.

    References
    ----------
    .. [1] A. van den Oord, Y. Li, O. Vinyals, "Representation Learning with Contrastive Predictive Coding",
       arXiv 1807.03748, 2018.

    Examples
    --------
    >>> import torch
    >>> from patchdistill.qfm.losses import contrastive_loss
    >>> like, unlike = torch.tensor([[1.0, 0.0]]), torch.tensor([[-1.0, 0.0]])
    >>> is_there = torch.tensor([[True]])
    >>> contrastive_loss(like, like[None], is_there, unlike[None], is_there, temperature=1.0)
    tensor(0.1269)
    """
    hidden = functional.normalize(hidden, dim=-1)[:, None]
    to_positives = (hidden * functional.normalize(positives, dim=-1)).sum(dim=-1) / temperature
    to_negatives = (hidden * functional.normalize(negatives, dim=-1)).sum(dim=-1) / temperature
    to_negatives = to_negatives.masked_fill(~negative_valid, -torch.inf)
    # -log(e^s / (e^s + sum of e^t)) = log(1 + e^(log of that sum - s))
    losses = functional.softplus(to_negatives.logsumexp(dim=1, keepdim=True) - to_positives)
    usable = (positive_valid & negative_valid.any(dim=1, keepdim=True)).to(hidden.dtype)
    return _weighted_mean(losses, usable / usable.sum(dim=1, keepdim=True).clamp(min=1))


def feature_distance(a, b, weights=None):
    """Mean cosine distance, 1 - cos, between hidden vectors of two networks.

    Parameters
    ----------
    a, b : Tensor of shape (n_images, width)
        Hidden vectors.
    weights : Tensor of shape (n_images,), default=None
        How much each image counts; all alike by default.

    Returns
    -------
    Tensor of shape ()
        The distance, in [0, 2]; 0 if no image has weight.

    Raises
    ------
    ValueError
        If the shapes are not the same.

    Examples
    --------
    >>> import torch
    >>> from patchdistill.qfm.losses import feature_distance
    >>> feature_distance(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 3.0]]))
    tensor(1.)
    """
    _check_same_shape(a, b)
    return _weighted_mean(1 - functional.cosine_similarity(a, b, dim=-1), weights)


def _smooth_l1(a, b, beta):
    _check_same_shape(a, b)
    return functional.smooth_l1_loss(a, b, reduction="none", beta=beta)


def _weighted_mean(values, weights):
    """Mean whose graph is there also where all weights are 0, and it is 0."""
    if weights is None:
        return values.mean()
    _check_same_shape(values, weights)
    weights = weights.to(values.dtype)
    total = weights.sum()
    return (weights * values).sum() / torch.where(total > 0, total, 1.0)


def _check_same_shape(a, b):
    """Refuse what PyTorch would broadcast: (n, 1) with (n,) is a loss over all pairs."""
    if a.shape != b.shape:
        raise ValueError(f"Got the shapes {tuple(a.shape)} and {tuple(b.shape)}; they must be the same.")
