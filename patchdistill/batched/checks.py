"""Checks of the batches that come in."""

import torch

DEVICES = ("cpu", "cuda")


def check_batch(E, n_patches=None):
    """Check embeddings of a batch of images, and clear their padding.

    Parameters
    ----------
    E : Tensor of shape (n_images, n_patches, n_features)
        Embeddings.
    n_patches : Tensor of int, shape (n_images,), default=None
        How many patches of each image are no padding; all by default.

    Returns
    -------
    E : Tensor of shape (n_images, n_patches, n_features)
        Floating point, zero where it is padding.
    n_patches : Tensor of int64, shape (n_images,)
        On the same device.

    Raises
    ------
    TypeError
        If `E` is no tensor or its entries are no real numbers.
    ValueError
        If shapes do not agree, the device is not supported, or entries are not finite.
    """
    if not isinstance(E, torch.Tensor):
        raise TypeError(
            f"E is a {type(E).__name__}, but a tensor is needed: pass torch.as_tensor(E), or call select_patches for "
            "every image."
        )
    if E.ndim != 3 or 0 in E.shape:
        raise ValueError(
            f"E has shape {tuple(E.shape)}; it must be (n_images, n_patches, n_features), none of them 0. "
            "For one image pass E[None]."
        )
    check_real(E)
    if E.device.type not in DEVICES:
        raise ValueError(f"E is on {E.device}, which has no float64; move it with E.cpu() or E.cuda().")
    E = E.detach()
    E = E if E.is_floating_point() else E.to(torch.float64)
    n_images, n = E.shape[:2]
    if n_patches is None:
        n_patches = torch.full((n_images,), n, device=E.device)
    else:
        n_patches = torch.as_tensor(n_patches, device=E.device)
        if n_patches.shape != (n_images,) or n_patches.is_floating_point():
            raise ValueError(
                f"n_patches has shape {tuple(n_patches.shape)} and dtype {n_patches.dtype}; "
                f"one integer per image is needed, ({n_images},)."
            )
        n_patches = n_patches.to(torch.int64)
        smallest, largest = n_patches.aminmax()
        if smallest < 1 or largest > n:
            raise ValueError(f"n_patches runs from {int(smallest)} to {int(largest)}; it must be within 1 and {n}.")
        E = E.masked_fill((torch.arange(n, device=E.device) >= n_patches[:, None])[:, :, None], 0.0)
    check_finite(E)
    return E, n_patches


def check_real(E):
    """Check that embeddings are real numbers.

    Parameters
    ----------
    E : Tensor
        Embeddings.

    Returns
    -------
    Tensor
        The same.

    Raises
    ------
    TypeError
        If they are not.
    """
    if E.is_complex() or E.dtype == torch.bool:
        raise TypeError(f"The embeddings have dtype {E.dtype}; they must be real numbers.")
    return E


def check_finite(E, images=None):
    """Check that embeddings are finite, and say where they are not.

    Parameters
    ----------
    E : Tensor of shape (n_images, n_patches, n_features)
        Embeddings.
    images : sequence of int, default=None
        Their numbers, for the error message; 0, 1, ... by default.

    Raises
    ------
    ValueError
        If an entry is NaN or infinite.
    """
    # The sum of a row is finite unless the row is not (or overflows), and costs no temporary tensor.
    suspects = ~E.sum(dim=2).isfinite()
    if not suspects.any():
        return
    for image, patch in suspects.nonzero().tolist():
        row = E[image, patch]
        if not row.isfinite().all():
            what = "NaN" if row.isnan().any() else "infinity"
            raise ValueError(
                f"Input X contains {what} (image {image if images is None else images[image]}, patch {patch})."
            )


def check_counts(counts, n_patches, E):
    """Check how much patches count by themselves.

    Parameters
    ----------
    counts : Tensor of shape (n_images, n_patches), or None
        Counts; None counts all alike.
    n_patches : Tensor of int, shape (n_images,)
        How many patches of each image are no padding.
    E : Tensor of shape (n_images, n_patches, n_features)
        Embeddings.

    Returns
    -------
    Tensor of float64, shape (n_images, n_patches)
        Counts, 0 where they are padding.

    Raises
    ------
    ValueError
        If these are not one number per patch, negative, not finite, or all zero in an image.
    """
    real = torch.arange(E.shape[1], device=E.device) < n_patches[:, None]
    if counts is None:
        return real.to(torch.float64)
    counts = torch.as_tensor(counts, dtype=torch.float64, device=E.device)
    if counts.shape != real.shape:
        raise ValueError(f"counts has shape {tuple(counts.shape)}; it must be {tuple(real.shape)}.")
    counts = counts.masked_fill(~real, 0.0)
    wrong = ~(counts.isfinite().all(dim=1) & (counts >= 0).all(dim=1) & (counts.sum(dim=1) > 0))
    if wrong.any():
        image = int(wrong.nonzero()[0, 0])
        raise ValueError(
            f"The counts of image {image} run from {counts[image].amin():g} to {counts[image].amax():g}; "
            "one finite number of at least 0 per patch is needed, and they must not all be 0."
        )
    return counts
