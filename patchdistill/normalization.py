"""Putting the embeddings of one image on a common scale before anything is measured between them."""

import numpy as np

NORMALIZATIONS = ("rows", "columns")


def normalize_embeddings(E, how="rows"):
    """Normalize the embeddings of the patches of one image.

    Parameters
    ----------
    E : ndarray of shape (n_patches, n_features)
        Embeddings.
    how : {"rows", "columns"} or None, default="rows"
        ``"rows"`` scales every patch to unit norm, for features of one kind such as the activations of a network.
        ``"columns"`` first standardizes every feature over the patches, for descriptors of mixed units such as
        natural-scene statistics; features that do not vary become zero. None leaves `E` as it is.

    Returns
    -------
    ndarray of shape (n_patches, n_features)
        Normalized embeddings, in the precision that they came in.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.normalization import normalize_embeddings
    >>> normalize_embeddings(np.array([[3.0, 4.0], [0.0, 0.0]]))
    array([[0.6, 0.8],
           [0. , 0. ]])
    """
    if how is None:
        return E
    return unit_rows(standardize_columns(E) if how == "columns" else E)


def unit_rows(E):
    """Scale every row to unit Euclidean norm; rows of zeros stay.

    Parameters
    ----------
    E : ndarray of shape (n_patches, n_features)
        Embeddings.

    Returns
    -------
    ndarray of shape (n_patches, n_features)
        Scaled rows, in the precision that they came in.
    """
    return unit_rows_and_lengths(E)[0].astype(E.dtype, copy=False)


def unit_rows_and_lengths(E):
    """Scale every row to unit Euclidean norm, and say how long it was; rows of zeros stay.

    Parameters
    ----------
    E : ndarray of shape (n_patches, n_features)
        Embeddings.

    Returns
    -------
    rows : ndarray of float64, shape (n_patches, n_features)
        Scaled rows.
    lengths : ndarray of float64, shape (n_patches,)
        Euclidean norms of the rows before, relative to the longest.
    """
    rows, largest = E.astype(np.float64), np.ones(len(E))
    if E.dtype == np.float64:  # whose squares may overflow or vanish; in float64 those of float32 never do
        largest = _largest(E, axis=1)
        _divide(rows, largest[:, None], out=rows)
    norms = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    rows *= np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0)[:, None]
    lengths = norms * (largest / (largest.max(initial=0.0) or 1.0))
    return rows, lengths / (lengths.max(initial=0.0) or 1.0)


def unit_scale(E):
    """Divide embeddings by their largest entry, so that no square of theirs overflows or vanishes.

    Parameters
    ----------
    E : ndarray of shape (n_patches, n_features)
        Embeddings of one image.

    Returns
    -------
    ndarray of shape (n_patches, n_features)
        Entries in [-1, 1].
    """
    return E / (_largest(E, axis=None) or 1.0)


def standardize_columns(E, reference=slice(None)):
    """Give every feature mean 0 and standard deviation 1 over some patches; features that do not vary there become 0.

    Parameters
    ----------
    E : ndarray of shape (n_patches, n_features)
        Embeddings.
    reference : slice or ndarray of int, default=slice(None)
        The patches over which means and deviations are taken; all by default.

    Returns
    -------
    ndarray of shape (n_patches, n_features)
        Standardized embeddings.
    """
    E = _divide(E, _largest(E, axis=0))
    E -= E[reference].mean(axis=0)
    centered = E[reference]
    deviations = np.sqrt(np.einsum("ij,ij->j", centered, centered) / len(centered))
    deviations[deviations <= 64 * np.finfo(E.dtype).eps] = 0.0  # of a constant column only rounding is left
    return _divide(E, deviations, out=E)


def _largest(E, axis):
    """Largest absolute values, without a copy of the array."""
    return np.maximum(E.max(axis=axis, initial=0.0), -E.min(axis=axis, initial=0.0))


def _divide(E, scale, out=None):
    """Divide; where the scale is zero, so is the result."""
    return np.divide(E, np.where(scale > 0, scale, np.inf).astype(E.dtype, copy=False), out=out)
