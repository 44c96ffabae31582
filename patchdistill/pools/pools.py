"""Many images on disk, one of them in memory."""

import numpy as np


class Pools:
    """The embeddings of many images, which stay on disk until an image's turn comes.

    Made by :func:`open_pools`. Everything that can be known without reading the numbers (shapes, types, lengths of
    files) has been checked by then.

    Attributes
    ----------
    path : Path
        The file or folder they come from.
    names : list of str or of int
        Name of each image: of its file without ending or of its array; its position where many images are in one array.
    n_patches : list of int
        Patches per image.
    n_features : int
        Features of every patch.
    stamps : list of list of int
        Size in bytes and time of change in nanoseconds of the file each image comes from.

    Raises
    ------
    ValueError
        If there is no image, or one without patches or with another number of features than the first.
    """

    def __init__(self, path, names, shapes, stamps, read):
        self.path, self.names, self.stamps = path, names, stamps
        self.n_patches = [n for n, _ in shapes]
        self._read = read
        if not names:
            raise ValueError(f"{path} holds no image; at least one is needed.")
        self.n_features = shapes[0][1]
        for name, (n, d) in zip(names, shapes, strict=True):
            if n < 1 or d < 1:
                raise ValueError(
                    f"Image {name} is empty: {n} patches of {d} features. Leave it out, or give it at least one patch."
                )
            if d != self.n_features:
                raise ValueError(f"Image {name} has {d} features, but the other images have {self.n_features}.")

    def __len__(self):
        return len(self.names)

    def read(self, start=0):
        """Read one image after the other.

        Parameters
        ----------
        start : int, default=0
            The first image wanted.

        Yields
        ------
        ndarray of shape (n_patches_i, n_features)
            Embeddings of the next image, row by row in memory, finite.

        Raises
        ------
        ValueError
            If a number is NaN or infinite, or the file is damaged or was changed since it was opened.
        """
        images = self._read(start)
        for i in range(start, len(self)):
            E = np.ascontiguousarray(next(images))
            if E.shape != (self.n_patches[i], self.n_features):
                raise ValueError(
                    f"Image {self.names[i]} of {self.path} was changed while it was being read. Start again."
                )
            finite = np.isfinite(E).all(axis=1)
            if not finite.all():
                patch = int(finite.argmin())
                what = "NaN" if np.isnan(E[patch]).any() else "infinity"
                raise ValueError(f"Input {self.path} contains {what} (image {self.names[i]}, patch {patch}).")
            yield E
