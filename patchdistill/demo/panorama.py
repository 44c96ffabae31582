"""What the selection keeps of a panorama of which one half is spoiled."""

from typing import NamedTuple

import numpy as np

from patchdistill.bags import PatchBags
from patchdistill.datasets import make_panoramas
from patchdistill.demo.distortions import LEVELS, distort
from patchdistill.demo.scenes import load_scene
from patchdistill.demo.study import DEFAULT_RATE, SELECTION
from patchdistill.embedding import PatchStatistics
from patchdistill.embedding.nss import MIN_WINDOW
from patchdistill.images import read_size
from patchdistill.panorama import LatitudeSampler
from patchdistill.selection import PatchSelection, select_patches

# As strong as it gets, so that the spoiled half is seen in a small figure.
_DISTORTION, _LEVEL = "JPEG", 5

# Patches per height of the panorama: one spans 22.5 degrees at the equator.
_PATCHES_PER_HEIGHT = 8


class PanoramaPart(NamedTuple):
    """The part of the demonstration that knows about the sphere."""

    image: np.ndarray
    patches: PatchBags
    selection: PatchSelection
    shown: list
    results: dict


def select_on_panorama(paths, height, n_patches):
    """Spoil one half of a panorama and look where the kept patches lie.

    Parameters
    ----------
    paths : dict of str to Path
        Pictures by name. The first one that is exactly twice as wide as high is taken to be a panorama; where there is
        none, a synthetic one is made.
    height : int
        Height of the panorama in pixels; lower pictures stay as they are.
    n_patches : int
        Number of patches.

    Returns
    -------
    PanoramaPart
        The spoiled panorama, its patches, what was kept of them, the kept patches to show, and, for ``results.json``,
        the numbers: among them, under ``"spoiled"``, the share of pixels that are spoiled in all patches, in those
        kept, in those kept with their weights, and in those set aside (None where there are none), and how far as many
        random patches would be from all of them (standard deviation).
    """
    name = find_panorama(paths)
    clean = make_panoramas(1, height)[0] if name is None else load_scene(paths[name], 2 * height)
    image, mask = spoil_right_half(clean)
    patch_size = max(MIN_WINDOW, len(image) // _PATCHES_PER_HEIGHT)
    # The places depend on nothing but the size: the patches of the mask tell how much of each patch is spoiled.
    pools = LatitudeSampler(n_patches, patch_size).transform([image, mask])
    patches, spoiled = PatchStatistics().transform(pools[[0]]), pools[1].mean(axis=(1, 2, 3)) / 255
    selection = select_patches(patches[0], rate=DEFAULT_RATE, **SELECTION)
    lon, lat = (patches.field(field, 0) for field in ("lon", "lat"))
    weights = np.zeros(n_patches)
    weights[selection.indices] = selection.weights
    shown = patches_to_show(selection.indices, weights, spoiled, lat)
    results = {
        "picture": name,
        "height": len(image),
        "width": image.shape[1],
        "distortion": _DISTORTION,
        "strength": LEVELS[_DISTORTION][_LEVEL - 1],
        "n_patches": n_patches,
        "patch_size": patch_size,
        "n_kept": len(selection.indices),
        "n_outliers": len(selection.outliers),
        "spoiled": spoiled_shares(spoiled, selection),
        "shown": [{"lon": float(lon[i]), "lat": float(lat[i]), "weight": float(weights[i])} for i in shown],
    }
    return PanoramaPart(image, patches, selection, shown, results)


def find_panorama(paths):
    """Name the first picture that is exactly twice as wide as high; None if there is none.

    Parameters
    ----------
    paths : dict of str to Path
        Pictures by name.

    Returns
    -------
    str or None
        Its name.
    """
    for name, path in paths.items():
        height, width = read_size(path)
        if width == 2 * height:
            return name
    return None


def spoil_right_half(panorama):
    """Compress the half to the right of the middle, longitudes 0 to 180 degrees.

    Parameters
    ----------
    panorama : ndarray of uint8, shape (height, 2 * height, 3)
        The panorama.

    Returns
    -------
    image, mask : ndarray of uint8, shape (height, 2 * height, 3)
        The panorama, spoiled, and where it is: 255 there, 0 elsewhere.
    """
    image, mask = panorama.copy(), np.zeros_like(panorama)
    half = np.s_[:, panorama.shape[1] // 2 :]
    image[half], mask[half] = distort(panorama[half], _DISTORTION, _LEVEL), 255
    return image, mask


def spoiled_shares(spoiled, selection):
    """How much of the patches is spoiled.

    Parameters
    ----------
    spoiled : ndarray of shape (n_patches,)
        Share of each patch that is spoiled.
    selection : PatchSelection
        What was kept of the patches.

    Returns
    -------
    dict of str to float
        Mean share in patches: ``all``, ``kept``, ``weighted`` (kept ones, with their weights), ``outliers`` (None where
        there are none); ``random_sd``, the standard deviation of the mean of as many random patches as are kept.
    """
    kept, n = spoiled[selection.indices], len(spoiled)
    # Of a mean of k out of n values, drawn without replacement.
    random_variance = spoiled.var(ddof=1) * (1 / len(kept) - 1 / n)
    return {
        "all": float(spoiled.mean()),
        "kept": float(kept.mean()),
        "weighted": float(selection.weights @ kept),
        "outliers": float(spoiled[selection.outliers].mean()) if len(selection.outliers) else None,
        "random_sd": float(np.sqrt(random_variance)),
    }


def patches_to_show(kept, weights, spoiled, lat):
    """Choose a kept patch of either half near the equator, and one far from it.

    Parameters
    ----------
    kept : ndarray of int, shape (n_kept,)
        Kept patches.
    weights, spoiled, lat : ndarray of shape (n_patches,)
        Weight of each patch, the share of it that is spoiled, and its latitude in degrees.

    Returns
    -------
    list of int
        The heaviest of those nearest to the equator that are not spoiled at all, the same of those that are wholly
        spoiled, and one as far from the equator as there is; fewer where there are none, or the same one twice.
    """
    order = kept[np.lexsort((-weights[kept], np.abs(lat[kept])))]
    nearest = [order[spoiled[order] == share][:1] for share in (0, 1)]
    return list(dict.fromkeys(np.concatenate([*nearest, order[-1:]]).tolist()))
