"""The classical map as a torch module: on any device, in batches, and with gradients to the pictures."""

import torch
from sklearn.utils.validation import check_is_fitted
from torch import nn

from patchdistill.relational.channels import CELL
from patchdistill.relational.classical import evaluate
from patchdistill.relational.features import pair_features
from patchdistill.relational.tiles import SMALLEST


class ClassicalMapModule(nn.Module):
    """A fitted :class:`ClassicalRelationalMap` in torch.

    Exactly antisymmetric and zero between equal pictures, as that is; nothing of it is trained. Pictures are not cut
    into tiles: the memory grows with their size.

    Parameters
    ----------
    model : ClassicalRelationalMap
        Fitted.

    Attributes
    ----------
    channel_names_ : tuple of str
        The channels of a map.

    See Also
    --------
    RelationalLoss : What it is for.

    Examples
    --------
    >>> import torch
    >>> from patchdistill.relational import ClassicalMapModule, ClassicalRelationalMap
    >>> module = ClassicalMapModule(ClassicalRelationalMap.pretrained())
    >>> pictures = torch.rand(2, 3, 48, 64, generator=torch.Generator().manual_seed(0))
    >>> module(pictures, pictures.flip(0)).shape
    torch.Size([2, 6, 6, 8])
    """

    def __init__(self, model):
        super().__init__()
        check_is_fitted(model)
        self.channel_names_ = model.channel_names_
        self.register_buffer("coef", torch.from_numpy(model.coef_))
        for name, values in model.scale_.items():
            self.register_buffer(name, torch.from_numpy(values))

    def forward(self, a, ref):
        """Map what changed.

        Parameters
        ----------
        a, ref : Tensor of shape (n, 3, height, width)
            Pictures and their references: floats in [0, 1], at least 32 pixels high and wide.

        Returns
        -------
        Tensor of shape (n, n_channels, ceil(height / 8), ceil(width / 8))
            How much more of each channel the pictures have than their references, in [-1, 1].

        Raises
        ------
        ValueError
            If the shapes differ or are others, or they do not hold floats.
        """
        if a.shape != ref.shape or a.ndim != 4 or a.shape[1] != 3 or min(a.shape[2:]) < SMALLEST:
            raise ValueError(
                f"Pictures and references must have one shape, (n, 3, height, width) with sides from {SMALLEST} on; "
                f"got {tuple(a.shape)} and {tuple(ref.shape)}."
            )
        if not (a.is_floating_point() and ref.is_floating_point()):
            raise ValueError(f"Pictures are floats in [0, 1]; got {a.dtype} and {ref.dtype}. Divide by 255.")
        scale = {name: getattr(self, name) for name in ("odd", "even_mean", "even")}
        return evaluate(*pair_features(_whole_cells(a), _whole_cells(ref)), scale, self.coef)


def _whole_cells(pictures):
    """Mirror the picture beyond its lower and right border, the border pixel twice, up to whole cells."""
    for axis in (-2, -1):
        n = pictures.shape[axis]
        extra = -n % CELL
        pictures = torch.cat([pictures, pictures.narrow(axis, n - extra, extra).flip(axis)], axis)
    return pictures
