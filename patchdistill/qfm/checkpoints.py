"""What decides how the training of a model ends: settings, images and weights, as a checkpoint names them."""

import numbers

import numpy as np

from patchdistill.embedding.cache import digest

# Patches whose pixels are compared when a run goes on; to read all of a large data set takes too long.
_N_COMPARED = 32

# Parameters that decide where a run is made and what is printed, and the encoder, whose weights count.
_NO_SETTINGS = ("encoder", "checkpoint", "device", "verbose")

# What decides the student alone: a teacher can be the teacher of several, in folders of their own.
OF_STUDENT = ("distillation", "keep")


def describe_run(model, network, images, labels, groups, semantics):
    """List what decides how the training of a model ends.

    Parameters
    ----------
    model : QFMRegressor
        Its parameters count, except for those of the student.
    network : QFMNetwork
        Its network before training.
    images : ImagePatches
        Images with labels.
    labels, groups : ndarray of shape (n_images,)
        Their labels and scenes.
    semantics : array-like of shape (n_images, m), or None
        What they show, as it was given.

    Returns
    -------
    dict
        By name.

    Raises
    ------
    ValueError
        If the run cannot be made twice.
    """
    if not isinstance(model.random_state, numbers.Integral):
        raise ValueError(
            f"A run with random_state={model.random_state!r} is never made twice, so that none can go on from "
            "checkpoint; pass an int."
        )
    parameters = model.get_params(deep=False)
    return {
        **{name: parameters[name] for name in parameters if name not in (*_NO_SETTINGS, *OF_STUDENT)},
        "encoder": describe_network(network.encoder),
        "images": describe_images(images),
        "labels": digest(labels)[:16],
        "groups": digest(groups)[:16],
        "semantics": None if semantics is None else digest(np.asarray(semantics))[:16],
    }


def describe_images(images):
    """Name images by the number and the weights of their patches, and the pixels of some.

    Parameters
    ----------
    images : ImagePatches
        The images.

    Returns
    -------
    str
        Changes with the images, unless only pixels change that are not looked at: those of 32 patches are.
    """
    rows = np.unique(np.linspace(0, len(images.image) - 1, _N_COMPARED).astype(int))
    return digest(images.n_patches, images.weights, *(images.read(row) for row in rows))[:16]


def describe_network(network):
    """Name a network by its layers and their weights.

    Parameters
    ----------
    network : nn.Module
        The network.

    Returns
    -------
    str
        Changes with the weights and the layers.
    """
    weights = network.state_dict()
    return digest(str(network), *weights, *(tensor.detach().cpu().double().numpy() for tensor in weights.values()))[:16]
