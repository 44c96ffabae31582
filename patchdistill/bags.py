"""PatchBags: the patches of many images, with the fields that belong to each patch."""

import numbers
from types import MappingProxyType

import numpy as np

from patchdistill.lazy import as_rows, read_rows, take_rows

PATCH_INDEX = "patch_index"


class PatchBags:
    """The patches of many images: one flat array, cut into images by offsets.

    One image is one sample: ``len(bags)`` is the number of images, ``bags[3]`` the array of the fourth image's
    patches, and slices, index arrays and masks give `PatchBags` again, so that scikit-learn's splitters work.

    Parameters
    ----------
    values : array-like of shape (n_patches_total, ...)
        Patches of all images, one image after the other: features ``(n, d)`` or pixels ``(n, size, size, 3)``. A
        memory map stays on disk until its rows are asked for.
    offsets : array-like of int, shape (n_images + 1,)
        Image ``i`` owns rows ``offsets[i]`` to ``offsets[i + 1]``. Every image has at least one patch.
    fields : dict of str to array-like of shape (n_patches_total, ...), default=None
        What belongs to each patch and must follow it through a selection: ``pixels``, ``lon``, ``lat``, ``fov``,
        ``weights``, ``top``, ``left``. The field ``patch_index``, the patch's index in its image before any
        selection, is added where it is missing.
    ids : array-like of shape (n_images,), default=None
        Name of each image; ``0 .. n_images - 1`` by default.

    Attributes
    ----------
    values, offsets, fields, ids
        As above; `fields` is read-only.
    n_patches : ndarray of int, shape (n_images,)
        Patches per image.
    shape : tuple
        ``(n_images,)``.

    Raises
    ------
    ValueError
        If lengths do not agree or an image has no patch.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill import PatchBags
    >>> bags = PatchBags.from_list([np.eye(3), np.ones((2, 3))], ids=["a", "b"])
    >>> bags
    PatchBags(n_images=2, n_patches=2 to 3, patch_shape=(3,), fields=['patch_index'])
    >>> bags[1]
    array([[1., 1., 1.],
           [1., 1., 1.]])
    >>> kept = bags.take([[0, 2], [1]])
    >>> kept.n_patches, kept.field("patch_index", 0)
    (array([2, 1]), array([0, 2]))
    """

    ndim = 1

    def __init__(self, values, offsets, *, fields=None, ids=None):
        self.values = as_rows(values)
        self.offsets = np.asarray(offsets, dtype=np.intp)
        self._check_offsets()
        fields = {name: as_rows(field) for name, field in (fields or {}).items()}
        if PATCH_INDEX not in fields:
            fields[PATCH_INDEX] = np.arange(len(self.values)) - np.repeat(self.offsets[:-1], self.n_patches)
        for name, field in fields.items():
            if len(field) != len(self.values):
                raise ValueError(
                    f"Field {name!r} has {len(field)} rows, but there are {len(self.values)} patches. "
                    "A field has one row per patch, in the order of the patches."
                )
        self._fields = fields
        self.ids = np.arange(len(self)) if ids is None else np.asarray(ids)
        if self.ids.shape != self.shape:
            raise ValueError(
                f"ids has shape {self.ids.shape}, but there are {len(self)} images; give one id per image."
            )

    def _check_offsets(self):
        offsets, n_rows = self.offsets, len(self.values)
        if offsets.ndim != 1 or len(offsets) < 1 or offsets[0] != 0 or offsets[-1] != n_rows:
            raise ValueError(
                f"offsets must be 1-D, start at 0 and end at the number of patches, {n_rows}; got {offsets}."
            )
        empty = np.flatnonzero(np.diff(offsets) < 1)
        if len(empty):
            raise ValueError(f"Image {empty[0]} has no patches; every image needs at least one. Drop it beforehand.")

    @classmethod
    def from_list(cls, images, *, fields=None, ids=None):
        """Stack one array of patches per image.

        Parameters
        ----------
        images : sequence of array-like of shape (n_patches_i, ...)
            Patches of each image.
        fields : dict of str to sequence of array-like of shape (n_patches_i, ...), default=None
            Per-patch fields, one array per image.
        ids : array-like of shape (n_images,), default=None
            Name of each image.

        Returns
        -------
        PatchBags
            The same patches in one flat array.
        """
        images = [np.asarray(image) for image in images]
        if not images:
            raise ValueError("There are no images; give a list with one array of patches per image.")
        for i, image in enumerate(images):
            if image.ndim < 2:
                raise ValueError(
                    f"Image {i} is {image.ndim}-D, but an image is an array with one row per patch, "
                    "(n_patches, n_features). For one image pass [X]; for one patch pass X.reshape(1, -1)."
                )
            if image.shape[1:] != images[0].shape[1:]:
                raise ValueError(_shape_mismatch(i, image.shape[1:], images[0].shape[1:]))
        offsets = np.cumsum([0] + [len(image) for image in images])
        flat = {name: np.concatenate([np.asarray(part) for part in parts]) for name, parts in (fields or {}).items()}
        return cls(np.concatenate(images), offsets, fields=flat, ids=ids)

    @property
    def fields(self):
        """Fields by name, read-only."""
        return MappingProxyType(self._fields)

    @property
    def n_patches(self):
        """Patches per image, ndarray of shape (n_images,)."""
        return np.diff(self.offsets)

    @property
    def shape(self):
        """``(n_images,)``: one image is one sample."""
        return (len(self),)

    def __len__(self):
        return len(self.offsets) - 1

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __repr__(self):
        n = self.n_patches
        count = "0" if not len(n) else str(n.min()) if n.min() == n.max() else f"{n.min()} to {n.max()}"
        return (
            f"PatchBags(n_images={len(self)}, n_patches={count}, patch_shape={tuple(self.values.shape[1:])}, "
            f"fields={sorted(self.fields)})"
        )

    def __getitem__(self, key):
        if isinstance(key, tuple):  # scikit-learn indexes containers with a shape as X[key, ...]
            key = key[0]
        if isinstance(key, numbers.Integral):
            return np.asarray(self.values[self._image_slice(key)])
        if isinstance(key, slice) and key.step in (None, 1):
            start, stop, _ = key.indices(len(self))
            stop = max(start, stop)
            rows = slice(self.offsets[start], self.offsets[stop])
            return self._with_rows(rows, self.offsets[start : stop + 1] - self.offsets[start], self.ids[start:stop])
        images = np.arange(len(self))[key]
        return self._with_rows(*self._gather(images, [np.arange(self.n_patches[i]) for i in images]), self.ids[images])

    def __array__(self, dtype=None, copy=None):
        n = self.n_patches
        raise TypeError(
            f"PatchBags is ragged ({n.min()} to {n.max()} patches per image) and has no array form. "
            "Add BagPooling() or PatchwiseRegressor(...) after the selector, or call .to_padded()."
        )

    def _image_slice(self, i):
        if not -len(self) <= i < len(self):
            raise IndexError(f"image {i} is out of range for {len(self)} images")
        i = int(i) % len(self)
        return slice(self.offsets[i], self.offsets[i + 1])

    def _gather(self, images, patches):
        """Flat row numbers and offsets of `patches[k]` of image `images[k]`."""
        rows = [self.offsets[i] + p for i, p in zip(images, patches, strict=True)]
        offsets = np.cumsum([0] + [len(r) for r in rows])
        return np.concatenate(rows) if rows else np.empty(0, np.intp), offsets

    def _with_rows(self, rows, offsets, ids):
        fields = {name: take_rows(field, rows) for name, field in self.fields.items()}
        return PatchBags(take_rows(self.values, rows), offsets, fields=fields, ids=ids)

    def field(self, name, i):
        """Field `name` of the patches of image `i`.

        Parameters
        ----------
        name : str
            One of `fields`.
        i : int
            Position of the image.

        Returns
        -------
        ndarray of shape (n_patches_i, ...)
            One row per patch.
        """
        if name not in self.fields:
            raise KeyError(f"no field {name!r}; there are {sorted(self.fields)}")
        return np.asarray(self.fields[name][self._image_slice(i)])

    def take(self, patches):
        """Keep some patches of every image, with everything that belongs to them.

        Parameters
        ----------
        patches : sequence of array-like of int
            For each image, the positions of the patches to keep, in the order wanted.

        Returns
        -------
        PatchBags
            The same images with those patches.
        """
        if len(patches) != len(self):
            raise ValueError(
                f"got positions for {len(patches)} images, but there are {len(self)}; give one list per image."
            )
        patches = [np.asarray(p, dtype=np.intp) for p in patches]
        for i, (p, n) in enumerate(zip(patches, self.n_patches, strict=True)):
            if len(p) and not (-n <= p.min() and p.max() < n):
                raise IndexError(f"positions for image {i} run from {p.min()} to {p.max()}, but it has {n} patches.")
        patches = [p % n for p, n in zip(patches, self.n_patches, strict=True)]
        return self._with_rows(*self._gather(range(len(self)), patches), self.ids)

    def with_values(self, values, **fields):
        """Put new values in place of the old, for the same patches.

        Parameters
        ----------
        values : array-like of shape (n_patches_total, ...)
            New values, for example the embeddings of the pixels.
        **fields : array-like of shape (n_patches_total, ...)
            Fields to add or replace.

        Returns
        -------
        PatchBags
            The same images, ids and fields with the new values.
        """
        return PatchBags(values, self.offsets, fields={**self.fields, **fields}, ids=self.ids)

    def load(self):
        """Read what is still on disk, once and for all: pixels of files that have not been decoded, memory maps.

        Samplers leave the pixels in the picture files and read them whenever they are asked for. A network that is
        trained on them asks in every epoch; where there is memory for the patches that are kept, it is faster to load
        them first.

        Returns
        -------
        PatchBags
            The same images, with values and fields in memory.
        """
        fields = {name: read_rows(field) for name, field in self.fields.items()}
        return PatchBags(read_rows(self.values), self.offsets, fields=fields, ids=self.ids)

    def to_list(self):
        """Give the values of each image.

        Returns
        -------
        list of ndarray of shape (n_patches_i, ...)
            One array per image.
        """
        return list(self)

    def to_padded(self, fill=0.0):
        """Make one array of all images, the missing patches filled in.

        Parameters
        ----------
        fill : float, default=0.0
            Value of the missing patches.

        Returns
        -------
        values : ndarray of shape (n_images, max_n_patches, ...)
            Patches, padded at the end.
        mask : ndarray of bool, shape (n_images, max_n_patches)
            True where a patch is real.
        """
        n_max = self.n_patches.max(initial=0)
        padded = np.full((len(self), n_max, *self.values.shape[1:]), fill, dtype=self.values.dtype)
        for i, image in enumerate(self):
            padded[i, : len(image)] = image
        return padded, np.arange(n_max) < self.n_patches[:, None]


def _shape_mismatch(i, shape, expected):
    if len(shape) == len(expected) == 1:
        return f"Image {i} has {shape[0]} features, but the other images have {expected[0]}."
    return f"Image {i} has patches of shape {shape}, but the other images have {expected}."
