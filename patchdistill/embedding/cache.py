"""Features of an image's patches on disk, found again by what they were made from."""

import hashlib
import os
import threading
from pathlib import Path

import numpy as np

from patchdistill.journal.files import write_whole


class FeatureCache:
    """A folder with one ``.npy`` file per image, named by a digest of its patches and of the recipe.

    Nothing in it is ever executed. A run that was stopped finds what it had done; several processes may share it.

    Parameters
    ----------
    folder : str or path-like
        Where; it is made if need be.
    recipe : str
        Whatever else decides the features.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from patchdistill.embedding.cache import FeatureCache
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     cache = FeatureCache(folder, "mean color")
    ...     first = cache.get(np.ones((2, 4, 4, 3)), lambda patches: patches.mean(axis=(1, 2)))
    ...     again = cache.get(np.ones((2, 4, 4, 3)), None)
    >>> bool((first == again).all())
    True
    """

    def __init__(self, folder, recipe):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.recipe = recipe

    def get(self, patches, compute):
        """Read the features of an image, or compute and keep them.

        Parameters
        ----------
        patches : ndarray of shape (n_patches, ...)
            The image.
        compute : callable
            Maps the patches to their features; called where they are not kept yet.

        Returns
        -------
        ndarray of shape (n_patches, n_features)
            Features.

        Raises
        ------
        ValueError
            If a file cannot be read.
        """
        file = self.folder / f"{digest(self.recipe, patches)}.npy"
        if file.exists():
            return _read(file, len(patches))
        features = compute(patches)
        # Other processes may be at the same image: each writes a file of its own, and the last one stays.
        own = file.with_name(f"{file.name}.{os.getpid()}.{threading.get_ident()}")
        write_whole(own, lambda path: _write(path, features))
        os.replace(own, file)
        return features


def digest(*parts):
    """Name what texts and arrays hold.

    Parameters
    ----------
    *parts : str or ndarray
        Arrays count with their shape and type.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    sha = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            sha.update(f"{part.shape} {part.dtype.str} ".encode())
            sha.update(np.ascontiguousarray(part).view(np.uint8).reshape(-1))
        else:
            sha.update(f"{len(part)} {part} ".encode())
    return sha.hexdigest()


def _write(path, features):
    with open(path, "wb") as stream:
        np.save(stream, features, allow_pickle=False)


def _read(file, n_patches):
    with open(file, "rb") as stream:
        try:
            features = np.lib.format.read_array(stream, allow_pickle=False)
        except Exception as error:  # a file can be broken in any way
            raise ValueError(f"{file} cannot be read ({error}). Remove it; it will be made again.") from error
    if features.ndim != 2 or len(features) != n_patches:
        raise ValueError(f"{file} has shape {features.shape}, not one row for each of {n_patches} patches. Remove it.")
    return features
