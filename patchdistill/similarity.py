"""From the patches of one image to its spectral target: distances -> affinity -> leading eigenvectors."""

import numpy as np
from scipy.linalg import eigh
from scipy.spatial.distance import pdist, squareform

from patchdistill.normalization import unit_rows

METRICS = ("euclidean", "manhattan", "mahalanobis", "cosine")

# Squared distances come from a Gram matrix and carry its rounding, a few eps times the squared norms. What is below
# this share of the norms is rounding: it counts as zero, so that copies are at distance zero exactly.
_ROUNDING = 256 * np.finfo(float).eps
# Eigenvalues closer than this, relative to the largest, count as one multiple eigenvalue; below it, as zero.
_TIED = 1e-9


def pairwise_distances(E, metric="euclidean"):
    """Distances between the patches of one image.

    Parameters
    ----------
    E : ndarray of shape (n_patches, n_features)
        Embeddings of the patches. All is computed in float64.
    metric : {"euclidean", "manhattan", "mahalanobis", "cosine"} or callable, default="euclidean"
        ``"mahalanobis"`` uses the Ledoit-Wolf shrunk covariance of the patches. ``"cosine"`` is one minus the cosine; a
        row of zeros is at distance 1 from every other row and 0 from its like. A callable gets `E` and returns the
        matrix of distances, (n_patches, n_patches).

    Returns
    -------
    ndarray of shape (n_patches, n_patches)
        Symmetric, non-negative, zero on the diagonal and between copies.

    Raises
    ------
    ValueError
        If the metric is unknown or a callable returns anything but such a matrix.

    References
    ----------
    .. [1] O. Ledoit and M. Wolf, "A well-conditioned estimator for large-dimensional covariance matrices", Journal of
       Multivariate Analysis 88(2), 2004.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.similarity import pairwise_distances
    >>> pairwise_distances(np.array([[0.0, 0.0], [3.0, 4.0]]))
    array([[0., 5.],
           [5., 0.]])
    """
    if callable(metric):
        return _check_distances(metric(E), len(E))
    if metric not in METRICS:
        raise ValueError(f"metric={metric!r} is unknown; use one of {', '.join(METRICS)}, or a callable of E.")
    E = np.asarray(E, dtype=np.float64)
    if metric == "manhattan":
        return squareform(pdist(E, "cityblock"))
    if metric == "cosine":
        units = unit_rows(E)
        return cosine_distances(centered_gram(units), ~units.any(axis=1))
    return gram_distances(centered_gram(E), metric, E.shape[1])


def centered_gram(E, overwrite=False):
    """Inner products of the patches of one image about their mean: distances do not see the mean, their rounding does.

    Parameters
    ----------
    E : ndarray of float64, shape (n_patches, n_features)
        Embeddings of the patches.
    overwrite : bool, default=False
        Whether `E` may be centered itself, which saves a copy of it.

    Returns
    -------
    ndarray of float64, shape (n_patches, n_patches)
        Inner products.
    """
    centered = np.subtract(E, E.mean(axis=0), out=E if overwrite else None)
    return centered @ centered.T


def gram_distances(gram, metric="euclidean", n_features=None):
    """Distances between patches whose inner products are known.

    Parameters
    ----------
    gram : ndarray of float64, shape (n_patches, n_patches)
        Inner products about the mean, see :func:`centered_gram`.
    metric : {"euclidean", "mahalanobis"}, default="euclidean"
        See :func:`pairwise_distances`.
    n_features : int, default=None
        Number of features, which the shrinkage of ``"mahalanobis"`` depends on.

    Returns
    -------
    ndarray of shape (n_patches, n_patches)
        Symmetric, non-negative, zero on the diagonal and between copies.
    """
    return np.sqrt(squared_distances(_mahalanobis_gram(gram, n_features) if metric == "mahalanobis" else gram))


def _check_distances(distances, n):
    distances = np.asarray(distances, dtype=np.float64)
    if distances.shape != (n, n):
        raise ValueError(
            f"The metric returned an array of shape {distances.shape} for {n} patches; "
            f"a callable metric takes E (n, d) and returns the ({n}, {n}) matrix of distances."
        )
    if not np.isfinite(distances).all() or distances.min(initial=0.0) < 0 or not np.allclose(distances, distances.T):
        raise ValueError(
            "The metric returned NaN, infinite, negative or asymmetric distances; they must be none of these."
        )
    return (distances + distances.T) / 2


def squared_distances(gram):
    """Squared Euclidean distances between patches whose inner products are known.

    Parameters
    ----------
    gram : ndarray of float64, shape (n_patches, n_patches)
        Inner products; about the mean they lose least to rounding, see :func:`centered_gram`.

    Returns
    -------
    ndarray of shape (n_patches, n_patches)
        Symmetric, non-negative, zero on the diagonal and between copies.
    """
    squared_norms = np.diag(gram)
    sums = squared_norms[:, None] + squared_norms
    squared = sums - 2 * gram
    squared[squared <= _ROUNDING * sums] = 0.0
    np.fill_diagonal(squared, 0.0)
    return squared


