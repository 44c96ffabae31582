"""Run somebody's network without leaving a trace in it."""

from contextlib import contextmanager, nullcontext

import numpy as np
import torch
from torch import nn

from patchdistill.modules.devices import check_device


@contextmanager
def inference(module, device=None, autocast=None):
    """Put a module in evaluation mode, without gradients, on a device; afterwards it is as it was.

    Parameters
    ----------
    module : nn.Module or callable
        What will be run. Of a callable that is no module, nothing is changed.
    device : str or torch.device, default=None
        Where; None is where the module is.
    autocast : {"bfloat16", "float16"} or None, default=None
        Type that PyTorch computes in where that is safe; None computes in the module's own.

    Yields
    ------
    device : torch.device
        Where inputs belong.
    dtype : torch.dtype
        Floating-point type of inputs.

    Raises
    ------
    ValueError
        If the device is not there, or the module is spread over several devices and one was asked for.
    """
    home, dtype = place(module)
    target = home if device is None else check_device(device)
    modes = [(part, part.training) for part in module.modules()] if isinstance(module, nn.Module) else []
    with _moved(module, home, target), torch.no_grad(), _autocast(target, autocast):
        try:
            for part, _ in modes:
                part.training = False
            yield target, dtype
        finally:
            for part, training in modes:
                part.training = training


def place(module):
    """Find where a module is, and the type of its numbers.

    Parameters
    ----------
    module : nn.Module or callable
        The module.

    Returns
    -------
    device : torch.device
        That of its first parameter or buffer; the CPU without any.
    dtype : torch.dtype
        Floating-point type of these; float32 without any.
    """
    device, dtype = torch.device("cpu"), torch.float32
    tensors = _tensors(module)
    if tensors:
        device = tensors[0].device
    return device, next((tensor.dtype for tensor in tensors if tensor.is_floating_point()), dtype)


def as_tensor(patches):
    """Make a tensor of stored patches, without a copy where that is possible.

    Parameters
    ----------
    patches : ndarray of shape (n_patches, ...)
        Patches, perhaps of a memory map.

    Returns
    -------
    Tensor of shape (n_patches, ...)
        The same numbers.
    """
    # PyTorch takes neither foreign byte orders nor, without a warning, what cannot be written.
    return torch.from_numpy(np.require(patches, patches.dtype.newbyteorder("="), ["C", "W"]))


def in_batches(function, patches, batch_size):
    """Run a function on at most so many patches at a time, which bounds the memory it takes.

    Parameters
    ----------
    function : callable
        Maps a tensor of patches to a tensor with one row per patch.
    patches : Tensor of shape (n_patches, ...)
        Patches.
    batch_size : int
        Most patches at a time.

    Returns
    -------
    Tensor of shape (n_patches, ...)
        Rows of all patches, on the host.

    Raises
    ------
    MemoryError
        If a batch does not fit the memory of the GPU.
    """
    try:
        return torch.cat([function(batch).cpu() for batch in patches.split(int(batch_size))])
    except torch.cuda.OutOfMemoryError as error:
        raise MemoryError(f"{batch_size} patches do not fit the memory of the GPU; lower batch_size.") from error


def _tensors(module):
    return [*module.parameters(), *module.buffers()] if isinstance(module, nn.Module) else []


@contextmanager
def _moved(module, home, target):
    if not isinstance(module, nn.Module) or target == home:
        yield
        return
    devices = {str(tensor.device) for tensor in _tensors(module)}
    if len(devices) > 1:
        raise ValueError(
            f"device={str(target)!r} was asked for, but the module is spread over {sorted(devices)}; "
            "use device=None to leave it there."
        )
    try:
        module.to(target)
        yield
    finally:
        module.to(home)


def _autocast(device, autocast):
    return nullcontext() if autocast is None else torch.autocast(device.type, dtype=getattr(torch, autocast))
