"""Means of maps over rectangular windows, all windows at once."""

import numpy as np


class Windows:
    """Rectangular windows of one size, and the means of maps over them.

    A mean over a rectangle separates into rows and columns, so all windows together are two products of matrices.
    At coarser scales a border pixel that a window covers in part weighs by that part.

    Parameters
    ----------
    top, left : array-like of int, shape (n_windows,)
        Upper left pixel of each window on the finest plane.
    size : tuple of int
        Height and width of the windows on the finest plane.
    shape : tuple of int
        Height and width of the finest plane.

    Examples
    --------
    >>> plane = np.arange(16, dtype=np.float32).reshape(1, 4, 4)
    >>> Windows([0, 2], [0, 2], (2, 2), (4, 4)).mean(plane)
    array([ 2.5, 12.5])
    """

    def __init__(self, top, left, size, shape):
        self.size = size
        self.shape = shape
        self.top, self._row = np.unique(top, return_inverse=True)
        self.left, self._column = np.unique(left, return_inverse=True)
        self._weights = {}

    def mean(self, plane, factor=1):
        """Mean of a map over every window.

        Parameters
        ----------
        plane : ndarray of float32, shape (n, height, width)
            A map. One that is a pixel shorter than the plane along an axis holds something between neighbors there,
            and is averaged over the neighbors that both lie in the window.
        factor : int, default=1
            By how much the plane is coarser than the finest one.

        Returns
        -------
        ndarray of float64, shape (n * n_windows,)
            Means, the windows of a picture next to each other.
        """
        columns = self._coverage(1, plane.shape[2], factor)
        means = self._rows(plane, factor) @ columns.T
        return means[:, self._row, self._column].astype(np.float64).reshape(-1)

    def column_profile(self, plane):
        """Mean of a map of the finest scale down every column of every window.

        Parameters
        ----------
        plane : ndarray of float32, shape (n, height, width)
            A map, as for :meth:`mean`.

        Returns
        -------
        ndarray of float64, shape (n * n_windows, window_width)
            One value per column; one less where the map is a pixel narrower than the plane.
        """
        width = self.size[1] - (self.shape[1] - plane.shape[2])
        columns = self.left[self._column][:, None] + np.arange(width)
        profile = self._rows(plane, 1)[:, self._row[:, None], columns]
        return profile.astype(np.float64).reshape(-1, width)

    def transpose(self):
        """Windows for the transposed planes.

        Returns
        -------
        Windows
            The same windows with rows and columns exchanged.
        """
        return Windows(self.left[self._column], self.top[self._row], self.size[::-1], self.shape[::-1])

    def _rows(self, plane, factor):
        return self._coverage(0, plane.shape[1], factor) @ plane

    def _coverage(self, axis, length, factor):
        key = (axis, length, factor)
        if key not in self._weights:
            trim = -(-self.shape[axis] // factor) - length
            begin = (self.left if axis else self.top)[:, None] / factor
            end = begin + self.size[axis] / factor - trim
            pixel = np.arange(length)
            weights = np.clip(np.minimum(pixel + 1, end) - np.maximum(pixel, begin), 0, None)
            self._weights[key] = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
        return self._weights[key]
