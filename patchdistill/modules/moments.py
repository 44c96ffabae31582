"""The state of a training as one flat dictionary of tensors, as files hold it."""


def named_moments(network, optimizer):
    """Give the moments of an optimizer by the names of the parameters.

    Parameters
    ----------
    network : nn.Module
        What is trained.
    optimizer : Optimizer
        That of its parameters.

    Returns
    -------
    dict of str to Tensor
        Such as ``layer.weight.exp_avg``.
    """
    names = {parameter: name for name, parameter in network.named_parameters()}
    return {
        f"{names[parameter]}.{kind}": value
        for parameter, state in optimizer.state.items()
        for kind, value in state.items()
    }


def load_moments(network, optimizer, moments):
    """Put the moments of another run into an optimizer.

    Parameters
    ----------
    network : nn.Module
        What is trained.
    optimizer : Optimizer
        That of its parameters.
    moments : dict of str to Tensor
        Of :func:`named_moments`.
    """
    parameters = dict(network.named_parameters())
    for name, tensor in moments.items():
        name, _, kind = name.rpartition(".")
        parameter = parameters[name]
        # The count of steps stays on the host, where AdamW has it.
        optimizer.state[parameter][kind] = tensor if kind == "step" else tensor.to(parameter.device)


def join_parts(parts):
    """Make one dictionary of several.

    Parameters
    ----------
    parts : dict of str to dict
        Tensors by name, by part; the names of parts have no dot.

    Returns
    -------
    dict of str to Tensor
        By ``part.name``.

    Examples
    --------
    >>> join_parts({"network": {"layer.bias": 1}, "bank": {}})
    {'network.layer.bias': 1}
    """
    return {f"{part}.{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()}


def split_parts(tensors, parts):
    """Undo :func:`join_parts`.

    Parameters
    ----------
    tensors : dict of str to Tensor
        By ``part.name``.
    parts : tuple of str
        All parts there can be.

    Returns
    -------
    dict of str to dict
        Tensors by name, by part; a part without tensors is empty.

    Examples
    --------
    >>> split_parts({"network.layer.bias": 1}, ("network", "bank"))
    {'network': {'layer.bias': 1}, 'bank': {}}
    """
    found = {part: {} for part in parts}
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        found[part][rest] = tensor
    return found
