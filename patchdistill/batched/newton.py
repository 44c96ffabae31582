"""One damped Newton step for every image of a batch; the local models of :mod:`patchdistill.solvers.exact`."""

import torch

from patchdistill.batched.masked import places_of, take, take_columns
from patchdistill.batched.problem import huber_loss, row_norms
from patchdistill.solvers.exact import (
    _CG_MAX,
    _CG_TOL,
    _DAMPING_FACTOR,
    _FEW_UNKNOWNS,
    _GOOD_STEP,
    _LEAST_DAMPING,
    _LENGTHS,
    _POOR_STEP,
    _ROUNDING,
)


def attempt_step(problem, W, U, objective, damping, widths):
    """Try one step per image, at its damping.

    Parameters
    ----------
    problem : patchdistill.batched.problem.ResidualProblem
        Problems on the features whose coefficients are not zero.
    W : Tensor of shape (n_images, m, h)
        Coefficients; rows of zeros are padding.
    U : Tensor of shape (n_images, n_patches, h)
        Their misfit.
    objective, damping : Tensor of shape (n_images,)
        Objective of `W`, and how far the step is from Newton's (0) towards the majorizer's (1).
    widths : Tensor of int, shape (n_images,)
        Columns of each target that are no padding.

    Returns
    -------
    accepted : Tensor of bool, shape (n_images,)
        Where the step lowers the objective or, next to its minimum, keeps it.
    W, U, objective : Tensor
        After the step where it was accepted, as before elsewhere.
    damping : Tensor of shape (n_images,)
        For the next step.
    """
    direction, promised = _LocalModel(problem, W, U).minimize(damping, are_few_unknowns(W, widths))
    lengths = torch.tensor(_LENGTHS, dtype=W.dtype, device=W.device)
    candidates = W[:, :, None] + lengths[:, None] * direction[:, :, None]  # (image, feature, length, column)
    # A row that has turned round passed through zero on the way, where Newton's model ends. The majorizer holds beyond,
    # and is the step that must not fail.
    turned = ((candidates * W[:, :, None]).sum(dim=3) <= 0) & (damping < 1)[:, None, None]
    candidates = candidates.masked_fill(turned[..., None], 0.0)
    misfits = (problem.E @ candidates.flatten(2)).unflatten(2, candidates.shape[2:]) - problem.Z[:, :, None]
    losses = huber_loss(row_norms(misfits).mT, problem.beta[:, None])
    values = losses + problem.alpha[:, None] * row_norms(candidates).sum(dim=1)
    highest = objective * (1 + _ROUNDING)  # rounding is given to the step: next to the minimum there is nothing else
    lower = values < highest[:, None]
    accepted = lower.any(dim=1)
    tried = torch.where(accepted, lower.to(torch.uint8).argmax(dim=1), len(_LENGTHS) - 1)
    images = torch.arange(len(W), device=W.device)
    value = values[images, tried]
    decrease = highest - value
    is_good = decrease > _GOOD_STEP * promised
    is_poor = ~(decrease >= _POOR_STEP * promised)  # NaN, where a step overflowed, included
    longer = (damping / _DAMPING_FACTOR).clamp(min=_LEAST_DAMPING)
    shorter = (damping * _DAMPING_FACTOR).clamp(max=1.0)
    next_damping = torch.where(is_good, longer, torch.where(is_poor, shorter, damping))
    W = torch.where(accepted[:, None, None], candidates[images, :, tried], W)
    U = torch.where(accepted[:, None, None], misfits[images, :, tried], U)
    return accepted, W, U, torch.where(accepted, value, objective), next_damping


def are_few_unknowns(W, widths):
    """Whether the equations of a step are few enough to be solved directly.

    Parameters
    ----------
    W : Tensor of shape (n_images, m, h)
        Coefficients; rows of zeros are padding.
    widths : Tensor of int, shape (n_images,)
        Columns that are no padding.

    Returns
    -------
    Tensor of bool, shape (n_images,)
        Answers.
    """
    return W.any(dim=2).sum(dim=1) * widths <= _FEW_UNKNOWNS


