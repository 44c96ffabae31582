"""The convex problem behind the selection: objective, residuals, duality gap. Mathematics only."""

import copy
import numbers
from functools import cached_property

import numpy as np


def row_norms(A):
    """Euclidean norms of the rows.

    Parameters
    ----------
    A : ndarray of shape (n, h)
        Matrix.

    Returns
    -------
    ndarray of shape (n,)
        Norms.
    """
    return np.sqrt(np.einsum("ij,ij->i", A, A))


class ResidualProblem:
    r"""How well few features of an image's patches explain its spectral target, outliers set apart.

    .. math:: \min_{W, R} \|E W - Z - R\|_F^2 + \alpha \|W\|_{2,1} + \beta \|R\|_{2,1}

    where :math:`\|\cdot\|_{2,1}` sums the Euclidean norms of the rows. The problem is convex. With
    :math:`U = E W - Z` the best `R` is the row-wise soft-threshold of `U`, and what remains is

    .. math:: P(W) = \sum_i \varphi(\|U_i\|) + \alpha \sum_j \|W_j\|,

    with :math:`\varphi` the Huber function: :math:`u^2` up to :math:`\beta / 2`, then :math:`\beta u - \beta^2 / 4`.

    Parameters
    ----------
    E : ndarray of shape (n_patches, n_features)
        Embeddings of the patches of one image, float32 or float64.
    Z : ndarray of shape (n_patches, h)
        Target, see :func:`patchdistill.similarity.spectral_target`.
    alpha, beta : float, default=0.1
        Penalties of `W` and of `R`, absolute and positive. ``beta=numpy.inf`` forces ``R = 0``: a multi-task lasso.

    Raises
    ------
    ValueError
        If shapes do not agree, entries are not finite, or a penalty is not positive.

    References
    ----------
    .. [1] A. Sendjasni, S.-E. Benkabou, M.-C. Larabi, "Embedding-Driven Data Distillation for 360-Degree IQA With
       Residual-Aware Refinement", arXiv:2412.12667.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill import ResidualProblem
    >>> problem = ResidualProblem(np.eye(3), np.ones((3, 1)), alpha=1.0, beta=10.0)
    >>> problem.alpha_max()
    2.0
    >>> problem.objective(np.full((3, 1), 0.5)), problem.dual_gap(np.full((3, 1), 0.5))
    (2.25, 0.0)
    """

    def __init__(self, E, Z, alpha=0.1, beta=0.1):
        self.E = _finite_matrix(E, "E", "(n_patches, n_features)")
        self.Z = _finite_matrix(Z, "Z", "(n_patches, h)").astype(np.float64, copy=False)
        if len(self.E) != len(self.Z):
            raise ValueError(f"E has {len(self.E)} rows and Z has {len(self.Z)}; both need one row per patch.")
        self.alpha, self.beta = _penalties(alpha, beta)
        if self.E.dtype == np.float32:
            self._rounding = _rounding_of_products(self.E)

    def misfit(self, W):
        """Give the misfit ``U = E W - Z``.

        Parameters
        ----------
        W : ndarray of shape (n_features, h)
            Coefficients.

        Returns
        -------
        ndarray of shape (n_patches, h)
            Misfit of every patch.
        """
        # W is mostly rows of zeros: the product costs what its active rows cost.
        active = np.flatnonzero(W.any(axis=1))
        return self.E[:, active] @ W[active] - self.Z

    def residuals(self, W):
        """Best `R` for the given `W`: the soft-thresholded rows of the misfit.

        Parameters
        ----------
        W : ndarray of shape (n_features, h)
            Coefficients.

        Returns
        -------
        ndarray of shape (n_patches, h)
            Residuals; rows are exactly zero where the misfit is at most ``beta / 2``.
        """
        U = self.misfit(W)
        return U - self.clip(U)

    def clip(self, U):
        """Project rows onto the ball of radius ``beta / 2``: half the gradient of the Huber loss.

        Parameters
        ----------
        U : ndarray of shape (n_patches, h)
            Misfit.

        Returns
        -------
        ndarray of shape (n_patches, h)
            Rows of norm at most ``beta / 2``.
        """
        return U * self.huber_weights(row_norms(U))[:, None]

    def huber_weights(self, norms):
        """Weights ``min(1, (beta / 2) / norm)`` of the rows.

        Parameters
        ----------
        norms : ndarray of shape (n_patches,)
            Row norms of the misfit.

        Returns
        -------
        ndarray of shape (n_patches,)
            Weights in (0, 1].
        """
        return np.divide(self.beta / 2, norms, out=np.ones_like(norms), where=norms > self.beta / 2)

    def loss(self, norms):
        """Huber loss of misfits of the given norms.

        Parameters
        ----------
        norms : ndarray of shape (..., n_patches)
            Row norms of the misfit.

        Returns
        -------
        float or ndarray of shape (...)
            Sum over the patches.
        """
        clipped = np.minimum(norms, self.beta / 2)
        return np.sum(clipped * (2 * norms - clipped), axis=-1)

    def objective(self, W):
        """Value of P(W), the objective with the best `R`.

        Parameters
        ----------
        W : ndarray of shape (n_features, h)
            Coefficients.

        Returns
        -------
        float
            Objective.
        """
        return self.value(row_norms(self.misfit(W)), W)

    def value(self, misfit_norms, W):
        """Objective of coefficients whose misfit is known.

        Parameters
        ----------
        misfit_norms : ndarray of shape (n_patches,)
            Row norms of the misfit.
        W : ndarray of shape (n_active, h)
            Coefficients; rows that are zero may be missing.

        Returns
        -------
        float
            Objective.
        """
        return float(self.loss(misfit_norms) + self.alpha * row_norms(W).sum())

    def with_penalties(self, alpha, beta):
        """Give the same problem with other penalties.

        Parameters
        ----------
        alpha, beta : float
            Penalties of `W` and of `R`, absolute and positive.

        Returns
        -------
        ResidualProblem
            On the same arrays.
        """
        problem = copy.copy(self)
        problem.alpha, problem.beta = _penalties(alpha, beta)
        if problem.beta != self.beta:
            vars(problem).pop("correlations_at_zero", None)
        return problem

    def dual_gap(self, W):
        """Bound on how far the objective of `W` is above the minimum.

        Parameters
        ----------
        W : ndarray of shape (n_features, h)
            Coefficients.

        Returns
        -------
        float
            Objective minus the value of a feasible dual point, at least 0.
        """
        U = self.misfit(W)
        A = 2 * self.clip(U)
        return max(0.0, self.value(row_norms(U), W) - self.dual_on_ray(A, self.correlations(A)))

    def dual_on_ray(self, A, correlations):
        """Highest value of the dual on the ray through a point.

        Any A with row norms of A at most beta and row norms of E'A at most alpha gives ``-||A||^2 / 4 - <A, Z>`` as a
        lower bound of P. The gradient of the loss, A = 2 clip(U), meets the first condition, a scale in [0, 1] the
        second; along that ray the dual is a parabola whose best scale is known.

        Parameters
        ----------
        A : ndarray of shape (n_patches, h)
            Rows of norm at most beta.
        correlations : ndarray of shape (n_features,)
            Row norms of E'A.

        Returns
        -------
        float
            Lower bound of the minimum, at least 0.
        """
        largest_scale = min(1.0, self.alpha / max(correlations.max(initial=0.0), self.alpha))
        squared, inner = float(np.vdot(A, A)), float(np.vdot(A, self.Z))
        scale = min(max(-2 * inner / squared, 0.0), largest_scale) if squared > 0 else 0.0
        return -(scale**2) * squared / 4 - scale * inner

    def correlations(self, A):
        r"""Row norms of E'A, of which the largest decides how long a dual point may be.

        Where `E` is float32 the product is too, and only the features that could have the largest norm are computed
        again in float64, so that the largest is right to float64 whatever rounding did: an inner product of n terms is
        wrong by at most :math:`n u / (1 - n u)` times that of the absolute values, in whatever order they are summed.

        Parameters
        ----------
        A : ndarray of float64, shape (n_patches, h)
            Matrix.

        Returns
        -------
        ndarray of float64, shape (n_features,)
            Norms.

        References
        ----------
        .. [1] N. J. Higham, "Accuracy and Stability of Numerical Algorithms", SIAM 2002, section 3.1.
        """
        if self.E.dtype != np.float32:
            return _column_norms(A.T @ self.E)
        unit = np.abs(A).max(initial=0.0) or 1.0
        scaled = A / unit
        with np.errstate(over="ignore", invalid="ignore"):
            norms = _column_norms((scaled.T.astype(np.float32) @ self.E).astype(np.float64))
            errors = np.linalg.norm(scaled) * self._rounding
            # Written so that what is not a number, because the product overflowed, counts as uncertain.
            uncertain = np.flatnonzero(~(norms + errors < np.max(norms - errors, initial=0.0)))
        norms *= unit
        norms[uncertain] = _column_norms(A.T @ self.E[:, uncertain])
        return norms

    @cached_property
    def correlations_at_zero(self):
        """Correlations of the dual point at ``W = 0``; they depend on `beta`."""
        return self.correlations(2 * self.clip(self.Z))

    def alpha_max(self):
        """Smallest `alpha` at which ``W = 0`` is optimal, for this `beta`.

        Returns
        -------
        float
            Penalty.
        """
        return float(self.correlations_at_zero.max(initial=0.0))

    def beta_max(self):
        """Smallest `beta` at which ``R = 0`` goes with ``W = 0``: twice the largest row norm of the target.

        Returns
        -------
        float
            Penalty.
        """
        return 2 * float(row_norms(self.Z).max(initial=0.0))


