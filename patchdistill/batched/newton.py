"""One damped Newton step for every image of a batch; the local models of :mod:`patchdistill.solvers.exact`."""

import torch

from patchdistill.batched.problem import row_norms
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


def attempt_step(problem, W, U, objective, damping, are_few):
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
    are_few : bool
        Whether the equations are solved directly.

    Returns
    -------
    accepted : Tensor of bool, shape (n_images,)
        Where the step lowers the objective or, next to its minimum, keeps it.
    W, U, objective : Tensor
        After the step where it was accepted, as before elsewhere.
    damping : Tensor of shape (n_images,)
        For the next step.
    """
    direction, promised = _LocalModel(problem, W, U).minimize(damping, are_few)
    highest = objective * (1 + _ROUNDING)  # rounding is given to the step: next to the minimum there is nothing else
    W_new, U_new, value = _move(problem, W, direction, damping)
    for length in _LENGTHS[1:]:
        late = (~(value < highest)).nonzero()[:, 0]
        if not len(late):
            break
        shorter = _move(problem[late], W[late], length * direction[late], damping[late])
        for whole, part in zip((W_new, U_new, value), shorter, strict=True):
            whole[late] = part
    accepted, decrease = value < highest, highest - value
    is_good = decrease > _GOOD_STEP * promised
    is_poor = ~(decrease >= _POOR_STEP * promised)  # NaN, where a step overflowed, included
    longer = (damping / _DAMPING_FACTOR).clamp(min=_LEAST_DAMPING)
    shorter = (damping * _DAMPING_FACTOR).clamp(max=1.0)
    next_damping = torch.where(is_good, longer, torch.where(is_poor, shorter, damping))
    W = torch.where(accepted[:, None, None], W_new, W)
    U = torch.where(accepted[:, None, None], U_new, U)
    return accepted, W, U, torch.where(accepted, value, objective), next_damping


def _move(problem, W, change, damping):
    """Coefficients after a change, their misfit and their objective."""
    W_new = W + change
    # A row that has turned round passed through zero on the way, where Newton's model ends. The majorizer holds beyond,
    # and is the step that must not fail.
    turned = ((W_new * W).sum(dim=2) <= 0) & (damping < 1)[:, None]
    W_new = W_new.masked_fill_(turned[:, :, None], 0.0)
    U_new = problem.misfit(W_new)
    return W_new, U_new, problem.objective(W_new, U_new)


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
        self.majorizer = torch.bmm(self.A.mT, self.A)

    def minimize(self, damping, are_few):
        """Minimize the models of ``H + damping (A'A - H)``: the steps, and the decreases that they promise."""
        units = (1 - damping).sqrt()[:, None, None] * self.units
        if are_few:
            step, is_solved = self._solve_directly(units)
            # To the precision of the machine the others are flat in some direction.
            late = (~is_solved).nonzero()[:, 0]
            if len(late):
                step[late] = self._conjugate_gradients(units)[late]
        else:
            step = self._conjugate_gradients(units)
        return step * self.scale, -_inner(self.gradient, step)[:, 0, 0] / 2

    def _solve_directly(self, units):
        """Solve for all numbers of a step at once; where the matrix is positive definite, that is."""
        m, h = self.gradient.shape[1:]
        along = (self.A[:, :, :, None] * units[:, :, None, :]).flatten(2)
        matrix = torch.bmm(along.mT, along).neg_()
        by_feature = matrix.unflatten(2, (m, h)).unflatten(1, (m, h))
        by_feature.diagonal(dim1=2, dim2=4).add_(self.majorizer[..., None])
        factor, info = torch.linalg.cholesky_ex(matrix)
        step = torch.cholesky_solve(-self.gradient.flatten(1)[:, :, None], factor)
        return step.unflatten(1, (m, h))[..., 0], info == 0

    def _conjugate_gradients(self, units):
        """Preconditioned by the majorizer."""
        A, images = self.A, torch.arange(len(self.A), device=self.A.device)
        identity = torch.eye(A.shape[2], dtype=A.dtype, device=A.device).expand(len(A), -1, -1)
        root = torch.linalg.cholesky_ex(self.majorizer).L
        inverse_root = torch.linalg.solve_triangular(root, identity, upper=False)
        inverse = torch.bmm(inverse_root.mT, inverse_root)
        steps, residual = torch.zeros_like(self.gradient), -self.gradient
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
