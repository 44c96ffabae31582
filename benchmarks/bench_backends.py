"""How many images a second do the backends select from, and how far is that from what the device could do?

Images are the features of panoramas, 180 patches with 2048 random filters each, multiplied entry by entry by noise of
5 %, so that all of them differ. NumPy works through them one by one on one core; PyTorch gets them as float32 tensors
in batches, on the CPU with one thread and with two, and on the GPU where there is one. Sizes of batches end where the
memory or the time does. Times are medians, after one call to warm up.

Beside each time stand the largest relative gap and objective of the batch, the share of the patches about which NumPy
decides alike, and a floor: what the least arithmetic and the least traffic that the method needs would take on this
device at the rates of a product of large matrices and of a copy, float64 both, whichever is more.
"""

import os
import time

import numpy as np
import torch
from _common import RandomFilters, arguments, real_pictures, seconds, write_results
from threadpoolctl import threadpool_limits

from patchdistill import select_patches
from patchdistill.batched import select_batch
from patchdistill.sampling import GridSampler

N, D, H = 180, 2048, 10
BATCHES = (1, 4, 16, 64, 256, 1024, 4096)
NOISE = 0.05
N_COMPARED, BESIDE = 32, 256

# Products of the embeddings with themselves (scores, and the two parts of the kernel of the quadrature), and with
# residuals in the solver: one at its start and one at its end, at least.
N_GRAMS, N_CHECKS = 3, 2
LARGE = 4096
MOST_BYTES = {"cpu": 2 * 2**30, "cuda": 30 * 2**30}
MOST_SECONDS = 60.0


def panoramas(n, d, n_pictures):
    """Features of every picture, (n_pictures, n, d) float32."""
    pools = GridSampler(n_patches=n, patch_size=64).fit_transform(list(real_pictures(n_pictures).values()))
    encode = RandomFilters(d)
    return torch.tensor(np.stack([encode(pool) for pool in pools]))


def make_batch(features, size, device):
    """As many images as asked for, the first ones the same for all sizes and devices."""
    batch = torch.empty(size, *features.shape[1:], device=device)
    for i in range(size):
        generator = torch.Generator().manual_seed(i)
        noise = torch.randn(features.shape[1:], generator=generator)
        batch[i] = features[i % len(features)] * (1 + NOISE * noise)
    return batch


def rates(device, size):
    """Float64 operations per second of a product of matrices, and bytes per second of a copy (read and written)."""
    A = torch.rand(size, size, dtype=torch.float64, device=device)
    B = torch.rand(4 * size, size, dtype=torch.float64, device=device)
    product = timed(lambda: A @ A, device, 3)
    copy = timed(lambda: B.clone(), device, 3)
    return {"operations_per_second": 2 * size**3 / product, "bytes_per_second": 2 * B.nbytes / copy}


def timed(call, device, repeats):
    """Median time of a call, what it started on a GPU included."""

    def whole():
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return seconds(whole, repeats)


def floor(n, d, rate):
    """Seconds per image below which the method cannot go on a device of these rates."""
    operations = N_GRAMS * n * (n + 1) * d + N_CHECKS * 2 * n * d * H
    return max(operations / rate["operations_per_second"], 4 * n * d / rate["bytes_per_second"])


def numpy_loop(batch, repeats):
    """Time per image one by one, and what is kept of each."""
    images = batch.numpy()
    selections = [select_patches(E) for E in images]
    gaps = [s.solution.dual_gap / s.solution.objective for s in selections]
    row = {
        "backend": "numpy",
        "device": "cpu",
        "threads": 1,
        "batch": 1,
        "seconds_per_image": timed(lambda: [select_patches(E) for E in images], torch.device("cpu"), repeats)
        / len(images),
        "relative_gap_max": max(gaps),
        "objective_max": max(s.solution.objective for s in selections),
    }
    return row, [s.indices for s in selections]


def torch_batch(batch, threads, expected, repeats):
    """Time per image of a batch, what it reached, and how far it decides as NumPy does."""
    selection = select_batch(batch, n_jobs=threads)
    whole = timed(lambda: select_batch(batch, n_jobs=threads), batch.device, repeats)
    support = selection.support.cpu().numpy()
    same = [
        np.mean(support[i] == np.isin(np.arange(len(support[i])), kept))
        for i, kept in enumerate(expected[: len(batch)])
    ]
    return {
        "backend": "torch",
        "device": batch.device.type,
        "threads": threads,
        "batch": len(batch),
        "seconds_per_image": whole / len(batch),
        "relative_gap_max": float((selection.dual_gap / selection.objective).max()),
        "objective_max": float(selection.objective.max()),
        "same_patches": float(np.mean(same)),
    }


def beside_numpy(batch, threads, repeats):
    """How many times faster a batch on several threads of the CPU is than NumPy one by one, each taken in turn."""
    images, ratios = batch.numpy(), []
    select_batch(batch, n_jobs=threads)
    for _ in range(repeats):
        start = time.perf_counter()
        for E in images:
            select_patches(E)
        middle = time.perf_counter()
        select_batch(batch, n_jobs=threads)
        ratios.append((middle - start) / (time.perf_counter() - middle))
    return {"batch": len(images), "threads": threads, "ratio": float(np.median(ratios)), "ratios": ratios}


def sweep(features, batches, device, threads, expected, repeats):
    """Rows of all sizes that fit the memory and the time."""
    rows, n, d = [], *features.shape[1:]
    for size in batches:
        if 4 * size * n * d > MOST_BYTES[device.type] or (rows and size * rows[-1]["seconds_per_image"] > MOST_SECONDS):
            print(f"{device} with {threads} threads ends before {size} images")
            break
        rows.append(torch_batch(make_batch(features, size, device), threads, expected, repeats))
        print(rows[-1], flush=True)
    return rows


def main():
    options = arguments(__doc__).parse_args()
    n, d, batches, repeats, large = (30, 64, (1, 4), 1, 256) if options.smoke else (N, D, BATCHES, 3, LARGE)
    features = panoramas(n, d, 2 if options.smoke else 16)
    cpu, n_compared = torch.device("cpu"), max(batches) if options.smoke else N_COMPARED
    devices = [cpu] + ([torch.device("cuda")] if torch.cuda.is_available() else [])
    torch.set_num_threads(1)
    with threadpool_limits(limits=1, user_api="blas"):
        row, expected = numpy_loop(make_batch(features, n_compared, cpu), repeats)
        print(row, flush=True)
        paired = beside_numpy(make_batch(features, min(BESIDE, max(batches)), cpu), min(2, os.cpu_count()), 2 * repeats)
        print(paired, flush=True)
        rate = {device.type: rates(device, large) for device in devices}
        rows = [row]
        for device in devices:
            for threads in sorted({1, min(2, os.cpu_count())}) if device.type == "cpu" else [1]:
                rows += sweep(features, batches, device, threads, expected, repeats)
    for row in rows:
        row["images_per_second"] = 1 / row["seconds_per_image"]
        row["floor_seconds_per_image"] = floor(n, d, rate[row["device"]]) / row["threads"]
    write_results(
        "bench_backends",
        {
            "n": n,
            "d": d,
            "torch": torch.__version__,
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
            "n_compared": n_compared,
            "repeats": repeats,
            "rates_on_one_thread": rate,
            "beside_numpy": paired,
            "rows": rows,
        },
        options.out,
    )


if __name__ == "__main__":
    main()
