"""A teacher labels images, and a student that begins where the teacher began learns from these as well."""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import nn

from patchdistill.checkpoints import Checkpoint
from patchdistill.qfm.bank import StatisticsBank
from patchdistill.qfm.training import Recipe, Samples, Training
from patchdistill.ranking import n_keep

_STAGES = ("teacher", "student")


@dataclass(frozen=True)
class Stages:
    """What the training of a teacher and that of its student have in common.

    Parameters
    ----------
    initial : nn.Module
        The network before training, where it is to be trained.
    preprocess : Preprocess
        Makes its input.
    recipe : Recipe
        How it is trained.
    seed : int
        Decides what is drawn.
    partners : tuple of ndarray, or None
        Partners and negatives of the images with labels, as :class:`StatisticsBank` takes them; without, losses that
        need partners are left out.
    validate : callable or None
        As in :meth:`Training.run`.
    checkpoint : str, path-like or None
        Folder of the states.
    quiet : bool
        Whether no progress is printed.
    """

    initial: nn.Module
    preprocess: nn.Module
    recipe: Recipe
    seed: int
    partners: tuple | None
    validate: Callable | None
    checkpoint: object
    quiet: bool

    def train(self, stage, samples, settings, teacher=None):
        """Train a network from the start, or go on with it.

        Parameters
        ----------
        stage : {"teacher", "student"}
            Which.
        samples : Samples
            What it learns from.
        settings : dict
            All that decides the result, see :class:`Checkpoint`; not read without one.
        teacher : nn.Module, default=None
            The trained teacher of the student.

        Returns
        -------
        network : nn.Module
            The trained network, in evaluation mode.
        history : list of dict
            What happened in each epoch.
        """
        bank = None
        if self.partners is not None:
            bank = StatisticsBank(*self.partners, width=self.initial.width).to(self.preprocess.mean.device)
        seed = (self.seed, _STAGES.index(stage))
        training = Training(copy.deepcopy(self.initial), self.recipe, seed, self.preprocess, bank, teacher)
        checkpoint = None if self.checkpoint is None else Checkpoint(self.checkpoint, stage, settings)
        training.run(samples, self.validate, checkpoint, stage, self.quiet)
        return training.network.eval(), [{"stage": stage, **epoch} for epoch in training.history]


def label_images(scores, images):
    """Label images by the scores of their patches and of the mirror images of these.

    Parameters
    ----------
    scores : ndarray of shape (n_patches_total, 2)
        Scores of all patches, as they are and mirrored.
    images : ImagePatches
        The images.

    Returns
    -------
    labels, spread : ndarray of float64, shape (n_images,)
        Mean and standard deviation of the scores of each image, weighted as its patches are.
    """
    labels = images.means(scores.mean(axis=1))
    squares = (scores - labels[images.image, None]) ** 2
    return labels, np.sqrt(images.means(squares.mean(axis=1)))


def most_certain(spread, keep):
    """Choose the images that a network scores most steadily.

    Parameters
    ----------
    spread : ndarray of shape (n_images,)
        Standard deviation of each image's scores.
    keep : float
        Share of the images to keep, in (0, 1], rounded up.

    Returns
    -------
    kept : ndarray of int
        Their positions, ascending; of equals those that come first.
    weights : ndarray of float64, shape (n_kept,)
        How much each counts beside an image with a label: exp(-spread / median spread of those kept), in [0, 1]; 1 if
        the median is 0.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.qfm.distillation import most_certain
    >>> kept, weights = most_certain(np.array([0.2, 0.9, 0.1, 0.4]), keep=0.75)
    >>> kept, weights.round(3)
    (array([0, 2, 3]), array([0.368, 0.607, 0.135]))
    """
    kept = np.sort(np.argsort(spread, kind="stable")[: n_keep(len(spread), float(keep))])
    median = np.median(spread[kept])
    return kept, np.exp(-spread[kept] / median) if median > 0 else np.ones(len(kept))


def add_unlabeled(samples, unlabeled, teacher, reading, keep):
    """Put images that a teacher labels behind those with labels.

    Parameters
    ----------
    samples : Samples
        Images with labels.
    unlabeled : ImagePatches
        Images without.
    teacher : QFMNetwork
        The trained teacher.
    reading : Reading
        How images become its input.
    keep : float
        Share of the images that are kept, the most certain ones.

    Returns
    -------
    Samples
        What a student learns from.
    """
    both = reading.run(lambda x, rows: (teacher(x).scores, teacher(x.flip(-1)).scores), teacher, unlabeled)
    labels, spread = label_images(np.stack(both, axis=1), unlabeled)
    kept, weights = most_certain(spread, keep)
    return Samples(
        samples.images.join(unlabeled.take(kept)),
        np.concatenate([samples.labels, labels[kept]]),
        np.concatenate([samples.weights, weights]),
        samples.n_labelled,
    )
