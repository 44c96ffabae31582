"""From the patches of every image to its spectral target; :mod:`patchdistill.similarity` for batches."""

import math

import torch

from patchdistill.batched.eigenpairs import leading_eigenpairs
from patchdistill.batched.masked import median, prefix
from patchdistill.batched.problem import row_norms
from patchdistill.similarity import _ROUNDING, _TIED

# Rows of blocks of a symmetric product on a CPU, of which those above the diagonal are not computed.
_GRAM_BLOCKS = 3


def squared_distances(E, real):
    """Squared Euclidean distances between the patches of every image.

    Parameters
    ----------
    E : Tensor of float64, shape (n_images, n_patches, n_features)
        Embeddings.
    real : Tensor of bool, shape (n_images, n_patches)
        Which patches are no padding.

    Returns
    -------
    Tensor of shape (n_images, n_patches, n_patches)
        Symmetric, non-negative, zero on the diagonal, between copies, and where a patch is padding.
    """
    shares = real.to(E.dtype) / real.sum(dim=1, keepdim=True)
    centered = E - shares[:, None, :] @ E  # distances do not see the mean, their rounding does
    return _squared_distances(gram(centered)) * _pairs(real)


def gram(E):
    """Inner products of the rows, symmetric to the last bit.

    Parameters
    ----------
    E : Tensor of shape (n_images, n, d)
        Rows.

    Returns
    -------
    Tensor of shape (n_images, n, n)
        Inner products.
    """
    n = E.shape[1]
    products = E.new_zeros(len(E), n, n)
    size = n if E.is_cuda else math.ceil(n / _GRAM_BLOCKS)
    for i in range(0, n, size):
        products[:, i : i + size, : i + size] = torch.bmm(E[:, i : i + size], E[:, : i + size].mT)
    return products.tril() + products.tril(-1).mT


def _pairs(real):
    return real[:, :, None] & real[:, None, :]


def _squared_distances(gram):
    """Squared distances of the points whose inner products are given."""
    squared_norms = gram.diagonal(dim1=1, dim2=2)
    sums = squared_norms[:, :, None] + squared_norms[:, None, :]
    squared = sums - 2 * gram
    squared = squared.masked_fill_(squared <= _ROUNDING * sums, 0.0)
    squared.diagonal(dim1=1, dim2=2).zero_()
    return squared


def squared_in_metric(E, squared, real, metric):
    """Squared distances between the patches of every image in any metric.

    Parameters
    ----------
    E : Tensor of float32 or float64, shape (n_images, n_patches, n_features)
        Embeddings, zero where they are padding.
    squared : Tensor of float64, shape (n_images, n_patches, n_patches)
        Their :func:`squared_distances`.
    real : Tensor of bool, shape (n_images, n_patches)
        Which patches are no padding.
    metric : {"euclidean", "manhattan", "mahalanobis", "cosine"}
        As for :func:`patchdistill.similarity.pairwise_distances`.

    Returns
    -------
    Tensor of shape (n_images, n_patches, n_patches)
        Symmetric, non-negative, zero on the diagonal, between copies, and where a patch is padding.
    """
    if metric == "euclidean":
        return squared
    if metric == "manhattan":
        E = E.to(torch.float64)
        return torch.cdist(E, E, p=1).square() * _pairs(real)
    if metric == "cosine":
        E = E.to(torch.float64)
        lengths = row_norms(E)
        units = E / lengths.masked_fill(lengths == 0, 1.0)[:, :, None]
        return _cosine_distances(units).square() * _pairs(real)
    whitened = _mahalanobis_gram(_centered_gram(squared, real), real.sum(dim=1), E.shape[2])
    return _squared_distances(whitened) * _pairs(real)


def _cosine_distances(units):
    squared = _squared_distances(gram(units))
    is_zero = ~units.any(dim=2)
    squared = squared.masked_fill(is_zero[:, :, None] != is_zero[:, None, :], 2.0)
    return squared / 2  # |u - v|^2 = 2 (1 - cos) for unit vectors


def _centered_gram(squared, real):
    """Inner products, centered on the mean, of points whose squared distances are given."""
    n_patches = real.sum(dim=1)
    to_mean = squared.sum(dim=2) / n_patches[:, None]
    within = to_mean.sum(dim=1) / n_patches
    return (to_mean[:, :, None] + to_mean[:, None, :] - within[:, None, None] - squared) / 2 * _pairs(real)


