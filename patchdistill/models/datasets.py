"""Images with patches as PyTorch likes them: a data set of images, and how a batch is made of ragged ones."""

import numpy as np
import torch
from torch.utils.data import Dataset, default_collate

from patchdistill.forms import own_weights
from patchdistill.models.inputs import check_labels, read_patches
from patchdistill.modules.running import as_tensor


class BagDataset(Dataset):
    """Images as a data set of PyTorch: one item is one image with its patches, and its label.

    Parameters
    ----------
    X : PatchBags, list of array-like of shape (n_patches_i, ...), or array of shape (n_images, n_patches, ...)
        Images. What is on disk is read item by item.
    y : array-like of shape (n_images,), default=None
        Labels; without, every label is 0, as skorch has it.
    field : str, default=None
        Field of PatchBags that is given, ``"pixels"`` for example; None is the values.
    weights : bool, default=False
        Whether to give the field ``weights`` along, for modules that take it.
    dtype : str, default="float32"
        Floating-point type of labels and of patches. Pixels of uint8 stay so: they are a quarter of the size, and
        :class:`Preprocess`, in front of the network, makes floats of them where it computes.

    Raises
    ------
    ValueError
        If there is no such field, or not one label per image.

    See Also
    --------
    pad_collate : Makes batches of the items.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.models import BagDataset
    >>> inputs, label = BagDataset([np.ones((4, 2)), np.ones((3, 2))], y=[0.5, 0.7])[1]
    >>> inputs["patches"].shape, label
    (torch.Size([3, 2]), tensor(0.7000))
    """

    def __init__(self, X, y=None, field=None, weights=False, dtype="float32"):
        self.bags = read_patches(X, field)
        self.weights = weights
        self.dtype = getattr(torch, dtype)
        labels = np.zeros(len(self.bags)) if y is None else check_labels(y, len(self.bags))
        self.labels = torch.as_tensor(np.array(labels), dtype=self.dtype)
        if weights and "weights" not in self.bags.fields:
            raise ValueError(
                f"weights=True, but the patches have only the fields {sorted(self.bags.fields)}; pass PatchBags that "
                "went through a selection, which gives them weights, or weights=False."
            )

    def __len__(self):
        return len(self.bags)

    def __getitem__(self, i):
        patches = as_tensor(np.array(self.bags[i]))
        inputs = {"patches": patches if patches.dtype == torch.uint8 else patches.to(self.dtype)}
        if self.weights:
            inputs["weights"] = torch.as_tensor(own_weights(self.bags, i), dtype=self.dtype)
        return inputs, self.labels[i]


def pad_collate(items):
    """Make a batch of images with different numbers of patches: padded with zeros, and a mask of what is real.

    Parameters
    ----------
    items : list
        Per image its patches, a tensor of shape (n_patches_i, ...) or a dict of tensors with one row per patch; or a
        tuple that begins with them, as :class:`BagDataset` gives it.

    Returns
    -------
    dict of str to Tensor, or tuple that begins with it
        ``patches`` (or the names of the dict), of shape (n_images, most patches, ...), and ``mask``, bool of shape
        (n_images, most patches), True where a patch is real. Whatever else came with the patches is collated as
        PyTorch does it.

    Raises
    ------
    ValueError
        If an image has no patch.

    Notes
    -----
    PyTorch's own attention masks say the opposite: ``src_key_padding_mask=~mask``.

    Examples
    --------
    >>> import torch
    >>> from patchdistill.models import pad_collate
    >>> batch, labels = pad_collate([(torch.ones(2, 5), 0.3), (torch.ones(1, 5), 0.4)])
    >>> batch["patches"].shape, batch["mask"], labels
    (torch.Size([2, 2, 5]), tensor([[ True,  True],
            [ True, False]]), tensor([0.3000, 0.4000], dtype=torch.float64))
    """
    if isinstance(items[0], (tuple, list)):
        inputs, *others = zip(*items, strict=True)
        return _pad(inputs), *(default_collate(list(other)) for other in others)
    return _pad(items)


def _pad(images):
    images = [image if isinstance(image, dict) else {"patches": image} for image in images]
    counts = torch.tensor([len(image["patches"]) for image in images])
    if not counts.all():
        raise ValueError(f"Image {int((counts == 0).nonzero()[0])} of the batch has no patch; drop it beforehand.")
    batch = {
        name: torch.nn.utils.rnn.pad_sequence([image[name] for image in images], batch_first=True) for name in images[0]
    }
    return {**batch, "mask": torch.arange(int(counts.max())) < counts[:, None]}
