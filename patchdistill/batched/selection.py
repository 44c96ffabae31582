"""Selection of the patches of many images at once: a batch in, kept patches and their certificates out."""

from dataclasses import dataclass
from warnings import warn

import torch
from sklearn.exceptions import ConvergenceWarning

from patchdistill._compat import StrOptions, validate_parameter_constraints
from patchdistill.batched.checks import check_batch, check_counts
from patchdistill.batched.masked import places_of, prefix, take_square
from patchdistill.batched.normalization import standardize_columns
from patchdistill.batched.order import n_keep, rank
from patchdistill.batched.outliers import core_sizes, find_outliers
from patchdistill.batched.problem import row_norms
from patchdistill.batched.quadrature import quadrature_kernel
from patchdistill.batched.representation import represent
from patchdistill.batched.scoring import score_patches
from patchdistill.batched.similarity import squared_distances
from patchdistill.scoring import convergence_message
from patchdistill.selection import PARAMETER_CONSTRAINTS, check_choice
from patchdistill.similarity import METRICS

# The parameters of a score, and all.
SCORE_PARAMETERS = ("h", "metric", "alpha", "beta", "bandwidth", "normalize", "tol", "max_iter")
SELECT_PARAMETERS = (*SCORE_PARAMETERS, "rate", "keep", "coverage", "outlier_threshold")


@dataclass(frozen=True)
class BatchSelection:
    """Which patches of every image of a batch were kept, and why.

    What belongs to a place that an image does not have is -1 (indices), 0 (weights), NaN (scores) or False (masks).

    Attributes
    ----------
    n_kept : Tensor of int, shape (n_images,)
        How many patches of each image are kept.
    indices : Tensor of int, shape (n_images, largest n_kept)
        Kept patches, ascending.
    weights : Tensor of float64, shape (n_images, largest n_kept)
        How much each kept patch counts; they sum to 1 per image.
    support : Tensor of bool, shape (n_images, n_patches)
        Kept patches, as masks.
    outliers : Tensor of bool, shape (n_images, n_patches)
        Patches that were set aside because they stand apart from the rest; none without coverage.
    ranking : Tensor of int, shape (n_images, n_patches)
        All patches, the first to keep first.
    scores : Tensor of float64, shape (n_images, n_patches)
        Relative residuals.
    objective, dual_gap : Tensor of float64, shape (n_images,)
        Objective reached, and the bound on how far it is above the minimum; absolute.
    n_iter : Tensor of int, shape (n_images,)
        Steps of the solver.
    converged : Tensor of bool, shape (n_images,)
        Whether ``dual_gap <= tol * objective``.
    """

    n_kept: torch.Tensor
    indices: torch.Tensor
    weights: torch.Tensor
    support: torch.Tensor
    outliers: torch.Tensor
    ranking: torch.Tensor
    scores: torch.Tensor
    objective: torch.Tensor
    dual_gap: torch.Tensor
    n_iter: torch.Tensor
    converged: torch.Tensor


def select_batch(
    E,
    n_patches=None,
    *,
    counts=None,
    h=10,
    metric="euclidean",
    rate=0.45,
    keep="low",
    coverage="representatives",
    outlier_threshold=3.5,
    alpha=0.1,
    beta=0.3,
    bandwidth=4.0,
    normalize="rows",
    tol=1e-3,
    max_iter=1000,
):
    """Keep patches of every image of a batch, on the device where it is.

    For each image this is :func:`patchdistill.select_patches`: the same problem, solved by the same steps, and the same
    choice. The arithmetic is float64 whatever `E` is, so that float32 embeddings keep the patches they keep there.

    Parameters
    ----------
    E : Tensor of shape (n_images, n_patches, n_features)
        Embeddings, on the CPU or a CUDA device. Images of different sizes are padded at their ends with anything.
    n_patches : Tensor of int, shape (n_images,), default=None
        How many patches of each image are no padding; all by default.
    counts : Tensor of shape (n_images, n_patches), default=None
        How much each patch counts by itself; equally by default.
    h, metric, rate, keep, coverage, outlier_threshold, alpha, beta, bandwidth, normalize, tol, max_iter
        As for :func:`patchdistill.select_patches`; the metric is one of the named ones.

    Returns
    -------
    BatchSelection
        Tensors on the device of `E`. Neither the order of the images nor what stands beside an image matters to it,
        but for the last digits.

    Raises
    ------
    ValueError, TypeError
        If a parameter, `E`, `n_patches` or `counts` is not valid.

    Warns
    -----
    ConvergenceWarning
        If the solver stopped before it reached `tol`.

    See Also
    --------
    patchdistill.select_patches : The same for one image.
    patchdistill.ResidualPatchSelector : The same for any number of images, cut into batches that fit the memory.

    Examples
    --------
    >>> import torch
    >>> from patchdistill.batched import select_batch
    >>> E = torch.rand(3, 20, 64, generator=torch.Generator().manual_seed(0))
    >>> selection = select_batch(E, rate=0.25)
    >>> selection.indices.shape, selection.scores.shape
    (torch.Size([3, 5]), torch.Size([3, 20]))
    >>> bool((selection.dual_gap <= 1e-3 * selection.objective).all())
    True
    """
    parameters = dict(locals())
    constraints = {**PARAMETER_CONSTRAINTS, "metric": [StrOptions(set(METRICS))]}
    for name in ("E", "n_patches", "counts"):
        del parameters[name]
    validate_parameter_constraints(constraints, parameters, caller_name="select_batch")
    check_choice(rate, keep, coverage)
    E, n_patches = check_batch(E, n_patches)
    selection, _ = select(E, n_patches, check_counts(counts, n_patches, E), **parameters)
    if not selection.converged.all():
        gaps = (selection.dual_gap / selection.objective).nan_to_num(nan=0.0)
        message = convergence_message(selection.converged.tolist(), gaps.cpu().numpy(), tol, max_iter)
        warn(message, ConvergenceWarning, stacklevel=2)
    return selection


