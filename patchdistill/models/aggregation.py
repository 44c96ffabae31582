"""From the scores of an image's patches to the score of the image."""

import numpy as np
from scipy.stats import trim_mean

# Cut off at either end: what a few patches say that disagree with the rest.
_TRIMMED = 0.1


def aggregate_scores(scores, how, weights=None):
    """Make one score of those of an image's patches.

    Parameters
    ----------
    scores : ndarray of shape (n_patches,)
        Scores.
    how : {"weighted", "mean", "median", "trimmed"}
        ``"weighted"`` is the mean under the weights where there are any; ``"trimmed"`` is the mean without the lowest
        and the highest tenth.
    weights : ndarray of shape (n_patches,), default=None
        How much each patch counts.

    Returns
    -------
    float
        Score of the image.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.models.aggregation import aggregate_scores
    >>> scores = np.array([1.0, 2.0, 9.0])
    >>> [float(aggregate_scores(scores, how, np.array([0.5, 0.5, 0.0]))) for how in ("weighted", "mean", "median")]
    [1.5, 4.0, 2.0]
    """
    return AGGREGATES[how](scores, weights)


AGGREGATES = {
    "weighted": lambda scores, weights: np.average(scores, weights=weights),
    "mean": lambda scores, _: scores.mean(),
    "median": lambda scores, _: np.median(scores),
    "trimmed": lambda scores, _: trim_mean(scores, _TRIMMED),
}
