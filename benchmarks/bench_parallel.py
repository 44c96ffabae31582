"""How much faster are several workers than one, and what do they cost before they start and in memory?

256 images of 180 x 2048 float32 in one array: embeddings of eight pictures, each time with other noise. One worker is
this process; several are joblib's own processes, or those of a dask.distributed cluster on this machine. Each repeat
times one worker and several, one after the other, and the speedup is the median of the repeats' ratios: what else the
machine does falls on both. Starting the workers is timed apart, with the first small fit, in which they import the
package. CPU seconds are those of all processes together; what they exceed one worker's by is the price of handing over.

dask tells its workers to give memory back to the system at once, and then every array of an image has to be asked for
again. "dask-keeps-memory" is a cluster whose workers keep it, as the user guide recommends.
"""

import os
import statistics
import threading
import time
from contextlib import contextmanager

import dask
import distributed
import joblib
import numpy as np
import psutil
from _common import arguments, real_pictures, write_results
from bench_memory import memory
from bench_solver import D, N, features
from joblib.externals.loky import get_reusable_executor

from patchdistill import ResidualPatchSelector

N_IMAGES, REPEATS = 256, 5
LEARNED = ("selected_idx_", "weights_", "residual_scores_", "objective_", "dual_gap_")


def noisy_images(n_images, n, d, n_pictures):
    """Embeddings of some pictures, in turn, with noise of 2 to 4 % of every feature's spread."""
    rng = np.random.default_rng(0)
    pictures = features(list(real_pictures(n_pictures).values()), n, d)
    images = np.empty((n_images, n, d), dtype=np.float32)
    for i, share in enumerate(np.linspace(0.02, 0.04, n_images)):
        E = pictures[i % len(pictures)]
        images[i] = E + share * E.std(axis=0) * rng.standard_normal((n, d), dtype=np.float32)
    return images


@contextmanager
def joblib_workers(n_jobs):
    """The worker processes that joblib starts by itself, ended afterwards."""
    with joblib.parallel_config(backend="loky", n_jobs=n_jobs):
        yield
    get_reusable_executor().shutdown(wait=True)


@contextmanager
def dask_workers(n_jobs):
    """A cluster on this machine."""
    where = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    with distributed.LocalCluster(n_workers=n_jobs, threads_per_worker=1, processes=True, **where) as cluster:
        with distributed.Client(cluster), joblib.parallel_config(backend="dask"):
            yield


@contextmanager
def dask_workers_that_keep_memory(n_jobs):
    """The same, with glibc's thresholds where one process ends up by itself."""
    environment = "distributed.nanny.pre-spawn-environ"
    with dask.config.set(
        {f"{environment}.MALLOC_TRIM_THRESHOLD_": 2**26, f"{environment}.MALLOC_MMAP_THRESHOLD_": 2**25}
    ):
        with dask_workers(n_jobs):
            yield


WORKERS = {"loky": joblib_workers, "dask": dask_workers, "dask-keeps-memory": dask_workers_that_keep_memory}


def fit(images):
    """A fitted selector, its wall time, and the CPU time of this process and its workers."""
    cpu, begin = cpu_seconds(), time.perf_counter()
    selector = ResidualPatchSelector().fit(images)
    return selector, time.perf_counter() - begin, cpu_seconds() - cpu


def family():
    """This process and its workers."""
    this = psutil.Process()
    return [this, *this.children(recursive=True)]


def cpu_seconds():
    return sum(sum(process.cpu_times()[:2]) for process in family())


def peak_mb(images):
    """Peak memory of all processes during a fit, their shared pages counted once."""
    sizes, done = [], threading.Event()

    def watch():
        while not sizes or not done.wait(0.1):
            sizes.append(sum(memory(process.pid)[1] for process in family()))

    watcher = threading.Thread(target=watch)
    watcher.start()
    fit(images)
    done.set()
    watcher.join()
    return round(float(max(sizes)) / 1e6, 1)


def same(one, other):
    return all(
        all(np.array_equal(a, b) for a, b in zip(getattr(one, name), getattr(other, name), strict=True))
        for name in LEARNED
    )


def measure(backend, n_jobs, images, repeats):
    """Time several workers beside one."""
    pairs = []
    begin = time.perf_counter()
    with WORKERS[backend](n_jobs):
        fit(images[: 2 * n_jobs])
        start = time.perf_counter() - begin
        for _ in range(repeats):
            with joblib.parallel_config(backend="sequential"):
                one, *alone = fit(images)
            several, *together = fit(images)
            pairs.append([*alone, *together])
        peak = peak_mb(images)
    alone, alone_cpu, together, together_cpu = map(list, zip(*pairs, strict=True))
    speedups = [a / b for a, b in zip(alone, together, strict=True)]
    row = {
        "backend": backend,
        "n_jobs": n_jobs,
        "seconds_to_start": start,
        "seconds_one_worker": statistics.median(alone),
        "seconds": statistics.median(together),
        "speedup": statistics.median(speedups),
        "speedup_lowest": min(speedups),
        "speedup_highest": max(speedups),
        "cpu_seconds_one_worker": statistics.median(alone_cpu),
        "cpu_seconds": statistics.median(together_cpu),
        "peak_mb": peak,
        "relative_gap_max": float((several.dual_gap_ / several.objective_).max()),
        "objective_max": float(several.objective_.max()),
        "same_as_one_worker": same(one, several),
    }
    print(row, flush=True)
    return row


def main():
    options = arguments(__doc__).parse_args()
    n_images, n, d, repeats = (12, 20, 32, 1) if options.smoke else (N_IMAGES, N, D, REPEATS)
    load = os.getloadavg()[0]
    images = noisy_images(n_images, n, d, 2 if options.smoke else 8)
    counts = [n_jobs for n_jobs in (2, 4) if n_jobs == 2 or n_jobs <= joblib.cpu_count()]
    write_results(
        "bench_parallel",
        {
            "n_images": n_images,
            "n_patches": n,
            "n_features": d,
            "dtype": "float32",
            "input_mb": round(images.nbytes / 1e6, 1),
            "repeats": repeats,
            "distributed": distributed.__version__,
            "load_before": round(load, 2),
            "peak_mb_one_worker": peak_mb(images),
            "runs": [measure(backend, n_jobs, images, repeats) for n_jobs in counts for backend in WORKERS],
        },
        options.out,
    )


if __name__ == "__main__":
    main()
