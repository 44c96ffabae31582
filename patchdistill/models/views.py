"""Selection inside somebody else's PyTorch code: indices for tensors, and a data set of kept patches."""

import numpy as np
import torch
from torch.utils.data import Dataset

from patchdistill.backends import holds_tensors
from patchdistill.selection import select_patches
from patchdistill.selector import ResidualPatchSelector


def select_indices(embeddings, rate=0.45, **parameters):
    """Give the indices of the patches to keep.

    Parameters
    ----------
    embeddings : Tensor of shape (n_patches, n_features) or (n_images, n_patches, n_features), or list of Tensor of \
shape (n_patches_i, n_features)
        Embeddings of the patches of one image, or of several. No gradient flows through the choice.
    rate : float, int or "auto", default=0.45
        Share of each image's patches to keep, or their number, see :class:`patchdistill.ResidualPatchSelector`.
    **parameters : dict
        Its other parameters.

    Returns
    -------
    Tensor of int64, shape (n_kept,) or (n_images, n_kept), or list of Tensor of shape (n_kept_i,)
        Kept patches, ascending, on the device of the embeddings.

    Raises
    ------
    TypeError
        If these are no tensors.
    ValueError
        If images of one tensor keep different numbers of patches; pass a list.

    See Also
    --------
    patchdistill.select_patches : Also gives weights, scores and certificate.

    Examples
    --------
    >>> import torch
    >>> from patchdistill.models import select_indices
    >>> generator = torch.Generator().manual_seed(0)
    >>> E = torch.rand(2, 20, 64, generator=generator)
    >>> kept = select_indices(E, rate=0.25)
    >>> kept.shape, torch.equal(kept[1], select_indices(E[1], rate=0.25))
    (torch.Size([2, 5]), True)
    >>> torch.take_along_dim(E, kept[:, :, None], dim=1).shape
    torch.Size([2, 5, 64])
    """
    if not holds_tensors(embeddings):
        raise TypeError(
            f"embeddings is a {type(embeddings).__name__} without tensors; pass tensors, or call "
            "select_patches(E).indices on the array of each image."
        )
    if isinstance(embeddings, torch.Tensor) and embeddings.ndim == 2:
        return select_patches(embeddings, rate=rate, **parameters).indices
    kept = ResidualPatchSelector(rate=rate, **parameters).fit(embeddings).selected_idx_
    device = embeddings[0].device
    if isinstance(embeddings, torch.Tensor):
        sizes = {len(of_image) for of_image in kept}
        if len(sizes) > 1:
            raise ValueError(
                f"The images keep {min(sizes)} to {max(sizes)} patches, which do not make one tensor. "
                "Pass a list of tensors: list(embeddings)."
            )
        return torch.as_tensor(np.stack(kept), device=device)
    return [torch.as_tensor(of_image, device=device) for of_image in kept]


class SelectedPatches(Dataset):
    """View of a data set of images that gives kept patches alone.

    Parameters
    ----------
    dataset : torch Dataset
        One item per image: its patches, (n_patches_i, ...), or a dict with them, or a tuple that begins with either, as
        for :func:`pad_collate`. They are loaded as the data set loads them; what is saved is what comes after.
    selected_idx : sequence of array-like of int, one per image
        Patches to keep, as ``selected_idx_`` of a selector has them.
    keys : sequence of str, default=None
        Of a dict, the names of what has one row per patch; None is all of them.

    Raises
    ------
    ValueError
        If there is not one selection per image.

    See Also
    --------
    pad_collate : Makes batches of the items.

    Examples
    --------
    >>> import torch
    >>> from patchdistill.models import SelectedPatches
    >>> images = [(torch.zeros(6, 3, 8, 8), 0.5), (torch.zeros(4, 3, 8, 8), 0.7)]
    >>> patches, label = SelectedPatches(images, [[0, 2, 5], [1]])[0]
    >>> patches.shape, label
    (torch.Size([3, 3, 8, 8]), 0.5)
    """

    def __init__(self, dataset, selected_idx, keys=None):
        if len(dataset) != len(selected_idx):
            raise ValueError(
                f"There are selections for {len(selected_idx)} images, but the data set has {len(dataset)}; give one "
                "per image, in the same order."
            )
        self.dataset = dataset
        self.selected_idx = [np.asarray(kept, dtype=np.intp) for kept in selected_idx]
        self.keys = keys

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, i):
        item = self.dataset[i]
        if isinstance(item, (tuple, list)):
            return self._keep(item[0], i), *item[1:]
        return self._keep(item, i)

    def _keep(self, inputs, i):
        if isinstance(inputs, dict):
            keys = inputs if self.keys is None else self.keys
            return {**inputs, **{key: self._rows(inputs[key], i) for key in keys}}
        return self._rows(inputs, i)

    def _rows(self, patches, i):
        kept = self.selected_idx[i]
        if kept.max(initial=-1) >= len(patches):
            raise IndexError(
                f"Image {i} has {len(patches)} patches, but patch {kept.max()} was selected; select from the same "
                "patches."
            )
        return patches[torch.as_tensor(kept)] if isinstance(patches, torch.Tensor) else patches[kept]
