"""Putting the embeddings of every image on a common scale; :mod:`patchdistill.normalization` for batches."""

import torch

from patchdistill.batched.problem import row_norms


def normalize_embeddings(E, real, how="rows"):
    """Normalize the embeddings of the patches of every image.

    Parameters
    ----------
    E : Tensor of shape (n_images, n_patches, n_features)
        Embeddings, zero where they are padding.
    real : Tensor of bool, shape (n_images, n_patches)
        Which patches are no padding.
    how : {"rows", "columns"} or None, default="rows"
        As for :func:`patchdistill.normalization.normalize_embeddings`.

    Returns
    -------
    rows : Tensor of float64, shape (n_images, n_patches, n_features)
        Normalized embeddings, zero where they are padding.
    lengths : Tensor of float64, shape (n_images, n_patches)
        What times `rows` are the embeddings, standardized for ``"columns"``, in a unit of the image.
    """
    if how is None:
        return E.to(torch.float64), torch.ones(E.shape[:2], dtype=torch.float64, device=E.device)
    E = unit_scale(E)
    if how == "columns":
        E = standardize_columns(E, real)[0].mul_(real[:, :, None])
    lengths = row_norms(E)
    rows = E.div_(lengths.masked_fill(lengths == 0, 1.0)[:, :, None])
    return rows, lengths / power_of_two(lengths.amax(dim=1, keepdim=True))


def unit_scale(E):
    """Bring embeddings to a scale on which no square of theirs overflows or vanishes, image by image.

    Parameters
    ----------
    E : Tensor of shape (n_images, n_patches, n_features)
        Embeddings.

    Returns
    -------
    Tensor of float64, shape (n_images, n_patches, n_features)
        A multiple, exact because it is by a power of two. Of narrower numbers all squares fit in float64: they stay.
    """
    if E.dtype != torch.float64:
        return E.to(torch.float64)
    return E / power_of_two(_largest(E, dim=(1, 2)))


def power_of_two(numbers):
    """Next power of two above numbers, by which division is exact.

    Parameters
    ----------
    numbers : Tensor of float64
        Non-negative numbers.

    Returns
    -------
    Tensor of float64
        Exact, which exp2 is not; 1 for 0.
    """
    return torch.where(numbers > 0, numbers / torch.frexp(numbers).mantissa, 1.0)


def _largest(E, dim):
    """Largest absolute values, without a copy of the tensor."""
    return torch.maximum(E.amax(dim=dim, keepdim=True), -E.amin(dim=dim, keepdim=True))


def standardize_columns(E, reference):
    """Give every feature mean 0 and standard deviation 1 over some patches; features that do not vary there become 0.

    Parameters
    ----------
    E : Tensor of float32 or float64, shape (n_images, n_patches, n_features)
        Embeddings; of float64 ones the squares must neither overflow nor vanish.
    reference : Tensor of bool, shape (n_images, n_patches)
        The patches over which means and deviations are taken.

    Returns
    -------
    standardized, squares : Tensor of shape (n_images, n_patches, n_features)
        Standardized embeddings, and their squares, which are there anyway; padding has no meaning.
    """
    if E.dtype == torch.float32:
        largest = _largest(E, dim=1)
        E = E / torch.where(largest > 0, largest, 1.0)
    shares = (reference.to(E.dtype) / reference.sum(dim=1, keepdim=True))[:, None, :]
    means = torch.bmm(shares, E)
    centered = E.sub_(means) if E.dtype == torch.float32 else E - means
    squares = centered.square()
    variances = torch.bmm(shares, squares)
    limit = 64 * torch.finfo(E.dtype).eps  # of a constant column only rounding is left
    variances = variances.masked_fill(variances <= limit**2 * (means.square() + variances), torch.inf)
    return centered.mul_(variances.rsqrt()), squares.div_(variances)
