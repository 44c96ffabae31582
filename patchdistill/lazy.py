"""Rows of arrays that may be on disk, read when they are asked for."""

import numpy as np


class LazyRows:
    """Rows of an array-like that are read only when they are asked for.

    Parameters
    ----------
    source : array-like with ``shape``, ``dtype`` and ``__getitem__``
        For example a memory map.
    rows : ndarray of int, shape (n_rows,)
        Which rows of `source`, in which order.
    """

    def __init__(self, source, rows):
        self.source = source
        self.rows = rows

    @property
    def shape(self):
        """Shape of the array the rows would make."""
        return (len(self.rows), *self.source.shape[1:])

    @property
    def ndim(self):
        """Number of axes."""
        return len(self.source.shape)

    @property
    def dtype(self):
        """Type of the entries."""
        return self.source.dtype

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, key):
        return np.asarray(self.source[self.rows[key]])

    def __array__(self, dtype=None, copy=None):
        return np.array(self.source[self.rows], dtype=dtype)

    def __getstate__(self):
        # What leaves the process is what was chosen, not the whole store behind it.
        return {"source": np.array(self), "rows": np.arange(len(self.rows))}


def take_rows(array, rows):
    """Take rows: now from an array in memory, later from a store that is not.

    Parameters
    ----------
    array : ndarray, LazyRows, or any store with ``shape``, ``dtype`` and ``__getitem__``
        Where from.
    rows : slice or ndarray of int
        Which rows, in which order.

    Returns
    -------
    ndarray, LazyRows, or a slice of the store
        The rows.
    """
    if isinstance(rows, slice):
        if isinstance(array, LazyRows):
            return LazyRows(array.source, array.rows[rows])
        return array[rows]
    if isinstance(array, LazyRows):
        return LazyRows(array.source, array.rows[rows])
    if isinstance(array, np.ndarray) and not isinstance(array, np.memmap):
        return array[rows]
    return LazyRows(array, rows)


def as_rows(array):
    """Make an array of what is none, and leave stores that know their shape alone.

    Parameters
    ----------
    array : array-like, or any store with ``shape`` and ``__getitem__``
        One row per patch.

    Returns
    -------
    ndarray or the store
        With a ``shape``.
    """
    return array if hasattr(array, "shape") and hasattr(array, "__getitem__") else np.asarray(array)