def _mahalanobis_gram(centered, n_patches, n_features):
    """Inner products in the metric of the inverse shrunk covariance, as in :mod:`patchdistill.similarity`."""
    shrinkage = _ledoit_wolf_shrinkage(centered, n_patches, n_features)
    a = shrinkage * _trace(centered) / n_patches / n_features
    b = (1 - shrinkage) / n_patches
    eigenvalues, vectors = torch.linalg.eigh(centered)
    # Without shrinkage the inverse would blow rounding up: what cannot be, or is not, more than rounding is zero.
    rank = (n_patches - 1).clamp(max=n_features)
    from_largest = torch.arange(centered.shape[1] - 1, -1, -1, device=centered.device)
    is_rounding = (from_largest >= rank[:, None]) | (eigenvalues <= _TIED * eigenvalues[:, -1:])
    whitened = eigenvalues / (a[:, None] + b[:, None] * eigenvalues)
    factor = vectors * whitened.masked_fill(is_rounding, 0.0).sqrt()[:, None, :]
    return gram(factor)


def _ledoit_wolf_shrinkage(centered, n_patches, n_features):
    """Shrinkage of Ledoit and Wolf (2004); every trace in it is a trace of the Gram matrix."""
    mu = _trace(centered) / n_patches / n_features
    cov_squared = centered.square().sum(dim=(1, 2)) / n_patches**2  # ||X'X / n||_F^2
    fourth = centered.diagonal(dim1=1, dim2=2).square().sum(dim=1) / n_patches
    beta = (fourth - cov_squared) / (n_patches * n_features)
    delta = cov_squared / n_features - mu**2
    smaller = torch.minimum(beta, delta)
    return torch.where(smaller > 0, smaller / delta, 0.0)


def _trace(matrices):
    return matrices.diagonal(dim1=1, dim2=2).sum(dim=1)


def rbf_affinity(squared, real, bandwidth):
    """Turn distances into affinities, at a bandwidth that follows their scale.

    Parameters
    ----------
    squared : Tensor of float64, shape (n_images, n_patches, n_patches)
        Squared distances.
    real : Tensor of bool, shape (n_images, n_patches)
        Which patches are no padding.
    bandwidth : float
        Multiple of the median squared distance between patches that are not copies.

    Returns
    -------
    Tensor of shape (n_images, n_patches, n_patches)
        Affinities in [0, 1], 0 where a patch is padding. All ones where all patches are copies.
    """
    i, j = torch.triu_indices(*squared.shape[1:], device=squared.device)
    positive = squared[:, i, j]
    is_real = real[:, i] & real[:, j] & (positive > 0)
    scale = median(positive, is_real).nan_to_num(nan=1.0)
    affinity = torch.exp(-squared / (2 * bandwidth * scale)[:, None, None])
    return affinity.mul_(_pairs(real))


def spectral_target(affinity, n_patches, h):
    """Leading eigenvectors of affinities, scaled by the square roots of their eigenvalues.

    Parameters
    ----------
    affinity : Tensor of float64, shape (n_images, n_patches, n_patches)
        Symmetric affinities, 0 where a patch is padding.
    n_patches : Tensor of int, shape (n_images,)
        Patches of each image.
    h : int
        Number of eigenvectors, at most the patches of an image; all of a multiple eigenvalue, as in
        :func:`patchdistill.similarity.spectral_target`.

    Returns
    -------
    target : Tensor of shape (n_images, n_patches, largest width)
        Targets, zero where they are padding.
    widths : Tensor of int, shape (n_images,)
        Columns of each target that are no padding.
    """
    eigenvalues, vectors = leading_eigenpairs(affinity, n_patches, h + 1)
    tolerance = _TIED * eigenvalues[:, :1].clamp(min=0.0)
    smallest = eigenvalues.gather(1, n_patches.clamp(max=h)[:, None] - 1) - tolerance
    widths = (eigenvalues >= smallest).sum(dim=1)
    width = int(widths.max())
    scales = eigenvalues[:, :width].clamp(min=0.0).sqrt() * prefix(widths, width)
    return vectors[:, :, :width] * scales[:, None, :], widths
