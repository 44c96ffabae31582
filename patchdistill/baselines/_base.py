"""What the baselines share: the loop over images, and an order of the patches that does not depend on chance."""

from abc import abstractmethod

import numpy as np

from patchdistill._compat import StrOptions
from patchdistill._threads import single_blas_thread
from patchdistill.base import BasePatchSelector
from patchdistill.normalization import NORMALIZATIONS, normalize_embeddings, unit_scale
from patchdistill.problem import row_norms
from patchdistill.ranking import n_keep
from patchdistill.similarity import pairwise_distances
from patchdistill.ties import rounded

NORMALIZE_CONSTRAINT = [StrOptions(set(NORMALIZATIONS)), None]


class DistanceSelector(BasePatchSelector):
    """Selector that sees one image at a time, as normalized embeddings and the distances between them.

    A subclass has the parameters `rate` and `normalize` and a method ``_choose_patches(E, distances, n_kept)`` that
    returns a :class:`patchdistill.ranking.Choice`. It gets the patches from the image's mean outwards: what goes by
    index there goes to the more central patch, and the order in which the patches came in matters to copies alone.
    """

    _parameter_constraints = {"rate": "no_validation", "normalize": NORMALIZE_CONSTRAINT}

    @abstractmethod
    def _choose_patches(self, E, distances, n_kept):
        """Choose patches of one image."""

    def _choose(self, bags):
        with single_blas_thread():
            return [self._choose_in_order(E) for E in bags], {}

    def _choose_in_order(self, E):
        E = unit_scale(normalize_embeddings(np.asarray(E, dtype=np.float64), self.normalize))
        order = from_mean_outwards(E)
        E = E[order]
        return self._choose_patches(E, pairwise_distances(E), n_keep(len(E), self.rate)).renumbered(order)


class SeededMixin:
    """Mixin of selectors with a `random_state`."""

    def __sklearn_tags__(self):
        """Tell scikit-learn whether two fits give the same."""
        tags = super().__sklearn_tags__()
        tags.non_deterministic = self.random_state is None or isinstance(self.random_state, np.random.RandomState)
        return tags


def from_mean_outwards(E):
    """Order patches by their distance to their mean, equally distant ones by their features.

    Parameters
    ----------
    E : ndarray of float64, shape (n_patches, n_features)
        Embeddings of one image.

    Returns
    -------
    ndarray of int, shape (n_patches,)
        Indices, nearest first; copies go by index.
    """
    distances = rounded(row_norms(E - E.mean(axis=0)))
    _, place, counts = np.unique(distances, return_inverse=True, return_counts=True)
    # Few patches are equally distant: only their features have to be compared.
    features = [E[i].tolist() if counts[place[i]] > 1 else [] for i in range(len(E))]
    return np.array(sorted(range(len(E)), key=lambda i: (place[i], features[i])))
