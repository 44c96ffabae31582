"""Which library does the work, NumPy or PyTorch. Importing this module imports no PyTorch."""

import sys

BACKENDS = ("auto", "numpy", "torch")


def is_tensor(X):
    """Tell tensors of PyTorch from everything else: where PyTorch was not imported, nothing is one.

    Parameters
    ----------
    X : object
        Anything.

    Returns
    -------
    bool
        Whether it is a tensor.
    """
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(X, torch.Tensor)


def holds_tensors(X):
    """Tell whether images come as tensors.

    Parameters
    ----------
    X : object
        Images in any form.

    Returns
    -------
    bool
        Whether it is a tensor, or a list that begins with one.
    """
    return is_tensor(X) or (isinstance(X, (list, tuple)) and len(X) > 0 and is_tensor(X[0]))


def uses_torch(X, parameters):
    """Decide whether PyTorch does the work, and check that the other parameters go with that.

    Parameters
    ----------
    X : object
        Images in any form, or the patches of one.
    parameters : dict
        Parameters of :func:`patchdistill.select_patches`.

    Returns
    -------
    bool
        True for ``backend="torch"``, and for ``"auto"`` where tensors came in.

    Raises
    ------
    TypeError
        If tensors came in for ``backend="numpy"``.
    ValueError
        If a device was given for NumPy, or a parameter that only NumPy's side has for PyTorch.
    """
    backend, device = parameters["backend"], parameters["device"]
    if backend == "torch" or (backend == "auto" and holds_tensors(X)):
        _check_torch_parameters(parameters)
        return True
    if holds_tensors(X):
        raise TypeError(
            'backend="numpy" does not take tensors. Use backend="auto" or "torch", or pass arrays: X.cpu().numpy().'
        )
    if device is not None:
        raise ValueError(
            f'device={device!r} was given, but arrays are computed by NumPy with backend="{backend}". '
            'Use backend="torch" with it.'
        )
    return False


def _check_torch_parameters(parameters):
    """Refuse what only NumPy's side has; its cache finds things by their contents, which would leave the device."""
    refused = {
        "solver": parameters["solver"] != "exact",
        "metric": callable(parameters["metric"]),
        "memory": parameters["memory"] is not None,
    }
    given = [f"{name}={parameters[name]!r}" for name, is_refused in refused.items() if is_refused]
    if given:
        raise ValueError(
            f"{' and '.join(given)} cannot be used with PyTorch, where there is one solver, metrics have names, and "
            'nothing is cached. Use backend="numpy", with arrays.'
        )
