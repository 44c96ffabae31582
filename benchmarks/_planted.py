"""Bags of patches in which copies and outliers are planted, and how well a selection copes with them."""

import numpy as np
from scipy.spatial.distance import cdist

N_CLEAN, N_COPIED, N_COPIES, N_OUTLIERS = 120, 12, 3, 24
N_PATCHES = N_CLEAN + N_COPIED * N_COPIES + N_OUTLIERS
N_KEPT = 72
SIZE = 64
PER_KIND = 8
OUTLIER_KINDS = ("blank", "noise", "stripes")

# Kinds of patches; those from OUTLIER on are outliers, in the order of OUTLIER_KINDS.
CLEAN, COPY, OUTLIER = 0, 1, 2


class PlantedBag:
    """180 patches of a photograph: 120 clean ones, 36 near copies of 12 of those, 24 outliers, in random order.

    Parameters
    ----------
    picture : ndarray of uint8, shape (height, width, 3)
        The photograph.
    seed : int
        Which patches are taken and copied, what the outliers look like, and the order.

    Attributes
    ----------
    pixels : ndarray of uint8, shape (180, 64, 64, 3)
        Patches.
    kind : ndarray of int, shape (180,)
        CLEAN, COPY, or OUTLIER plus the position in OUTLIER_KINDS.
    group : ndarray of int, shape (180,)
        Number of the copied patch, for it and its copies; -1 for all others.
    """

    def __init__(self, picture, seed):
        rng = np.random.default_rng(seed)
        top, left = _tiles(picture)
        chosen = rng.choice(len(top), N_CLEAN, replace=False)
        top, left = top[chosen], left[chosen]
        clean = _cut(picture, top, left)
        copies = [
            _cut(picture, top[:N_COPIED], left[:N_COPIED] + 1),
            _cut(picture, top[:N_COPIED] + 1, left[:N_COPIED]),
        ]
        copies.append(np.clip(clean[:N_COPIED].astype(int) + 1, 0, 255).astype(np.uint8))
        outliers = np.concatenate([outlier_patches(kind, PER_KIND, rng) for kind in OUTLIER_KINDS])
        order = rng.permutation(N_PATCHES)
        self.pixels = np.concatenate([clean, *copies, outliers])[order]
        kinds = [CLEAN, COPY, *range(OUTLIER, OUTLIER + len(OUTLIER_KINDS))]
        self.kind = np.repeat(kinds, [N_CLEAN, N_COPIED * N_COPIES] + [PER_KIND] * len(OUTLIER_KINDS))[order]
        group = np.full(N_PATCHES, -1)
        group[:N_COPIED] = np.arange(N_COPIED)
        group[N_CLEAN : N_CLEAN + N_COPIED * N_COPIES] = np.tile(np.arange(N_COPIED), N_COPIES)
        self.group = group[order]


def _tiles(picture):
    """Corners of all tiles: clean patches do not overlap, what overlaps is a copy.

    One pixel is left free to the right and below, for the copies that are shifted.
    """
    height, width = picture.shape[:2]
    top, left = np.mgrid[: height - SIZE : SIZE, : width - SIZE : SIZE]
    return top.ravel(), left.ravel()


def is_large_enough(picture):
    """Whether a picture has enough tiles for a bag."""
    return len(_tiles(picture)[0]) >= N_CLEAN


def _cut(picture, top, left):
    return np.stack([picture[t : t + SIZE, x : x + SIZE] for t, x in zip(top, left, strict=True)])


def outlier_patches(kind, n, rng):
    """Pixels of outliers of one kind."""
    if kind == "noise":
        return rng.integers(0, 256, (n, SIZE, SIZE, 3), dtype=np.uint8)
    if kind == "blank":
        return np.broadcast_to(rng.integers(0, 256, (n, 1, 1, 3), dtype=np.uint8), (n, SIZE, SIZE, 3))
    down, across = np.mgrid[:SIZE, :SIZE]
    angle, period = rng.uniform(0, np.pi, (n, 1, 1)), rng.uniform(4, 16, (n, 1, 1))
    wave = np.sin(2 * np.pi * (down * np.sin(angle) + across * np.cos(angle)) / period) > 0
    return np.repeat(np.where(wave, 255, 0).astype(np.uint8)[..., None], 3, axis=-1)


def judge(bag, E, kept, weights=None):
    """How well the kept patches serve; `coverage` is absolute here and is divided by random's later.

    Parameters
    ----------
    bag : PlantedBag
        What was planted.
    E : ndarray of shape (180, n_features)
        Embeddings.
    kept : ndarray of int
        Kept patches.
    weights : ndarray of shape (n_kept,), default=None
        How much each kept patch counts; equal by default.

    Returns
    -------
    dict
        ``copies_dropped``: of the patches that have copies kept, the share of superfluous ones that went;
        ``originals_present``: share of copied patches that are still there, as themselves or as a copy;
        ``outliers_dropped``; ``coverage``: mean distance of a clean patch to the nearest kept one; ``mean_error`` and
        ``cov_error``: relative errors of the mean and of the covariance of the kept patches, against the clean ones.
    """
    is_kept = np.isin(np.arange(len(E)), kept)
    per_group = np.bincount(bag.group[is_kept & (bag.group >= 0)], minlength=N_COPIED)
    present = per_group > 0
    clean = E[bag.kind == CLEAN]
    return {
        "copies_dropped": float(1 - np.mean((per_group - present) / N_COPIES)),
        "originals_present": float(present.mean()),
        "outliers_dropped": float(1 - is_kept[bag.kind >= OUTLIER].mean()),
        "coverage": float(cdist(clean, E[kept]).min(axis=1).mean()),
        **moment_errors(clean, E[kept], weights),
    }


def moment_errors(clean, kept, weights=None):
    """Relative errors of the mean and of the covariance, in the metric of the features."""
    mean, kept_mean = clean.mean(axis=0), np.average(kept, axis=0, weights=weights)
    A = (clean - mean) / np.sqrt(len(clean))
    w = np.full(len(kept), 1 / len(kept)) if weights is None else weights / np.sum(weights)
    B = (kept - kept_mean) * np.sqrt(w)[:, None]
    # |A'A - B'B|_F from inner products of rows: the covariances themselves are d x d.
    squared = np.sum((A @ A.T) ** 2) + np.sum((B @ B.T) ** 2) - 2 * np.sum((A @ B.T) ** 2)
    return {
        "mean_error": float(np.linalg.norm(kept_mean - mean) / np.sqrt(np.mean(np.sum((clean - mean) ** 2, axis=1)))),
        "cov_error": float(np.sqrt(max(squared, 0.0)) / np.linalg.norm(A @ A.T)),
    }
