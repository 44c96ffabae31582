"""One image of 1,000 to 100,000 patches: time and memory of a selection, and what the way for large images changes.

Up to ``LARGEST_DENSE`` patches a selection uses matrices of n x n, above it landmarks, blocks and strata. Both ways are
measured on the same pools: dense grids of patches over panoramas (several of them for more than 8,192), embedded by
random filters. Every selection runs in a process of its own; its memory is what it adds at its peak to that process,
which has loaded the embeddings (Linux only). scikit-matter's farthest point sampling of as many patches is measured
where it is installed.
"""

import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from _common import arguments, growth, write_results
from _large_pools import PlantedPool, dense_pool
from _peers import skmatter_farthest_point
from scipy.stats import spearmanr
from threadpoolctl import threadpool_limits

from patchdistill import select_patches
from patchdistill.large import sizes
from patchdistill.normalization import unit_scale
from patchdistill.outliers import split_core
from patchdistill.quadrature import quadrature_error, quadrature_kernel
from patchdistill.ranking import n_keep
from patchdistill.similarity import pairwise_distances

BLOCKS, DENSE, FPS = "blocks", "dense", "scikit-matter FPS"
SWITCH = {BLOCKS: 1, DENSE: 10**9}
RATE = 0.45
SIZES = {BLOCKS: (1000, 2000, 3000, 5000, 10000, 20000, 50000, 100000), DENSE: (500, 1000, 1500, 2000, 3000, 4000)}
SMOKE_SIZES = {BLOCKS: (30, 60), DENSE: (30, 60)}
PEER_N, PEER_D = 5000, 2048
PLANTED = {2000: 4, 4000: 2}  # patches of a pool, and number of pools
RATES = (0.01, 0.03, 0.1, 0.25, 0.45)
N_RANDOM = 10


def select(E, way, **parameters):
    """Select in one of the two ways, whatever the number of patches."""
    before, sizes.LARGEST_DENSE = sizes.LARGEST_DENSE, SWITCH[way]
    try:
        return select_patches(E, **parameters)
    finally:
        sizes.LARGEST_DENSE = before


def megabytes(field):
    """Resident memory of this process: "VmRSS" now, "VmHWM" at its peak. (getrusage would count the parent's peak.)"""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024 / 1e6


def measure(path, way):
    """Time and memory of one selection, in this process."""
    E = np.load(path)
    k = n_keep(len(E), RATE)
    call = (lambda E: skmatter_farthest_point(E, k, 0)) if way == FPS else (lambda E: select(E, way, rate=RATE))
    with threadpool_limits(limits=1, user_api="blas"):
        skmatter_farthest_point(E[:20], 5, 0) if way == FPS else select(E[:20], way)  # imports what is imported late
        before, wall, cpu = megabytes("VmRSS"), time.perf_counter(), time.process_time()
        result = call(E)
    row = {"way": way, "n": len(E), "d": E.shape[1], "seconds": time.perf_counter() - wall}
    row |= {"cpu_seconds": time.process_time() - cpu, "megabytes": megabytes("VmHWM") - before}
    if way != FPS:
        row |= averages(E, result) | {
            "objective": result.solution.objective,
            "relative_gap": result.solution.dual_gap / result.solution.objective,
            "target_error": float(result.target_error),
            "n_outliers": len(result.outliers),
        }
    return row


def averages(E, selection):
    """Root mean square error of the means and of the deviations of features, in deviations; and by chance."""
    inside = np.setdiff1d(np.arange(len(E)), selection.outliers)
    mean, deviation = moments(E[inside])
    varies = deviation > 0

    def error(kept, weights=None):
        m, s = moments(E[kept], weights)
        return [
            float(np.sqrt(np.mean(((a - b)[varies] / deviation[varies]) ** 2))) for a, b in ((m, mean), (s, deviation))
        ]

    rng = np.random.default_rng(0)
    random = [error(rng.choice(inside, len(selection.indices), replace=False)) for _ in range(3)]
    names = ("error_of_means", "error_of_deviations")
    own = dict(zip(names, error(selection.indices, selection.weights), strict=True))
    by_chance = np.mean(random, axis=0).tolist()
    return own | {f"{name}_random": value for name, value in zip(names, by_chance, strict=True)}


def moments(E, weights=None):
    """Means and deviations of the features."""
    weights = np.full(len(E), 1 / len(E)) if weights is None else weights
    mean = weights @ E
    return mean, np.sqrt(np.maximum(weights @ (E - mean) ** 2, 0.0))


