"""The convex problem behind the selection, of one image or a batch; :mod:`patchdistill.problem` for tensors."""

import torch

from patchdistill.batched.masked import take_columns


def row_norms(A):
    """Euclidean norms of the rows.

    Parameters
    ----------
    A : Tensor of shape (..., n, h)
        Matrices.

    Returns
    -------
    Tensor of shape (..., n)
        Norms.
    """
    return torch.linalg.vector_norm(A, dim=-1)


def huber_loss(norms, beta):
    """Sum over the patches of the Huber function of their misfits.

    Parameters
    ----------
    norms : Tensor of shape (..., n_patches)
        Row norms of the misfit.
    beta : Tensor of shape (...)
        Penalty of the residuals, twice the norm at which the function turns linear.

    Returns
    -------
    Tensor of shape (...)
        Sums.
    """
    clipped = torch.minimum(norms, beta[..., None] / 2)
    return (clipped * (2 * norms - clipped)).sum(dim=-1)


class ResidualProblem:
    """The problem of :class:`patchdistill.ResidualProblem`, whose page has the formulas, on tensors.

    Every method takes and gives a batch where the problem is one. Padding is rows of zeros in `E` and `Z`, which change
    no result. Everything but `E` is float64, and stays on its device.

    Parameters
    ----------
    E : Tensor of float32 or float64, shape (..., n_patches, n_features)
        Embeddings; of float32 there are correlations alone, and those of a batch.
    Z : Tensor of float64, shape (..., n_patches, h)
        Targets.
    alpha, beta : Tensor of float64, shape (...)
        Absolute penalties, positive.
    size : Tensor of float64, shape (...), default=None
        Frobenius norms of `E`, which tell how much float32 rounds.
    """

    def __init__(self, E, Z, alpha, beta, size=None):
        self.E = E
        self.Z = Z
        self.alpha = alpha
        self.beta = beta
        self.size = size

    def __getitem__(self, images):
        """Problems of some of the images, or of one."""
        size = None if self.size is None else self.size[images]
        return ResidualProblem(self.E[images], self.Z[images], self.alpha[images], self.beta[images], size)

    def misfit(self, W):
        """Give the misfit ``U = E W - Z``.

        Parameters
        ----------
        W : Tensor of shape (..., n_features, h)
            Coefficients.

        Returns
        -------
        Tensor of shape (..., n_patches, h)
            Misfit of every patch.
        """
        return self.E @ W - self.Z

    def clip(self, U):
        """Project rows onto the ball of radius ``beta / 2``: half the gradient of the Huber loss.

        Parameters
        ----------
        U : Tensor of shape (..., n_patches, h)
            Misfit.

        Returns
        -------
        Tensor of shape (..., n_patches, h)
            Rows of norm at most ``beta / 2``.
        """
        return U * self.huber_weights(row_norms(U))[..., None]

    def huber_weights(self, norms):
        """Weights ``min(1, (beta / 2) / norm)`` of the rows.

        Parameters
        ----------
        norms : Tensor of shape (..., n_patches)
            Row norms of the misfit.

        Returns
        -------
        Tensor of shape (..., n_patches)
            Weights in (0, 1].
        """
        half = self.beta[..., None] / 2
        return torch.where(norms > half, half / norms, 1.0)

    def objective(self, W, U=None):
        """Value of P(W), the objective with the best `R`.

        Parameters
        ----------
        W : Tensor of shape (..., n_features, h)
            Coefficients.
        U : Tensor of shape (..., n_patches, h), default=None
            Its misfit, where it is known.

        Returns
        -------
        Tensor of shape (...)
            Objective.
        """
        U = self.misfit(W) if U is None else U
        return huber_loss(row_norms(U), self.beta) + self.alpha * row_norms(W).sum(dim=-1)

    def dual_gap(self, W):
        """Bound on how far the objective of `W` is above the minimum.

        Parameters
        ----------
        W : Tensor of shape (..., n_features, h)
            Coefficients.

        Returns
        -------
        Tensor of shape (...)
            Objective minus the value of a feasible dual point, at least 0.
        """
        U = self.misfit(W)
        dual, _ = self.dual_value(U)
        return (self.objective(W, U) - dual).clamp(min=0.0)

    def correlations(self, U):
        """Row norms of E'A, for the gradient A of the loss.

        Of `E` in float32, features that could have the largest norm are computed again in float64, as in
        :meth:`patchdistill.ResidualProblem.correlations`; the error of any other is bounded by the size of `E`.

        Parameters
        ----------
        U : Tensor of shape (..., n_patches, h)
            Misfit.

        Returns
        -------
        Tensor of shape (..., n_features)
            Correlations.
        """
        A = 2 * self.clip(U)
        if self.E.dtype == torch.float64:
            return _column_norms(A.mT @ self.E)
        unit = A.abs().amax(dim=(1, 2), keepdim=True)
        scaled = A / torch.where(unit > 0, unit, 1.0)
        norms = _column_norms(torch.bmm(scaled.mT.to(torch.float32), self.E).to(torch.float64))
        info, n = torch.finfo(torch.float32), A.shape[1]
        rounding = (n + 8) * info.eps * (self.size + (n * info.tiny) ** 0.5)
        error = rounding * torch.linalg.vector_norm(scaled, dim=(1, 2))
        # Written so that what is not a number, because the product overflowed, counts as uncertain.
        uncertain = ~(norms < norms.amax(dim=1, keepdim=True) - 2 * error[:, None])
        most = int(uncertain.sum(dim=1).max())
        places = norms.masked_fill(uncertain, torch.inf).topk(most, dim=1).indices
        exact = _column_norms(torch.bmm(scaled.mT, take_columns(self.E, places).to(torch.float64)))
        return norms.scatter(1, places, exact) * unit[:, :, 0]

    def dual_value(self, U, correlations=None):
        """Value of the dual at the feasible point that belongs to a misfit.

        Parameters
        ----------
        U : Tensor of shape (..., n_patches, h)
            Misfit.
        correlations : Tensor of shape (..., n_features), default=None
            Those of this misfit, where they are known.

        Returns
        -------
        value : Tensor of shape (...)
            Lower bound of the minimum, at least 0.
        correlations : Tensor of shape (..., n_features)
            Row norms of E'A before scaling: optimal coefficients satisfy ``correlations <= alpha``.
        """
        A = 2 * self.clip(U)
        correlations = self.correlations(U) if correlations is None else correlations
        largest_scale = self.alpha / torch.maximum(correlations.amax(dim=-1), self.alpha)
        squared, inner = A.square().sum(dim=(-2, -1)), (A * self.Z).sum(dim=(-2, -1))
        best_scale = torch.where(squared > 0, -2 * inner / squared, 0.0)
        scale = torch.minimum(best_scale.clamp(min=0.0), largest_scale)
        return -(scale**2) * squared / 4 - scale * inner, correlations