class _LocalModel:
    r"""Quadratic models of the objectives at W, in coordinates scaled by the square roots of the row norms of W.

    With :math:`X_j = W_j / \sqrt{\|W_j\|}`, `D` the row norms of `W` and `S` the Huber weights, the majorizer is A'A
    with :math:`A = (\sqrt{2 S} E D^{1/2}; \sqrt{\alpha} I)`, and the Hessian is A'(I - P)A, where P projects the rows
    of A X on their units: those of outlying rows of U, and those of the rows of W. A row of zeros in W is a column of A
    without effect.
    """

    def __init__(self, problem, W, U):
        norms, sizes = row_norms(U), row_norms(W)
        roots = (2 * problem.huber_weights(norms)).sqrt()[..., None]
        root_alpha = problem.alpha.sqrt()[:, None, None]
        self.scale = sizes.sqrt()[..., None]
        identity = torch.eye(W.shape[1], dtype=W.dtype, device=W.device)
        self.A = torch.cat([roots * problem.E * self.scale.mT, root_alpha * identity], dim=1)
        units_W = W / sizes.masked_fill(sizes == 0, 1.0)[..., None]
        outlying = norms > problem.beta[:, None] / 2
        units_U = U / norms.masked_fill(~outlying, torch.inf)[..., None]
        self.units = torch.cat([units_U, units_W], dim=1)
        self.gradient = self.A.mT @ torch.cat([roots * U, root_alpha * units_W * self.scale], dim=1)
        root = torch.linalg.cholesky_ex(torch.bmm(self.A.mT, self.A)).L
        inverse_root = torch.linalg.solve_triangular(root, identity.expand(len(W), -1, -1), upper=False)
        self.inverse_majorizer = torch.bmm(inverse_root.mT, inverse_root)

    def minimize(self, damping, are_few):
        """Minimize the models of ``H + damping (A'A - H)``: the steps, and the decreases that they promise."""
        step = torch.empty_like(self.gradient)
        units = (1 - damping).sqrt()[:, None, None] * self.units
        few = are_few.nonzero()[:, 0]
        if len(few):
            step[few], are_solved = self._solve_directly(few, units)
            # To the precision of the machine the others are flat in some direction.
            are_few = are_few.index_put((few,), are_solved)
        many = (~are_few).nonzero()[:, 0]
        if len(many):
            step[many] = self._conjugate_gradients(many, units)
        return step * self.scale, -_inner(self.gradient, step)[:, 0, 0] / 2

    def _solve_directly(self, images, units):
        """Solve for all numbers of a step at once, where the matrix is positive definite."""
        is_row = self.scale[images, :, 0] > 0
        m, h = int(is_row.sum(dim=1).max()), units.shape[2]
        rows = places_of(is_row, m)
        A = take_columns(self.A[images], rows)
        along = (A[:, :, :, None] * units[images, :, None, :]).flatten(2)
        matrix = torch.bmm(along.mT, along).neg_()
        by_feature = matrix.unflatten(2, (m, h)).unflatten(1, (m, h))
        by_feature.diagonal(dim1=2, dim2=4).add_(torch.bmm(A.mT, A)[..., None])
        factor, info = torch.linalg.cholesky_ex(matrix)
        gradient = take(self.gradient[images], rows).flatten(1)[:, :, None]
        step = torch.cholesky_solve(-gradient, factor).unflatten(1, (m, h))[..., 0]
        step = torch.zeros_like(self.gradient[images]).scatter(1, rows[:, :, None].expand_as(step), step)
        return step, info == 0

    def _conjugate_gradients(self, images, units):
        """Preconditioned by the majorizer."""
        A, inverse, units, gradient = (x[images] for x in (self.A, self.inverse_majorizer, units, self.gradient))
        images = torch.arange(len(A), device=A.device)
        steps, residual = torch.zeros_like(gradient), -gradient
        step, conjugate = steps, torch.bmm(inverse, residual)
        energy = _inner(residual, conjugate)
        enough, running = _CG_TOL**2 * energy, torch.ones_like(energy, dtype=torch.bool)
        for _ in range(_CG_MAX):
            image = torch.bmm(A, conjugate)
            image = torch.bmm(A.mT, image.addcmul(units, (units * image).sum(dim=2, keepdim=True), value=-1))
            curvature = _inner(conjugate, image)
            running = running & (curvature > 0)  # else flat to the precision of the machine
            length = torch.where(running, energy / curvature, 0.0)
            step = step.addcmul(length, conjugate)
            residual = residual.addcmul(length, image, value=-1)
            preconditioned = torch.bmm(inverse, residual)
            ratio, energy = energy, _inner(residual, preconditioned)
            ratio = energy / ratio
            running = running & (energy > enough)
            left = running[:, 0, 0].nonzero()[:, 0]
            if 2 * len(left) <= len(images):  # a copy of what is left pays
                steps[images] = step
                if not len(left):
                    break
                state = (images, A, inverse, units, step, residual, conjugate, preconditioned)
                images, A, inverse, units, step, residual, conjugate, preconditioned = (x[left] for x in state)
                energy, enough, ratio, running = energy[left], enough[left], ratio[left], running[left]
            conjugate = preconditioned.addcmul(torch.where(running, ratio, 0.0), conjugate)
        steps[images] = step
        return steps


def _inner(A, B):
    return (A * B).sum(dim=(1, 2), keepdim=True)
