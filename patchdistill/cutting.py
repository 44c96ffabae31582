"""Patches that stay in their pictures until their pixels are asked for."""

from dataclasses import dataclass

import numpy as np

from patchdistill.images import check_pixels, check_same_range, is_path, read_image, read_size


@dataclass(frozen=True)
class Picture:
    """A picture of known shape and type, whose pixels may still be in a file.

    Parameters
    ----------
    source : path or ndarray of shape (height, width, 3)
        The file, or the checked pixels.
    shape : tuple of int
        ``(height, width, 3)``.
    dtype : dtype
        Type of the pixels.
    """

    source: object
    shape: tuple
    dtype: np.dtype

    @classmethod
    def open(cls, item, index):
        """Check a picture; of a file, the header alone is read.

        Parameters
        ----------
        item : path or array-like of shape (height, width, 3)
            A file, or pixels: uint8, or float in [0, 1]. Arrays are not copied.
        index : int
            Position of the picture among the others, for error messages.

        Returns
        -------
        Picture
            The picture.

        Raises
        ------
        ValueError, FileNotFoundError
            See :func:`~patchdistill.images.read_size` and :func:`~patchdistill.images.check_pixels`.
        """
        if is_path(item):
            return cls(item, (*read_size(item), 3), np.dtype(np.uint8))
        pixels = check_pixels(item, index)
        return cls(pixels, pixels.shape, pixels.dtype)

    def read(self):
        """Give the pixels; a file is decoded.

        Returns
        -------
        ndarray of shape (height, width, 3)
            The pixels.

        Raises
        ------
        ValueError, FileNotFoundError
            If the file cannot be decoded, or is another picture by now.
        """
        if not is_path(self.source):
            return self.source
        pixels = read_image(self.source)
        if pixels.shape != self.shape:
            height, width = self.shape[:2]
            raise ValueError(
                f"{self.source} has {pixels.shape[0]} x {pixels.shape[1]} pixels (height x width), but had {height} x "
                f"{width} when its patches were placed. Sample it again."
            )
        return pixels


class Pictures:
    """Pictures that are decoded one at a time; the last one is remembered.

    Parameters
    ----------
    pictures : list of Picture
        The pictures.
    dtype : dtype
        Type that holds the pixels of all of them.
    """

    def __init__(self, pictures, dtype):
        self._pictures = pictures
        self.dtype = dtype
        self._last = None, None

    @classmethod
    def open(cls, items):
        """Check pictures; of files, the headers alone are read.

        Parameters
        ----------
        items : list of path or array-like of shape (height, width, 3)
            The pictures.

        Returns
        -------
        Pictures
            The same.

        Raises
        ------
        ValueError, FileNotFoundError
            As :meth:`Picture.open`, or if some are uint8 in [0, 255] and others float in [0, 1].
        """
        pictures = [Picture.open(item, index) for index, item in enumerate(items)]
        for index, picture in enumerate(pictures):
            check_same_range(picture, index, pictures[0])
        return cls(pictures, np.result_type(*{picture.dtype for picture in pictures}))

    def __len__(self):
        return len(self._pictures)

    def __getitem__(self, index):
        return self._pictures[index]

    def read(self, index):
        """Give the pixels of one picture.

        Parameters
        ----------
        index : int
            Which.

        Returns
        -------
        ndarray of shape (height, width, 3)
            The pixels.
        """
        pixels = self._remembered(index)
        if pixels is None:
            self._last = None, None  # two decoded pictures need not be in memory together
            pixels = self._pictures[index].read()
            self._last = index, pixels
        return pixels

    def _remembered(self, index):
        last, pixels = self._last  # together: threads may share the pictures
        return pixels if last == index else None

    def subset(self, indices):
        """Take some of the pictures.

        Parameters
        ----------
        indices : ndarray of int
            Which.

        Returns
        -------
        Pictures
            Those, in the type of all.
        """
        return Pictures([self._pictures[index] for index in indices], self.dtype)


class CutPatches:
    """Patches as places in pictures: an array-like whose pixels are cut out when they are asked for.

    A slice or an array of rows gives such patches again, an int the pixels of one patch, and ``np.asarray`` the pixels
    of all. Every picture is decoded once per reading, and the last one is remembered, by all that was taken from the
    same patches together. What is pickled are the places, and the pictures they lie in: files as their paths.

    Parameters
    ----------
    pictures : Pictures
        The pictures.
    picture : ndarray of int, shape (n_patches,)
        Which picture each patch lies in.
    places : ndarray of shape (n_patches, n_coordinates)
        Where it lies there.
    cut : callable
        ``cut(image, *coordinates, patch_size)`` gives the patches of one picture, as
        :func:`patchdistill.sampling.cut_patches` does.
    patch_size : int
        Side of a patch in pixels.

    See Also
    --------
    patchdistill.sampling.GridSampler : Makes them.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.cutting import CutPatches, Pictures
    >>> from patchdistill.sampling import cut_patches
    >>> pictures = Pictures.open([np.zeros((8, 8, 3)), np.ones((8, 8, 3))])
    >>> patches = CutPatches(pictures, np.array([0, 0, 1]), np.array([[0, 0], [4, 4], [2, 0]]), cut_patches, 4)
    >>> patches[1:]
    CutPatches(shape=(2, 4, 4, 3), dtype=float64)
    >>> patches[2].mean()
    np.float64(1.0)
    """

    is_lazy = True
    ndim = 4

    def __init__(self, pictures, picture, places, cut, patch_size):
        self._pictures = pictures
        self._picture = picture
        self._places = places
        self._cut = cut
        self._patch_size = patch_size

    @property
    def shape(self):
        """Shape of the array the patches would make."""
        return (len(self._picture), self._patch_size, self._patch_size, 3)

    @property
    def dtype(self):
        """Type of the pixels."""
        return self._pictures.dtype

    def __len__(self):
        return len(self._picture)

    def __repr__(self):
        return f"CutPatches(shape={self.shape}, dtype={self.dtype})"

    def __getitem__(self, key):
        rows = np.arange(len(self))[key]
        if rows.ndim:
            return CutPatches(self._pictures, self._picture[rows], self._places[rows], self._cut, self._patch_size)
        return np.asarray(self[[rows]])[0]

    def __array__(self, dtype=None, copy=None):
        if copy is False:
            raise ValueError("Patches are cut out of pictures, which makes an array; copy=False cannot be had.")
        patches = np.empty(self.shape, self.dtype)
        for index in np.unique(self._picture):
            rows = self._picture == index
            patches[rows] = self._cut(self._pictures.read(index), *self._places[rows].T, self._patch_size)
        return np.asarray(patches, dtype=dtype)

    def __getstate__(self):
        used, picture = np.unique(self._picture, return_inverse=True)
        return {**vars(self), "_pictures": self._pictures.subset(used), "_picture": picture}