@torch.no_grad()
def select(E, n_patches, counts, **parameters):
    """Do what :func:`select_batch` does, for callers that check parameters and tell of convergence themselves.

    Parameters
    ----------
    E : Tensor of shape (n_images, n_patches, n_features)
        Finite embeddings, zero where they are padding.
    n_patches : Tensor of int, shape (n_images,)
        Patches of each image.
    counts : Tensor of float64, shape (n_images, n_patches)
        How much each patch counts, 0 where it is padding.
    **parameters
        All other ones of :func:`select_batch`.

    Returns
    -------
    selection : BatchSelection
        What is kept.
    scored : patchdistill.batched.scoring.ScoredPatches
        What was solved, and the answers.
    """
    real = prefix(n_patches, E.shape[1])
    scored = score_patches(E, real, **{name: parameters[name] for name in SCORE_PARAMETERS})
    scores = torch.empty_like(scored.scores).scatter(1, scored.order, scored.scores)
    rate = parameters["rate"]
    if parameters["coverage"] is None:
        ranking, n_kept = rank(scores, real, parameters["keep"]), n_keep(n_patches, rate)
        width = int(n_kept.max())
        weights = counts.gather(1, ranking[:, :width]) * prefix(n_kept, width)
        weights = weights / weights.sum(dim=1, keepdim=True)
        outliers = torch.zeros_like(real)
    else:
        points, squared = _points(scored, real, parameters["normalize"])
        by_score = rank(scored.scores, real)
        found = find_outliers(take_square(squared, by_score).sqrt(), n_patches, parameters["outlier_threshold"])
        is_outlier = torch.zeros_like(real).scatter(1, by_score, found)
        kernel = quadrature_kernel(points, squared, real & ~is_outlier)
        first_inside = by_score.gather(1, places_of(real & ~found, real.shape[1]))
        ranking, n_kept, weights = represent(
            take_square(kernel, first_inside),
            take_square(squared, first_inside).sqrt(),
            n_patches,
            n_patches - found.sum(dim=1),
            rate,
            counts.gather(1, scored.order.gather(1, first_inside)),
        )
        ranking = scored.order.gather(1, first_inside.gather(1, ranking))
        outliers = torch.zeros_like(real).scatter(1, scored.order, is_outlier)
    indices, weights, support = _kept(ranking, n_kept, weights)
    selection = BatchSelection(
        n_kept=n_kept,
        indices=indices,
        weights=weights,
        support=support,
        outliers=outliers,
        ranking=ranking.masked_fill(~real, -1),
        scores=scores.masked_fill(~real, torch.nan),
        objective=scored.solutions.objective,
        dual_gap=scored.solutions.dual_gap,
        n_iter=scored.solutions.n_iter,
        converged=scored.solutions.converged,
    )
    return selection, scored


def _points(scored, real, normalize):
    """Embeddings among which is chosen, and their squared distances.

    Distances are those of the embeddings themselves: scaled to unit norm, patches that differ in strength alone would
    pass for copies. For vectors of lengths r and s with directions u and v it is ``r s |u - v|^2 + (r - s)^2``.
    """
    if normalize == "columns":
        core = prefix(core_sizes(real.sum(dim=1)), real.shape[1])
        in_core = torch.zeros_like(real).scatter(1, rank(scored.scores, real), core)
        points = standardize_columns(scored.E, in_core)
        return points, squared_distances(points, real)
    if normalize == "rows":
        norms = row_norms(scored.E)
        products, differences = (f(norms[:, :, None], norms[:, None, :]) for f in (torch.mul, torch.sub))
        return scored.E, products * scored.squared + differences.square()
    return scored.E, scored.squared


def _kept(ranking, n_kept, weights):
    """Kept patches ascending, their weights, and the mask."""
    n_images, n = ranking.shape
    width = weights.shape[1]
    is_kept = prefix(n_kept, width)
    indices, places = ranking[:, :width].masked_fill(~is_kept, n).sort(dim=1)
    support = torch.zeros(n_images, n + 1, dtype=torch.bool, device=ranking.device).scatter(1, indices, True)[:, :n]
    return indices.masked_fill(~is_kept, -1), weights.gather(1, places), support
