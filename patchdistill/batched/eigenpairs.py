"""Leading eigenpairs of many symmetric matrices at once.

A CPU gives all eigenpairs of a matrix faster than the leading ones are found by iteration. On a GPU it is the other way
round: many releases of PyTorch decompose the matrices of a batch one after the other there, unless they are at most
32 x 32, and each takes milliseconds.
"""

import math

import torch
from torch.nn.functional import pad

from patchdistill.similarity import _TIED

# Columns of the blocks: the largest size that GPUs decompose many at a time, and the fewest more than the wanted ones.
_BLOCK = 32
_GUARD = 8

_FIRST_STEPS = 3  # plain ones, after which the smallest eigenvalue of the block is known well enough for a filter
_DEGREE = 8
_MOST_FILTERS = 12
_RIDGE = 1e-14  # of columns of unit norm: keeps directions that a matrix does not have from breaking the decomposition
_TOL = 2e-13  # residuals as a share of the largest eigenvalue; rounding leaves 1e-14 of it


def leading_eigenpairs(matrices, sizes, n_wanted):
    """Largest eigenvalues and their vectors.

    Parameters
    ----------
    matrices : Tensor of float64, shape (n_images, n, n)
        Positive semidefinite but for rounding, zero where they are padding.
    sizes : Tensor of int, shape (n_images,)
        Rows of each matrix that are no padding.
    n_wanted : int
        How many are wanted, where there are as many.

    Returns
    -------
    values : Tensor of shape (n_images, m)
        At least the wanted ones, descending, -1 where they belong to padding.
    vectors : Tensor of shape (n_images, n, m)
        In columns.
    """
    if not matrices.is_cuda or n_wanted + _GUARD > _BLOCK or n_wanted >= matrices.shape[1]:
        return all_eigenpairs(matrices, sizes)
    return iterated_eigenpairs(matrices, sizes, n_wanted)


def all_eigenpairs(matrices, sizes):
    """All eigenpairs; parameters and results as for :func:`leading_eigenpairs`."""
    is_padding = torch.arange(matrices.shape[1], device=matrices.device) >= sizes[:, None]
    values, vectors = torch.linalg.eigh(matrices - torch.diag_embed(is_padding.to(matrices.dtype)))
    return values.flip(1), vectors.flip(2)


def iterated_eigenpairs(matrices, sizes, n_wanted):
    r"""Leading eigenpairs by subspace iteration; parameters and results as for :func:`leading_eigenpairs`.

    Every step multiplies a block of vectors by :math:`K - \sigma I` and makes it orthonormal again. The shifts are the
    roots of a Chebyshev polynomial on the interval from 0 to the smallest eigenvalue of the block, so that together
    they damp what the block does not hold as well as a polynomial of their degree can [1]_. Matrices for which this
    does not lead to residuals as small as rounding, or that are smaller than a block, are decomposed.

    References
    ----------
    .. [1] Y. Zhou, Y. Saad, M. L. Tiago, J. R. Chelikowsky, "Self-consistent-field calculations using
       Chebyshev-filtered subspace iteration", Journal of Computational Physics 219(1), 2006.
    """
    n_images, n = matrices.shape[:2]
    width = min(_BLOCK, n)
    values, vectors = matrices.new_zeros(n_images, n_wanted), matrices.new_zeros(n_images, n, n_wanted)
    images = (sizes >= width).nonzero()[:, 0]
    K, block = matrices[images], torch.randn(n, width, generator=_generator(), dtype=torch.float64, device="cpu")
    block = block.to(K.device).expand(len(K), -1, -1)
    for _ in range(_FIRST_STEPS):
        block = _orthonormal(torch.bmm(K, block), _RIDGE)
    for _ in range(_MOST_FILTERS):
        best, block, is_found = _rayleigh_ritz(K, block, n_wanted)
        found, left = is_found.nonzero()[:, 0], (~is_found).nonzero()[:, 0]
        values[images[found]], vectors[images[found]] = best[found, :n_wanted], block[found, :, :n_wanted]
        if not len(left):
            break
        images, K, block, smallest = images[left], K[left], block[left], best[left, None, -1:]
        for j in range(_DEGREE):
            shift = (1 + math.cos(math.pi * (j + 0.5) / _DEGREE)) / 2 * smallest
            block = _orthonormal(torch.bmm(K, block) - shift * block, _RIDGE)
    # Of a multiple eigenvalue all vectors are asked for; of matrices that were not found, this holds too.
    missing = (values[:, -2:-1] - values[:, -1:] <= _TIED * values[:, :1])[:, 0].nonzero()[:, 0]
    if len(missing):
        values, vectors = pad(values, (0, n - n_wanted), value=-1.0), pad(vectors, (0, n - n_wanted))
        values[missing], vectors[missing] = all_eigenpairs(matrices[missing], sizes[missing])
    return values, vectors


def _generator():
    """Start of the iteration, the same every time; what it ends with does not depend on it."""
    return torch.Generator().manual_seed(0)


def _rayleigh_ritz(matrices, block, n_wanted):
    """Best eigenpairs in the space of a block, descending, and whether the wanted ones are as good as rounding."""
    block = _orthonormal(_orthonormal(block, _RIDGE), 0.0)
    product = torch.bmm(matrices, block)
    projected = torch.bmm(block.mT, product)
    values, rotation = torch.linalg.eigh((projected + projected.mT).nan_to_num() / 2)
    values, rotation = values.flip(1), rotation.flip(2)
    block, product = torch.bmm(block, rotation), torch.bmm(product, rotation)
    residuals = torch.linalg.vector_norm(product - block * values[:, None], dim=1)[:, :n_wanted]
    overlaps = torch.bmm(block.mT, block) - torch.eye(block.shape[2], dtype=block.dtype, device=block.device)
    is_found = (residuals <= _TOL * values[:, :1]).all(dim=1) & (overlaps.abs() <= _TOL).all(dim=2).all(dim=1)
    return values, block, is_found


def _orthonormal(block, ridge):
    """Orthonormal basis of the columns, by Cholesky's decomposition of their inner products."""
    block = block / torch.linalg.vector_norm(block, dim=1, keepdim=True)
    products = torch.bmm(block.mT, block)
    products.diagonal(dim1=1, dim2=2).add_(ridge)
    root = torch.linalg.cholesky_ex(products).L
    return torch.linalg.solve_triangular(root.mT, block, upper=True, left=False)
