"""Which patches represent their images, and how well; :mod:`patchdistill.representation` for batches."""

import torch

from patchdistill.batched.coverage import greedy_medoids, nearest_kept, self_tuning_distances
from patchdistill.batched.masked import prefix
from patchdistill.batched.order import n_keep
from patchdistill.batched.quadrature import quadrature_error, quadrature_order, quadrature_weights
from patchdistill.ranking import AUTO
from patchdistill.representation import _SMALL_ERROR, FOR_AVERAGES


def represent(kernel, distances, n_patches, n_inside, rate, counts):
    """Keep patches that represent their image, without copies, outliers last.

    Parameters
    ----------
    kernel : Tensor of float64, shape (n_images, n_patches, n_patches)
        See :func:`patchdistill.batched.quadrature.quadrature_kernel`. Patches stand in the order of preference, which
        decides between equals, those that something has to stand for first, then outliers, then padding.
    distances : Tensor of float64, shape (n_images, n_patches, n_patches)
        Euclidean distances.
    n_patches, n_inside : Tensor of int, shape (n_images,)
        Patches of each image, and those of them that are no outliers.
    rate : float, int or "auto"
        As for :func:`patchdistill.representation.represent`.
    counts : Tensor of float64, shape (n_images, n_patches)
        How much each patch counts; not all 0 among those that are no outliers.

    Returns
    -------
    ranking : Tensor of int, shape (n_images, n_patches)
        All patches, the first to keep first, padding last.
    n_kept : Tensor of int, shape (n_images,)
        How many of them are kept.
    weights : Tensor of shape (n_images, largest n_kept)
        How much these count, in the order of the ranking; 0 where they are padding.
    """
    image = _Represented(kernel, distances, n_inside, counts)
    n_kept = image.smallest() if rate == AUTO else n_keep(n_patches, rate)
    width = int(n_kept.max())
    stand_for_others = torch.minimum(n_kept, n_inside)
    within = image.weights(stand_for_others, width) * image.total[:, None]
    kept_outliers = prefix(n_kept, width) & ~prefix(stand_for_others, width)
    weights = torch.where(kept_outliers, counts.gather(1, image.order[:, :width]), within)
    return image.order, n_kept, weights / weights.sum(dim=1, keepdim=True)


class _Represented:
    """The patches of images that something has to stand for: their order, and weights of the first of them."""

    def __init__(self, kernel, distances, n_inside, counts):
        self.kernel, self.distances, self.n_inside = kernel, distances, n_inside
        self.inside = prefix(n_inside, kernel.shape[1])
        inside_counts = counts * self.inside
        self.total = inside_counts.sum(dim=1)
        if not (self.total > 0).all():
            image = int((self.total <= 0).nonzero()[0, 0])
            raise ValueError(
                f"The {int(n_inside[image])} patches of image {image} that are no outliers all have weight 0, and so "
                "nothing is left to represent. Use outlier_threshold=math.inf, or other weights."
            )
        self.counts = inside_counts / self.total[:, None]
        n_first = (FOR_AVERAGES * n_inside.to(counts.dtype)).ceil().long()
        first, n_first = quadrature_order(kernel, self.counts, self.inside, n_first)
        self.order = greedy_medoids(self_tuning_distances(distances, self.inside), self.inside, first, n_first)

    def weights(self, n_kept, width):
        kept, is_kept = self.order[:, :width], prefix(n_kept, width)
        nearest = nearest_kept(self.distances, kept, is_kept)
        represents = nearest[:, :, None] == torch.arange(width, device=nearest.device)
        shares = (self.counts[:, None, :] @ represents.to(self.counts.dtype))[:, 0]
        return quadrature_weights(self.kernel, self.counts, kept, is_kept, shares)

    def smallest(self):
        """Smallest numbers of patches with a small error, by bisection: more patches do better but for rounding."""
        low, high = torch.zeros_like(self.n_inside), self.n_inside
        while (high - low > 1).any():
            middle = ((low + high) // 2).clamp(min=1)
            width = int(middle.max())
            weights = self.weights(middle, width)
            error = quadrature_error(self.kernel, self.counts, self.inside, self.order[:, :width], weights)
            is_small = (error <= _SMALL_ERROR) & (high - low > 1)
            low, high = torch.where(is_small | (high - low <= 1), low, middle), torch.where(is_small, middle, high)
        return high
