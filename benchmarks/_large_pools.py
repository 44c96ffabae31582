"""Pools of very many patches: dense grids over panoramas, with near copies and outliers planted where asked for."""

import numpy as np
from _common import RandomFilters, real_pictures
from _planted import OUTLIER_KINDS, SIZE, outlier_patches

from patchdistill.sampling import cut_patches, grid_positions

WIDTH = 2048
PER_PANORAMA = 8192  # a patch every 16 pixels; more patches than that come from several panoramas, one below the other
N_COPIES = 3
COPIED, OUTLIERS = 0.02, 0.02  # share of the clean patches that have copies, and number of outliers next to theirs


def montage(n, first=0):
    """As many panoramas as n patches need, beginning with one of them, as one tall picture."""
    pictures = list(real_pictures(width=WIDTH).values())
    count = -(-n // PER_PANORAMA)
    return np.concatenate([pictures[(first + k) % len(pictures)] for k in range(count)])


def embed(pixels, d):
    """Embeddings by d random filters, float32."""
    encode = RandomFilters(d)
    return np.concatenate([encode(pixels[start : start + 1000]) for start in range(0, len(pixels), 1000)])


def dense_pool(n, d, patch_size=32, first=0):
    """Embeddings of n patches on an even grid."""
    picture = montage(n, first)
    return embed(cut_patches(picture, *grid_positions(*picture.shape[:2], n, patch_size), patch_size), d)


class PlantedPool:
    """Patches of a panorama, near copies of some of them, and outliers.

    Parameters
    ----------
    n : int
        Number of patches altogether, about.
    d : int
        Number of features.
    first : int
        Which panorama.

    Attributes
    ----------
    E : ndarray of shape (n_patches, d)
        Embeddings.
    group : ndarray of int, shape (n_patches,)
        Number of the copied patch, for it and its copies; -1 for all others.
    is_outlier : ndarray of bool, shape (n_patches,)
        Planted outliers.
    """

    def __init__(self, n, d, first=0):
        rng = np.random.default_rng(first)
        picture = montage(n, first)
        n_clean = round(n / (1 + N_COPIES * COPIED + OUTLIERS))
        n_copied, n_outliers = round(COPIED * n_clean), max(3, round(OUTLIERS * n_clean))
        top, left = grid_positions(*picture.shape[:2], n_clean, SIZE)
        clean = cut_patches(picture, top, left, SIZE)
        chosen = rng.choice(n_clean, n_copied, replace=False)
        # Shifted by a pixel, or brighter by one level.
        across = np.where(left[chosen] > 0, left[chosen] - 1, 1)
        down = np.where(top[chosen] > 0, top[chosen] - 1, 1)
        copies = [cut_patches(picture, top[chosen], across, SIZE), cut_patches(picture, down, left[chosen], SIZE)]
        copies.append(np.clip(clean[chosen].astype(int) + 1, 0, 255).astype(np.uint8))
        per_kind = -(-n_outliers // len(OUTLIER_KINDS))
        outliers = [outlier_patches(kind, per_kind, rng) for kind in OUTLIER_KINDS]
        self.E = embed(np.concatenate([clean, *copies, *outliers]), d)
        self.group = np.full(len(self.E), -1)
        self.group[chosen] = np.arange(n_copied)
        self.group[n_clean : n_clean + N_COPIES * n_copied] = np.tile(np.arange(n_copied), N_COPIES)
        self.is_outlier = np.arange(len(self.E)) >= n_clean + N_COPIES * n_copied

    def judge(self, selection):
        """Share of the superfluous copies and of the outliers that a selection drops, and clean patches set aside."""
        kept = np.zeros(len(self.E), dtype=bool)
        kept[selection.indices] = True
        per_group = np.bincount(self.group[kept & (self.group >= 0)], minlength=self.group.max() + 1)
        present = per_group > 0
        return {
            "copies_dropped": float(1 - np.mean((per_group - present) / N_COPIES)),
            "outliers_dropped": float(1 - kept[self.is_outlier].mean()),
            "clean_set_aside": int((~self.is_outlier[selection.outliers]).sum()),
        }
