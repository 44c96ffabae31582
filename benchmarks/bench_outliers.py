"""Does the score find planted outliers? AUC of both scores and both ends, five kinds of outliers, two encoders.

In each real picture 18 of 180 patches are replaced by outliers of one kind; the AUC is the chance that an outlier
scores higher than a clean patch: 1 is perfect, 0.5 is blind. The AUC of the other end is one minus it. Everything is
measured with both ways to normalize the embeddings, at the defaults of the selector otherwise. The default of beta was
chosen on the panoramas; the photographs were looked at once, afterwards, to confirm it.
"""

import itertools

import numpy as np
from _common import RandomFilters, arguments, real_pictures, write_results
from sklearn.metrics import roc_auc_score

from patchdistill import select_patches
from patchdistill.embedding import PatchStatistics
from patchdistill.problem import row_norms
from patchdistill.sampling import GridSampler

KINDS = ("noise", "blank", "other image", "shuffled features", "isolated points")
SCORES = ("relative", "absolute")
NORMALIZE = ("rows", "columns")
N_PATCHES, N_OUTLIERS, SIZE = 180, 18, 64


def pixels_of(kind, pools, name, rng):
    """Pixels of outliers that are made of pixels."""
    if kind == "noise":
        return rng.integers(0, 256, (N_OUTLIERS, SIZE, SIZE, 3), dtype=np.uint8)
    if kind == "blank":
        return np.broadcast_to(rng.integers(0, 256, (N_OUTLIERS, 1, 1, 3), dtype=np.uint8), (N_OUTLIERS, SIZE, SIZE, 3))
    names = list(pools)
    other = pools[names[(names.index(name) + 1) % len(names)]]
    return other[rng.choice(N_PATCHES, N_OUTLIERS, replace=False)]


def plant(kind, pools, features, name, encode, rng):
    """Embeddings of a picture in which the patches of `rows` are outliers."""
    E = features[name].copy()
    rows = rng.choice(N_PATCHES, N_OUTLIERS, replace=False)
    if kind == "shuffled features":
        E[rows] = rng.permuted(E[rows], axis=1)
    elif kind == "isolated points":
        directions = rng.standard_normal((N_OUTLIERS, E.shape[1]))
        lengths = 3 * np.linalg.norm(E - E.mean(axis=0), axis=1).mean()
        E[rows] = E.mean(axis=0) + lengths * directions / np.linalg.norm(directions, axis=1, keepdims=True)
    else:
        E[rows] = encode(pixels_of(kind, pools, name, rng))
    return E, rows


def auc(E, rows, **parameters):
    """AUC of "high score is an outlier", for both scores."""
    selection = select_patches(E, **parameters)
    is_outlier = np.isin(np.arange(len(E)), rows)
    scores = {"relative": selection.scores, "absolute": row_norms(selection.problem.misfit(selection.solution.W))}
    return {name: roc_auc_score(is_outlier, scores[name]) for name in SCORES}


def measure(pools, encoders):
    """Mean and spread of the AUC over pictures, for every encoder, normalization, kind and score."""
    table = []
    for encoder, encode in encoders.items():
        features = {name: encode(pool) for name, pool in pools.items()}
        for normalize, kind in itertools.product(NORMALIZE, KINDS):
            rng = np.random.default_rng(0)
            planted = [plant(kind, pools, features, name, encode, rng) for name in pools]
            found = [auc(E, rows, normalize=normalize) for E, rows in planted]
            for score in SCORES:
                values = np.array([f[score] for f in found])
                row = {"encoder": encoder, "normalize": normalize, "kind": kind, "score": score}
                row |= {"auc_mean": values.mean(), "auc_sd": values.std(ddof=1), "auc_min": values.min()}
                row["auc_other_end"] = 1 - values.mean()
                row = {name: round(float(v), 4) if name.startswith("auc") else v for name, v in row.items()}
                print(*row.values(), sep="  ", flush=True)
                table.append(row)
    return table


def pixel_pools(pictures):
    """Patches of every picture."""
    sampler = GridSampler(n_patches=N_PATCHES, patch_size=SIZE)
    return {name: sampler.fit_transform([picture])[0] for name, picture in pictures.items()}


def encoders(smoke=False):
    """Both encoders, from pixels to features."""
    statistics = PatchStatistics().fit([])
    return {
        "PatchStatistics": lambda pool: statistics.transform([pool]).values,
        "random filters": RandomFilters(64 if smoke else 2048),
    }


def main():
    options = arguments(__doc__).parse_args()
    results = {"n_patches": N_PATCHES, "n_outliers": N_OUTLIERS}
    for folder in ("panoramas",) if options.smoke else ("panoramas", "photos"):
        pools = pixel_pools(real_pictures(3 if options.smoke else None, folder))
        print(folder, len(pools))
        results[folder] = {"pictures": list(pools), "table": measure(pools, encoders(options.smoke))}
    write_results("bench_outliers", results, options.out)


if __name__ == "__main__":
    main()
