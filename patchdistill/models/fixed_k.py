"""Exactly k patches per image, for models that are hard-wired to them."""

import numbers

import numpy as np
from sklearn.base import BaseEstimator

from patchdistill._compat import Interval, StrOptions, _fit_context, validate_parameter_constraints
from patchdistill.forms import check_bags, own_weights, restore_form
from patchdistill.sampling import StatelessBagMixin

_COUNT = [Interval(numbers.Integral, 1, None, closed="left")]


def fixed_k_indices(n_patches, k):
    """Fill k slots with the patches of one image: all of them in order, then again from the first.

    Parameters
    ----------
    n_patches : int
        Patches of the image, at least 1 and at most `k`.
    k : int
        Number of slots.

    Returns
    -------
    ndarray of int, shape (k,)
        Which patch stands in each slot.

    Raises
    ------
    ValueError
        If there are more patches than slots, or a number is no int or below 1.

    Examples
    --------
    >>> from patchdistill.models import fixed_k_indices
    >>> fixed_k_indices(3, 8)
    array([0, 1, 2, 0, 1, 2, 0, 1])
    """
    counts = {"n_patches": n_patches, "k": k}
    validate_parameter_constraints(dict.fromkeys(counts, _COUNT), counts, caller_name="fixed_k_indices")
    if n_patches > k:
        raise ValueError(
            f"{n_patches} patches do not fit into k={k} slots. Select {k} of them before, with "
            f"ResidualPatchSelector(rate={k})."
        )
    return np.arange(k) % n_patches


class FixedK(StatelessBagMixin, BaseEstimator):
    """Give every image exactly k patches, for models that are hard-wired to a number of views.

    It follows a selector whose rate is that number: images with more patches come with `k` of them, and those that
    have fewer are padded here by repeating their own.

    Parameters
    ----------
    k : int
        Patches per image.
    fill : {"repeat", "error"}, default="repeat"
        What happens to images with fewer: ``"repeat"`` repeats their patches in order, again and again from the
        first, ``"error"`` refuses them.

    Attributes
    ----------
    index_map_ : ndarray of int, shape (n_images, k)
        Which patch of the image stands in each slot, for the images seen in fit.

    See Also
    --------
    fixed_k_indices : The same for one image.
    patchdistill.ResidualPatchSelector : Selects the patches; put one with ``rate=k`` before.
    patchdistill.models.view_adjacency : Which of the patches are neighbors.

    Notes
    -----
    The copies of a patch share its weight, the field ``weights`` of PatchBags. Images without that field stay without
    it: every slot counts alike there, a patch that stands in two of them twice.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.pipeline import make_pipeline
    >>> from patchdistill import ResidualPatchSelector
    >>> from patchdistill.models import FixedK
    >>> images = [np.array([[1.0], [2.0], [3.0]]), np.array([[4.0], [5.0]])]
    >>> fixed = FixedK(k=3).fit(images)
    >>> fixed.index_map_
    array([[0, 1, 2],
           [0, 1, 0]])
    >>> fixed.transform(images)[1].ravel()
    array([4., 5., 4.])
    >>> pool = np.random.default_rng(0).random((2, 60, 16))
    >>> make_pipeline(ResidualPatchSelector(rate=20), FixedK(k=20)).fit_transform(pool).shape
    (2, 20, 16)
    """

    _parameter_constraints = {"k": _COUNT, "fill": [StrOptions({"repeat", "error"})]}

    def __init__(self, k, fill="repeat"):
        self.k = k
        self.fill = fill

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Remember which patch of the given images stands in each slot; :meth:`transform` does without.

        Parameters
        ----------
        X : PatchBags, list of array-like of shape (n_patches_i, ...), or array of shape (n_images, n_patches, ...)
            Features or pixels of the patches.
        y : object, default=None
            Not read.

        Returns
        -------
        self
            The transformer.

        Raises
        ------
        ValueError
            As :meth:`transform`.
        """
        self.index_map_ = self._map_indices(check_bags(X)[0])
        return self

    def transform(self, X):
        """Give every image its k patches.

        Parameters
        ----------
        X : PatchBags, list of array-like of shape (n_patches_i, ...), or array of shape (n_images, n_patches, ...)
            Features or pixels of the patches.

        Returns
        -------
        PatchBags, list of ndarray of shape (k, ...), or ndarray of shape (n_images, k, ...)
            The same images with `k` patches each, in the form that came in. A 2-D array, one patch per image, has no
            place for more of them and comes out as an array (n_images, k, n_features).

        Raises
        ------
        ValueError
            If an image has more patches than `k`, or fewer and `fill` is "error"; if the weights of an image are
            negative, not finite or all zero.
        """
        self._validate_params()
        bags, form = check_bags(X)
        index_map = self._map_indices(bags)
        fixed = bags.take(index_map)
        if "weights" in bags.fields:
            shares = [own_weights(bags, i)[slots] / np.bincount(slots)[slots] for i, slots in enumerate(index_map)]
            fixed = fixed.with_values(fixed.values, weights=np.ravel(shares))
        return restore_form(fixed, "stack" if form == "matrix" else form)

    def _map_indices(self, bags):
        return np.array([self._slots(i, n) for i, n in enumerate(bags.n_patches.tolist())])

    def _slots(self, i, n_patches):
        if n_patches < self.k and self.fill == "error":
            raise ValueError(
                f'Image {i} has patches for {n_patches} of k={self.k} slots. Use fill="repeat", or sample more patches.'
            )
        try:
            return fixed_k_indices(n_patches, self.k)
        except ValueError as error:
            raise ValueError(f"Image {i}: {error}") from None
