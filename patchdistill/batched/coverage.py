"""Which patches cover the others, for every image; :mod:`patchdistill.coverage` for batches."""

import torch

from patchdistill.batched.masked import median
from patchdistill.coverage import _NEIGHBOR, _SMALLEST_SCALE
from patchdistill.ties import _BITS


def self_tuning_distances(distances, real):
    """Divide distances by the scales of their surroundings, so that dense and sparse regions count alike.

    Parameters
    ----------
    distances : Tensor of float64, shape (n_images, n_patches, n_patches)
        Symmetric distances.
    real : Tensor of bool, shape (n_images, n_patches)
        Which patches are no padding.

    Returns
    -------
    Tensor of shape (n_images, n_patches, n_patches)
        As :func:`patchdistill.coverage.self_tuning_distances` gives them; padding has no meaning.
    """
    n_nearest = min(_NEIGHBOR + 1, distances.shape[1])
    nearest = distances.masked_fill(~real[:, None, :], torch.inf).topk(n_nearest, largest=False).values
    neighbor = (real.sum(dim=1) - 1).clamp(max=_NEIGHBOR)
    scales = nearest.gather(2, neighbor[:, None, None].expand(-1, distances.shape[1], 1))[:, :, 0]
    scales = torch.maximum(scales, _SMALLEST_SCALE * median(scales, real)[:, None])
    products = (scales[:, :, None] * scales[:, None, :]).sqrt()
    return distances / products.masked_fill(products == 0, torch.inf)


def on_grid(matrices):
    """Round numbers to a grid so coarse that their sums are exact in float64, whatever the order of the terms.

    Parameters
    ----------
    matrices : Tensor of float64, shape (n_images, n, m)
        Non-negative numbers.

    Returns
    -------
    Tensor of shape (n_images, n, m)
        As :func:`patchdistill.ties.on_grid` gives them, each matrix on its own grid.
    """
    largest = matrices.amax(dim=(1, 2), keepdim=True)
    power_of_two = torch.where(largest > 0, largest / torch.frexp(largest).mantissa, 1.0)  # exact, which exp2 is not
    step = power_of_two * 2.0**-_BITS
    return (matrices / step).round() * step


def greedy_medoids(distances, real, first, n_first):
    """Order patches so that the first ones, however many are taken, cover all of them well.

    Parameters
    ----------
    distances : Tensor of float64, shape (n_images, n_patches, n_patches)
        Symmetric distances.
    real : Tensor of bool, shape (n_images, n_patches)
        Which patches are to be covered and may cover: the first ones.
    first : Tensor of int, shape (n_images, k)
        Patches that are taken already; the order begins with them.
    n_first : Tensor of int, shape (n_images,)
        How many of these are no padding.

    Returns
    -------
    Tensor of int, shape (n_images, n_patches)
        All patches, as :func:`patchdistill.coverage.greedy_medoids` orders them, then the others as they are.
    """
    D = on_grid(distances * (real[:, :, None] & real[:, None, :]))
    n_images, n = real.shape
    images = torch.arange(n_images, device=D.device)
    order = torch.arange(n, device=D.device).expand(n_images, -1).clone()
    uncovered = torch.zeros_like(D[:, 0]).masked_fill(real, torch.inf)  # distance to the nearest patch taken
    costs = D.sum(dim=1).masked_fill(~real, torch.inf)  # sum of the distances if a patch is taken next
    n_real = real.sum(dim=1)
    for k in range(int(n_real.max())):
        j = costs.argmin(dim=1)
        if k < first.shape[1]:
            j = torch.where(k < n_first, first[:, k], j)
        j = torch.where(k < n_real, j, k)
        order[:, k], costs[images, j] = j, torch.inf
        to_taken = D[images, j]
        # Only the patches that are now nearer to a taken one change what taking another would save. Sums on the grid
        # are exact: their order, which differs from device to device, does not matter.
        image, patch = (to_taken < uncovered).nonzero(as_tuple=True)
        rows, before = D[image, patch], uncovered[image, patch]
        uncovered = torch.minimum(uncovered, to_taken)
        now = uncovered[image, patch]
        costs.index_add_(0, image, torch.minimum(rows, now[:, None]) - torch.minimum(rows, before[:, None]))
    return order


def nearest_kept(distances, kept, is_kept):
    """Let every patch be represented by the nearest kept one.

    Parameters
    ----------
    distances : Tensor of float64, shape (n_images, n_patches, n_patches)
        Symmetric distances.
    kept : Tensor of int, shape (n_images, n_kept)
        Kept patches, different ones, padding included; each represents itself, even where it has a copy.
    is_kept : Tensor of bool, shape (n_images, n_kept)
        Which of these are no padding.

    Returns
    -------
    Tensor of int, shape (n_images, n_patches)
        Places in `kept` of the representatives.
    """
    to_kept = distances.gather(2, kept[:, None, :].expand(-1, distances.shape[1], -1))
    nearest = to_kept.masked_fill(~is_kept[:, None, :], torch.inf).argmin(dim=2)
    places = torch.arange(kept.shape[1], device=kept.device).masked_fill(~is_kept, -1)
    itself = torch.full_like(nearest, -1).scatter(1, kept, places)
    return torch.where(itself >= 0, itself, nearest)
