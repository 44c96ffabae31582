"""Selection of the patches of many images at once: a batch in, kept patches and their certificates out."""

from warnings import warn

from sklearn.exceptions import ConvergenceWarning

from patchdistill._compat import StrOptions, validate_parameter_constraints
from patchdistill.batched.checks import check_batch, check_counts
from patchdistill.batched.chunks import images_per_batch, run_batches
from patchdistill.batched.pipeline import concatenate
from patchdistill.scoring import convergence_message
from patchdistill.selection import PARAMETER_CONSTRAINTS, check_choice
from patchdistill.similarity import METRICS


def select_batch(
    E,
    n_patches=None,
    *,
    counts=None,
    h=10,
    metric="euclidean",
    rate=0.45,
    keep="low",
    coverage="representatives",
    outlier_threshold=3.5,
    alpha=0.1,
    beta=0.3,
    bandwidth=4.0,
    normalize="rows",
    tol=1e-3,
    max_iter=1000,
    n_jobs=None,
    verbose=0,
):
    """Keep patches of every image of a batch, on the device where it is.

    As many images are worked on at once as the memory allows. For each image this is
    :func:`patchdistill.select_patches`: the same problem, solved by the same steps, and the same choice. The arithmetic
    is float64 whatever `E` is, so that float32 embeddings keep the patches they keep there.

    Parameters
    ----------
    E : Tensor of shape (n_images, n_patches, n_features)
        Embeddings, on the CPU or a CUDA device. Images of different sizes are padded at their ends with anything.
    n_patches : Tensor of int, shape (n_images,), default=None
        How many patches of each image are no padding; all by default.
    counts : Tensor of shape (n_images, n_patches), default=None
        How much each patch counts by itself; equally by default.
    h, metric, rate, keep, coverage, outlier_threshold, alpha, beta, bandwidth, normalize, tol, max_iter
        As for :func:`patchdistill.select_patches`; the metric is one of the named ones.
    n_jobs : int, default=None
        Number of threads on the CPU, as in joblib, each with a part of the batch; without effect on a GPU. It changes
        nothing but time.
    verbose : int, default=0
        Progress over parts of the batch, as in :class:`joblib.Parallel`.

    Returns
    -------
    BatchSelection
        Tensors on the device of `E`. Neither the order of the images nor what stands beside an image matters to it,
        but for the last digits.

    Raises
    ------
    ValueError, TypeError
        If a parameter, `E`, `n_patches` or `counts` is not valid.

    Warns
    -----
    ConvergenceWarning
        If the solver stopped before it reached `tol`.

    See Also
    --------
    patchdistill.select_patches : The same for one image.
    patchdistill.ResidualPatchSelector : The same for any number of images, cut into batches that fit the memory.

    Examples
    --------
    >>> import torch
    >>> from patchdistill.batched import select_batch
    >>> E = torch.rand(3, 20, 64, generator=torch.Generator().manual_seed(0))
    >>> selection = select_batch(E, rate=0.25)
    >>> selection.indices.shape, selection.scores.shape
    (torch.Size([3, 5]), torch.Size([3, 20]))
    >>> bool((selection.dual_gap <= 1e-3 * selection.objective).all())
    True
    """
    parameters = dict(locals())
    constraints = {**PARAMETER_CONSTRAINTS, "metric": [StrOptions(set(METRICS))]}
    for name in ("E", "n_patches", "counts"):
        del parameters[name]
    validate_parameter_constraints(constraints, parameters, caller_name="select_batch")
    check_choice(rate, keep, coverage)
    E, n_patches = check_batch(E, n_patches)
    counts = check_counts(counts, n_patches, E)
    size = images_per_batch(*E.shape[1:], E.device)
    pieces = [slice(first, first + size) for first in range(0, len(E), size)]
    selection = concatenate(run_batches(((E[i], n_patches[i], counts[i]) for i in pieces), E.device, parameters))
    if not selection.converged.all():
        gaps = (selection.dual_gap / selection.objective).nan_to_num(nan=0.0)
        message = convergence_message(selection.converged.tolist(), gaps.cpu().numpy(), tol, max_iter)
        warn(message, ConvergenceWarning, stacklevel=2)
    return selection
