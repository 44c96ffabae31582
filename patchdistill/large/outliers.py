"""Which of very many patches stand apart: what the forward search would find, without the search."""

import numpy as np
from scipy.linalg import cholesky, solve_triangular

from patchdistill.large.affinity import at_most_n_columns
from patchdistill.large.sizes import row_blocks
from patchdistill.outliers import _BORDER, _LOWER, _RIDGE, _TYPICAL, split_core

# A core that varies no more than this, relative to all patches or (squared) to where they are, does not vary.
_ROUNDING = 256 * np.finfo(float).eps


def find_outliers_of_many(points, scores, threshold):
    r"""Like :func:`patchdistill.outliers.find_outliers`, in memory linear in the number of patches.

    The answer is the same, for two reasons. First, covariances that are inner products need no matrix of patches: with
    the points :math:`X_S` of the set as rows,

    .. math:: v_i(S) = \lambda \, x_i^\top (\lambda I + X_S^\top X_S)^{-1} x_i,

    which is features by features. Second, no order of joining needs to be known. Knowing more never makes a prediction
    worse, so everything that can join without exceeding a threshold does so in whatever order it is let join: the
    patches above a threshold are those that are left when, again and again, all below it have joined at once.

    Parameters
    ----------
    points : ndarray of float64, shape (n_patches, n_features)
        Embeddings.
    scores : ndarray of shape (n_patches,)
        Residual scores; low means well explained.
    threshold : float
        Outlyingness that only outliers have.

    Returns
    -------
    ndarray of bool, shape (n_patches,)
        At most 22.5 % of the patches.
    """
    core, others = split_core(scores)
    is_outlier = np.zeros(len(points), dtype=bool)
    search = _Search(points, core)
    if search.typical > 0:
        apart = search.left_by(others, _LOWER * threshold)
        striking = search.left_by(apart, threshold)
        is_outlier[apart] = len(striking) > 0 and len(apart) <= _BORDER * len(others)
    return is_outlier


class _Search:
    """Predictions of patches by the core and those that have joined it so far.

    Attributes
    ----------
    typical : float
        A large deviation of a core patch from what the others of the core predict; 0 where the core does not vary.
    """

    def __init__(self, points, core):
        origin = points[core].mean(axis=0)
        points = points - origin
        squared = np.einsum("ij,ij->i", points, points)
        variance = squared[core].mean()
        if variance <= max(_ROUNDING * squared.mean(), _ROUNDING**2 * (origin @ origin)):
            self.typical = 0.0
            return
        points /= np.sqrt(variance)
        self.points = at_most_n_columns(points)
        self.precision = _RIDGE * np.eye(self.points.shape[1])
        self._join(core)
        # With itself in the set a patch is predicted by its own value too, which multiplies what is left of it.
        left = self._variances(core)
        left = left / (1 - left / _RIDGE)
        self.typical = np.sqrt(np.percentile(left, _TYPICAL))

    def left_by(self, waiting, threshold):
        """Let all join that are, again and again, predicted to the threshold, and tell which are left."""
        while len(waiting):
            near = np.sqrt(self._variances(waiting)) <= threshold * self.typical
            if not near.any():
                break
            self._join(waiting[near])
            waiting = waiting[~near]
        return waiting

    def _join(self, patches):
        for rows in row_blocks(len(patches), self.points.shape[1]):
            part = self.points[patches[rows]]
            self.precision += part.T @ part

    def _variances(self, patches):
        """Variances of patches, given those that have joined."""
        variances = np.empty(len(patches))
        factor = cholesky(self.precision, lower=True, check_finite=False)
        for rows in row_blocks(len(patches), self.points.shape[1]):
            solved = solve_triangular(factor, self.points[patches[rows]].T, lower=True, check_finite=False)
            variances[rows] = np.einsum("ij,ij->j", solved, solved)
        return _RIDGE * variances
