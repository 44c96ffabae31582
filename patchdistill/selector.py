"""The selector for many images, as a scikit-learn transformer."""

from itertools import chain, islice
from numbers import Integral
from warnings import warn

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, check_memory

from patchdistill._compat import _check_n_features
from patchdistill.backends import holds_tensors, uses_torch
from patchdistill.bags import PatchBags
from patchdistill.base import BasePatchSelector
from patchdistill.forms import own_weights, restore_form
from patchdistill.large.target import TOLERANCE, inaccuracy_message
from patchdistill.ordered import OrderedPatches
from patchdistill.scoring import SOLUTION_PARAMETERS, convergence_message, embed, score_patches
from patchdistill.selection import CHOICE_PARAMETERS, PARAMETER_CONSTRAINTS, check_choice, choose_patches

# What a worker gets at a time: several images, because handing over a task costs milliseconds, which is what a small
# image takes; but not many, because dask.distributed warns of tasks above 10 MB, and the last ones run alone.
_TASK_BYTES = 6e6
_TASK_IMAGES = 16

# Larger arrays go to worker processes through files in shared memory, which takes a third of the time of a pipe. joblib
# removes them when its call ends: a call gets this much at most, or else copies of all images would add up.
_SHARED_FROM_BYTES = 1e5
_CALL_BYTES = 256e6


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
    rate : float, int or "auto", default=0.45
        Share of each image's patches to keep, in (0, 1] and rounded up, or their number. Mind that ``1.0`` keeps all
        and ``1`` keeps one. ``"auto"``, with coverage, keeps as few as have the averages of the image to 5 % of a
        standard deviation, as 400 patches drawn at random would, see
        :func:`patchdistill.quadrature.quadrature_error`: simple images keep less.
    keep : {"low", "high"}, default="low"
        With ``coverage=None``, whether the patches with the lowest or the highest scores are kept. With coverage the
        well explained ones are, ``"low"``.
    coverage : {"representatives"} or None, default="representatives"
        ``"representatives"`` sets outliers aside and keeps patches that represent the others, without copies; they
        come with weights. None keeps the patches at one end of the scores, all counting alike.
    outlier_threshold : float, default=3.5
        With coverage, an image that has a patch whose :func:`patchdistill.outliers.outlyingness` is above it loses
        all patches that are above half of it, see :func:`patchdistill.outliers.find_outliers`. ``numpy.inf`` sets none
        aside.
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
        Start of ``solver="published"``, with an int the same for every image; the exact solver draws no random numbers.
    backend : {"auto", "numpy", "torch"}, default="auto"
        What computes: NumPy, one image after the other, or PyTorch, many at once. ``"auto"`` is PyTorch for tensors and
        NumPy for everything else. Tensors in, a stack ``(n_images, n_patches, n_features)`` or a list, are tensors
        out, where they were; what is learned are arrays in any case. With PyTorch there is ``solver="exact"`` alone,
        no metric of your own and no `memory`.
    device : str or torch.device, default=None
        Where PyTorch computes: ``"cpu"``, ``"cuda"``, ``"cuda:1"``. None is where tensors are, and the CPU for arrays.
        As many images are worked on at once as fit the memory.
    memory : str or joblib.Memory, default=None
        Where each image's solution is cached. The key leaves out `rate` and `keep`: a search over rates solves each
        image once.
    n_jobs : int, default=None
        Number of parallel workers over images, as in joblib; each uses one BLAS thread. It changes nothing but time.
        With :class:`joblib.parallel_config` the workers can be those of a cluster. `embedding` is called in this
        process, one image after the other.
        With PyTorch on the CPU they are threads; on a GPU it has no effect.
    verbose : int, default=0
        Progress over images, as in :class:`joblib.Parallel`.

    Attributes
    ----------
    selected_idx_ : list of ndarray of int, shape (n_kept_i,)
        Kept patches of each image seen in fit, ascending.
    support_ : list of ndarray of bool, shape (n_patches_i,)
        The same as masks.
    weights_ : list of ndarray of shape (n_kept_i,)
        How much each kept patch counts, in the order of `selected_idx_`, summing to 1 per image; all alike without
        coverage. They travel with the patches, as the field ``weights`` of PatchBags, and
        :class:`patchdistill.models.BagPooling` uses them. Images that come with that field keep what it says.
    outliers_ : list of ndarray of int
        Patches of each image that were set aside because they stand apart from the rest; none without coverage.
    ranking_ : list of ndarray of int, shape (n_patches_i,)
        All patches, the first to keep first.
    residual_scores_ : list of ndarray of shape (n_patches_i,)
        Relative residuals: 0 is explained perfectly, 1 as badly as not being explained at all.
    objective_, dual_gap_ : ndarray of shape (n_images,)
        Objective reached, and the bound on how far it is above the minimum; absolute.
    target_error_ : ndarray of shape (n_images,)
        Relative error of the target of images of more than 2,000 patches, see :class:`PatchSelection`; 0 of others.
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

    Notes
    -----
    The defaults were measured, see :ref:`defaults`. `coverage` decides: representatives are the only selection that is
    better than random patches both on planted copies and outliers and in front of a trained model. `outlier_threshold`,
    `beta` and `bandwidth` find planted outliers and leave clean panoramas alone; with `coverage`, models on panoramas
    hardly see a change of `h`, `metric`, `alpha`, `beta` or `bandwidth`. `rate` is the share that the method's authors
    report; a tenth is nearly as good for a model that uses the weights. ``keep="high"`` was worse than random patches
    with every model of natural-scene statistics.

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
        coverage="representatives",
        outlier_threshold=3.5,
        alpha=0.1,
        beta=0.3,
        bandwidth=4.0,
        normalize="rows",
        embedding=None,
        solver="exact",
        tol=1e-3,
        max_iter=1000,
        random_state=0,
        backend="auto",
        device=None,
        memory=None,
        n_jobs=None,
        verbose=0,
    ):
        self.h = h
        self.metric = metric
        self.rate = rate
        self.keep = keep
        self.coverage = coverage
        self.outlier_threshold = outlier_threshold
        self.alpha = alpha
        self.beta = beta
        self.bandwidth = bandwidth
        self.normalize = normalize
        self.embedding = embedding
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.random_state = random_state
        self.backend = backend
        self.device = device
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
            Scores: an array if `X` is one, else a list; of tensors for tensors.
        """
        check_is_fitted(self)
        bags, form = self._read(X, reset=False)
        _, _, scores, _ = self._select_images(bags)
        if form == "tensors":
            return bags.like(scores)
        scores = bags.with_values(np.concatenate(scores))
        return scores.to_list() if form == "bags" else restore_form(scores, form)

    def _read(self, X, reset):
        if not (uses_torch(X, self.get_params(deep=False)) and holds_tensors(X)):
            return super()._read(X, reset)
        from patchdistill.batched.images import TensorImages

        images = TensorImages(X)
        self._read_n_features(images[0], reset)
        return images, "tensors"

    def _restore(self, bags, form, kept, weights):
        return bags.take(kept) if form == "tensors" else super()._restore(bags, form, kept, weights)

    def _choose(self, bags):
        check_choice(self.rate, self.keep, self.coverage)
        choices, outliers, scores, learned = self._select_images(bags)
        return choices, {"outliers_": outliers, "residual_scores_": scores, **learned}

    def _select_images(self, bags):
        """Choices, outliers and scores of every image, and what is stored about their solutions."""
        if self.backend == "torch" or not isinstance(bags, PatchBags):
            from patchdistill.batched.chunks import select_images

            images = select_images(bags, self._embedding_of, self.get_params(deep=False))
        else:
            images = self._select_by_workers(bags)
        choices, outliers, scores, *certificates = map(list, zip(*images, strict=True))
        objective, dual_gap, n_iter, converged, target_error = map(np.array, certificates)
        if not converged.all():
            gaps = np.divide(dual_gap, objective, out=np.zeros_like(objective), where=objective > 0)
            warn(convergence_message(converged, gaps, self.tol, self.max_iter), ConvergenceWarning, stacklevel=5)
        if (target_error > TOLERANCE).any():
            warn(inaccuracy_message(target_error), ConvergenceWarning, stacklevel=5)
        return (
            choices,
            outliers,
            scores,
            {
                "objective_": objective,
                "dual_gap_": dual_gap,
                "target_error_": target_error,
                "n_iter_per_image_": n_iter,
                "n_iter_": int(n_iter.max()),
            },
        )

    def _select_by_workers(self, bags):
        """Results of each image, from one process or many."""
        solution = {name: getattr(self, name) for name in SOLUTION_PARAMETERS}
        choice = {name: getattr(self, name) for name in CHOICE_PARAMETERS}
        score = check_memory(self.memory).cache(score_patches)
        embeddings = map(self._embedding_of, bags)
        first = next(embeddings)
        image_bytes = first.nbytes / len(first) * bags.n_patches.max()
        n_together = _images_per_task(image_bytes)
        n_per_call = max(int(_CALL_BYTES // image_bytes), 4 * n_together * effective_n_jobs(self.n_jobs))
        parallel = Parallel(
            n_jobs=self.n_jobs,
            verbose=self.verbose,
            batch_size=n_together,
            pre_dispatch=f"2 * {n_together} * n_jobs",
            max_nbytes=_SHARED_FROM_BYTES,
        )
        tasks = (
            delayed(_select_image)(
                score,
                (OrderedPatches(E, self.normalize), own_weights(bags, i)),
                {**solution, "random_state": state},
                choice,
            )
            for i, (E, state) in enumerate(zip(chain([first], embeddings), self._random_states(len(bags)), strict=True))
        )
        return [result for _ in range(0, len(bags), n_per_call) for result in parallel(islice(tasks, n_per_call))]

    def _random_states(self, n_images):
        """Start of each image: what a worker draws from a generator is not missing from the one in this process."""
        if self.solver == "exact" or isinstance(self.random_state, Integral):
            return [self.random_state] * n_images
        return check_random_state(self.random_state).randint(np.iinfo(np.int32).max, size=n_images).tolist()

    def _embedding_of(self, patches, embed=embed):
        """Embeddings of one image."""
        if self.embedding is None:
            return patches
        E = embed(patches, self.embedding)
        _check_n_features(self, E, reset=not hasattr(self, "n_features_in_"))
        return E


def _images_per_task(image_bytes):
    """How many images a worker gets at a time."""
    return int(np.clip(_TASK_BYTES // image_bytes, 1, _TASK_IMAGES))


def _select_image(score, image, solution_parameters, choice_parameters):
    """Give what the estimator stores of one image: coefficients of all images would fill the memory.

    Patches and counts come as one tuple. joblib hands an array that is an argument of its own to dask.distributed
    apart from the task, where it is lost with the worker that has it; a tuple is sent again with the task.
    """
    patches, counts = image
    scored = score(patches, **solution_parameters)
    choice, outliers = choose_patches(patches, scored.scores, counts, **choice_parameters)
    solution = scored.solution
    certificate = solution.objective, solution.dual_gap, solution.n_iter, solution.converged, scored.target_error
    return choice, outliers, scored.scores, *certificate
