"""Selection for one image: a batch of one, and its answer in the form of :func:`patchdistill.select_patches`."""

from functools import partial
from warnings import warn

import torch
from sklearn.exceptions import ConvergenceWarning

from patchdistill.batched.checks import check_batch, check_counts
from patchdistill.batched.images import embed, find_device, to_batch
from patchdistill.batched.pipeline import SELECT_PARAMETERS, select
from patchdistill.batched.problem import ResidualProblem, row_norms
from patchdistill.forms import check_features
from patchdistill.scoring import ScoredPatches, convergence_message, solved_problem
from patchdistill.selection import PatchSelection
from patchdistill.solvers import Solution


def select_one(patches, parameters):
    """Select the patches of one image.

    Parameters
    ----------
    patches : array-like or Tensor of shape (n_patches, n_features)
        Embeddings, or what `embedding` maps to them.
    parameters : dict
        Those of :func:`patchdistill.select_patches`.

    Returns
    -------
    PatchSelection
        Of arrays for arrays, of tensors where `patches` are for tensors.

    Raises
    ------
    ValueError, TypeError
        If the device or the embeddings are not valid.
    """
    E = patches
    if parameters["embedding"] is not None:
        E = embed(patches, parameters["embedding"])
    elif not isinstance(E, torch.Tensor):
        E = check_features(E)
    if E.ndim != 2:
        raise ValueError(f"E has shape {tuple(E.shape)}; one image is (n_patches, n_features).")
    batch, n_patches = check_batch(to_batch([E], find_device(parameters["device"], E)))
    counts = check_counts(None, n_patches, batch)
    selection, scored = select(batch, n_patches, counts, **{name: parameters[name] for name in SELECT_PARAMETERS})
    if not selection.converged.all():
        gap = (selection.dual_gap / selection.objective).item()
        message = convergence_message([False], [gap], parameters["tol"], parameters["max_iter"])
        warn(message, ConvergenceWarning, stacklevel=3)

    def give(tensor):
        return tensor.to(patches.device) if isinstance(patches, torch.Tensor) else tensor.cpu().numpy()

    in_place = scored.order[0].argsort()
    rows, Z = scored.problem.E[0, in_place].to(torch.float64), scored.problem.Z[0, in_place]
    alpha, beta = scored.problem.alpha[0], scored.problem.beta[0]
    solution, scores = _solution(scored, in_place, give), give(selection.scores[0])
    found = ScoredPatches(scores, solution, give(Z), alpha.item(), beta.item(), target_error=0.0)
    if isinstance(patches, torch.Tensor):
        make_problem = partial(ResidualProblem, *map(give, (rows, Z, alpha, beta)))
    else:
        make_problem = partial(solved_problem, E, parameters["normalize"], found)
    return PatchSelection(
        indices=give(selection.indices[0]),
        weights=give(selection.weights[0]),
        outliers=give(selection.outliers[0].nonzero()[:, 0]),
        ranking=give(selection.ranking[0]),
        scored=found,
        make_problem=make_problem,
    )


def _solution(scored, in_place, give):
    """Answer of the solver, patches in the order given."""
    n_features, answer = scored.problem.E.shape[2], scored.solutions
    W = answer.W.new_zeros(n_features + 1, answer.W.shape[2])
    W[answer.active[0]] = answer.W[0]  # the last row takes the padding
    U = answer.U[0, in_place]
    return Solution(
        W=give(W[:-1]),
        R=give(U - scored.problem[0].clip(U)),
        residual_norms=give(row_norms(U)),
        objective=answer.objective.item(),
        dual_gap=answer.dual_gap.item(),
        n_iter=answer.n_iter.item(),
        converged=answer.converged.item(),
        history={},
    )