def cosine_distances(gram, is_zero):
    """Cosine distances between patches from the inner products of their unit rows.

    Parameters
    ----------
    gram : ndarray of float64, shape (n_patches, n_patches)
        Inner products about the mean, see :func:`centered_gram`.
    is_zero : ndarray of bool, shape (n_patches,)
        Rows that are all zero, which have no direction: they are at distance 1 from every other and 0 from their like.

    Returns
    -------
    ndarray of shape (n_patches, n_patches)
        One minus the cosine.
    """
    squared = squared_distances(gram)
    squared[is_zero[:, None] != is_zero] = 2.0
    return squared / 2  # |u - v|^2 = 2 (1 - cos) for unit vectors


def _mahalanobis_gram(gram, n_features):
    """Inner products in the metric of the inverse shrunk covariance, from plain inner products alone.

    With centered rows X, G = X X' and the shrunk covariance S = b X'X + a I, b = (1 - shrinkage) / n,
    a = shrinkage tr(G) / (n d), the push-through identity gives X S^-1 X' = G (a I + b G)^-1: n x n matrices only.
    Where a = 0 the inverse is the pseudo-inverse.
    """
    n = len(gram)
    shrinkage = ledoit_wolf_shrinkage(np.diag(gram), np.sum(gram**2), n_features)
    a = shrinkage * np.trace(gram) / n / n_features
    b = (1 - shrinkage) / n
    eigenvalues, vectors = eigh(gram)
    # Without shrinkage the inverse would blow rounding up: what cannot be, or is not, more than rounding is zero.
    eigenvalues[: n - min(n - 1, n_features)] = 0.0
    eigenvalues[eigenvalues <= _TIED * eigenvalues[-1]] = 0.0
    whitened = np.divide(eigenvalues, a + b * eigenvalues, out=np.zeros(n), where=eigenvalues > 0)
    factor = vectors * np.sqrt(whitened)
    return factor @ factor.T


def ledoit_wolf_shrinkage(squared_norms, gram_squared, n_features):
    """Shrinkage of Ledoit and Wolf (2004), from traces alone.

    Parameters
    ----------
    squared_norms : ndarray of shape (n_patches,)
        Squared norms of the centered embeddings.
    gram_squared : float
        Sum of their squared inner products, which is that of the entries of the scatter matrix, too.
    n_features : int
        Number of features.

    Returns
    -------
    float
        In [0, 1].
    """
    n = len(squared_norms)
    mu = squared_norms.sum() / n / n_features
    cov_squared = gram_squared / n**2  # ||X'X / n||_F^2
    beta = (np.sum(squared_norms**2) / n - cov_squared) / (n * n_features)
    delta = cov_squared / n_features - mu**2
    return min(beta, delta) / delta if min(beta, delta) > 0 else 0.0


def rbf_affinity(distances, bandwidth=4.0):
    """Turn distances into affinities, at a bandwidth that follows their scale.

    Parameters
    ----------
    distances : ndarray of shape (n_patches, n_patches)
        Symmetric distances.
    bandwidth : float, default=4.0
        Multiple of the median squared distance between patches that are not copies.

    Returns
    -------
    ndarray of shape (n_patches, n_patches)
        ``exp(-distances**2 / (2 * bandwidth * median))``, in [0, 1]. All ones where all patches are copies.
    """
    squared = distances**2
    positive = squareform(squared, checks=False)
    positive = positive[positive > 0]
    if not len(positive):
        return np.ones_like(squared)
    return np.exp(-squared / (2 * bandwidth * np.median(positive)))


def spectral_target(affinity, h=10):
    """Leading eigenvectors of an affinity, scaled by the square roots of their eigenvalues.

    Parameters
    ----------
    affinity : ndarray of shape (n_patches, n_patches)
        Symmetric affinities.
    h : int, default=10
        Number of eigenvectors, at most n_patches. Where eigenvalue `h` is a multiple one, its whole eigenspace is
        taken: part of it would be an arbitrary choice.

    Returns
    -------
    ndarray of shape (n_patches, h)
        The target Z: ``Z @ Z.T`` is the best approximation of the affinity of that rank among positive ones.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.similarity import spectral_target
    >>> Z = spectral_target(np.array([[1.0, 0.5], [0.5, 1.0]]), h=1)
    >>> np.abs(Z).round(3)
    array([[0.866],
           [0.866]])
    """
    n = len(affinity)
    first = max(0, n - h - 1)
    eigenvalues, vectors = eigh(affinity, subset_by_index=(first, n - 1))
    cut = len(eigenvalues) - min(h, n)
    tolerance = _TIED * max(eigenvalues[-1], 0.0)
    if cut and eigenvalues[cut] - eigenvalues[cut - 1] <= tolerance:
        eigenvalues, vectors = eigh(affinity)
        cut = np.searchsorted(eigenvalues, eigenvalues[n - h] - tolerance)
    eigenvalues, vectors = eigenvalues[cut:][::-1], vectors[:, cut:][:, ::-1]
    return np.ascontiguousarray(vectors * np.sqrt(np.maximum(eigenvalues, 0.0)))
