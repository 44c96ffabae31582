"""What is written down about a run, besides the comparison itself; all of it fits into JSON."""

import os
import platform
from datetime import datetime
from importlib import metadata

import numpy as np
from joblib import effective_n_jobs

from patchdistill import __version__
from patchdistill.demo.agreement import MEASURES, Agreement
from patchdistill.demo.distortions import CLEAN
from patchdistill.demo.study import DEFAULT_RATE, SELECTION, folds

_PACKAGES = ("numpy", "scipy", "scikit-learn", "scikit-image", "pillow", "matplotlib")
_LABEL = "SSIM (structural similarity) to the original, computed with scikit-image; no human ratings"


def describe_setup(images, bags, patch_size, n_jobs, design):
    """Parameters, versions and machine.

    Parameters
    ----------
    images : Images
        The images of the study.
    bags : PatchBags
        Their features.
    patch_size, n_jobs : int
        Side of a patch in pixels; workers.
    design : Design
        Size of the study.

    Returns
    -------
    dict
        In JSON types.
    """
    versions = {"patchdistill": __version__, "Python": platform.python_version()}
    return {
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
        "machine": platform.platform(),
        "n_cores": os.cpu_count(),
        "n_jobs": effective_n_jobs(n_jobs),
        "scenes": list(dict.fromkeys(images.scenes.tolist())),
        "n_images": len(bags),
        "n_patches": design.n_patches,
        "patch_size": patch_size,
        "n_features": bags.values.shape[1],
        "selection": dict(SELECTION),
        "default_rate": DEFAULT_RATE,
        "rates": list(design.rates),
        "n_seeds": design.n_seeds,
        "n_folds": folds(images.scenes).get_n_splits(),
        "label": _LABEL,
        "versions": {**versions, **{name: metadata.version(name) for name in _PACKAGES}},
    }


def mean_labels(images):
    """Mean label of each kind and level of distortion.

    Parameters
    ----------
    images : Images
        The images of the study.

    Returns
    -------
    dict of str to dict of str to float
        By kind, then by level.
    """
    means = {}
    for kind, level in dict.fromkeys(zip(images.kinds.tolist(), images.levels.tolist(), strict=True)):
        if kind != CLEAN:
            chosen = (images.kinds == kind) & (images.levels == level)
            means.setdefault(kind, {})[str(level)] = float(images.labels[chosen].mean())
    return means


def describe_pipeline(pipeline, predicted, expected, images):
    """How well the pipeline as users write it predicts, and how far it is from the study's short cut.

    Parameters
    ----------
    pipeline : Pipeline
        Its ``repr`` is the code.
    predicted, expected : ndarray of shape (n_images,)
        Its predictions, and those of the study for the same parameters.
    images : Images
        The images of the study.

    Returns
    -------
    dict
        In JSON types.
    """
    agreement = Agreement(images.labels, images.scenes, n_resamples=0)(predicted)
    correlations = {key: None if np.isnan(agreement[key][0]) else float(agreement[key][0]) for key in MEASURES}
    return {
        # The cache lies in a temporary folder whose name says nothing and is another one each time.
        "code": repr(pipeline).replace(repr(pipeline["select"].memory), "'cache'"),
        **correlations,
        "largest_difference": float(np.abs(predicted - expected).max()),
    }


def share_of_outliers(outliers, bags, kinds):
    """Share of the patches that the default selection sets aside, for each kind of distortion.

    Parameters
    ----------
    outliers : list of ndarray of int
        Patches of each image that were set aside.
    bags : PatchBags
        All patches.
    kinds : ndarray of str, shape (n_images,)
        Kind of distortion of each image.

    Returns
    -------
    dict of str to float
        By kind, the undistorted images among them.
    """
    counts = np.array([len(image) for image in outliers])
    chosen = {kind: kinds == kind for kind in dict.fromkeys(kinds.tolist())}
    return {kind: float(counts[some].sum() / bags.n_patches[some].sum()) for kind, some in chosen.items()}


def describe_solutions(solutions, tol):
    """Certificates of all images together.

    Parameters
    ----------
    solutions : list of Solved
        One per image.
    tol : float
        Relative gap that was asked for.

    Returns
    -------
    dict
        In JSON types.
    """
    steps = [solved.n_iter for solved in solutions]
    return {
        "tol": tol,
        "n_converged": sum(solved.converged for solved in solutions),
        "largest_gap": float(max(solved.gaps[-1] for solved in solutions)),
        "median_steps": float(np.median(steps)),
        "most_steps": int(max(steps)),
    }
