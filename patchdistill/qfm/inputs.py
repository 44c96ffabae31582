"""What a network learns from: the patches of images, read when a batch asks for them."""

from dataclasses import dataclass

import numpy as np
import torch

from patchdistill.embedding.pools import is_pools, read_pools
from patchdistill.forms import own_weights
from patchdistill.images import check_images, check_pixels, is_path, load_image, read_size
from patchdistill.models.inputs import PIXELS, read_patches
from patchdistill.modules.preprocessing import Preprocess
from patchdistill.modules.running import as_tensor, inference, place


class ImagePatches:
    """The patches of images, one after the other, none of them in memory before it is asked for.

    Parameters
    ----------
    read : callable
        Gives the pixels (height, width, 3) of one patch, by its row.
    n_patches : array-like of int, shape (n_images,)
        Patches per image.
    weights : ndarray of shape (n_patches_total,)
        How much each patch counts, with mean 1 in every image.

    Attributes
    ----------
    image : ndarray of int, shape (n_patches_total,)
        The image of each patch.
    patch_size : tuple of int or None
        Height and width of all patches, where they are not resized.
    """

    patch_size = None

    def __init__(self, read, n_patches, weights):
        self.read = read
        self.n_patches = np.asarray(n_patches)
        self.weights = weights
        self.image = np.repeat(np.arange(len(self.n_patches)), self.n_patches)

    def __len__(self):
        return len(self.n_patches)

    def take(self, images):
        """Take some of the images.

        Parameters
        ----------
        images : ndarray of int
            Which.

        Returns
        -------
        ImagePatches
            Those.
        """
        starts = np.cumsum(self.n_patches) - self.n_patches
        rows = np.concatenate([starts[i] + np.arange(self.n_patches[i]) for i in images])
        return ImagePatches(lambda row: self.read(rows[row]), self.n_patches[images], self.weights[rows])

    def join(self, others):
        """Put others behind these images.

        Parameters
        ----------
        others : ImagePatches
            More images.

        Returns
        -------
        ImagePatches
            All of them.
        """
        n_own = len(self.image)
        return ImagePatches(
            lambda row: self.read(row) if row < n_own else others.read(row - n_own),
            np.concatenate([self.n_patches, others.n_patches]),
            np.concatenate([self.weights, others.weights]),
        )

    def means(self, values):
        """Average over the patches of each image, by their weights.

        Parameters
        ----------
        values : ndarray of shape (n_patches_total, ...)
            One row per patch.

        Returns
        -------
        ndarray of float64, shape (n_images, ...)
            One row per image.
        """
        weighted = values * self.weights.reshape(-1, *[1] * (values.ndim - 1))
        starts = np.cumsum(self.n_patches) - self.n_patches
        return np.add.reduceat(weighted, starts, axis=0) / self.n_patches.reshape(-1, *[1] * (values.ndim - 1))

    def tensor(self, rows, preprocess):
        """Read patches as a network expects them.

        Parameters
        ----------
        rows : array-like of int
            Which patches.
        preprocess : Preprocess
            Makes the input of the network of them, where it is.

        Returns
        -------
        Tensor of shape (n_rows, 3, height, width)
            The patches.
        """
        patches = [self.read(row) for row in rows]
        alike = len({(patch.shape, patch.dtype) for patch in patches}) == 1
        blocks = [np.stack(patches)] if alike else [patch[None] for patch in patches]
        return torch.cat([preprocess(as_tensor(block).to(preprocess.mean.device)) for block in blocks])


