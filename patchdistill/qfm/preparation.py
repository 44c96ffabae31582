"""Before training: the network with its first weights, what images show, and who is whose partner."""

import numbers
import warnings
from functools import partial

import numpy as np
import torch
from torch import nn

from patchdistill.evaluation import SceneShuffleSplit
from patchdistill.models import inputs
from patchdistill.modules.running import inference
from patchdistill.qfm.descriptors import thumbnail_descriptor
from patchdistill.qfm.matching import check_rated, match_pairs
from patchdistill.qfm.networks import QFMNetwork, TinyViT, encode


def make_network(encoder, images, reading, seed, *, layer, pooling, channels_last, gate, n_queries):
    """Make a network for images, with the first weights of what has none.

    Parameters
    ----------
    encoder : nn.Module or None
        The encoder, which is copied; None is a :class:`TinyViT`.
    images : ImagePatches
        Images; the first patch is tried.
    reading : Reading
        How they become its input.
    seed : int
        Of the weights that are drawn.
    layer, pooling, channels_last, gate, n_queries : object
        As for :class:`QFMNetwork`.

    Returns
    -------
    QFMNetwork
        The network.

    Raises
    ------
    ValueError
        If the encoder cannot be run on such patches, or gives numbers that are not finite.
    """
    options = {"layer": layer, "pooling": pooling, "channels_last": channels_last}
    with torch.random.fork_rng([]):
        torch.default_generator.manual_seed(seed)
        encoder = _tiny_encoder(reading.size or images.patch_size) if encoder is None else encoder
        with inference(encoder, reading.device, reading.autocast):
            x = images.tensor([0], reading.preprocess(encoder))
            try:
                tokens = encode(encoder, x, **options)
            except (RuntimeError, ValueError, AssertionError) as error:
                raise ValueError(
                    f"The encoder cannot be run on patches of {x.shape[2]} x {x.shape[3]} pixels ({error}). If it "
                    "takes others, give their size."
                ) from error
        if not torch.isfinite(tokens).all():
            raise ValueError(
                "The encoder's tokens of the first patch are not finite. Check its weights, and the range of its input "
                "(mean, std)."
            )
        return QFMNetwork(encoder, width=tokens.shape[-1], gate=gate, n_queries=n_queries, **options)


def split_images(y, groups, fraction, seed):
    """Hold scenes out.

    Parameters
    ----------
    y, groups : ndarray of shape (n_images,)
        Labels and scenes.
    fraction : float or None
        Share of the scenes; None holds none out.
    seed : int
        Decides which.

    Returns
    -------
    train, held_out : ndarray of int
        Images of either side.

    Raises
    ------
    ValueError
        If those to train on are too few or too much alike.
    """
    if fraction is None:
        return np.arange(len(y)), np.arange(0)
    train, held_out = next(SceneShuffleSplit(1, fraction, seed).split(groups=groups))
    check_labels(y[train], groups[train], len(train))
    return train, held_out


def check_labels(y, groups, n_images):
    """Check labels and scenes, before any picture is read.

    Parameters
    ----------
    y : array-like of shape (n_images,)
        Labels.
    groups : array-like of shape (n_images,), or None
        Scenes.
    n_images : int
        Number of images.

    Returns
    -------
    y : ndarray of float64, shape (n_images,)
        Labels.
    groups : ndarray of int, shape (n_images,)
        Scenes, numbered.

    Raises
    ------
    ValueError
        As :func:`match_pairs`.
    """
    return check_rated(inputs.check_labels(y, n_images), groups)


def describe_semantics(images, reading, network=None):
    """Describe what images show.

    Parameters
    ----------
    images : ImagePatches
        The images.
    reading : Reading
        How they become the input of the network.
    network : QFMNetwork, default=None
        Whose token that sums up describes a patch; None is :func:`thumbnail_descriptor`.

    Returns
    -------
    ndarray of float64, shape (n_images, m)
        Mean of the descriptors of the patches, each of length 1.
    """
    if network is None:
        patches = (images.read(row)[None] for row in range(len(images.image)))
        return images.means(np.concatenate([thumbnail_descriptor(patch) for patch in patches]))

    def summary(x, rows):
        return (nn.functional.normalize(network.encode(x)[:, 0]),)

    return reading.average(summary, network, images)[0]


def match_images(y, semantics, groups, recipe, *, tau, k):
    """Find the partners that the losses of a recipe need.

    Parameters
    ----------
    y, semantics, groups, tau, k : object
        As for :func:`match_pairs`.
    recipe : Recipe
        Which losses have a part.

    Returns
    -------
    partners : tuple of ndarray, or None
        Partners, and negatives or None, for :class:`StatisticsBank`; None if there are none at all.
    unmatched_rate : float
        Share of the images that none of these losses applies to.

    Warns
    -----
    UserWarning
        If there are none at all.
    """
    find = partial(match_pairs, y, semantics, groups, tau=tau, k=k)
    partners, negatives = find(), find(pairing="semantic") if recipe.contrast else None
    matched = (partners >= 0).any(axis=1)
    if not recipe.consistency:
        matched &= (negatives >= 0).any(axis=1)
    if matched.any():
        return (partners, negatives), float(1 - matched.mean())
    warnings.warn(
        f"No image has partners with tau={tau}; the network is trained on labels alone. Raise tau, or pass more images "
        "of other groups.",
        UserWarning,
        stacklevel=4,
    )
    return None, 1.0


def _tiny_encoder(size):
    height, width = (size, size) if isinstance(size, numbers.Integral) else size
    if height != width:
        raise ValueError(f"encoder=None takes square patches, and not {height} x {width} pixels; give size a number.")
    return TinyViT(size=int(height))