def _column_norms(A):
    return np.sqrt(np.einsum("ij,ij->j", A, A))


def _rounding_of_products(E):
    """Bounds of the errors of the norms of E'A in float32, by feature, relative to the norm of an A of entries up to 1.

    Twice the error of inner products and of the rounding of `A`, which leaves room for what is no multiple of n u. The
    norms of the features are float32 too; what vanishes in their squares is more than what vanishes in the products.
    """
    info, n = np.finfo(np.float32), len(E)
    with np.errstate(over="ignore"):
        norms = _column_norms(E) * (1 + n * float(info.eps)) + np.sqrt(n * float(info.tiny))
    return (n + 8) * float(info.eps) * norms


def _penalties(alpha, beta):
    for name, value in (("alpha", alpha), ("beta", beta)):
        if not isinstance(value, numbers.Real) or isinstance(value, bool) or not value > 0:
            raise ValueError(f"{name}={value!r} must be a number > 0.")
    if np.isinf(alpha):
        raise ValueError("alpha=inf leaves W = 0; use a finite alpha.")
    return float(alpha), float(beta)


def _finite_matrix(A, name, shape):
    A = np.asarray(A)
    if A.ndim != 2 or not len(A):
        raise ValueError(f"{name} has shape {A.shape}; it must be {shape} with at least one patch.")
    if A.dtype.kind not in "fiub":
        raise ValueError(f"{name} has dtype {A.dtype}; it must be real numbers.")
    if A.dtype != np.float32:
        A = A.astype(np.float64, copy=False)
    if not np.isfinite(A).all():
        raise ValueError(f"{name} contains NaN or infinity; it must be finite.")
    return A
