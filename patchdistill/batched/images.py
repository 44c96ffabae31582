"""Images that come as tensors, and the device they are worked on."""

from functools import reduce
from warnings import warn

import numpy as np
import torch

from patchdistill.bags import _shape_mismatch
from patchdistill.batched.checks import DEVICES, check_real
from patchdistill.forms import SinglePatchBagWarning, check_features
from patchdistill.modules.devices import check_device
from patchdistill.scoring import check_one_row_per_patch


def embed(patches, embedding):
    """Embeddings of one image's patches by the user's callable, checked.

    Parameters
    ----------
    patches : ndarray or Tensor of shape (n_patches, ...)
        Patches.
    embedding : callable
        Maps them to features.

    Returns
    -------
    ndarray or Tensor of shape (n_patches, n_features)
        As the callable made them.

    Raises
    ------
    ValueError
        If it did not return one row of finite features per patch.
    """
    E = embedding(patches)
    if not isinstance(E, torch.Tensor):
        return check_features(check_one_row_per_patch(np.asarray(E), len(patches)))
    return check_one_row_per_patch(E.detach(), len(patches))


def find_device(device, X=None):
    """Find the device that is meant, and check that it is there.

    Parameters
    ----------
    device : None, str or torch.device
        What was asked for. None is where `X` is, or the CPU.
    X : object, default=None
        Data; it has a place if it is a tensor.

    Returns
    -------
    torch.device
        The device.

    Raises
    ------
    ValueError
        If it is not there, or of a kind that cannot be used.
    """
    if device is None:
        device = X.device if isinstance(X, torch.Tensor) else "cpu"
    found = check_device(device)
    if found.type not in DEVICES:
        raise ValueError(f'device={str(found)!r} cannot be used: it has no float64. Use "cpu" or "cuda".')
    return found


def to_batch(parts, device):
    """Make one tensor of the embeddings of some images.

    Parameters
    ----------
    parts : list of Tensor or of ndarray, each of shape (n_patches_i, n_features)
        Embeddings.
    device : torch.device
        Where the tensor is to be.

    Returns
    -------
    Tensor of shape (n_images, largest n_patches, n_features)
        Floating point, padded with zeros at the ends.
    """
    batch = check_real(_padded(parts))
    if device.type == "cuda" and batch.device.type == "cpu":
        batch = batch.pin_memory()  # only from there the copy does not keep the host waiting
    batch = batch.to(device, non_blocking=True)
    return batch if batch.is_floating_point() else batch.to(torch.float64)


def _padded(parts):
    shape = (len(parts), max(map(len, parts)), parts[0].shape[1])
    if not isinstance(parts[0], torch.Tensor):
        array = np.zeros(shape, dtype=np.result_type(*(part.dtype for part in parts)))
        for row, part in zip(array, parts, strict=True):
            row[: len(part)] = part
        return torch.from_numpy(array)
    dtype = reduce(torch.promote_types, (part.dtype for part in parts))
    if all(len(part) == shape[1] for part in parts):
        return torch.stack([part.detach().to(dtype) for part in parts])
    padded = torch.zeros(shape, dtype=dtype, device=parts[0].device)
    for row, part in zip(padded, parts, strict=True):
        row[: len(part)] = part.detach()
    return padded


class TensorImages:
    """The patches of many images as tensors: what :class:`patchdistill.PatchBags` is for arrays, without fields.

    Parameters
    ----------
    X : Tensor of shape (n_images, n_patches, ...), or list of Tensor of shape (n_patches_i, ...)
        The images. A 2-D tensor means one patch per image, and is warned about.

    Attributes
    ----------
    images : Tensor of shape (n_images, n_patches, ...), or list of Tensor
        The images.
    n_patches : ndarray of int, shape (n_images,)
        Patches per image.

    Raises
    ------
    ValueError, TypeError
        If an image is empty, is not at least 2-D, is no tensor, or differs from the others in its features or device.
    """

    fields = {}

    def __init__(self, X):
        self._is_matrix = isinstance(X, torch.Tensor) and X.ndim == 2
        if self._is_matrix:
            warn(
                f"X of shape {tuple(X.shape)} was read as {len(X)} images of one patch each. "
                "For one image pass [X], or call select_patches(X).",
                SinglePatchBagWarning,
                stacklevel=5,
            )
            X = X[:, None]
        self.images = X if isinstance(X, torch.Tensor) else list(X)
        _check_stack(X) if self.is_stack else _check_list(self.images)
        self.n_patches = np.array([len(image) for image in self.images])

    @property
    def is_stack(self):
        """Whether all images are one tensor."""
        return isinstance(self.images, torch.Tensor)

    @property
    def device(self):
        """Where the images are."""
        return self.images[0].device

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return self.images[i]

    def take(self, patches):
        """Keep some patches of every image.

        Parameters
        ----------
        patches : sequence of ndarray of int
            For each image, the positions of the patches to keep, in the order wanted.

        Returns
        -------
        Tensor or list of Tensor
            In the form that came in.

        Raises
        ------
        ValueError
            If one tensor came in, and the images keep different numbers of patches.
        """
        if not self.is_stack:
            return [
                image[torch.as_tensor(p, device=image.device)] for image, p in zip(self.images, patches, strict=True)
            ]
        sizes = {len(p) for p in patches}
        if len(sizes) > 1:
            raise ValueError(
                f"The images keep {min(sizes)} to {max(sizes)} patches, which do not make one tensor. "
                "Pass a list of tensors: list(X)."
            )
        places = torch.as_tensor(np.stack(patches), device=self.device)
        kept = self.images[torch.arange(len(self), device=self.device)[:, None], places]
        return kept[:, 0] if self._is_matrix else kept

    def like(self, values):
        """Put numbers that belong to the patches into the form that came in.

        Parameters
        ----------
        values : sequence of ndarray of shape (n_patches_i,)
            Numbers of each image.

        Returns
        -------
        Tensor or list of Tensor
            On the device of the images.
        """
        if self.is_stack:
            values = torch.as_tensor(np.stack(values), device=self.device)
            return values[:, 0] if self._is_matrix else values
        return [torch.as_tensor(v, device=self.device) for v in values]


def _check_stack(X):
    if X.ndim < 3 or 0 in X.shape:
        raise ValueError(
            f"X has shape {tuple(X.shape)}; it must be (n_images, n_patches, n_features), none of them 0. "
            "For one image pass [X]."
        )


def _check_list(images):
    first = images[0]
    for i, image in enumerate(images):
        if not isinstance(image, torch.Tensor):
            raise TypeError(f"Image {i} is a {type(image).__name__}, but image 0 is a tensor; pass tensors alone.")
        if image.ndim < 2 or 0 in image.shape:
            raise ValueError(
                f"Image {i} has shape {tuple(image.shape)}, but an image is a tensor with one row per patch, "
                "(n_patches, n_features). For one image pass [X]; for one patch pass X.reshape(1, -1)."
            )
        if image.shape[1:] != first.shape[1:]:
            raise ValueError(_shape_mismatch(i, tuple(image.shape[1:]), tuple(first.shape[1:])))
        if image.device != first.device:
            raise ValueError(
                f"Image {i} is on {image.device}, but image 0 is on {first.device}; put them on one device."
            )
