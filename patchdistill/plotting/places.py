"""Where patches lie on a picture, and which of those that cover a pixel it stands for: the one with the nearest center.

Crops go on at the left border where they reach beyond the right one, as panoramas do.
"""

import numpy as np

from patchdistill.panorama.sphere import to_pixels, to_sphere, to_vectors

NO_PATCH = -1


class Crops:
    """Square crops of a picture.

    Parameters
    ----------
    top, left : array-like of int, shape (n_patches,)
        Upper left pixel of each crop.
    size : array-like of int, shape (n_patches,)
        Side of each crop in pixels.

    Examples
    --------
    >>> crops = Crops([0, 0], [1, 4], [2, 2])
    >>> crops.tiles((2, 5))
    array([[ 1,  0,  0, -1,  1],
           [ 1,  0,  0, -1,  1]])
    >>> crops.centers((2, 5))
    array([[ 1.5,  0.5],
           [-0.5,  0.5]])
    """

    fields = ("top", "left", "size")

    def __init__(self, top, left, size):
        self.top, self.left, self.size = (np.asarray(values) for values in (top, left, size))

    def legal(self, shape):
        """Tell which crops are on a panorama.

        Parameters
        ----------
        shape : tuple of (int, int)
            Height and width of the panorama in pixels.

        Returns
        -------
        legal : ndarray of bool, shape (n_patches,)
            Whether the crop is on it.
        rule : str
            What it must fulfil.
        """
        height, width = shape
        legal = (self.top >= 0) & (self.top + self.size <= height) & (self.size >= 1) & (self.size <= width)
        rule = f"top must be 0 to {height} - size, left 0 to {width - 1}, and size 1 to {width}"
        return legal & (self.left >= 0) & (self.left < width), rule

    def tiles(self, shape):
        """Give every pixel to the crop whose center is nearest in pixels.

        Parameters
        ----------
        shape : tuple of (int, int)
            Height and width of the picture in pixels.

        Returns
        -------
        ndarray of int, shape (height, width)
            For each pixel one of the crops that cover it, the first of equals; -1 where there is none.
        """
        tiles, nearest = np.full(shape, NO_PATCH), np.full(shape, np.inf)
        for i, size in enumerate(self.size):
            span = np.arange(size)
            offset = (span - (size - 1) / 2) ** 2
            window = np.ix_(self.top[i] + span, (self.left[i] + span) % shape[1])
            _claim(i, np.add.outer(offset, offset), tiles, nearest, window)
        return tiles

    def centers(self, shape):
        """Give the middle of every crop.

        Parameters
        ----------
        shape : tuple of (int, int)
            Height and width of the picture in pixels.

        Returns
        -------
        ndarray of shape (n_patches, 2)
            Column and row in pixels; 0 is the middle of the first one.
        """
        middle = (self.size - 1) / 2
        return np.column_stack([(self.left + middle + 0.5) % shape[1] - 0.5, self.top + middle])


class Views:
    """Tangent (gnomonic) views of an equirectangular panorama.

    A view covers the directions in front of it whose projection onto the plane that touches the sphere in its center
    is within tan(fov / 2) of the center, across and along the meridian.

    Parameters
    ----------
    lon, lat : array-like of shape (n_patches,)
        Where each view looks, in degrees: 0 is the center column and grows to the right, 0 is the equator and grows
        upwards.
    fov : array-like of shape (n_patches,)
        Angle of each view in degrees.

    Examples
    --------
    >>> views = Views([0.0, 180.0], [0.0, 0.0], [90.0, 90.0])
    >>> views.tiles((4, 8))
    array([[-1, -1, -1, -1, -1, -1, -1, -1],
           [ 1, -1, -1,  0,  0, -1, -1,  1],
           [ 1, -1, -1,  0,  0, -1, -1,  1],
           [-1, -1, -1, -1, -1, -1, -1, -1]])
    >>> views.centers((4, 8))
    array([[ 3.5,  1.5],
           [-0.5,  1.5]])
    """

    fields = ("lon", "lat", "fov")

    def __init__(self, lon, lat, fov):
        self.lon, self.lat, self.fov = (np.asarray(values, dtype=np.float64) for values in (lon, lat, fov))

    def legal(self, shape):
        """Tell which views there can be.

        Parameters
        ----------
        shape : tuple of (int, int)
            Not read: views do not depend on the size of the panorama.

        Returns
        -------
        legal : ndarray of bool, shape (n_patches,)
            Whether there can be such a view.
        rule : str
            What it must fulfil.
        """
        legal = np.isfinite(self.lon) & (np.abs(self.lat) <= 90) & (self.fov > 0) & (self.fov < 180)
        return legal, "lon must be finite, lat -90 to 90, and fov above 0 and below 180 degrees"

    def tiles(self, shape):
        """Give every pixel to the view whose center is nearest in angle.

        Parameters
        ----------
        shape : tuple of (int, int)
            Height and width of the panorama in pixels.

        Returns
        -------
        ndarray of int, shape (height, width)
            For each pixel one of the views that cover it, the first of equals; -1 where there is none.
        """
        height, width = shape
        tiles, nearest = np.full(shape, NO_PATCH), np.full(shape, np.inf)
        lon, lat = to_sphere(*np.ogrid[:height, :width], height, width)
        directions = to_vectors(lon, lat)
        depression = -lat[:, 0]
        ahead, right = to_vectors(self.lon, self.lat), to_vectors(self.lon + 90, np.zeros_like(self.lat))
        up = np.cross(ahead, right)
        slope = np.tan(np.radians(self.fov) / 2)
        # No row further away than the corners needs to be looked at.
        reach = np.degrees(np.arctan(np.sqrt(2) * slope)) + 1e-6
        for i in range(len(self.lon)):
            rows = slice(*np.searchsorted(depression, [-self.lat[i] - reach[i], -self.lat[i] + reach[i]]))
            depth, x, y = (directions[rows] @ axis[i] for axis in (ahead, right, up))
            inside = np.maximum(np.abs(x), np.abs(y)) <= slope[i] * depth  # never behind it, where depth is negative
            _claim(i, np.where(inside, 1 - depth, np.inf), tiles, nearest, rows)
        return tiles

    def centers(self, shape):
        """Give the middle of every view.

        Parameters
        ----------
        shape : tuple of (int, int)
            Height and width of the panorama in pixels.

        Returns
        -------
        ndarray of shape (n_patches, 2)
            Column and row in pixels; 0 is the middle of the first one.
        """
        rows, columns = to_pixels(self.lon, self.lat, *shape)
        return np.column_stack([columns, rows])


def _claim(i, distance, tiles, nearest, window):
    """Give patch `i` the pixels of a window that it is nearer to than all before."""
    closer = distance < nearest[window]
    tiles[window] = np.where(closer, i, tiles[window])
    nearest[window] = np.where(closer, distance, nearest[window])
