"""Scores of a trained network, for patches or for whole images."""

import numpy as np

from patchdistill.images import is_pixels
from patchdistill.modules.layers import SCORES, one_per_row, tensor_of
from patchdistill.modules.preprocessing import Preprocess
from patchdistill.modules.running import as_tensor, in_batches, inference


def module_scores(images, module, *, whole, column, size, mean, std, batch_size, device, autocast):
    """Score the patches of images, or the images, by a module.

    Parameters
    ----------
    images : iterable of ndarray of shape (n_patches_i, ...)
        Pixels (n_patches_i, height, width, 3) or features.
    module : nn.Module or callable
        The network.
    whole : bool
        Whether it scores an image at once, given its patches as (1, n_patches_i, ...).
    column : int or None
        Which of several numbers per row is the score.
    size, mean, std
        As for :class:`patchdistill.modules.preprocessing.Preprocess`, for pixels.
    batch_size : int
        Most patches at a time, unless an image is scored at once.
    device : str, torch.device or None
        Where to run; None is where the module is.
    autocast : {"bfloat16", "float16"} or None
        Type of automatic mixed precision.

    Returns
    -------
    list of ndarray of float64, shape (n_patches_i,), or (1,) for images
        Scores.

    Raises
    ------
    ValueError, TypeError
        If the module returns something else, or a score that is not finite.
    """
    with inference(module, device, autocast) as (where, dtype):
        preprocess = Preprocess(size, mean, std, dtype=dtype).to(where)

        def score(batch):
            batch = batch.to(where)
            batch = preprocess(batch) if is_pixels(batch) else batch.to(dtype)
            output = module(batch[None] if whole else batch)
            return _scores_in(output, column, 1 if whole else len(batch), "images" if whole else "patches")

        scores = []
        for i, image in enumerate(images):
            patches = as_tensor(np.array(image))
            scores.append(in_batches(score, patches, len(patches) if whole else batch_size).numpy())
            _check_finite(scores[-1], i)
    return scores


def _scores_in(output, column, n, what):
    output = tensor_of(output, SCORES)
    if column is not None:
        if output.ndim != 2 or column >= output.shape[1]:
            raise ValueError(
                f"column={column} is not in what the module returned, shape {tuple(output.shape)}; "
                f"({n}, k) with k > {column} is needed."
            )
        output = output[:, column]
    return one_per_row(output, n, what).double()


def _check_finite(scores, i):
    finite = np.isfinite(scores)
    if not finite.all():
        patch = f", patch {finite.argmin()}," if len(scores) > 1 else ""
        raise ValueError(
            f"The module's score of image {i}{patch} is not finite. Check the weights and the input "
            "range (mean, std); with autocast, try the other type or None."
        )
