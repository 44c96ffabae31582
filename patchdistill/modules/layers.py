"""Look inside a network: the output of a layer, as one row of numbers per patch."""

import difflib

import torch

# Where models of `transformers` keep what is wanted.
FEATURES, SCORES = ("last_hidden_state", "logits"), ("logits",)


class _Reached(Exception):
    """The layer has answered; what is behind it need not run."""


def find_layer(module, name):
    """Find a layer by its dotted name.

    Parameters
    ----------
    module : nn.Module
        The network.
    name : str
        As in ``module.named_modules()``, ``"layer4.1.conv2"`` for example.

    Returns
    -------
    nn.Module
        The layer.

    Raises
    ------
    ValueError
        If there is none of that name, or this is no module.
    """
    if not isinstance(module, torch.nn.Module):
        raise ValueError(f"layer={name!r} is no layer of a {type(module).__name__}; only an nn.Module has layers.")
    layers = dict(module.named_modules())
    if not isinstance(name, str) or name not in layers:
        near = difflib.get_close_matches(str(name), layers, n=5, cutoff=0.4) or [key for key in layers if key][:5]
        raise ValueError(
            f"layer={name!r} is no layer of {type(module).__name__}; near matches: {near}. "
            "module.named_modules() lists all of them."
        )
    return layers[name]


def output_of(module, layer):
    """Make a function that gives the output of a layer instead of that of the whole network.

    Parameters
    ----------
    module : nn.Module or callable
        The network.
    layer : str or None
        Name of the layer; None gives the output of the network.

    Returns
    -------
    callable
        Maps inputs to what the layer returns, the first time it is called; layers behind it are not run.
    """
    if layer is None:
        return module
    part = find_layer(module, layer)

    def run(x):
        reached = []

        def keep(_module, _inputs, output):
            reached.append(output)
            raise _Reached

        handle = part.register_forward_hook(keep)
        try:
            module(x)
        except _Reached:
            pass
        finally:
            handle.remove()
        if reached:  # also where the network catches every error
            return reached[0]
        raise ValueError(f"layer={layer!r} is not run when {type(module).__name__} is called; name another one.")

    return run


def tensor_of(output, names):
    """Take the tensor out of what a network returned.

    Parameters
    ----------
    output : Tensor, mapping, tuple or list
        What it returned. Of a tuple, the first entry is taken.
    names : tuple of str
        Entries of a mapping that will do, the best first.

    Returns
    -------
    Tensor
        The tensor.

    Raises
    ------
    TypeError
        If there is none.
    """
    if isinstance(output, torch.Tensor):
        return output
    if hasattr(output, "keys"):
        for name in names:
            if isinstance(output.get(name), torch.Tensor):
                return output[name]
        found = f"a {type(output).__name__} with {list(output.keys())}"
    elif isinstance(output, (tuple, list)) and output:
        return tensor_of(output[0], names)
    else:
        found = f"a {type(output).__name__}"
    raise TypeError(
        f"The module returned {found}, but a tensor is needed, or one of {list(names)}. "
        "Wrap it in a function that takes the tensor out, or name a layer where that is possible."
    )


def pool(activation, pooling, channels_last=False):
    """Make one row per patch of what a layer returned.

    Parameters
    ----------
    activation : Tensor of shape (n, d), (n, n_tokens, d) or (n, d, height, width)
        Output of the layer.
    pooling : {"mean", "max", "cls"}
        Mean or maximum over tokens or places, or the first token. Nothing happens to (n, d).
    channels_last : bool, default=False
        Whether maps are (n, height, width, d).

    Returns
    -------
    Tensor of shape (n, d)
        Features.

    Raises
    ------
    ValueError
        If the layer returned something else, or there is no first token.
    """
    if activation.ndim == 2:
        return activation
    if activation.ndim == 4 and pooling == "cls":
        raise ValueError(
            f'pooling="cls" takes the first token, but the layer returned maps, shape {tuple(activation.shape)}; '
            'use "mean" or "max".'
        )
    tokens = as_tokens(activation, channels_last)
    if pooling == "cls":
        return tokens[:, 0]
    return tokens.mean(dim=1) if pooling == "mean" else tokens.amax(dim=1)


def as_tokens(activation, channels_last=False):
    """Take the places of maps for tokens.

    Parameters
    ----------
    activation : Tensor of shape (n, d), (n, n_tokens, d) or (n, d, height, width)
        Output of a layer.
    channels_last : bool, default=False
        Whether maps are (n, height, width, d).

    Returns
    -------
    Tensor of shape (n, n_tokens, d)
        Tokens; features (n, d) are one each.

    Raises
    ------
    ValueError
        If the layer returned something else.
    """
    if activation.ndim not in (2, 3, 4):
        raise ValueError(
            f"The layer returned shape {tuple(activation.shape)}, but features (n, d), tokens (n, n_tokens, d) or maps "
            "(n, d, height, width) are expected; name another layer."
        )
    if activation.ndim == 2:
        return activation[:, None]
    if activation.ndim == 3:
        return activation
    return activation.flatten(1, 2) if channels_last else activation.flatten(2).transpose(1, 2)


def one_per_row(scores, n, what):
    """Check that a network returned one score per row.

    Parameters
    ----------
    scores : Tensor of shape (n,) or (n, 1)
        What it returned.
    n : int
        Number of rows.
    what : str
        What the rows are, in the plural.

    Returns
    -------
    Tensor of shape (n,)
        Scores.

    Raises
    ------
    ValueError
        If the shape is another one.
    """
    if tuple(scores.shape) not in ((n,), (n, 1)):
        raise ValueError(
            f"Got shape {tuple(scores.shape)} for {n} {what}; one number each is needed, ({n},) or ({n}, 1)."
        )
    return scores.reshape(n)
