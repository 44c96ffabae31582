"""The patches of one image in an order of their own, and how far apart they are: what scores and choice have in common.

Both take most of their time for the inner products of all pairs of patches, and from those of the unit rows all the
others follow.
"""

from functools import cached_property

import numpy as np

from patchdistill.large.sizes import is_large
from patchdistill.normalization import normalize_embeddings, standardize_columns, unit_rows_and_lengths, unit_scale
from patchdistill.similarity import (
    centered_gram,
    cosine_distances,
    gram_distances,
    pairwise_distances,
    squared_distances,
)

# As many features nearly always tell patches apart.
_FIRST_FEATURES = 16


class OrderedPatches:
    """Patches of one image, sorted by what they contain, so that the order in which they come decides nothing.

    Inner products are computed when they are first needed, and kept. What is pickled, and what a cache goes by, are the
    embeddings as they came and how they are normalized.

    Parameters
    ----------
    E : ndarray of shape (n_patches, n_features)
        Embeddings, float32 or float64.
    normalize : {"rows", "columns"} or None, default="rows"
        See :func:`patchdistill.normalization.normalize_embeddings`.
    """

    def __init__(self, E, normalize="rows"):
        self.E = E
        self.normalize = normalize

    def __len__(self):
        return len(self.E)

    def __getstate__(self):
        return {"E": self.E, "normalize": self.normalize}

    @cached_property
    def _order_and_copies(self):
        return content_order(self.E)

    @property
    def order(self):
        """All patches, sorted."""
        return self._order_and_copies[0]

    @property
    def copies(self):
        """Positions in `order` of patches that are copies of the one before."""
        return self._order_and_copies[1]

    @property
    def contents(self):
        """Embeddings in the order, a copy."""
        return self.E[self.order]

    @property
    def rows(self):
        """Normalized embeddings in the order, in the precision that they came in."""
        if self.normalize == "rows" and not is_large(len(self)):
            return self._units[0]
        return normalize_embeddings(self.contents, self.normalize)

    @cached_property
    def _units(self):
        """Unit rows, lengths of the embeddings relative to the longest, and inner products of the centered unit rows.

        These are of float64 whatever the embeddings are: rounded rows would no longer be of unit length.
        """
        rows, lengths = unit_rows_and_lengths(self.contents)
        for k in self.copies:
            lengths[k] = lengths[k - 1]
        return rows.astype(self.E.dtype), lengths, centered_gram(rows, overwrite=True)

    @cached_property
    def _gram(self):
        """Inner products of the centered embeddings as they came, on a scale without overflow."""
        return centered_gram(unit_scale(self.contents.astype(np.float64)), overwrite=True)

    def normalized_distances(self, rows, metric):
        """Distances between the normalized embeddings: what the affinity is made of.

        Parameters
        ----------
        rows : ndarray of shape (n_patches, n_features)
            :attr:`rows`.
        metric : {"euclidean", "manhattan", "mahalanobis", "cosine"} or callable
            See :func:`patchdistill.similarity.pairwise_distances`.

        Returns
        -------
        ndarray of shape (n_patches, n_patches)
            Distances; without normalization in any unit.
        """
        if self.normalize == "rows" and metric == "cosine":
            _, lengths, gram = self._units
            return cosine_distances(gram, lengths == 0)
        if self.normalize == "columns" or metric not in ("euclidean", "mahalanobis"):
            return pairwise_distances(rows, metric)
        return gram_distances(self._units[2] if self.normalize == "rows" else self._gram, metric, self.E.shape[1])

    def points(self, places, core):
        """Embeddings to choose among: scaled to unit norm, patches that differ in strength alone would pass for copies.

        Parameters
        ----------
        places : ndarray of int, shape (n_patches,)
            Positions in `order` of all patches, in the order asked for.
        core : ndarray of int
            Positions in `order` of the patches over which features of mixed units are standardized.

        Returns
        -------
        ndarray of shape (n_patches, n_features)
            Embeddings of the patches at these places.
        """
        if self.normalize == "columns":
            return standardize_columns(self.contents, core)[places]
        return self.E[self.order[places]]

    def distances(self, points, places):
        """Euclidean distances between the embeddings to choose among.

        Parameters
        ----------
        points : ndarray of shape (n_patches, n_features)
            What :meth:`points` gave for these places.
        places : ndarray of int, shape (n_patches,)
            Positions in `order` of all patches, in the order asked for.

        Returns
        -------
        ndarray of shape (n_patches, n_patches)
            Distances, in any unit.
        """
        if self.normalize == "columns":
            return pairwise_distances(points)
        if self.normalize is None:
            return gram_distances(self._gram)[np.ix_(places, places)]
        # With lengths a, b and the distance u of the unit rows, |x - y|^2 = (a - b)^2 + a b u^2: a sum without
        # cancellation, as exact for short rows as for long ones.
        _, lengths, gram = self._units
        squared = (lengths[:, None] - lengths) ** 2
        squared += np.outer(lengths, lengths) * squared_distances(gram)
        return np.sqrt(squared[np.ix_(places, places)])


def content_order(E):
    """Order patches by what they contain, whatever order they came in: by the first feature, equal ones by the next.

    A positive scale of all features does not change the order.

    Parameters
    ----------
    E : array-like of shape (n_patches, n_features)
        Embeddings.

    Returns
    -------
    order : ndarray of int, shape (n_patches,)
        All patches; copies are neighbours and keep the order they came in.
    copies : ndarray of int
        Positions in `order` of patches that are copies of the one before.
    """
    E = np.asarray(E)
    for n_features in (min(_FIRST_FEATURES, E.shape[1]), E.shape[1]):
        contents = _sortable_bytes(E[:, :n_features])
        if len(set(contents)) == len(E):  # the other features decide nothing
            break
    order = np.array(sorted(range(len(E)), key=contents.__getitem__))
    copies = [k for k in range(1, len(order)) if contents[order[k]] == contents[order[k - 1]]]
    return order, np.array(copies, dtype=np.intp)


def _sortable_bytes(E):
    """Rows as bytes that compare as the rows do, the first feature first.

    The bits of a float, read as an integer, are in the order of the floats once those of negative ones are inverted and
    the others come after them; written from the highest byte down, rows compare as bytes do.
    """
    E = np.ascontiguousarray(E) + 0.0  # one zero instead of two, which differ in their bits
    bits = E.view(f"u{E.itemsize}")
    sign = bits.dtype.type(1 << (8 * E.itemsize - 1))
    return [row.tobytes() for row in np.where(bits & sign, ~bits, bits | sign).astype(bits.dtype.newbyteorder(">"))]
