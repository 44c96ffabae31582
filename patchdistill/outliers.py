"""Which patches of an image stand apart from what the others have in common."""

import math

import numpy as np
from scipy.linalg import inv

from patchdistill.ranking import rank

# The search starts from the share of the patches that the residuals explain best; more outliers than the rest would
# hide each other.
_CORE = 0.75

# Noise that the predictions allow for, as a share of the core's variance, and the patches of the core that are less
# predictable than the others and set the scale.
_RIDGE = 1e-3
_TYPICAL = 95

# What goes from an image that has outliers, as a share of the outlyingness that shows that it has.
_LOWER = 0.5

# If more than this share of the patches outside the core would go, the jump is the border of a core that is too
# uniform, such as the sky of a night scene or the flat blocks of a strong JPEG, and what lies behind it is the picture.
_BORDER = 0.9


def split_core(scores):
    """Split the patches into those that are explained best, and the others.

    Parameters
    ----------
    scores : ndarray of shape (n_patches,)
        Residual scores; low means well explained.

    Returns
    -------
    core, others : ndarray of int
        Three quarters of the patches, rounded up, and the rest; lowest scores first, equal ones by index.
    """
    ranking = rank(scores)
    return np.split(ranking, [math.ceil(_CORE * len(ranking))])


def find_outliers(distances, scores, threshold):
    """Tell which patches are to be set aside.

    Two thresholds do what one cannot: the outlyingness of a rare but honest patch overlaps with that of a mild
    outlier, and images that have outliers mostly have a striking one.

    Parameters
    ----------
    distances : ndarray of shape (n_patches, n_patches)
        Euclidean distances between the embeddings.
    scores : ndarray of shape (n_patches,)
        Residual scores; low means well explained.
    threshold : float
        Outlyingness that only outliers have. Where a patch exceeds it, all above half of it are outliers, unless these
        are more than nine tenths of the patches outside the core.

    Returns
    -------
    ndarray of bool, shape (n_patches,)
        At most 22.5 % of the patches.
    """
    found = outlyingness(distances, scores)
    outliers = (found > _LOWER * threshold) & (found.max() > threshold)
    _, others = split_core(scores)
    return outliers & (outliers.sum() <= _BORDER * len(others))


def outlyingness(distances, scores):
    r"""How large a jump away from the well explained patches each of the others is.

    The patches with the lowest scores are the core. How well a patch is predicted by the patches of a set `S` is its
    conditional variance in a Gaussian process whose covariance `G` is the inner products of the embeddings, centered
    on the core,

    .. math:: v_i(S) = G_{ii} - G_{iS} (G_{SS} + \lambda I)^{-1} G_{Si} .

    In a forward search the best predicted patch joins the set, the others are predicted anew, and so on. Outlyingness
    is the largest deviation, the root of `v`, that had to be accepted up to the patch's own joining, relative to a
    large one within the core (the 95th percentile, each core patch predicted by the others). Rare content that the
    usual content leads to in small steps stays low; what can be reached only by a jump, and everything behind it, is
    high.

    Parameters
    ----------
    distances : ndarray of shape (n_patches, n_patches)
        Euclidean distances between the embeddings.
    scores : ndarray of shape (n_patches,)
        Residual scores; low means well explained.

    Returns
    -------
    ndarray of shape (n_patches,)
        0 in the core, at least 0 elsewhere; all zeros where the core does not vary. It does not depend on the scale
        of the distances.

    References
    ----------
    .. [1] A. C. Atkinson, M. Riani, A. Cerioli, "Exploring Multivariate Data with the Forward Search", Springer 2004.
    .. [2] C. E. Rasmussen, C. K. I. Williams, "Gaussian Processes for Machine Learning", MIT Press 2006, equations
       2.26 and 5.12.
    """
    n = len(distances)
    core, others = split_core(scores)
    G = _inner_products(distances, core)
    variance = np.mean(np.diag(G)[core])
    result = np.zeros(n)
    if not len(others) or not variance > 0:
        return result
    G /= variance
    inverse = inv(G[np.ix_(core, core)] + _RIDGE * np.eye(len(core)))
    typical = np.percentile(1 / np.diag(inverse) - _RIDGE, _TYPICAL)
    if typical <= _RIDGE * np.finfo(float).eps * n:
        return result
    to_core = G[np.ix_(others, core)]
    covariance = G[np.ix_(others, others)] - to_core @ inverse @ to_core.T
    result[others] = np.sqrt(_largest_accepted(covariance) / typical)
    return result


def _inner_products(distances, core):
    """Inner products of points whose distances are given, centered on the mean of the core."""
    squared, shares = distances**2, np.zeros(len(distances))
    shares[core] = 1 / len(core)
    to_mean = squared @ shares
    return (to_mean[:, None] + to_mean - to_mean @ shares - squared) / 2


def _largest_accepted(covariance):
    """Forward search: the largest variance accepted up to each patch's joining, given the core."""
    variances = np.diag(covariance).copy()
    # A Cholesky factorization that takes the best predicted patch next: only the rows of those that join are needed.
    factor = np.empty_like(covariance)
    largest, accepted = 0.0, np.zeros(len(covariance))
    for k in range(len(covariance)):
        j = variances.argmin()
        largest = max(largest, variances[j])
        accepted[j] = largest
        factor[k] = (covariance[j] - factor[:k, j] @ factor[:k]) / np.sqrt(max(variances[j], 0.0) + _RIDGE)
        variances -= factor[k] ** 2
        variances[j] = np.inf
    return accepted
