"""The spectral target of very many patches: by landmarks, and by passes over all affinities where these fall short."""

import math

import numpy as np
from scipy.linalg import eigh

from patchdistill.large.affinity import BlockAffinity
from patchdistill.large.sizes import row_blocks

# The stated error at which the target is accurate enough.
TOLERANCE = 1e-3

# Eigenvectors carried along beyond those asked for, and the most passes over the affinity. By default one pass, or
# none, is enough; a narrow bandwidth, where all eigenvalues are nearly equal, takes up to nine.
_EXTRA = 10
_PASSES = 20

# Patches between which the median distance is taken, and which stand for all others in the Nystrom approximation: as
# many, or this many times the root of the number of patches.
_LANDMARKS = 500
_LANDMARKS_PER_ROOT = 4

# Eigenvalues of the landmarks' affinity below this share of the largest are rounding.
_ROUNDING = 1e-12

# Directions that are shorter than this share of the longest add nothing but rounding, which is that of float32.
_NOTHING_NEW = 1e-6


def large_target(rows, metric, bandwidth, h):
    r"""Spectral target without the affinity it comes from.

    The leading eigenvectors are those of the Nystrom approximation by evenly spaced landmarks. Where its stated error
    is above a thousandth they are refined by passes over the whole affinity, block by block.

    Parameters
    ----------
    rows : ndarray of float64, shape (n_patches, n_features)
        Normalized embeddings, in an order that depends on their contents alone.
    metric : {"euclidean", "manhattan", "mahalanobis", "cosine"}
        Distance between patches.
    bandwidth : float
        Of the affinity, as a multiple of the median squared distance between landmarks.
    h : int
        Number of eigenvectors.

    Returns
    -------
    Z : ndarray of shape (n_patches, h)
        Target, as of :func:`patchdistill.similarity.spectral_target`. Of a multiple eigenvalue at the cut any
        eigenvectors are taken.
    error : float
        The columns of `Z` are exact eigenvectors, with their eigenvalues, of a matrix that differs from the affinity by
        at most this share of it, in the spectral norm.
    """
    n_landmarks = max(_LANDMARKS, math.ceil(_LANDMARKS_PER_ROOT * math.sqrt(len(rows))), h + _EXTRA)
    affinity = BlockAffinity(rows.astype(np.float64, copy=False), metric, bandwidth, n_landmarks)
    values, vectors, error = nystrom(affinity, h + _EXTRA)
    if error > TOLERANCE or not affinity.is_positive:
        values, vectors, error = refine(affinity.multiply, vectors, h)
    Z = np.zeros((len(rows), h))
    values, vectors = values[:h], vectors[:, :h]
    Z[:, : len(values)] = vectors * np.sqrt(np.maximum(values, 0.0))
    return Z, error


def inaccuracy_message(errors):
    """Tell of the images whose target missed the tolerance."""
    late = np.flatnonzero(np.asarray(errors) > TOLERANCE)
    worst = late[np.argmax(np.asarray(errors)[late])]
    return (
        f"The target of {len(late)} of {len(errors)} {'image' if len(errors) == 1 else 'images'} is not accurate to "
        f"{TOLERANCE:g} after {_PASSES} passes over the affinity (largest error {errors[worst]:.1e} at image {worst}); "
        "raise bandwidth."
    )


def nystrom(affinity, k):
    r"""Leading eigenpairs of the Nystrom approximation.

    With the affinities :math:`C` of all patches and :math:`A` of the landmarks with the landmarks,
    :math:`\tilde K = C A^+ C^\top`. If `K` is positive semidefinite so is :math:`K - \tilde K`, and its norm is at
    most its trace, which is known because the diagonal of `K` is all ones.

    Parameters
    ----------
    affinity : BlockAffinity
        Affinity.
    k : int
        Number of eigenpairs.

    Returns
    -------
    values : ndarray of shape (k,)
        Eigenvalues, largest first; fewer than `k` if the approximation has no more.
    vectors : ndarray of shape (n_patches, k)
        Orthonormal eigenvectors.
    error : float
        ``trace(K - K~)`` over the largest eigenvalue: if `K` is positive semidefinite, a bound on
        ``||K - K~||`` relative to it.

    References
    ----------
    .. [1] C. K. I. Williams, M. Seeger, "Using the Nystrom Method to Speed Up Kernel Machines", NIPS 2000.
    """
    n, landmarks = len(affinity), affinity.landmarks
    values, vectors = eigh(affinity.columns(landmarks, landmarks))
    known = values > _ROUNDING * values[-1]
    factor = vectors[:, known] / np.sqrt(values[known])  # K~ = (C factor) (C factor)'
    blocks = row_blocks(n, len(landmarks))
    gram = np.zeros((factor.shape[1], factor.shape[1]))
    for rows in blocks:
        part = affinity.columns(rows, landmarks) @ factor
        gram += part.T @ part
    m = len(gram)
    values, vectors = eigh(gram, subset_by_index=(max(0, m - k), m - 1))
    values, vectors = values[::-1], vectors[:, ::-1]
    factor = factor @ (vectors / np.sqrt(values))
    vectors = np.concatenate([affinity.columns(rows, landmarks) @ factor for rows in blocks])
    return values, vectors, max(n - np.trace(gram), 0.0) / values[0]


def refine(multiply, start, h):
    r"""Leading eigenpairs of a symmetric matrix, by a block Krylov method with Rayleigh-Ritz projections.

    With orthonormal `V`, the residual :math:`\|K V - V \Lambda\|` is the smallest norm of a change of `K` of which `V`
    and :math:`\Lambda` are exact eigenpairs.

    Parameters
    ----------
    multiply : callable
        Maps vectors (n, k) to their products with the matrix.
    start : ndarray of shape (n, k)
        Approximate leading eigenvectors, at least `h` unless the matrix has fewer.
    h : int
        Number of eigenpairs.

    Returns
    -------
    values : ndarray of shape (h,)
        Eigenvalues, largest first.
    vectors : ndarray of shape (n, h)
        Orthonormal eigenvectors.
    error : float
        Spectral norm of the residual over the largest eigenvalue, at most a thousandth unless twenty passes did not do.

    References
    ----------
    .. [1] B. N. Parlett, "The Symmetric Eigenvalue Problem", SIAM 1998, theorem 11.5.1 and chapter 13.
    """
    basis = np.linalg.qr(start)[0]
    images = multiply(basis)
    for n_passes in range(1, _PASSES + 1):
        projected = basis.T @ images
        values, vectors = np.linalg.eigh((projected + projected.T) / 2)
        values, vectors = values[::-1][: start.shape[1]], vectors[:, ::-1][:, : start.shape[1]]
        residual = images @ vectors - basis @ (vectors * values)
        error = np.linalg.norm(residual[:, :h], 2) / values[0]
        if error <= TOLERANCE or n_passes == _PASSES:
            break
        new = _new_directions(residual, basis)
        basis, images = np.hstack([basis, new]), np.hstack([images, multiply(new)])
    return values[:h], basis @ vectors[:, :h], error


def _new_directions(vectors, basis):
    """Orthonormal basis of what vectors have outside the span of another one; twice, for rounding."""
    for _ in range(2):
        vectors, sizes, _ = np.linalg.svd(vectors - basis @ (basis.T @ vectors), full_matrices=False)
        vectors = vectors[:, sizes > _NOTHING_NEW * sizes.max(initial=0.0)]
    return vectors