def _column_norms(A):
    return A.square().sum(dim=-2).sqrt()  # vector_norm takes many times as long along this axis


def scaled_problem(E, Z, alpha, beta, size=None):
    """Problem whose penalties are given relative to their maxima.

    Embeddings that are all zero have no maximum of alpha (W = 0 whatever alpha is); any positive number serves.

    Parameters
    ----------
    E : Tensor of float32 or float64, shape (..., n_patches, n_features)
        Embeddings.
    Z : Tensor of float64, shape (..., n_patches, h)
        Targets.
    alpha, beta : float
        Penalties, as :func:`patchdistill.select_patches` takes them.
    size : Tensor of float64, shape (...), default=None
        Frobenius norms of `E`, needed where it is float32.

    Returns
    -------
    problem : ResidualProblem
        With absolute penalties.
    correlations : Tensor of shape (..., n_features)
        Those of ``W = 0``, of which the largest is the maximum of alpha.
    """
    absolute_beta = beta * 2 * row_norms(Z).amax(dim=-1)
    correlations = ResidualProblem(E, Z, absolute_beta, absolute_beta, size).correlations(-Z)
    largest = correlations.amax(dim=-1)
    return ResidualProblem(E, Z, alpha * torch.where(largest > 0, largest, 1.0), absolute_beta, size), correlations
