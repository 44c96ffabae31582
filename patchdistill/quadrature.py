"""Which few patches, with which weights, give the averages that all patches give: kernel quadrature."""

import numpy as np
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import nnls

from patchdistill.normalization import standardize_columns
from patchdistill.similarity import rbf_affinity
from patchdistill.ties import rounded

# Bandwidth of the Gaussian part of the kernel, as a multiple of the median squared distance.
_BANDWIDTH = 4.0

# Of the mean of the kernel's diagonal: what a patch's own share of the kernel is raised by in the greedy order.
_RIDGE = 1e-3

# Pull of the weights towards the shares of patches that are nearest to each kept one, and the part of these shares that
# a weight keeps at least: a patch that is kept always counts.
_PULL = 1e-2
_LEAST = 0.1

# How much more a violation of "the weights sum to 1" costs than anything else, before they are rescaled.
_SUM_FIRST = 1e4


def quadrature_kernel(points, distances):
    r"""Kernel in which sets of patches are near if models that average over patches cannot tell them apart.

    Its first part is the inner product of :math:`(x, x^2 / 2)`, divided by the number of features, where every
    feature of :math:`x` is standardized: the distance of two weighted sets is then, to first order, the change of the
    mean and of the standard deviation of every feature. The second part, a Gaussian of the distances, does the same
    for smooth functions of a patch.

    Parameters
    ----------
    points : ndarray of shape (n_patches, n_features)
        Embeddings.
    distances : ndarray of shape (n_patches, n_patches)
        Distances between patches.

    Returns
    -------
    ndarray of shape (n_patches, n_patches)
        Positive semidefinite.
    """
    first = standardize_columns(points)
    moments = (first @ first.T).astype(np.float64)
    second = np.square(first, out=first)
    second -= np.mean(second, axis=0)
    moments += second @ second.T / 4
    return moments / points.shape[1] + rbf_affinity(distances, _BANDWIDTH)


def quadrature_order(kernel, counts, n):
    """Order the first patches of a quadrature: each next one is worth the most, given those before.

    In a Gaussian process with this covariance, it is the patch whose value tells most of the average over all patches
    (sequential Bayesian quadrature). Copies of a patch taken tell nothing and are not taken.

    Parameters
    ----------
    kernel : ndarray of shape (n_patches, n_patches)
        Positive semidefinite.
    counts : ndarray of shape (n_patches,)
        How much each patch counts in the average; they sum to 1.
    n : int
        Number of patches to take, at most n_patches.

    Returns
    -------
    ndarray of int
        At most `n` patches; fewer if no further one would get a positive weight.

    References
    ----------
    .. [1] F. Huszar, D. Duvenaud, "Optimally-Weighted Herding is Bayesian Quadrature", UAI 2012.
    """
    ridge = _RIDGE * np.mean(np.diag(kernel))
    variances, unexplained = np.diag(kernel).copy(), kernel @ counts
    # A pivoted Cholesky factorization of the kernel: only the columns of patches taken are ever needed.
    factor, order = np.empty((n, len(kernel))), []
    for k in range(n):
        gains = np.where(unexplained > 0, unexplained**2 / (np.maximum(variances, 0.0) + ridge), 0.0)
        gains[order] = 0.0
        if not gains.max() > 0:
            break
        j = int(rounded(gains).argmax())
        column = kernel[j] - factor[:k, j] @ factor[:k]
        scale = variances[j] + ridge
        order.append(j)
        unexplained = unexplained - column * (unexplained[j] / scale)
        factor[k] = column / np.sqrt(scale)
        variances -= factor[k] ** 2
    return np.array(order, dtype=np.intp)


def quadrature_weights(kernel, counts, kept, shares):
    """Weights with which kept patches stand best for all.

    Minimizes the squared distance, in the kernel, between the weighted kept patches and all patches, plus a small
    multiple of the squared distance of the weights to `shares`, over weights that sum to 1 and are at least a tenth of
    `shares`. A convex problem with one solution, solved by Lawson and Hanson's non-negative least squares.

    Parameters
    ----------
    kernel : ndarray of shape (n_patches, n_patches)
        Positive semidefinite.
    counts : ndarray of shape (n_patches,)
        How much each patch counts in the average; they sum to 1.
    kept : ndarray of int, shape (n_kept,)
        Kept patches.
    shares : ndarray of shape (n_kept,)
        Positive, summing to 1: for each kept patch what the patches nearest to it count together.

    Returns
    -------
    ndarray of shape (n_kept,)
        Positive, summing to 1.
    """
    among = kernel[np.ix_(kept, kept)]
    scale = np.mean(np.diag(among))
    hessian = among + _PULL * scale * np.eye(len(kept))
    target = kernel[kept] @ counts + _PULL * scale * shares - hessian @ (_LEAST * shares)
    # |F v - F^-T target|^2 with F'F = hessian has the same minimum as the quadratic form, and a last row holds the sum.
    factor = cholesky(hessian)
    row = np.full(len(kept), _SUM_FIRST * np.sqrt(scale))
    above, _ = nnls(
        np.vstack([factor, row]),
        np.append(solve_triangular(factor, target, trans="T"), row[0] * (1 - _LEAST)),
        maxiter=100 * len(kept),
    )
    weights = above + _LEAST * shares
    return weights / weights.sum()


def quadrature_error(kernel, counts, kept, weights):
    """Distance between the weighted kept patches and all patches, in standard deviations of a patch.

    Parameters
    ----------
    kernel : ndarray of shape (n_patches, n_patches)
        Positive semidefinite.
    counts : ndarray of shape (n_patches,)
        How much each patch counts in the average; they sum to 1.
    kept : ndarray of int, shape (n_kept,)
        Kept patches.
    weights : ndarray of shape (n_kept,)
        Their weights, summing to 1.

    Returns
    -------
    float
        At least 0; about ``1 / sqrt(m)`` for m patches drawn at random with replacement, equally weighted. 0 where all
        patches are alike.
    """
    difference = -counts.copy()
    difference[kept] += weights
    spread = counts @ np.diag(kernel) - counts @ kernel @ counts
    squared = difference @ kernel @ difference
    return float(np.sqrt(max(squared, 0.0) / spread)) if spread > 1e-12 * np.mean(np.diag(kernel)) else 0.0
