"""Putting the embeddings of every image on a common scale; :mod:`patchdistill.normalization` for batches."""

import torch

from patchdistill.batched.problem import row_norms


def normalize_embeddings(E, real, how="rows"):
    """Normalize the embeddings of the patches of every image.

    Parameters
    ----------
    E : Tensor of float64, shape (n_images, n_patches, n_features)
        Embeddings, zero where they are padding.
    real : Tensor of bool, shape (n_images, n_patches)
        Which patches are no padding.
    how : {"rows", "columns"} or None, default="rows"
        As for :func:`patchdistill.normalization.normalize_embeddings`.

    Returns
    -------
    Tensor of shape (n_images, n_patches, n_features)
        Normalized embeddings, zero where they are padding.
    """
    if how is None:
        return E
    if how == "columns":
        E = standardize_columns(E, real).mul_(real[:, :, None])
    return unit_rows(E)


def unit_scale(E):
    """Divide the embeddings of every image by their largest entry, so that no square of theirs overflows or vanishes.

    Parameters
    ----------
    E : Tensor of shape (n_images, n_patches, n_features)
        Embeddings.

    Returns
    -------
    Tensor of float64, shape (n_images, n_patches, n_features)
        Entries in [-1, 1].
    """
    largest = torch.maximum(E.amax(dim=(1, 2)), -E.amin(dim=(1, 2))).to(torch.float64)
    return E.to(torch.float64, copy=True).div_(largest.masked_fill(largest == 0, 1.0)[:, None, None])


def unit_rows(E):
    """Scale every row to unit Euclidean norm; rows of zeros stay.

    Parameters
    ----------
    E : Tensor of float64, shape (n_images, n_patches, n_features)
        Embeddings whose squares neither overflow nor vanish.

    Returns
    -------
    Tensor of shape (n_images, n_patches, n_features)
        Scaled rows.
    """
    norms = row_norms(E)
    return E / norms.masked_fill(norms == 0, 1.0)[:, :, None]


def standardize_columns(E, reference):
    """Give every feature mean 0 and standard deviation 1 over some patches; features that do not vary there become 0.

    Parameters
    ----------
    E : Tensor of float64, shape (n_images, n_patches, n_features)
        Embeddings whose squares neither overflow nor vanish.
    reference : Tensor of bool, shape (n_images, n_patches)
        The patches over which means and deviations are taken.

    Returns
    -------
    Tensor of shape (n_images, n_patches, n_features)
        Standardized embeddings; padding has no meaning.
    """
    largest = torch.maximum(E.amax(dim=1), -E.amin(dim=1))[:, None, :]
    shares = (reference.to(E.dtype) / reference.sum(dim=1, keepdim=True))[:, None, :]
    centered = E - shares @ E
    deviations = (shares @ centered.square()).sqrt()
    is_constant = deviations <= 64 * torch.finfo(E.dtype).eps * largest  # of a constant column only rounding is left
    return centered.div_(deviations.masked_fill_(is_constant, torch.inf))
