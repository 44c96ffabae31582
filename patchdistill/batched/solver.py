"""Solving the problems of many images at once; :mod:`patchdistill.solvers.exact` for batches.

Every image goes the way that the solver for one image goes: the same features enter its working set, and it is given
the same steps. What a step costs in calls is paid once for all images that are not finished.
"""

from dataclasses import dataclass, fields, replace

import torch
from torch.nn.functional import pad

from patchdistill.batched.masked import places_of, prefix, take, take_columns
from patchdistill.batched.newton import are_few_unknowns, attempt_step
from patchdistill.batched.problem import ResidualProblem, huber_loss, row_norms
from patchdistill.solvers.exact import (
    _DAMPING_PER_GAP,
    _FIRST_DAMPING,
    _FIRST_FEATURES,
    _HALVINGS,
    _INNER_GAP,
    _INNER_GAP_OF_FEW,
    _PATIENCE,
    _ROUNDING,
)


class _Batch:
    """Tensors that have one entry per image."""

    def __getitem__(self, images):
        return type(self)(*(getattr(self, field.name)[images] for field in fields(self)))


@dataclass
class Solutions(_Batch):
    """Where the solver stands with each image of a batch, and at its end, the answers.

    Attributes
    ----------
    active : Tensor of int, shape (n_images, m)
        Features that may have coefficients; what is not smaller than the number of features is padding.
    W : Tensor of shape (n_images, m, h)
        Their coefficients.
    U : Tensor of shape (n_images, n_patches, h)
        Misfit ``E W - Z``.
    n_iter : Tensor of int, shape (n_images,)
        Steps done.
    damping : Tensor of shape (n_images,)
        Of the next step.
    objective, dual_gap : Tensor of shape (n_images,)
        As in :class:`patchdistill.Solution`.
    converged : Tensor of bool, shape (n_images,)
        Whether ``dual_gap <= tol * objective``.
    """

    active: torch.Tensor
    W: torch.Tensor
    U: torch.Tensor
    n_iter: torch.Tensor
    damping: torch.Tensor
    objective: torch.Tensor
    dual_gap: torch.Tensor
    converged: torch.Tensor


def solve_exact(problem, correlations, widths, tol=1e-3, max_iter=1000):
    """Solve every problem of a batch to a relative duality gap.

    Parameters
    ----------
    problem : patchdistill.batched.problem.ResidualProblem
        What to solve.
    correlations : Tensor of shape (n_images, n_features)
        Those of ``W = 0``, see :func:`patchdistill.batched.problem.scaled_problem`.
    widths : Tensor of int, shape (n_images,)
        Columns of each target that are no padding.
    tol, max_iter : float, int
        As for :func:`patchdistill.solvers.exact.solve_exact`.

    Returns
    -------
    Solutions
        In the order of the batch.
    """
    images = torch.arange(len(problem.Z), device=problem.Z.device)
    state, answers = _start(problem), []
    while True:
        objective = problem.objective(state.W, state.U)
        dual, correlations = problem.dual_value(state.U, correlations)
        gap = (objective - dual).clamp(min=0.0)
        stuck = (objective >= state.objective) & (gap >= state.dual_gap)  # so are those that were done before
        state.objective, state.dual_gap, state.converged = objective, gap, gap <= tol * objective
        done = state.converged | stuck | (state.n_iter >= max_iter)
        late = (~done).nonzero()[:, 0]
        if 2 * len(late) <= len(images):  # a copy of what is left pays
            leaving = done.nonzero()[:, 0]
            answers.append((images[leaving], state[leaving]))
            if not len(late):
                return collect(answers, problem.E.shape[2])
            problem, state, images = problem[late], state[late], images[late]
            correlations, widths, done = correlations[late], widths[late], done[late]
            late = slice(None)
        E_active = _extend(problem, state, correlations, done)
        correlations = None
        working = ResidualProblem(E_active, problem.Z, problem.alpha, problem.beta)[late]
        gap, objective = state.dual_gap[late], state.objective[late]
        goal = torch.stack([gap, tol * objective / 3], dim=1)
        budget = max_iter - state.n_iter[late]
        W, U, n_iter, damping = _solve_working_sets(
            working, state.W[late], widths[late], goal, budget, state.damping[late]
        )
        state.W[late], state.U[late], state.damping[late] = W, U, damping
        state.n_iter[late] += n_iter
        kept = state.W.any(dim=2)
        places = places_of(kept, int(kept.sum(dim=1).max()))
        state.active = state.active.masked_fill(~kept, problem.E.shape[2]).gather(1, places)
        state.W = take(state.W, places)


