"""Quality metrics, whoever made them, on kept patches alone."""

import torch
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from torch import nn

from patchdistill.embedding import PatchStatistics
from patchdistill.forms import own_weights
from patchdistill.modules.layers import SCORES, one_per_row, tensor_of
from patchdistill.selector import ResidualPatchSelector

_PLACE = ("top", "left", "size")


class SelectiveMetric(nn.Module):
    """Let a metric score kept patches of an image instead of the image.

    Patches are selected on the image under test, and cut out of it, and of its reference, at the same places. The
    image's score is the mean over them, under the weights of the selection. Gradients flow through the metric, not
    through the choice.

    Parameters
    ----------
    metric : nn.Module or callable
        Called as ``metric(test, **kwargs)`` or ``metric(test, reference, **kwargs)`` with tensors (n, 3, height,
        width) in [0, 1], as those of pyiqa, piq and torchmetrics are; returns one score per patch, (n,) or (n, 1).
    selector : transformer, default=None
        Maps a list of pictures (height, width, 3) to PatchBags with the fields ``top``, ``left`` and ``size``: a
        pipeline of :class:`~patchdistill.embedding.PatchStatistics`, or of
        :class:`~patchdistill.sampling.GridSampler` and :class:`~patchdistill.embedding.TorchEmbedder`, and a selector.
        None is ``make_pipeline(PatchStatistics(), ResidualPatchSelector(normalize="columns"))``: 180 patches of 64
        pixels, of which 81 are kept.

    Notes
    -----
    A metric that takes several scales needs patches that are large enough for it: ``PatchStatistics(patch_size=192)``.

    Examples
    --------
    >>> import torch
    >>> from patchdistill.models import SelectiveMetric
    >>> def psnr(test, reference):
    ...     return -10 * torch.log10(((test - reference) ** 2).mean(dim=(1, 2, 3)))
    >>> reference = torch.rand(2, 3, 96, 128, generator=torch.Generator().manual_seed(0))
    >>> SelectiveMetric(psnr)(0.9 * reference, reference).shape
    torch.Size([2])
    """

    def __init__(self, metric, selector=None):
        super().__init__()
        self.metric = metric
        self.selector = selector

    def forward(self, test, reference=None, **kwargs):
        """Score images.

        Parameters
        ----------
        test : Tensor of shape (n_images, 3, height, width)
            Images under test, in [0, 1].
        reference : Tensor of shape (n_images, 3, height, width), default=None
            Their references, for metrics that need them.
        **kwargs : dict
            Passed on to the metric.

        Returns
        -------
        Tensor of shape (n_images,)
            Scores.

        Raises
        ------
        ValueError
            If these are no such images, or the metric does not give one score per patch.
        """
        _check_images(test, reference)
        bags = self._select(test)
        scores = []
        for i in range(len(bags)):
            places = [bags.field(name, i).tolist() for name in _PLACE]
            patches = [_cut(images[i], *places) for images in (test, reference) if images is not None]
            values = _one_per_patch(tensor_of(self.metric(*patches, **kwargs), SCORES), len(patches[0]))
            weights = own_weights(bags, i)
            scores.append(values.mean() if weights is None else values @ torch.as_tensor(weights).to(values))
        return torch.stack(scores)

    def _select(self, test):
        selector = self.selector
        if selector is None:
            selector = make_pipeline(PatchStatistics(), ResidualPatchSelector(normalize="columns"))
        pictures = test.detach().movedim(1, -1).float().cpu().numpy()
        bags = clone(selector).fit_transform(list(pictures))
        missing = sorted(set(_PLACE) - set(getattr(bags, "fields", ())))
        if missing:
            raise ValueError(
                f"The selector gave a {type(bags).__name__} without the fields {missing}, so that the patches cannot "
                "be found on the pictures. Begin it with GridSampler or PatchStatistics."
            )
        return bags


def _check_images(test, reference):
    if not isinstance(test, torch.Tensor) or test.ndim != 4 or test.shape[1] != 3:
        found = f"shape {tuple(test.shape)}" if isinstance(test, torch.Tensor) else f"a {type(test).__name__}"
        raise ValueError(f"Images under test are a tensor (n_images, 3, height, width), but got {found}.")
    if reference is not None and reference.shape != test.shape:
        raise ValueError(
            f"The references have shape {tuple(reference.shape)}, but the images under test {tuple(test.shape)}; they "
            "must agree."
        )


def _cut(image, top, left, size):
    """Patches of one image (3, height, width), as a batch; those of a panorama may go on across its seam."""
    width = image.shape[-1]
    return torch.stack(
        [image[:, t : t + s, torch.arange(o, o + s) % width] for t, o, s in zip(top, left, size, strict=True)]
    )


def _one_per_patch(values, n):
    if values.ndim == 0:
        raise ValueError(
            f'The metric gave one number for {n} patches; ask it for one per patch, with reduction="none" in most '
            "libraries."
        )
    return one_per_row(values, n, "patches")
