"""Selection inside the sequences of an image, for models that read patches in an order."""

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.utils.validation import check_is_fitted

from patchdistill._compat import HasMethods, _fit_context
from patchdistill.bags import PatchBags
from patchdistill.forms import BagOutputMixin, own_weights

# Field in which patches carry their row of X through the selector.
_ROW = "_row"


class SequenceSelector(BagOutputMixin, TransformerMixin, BaseEstimator, auto_wrap_output_keys=None):
    """Select patches inside every sequence of an image, and keep their order.

    Models of scan-paths read several sequences of views per image. Every sequence is handed to the selector as an
    image of its own, all of them at once, and the kept patches are put back into their images. With an int rate each
    sequence keeps that many.

    Parameters
    ----------
    selector : transformer
        Keeps patches of PatchBags with their fields, such as :class:`patchdistill.ResidualPatchSelector`. What it
        calls an image in its messages and attributes is a sequence: image after image, each one's sequences in the
        order of their labels.
    field : str, default="sequence"
        Field of PatchBags with an int or a string per patch: which sequence of its image it belongs to. The patches
        of a sequence need not lie side by side.

    Attributes
    ----------
    selector_ : transformer
        Fitted clone of `selector`.
    selected_idx_ : list of ndarray of int, shape (n_kept_i,)
        Kept patches of each image seen in fit, ascending.

    See Also
    --------
    patchdistill.ResidualPatchSelector : Selection in whole images.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill import PatchBags, ResidualPatchSelector
    >>> from patchdistill.models import SequenceSelector
    >>> views = np.random.default_rng(0).random((2 * 3 * 20, 16))
    >>> sequence = np.tile(np.repeat([0, 1, 2], 20), 2)
    >>> X = PatchBags(views, [0, 60, 120], fields={"sequence": sequence})
    >>> kept = SequenceSelector(ResidualPatchSelector(rate=5)).fit_transform(X)
    >>> kept.field("sequence", 0)
    array([0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2])
    >>> kept.values.reshape(2, 3, 5, 16).shape
    (2, 3, 5, 16)
    """

    _parameter_constraints = {"selector": [HasMethods(["fit_transform", "transform"])], "field": [str]}

    def __init__(self, selector, field="sequence"):
        self.selector = selector
        self.field = field

    def fit(self, X, y=None):
        """Select the patches of the given images, for a look at them.

        Parameters
        ----------
        X : PatchBags
            Images with the field of sequences.
        y : object, default=None
            Ignored.

        Returns
        -------
        self : object
            Fitted selector.

        Raises
        ------
        TypeError, ValueError
            As :meth:`transform`.
        """
        self.fit_transform(X)
        return self

    @_fit_context(prefer_skip_nested_validation=False)
    def fit_transform(self, X, y=None):
        """Select the patches of the given images and keep them; each sequence is solved once.

        Parameters
        ----------
        X : PatchBags
            Images with the field of sequences.
        y : object, default=None
            Ignored.

        Returns
        -------
        PatchBags
            As :meth:`transform`.

        Raises
        ------
        TypeError, ValueError
            As :meth:`transform`.
        """
        selector = clone(self.selector)
        kept, selected = self._select(X, selector.fit_transform)
        self.selector_, self.selected_idx_ = selector, selected
        return kept

    def transform(self, X):
        """Keep the selected patches of every sequence.

        Parameters
        ----------
        X : PatchBags
            Images with the field of sequences.

        Returns
        -------
        PatchBags
            The same images with the kept patches, in their original order. Their field ``weights`` sums to 1 in every
            image. A sequence counts by its share of the image's patches before the selection, or of their weights if
            they came with some; the weights of the selector divide it among its kept patches.

        Raises
        ------
        TypeError
            If `X` is no PatchBags, or `selector` gives none with the fields of the patches.
        ValueError
            If `X` lacks the field or it is no int or string per patch; if weights that it came with are negative, not
            finite, or all 0 in a sequence.
        """
        check_is_fitted(self)
        return self._select(X, self.selector_.transform)[0]

    def _select(self, X, select):
        """Images with the kept patches, and which these are."""
        self._check_X(X)
        sequences, shares = self._cut(X)
        kept = select(sequences)
        if not isinstance(kept, PatchBags) or _ROW not in kept.fields:
            raise TypeError(
                f"{type(self.selector).__name__} gave {type(kept).__name__} for PatchBags, but a selector gives them "
                "back with fewer patches and all fields. Use one that does, such as ResidualPatchSelector()."
            )
        rows = np.asarray(kept.fields[_ROW])
        weights = np.repeat(shares, kept.n_patches) * _relative_weights(kept)
        order = np.argsort(rows, kind="stable")
        rows_of_images = np.split(rows[order], np.searchsorted(rows[order], X.offsets[1:-1]))
        selected = [rows - first for rows, first in zip(rows_of_images, X.offsets[:-1], strict=True)]
        images = X.take(selected)
        return images.with_values(images.values, weights=weights[order]), selected

    def _check_X(self, X):
        if not isinstance(X, PatchBags):
            raise TypeError(
                f"SequenceSelector needs PatchBags with the field {self.field!r}; got {type(X).__name__}. Make them "
                f"with PatchBags.from_list(images, fields={{{self.field!r}: labels}}), a label per patch."
            )
        if self.field not in X.fields:
            raise ValueError(
                f"X has no field {self.field!r}; there are {sorted(X.fields)}. Add it with "
                f"X.with_values(X.values, {self.field}=labels), a label per patch."
            )
        labels = np.asarray(X.fields[self.field])
        if labels.ndim != 1 or labels.dtype.kind not in "iuUS":
            raise ValueError(
                f"Field {self.field!r} has shape {labels.shape} and dtype {labels.dtype}; it must hold one int or "
                "string per patch, the label of its sequence. Convert it with .astype(int) or .astype(str)."
            )

    def _cut(self, X):
        """Every sequence of every image as an image, and its share of the image it is from."""
        X = X.with_values(X.values, **{_ROW: np.arange(len(X.values))})
        X = X.take([np.argsort(X.field(self.field, i), kind="stable") for i in range(len(X))])
        labels = np.asarray(X.fields[self.field])
        starts = np.union1d(X.offsets[:-1], np.flatnonzero(labels[1:] != labels[:-1]) + 1)
        shares = np.add.reduceat(_relative_weights(X), starts)
        weightless = starts[shares == 0]
        if len(weightless):
            image = np.searchsorted(X.offsets, weightless[0], side="right") - 1
            raise ValueError(
                f"The weights of sequence {labels[weightless[0]]} of image {image} are all 0, and so nothing is left "
                "to select from. Drop its patches beforehand, or give one of them a weight above 0."
            )
        return PatchBags(X.values, np.append(starts, len(labels)), fields=X.fields), shares


def _relative_weights(bags):
    """How much each patch counts, summing to 1 in every bag; all alike where they came without weights."""
    alike = "weights" not in bags.fields
    counts = [np.ones(n) if alike else own_weights(bags, i) for i, n in enumerate(bags.n_patches)]
    return np.concatenate([part / part.sum() for part in counts])
