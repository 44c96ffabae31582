"""What a trained network says of images, and how far the semantics of others move it."""

import torch

from patchdistill.qfm.losses import regression_loss
from patchdistill.qfm.perturbation import channel_statistics, perturb


def read_out(network, images, reading, *names):
    """Run a network on images, and average over their patches.

    Parameters
    ----------
    network : QFMNetwork
        The network.
    images : ImagePatches
        Images.
    reading : Reading
        How they become its input.
    *names : {"scores", "hidden", "features", "gate"}
        What is wanted, see :class:`QFMOutput`.

    Returns
    -------
    list of ndarray of float64, shape (n_images,) or (n_images, C)
        As many as there are names.
    """

    def look(x, rows):
        output = network(x)
        return [getattr(output, name) for name in names]

    return reading.average(look, network, images)


def validation_loss(network, images, labels, reading):
    """Compute the loss of the scores of images.

    Parameters
    ----------
    network, images, reading : object
        As for :func:`read_out`.
    labels : ndarray of shape (n_images,)
        Standardized labels.

    Returns
    -------
    float
        The loss that is trained for, without weights.
    """
    scores = read_out(network, images, reading, "scores")[0]
    return regression_loss(torch.from_numpy(scores), torch.from_numpy(labels)).item()


def scores_with_partners(network, images, reading, partners, kind):
    """Score images as they are, and with the statistics of each of their partners in place of their own.

    Parameters
    ----------
    network, images, reading : object
        As for :func:`read_out`.
    partners : ndarray of int, shape (n_images, k)
        Of :func:`match_pairs`.
    kind : {"style", "shift"}
        Kind of the perturbation, see :func:`patchdistill.qfm.perturbation.perturb`.

    Returns
    -------
    scores : ndarray of float64, shape (n_images,)
        As they are.
    moved : ndarray of float64, shape (n_images, k)
        With those of each partner, the mean over its patches; where there is no partner, any number.
    """

    def look(x, rows):
        tokens = network.encode(x)
        return network.head(tokens).scores, *channel_statistics(tokens)

    scores, *statistics = reading.average(look, network, images)

    def look_moved(x, rows):
        tokens = network.encode(x)
        own, strength = channel_statistics(tokens), torch.ones(len(x)).to(tokens)
        moved = []
        for column in partners[images.image[rows]].T:
            others = (torch.from_numpy(statistic[column]).to(tokens) for statistic in statistics)
            moved.append(network.head(perturb(tokens, *own, *others, strength, kind)).scores)
        return (torch.stack(moved, dim=1),)

    return scores, reading.average(look_moved, network, images)[0]
