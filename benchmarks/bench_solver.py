"""How fast is a whole selection, and how much faster than the published script?

Everything runs on one BLAS thread in one process. Ours is all of ``select_patches``: checks, normalization, distances,
target, solution and certificate. The published times are of the script's iteration alone, with its d x d inverse, and
of its own Mahalanobis call alone, both without the rest of the script. Sizes are swept in both n and d, and the growth
is the exponent of a power law fitted to the medians. Objective and gap stand beside every time.

Beside these: the baseline that drops isolated patches and keeps medoids of the rest, on the same images, as estimators;
and the floor, the time of what no exact selection can do without: reading the embeddings once and
one matrix of inner products, at the rates this machine reaches on them.
"""

import itertools
import time

import numpy as np
from _common import RandomFilters, arguments, growth, real_pictures, seconds, write_results
from scipy.spatial.distance import cdist
from threadpoolctl import threadpool_limits

from patchdistill import ResidualPatchSelector, select_patches, solve
from patchdistill.baselines import TrimmedMedoidsSelector
from patchdistill.embedding import PatchStatistics
from patchdistill.sampling import GridSampler
from patchdistill.similarity import METRICS

N, D = 180, 2048
N_SWEEP, D_SWEEP = (60, 90, 180, 360, 720), (128, 256, 512, 1024, 2048, 4096)
SMOKE_N_SWEEP, SMOKE_D_SWEEP = (20, 40), (32, 64)


def features(pictures, n, d):
    """Embeddings of n patches of every picture, by d random filters."""
    pools = GridSampler(n_patches=n, patch_size=64).fit_transform(pictures)
    encode = RandomFilters(d)
    return [encode(pool) for pool in pools]


def ours(images, repeats, **parameters):
    """Median over images of the median time of a selection, with what it reached."""
    rows = []
    for E in images:
        solution = select_patches(E, **parameters).solution
        rows.append(
            (
                seconds(lambda E=E: select_patches(E, **parameters), repeats),
                solution.dual_gap / solution.objective,
                solution.objective,
                solution.n_iter,
                int(solution.W.any(axis=1).sum()),
            )
        )
    times, gaps, objectives, n_iter, active = map(np.array, zip(*rows, strict=True))
    return {
        "seconds": float(np.median(times)),
        "seconds_slowest_image": float(times.max()),
        "relative_gap_max": float(gaps.max()),
        "objective_mean": float(objectives.mean()),
        "n_iter_median": float(np.median(n_iter)),
        "active_features_median": float(np.median(active)),
    }


def against_published(images, repeats):
    """Times of the script's iteration on our problems, the objective it reaches, and how much faster ours are.

    Each image's ratio is that of times taken one after the other, ours before and after: what else the machine does
    falls on both.
    """
    rows, ratios = [], {tol: [] for tol in (1e-3, 1e-6)}
    for E in images:
        problem = select_patches(E).problem
        before = {tol: seconds(lambda E=E, tol=tol: select_patches(E, tol=tol), repeats) for tol in ratios}
        start = time.perf_counter()
        solution = solve(problem, solver="published")
        rows.append((time.perf_counter() - start, solution.objective, solution.dual_gap / solution.objective))
        for tol, own in ratios.items():
            after = seconds(lambda E=E, tol=tol: select_patches(E, tol=tol), repeats)
            own.append(2 * rows[-1][0] / (before[tol] + after))
        print(rows[-1], {tol: round(own[-1]) for tol, own in ratios.items()}, flush=True)
    medians = dict(zip(("seconds", "objective", "relative_gap"), np.median(rows, axis=0).tolist(), strict=True))
    return medians, {tol: {"median": float(np.median(r)), "range": [min(r), max(r)]} for tol, r in ratios.items()}


def published_mahalanobis(E):
    """Time of the script's own call for Mahalanobis distances, measured once: it takes minutes."""
    E = np.asarray(E, dtype=np.float64)

    def call():
        covariance = np.cov(E, rowvar=False) + 1e-10 * np.eye(E.shape[1])
        cdist(E, E, "mahalanobis", VI=covariance)

    return {"seconds": seconds(call, repeats=1)}


def against_baseline(images, normalize, repeats):
    """Median time over images of our estimator at its defaults and of the baseline, taken in turn, and their ratio."""
    selectors = {
        "default_selection": ResidualPatchSelector(normalize=normalize),
        "trimmed_medoids": TrimmedMedoidsSelector(normalize=None if normalize == "rows" else normalize),
    }
    times = [
        [seconds(lambda E=E, s=selector: s.fit([E]), 1) for selector in selectors.values()]
        for E in images
        for _ in range(repeats)
    ]
    medians = dict(zip(selectors, np.median(times, axis=0).tolist(), strict=True))
    return medians | {"ratio": float(np.median([ours / theirs for ours, theirs in times]))}


