"""Quadratic programs with non-negative unknowns, many at once: block principal pivoting."""

import torch

# Exchanges of all that is infeasible without fewer of it, before only one at a time is exchanged, which cannot cycle.
_PATIENCE = 3

# Most exchanges, as a multiple of the number of unknowns.
_MOST = 100

# A gradient below this share of its terms is rounding.
_ROUNDING = 1e-13


def minimize_nonnegative(H, target, penalty, total, real):
    r"""Minimize :math:`x'Hx / 2 - t'x + \rho (\mathbf 1'x - c)^2 / 2` over :math:`x \ge 0`, for every image of a batch.

    Unknowns are free or zero. Where the free ones come out negative, or zero ones would pay if they were positive, all
    of these change sides at once; if that does not leave fewer of them for some time, only the last of them changes,
    a rule that ends [1]_. The answer is exact: of all sets of free unknowns it is the one whose conditions of
    optimality hold.

    Parameters
    ----------
    H : Tensor of float64, shape (n_images, n, n)
        Positive definite.
    target : Tensor of shape (n_images, n)
        Linear terms `t`.
    penalty : Tensor of shape (n_images,)
        What a wrong sum costs, :math:`\rho`.
    total : float
        The right sum `c`.
    real : Tensor of bool, shape (n_images, n)
        Which unknowns are no padding.

    Returns
    -------
    Tensor of shape (n_images, n)
        Solutions, 0 where they are padding.

    References
    ----------
    .. [1] J. J. Judice, F. M. Pires, "A block principal pivoting algorithm for large-scale strictly monotone linear
       complementarity problems", Computers & Operations Research 21(5), 1994.
    """
    answer = torch.zeros_like(target)
    images = torch.arange(len(H), device=H.device)
    free, fewest = real, real.sum(dim=1) + 1
    patience = torch.full_like(fewest, _PATIENCE)
    for _ in range(_MOST * H.shape[1]):
        x, pays = _optimum(H, target, penalty, total, free)
        wrong = torch.where(free, x < 0, pays) & real
        counts = wrong.sum(dim=1)
        done = counts == 0
        answer[images[done]] = x[done]
        if done.all():
            return answer
        fewer = counts < fewest
        one_by_one = ~fewer & (patience == 0)
        patience = torch.where(fewer, _PATIENCE, (patience - 1).clamp(min=0))
        fewest = torch.minimum(counts, fewest)
        last = wrong & (wrong.flip(1).cumsum(dim=1).flip(1) == 1)
        free = free ^ torch.where(one_by_one[:, None], last, wrong)
        late = (~done).nonzero()[:, 0]
        if len(late) < len(images):
            H, target, penalty, free, real = H[late], target[late], penalty[late], free[late], real[late]
            images, fewest, patience = images[late], fewest[late], patience[late]
    raise RuntimeError("The weights of an image were not found: its embeddings differ by less than rounding.")


def _optimum(H, target, penalty, total, free):
    """Minimum over the free unknowns, and which of the others would pay."""
    among_free = (free[:, :, None] & free[:, None, :]) * H + torch.diag_embed((~free).to(H.dtype))
    root = torch.linalg.cholesky_ex(among_free).L
    right = torch.stack([target * free, free.to(H.dtype)], dim=2)
    right = torch.linalg.solve_triangular(root, right, upper=False)
    without_sum, per_multiplier = torch.linalg.solve_triangular(root.mT, right, upper=True).unbind(dim=2)
    # The multiplier of the sum: solved for apart, the penalty does not spoil the condition of the equations.
    multiplier = (total - without_sum.sum(dim=1)) / (1 / penalty + per_multiplier.sum(dim=1))
    x = without_sum + multiplier[:, None] * per_multiplier
    terms = torch.stack([(H @ x[:, :, None])[:, :, 0], -target, -multiplier[:, None].expand_as(x)])
    return x, terms.sum(dim=0) < -_ROUNDING * terms.abs().amax(dim=0)