def _start(problem):
    """No feature has a coefficient."""
    Z = problem.Z
    n_images, infinity = len(Z), torch.full_like(problem.alpha, torch.inf)
    return Solutions(
        active=torch.empty(n_images, 0, dtype=torch.int64, device=Z.device),
        W=Z.new_empty(n_images, 0, Z.shape[2]),
        U=-Z,
        n_iter=torch.zeros(n_images, dtype=torch.int64, device=Z.device),
        damping=torch.full_like(infinity, _FIRST_DAMPING),
        objective=infinity,
        dual_gap=infinity,
        converged=torch.zeros(n_images, dtype=torch.bool, device=Z.device),
    )


def collect(parts, n_features):
    """Put the answers of parts of a batch together.

    Parameters
    ----------
    parts : list of tuple of Tensor of int and Solutions
        Images and their answers; together, every image of the batch once.
    n_features : int
        Number of features.

    Returns
    -------
    Solutions
        In the order of the batch.
    """
    m, h = (max(part.W.shape[axis] for _, part in parts) for axis in (1, 2))
    padded = []
    for _, part in parts:
        no_row, no_column = m - part.W.shape[1], h - part.W.shape[2]
        active = pad(part.active, (0, no_row), value=n_features)
        padded.append(
            replace(part, active=active, W=pad(part.W, (0, no_column, 0, no_row)), U=pad(part.U, (0, no_column)))
        )
    order = torch.cat([images for images, _ in parts]).argsort()
    return Solutions(*(torch.cat([getattr(part, f.name) for part in padded])[order] for f in fields(Solutions)))


def _extend(problem, state, correlations, done):
    """Let the worst violators enter the working sets of the images that are not done; embeddings of these sets."""
    n_features = correlations.shape[1]
    outside = pad(correlations, (0, 1)).scatter(1, state.active, 0.0)[:, :-1]
    violating = (outside > problem.alpha[:, None]) & ~done[:, None]
    allowed = (2 * (state.active < n_features).sum(dim=1)).clamp(min=_FIRST_FEATURES)
    counts = torch.minimum(violating.sum(dim=1), allowed)
    worst = outside.masked_fill(~violating, 0.0).sort(dim=1, descending=True, stable=True)
    n_new = int(counts.max())
    entering, new = prefix(counts, n_new), worst.indices[:, :n_new]
    state.active = torch.cat([state.active, new.masked_fill(~entering, n_features)], dim=1)
    E = take_columns(problem.E, state.active.clamp(max=n_features - 1)).to(torch.float64)
    E = E * (state.active < n_features)[:, None, :]
    E_new = E[:, :, state.W.shape[1] :]
    steps = (1 - problem.alpha[:, None] / worst.values[:, :n_new]) / (2 * E_new.square().sum(dim=1))
    steps = steps.masked_fill(~entering, 0.0)
    state.W = torch.cat([state.W, _first_coefficients(problem, state, E_new, steps)], dim=1)
    return E


def _first_coefficients(problem, state, E_new, steps):
    """Coefficients to start the new features from: each one's own proximal step, shortened together until they help."""
    W_new = E_new.mT @ (-2 * problem.clip(state.U)) * steps[:, :, None]
    change = E_new @ W_new
    # Row norms of U + scale * change for all scales at once.
    scales = torch.as_tensor(_HALVINGS[:, 0], dtype=change.dtype, device=change.device)
    terms = [(A * B).sum(dim=2)[:, None] for A, B in ((state.U, state.U), (state.U, change), (change, change))]
    squared = terms[0] + scales[:, None] * (2 * terms[1] + scales[:, None] * terms[2])
    own = problem.alpha * row_norms(W_new).sum(dim=1)
    values = huber_loss(squared.clamp(min=0.0).sqrt(), problem.beta[:, None]) + scales * own[:, None]
    # Convex in the scale and decreasing at 0: the first of the halvings that no longer improves on the one before is
    # past the best.
    improves = (values[:, 1:] < values[:, :-1]).cumprod(dim=1).sum(dim=1)
    return scales[improves][:, None, None] * W_new


@dataclass
class _Steps(_Batch):
    """Where Newton's method stands with each image on its working set; the best point so far beside the last one."""

    images: torch.Tensor
    W: torch.Tensor
    U: torch.Tensor
    objective: torch.Tensor
    previous: torch.Tensor
    best_W: torch.Tensor
    best_U: torch.Tensor
    best_gap: torch.Tensor
    patience: torch.Tensor
    n_iter: torch.Tensor
    damping: torch.Tensor
    widths: torch.Tensor
    goals: torch.Tensor  # the gap on all features, of which a share is the target here, and the least target
    budget: torch.Tensor
    gap: torch.Tensor
    is_whole: torch.Tensor  # False while a step is tried again with more damping


