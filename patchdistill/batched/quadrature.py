"""Which few patches of every image give its averages, and how; :mod:`patchdistill.quadrature` for batches."""

import torch

from patchdistill.batched.masked import take_square
from patchdistill.batched.nonnegative import minimize_nonnegative
from patchdistill.batched.normalization import standardize_columns
from patchdistill.batched.similarity import gram, rbf_affinity
from patchdistill.quadrature import _BANDWIDTH, _LEAST, _PULL, _RIDGE, _SUM_FIRST
from patchdistill.ties import _DECIMALS


def quadrature_kernel(points, squared, real):
    """Kernel of :func:`patchdistill.quadrature.quadrature_kernel`.

    Parameters
    ----------
    points : Tensor of float32 or float64, shape (n_images, n_patches, n_features)
        Embeddings. Inner products are computed in their precision.
    squared : Tensor of float64, shape (n_images, n_patches, n_patches)
        Squared distances between patches.
    real : Tensor of bool, shape (n_images, n_patches)
        Patches that count.

    Returns
    -------
    Tensor of shape (n_images, n_patches, n_patches)
        Positive semidefinite, 0 where a patch does not count.
    """
    first, second = standardize_columns(points, real)
    shares = (real.to(torch.float64) / real.sum(dim=1, keepdim=True))[:, :, None]
    of_squares = gram(second).to(torch.float64)
    # Squares are centered here, where they are few: (I - 1 w') S S' (I - w 1').
    row_means = torch.bmm(of_squares, shares)
    of_squares += torch.bmm(shares.mT, row_means) - row_means - row_means.mT
    moments = (gram(first) + of_squares / 4) / points.shape[2]
    return moments * (real[:, :, None] & real[:, None, :]) + rbf_affinity(squared, real, _BANDWIDTH)


def quadrature_order(kernel, counts, real, n):
    """Order the first patches of a quadrature: each next one is worth the most, given those before.

    Parameters
    ----------
    kernel : Tensor of float64, shape (n_images, n_patches, n_patches)
        Positive semidefinite, 0 where a patch is padding.
    counts : Tensor of shape (n_images, n_patches)
        How much each patch counts in the average; they sum to 1, and are 0 where a patch is padding.
    real : Tensor of bool, shape (n_images, n_patches)
        Which patches are no padding.
    n : Tensor of int, shape (n_images,)
        Number of patches to take.

    Returns
    -------
    order : Tensor of int, shape (n_images, largest n)
        Patches.
    lengths : Tensor of int, shape (n_images,)
        How many of them are meant; fewer than `n` where no further one would get a positive weight.
    """
    most = int(n.max())
    offsets = kernel.shape[1] * torch.arange(len(kernel), device=kernel.device)
    ridge = _RIDGE * mean_diagonal(kernel, real)[:, None]
    variances = kernel.diagonal(dim1=1, dim2=2).clone()
    unexplained = torch.bmm(kernel, counts[:, :, None])[:, :, 0]
    untaken = real.to(kernel.dtype)
    factor = kernel.new_zeros(*kernel.shape[:2], most)  # the covariance that is left is kernel - factor factor'
    order, helps = torch.empty(len(kernel), most, dtype=torch.int64, device=kernel.device), []
    for k in range(most):
        gains = unexplained.clamp(min=0.0).square() / (variances.clamp(min=0.0) + ridge) * untaken
        largest = gains.amax(dim=1, keepdim=True)
        helps.append(largest > 0)
        j = (gains / largest * 10.0**_DECIMALS).round().argmax(dim=1, keepdim=True)
        order[:, k : k + 1] = j
        untaken.scatter_(1, j, 0.0)
        rows = offsets + j[:, 0]
        column = kernel.flatten(0, 1).index_select(0, rows)
        at_j = factor.flatten(0, 1).index_select(0, rows)
        column -= torch.bmm(factor, at_j[:, :, None])[:, :, 0]
        root = (column.gather(1, j) + ridge).sqrt()
        column /= root
        factor[:, :, k] = column
        variances.addcmul_(column, column, value=-1)
        unexplained = unexplained.addcmul(column, unexplained.gather(1, j) / root, value=-1)
    helped = torch.cat(helps, dim=1).to(torch.int64).cumprod(dim=1).sum(dim=1) if helps else torch.zeros_like(n)
    return order, torch.minimum(helped, n)


