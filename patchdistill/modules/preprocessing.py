"""From pixels as they are stored to what a network expects: the one place where the two meet."""

import numbers

import torch
from torch import nn


class Preprocess(nn.Module):
    """Turn stored pixels into the input of a network.

    Channels go to the front, uint8 becomes floating point in [0, 1], patches are resized, and each channel is
    standardized. There are no weights: the state of a network does not change when this is put in front of it.

    Parameters
    ----------
    size : int or tuple of int, default=None
        Side, or height and width, in pixels that patches are resized to, bilinearly and with the low-pass filter that
        making them smaller needs, as Pillow does it; None leaves them as they are.
    mean, std : sequence of 3 float, default=(0, 0, 0) and (1, 1, 1)
        Subtracted from, and then divided out of, the channels in [0, 1]. Networks trained on ImageNet usually have
        (0.485, 0.456, 0.406) and (0.229, 0.224, 0.225).
    dtype : torch.dtype, default=None
        Floating-point type that the network computes in; None is PyTorch's default, float32.

    Raises
    ------
    ValueError
        If a parameter is none of these.

    Examples
    --------
    >>> import torch
    >>> from patchdistill.modules.preprocessing import Preprocess
    >>> pixels = torch.full((5, 64, 64, 3), 255, dtype=torch.uint8)
    >>> x = Preprocess(size=32, mean=(0.5, 0.5, 0.5))(pixels)
    >>> x.shape, x.unique()
    (torch.Size([5, 3, 32, 32]), tensor([0.5000]))
    """

    def __init__(self, size=None, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), dtype=None):
        super().__init__()
        self.size = _as_pair(size)
        self.register_buffer("mean", _per_channel("mean", mean, dtype), persistent=False)
        self.register_buffer("std", _per_channel("std", std, dtype), persistent=False)
        if not (self.std > 0).all():
            raise ValueError(f"std={std!r} must be positive; it divides the channels.")

    def forward(self, patches):
        """Preprocess patches.

        Parameters
        ----------
        patches : Tensor of shape (..., height, width, 3)
            Pixels as they are stored: uint8, or floating point in [0, 1].

        Returns
        -------
        Tensor of shape (..., 3, height, width)
            In the floating-point type of this module.
        """
        if patches.ndim < 3 or patches.shape[-1] != 3:
            raise ValueError(
                f"Pixels have shape {tuple(patches.shape)}, but (..., height, width, 3) is expected: "
                "channels come last, as they are stored."
            )
        if patches.dtype != torch.uint8 and not patches.is_floating_point():
            raise TypeError(f"Pixels have dtype {patches.dtype}, but uint8, or floats in [0, 1], are expected.")
        dtype = torch.promote_types(self.mean.dtype, torch.float32)  # half types are not resized on a CPU
        mean, std = self.mean.to(dtype), self.std.to(dtype)
        x = patches.movedim(-1, -3)
        # Most of the time goes to memory: one pass for type and range, and one in place.
        x = x / (255 * std) if x.dtype == torch.uint8 else x.to(dtype) / std
        x -= mean / std
        if self.size is not None and self.size != tuple(x.shape[-2:]):
            flat = x.reshape(-1, *x.shape[-3:])
            flat = nn.functional.interpolate(flat, self.size, mode="bilinear", align_corners=False, antialias=True)
            x = flat.reshape(*x.shape[:-2], *self.size)
        return x.to(self.mean.dtype)


def _as_pair(size):
    if size is None:
        return None
    pair = size if isinstance(size, (tuple, list)) else (size, size)
    if len(pair) != 2 or not all(isinstance(side, numbers.Integral) and side >= 1 for side in pair):
        raise ValueError(f"size={size!r} is not valid; use None, a side in pixels, or (height, width), at least 1.")
    return tuple(map(int, pair))


def _per_channel(name, values, dtype):
    try:
        channels = torch.as_tensor(values, dtype=dtype or torch.get_default_dtype())
    except (RuntimeError, TypeError, ValueError):  # no numbers
        channels = torch.empty(0)
    if channels.shape != (3,) or not channels.isfinite().all():
        raise ValueError(f"{name}={values!r} is not valid; three finite numbers are needed, one per channel.")
    return channels[:, None, None]
