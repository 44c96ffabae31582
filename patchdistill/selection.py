"""Selection of the patches of one image: embeddings in, kept patches and their certificate out."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from numbers import Integral, Real

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_memory

from patchdistill._compat import HasMethods, Interval, StrOptions, validate_parameter_constraints
from patchdistill._threads import single_blas_thread
from patchdistill.backends import BACKENDS, uses_torch
from patchdistill.forms import check_features
from patchdistill.large.outliers import find_outliers_of_many
from patchdistill.large.sizes import is_large
from patchdistill.large.strata import represent_many
from patchdistill.large.target import TOLERANCE, inaccuracy_message
from patchdistill.normalization import NORMALIZATIONS, unit_scale
from patchdistill.ordered import OrderedPatches
from patchdistill.outliers import find_outliers, split_core
from patchdistill.ranking import AUTO, Choice, check_rate, n_keep, rank
from patchdistill.representation import representation
from patchdistill.scoring import (
    SOLUTION_PARAMETERS,
    ScoredPatches,
    convergence_message,
    embed,
    score_patches,
    solved_problem,
)
from patchdistill.similarity import METRICS
from patchdistill.solvers import SOLVERS

# What each parameter may be; ResidualPatchSelector has the same ones.
PARAMETER_CONSTRAINTS = {
    "h": [Interval(Integral, 1, None, closed="left")],
    "metric": [StrOptions(set(METRICS)), callable],
    "rate": "no_validation",  # check_rate has one message for all its forms
    "keep": [StrOptions({"low", "high"})],
    "coverage": [StrOptions({"representatives"}), None],
    "outlier_threshold": [Interval(Real, 0, None, closed="right")],
    "alpha": [Interval(Real, 0, 1, closed="right")],
    "beta": [Interval(Real, 0, None, closed="right")],
    "bandwidth": [Interval(Real, 0, None, closed="neither")],
    "normalize": [StrOptions(set(NORMALIZATIONS)), None],
    "embedding": [callable, None],
    "solver": [StrOptions(set(SOLVERS))],
    "tol": [Interval(Real, 0, None, closed="left")],
    "max_iter": [Interval(Integral, 1, None, closed="left")],
    "random_state": ["random_state"],
    "backend": [StrOptions(set(BACKENDS))],
    "device": "no_validation",  # only PyTorch knows its devices
    "memory": [str, HasMethods("cache"), None],
    "n_jobs": [Integral, None],
    "verbose": ["verbose"],
}


def check_choice(rate, keep, coverage):
    """Check the parameters of what is kept, and that they go together.

    Parameters
    ----------
    rate : float, int or "auto"
        How much is kept.
    keep : {"low", "high"}
        Which end of the scores is kept.
    coverage : {"representatives"} or None
        How the image is covered.

    Raises
    ------
    ValueError
        If the rate is not valid, or they do not go together.
    """
    check_rate(rate, auto=True)
    if coverage is None and rate == AUTO:
        raise ValueError(
            'rate="auto" counts the patches that represent the image, and coverage=None represents nothing. '
            'Use coverage="representatives" with it, or give a share or a number.'
        )
    if coverage is not None and keep == "high":
        raise ValueError(
            f'keep="high" keeps the worst explained patches, which coverage={coverage!r} sets aside. '
            "Use coverage=None with it, to rank by the residual alone."
        )


@dataclass(frozen=True)
class PatchSelection:
    """Which patches of one image were kept, and why.

    Attributes
    ----------
    indices : ndarray of int, shape (n_kept,)
        Kept patches, ascending.
    weights : ndarray of shape (n_kept,)
        How much each kept patch counts; they sum to 1. All alike without coverage.
    outliers : ndarray of int
        Patches that were set aside because they stand apart from the rest, ascending; none without coverage.
    ranking : ndarray of int, shape (n_patches,)
        All patches, the first to keep first.
    scores : ndarray of shape (n_patches,)
        Relative residual of each patch: the norm of its misfit over the norm of its target. 0 is explained perfectly,
        1 is as bad as not being explained at all.
    solution : Solution
        Answer of the solver, with its duality gap.
    scored : ScoredPatches
        Scores, solution and target, as the cache keeps them.
    make_problem : callable
        Makes what was solved.
    """

    indices: np.ndarray
    weights: np.ndarray
    outliers: np.ndarray
    ranking: np.ndarray
    scored: ScoredPatches
    make_problem: Callable

    @property
    def scores(self):
        """Relative residual of each patch."""
        return self.scored.scores

    @property
    def solution(self):
        """Answer of the solver."""
        return self.scored.solution

    @cached_property
    def problem(self):
        """What was solved, as a :class:`ResidualProblem`; made anew, since it takes the memory of the embeddings."""
        return self.make_problem()

    @property
    def target_error(self):
        """Relative error of the target.

        Its columns are exact eigenvectors of a matrix that differs from the affinity by at most this share of it, in
        the spectral norm. At most 0.001, and 0 for images of at most 2,000 patches.
        """
        return self.scored.target_error


def select_patches(
    E,
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
    """Keep the patches of one image that its similarity structure explains best (or worst).

    Parameters
    ----------
    E : array-like or Tensor of shape (n_patches, n_features)
        Embeddings of the patches of one image; pixels, one patch per row, if `embedding` is given.
    h : int, default=10
        Number of leading eigenvectors of the affinity that make the target, at most the number of patches.
    metric : {"euclidean", "manhattan", "mahalanobis", "cosine"} or callable, default="euclidean"
        Distance between patches, see :func:`patchdistill.similarity.pairwise_distances`. A callable is for images of at
        most 2,000 patches.
    rate : float, int or "auto", default=0.45
        Share of the patches to keep, in (0, 1] and rounded up, or their number. ``"auto"``, with coverage, keeps as
        few as have the averages of the image to 5 % of a standard deviation, as 400 patches drawn at random would, see
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
        Maps the patches of an image, as given, to their embeddings (n_patches, n_features).
    solver : {"exact", "published"}, default="exact"
        See :func:`patchdistill.solve`.
    tol : float, default=1e-3
        Relative duality gap at which the exact solver stops.
    max_iter : int, default=1000
        Most steps of the solver.
    random_state : int, RandomState instance or None, default=0
        Start of ``solver="published"``; the exact solver draws no random numbers.
    backend : {"auto", "numpy", "torch"}, default="auto"
        What computes: NumPy, or PyTorch with :func:`patchdistill.batched.select_batch`. ``"auto"`` is PyTorch for
        tensors and NumPy for arrays. With PyTorch there is ``solver="exact"`` alone, no metric of your own and no
        `memory`.
    device : str or torch.device, default=None
        Where PyTorch computes: ``"cpu"``, ``"cuda"``, ``"cuda:1"``. None is where a tensor is, and the CPU for arrays.
    memory : str or joblib.Memory, default=None
        Where solutions are cached. The key leaves out `rate` and `keep`.
    n_jobs, verbose : default=None, 0
        Without effect for one image; taken so that an estimator's ``get_params()`` can be passed.

    Returns
    -------
    PatchSelection
        Kept patches, ranking, scores, and the solution with its certificate. Copies of a patch have equal scores,
        equal scores go by index; neither the order of the patches nor the scale of `E` matters. For a tensor it holds
        tensors, where `E` is; its problem is then a :class:`patchdistill.batched.problem.ResidualProblem`. With PyTorch
        the solution has no history.

    Raises
    ------
    ValueError, TypeError
        If a parameter or `E` is not valid.

    Warns
    -----
    ConvergenceWarning
        If the exact solver stopped before it reached `tol`, or the target of an image of more than 2,000 patches, which
        is computed by landmarks and blocks, is not accurate to 0.001.

    See Also
    --------
    ResidualPatchSelector : The same for many images, as a scikit-learn transformer.
    patchdistill.solve : The solver alone.

    Notes
    -----
    The evidence for each default is under :ref:`defaults`.

    Of an image of more than 2,000 patches no matrix of all pairs is formed: memory grows with the size of `E`, the
    error of the target is stated, and what is kept is chosen in strata. How is said by
    :func:`patchdistill.large.target.large_target` and :func:`patchdistill.large.strata.represent_many`.

    References
    ----------
    .. [1] A. Sendjasni, S.-E. Benkabou, M.-C. Larabi, "Embedding-Driven Data Distillation for 360-Degree IQA With
       Residual-Aware Refinement", arXiv:2412.12667.

    Examples
    --------
    >>> import numpy as np
    >>> from patchdistill import select_patches
    >>> E = np.random.default_rng(0).random((20, 64))
    >>> selection = select_patches(E, rate=0.25)
    >>> len(selection.indices)
    5
    >>> bool(selection.solution.dual_gap <= 1e-3 * selection.solution.objective)
    True
    """
    parameters = dict(locals())
    del parameters["E"]
    validate_parameter_constraints(PARAMETER_CONSTRAINTS, parameters, caller_name="select_patches")
    check_choice(rate, keep, coverage)
    if uses_torch(E, parameters):
        from patchdistill.batched.one import select_one

        return select_one(E, parameters)
    E = embed(E, embedding) if embedding is not None else check_features(E)
    solution_parameters = {name: parameters[name] for name in SOLUTION_PARAMETERS}
    patches = OrderedPatches(E, normalize)
    scored = check_memory(memory).cache(score_patches)(patches, **solution_parameters)
    solution = scored.solution
    if not solution.converged:
        gap = solution.dual_gap / solution.objective
        warnings.warn(convergence_message([False], [gap], tol, max_iter), ConvergenceWarning, stacklevel=2)
    if scored.target_error > TOLERANCE:
        warnings.warn(inaccuracy_message([scored.target_error]), ConvergenceWarning, stacklevel=2)
    choice, outliers = choose_patches(patches, scored.scores, **{name: parameters[name] for name in CHOICE_PARAMETERS})
    make_problem = partial(solved_problem, E, normalize, scored)
    return PatchSelection(choice.kept, choice.weights(), outliers, choice.ranking, scored, make_problem)


# The parameters of what follows the solution.
CHOICE_PARAMETERS = ("rate", "keep", "coverage", "outlier_threshold")


def choose_patches(patches, scores, counts=None, *, rate, **parameters):
    """Choose among the scored patches of one image.

    Parameters
    ----------
    patches, scores, counts
        As for :func:`choice_at_rates`.
    rate : float, int or "auto"
        See :func:`select_patches`.
    **parameters : dict
        The other parameters of the choice.

    Returns
    -------
    choice : Choice
        What is kept, and how much it counts.
    outliers : ndarray of int
        Patches set aside, ascending.
    """
    choose, outliers = choice_at_rates(patches, scores, counts, **parameters)
    return choose(rate), outliers


def choice_at_rates(patches, scores, counts=None, *, keep, coverage, outlier_threshold):
    """Prepare the choice among the scored patches of one image, so that another rate takes little time.

    Parameters
    ----------
    patches : OrderedPatches
        The image.
    scores : ndarray of shape (n_patches,)
        Scores of the patches in the order in which they came.
    counts : ndarray of shape (n_patches,), default=None
        How much each patch counts by itself, equally by default.
    keep, coverage, outlier_threshold
        See :func:`select_patches`.

    Returns
    -------
    choose : callable
        Gives the Choice at a rate.
    outliers : ndarray of int
        Patches set aside, ascending.
    """
    if coverage is None:
        ranking = rank(scores, keep)
        return lambda rate: Choice(ranking, n_keep(len(patches), rate)), np.empty(0, np.intp)
    scores = scores[patches.order]
    by_preference = rank(scores)
    order = patches.order[by_preference]
    points = patches.points(by_preference, core=split_core(scores)[0])
    scores = scores[by_preference]
    counts = None if counts is None else counts[order]
    with single_blas_thread():
        if is_large(len(patches)):
            points = unit_scale(points.astype(np.float64, copy=False))
            groups = np.cumsum(~np.isin(np.arange(len(patches)), patches.copies))[by_preference]
            is_outlier = find_outliers_of_many(points, scores, outlier_threshold)
            represented = partial(represent_many, points, groups, is_outlier=is_outlier, counts=counts)
        else:
            distances = patches.distances(points, by_preference)
            is_outlier = find_outliers(distances, scores, outlier_threshold)
            represented = representation(points, distances, is_outlier, counts)

    def choose(rate):
        with single_blas_thread():
            return represented(rate=rate).renumbered(order)

    return choose, np.sort(order[is_outlier])
