"""Baseline that ranks patches as the published script would: by the norms of the rows of its R."""

import numpy as np
from sklearn.utils import check_random_state

from patchdistill._threads import single_blas_thread
from patchdistill.base import BasePatchSelector
from patchdistill.baselines._base import NORMALIZE_CONSTRAINT, SeededMixin
from patchdistill.normalization import normalize_embeddings
from patchdistill.problem import ResidualProblem
from patchdistill.ranking import Choice, n_keep, rank
from patchdistill.solvers.published import published_target, solve_published

# The script's own number of eigenvectors, and both of its penalties, which are absolute.
_H, _PENALTY = 10, 0.1


class PublishedPatchSelector(SeededMixin, BasePatchSelector):
    """Keep the patches with the smallest residuals as the script published with the method computes them.

    It is the script with its own target, parameters and random start, and with what it lacks: a rate. Mind that its
    residuals are mostly its random start, and that it inverts an (n_features, n_features) matrix eleven times per
    image. Where all patches of an image are the same, the script divides by zero; here they go by index.

    Parameters
    ----------
    rate : float or int, default=0.45
        Share of each image's patches to keep, in (0, 1] and rounded up, or their number.
    normalize : {"rows", "columns"} or None, default=None
        See :func:`patchdistill.normalization.normalize_embeddings`; the script itself does not normalize.
    random_state : int, RandomState instance or None, default=0
        Of the start. The images draw one after the other, as they do in the script, which takes no seed.

    Attributes
    ----------
    selected_idx_ : list of ndarray of int, shape (n_kept_i,)
        Kept patches of each image seen in fit, ascending.
    support_ : list of ndarray of bool, shape (n_patches_i,)
        The same as masks.
    weights_ : list of ndarray of shape (n_kept_i,)
        Equal.
    ranking_ : list of ndarray of int, shape (n_patches_i,)
        All patches, smallest residual first.
    n_features_in_ : int
        Number of features of the patches.

    See Also
    --------
    patchdistill.ResidualPatchSelector : What the method is about; with ``solver="published"`` it runs the same
        iteration on the target and the penalties of this package.

    References
    ----------
    .. [1] A. Sendjasni, S.-E. Benkabou, M.-C. Larabi, "Embedding-Driven Data Distillation for 360-Degree IQA With
       Residual-Aware Refinement", arXiv:2412.12667.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.baselines import PublishedPatchSelector
    >>> images = np.random.default_rng(0).random((2, 20, 8))
    >>> PublishedPatchSelector(rate=0.4).fit_transform(images).shape
    (2, 8, 8)
    """

    _parameter_constraints = {
        "rate": "no_validation",
        "normalize": NORMALIZE_CONSTRAINT,
        "random_state": ["random_state"],
    }

    def __init__(self, rate=0.45, *, normalize=None, random_state=0):
        self.rate = rate
        self.normalize = normalize
        self.random_state = random_state

    def _choose(self, bags):
        rng = check_random_state(self.random_state)
        with single_blas_thread():
            rankings = [
                rank(published_scores(normalize_embeddings(np.asarray(E, dtype=np.float64), self.normalize), rng))
                for E in bags
            ]
        return [Choice(ranking, n_keep(len(ranking), self.rate)) for ranking in rankings], {}


def published_scores(E, random_state=0):
    """Norms of the rows of the published script's R.

    Parameters
    ----------
    E : ndarray of shape (n_patches, n_features)
        Embeddings of the patches of one image.
    random_state : int, RandomState instance or None, default=0
        Of the script's start.

    Returns
    -------
    ndarray of shape (n_patches,)
        Residuals; zeros where all patches are the same, for which the script has no target.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill.baselines.published import published_scores
    >>> published_scores(np.ones((3, 2)))
    array([0., 0., 0.])
    """
    if (E == E[0]).all():
        return np.zeros(len(E))
    problem = ResidualProblem(E, published_target(E, h=_H), alpha=_PENALTY, beta=_PENALTY)
    return solve_published(problem, random_state).residual_norms
