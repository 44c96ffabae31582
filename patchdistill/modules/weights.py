"""Weights from a local file, without running anything that is in it."""

from pathlib import Path

import torch

from patchdistill._compat import import_optional

# Training scripts wrap the weights in these, and names in the other ones.
_CONTAINERS = ("state_dict", "model_state_dict", "model", "params", "net")
_PREFIXES = ("module.", "_orig_mod.")


def load_weights(module, path, *, strict=True):
    """Load the weights of a network from a file.

    Nothing in the file is executed: ``.safetensors`` hold arrays alone, and other files are read with PyTorch's
    ``weights_only=True``. Weights may be at the top of the file, or under ``state_dict``, ``model_state_dict``,
    ``model``, ``params`` or ``net``; the prefixes ``module.`` and ``_orig_mod.``, which parallel and compiled training
    leave, are taken off.

    Parameters
    ----------
    module : nn.Module
        The network; its weights are replaced.
    path : str or path-like
        The file.
    strict : bool, default=True
        Whether every weight of the network must be in the file, and the other way round.

    Returns
    -------
    nn.Module
        The same network.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file holds something else than weights, or they do not fit.

    Examples
    --------
    >>> import tempfile, torch
    >>> from patchdistill.embedding import load_weights
    >>> trained, fresh = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     torch.save({"state_dict": trained.state_dict()}, f"{folder}/trained.pt")
    ...     loaded = load_weights(fresh, f"{folder}/trained.pt")
    >>> bool((loaded.weight == trained.weight).all())
    True
    """
    weights = _without_prefix(_unwrap(_read(Path(path)), path), module.state_dict().keys())
    try:
        missing, unexpected = module.load_state_dict(weights, strict=False)
    except RuntimeError as error:  # shapes that do not fit, listed by PyTorch
        raise ValueError(f"The weights in {path} do not fit {type(module).__name__}: {error}") from error
    if strict and (missing or unexpected):
        raise ValueError(
            f"The weights in {path} do not fit {type(module).__name__}: {len(missing)} are missing ({_some(missing)}), "
            f"{len(unexpected)} are unknown ({_some(unexpected)}). Use the architecture they were made for, or "
            "strict=False."
        )
    if len(unexpected) == len(weights):
        raise ValueError(
            f"None of the weights in {path} has the name of one of {type(module).__name__}: {_some(weights)}."
        )
    return module


def _read(path):
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}; weights are loaded from local files alone.")
    if path.suffix == ".safetensors":
        reader = import_optional("safetensors.torch", "A .safetensors file", "models")
        try:
            return reader.load_file(path)
        except Exception as error:  # its errors have a type of their own
            raise ValueError(f"{path} cannot be read as safetensors ({error}).") from error
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a file can be broken in any way
        raise ValueError(
            f"{path} cannot be read as weights ({type(error).__name__}). Files that would run code when they are "
            "loaded are refused: save module.state_dict(), or safetensors."
        ) from error


def _unwrap(content, path):
    while isinstance(content, dict):
        container = next((name for name in _CONTAINERS if isinstance(content.get(name), dict)), None)
        if container is None:
            break
        content = content[container]
    named = content.items() if isinstance(content, dict) else ()
    weights = {name: value for name, value in named if isinstance(name, str) and isinstance(value, torch.Tensor)}
    if not weights:
        raise ValueError(
            f"{path} holds a {type(content).__name__} without tensors; the weights of a network are needed."
        )
    return weights


def _without_prefix(weights, known):
    prefix = next((prefix for prefix in _PREFIXES if all(name.startswith(prefix) for name in weights)), None)
    if prefix is None or not known.isdisjoint(weights):
        return weights
    return _without_prefix({name[len(prefix) :]: value for name, value in weights.items()}, known)


def _some(names):
    names = list(names)
    return ", ".join(names[:3]) + (" ..." if len(names) > 3 else "") or "none"