def measured(E, ways):
    """Rows of :func:`measure` for some embeddings, each from a process of its own."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "E.npy"
        np.save(path, E)
        for way in ways:
            command = [sys.executable, __file__, "--features", path, "--way", way]
            rows.append(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout))
            print(
                {key: round(value, 5) if isinstance(value, float) else value for key, value in rows[-1].items()},
                flush=True,
            )
    return rows


def fidelity(pool):
    """What the way for large images changes: scores, outliers, and how well kept patches stand for all."""
    selections = {way: select(pool.E, way, rate=RATE) for way in SWITCH}
    ours, dense = selections.values()
    core, dense_core = (split_core(selection.scores)[0] for selection in (ours, dense))
    row = {
        "n": len(pool.E),
        "spearman": float(spearmanr(ours.scores, dense.scores)[0]),
        "largest_relative_change_of_a_score": float((np.abs(ours.scores - dense.scores) / dense.scores).max()),
        "same_core": float(np.isin(core, dense_core).mean()),
        "same_kept": float(np.isin(ours.indices, dense.indices).mean()),
        "same_kept_by_chance": RATE,
        "outliers": [len(ours.outliers), len(dense.outliers), len(np.intersect1d(ours.outliers, dense.outliers))],
        "target_error": float(ours.target_error),
        "n_auto": [len(select(pool.E, way, rate="auto").indices) for way in SWITCH],
        **{way: pool.judge(selection) for way, selection in selections.items()},
    }
    row["rates"] = [{"rate": rate} | quality(pool.E, dense.outliers, rate) for rate in RATES]
    return row


def quality(E, outliers, rate):
    """Error of the averages, and mean distance to the nearest kept patch, of both ways and by chance."""
    inside = np.setdiff1d(np.arange(len(E)), outliers)
    points = unit_scale(E[inside].astype(float))
    distances = pairwise_distances(points)
    kernel, counts = quadrature_kernel(points, distances), np.full(len(inside), 1 / len(inside))

    def judged(kept, weights):
        among = np.isin(kept, inside)  # one way may keep what the other sets aside
        places = np.searchsorted(inside, kept[among])
        error = quadrature_error(kernel, counts, places, weights[among] / weights[among].sum())
        return [error, float(distances[:, places].min(axis=1).mean() / distances.mean())]

    rng = np.random.default_rng(0)
    k = n_keep(len(E), rate)
    draws = [judged(rng.choice(inside, k, replace=False), np.ones(k)) for _ in range(N_RANDOM)]
    selections = {way: select(E, way, rate=rate) for way in SWITCH}
    results = {way: judged(selection.indices, selection.weights) for way, selection in selections.items()}
    results["random"] = np.mean(draws, axis=0).tolist()
    return {way: {"averages": error, "coverage": coverage} for way, (error, coverage) in results.items()}


def exponents(rows):
    """Growth of time with n, of each way, from a thousand patches on."""
    found = {}
    for way in SWITCH:
        line = [row for row in rows if row["way"] == way]
        line = [row for row in line if row["n"] >= 1000] or line
        found[way] = round(growth([row["n"] for row in line], [row["cpu_seconds"] for row in line]), 2)
    return found


def main():
    parser = arguments(__doc__)
    parser.add_argument(
        "--features", type=Path, help="measure one selection among the embeddings in this .npy, no more"
    )
    parser.add_argument("--way", choices=(BLOCKS, DENSE, FPS), help="how")
    options = parser.parse_args()
    if options.features:
        print(json.dumps(measure(options.features, options.way)))
        return
    smoke = options.smoke
    peers = [FPS] if importlib.util.find_spec("skmatter") else []
    sizes_of, d = (SMOKE_SIZES, 16) if smoke else (SIZES, 512)
    rows = []
    for n in sorted({*sizes_of[BLOCKS], *sizes_of[DENSE]}):
        rows += measured(dense_pool(n, d), [way for way in SWITCH if n in sizes_of[way]])
    with_peer = measured(dense_pool(*((40, 24) if smoke else (PEER_N, PEER_D))), [BLOCKS, *peers])
    changes = []
    with threadpool_limits(limits=1, user_api="blas"):
        for n, n_pools in ({100: 1} if smoke else PLANTED).items():
            for first in range(n_pools):
                changes.append(fidelity(PlantedPool(n, d, first)))
                print(changes[-1], flush=True)
    results = {
        "rate": RATE,
        "largest_dense": sizes.LARGEST_DENSE,
        "rows": rows,
        "growth_of_cpu_seconds": exponents(rows),
        "beside_scikit_matter": with_peer,
        "changes": changes,
    }
    write_results("bench_scale", results, options.out)


if __name__ == "__main__":
    main()
