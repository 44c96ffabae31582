"""How well each patch is explained by the structure of its image; :mod:`patchdistill.scoring` for batches."""

from dataclasses import dataclass

import torch

from patchdistill.batched.groups import in_groups
from patchdistill.batched.masked import take
from patchdistill.batched.normalization import normalize_embeddings
from patchdistill.batched.order import content_order
from patchdistill.batched.problem import ResidualProblem, row_norms, scaled_problem
from patchdistill.batched.similarity import rbf_affinity, spectral_target, squared_distances, squared_in_metric
from patchdistill.batched.solver import Solutions, collect, solve_exact


@dataclass
class ScoredPatches:
    """Scores of the patches of every image, and what they came from; patches in the order of their contents.

    Attributes
    ----------
    order : Tensor of int, shape (n_images, n_patches)
        Places of the patches in the image.
    lengths : Tensor of float64, shape (n_images, n_patches)
        What times the normalized embeddings, those of the problem, are the embeddings in a unit of the image.
    squared : Tensor of float64, shape (n_images, n_patches, n_patches)
        Squared distances of the normalized embeddings.
    scores : Tensor of shape (n_images, n_patches)
        Relative residuals.
    problem : patchdistill.batched.problem.ResidualProblem
        What was solved.
    solutions : patchdistill.batched.solver.Solutions
        Answers of the solver.
    """

    order: torch.Tensor
    lengths: torch.Tensor
    squared: torch.Tensor
    scores: torch.Tensor
    problem: ResidualProblem
    solutions: Solutions


def score_patches(E, real, memory=None, *, h, metric, alpha, beta, bandwidth, normalize, tol, max_iter):
    """Relative residuals of the patches of every image; parameters as in :func:`patchdistill.select_patches`.

    Parameters
    ----------
    E : Tensor of shape (n_images, n_patches, n_features)
        Embeddings, zero where they are padding.
    real : Tensor of bool, shape (n_images, n_patches)
        Which patches are no padding.
    memory : patchdistill.batched.groups.Memory, default=None
        For the normalized embeddings.

    Returns
    -------
    ScoredPatches
        Copies have equal scores.
    """
    order, is_copy = content_order(E, real)
    precision = torch.float32 if E.dtype == torch.float32 else torch.float64

    def measure(E, order, real):
        rows, lengths = normalize_embeddings(take(E, order), real, normalize)
        size, squared = torch.linalg.vector_norm(rows, dim=(1, 2)), squared_distances(rows, real)
        rows = rows.to(precision)
        affinity = rbf_affinity(squared_in_metric(rows, squared, real, metric), real, bandwidth)
        return rows, lengths, size, squared, affinity

    rows, lengths, size, squared, affinity = in_groups(measure, E, order, real, memory=memory)
    Z, widths = spectral_target(affinity, real.sum(dim=1), h)
    problem, correlations = scaled_problem(rows, Z, alpha, beta, size)
    solutions = _solve(problem, correlations, widths, h, tol, max_iter)
    scores = relative_residuals(row_norms(solutions.U), row_norms(Z))
    originals = torch.arange(scores.shape[1], device=E.device).masked_fill(is_copy, 0).cummax(dim=1).values
    return ScoredPatches(order, lengths, squared, scores.gather(1, originals), problem, solutions)


def _solve(problem, correlations, widths, h, tol, max_iter):
    """Solve images with wide targets apart: where an eigenvalue is a multiple one, many columns may come with it."""
    if problem.Z.shape[2] <= h:
        return solve_exact(problem, correlations, widths, tol, max_iter)
    narrow, wide = (widths <= h).nonzero()[:, 0], (widths > h).nonzero()[:, 0]
    parts = [(wide, solve_exact(problem[wide], correlations[wide], widths[wide], tol, max_iter))]
    if len(narrow):
        rest = problem[narrow]
        rest.Z = rest.Z[:, :, :h]
        parts.append((narrow, solve_exact(rest, correlations[narrow], widths[narrow], tol, max_iter)))
    return collect(parts, problem.E.shape[2])


def relative_residuals(residual_norms, target_norms):
    """Misfit of each patch relative to its target; 1 where there is nothing to explain and nothing was predicted.

    Parameters
    ----------
    residual_norms, target_norms : Tensor of float64, shape (n_images, n_patches)
        Row norms of the misfits and of the targets.

    Returns
    -------
    Tensor of shape (n_images, n_patches)
        Scores.
    """
    limits = torch.finfo(target_norms.dtype)
    smallest = limits.eps * target_norms.amax(dim=1, keepdim=True)
    smallest = torch.where(smallest > 0, smallest, limits.tiny)
    ratio = residual_norms / torch.maximum(target_norms, smallest)
    return torch.where((target_norms < smallest) & (residual_norms < smallest), 1.0, ratio)