def quadrature_weights(kernel, counts, kept, is_kept, shares):
    """Weights with which kept patches stand best for all.

    Parameters
    ----------
    kernel : Tensor of float64, shape (n_images, n_patches, n_patches)
        Positive semidefinite, 0 where a patch is padding.
    counts : Tensor of shape (n_images, n_patches)
        How much each patch counts in the average; they sum to 1.
    kept : Tensor of int, shape (n_images, n_kept)
        Kept patches.
    is_kept : Tensor of bool, shape (n_images, n_kept)
        Which of these are no padding.
    shares : Tensor of shape (n_images, n_kept)
        Positive, summing to 1: for each kept patch what the patches nearest to it count together.

    Returns
    -------
    Tensor of shape (n_images, n_kept)
        Weights as :func:`patchdistill.quadrature.quadrature_weights` gives them, 0 where they are padding.
    """
    among = take_square(kernel, kept) * (is_kept[:, :, None] & is_kept[:, None, :])
    scale = mean_diagonal(among, is_kept)
    pull = _PULL * scale[:, None]
    hessian = among + torch.diag_embed(pull.expand_as(shares))
    average = (kernel @ counts[:, :, None])[:, :, 0].gather(1, kept)
    target = average + pull * shares - _LEAST * (hessian @ shares[:, :, None])[:, :, 0]
    above = minimize_nonnegative(hessian, target, _SUM_FIRST**2 * scale, 1 - _LEAST, is_kept)
    weights = above + _LEAST * shares
    return weights / weights.sum(dim=1, keepdim=True)


def quadrature_error(kernel, counts, real, kept, weights):
    """Distance between the weighted kept patches and all patches, in standard deviations of a patch.

    Parameters
    ----------
    kernel : Tensor of float64, shape (n_images, n_patches, n_patches)
        Positive semidefinite, 0 where a patch is padding.
    counts : Tensor of shape (n_images, n_patches)
        How much each patch counts in the average; they sum to 1.
    real : Tensor of bool, shape (n_images, n_patches)
        Which patches are no padding.
    kept : Tensor of int, shape (n_images, n_kept)
        Kept patches, different ones, padding included.
    weights : Tensor of shape (n_images, n_kept)
        Their weights, summing to 1, 0 where they are padding.

    Returns
    -------
    Tensor of shape (n_images,)
        As :func:`patchdistill.quadrature.quadrature_error` gives it.
    """
    difference = torch.zeros_like(counts).scatter(1, kept, weights) - counts
    diagonal = kernel.diagonal(dim1=1, dim2=2)
    spread = (counts * diagonal).sum(dim=1) - _form(kernel, counts)
    varies = spread > 1e-12 * mean_diagonal(kernel, real)
    ratio = _form(kernel, difference).clamp(min=0.0) / torch.where(varies, spread, torch.inf)
    return ratio.sqrt()


def mean_diagonal(matrices, real):
    """Mean of the diagonals, over what is no padding.

    Parameters
    ----------
    matrices : Tensor of shape (n_images, n, n)
        Matrices, 0 on the diagonal where they are padding.
    real : Tensor of bool, shape (n_images, n)
        What is no padding.

    Returns
    -------
    Tensor of shape (n_images,)
        Means.
    """
    return matrices.diagonal(dim1=1, dim2=2).sum(dim=1) / real.sum(dim=1)


def _form(matrices, x):
    return (x * (matrices @ x[:, :, None])[:, :, 0]).sum(dim=1)
