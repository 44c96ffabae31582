"""Batches of images of different sizes: what is real in them, and how to reach it.

The patches of an image are the first ones of its row in the batch; what follows is padding. A batch of one size has
no padding and costs nothing for it.
"""

import torch


def prefix(counts, n):
    """Mask of the first places of each image.

    Parameters
    ----------
    counts : Tensor of int, shape (n_images,)
        How many places are real.
    n : int
        Number of places.

    Returns
    -------
    Tensor of bool, shape (n_images, n)
        True at the first `counts` places.
    """
    return torch.arange(n, device=counts.device) < counts[:, None]


def take(A, places):
    """Give, for each image, rows at places of its own.

    Parameters
    ----------
    A : Tensor of shape (n_images, n, ...)
        Rows.
    places : Tensor of int, shape (n_images, k)
        Which rows.

    Returns
    -------
    Tensor of shape (n_images, k, ...)
        The rows, a copy.
    """
    n_images, n = A.shape[:2]
    offsets = torch.arange(n_images, device=A.device)[:, None] * n
    rows = A.flatten(0, 1).index_select(0, (offsets + places).flatten())
    return rows.unflatten(0, places.shape)


def take_columns(A, places):
    """Give, for each image, columns at places of its own.

    Parameters
    ----------
    A : Tensor of shape (n_images, n, m)
        Matrices.
    places : Tensor of int, shape (n_images, k)
        Which columns.

    Returns
    -------
    Tensor of shape (n_images, n, k)
        The columns, a copy.
    """
    return A.gather(2, places[:, None, :].expand(-1, A.shape[1], -1))


def take_square(A, places):
    """Give, for each image, rows and columns at places of its own.

    Parameters
    ----------
    A : Tensor of shape (n_images, n, n)
        Matrices.
    places : Tensor of int, shape (n_images, k)
        Which rows and columns.

    Returns
    -------
    Tensor of shape (n_images, k, k)
        The parts, copies.
    """
    return take_columns(take(A, places), places)


def median(values, real):
    """Median of the real values of each image, as :func:`numpy.median` has it: the mean of the two in the middle.

    Parameters
    ----------
    values : Tensor of float64, shape (n_images, n)
        Values.
    real : Tensor of bool, shape (n_images, n)
        Which of them count.

    Returns
    -------
    Tensor of shape (n_images,)
        Medians; NaN where nothing counts.
    """
    values = values.masked_fill(~real, torch.nan)
    lower = values.nanmedian(dim=1).values
    not_above = (values <= lower[:, None]).sum(dim=1)
    above = values.masked_fill(~(values > lower[:, None]), torch.inf).amin(dim=1)
    return (lower + torch.where(2 * not_above > real.sum(dim=1), lower, above)) / 2


def percentile(values, real, q):
    """Percentile of the real values of each image, interpolated linearly as :func:`numpy.percentile` does.

    Parameters
    ----------
    values : Tensor of float64, shape (n_images, n)
        Values.
    real : Tensor of bool, shape (n_images, n)
        Which of them count, at least one of each image.
    q : float
        In [0, 100].

    Returns
    -------
    Tensor of shape (n_images,)
        Percentiles.
    """
    ascending = values.masked_fill(~real, torch.inf).sort(dim=1).values
    place = (real.sum(dim=1) - 1).to(values.dtype) * (q / 100)
    below = ascending.gather(1, place.floor().long()[:, None])[:, 0]
    above = ascending.gather(1, place.ceil().long()[:, None])[:, 0]
    return torch.lerp(below, above, place - place.floor())


def places_of(mask, width):
    """Give the places where a mask of each image is True, ascending, then others to fill up.

    Parameters
    ----------
    mask : Tensor of bool, shape (n_images, n)
        Mask.
    width : int
        How many places to give.

    Returns
    -------
    Tensor of int, shape (n_images, width)
        Places.
    """
    return (~mask).to(torch.int8).argsort(dim=1, stable=True)[:, :width]
