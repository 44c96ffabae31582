"""Patch selectors for many images, as scikit-learn transformers."""

from abc import abstractmethod
from warnings import warn

import numpy as np
from joblib import Parallel, delayed
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted, check_memory

from patchdistill._compat import _check_feature_names, _check_n_features, _fit_context
from patchdistill.forms import BagOutputMixin, check_bags, check_features, restore_form
from patchdistill.ranking import check_rate, n_keep, rank
from patchdistill.selection import PARAMETER_CONSTRAINTS, SOLUTION_PARAMETERS, convergence_message, embed, score_patches


class BasePatchSelector(BagOutputMixin, TransformerMixin, BaseEstimator, auto_wrap_output_keys=None):
    """What every selector shares: images in, the same images with fewer patches out.

    A selector has a parameter `rate` and a method ``_rank_images(bags)`` that returns the rankings of the images'
    patches, best first, and a dict of whatever else :meth:`fit` is to store.
    """

    @abstractmethod
    def _rank_images(self, bags):
        """Rank the patches of every image, best first."""

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
        return restore_form(bags.take(self.selected_idx_), form)

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
        rankings, _ = self._rank_images(bags)
        return restore_form(bags.take(self._kept(rankings)), form)

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
        check_rate(self.rate)
        bags, form = self._read(X, reset=True)
        self.ranking_, learned = self._rank_images(bags)
        self.selected_idx_ = self._kept(self.ranking_)
        self.support_ = [
            np.isin(np.arange(n), kept) for n, kept in zip(bags.n_patches, self.selected_idx_, strict=True)
        ]
        for name, value in learned.items():
            setattr(self, name, value)
        if not isinstance(self.rate, float) and (short := np.flatnonzero(bags.n_patches < self.rate)).size:
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
        if getattr(self, "embedding", None) is None:
            bags = bags.with_values(check_features(bags.values, bags.offsets))
            _check_n_features(self, bags.values, reset=reset)
        elif reset:  # the first embedding will tell
            vars(self).pop("n_features_in_", None)
        return bags, form

    def _kept(self, rankings):
        return [np.sort(ranking[: n_keep(len(ranking), self.rate)]) for ranking in rankings]


