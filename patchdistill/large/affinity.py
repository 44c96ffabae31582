"""Affinities of very many patches, computed in blocks where they are needed and never held as a whole."""

import numpy as np
from scipy.linalg import eigh, qr
from scipy.spatial.distance import cdist

from patchdistill.large.sizes import evenly_spaced, square_blocks
from patchdistill.normalization import unit_rows, unit_scale
from patchdistill.similarity import ledoit_wolf_shrinkage, pairwise_distances

# Largest error of an exponent of an affinity that is made in single precision, about.
_PRECISION = 1e-5

# Eigenvalues of a covariance below this share of the largest count as zero.
_TIED = 1e-9


class BlockAffinity:
    r"""The affinity of :func:`patchdistill.similarity.rbf_affinity`, in blocks.

    .. math:: K_{ik} = \exp(-\delta_{ik}^2 / (2 s)), \qquad s = b \cdot \operatorname{median}(\delta^2),

    where the median is that of evenly spaced landmarks.

    Parameters
    ----------
    rows : ndarray of float64, shape (n_patches, n_features)
        Normalized embeddings.
    metric : {"euclidean", "manhattan", "mahalanobis", "cosine"}
        Distance.
    bandwidth : float
        Multiple `b` of the median squared distance between patches that are not copies.
    n_landmarks : int
        Number of landmarks, at most n_patches.

    Attributes
    ----------
    landmarks : ndarray of int
        Evenly spaced patches.
    is_positive : bool
        Whether every such affinity is positive semidefinite: a Gaussian of Euclidean distances is.
    """

    def __init__(self, rows, metric, bandwidth, n_landmarks):
        self.points = _points(rows, metric)
        self.is_city_block = metric == "manhattan"
        self.is_positive = metric in ("euclidean", "mahalanobis")
        self.landmarks = evenly_spaced(len(rows), n_landmarks)
        self.bandwidth = bandwidth
        # The cosine distance of unit rows is half their squared Euclidean one, which is squared once more.
        self.power = 2 if metric == "cosine" else 1
        self.median = self._median()

    def __len__(self):
        return len(self.points)

    def columns(self, rows, landmarks):
        """Affinities of some patches with the landmarks.

        Parameters
        ----------
        rows, landmarks : slice or ndarray of int
            Patches.

        Returns
        -------
        ndarray of float64
            One row for each of `rows`.
        """
        return self._affinities(self.points[rows], self.points[landmarks])

    def multiply(self, V):
        """Product with a few vectors: every affinity is computed once, in single precision where that is enough.

        Parameters
        ----------
        V : ndarray of float64, shape (n_patches, k)
            Vectors.

        Returns
        -------
        ndarray of float64, shape (n_patches, k)
            ``K @ V``.
        """
        points = self.points.astype(np.float32) if self._single_precision_will_do() else self.points
        result, V = np.zeros_like(V), V.astype(points.dtype)
        pieces = square_blocks(len(V))
        for k, rows in enumerate(pieces):
            for columns in pieces[k:]:
                block = self._affinities(points[rows], points[columns])
                result[rows] += block @ V[columns]
                if rows != columns:
                    result[columns] += block.T @ V[rows]
        return result

    def _affinities(self, A, B):
        exponents = self._squared(A, B)
        if self.power == 2:
            np.square(exponents, out=exponents)
        exponents *= -1 / (2 * self.bandwidth * self.median)
        return np.exp(exponents, out=exponents)

    def _squared(self, A, B):
        if self.is_city_block:
            return cdist(A, B, "cityblock") ** 2
        squared = A @ B.T
        squared *= -2
        squared += np.einsum("ij,ij->i", A, A)[:, None]
        squared += np.einsum("ij,ij->i", B, B)
        return np.maximum(squared, 0, out=squared)

    def _single_precision_will_do(self):
        """Whether squared distances have errors that are small next to the bandwidth: they are those of the norms."""
        if self.is_city_block:
            return False
        largest = np.einsum("ij,ij->i", self.points, self.points).max()
        return np.finfo(np.float32).eps * largest <= _PRECISION * self.bandwidth * self.median ** (1 / self.power)

    def _median(self):
        """Median over the landmarks' pairs; over the pairs of one with all, where all landmarks are copies of it."""
        name = "manhattan" if self.is_city_block else "euclidean"
        few = self.points[self.landmarks]
        distances = pairwise_distances(few, name)
        if not distances.any():
            distances = cdist(few[:1], self.points, "cityblock" if self.is_city_block else "euclidean")
        return np.median(distances[distances > 0] ** (2 * self.power)) if distances.any() else 1.0


def _points(rows, metric):
    """Points whose distances are those of the metric, up to a common factor; for the cosine, their square roots."""
    if metric == "cosine":
        # Rows of zeros are at distance 1 from all others, as if they had a direction of their own.
        rows = np.column_stack([unit_rows(rows), ~rows.any(axis=1)])
    points = rows - rows.mean(axis=0)  # distances do not see the mean, their rounding does
    if metric == "mahalanobis":
        points = _whitened(points)
    return unit_scale(points)


def _whitened(centered):
    """Points whose Euclidean distances are the Mahalanobis distances, as in :mod:`patchdistill.similarity`."""
    n, d = centered.shape
    points = at_most_n_columns(centered)
    squared_norms, scatter = np.einsum("ij,ij->i", points, points), points.T @ points
    shrinkage = ledoit_wolf_shrinkage(squared_norms, np.sum(scatter**2), d)
    mean_variance = squared_norms.mean() / d
    variances, directions = eigh(scatter / n)
    variances[: len(variances) - min(n - 1, d)] = 0.0
    variances[variances <= _TIED * variances[-1]] = 0.0
    shrunk = (1 - shrinkage) * variances + shrinkage * mean_variance
    return points @ (directions * np.sqrt(np.divide(1, shrunk, out=np.zeros_like(shrunk), where=variances > 0)))


def at_most_n_columns(points):
    """Points with the same inner products, in no more dimensions than there are points."""
    n, d = points.shape
    return points if d <= n else qr(points.T, mode="r", check_finite=False)[0][:n].T
