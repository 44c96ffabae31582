"""What all patch selectors share: images in, the same images with fewer patches and their weights out."""

from abc import abstractmethod
from numbers import Integral
from warnings import warn

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from patchdistill._compat import _check_feature_names, _check_n_features, _fit_context
from patchdistill.forms import BagOutputMixin, check_bags, check_features, own_weights, restore_form


class BasePatchSelector(BagOutputMixin, TransformerMixin, BaseEstimator, auto_wrap_output_keys=None):
    """What every selector shares: images in, the same images with fewer patches out.

    A selector has a parameter `rate` and a method ``_choose(bags)`` that returns one
    :class:`patchdistill.ranking.Choice` per image, and a dict of whatever else :meth:`fit` is to store.
    """

    # Whether patches that are no features pass as they are, unread where they are on disk.
    _takes_pixels = False

    @abstractmethod
    def _choose(self, bags):
        """Choose patches of every image."""

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Select the patches of the given images, for a look at them.

        Nothing is learned from one image about another: :meth:`transform` selects anew on the images it gets.

        Parameters
        ----------
        X : PatchBags, list of array-like of shape (n_patches_i, n_features), or array of shape \
(n_images, n_patches, n_features)
            Images.
        y : object, default=None
            Ignored.

        Returns
        -------
        self : object
            Fitted selector.
        """
        self._fit(X)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def fit_transform(self, X, y=None):
        """Select the patches of the given images and keep them; each image is solved once.

        Parameters
        ----------
        X : PatchBags, list of array-like of shape (n_patches_i, n_features), or array of shape \
(n_images, n_patches, n_features)
            Images.
        y : object, default=None
            Ignored.

        Returns
        -------
        PatchBags, list of ndarray, or ndarray
            The same images with the kept patches, in their original order, in the form that came in.
        """
        bags, form = self._fit(X)
        return self._restore(bags, form, self.selected_idx_, self.weights_)

    def transform(self, X):
        """Keep the selected patches of every image.

        Parameters
        ----------
        X : PatchBags, list of array-like of shape (n_patches_i, n_features), or array of shape \
(n_images, n_patches, n_features)
            Images.

        Returns
        -------
        PatchBags, list of ndarray, or ndarray
            The same images with the kept patches, in their original order, in the form that came in.
        """
        check_is_fitted(self)
        bags, form = self._read(X, reset=False)
        choices, _ = self._choose(bags)
        return self._restore(bags, form, [choice.kept for choice in choices], _weights(bags, choices))

    def get_support(self, indices=False):
        """Which patches of the images seen in fit were kept.

        Parameters
        ----------
        indices : bool, default=False
            Whether to give indices instead of masks.

        Returns
        -------
        list of ndarray
            For each image a mask (n_patches_i,), or ascending indices (n_kept_i,).
        """
        check_is_fitted(self)
        return self.selected_idx_ if indices else self.support_

    def _fit(self, X):
        bags, form = self._read(X, reset=True)
        choices, learned = self._choose(bags)
        self.ranking_ = [choice.ranking for choice in choices]
        self.selected_idx_ = [choice.kept for choice in choices]
        self.weights_ = _weights(bags, choices)
        self.support_ = [
            np.isin(np.arange(n), kept) for n, kept in zip(bags.n_patches, self.selected_idx_, strict=True)
        ]
        for name, value in learned.items():
            setattr(self, name, value)
        if isinstance(self.rate, Integral) and (short := np.flatnonzero(bags.n_patches < self.rate)).size:
            warn(
                f"rate={self.rate} asks for more patches than {len(short)} of {len(bags)} images have "
                f"(image {short[0]} has {bags.n_patches[short[0]]}); all of theirs are kept.",
                UserWarning,
                stacklevel=3,
            )
        return bags, form

    def _read(self, X, reset):
        """Images as bags, checked; the number of features is learned or compared."""
        _check_feature_names(self, X, reset=reset)
        bags, form = check_bags(X)
        are_pixels = self._takes_pixels and len(bags.values.shape) > 2
        if getattr(self, "embedding", None) is None and not are_pixels:
            bags = bags.with_values(check_features(bags.values, bags.offsets))
        self._read_n_features(bags.values, reset)
        return bags, form

    def _read_n_features(self, values, reset):
        """Learn the number of features, or compare it."""
        if getattr(self, "embedding", None) is None:
            _check_n_features(self, values, reset=reset)
        elif reset:  # the first embedding will tell
            vars(self).pop("n_features_in_", None)

    def _restore(self, bags, form, kept, weights):
        """Give the same images with the kept patches and their weights, in the form that came in."""
        bags = bags.take(kept)
        return restore_form(bags.with_values(bags.values, weights=np.concatenate(weights)), form)


def _weights(bags, choices):
    """Weights of each image's kept patches."""
    return [choice.weights(own_weights(bags, i)) for i, choice in enumerate(choices)]
