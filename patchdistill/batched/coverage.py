"""Which patches cover the others, for every image; :mod:`patchdistill.coverage` for batches."""

import torch

from patchdistill.batched.masked import median, prefix
from patchdistill.batched.normalization import power_of_two
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
    step = power_of_two(largest) * 2.0**-_BITS
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
    n_images, n = real.shape
    n_real, offsets = real.sum(dim=1), n * torch.arange(n_images, device=real.device)
    D = on_grid(distances * (real[:, :, None] & real[:, None, :]))
    # What the first ones cover is known at once. Sums on the grid are exact: in which order they are added, which
    # differs from device to device, does not matter.
    is_first = prefix(n_first, first.shape[1])
    uncovered = torch.zeros_like(D[:, 0]).masked_fill(real, torch.inf)  # distance to the nearest patch taken
    if first.shape[1]:
        to_first = D.gather(2, first[:, None, :].expand(-1, n, -1)).masked_fill(~is_first[:, None, :], torch.inf)
        uncovered = torch.minimum(uncovered, to_first.amin(dim=2))
    costs = torch.minimum(D, uncovered[:, :, None]).sum(dim=1)  # sum of the distances if a patch is taken next
    taken = torch.zeros(n_images, n + 1, dtype=torch.bool, device=D.device)
    taken = taken.scatter(1, first.masked_fill(~is_first, n), True)[:, :n] | ~real
    costs = costs.masked_fill(taken, torch.inf)
    rows, next_ones = D.flatten(0, 1), []
    for _ in range(int((n_real - n_first).max())):
        j = costs.argmin(dim=1)
        next_ones.append(j)
        costs.scatter_(1, j[:, None], torch.inf)
        to_taken = rows.index_select(0, offsets + j)
        # Only the patches that are now nearer to a taken one change what taking another would save.
        closer = (to_taken < uncovered).flatten().nonzero()[:, 0]
        among, before, now = (A.index_select(0, closer) for A in (rows, uncovered.flatten(), to_taken.flatten()))
        change = torch.minimum(among, now[:, None]) - torch.minimum(among, before[:, None])
        costs.index_add_(0, closer // n, change)
        uncovered = torch.minimum(uncovered, to_taken)
    # One more place takes what an image has no place for.
    order = torch.arange(n + 1, device=D.device).repeat(n_images, 1)
    order.scatter_(1, torch.arange(first.shape[1], device=D.device).masked_fill(~is_first, n), first)
    if next_ones:
        places = n_first[:, None] + torch.arange(len(next_ones), device=D.device)
        order.scatter_(1, places.masked_fill(places >= n_real[:, None], n), torch.stack(next_ones, dim=1))
    return order[:, :n]


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
