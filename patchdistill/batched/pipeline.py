"""From the embeddings of a batch of images to their kept patches."""

from dataclasses import dataclass

import torch
from torch.nn.functional import pad

from patchdistill.batched.groups import in_groups
from patchdistill.batched.masked import places_of, prefix, take_square
from patchdistill.batched.normalization import standardize_columns
from patchdistill.batched.order import n_keep, rank
from patchdistill.batched.outliers import core_sizes, find_outliers
from patchdistill.batched.quadrature import quadrature_kernel
from patchdistill.batched.representation import represent
from patchdistill.batched.scoring import score_patches
from patchdistill.batched.similarity import squared_distances

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


@torch.no_grad()
def select(E, n_patches, counts, memory=None, **parameters):
    """Keep patches of every image; what comes in is checked, and few enough for the memory.

    Parameters
    ----------
    E : Tensor of shape (n_images, n_patches, n_features)
        Finite embeddings, zero where they are padding.
    n_patches : Tensor of int, shape (n_images,)
        Patches of each image.
    counts : Tensor of float64, shape (n_images, n_patches)
        How much each patch counts, 0 where it is padding.
    memory : patchdistill.batched.groups.Memory, default=None
        Used again for every batch. What was scored does not outlive the next one then.
    **parameters
        Those in SELECT_PARAMETERS; see :func:`patchdistill.batched.select_batch`.

    Returns
    -------
    selection : BatchSelection
        What is kept.
    scored : patchdistill.batched.scoring.ScoredPatches
        What was solved, and the answers.
    """
    real = prefix(n_patches, E.shape[1])
    scored = score_patches(E, real, memory, **{name: parameters[name] for name in SCORE_PARAMETERS})
    scores = torch.empty_like(scored.scores).scatter(1, scored.order, scored.scores)
    rate = parameters["rate"]
    if parameters["coverage"] is None:
        ranking, n_kept = rank(scores, real, parameters["keep"]), n_keep(n_patches, rate)
        width = int(n_kept.max())
        weights = counts.gather(1, ranking[:, :width]) * prefix(n_kept, width)
        weights = weights / weights.sum(dim=1, keepdim=True)
        outliers = torch.zeros_like(real)
    else:
        by_score = rank(scored.scores, real)
        core = None
        if parameters["normalize"] == "columns":
            first = prefix(core_sizes(n_patches), real.shape[1])
            core = torch.zeros_like(real).scatter(1, by_score, first)
        squared = _squared_between_points(scored, core, real)
        found = find_outliers(take_square(squared, by_score).sqrt(), n_patches, parameters["outlier_threshold"])
        inside = real & ~torch.zeros_like(real).scatter(1, by_score, found)

        first_inside = by_score.gather(1, places_of(real & ~found, real.shape[1]))

        def measure(rows, lengths, core, squared, inside, first_inside):
            kernel = quadrature_kernel(_points(rows, lengths, core), squared, inside)
            return take_square(kernel, first_inside), take_square(squared, first_inside).sqrt()

        kernel, distances = in_groups(measure, scored.problem.E, scored.lengths, core, squared, inside, first_inside)
        ranking, n_kept, weights = represent(
            kernel,
            distances,
            n_patches,
            n_patches - found.sum(dim=1),
            rate,
            counts.gather(1, scored.order.gather(1, first_inside)),
        )
        ranking = scored.order.gather(1, first_inside.gather(1, ranking))
        outliers = torch.zeros_like(real).scatter(1, scored.order, real & ~inside)
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


def _points(rows, lengths, core):
    """Embeddings among which is chosen: themselves, or standardized over the core.

    Scaled to unit norm, patches that differ in strength alone would pass for copies.
    """
    points = rows * lengths.to(rows.dtype)[:, :, None]
    return points if core is None else standardize_columns(points, core)[0]


def _squared_between_points(scored, core, real):
    """Squared distances between the embeddings among which is chosen."""
    if core is not None:
        rows, lengths = scored.problem.E, scored.lengths
        (squared,) = in_groups(
            lambda *part: (squared_distances(_points(*part[:3]).to(torch.float64), part[3]),),
            rows,
            lengths,
            core,
            real,
        )
        return squared
    # Of vectors with lengths r and s and directions u and v: |r u - s v|^2 = r s |u - v|^2 + (r - s)^2.
    r, s = scored.lengths[:, :, None], scored.lengths[:, None, :]
    return r * s * scored.squared + (r - s).square()


def _kept(ranking, n_kept, weights):
    """Kept patches ascending, their weights, and the mask."""
    n_images, n = ranking.shape
    width = weights.shape[1]
    is_kept = prefix(n_kept, width)
    indices, places = ranking[:, :width].masked_fill(~is_kept, n).sort(dim=1)
    support = torch.zeros(n_images, n + 1, dtype=torch.bool, device=ranking.device).scatter(1, indices, True)[:, :n]
    return indices.masked_fill(~is_kept, -1), weights.gather(1, places), support


def concatenate(selections):
    """Make one selection of those of several batches.

    Parameters
    ----------
    selections : list of BatchSelection
        Selections of images with equal numbers of places.

    Returns
    -------
    BatchSelection
        Of all images.
    """
    width = max(selection.indices.shape[1] for selection in selections)
    columns = {name: [getattr(selection, name) for selection in selections] for name in vars(selections[0])}
    columns["indices"] = [pad(part, (0, width - part.shape[1]), value=-1) for part in columns["indices"]]
    columns["weights"] = [pad(part, (0, width - part.shape[1])) for part in columns["weights"]]
    return BatchSelection(**{name: torch.cat(parts) for name, parts in columns.items()})