class ResidualPatchSelector(BasePatchSelector):
    """Keep, in every image, the patches that its own similarity structure explains best (or worst).

    For each image a convex problem is solved: few features of the patches' embeddings are to explain the leading
    eigenvectors of the patches' affinity, and what they leave unexplained of a patch is its score. Images are
    independent of each other, the result is deterministic and comes with a duality gap, a proof of how far from
    optimal it can be.

    Parameters
    ----------
    h : int, default=10
        Number of leading eigenvectors of the affinity that make the target, at most the number of patches.
    metric : {"euclidean", "manhattan", "mahalanobis", "cosine"} or callable, default="euclidean"
        Distance between patches, see :func:`patchdistill.similarity.pairwise_distances`.
    rate : float or int, default=0.45
        Share of each image's patches to keep, in (0, 1] and rounded up, or their number. Mind that ``1.0`` keeps all
        and ``1`` keeps one.
    keep : {"low", "high"}, default="low"
        Whether the patches with the lowest or the highest scores are kept.
    alpha : float, default=0.1
        Penalty of the features' coefficients, as a share in (0, 1] of the smallest one at which all are zero.
    beta : float, default=0.3
        Penalty of the residuals, in units of the smallest one at which no patch is an outlier when nothing is
        explained; ``numpy.inf`` allows no outliers.
    bandwidth : float, default=4.0
        Of the affinity, as a multiple of the median squared distance.
    normalize : {"rows", "columns"} or None, default="rows"
        ``"rows"`` scales each patch's embedding to unit norm, right for the activations of a network; ``"columns"``
        standardizes each feature over the patches first, right for descriptors of mixed units such as
        :class:`patchdistill.embedding.PatchStatistics`.
    embedding : callable, default=None
        Maps the patches of one image, for example pixels (n_patches, size, size, 3), to embeddings (n_patches,
        n_features). The patches as given are what is kept.
    solver : {"exact", "published"}, default="exact"
        See :func:`patchdistill.solve`.
    tol : float, default=1e-3
        Relative duality gap at which the exact solver stops.
    max_iter : int, default=1000
        Most steps of the solver, per image.
    random_state : int, RandomState instance or None, default=0
        Start of ``solver="published"``; the exact solver draws no random numbers.
    memory : str or joblib.Memory, default=None
        Where each image's solution is cached. The key leaves out `rate` and `keep`: a search over rates solves each
        image once.
    n_jobs : int, default=None
        Number of parallel workers over images, as in joblib; each uses one BLAS thread. It changes nothing but time.
    verbose : int, default=0
        Progress over images, as in :class:`joblib.Parallel`.

    Attributes
    ----------
    selected_idx_ : list of ndarray of int, shape (n_kept_i,)
        Kept patches of each image seen in fit, ascending.
    support_ : list of ndarray of bool, shape (n_patches_i,)
        The same as masks.
    ranking_ : list of ndarray of int, shape (n_patches_i,)
        All patches, the first to keep first.
    residual_scores_ : list of ndarray of shape (n_patches_i,)
        Relative residuals: 0 is explained perfectly, 1 as badly as not being explained at all.
    objective_, dual_gap_ : ndarray of shape (n_images,)
        Objective reached, and the bound on how far it is above the minimum; absolute.
    n_iter_per_image_ : ndarray of int, shape (n_images,)
        Steps of the solver.
    n_iter_ : int
        Their maximum.
    n_features_in_ : int
        Number of features of the embeddings.
    feature_names_in_ : ndarray of str
        Names of the features, if X was a dataframe (one patch per image).

    See Also
    --------
    select_patches : The same for one image, with the whole solution.
    patchdistill.baselines.RandomPatchSelector : What any claim has to be compared with.

    References
    ----------
    .. [1] A. Sendjasni, S.-E. Benkabou, M.-C. Larabi, "Embedding-Driven Data Distillation for 360-Degree IQA With
       Residual-Aware Refinement", arXiv:2412.12667.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill import ResidualPatchSelector
    >>> rng = np.random.default_rng(0)
    >>> images = [rng.random((n, 64)) for n in (20, 30, 25)]
    >>> selector = ResidualPatchSelector(rate=0.4)
    >>> [len(kept) for kept in selector.fit_transform(images)]
    [8, 12, 10]
    >>> bool((selector.dual_gap_ <= 1e-3 * selector.objective_).all())
    True
    """

    _parameter_constraints = PARAMETER_CONSTRAINTS

    def __init__(
        self,
        h=10,
        metric="euclidean",
        rate=0.45,
        *,
        keep="low",
        alpha=0.1,
        beta=0.3,
        bandwidth=4.0,
        normalize="rows",
        embedding=None,
        solver="exact",
        tol=1e-3,
        max_iter=1000,
        random_state=0,
        memory=None,
        n_jobs=None,
        verbose=0,
    ):
        self.h = h
        self.metric = metric
        self.rate = rate
        self.keep = keep
        self.alpha = alpha
        self.beta = beta
        self.bandwidth = bandwidth
        self.normalize = normalize
        self.embedding = embedding
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.random_state = random_state
        self.memory = memory
        self.n_jobs = n_jobs
        self.verbose = verbose

    def score_samples(self, X):
        """Relative residual of every patch.

        Parameters
        ----------
        X : PatchBags, list of array-like of shape (n_patches_i, n_features), or array of shape \
(n_images, n_patches, n_features)
            Images.

        Returns
        -------
        list of ndarray of shape (n_patches_i,), or ndarray of shape (n_images, n_patches)
            Scores: an array if `X` is one, else a list.
        """
        check_is_fitted(self)
        bags, form = self._read(X, reset=False)
        scores, _ = self._score_images(bags)
        scores = bags.with_values(np.concatenate(scores))
        return scores.to_list() if form == "bags" else restore_form(scores, form)

    def _rank_images(self, bags):
        scores, learned = self._score_images(bags)
        return [rank(image, self.keep) for image in scores], {"residual_scores_": scores, **learned}

    def _score_images(self, bags):
        """Scores of every image's patches, and what is stored about their solutions."""
        parameters = {name: getattr(self, name) for name in SOLUTION_PARAMETERS}
        score = check_memory(self.memory).cache(score_patches)
        images = Parallel(n_jobs=self.n_jobs, verbose=self.verbose)(
            delayed(_scores_and_certificate)(score, E, parameters) for E in self._embeddings(bags)
        )
        scores, objective, dual_gap, n_iter, converged = zip(*images, strict=True)
        objective, dual_gap, n_iter = np.array(objective), np.array(dual_gap), np.array(n_iter)
        if not all(converged):
            gaps = np.divide(dual_gap, objective, out=np.zeros_like(objective), where=objective > 0)
            warn(convergence_message(converged, gaps, self.tol, self.max_iter), ConvergenceWarning, stacklevel=5)
        return list(scores), {
            "objective_": objective,
            "dual_gap_": dual_gap,
            "n_iter_per_image_": n_iter,
            "n_iter_": int(n_iter.max()),
        }

    def _embeddings(self, bags):
        """Embeddings of each image, one at a time."""
        if self.embedding is None:
            yield from bags
            return
        for patches in bags:
            E = embed(patches, self.embedding)
            _check_n_features(self, E, reset=not hasattr(self, "n_features_in_"))
            yield E


def _scores_and_certificate(score, E, parameters):
    """Give what the estimator stores of one image: coefficients of all images would fill the memory."""
    scored = score(E, **parameters)
    solution = scored.solution
    return scored.scores, solution.objective, solution.dual_gap, solution.n_iter, solution.converged
