"""How much a model's scores change when only what is shown changes."""

import numpy as np


def semantic_sensitivity(scores, partners, perturbed=None):
    """Compute the mean difference of the scores of partners, in standard deviations of the scores.

    Partners are alike in quality and show different things, so that a model that sees quality alone scores them alike:
    labels themselves have at most `tau`, 0.25 by default. Scores drawn at random have 2 / sqrt(pi), about 1.13.

    Parameters
    ----------
    scores : array-like of shape (n_images,)
        Scores of the images, by any model.
    partners : ndarray of int, shape (n_images, k)
        Of :func:`match_pairs`; -1 is none.
    perturbed : array-like of shape (n_images, k), default=None
        Score of each image with the semantics of each partner in place of its own; where there is no partner, it is
        not read. By default that of the partner, as if quality were the same to the last digit.

    Returns
    -------
    float
        The sensitivity, at least 0.

    Raises
    ------
    ValueError
        If all scores are equal, or there are no partners.

    See Also
    --------
    match_pairs : Finds the partners.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.qfm import semantic_sensitivity
    >>> semantic_sensitivity([1.0, 1.0, 3.0, 3.0], np.array([[1], [0], [3], [0]]))
    0.5
    """
    scores, matched = np.asarray(scores, dtype=np.float64), np.asarray(partners) >= 0
    if not matched.any():
        raise ValueError("No image has a partner; raise tau, or pass more images.")
    spread = scores.std()
    if not spread > 0:
        raise ValueError(f"All scores are {scores[0]:g}, so that there is no scale for their differences.")
    others = scores[partners] if perturbed is None else np.asarray(perturbed, dtype=np.float64)
    return float(np.abs(others - scores[:, None])[matched].mean() / spread)