def _solve_working_sets(problem, W, widths, goals, budget, damping):
    """Minimize over the features of `problem.E` alone, to gaps on these: W, its misfit, steps, next damping."""
    U = problem.misfit(W)
    infinity = torch.full_like(damping, torch.inf)
    state = _Steps(
        images=torch.arange(len(W), device=W.device),
        W=W,
        U=U,
        objective=problem.objective(W, U),
        previous=infinity,
        best_W=W,
        best_U=U,
        best_gap=infinity,
        patience=torch.full_like(budget, _PATIENCE),
        n_iter=torch.zeros_like(budget),
        damping=damping,
        widths=widths,
        goals=goals,
        budget=budget,
        gap=infinity,
        is_whole=torch.ones_like(budget, dtype=torch.bool),
    )
    answers = torch.empty_like(W), torch.empty_like(U), torch.empty_like(budget), torch.empty_like(damping)
    while True:
        finished = _judge(problem, state)
        leaving = finished.nonzero()[:, 0]
        if len(leaving):
            for answer, part in zip(answers, (state.best_W, state.best_U, state.n_iter, state.damping), strict=True):
                answer[state.images[leaving]] = part[leaving]
            if len(leaving) == len(finished):
                return answers
            staying = (~finished).nonzero()[:, 0]
            problem, state = problem[staying], state[staying]
        _step(problem, state)


def _judge(problem, state):
    """Tell which images are finished; their answers are the best points."""
    # A feature that has left by mistake is for the check of all features to bring back: a gap that counts it would not
    # close here.
    is_row = state.W.any(dim=2)
    dual, _ = problem.dual_value(state.U, problem.correlations(state.U) * is_row)
    gap = state.objective - dual
    state.gap = torch.where(state.is_whole, gap, state.gap)
    # Where the objective has no digits left to show it, only the gap tells whether a step was one forward.
    stalled = state.previous - state.objective <= _ROUNDING * state.objective
    spent = state.n_iter >= state.budget
    is_better = (gap < state.best_gap) | ~stalled
    improved = state.is_whole & (is_better | spent)
    state.best_gap = torch.where(improved, gap, state.best_gap)
    state.best_W = torch.where(improved[:, None, None], state.W, state.best_W)
    state.best_U = torch.where(improved[:, None, None], state.U, state.best_U)
    given_up = ~improved & (state.patience == 0)
    state.patience = torch.where(improved, _PATIENCE, state.patience - state.is_whole.to(torch.int64))
    state.previous = torch.where(state.is_whole, state.objective, state.previous)
    is_empty = ~is_row.any(dim=1)
    share = torch.where(are_few_unknowns(state.W, state.widths), _INNER_GAP_OF_FEW, _INNER_GAP)
    target = torch.maximum(share * state.goals[:, 0], state.goals[:, 1])
    return state.is_whole & (spent | given_up | (gap <= target) | is_empty)


def _step(problem, state):
    """Try a step of every image."""
    are_few = are_few_unknowns(state.W, state.widths)
    damping = torch.maximum(state.damping, _DAMPING_PER_GAP * state.gap / state.objective)
    is_majorizer = damping == 1.0
    state.is_whole = torch.zeros_like(state.is_whole)
    for are_these_few in (True, False):  # apart: the working sets of the ones are much smaller than those of the others
        images = (are_few == are_these_few).nonzero()[:, 0]
        if len(images):
            accepted, *after = _step_of(problem, state, images, damping[images], are_these_few)
            state.is_whole[images] = accepted | is_majorizer[images]
            for name, values in zip(("W", "U", "objective", "damping"), after, strict=True):
                setattr(state, name, getattr(state, name).index_put((images,), values))
    state.n_iter = state.n_iter + state.is_whole


def _step_of(problem, state, images, damping, are_few):
    """Try a step of some images, on the features whose coefficients are not zero."""
    W = state.W[images]
    is_row = W.any(dim=2)
    rows = places_of(is_row, int(is_row.sum(dim=1).max()))
    problem = problem[images]
    problem.E = take_columns(problem.E, rows)
    accepted, W_rows, *after = attempt_step(
        problem, take(W, rows), state.U[images], state.objective[images], damping, are_few
    )
    return accepted, W.scatter(1, rows[:, :, None].expand_as(W_rows), W_rows), *after