def floor(E, repeats):
    """Seconds that reading the embeddings and one Gram matrix in float64 take."""
    rows = E.astype(np.float64)
    return {
        "read_seconds": seconds(lambda: E.astype(np.float64), 5 * repeats),
        "gram_seconds": seconds(lambda: rows @ rows.T, 5 * repeats),
    }


def sweep(pictures, sizes, repeats):
    """Times over n and d, and their growth."""
    n_sweep, d_sweep, n, d = sizes
    rows = []
    for n_i, d_i in {*((k, d) for k in n_sweep), *((n, k) for k in d_sweep)}:
        E = features(pictures[:1], n_i, d_i)[0]
        least = sum(floor(E, repeats).values())
        for metric, tol in itertools.product(("euclidean", "mahalanobis"), (1e-3, 1e-6)):
            row = {"n": n_i, "d": d_i, "metric": metric, "tol": tol, **ours([E], repeats, metric=metric, tol=tol)}
            row["floor_seconds"] = least
            print(n_i, d_i, metric, tol, f"{1e3 * row['seconds']:.1f} ms", flush=True)
            rows.append(row)
    rows.sort(key=lambda row: (row["metric"], row["tol"], row["n"], row["d"]))
    fitted = []
    for metric, tol in itertools.product(("euclidean", "mahalanobis"), (1e-3, 1e-6)):
        chosen = [row for row in rows if row["metric"] == metric and row["tol"] == tol]
        along = {"n": [row for row in chosen if row["d"] == d], "d": [row for row in chosen if row["n"] == n]}
        exponents = {
            f"exponent_in_{axis}": round(growth([r[axis] for r in line], [r["seconds"] for r in line]), 2)
            for axis, line in along.items()
        }
        fitted.append({"metric": metric, "tol": tol, **exponents})
    return rows, fitted


def main():
    options = arguments(__doc__).parse_args()
    n, d, repeats = (40, 64, 1) if options.smoke else (N, D, 5)
    sizes = (SMOKE_N_SWEEP, SMOKE_D_SWEEP, n, d) if options.smoke else (N_SWEEP, D_SWEEP, n, d)
    pictures = list(real_pictures(2 if options.smoke else 8).values())
    with threadpool_limits(limits=1, user_api="blas"):
        images = features(pictures, n, d)
        ours_at = [
            {"metric": metric, "tol": tol, **ours(images, repeats, metric=metric, tol=tol)}
            for metric, tol in itertools.product(METRICS, (1e-3, 1e-6))
        ]
        for row in ours_at:
            print(row, flush=True)
        script, faster = against_published(images, repeats)
        script_mahalanobis = published_mahalanobis(images[0])
        statistics = PatchStatistics().fit([]).transform(GridSampler(n_patches=n, patch_size=64).transform(pictures))
        baseline = {
            "random filters": against_baseline(images, "rows", repeats),
            "PatchStatistics": against_baseline(list(statistics), "columns", repeats),
        }
        print(baseline, flush=True)
        least = floor(images[0], repeats)
        rows, fitted = sweep(pictures, sizes, repeats)
    time_of = {(row["metric"], row["tol"]): row["seconds"] for row in ours_at}
    ratios = {
        "published_iteration_over_ours_euclidean_1e-3": faster[1e-3]["median"],
        "published_iteration_over_ours_euclidean_1e-6": faster[1e-6]["median"],
        "script_mahalanobis_call_over_ours_mahalanobis_1e-3": (
            script_mahalanobis["seconds"] / time_of["mahalanobis", 1e-3]
        ),
        "ours_euclidean_1e-6_over_1e-3": time_of["euclidean", 1e-6] / time_of["euclidean", 1e-3],
    }
    print(ratios)
    write_results(
        "bench_solver",
        {
            "n": n,
            "d": d,
            "n_images": len(images),
            "repeats": repeats,
            "ours": ours_at,
            "published_iteration": script | {"range_of_ratios_1e-3": faster[1e-3]["range"]},
            "script_mahalanobis_call": script_mahalanobis,
            "ratios": ratios,
            "against_baseline": baseline,
            "floor": least,
            "sweep": rows,
            "growth": fitted,
        },
        options.out,
    )


if __name__ == "__main__":
    main()
