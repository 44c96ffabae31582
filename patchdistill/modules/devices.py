"""Check that a device that was asked for is there."""

import torch


def check_device(device):
    """Check that a device is there.

    Parameters
    ----------
    device : str or torch.device
        What was asked for.

    Returns
    -------
    torch.device
        The device.

    Raises
    ------
    ValueError
        If PyTorch does not know it, it is a GPU that is not there, or ``"meta"``, where weights are lost.
    """
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f'device={device!r} is unknown; use None, "cpu", "cuda", "cuda:1" or a torch.device.'
        ) from error
    if found.type == "meta":
        raise ValueError("device='meta' cannot be used: it holds no numbers, and weights moved there are lost.")
    if found.type == "cuda":
        n_devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (found.index or 0) >= n_devices:
            raise ValueError(
                f"device={str(found)!r} was asked for, but PyTorch finds {n_devices} CUDA devices. "
                'Use device="cpu", or install a driver and a build of PyTorch that go together.'
            )
    return found
