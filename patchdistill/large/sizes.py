"""What counts as very many patches, and how large the pieces are in which they are worked through."""

import math

import numpy as np

# Images with more patches than this are selected from without matrices of n x n; bench_scale measures both ways.
LARGEST_DENSE = 2000

# Numbers in one block of a matrix that is never held as a whole: 16 MB in double precision.
_BLOCK = 2**21


def is_large(n):
    """Tell whether `n` patches of one image are too many for matrices of n x n."""
    return n > LARGEST_DENSE


def check_blockwise(n, metric, solver):
    """Check that nothing that was asked for needs a matrix of n x n.

    Parameters
    ----------
    n : int
        Patches of the image.
    metric : str or callable
        Distance.
    solver : str
        Solver.

    Raises
    ------
    ValueError
        If `n` is large and the metric a callable, or the solver the published one.
    """
    if not is_large(n):
        return
    matrix = f"{n} x {n} matrix, {8 * n**2 / 1e9:.1f} GB"
    if callable(metric):
        raise ValueError(
            f"A callable metric returns an {matrix}; above {LARGEST_DENSE} patches distances are computed in blocks. "
            'Use "euclidean", "manhattan", "mahalanobis" or "cosine", or fewer patches.'
        )
    if solver == "published":
        raise ValueError(
            f'solver="published" inverts an {matrix}; it is for images of at most {LARGEST_DENSE} patches. '
            'Use "exact", or fewer patches.'
        )


def row_blocks(n, width):
    """Cut the rows of an (n, width) matrix into blocks of bounded size.

    Parameters
    ----------
    n, width : int
        Shape of the matrix.

    Returns
    -------
    list of slice
        The rows of each block.
    """
    step = max(1, _BLOCK // max(1, width))
    return [slice(start, min(start + step, n)) for start in range(0, n, step)]


def square_blocks(n):
    """Cut n rows into pieces, any two of which share a block of bounded size of an (n, n) matrix."""
    return row_blocks(n, math.isqrt(_BLOCK))


def evenly_spaced(n, count):
    """Positions of `count` of `n` things in a row, evenly spaced; of all, where there are no more."""
    count = min(n, count)
    return (2 * np.arange(count) + 1) * n // (2 * count)