@dataclass(frozen=True)
class Reading:
    """How images become the input of a network, and how one is run on them.

    Parameters
    ----------
    size : int, tuple of int or None
        What patches are resized to. With None, all must have one size.
    mean, std : sequence of 3 float
        Subtracted from, and divided out of, the channels in [0, 1].
    batch_size : int
        Most patches at a time.
    device : str, torch.device or None
        Where networks are run; None is where they are.
    autocast : {"bfloat16"} or None
        Type of automatic mixed precision.
    """

    size: object
    mean: object
    std: object
    batch_size: int
    device: object
    autocast: str | None

    def open(self, X, like=None):
        """Read any of the accepted forms of images, without their pixels.

        Parameters
        ----------
        X : list of path, list of array of shape (height, width, 3), array of shape (n_images, height, width, 3), \
PatchBags, list of array of shape (n_patches_i, height, width, 3), or array of shape \
(n_images, n_patches, height, width, 3)
            Pictures, each its own only patch, or patches of images: the field ``pixels`` of PatchBags, or their values.
        like : ImagePatches, default=None
            With ``size=None``, images whose patches have the size that these must have.

        Returns
        -------
        ImagePatches
            The images.

        Raises
        ------
        ValueError
            If these are no images, or patches differ in their size and `size` is None.
        """
        if getattr(X, "ndim", None) == 2:
            raise ValueError(
                f"X has shape {X.shape}: a table of features, but images are needed, as paths, pictures, or PatchBags "
                "of pixels. QFMRidge learns from tables."
            )
        if is_pools(X):
            bags = read_patches(read_pools(X), PIXELS)
            images, sizes = _of_bags(bags), [tuple(bags.values.shape[1:3])]
        else:
            items, _ = check_images(X)
            images = ImagePatches(
                lambda row: load_image(items[row], row), np.ones(len(items), int), np.ones(len(items))
            )
            sizes = (_size_of(item, index) for index, item in enumerate(items))
        if self.size is None:
            sizes = list(sizes)
            images.patch_size = sizes[0]
            _check_one_size(sizes, sizes[0] if like is None else like.patch_size)
        return images

    def preprocess(self, network):
        """Make what prepares the input of a network, where the network is.

        Parameters
        ----------
        network : nn.Module
            The network.

        Returns
        -------
        Preprocess
            Its first layer, so to speak.
        """
        where, dtype = place(network)
        return Preprocess(self.size, self.mean, self.std, dtype=dtype).to(where)

    def run(self, function, network, images):
        """Run a network in evaluation mode on all patches, a batch at a time.

        Parameters
        ----------
        function : callable
            Maps patches (n, 3, height, width) and their rows, an array of int, to a tuple of tensors of n rows.
        network : nn.Module
            What the function runs.
        images : ImagePatches
            The images.

        Returns
        -------
        list of ndarray of float64, shape (n_patches_total, ...)
            What the function gave for every patch.
        """
        n = len(images.image)
        with inference(network, self.device, self.autocast):
            preprocess = self.preprocess(network)
            batches = (np.arange(start, min(start + self.batch_size, n)) for start in range(0, n, self.batch_size))
            parts = [[t.double().cpu() for t in function(images.tensor(rows, preprocess), rows)] for rows in batches]
        return [torch.cat(part).numpy() for part in zip(*parts, strict=True)]

    def average(self, function, network, images):
        """Run a network as :meth:`run` does, and average over the patches of each image.

        Parameters
        ----------
        function, network, images : object
            As there.

        Returns
        -------
        list of ndarray of float64, shape (n_images, ...)
            Means of what the function gave.
        """
        return [images.means(values) for values in self.run(function, network, images)]


def _of_bags(bags):
    weights = [own_weights(bags, i) for i in range(len(bags))]
    scaled = [np.ones(n) if w is None else w / w.mean() for w, n in zip(weights, bags.n_patches, strict=True)]
    image = np.repeat(np.arange(len(bags)), bags.n_patches)
    return ImagePatches(
        lambda row: check_pixels(bags.values[int(row)], image[row]), bags.n_patches, np.concatenate(scaled)
    )


def _size_of(item, index):
    return read_size(item) if is_path(item) else check_pixels(item, index).shape[:2]


def _check_one_size(sizes, expected):
    for index, size in enumerate(sizes):
        if size != expected:
            raise ValueError(
                f"Image {index} has patches of {size[0]} x {size[1]} pixels (height x width), but {expected[0]} x "
                f"{expected[1]} are expected. With size=None all must be alike; give size a number, which resizes them."
            )
