"""Which patches of every image stand apart from the others; :mod:`patchdistill.outliers` for batches.

Here the patches stand in the order of their scores, best first, and so the core of an image are its first patches.
"""

import math

import torch

from patchdistill.batched.masked import percentile, prefix, take, take_columns
from patchdistill.outliers import _BORDER, _CORE, _LOWER, _RIDGE, _TYPICAL


def core_sizes(n_patches):
    """Patches that are explained best: three quarters of each image, rounded up.

    Parameters
    ----------
    n_patches : Tensor of int, shape (n_images,)
        Patches of each image.

    Returns
    -------
    Tensor of int, shape (n_images,)
        Numbers.
    """
    return (_CORE * n_patches.to(torch.float64)).ceil().long()


def find_outliers(distances, n_patches, threshold):
    """Tell which patches are to be set aside.

    Parameters
    ----------
    distances : Tensor of float64, shape (n_images, n_patches, n_patches)
        Euclidean distances between the embeddings, patches in the order of their scores, best first.
    n_patches : Tensor of int, shape (n_images,)
        Patches of each image.
    threshold : float
        As for :func:`patchdistill.outliers.find_outliers`.

    Returns
    -------
    Tensor of bool, shape (n_images, n_patches)
        At most 22.5 % of the patches of an image.
    """
    if threshold == math.inf:
        return torch.zeros_like(distances[:, 0], dtype=torch.bool)
    found = outlyingness(distances, n_patches)
    outliers = (found > _LOWER * threshold) & (found.amax(dim=1, keepdim=True) > threshold)
    n_others = (n_patches - core_sizes(n_patches)).to(distances.dtype)
    return outliers & (outliers.sum(dim=1) <= _BORDER * n_others)[:, None]


def outlyingness(distances, n_patches):
    """How large a jump away from the well explained patches each of the others is.

    Parameters
    ----------
    distances : Tensor of float64, shape (n_images, n_patches, n_patches)
        Euclidean distances between the embeddings, patches in the order of their scores, best first.
    n_patches : Tensor of int, shape (n_images,)
        Patches of each image.

    Returns
    -------
    Tensor of shape (n_images, n_patches)
        As :func:`patchdistill.outliers.outlyingness` gives it; 0 where a patch is padding.
    """
    n_images, n = distances.shape[:2]
    sizes = core_sizes(n_patches)
    result = distances.new_zeros(n_images, n)
    largest_core, most_others = int(sizes.max()), int((n_patches - sizes).max())
    if not most_others:
        return result
    core = prefix(sizes, largest_core)
    places = sizes[:, None] + torch.arange(most_others, device=sizes.device)
    is_other = places < n_patches[:, None]
    places = places.clamp(max=n - 1)
    G = _inner_products(distances, prefix(sizes, n))
    diagonal = G.diagonal(dim1=1, dim2=2)
    variance = (diagonal[:, :largest_core] * core).sum(dim=1) / sizes
    varies = variance > 0
    G = G / torch.where(varies, variance, 1.0)[:, None, None]
    # Patches outside the core are independent of it here: the inverse has a block for them that nothing looks at.
    among_core = G[:, :largest_core, :largest_core] * (core[:, :, None] & core[:, None, :])
    among_core = among_core + torch.diag_embed(torch.where(core, _RIDGE, 1.0).to(G.dtype))
    identity = torch.eye(largest_core, dtype=G.dtype, device=G.device).expand(n_images, -1, -1)
    inverse_root = torch.linalg.solve_triangular(torch.linalg.cholesky_ex(among_core).L, identity, upper=False)
    predicted = 1 / inverse_root.square().sum(dim=1) - _RIDGE
    typical = percentile(predicted, core, _TYPICAL)
    varies &= typical > _RIDGE * torch.finfo(G.dtype).eps * n_patches.to(G.dtype)
    from_others = take(G, places)
    explained = inverse_root @ (from_others[:, :, :largest_core] * core[:, None, :]).mT
    covariance = take_columns(from_others, places) - explained.mT @ explained
    accepted = _largest_accepted(covariance, is_other)
    found = (accepted / torch.where(varies, typical, 1.0)[:, None]).sqrt() * varies[:, None]
    return result.scatter_add(1, places, found.masked_fill(~is_other, 0.0))


def _inner_products(distances, core):
    """Inner products of points whose distances are given, centered on the mean of the core."""
    squared = distances.square()
    shares = core.to(squared.dtype) / core.sum(dim=1, keepdim=True)
    to_mean = (squared @ shares[:, :, None])[:, :, 0]
    within = (to_mean * shares).sum(dim=1)
    return (to_mean[:, :, None] + to_mean[:, None, :] - within[:, None, None] - squared) / 2


def _largest_accepted(covariance, waiting):
    """Forward search: the largest variance accepted up to each patch's joining, given the core."""
    n_images, n = waiting.shape
    offsets = n * torch.arange(n_images, device=covariance.device)
    left, barrier = covariance.clone(), torch.zeros_like(covariance[:, 0]).masked_fill(~waiting, torch.inf)
    variances, rows = left.diagonal(dim1=1, dim2=2), left.flatten(0, 1)
    largest, accepted = torch.zeros_like(barrier[:, :1]), torch.zeros_like(barrier)
    for _ in range(n):
        j = (variances + barrier).argmin(dim=1, keepdim=True)
        pivot = variances.gather(1, j)
        largest = torch.maximum(largest, pivot)
        # Where nobody waits any more the first place is asked again, which must keep what it has.
        accepted.scatter_(1, j, torch.where(barrier.gather(1, j) > 0, accepted.gather(1, j), largest))
        barrier.scatter_(1, j, torch.inf)
        row = rows.index_select(0, offsets + j[:, 0])
        left.baddbmm_(row[:, :, None], (row / (pivot + _RIDGE))[:, None, :], alpha=-1)
    return accepted
