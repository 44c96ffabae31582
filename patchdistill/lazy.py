"""Rows of arrays that may be on disk, read when they are asked for.

A store with a true attribute ``is_lazy`` promises that rows of it, ``store[slice]`` or ``store[indices]``, are such a
store again, and that ``np.asarray(store)`` reads.
"""

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

    is_lazy = True

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
        rows = self.rows[key]
        return LazyRows(self.source, rows) if np.ndim(rows) else np.asarray(self.source[rows])

    def __array__(self, dtype=None, copy=None):
        return np.array(self.source[self.rows], dtype=dtype)

    def __getstate__(self):
        # What leaves the process is what was chosen, not the whole store behind it.
        return {"source": np.array(self), "rows": np.arange(len(self.rows))}


def take_rows(array, rows):
    """Take rows: now from an array in memory, later from a store that is not.

    Parameters
    ----------
    array : ndarray, or any store with ``shape``, ``dtype`` and ``__getitem__``
        Where from.
    rows : slice or ndarray of int
        Which rows, in which order.

    Returns
    -------
    ndarray, LazyRows, or what the store gives for them
        The rows.
    """
    if isinstance(rows, slice) or _in_memory(array) or getattr(array, "is_lazy", False):
        return array[rows]
    return LazyRows(array, rows)


def read_rows(array):
    """Read all rows of a store; an array in memory is given back.

    Parameters
    ----------
    array : ndarray or any store
        Where from.

    Returns
    -------
    ndarray
        The rows, in memory.
    """
    return array if _in_memory(array) else np.array(array)


def _in_memory(array):
    return isinstance(array, np.ndarray) and not isinstance(array, np.memmap)


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
