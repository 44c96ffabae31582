"""How much memory does `patchdistill select` need for 2,000 images of 180 x 2048 float32 (2.95 GB), and how long?

The input lies in one .npy file. Memory is told three ways: the largest process; all processes, with the pages they
share counted once; and the plain sum, in which they are counted for each.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from _common import arguments, write_results

LIMIT_MB = 600
RANK = 20


def write_features(path, n_images, n, d):
    """Features of low rank plus noise, image by image, so that this script needs no memory either."""
    rng = np.random.default_rng(0)
    with open(path, "wb") as stream:
        header = {"descr": "<f4", "fortran_order": False, "shape": (n_images, n, d)}
        np.lib.format.write_array_header_1_0(stream, header)
        for _ in range(n_images):
            low_rank = rng.standard_normal((n, RANK), dtype="f4") @ rng.standard_normal((RANK, d), dtype="f4")
            stream.write(low_rank + 0.3 * rng.standard_normal((n, d), dtype="f4"))


def processes(root):
    """A process and all that descend from it."""
    try:
        children = Path(f"/proc/{root}/task/{root}/children").read_text().split()
    except OSError:
        return [root]
    return [root] + [process for child in children for process in processes(int(child))]


def memory(process):
    """Resident memory of a process, and its fair share of the pages it shares, in bytes; 0 once it is gone."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        return np.zeros(2)
    sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
    return np.array([sizes["Rss"], sizes["Pss"]])


def measure(features, out, n_jobs, n_images):
    """Run the command once; its peak memory and its pace."""
    command = ["select", str(features), "--out", str(out), "--n-jobs", str(n_jobs), "--quiet"]
    begin = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", "patchdistill.cli", *command])
    peak = np.zeros(2)
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        peak = np.maximum(peak, sum(memory(p) for p in processes(process.pid)))
        time.sleep(0.1)
    seconds = time.monotonic() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"patchdistill {' '.join(command)} ended with code {process.returncode}")
    kilobytes = usage.ru_maxrss / (1024 if sys.platform == "darwin" else 1)
    return {
        "n_jobs": n_jobs,
        "peak_main_process_mb": round(kilobytes * 1024 / 1e6, 1),
        "peak_all_processes_rss_mb": round(peak[0] / 1e6, 1),
        "peak_all_processes_pss_mb": round(peak[1] / 1e6, 1),
        "seconds": round(seconds, 1),
        "images_per_second": round(n_images / seconds, 2),
    }


def main():
    options = arguments(__doc__).parse_args()
    n_images, n, d = (12, 20, 32) if options.smoke else (2000, 180, 2048)
    with tempfile.TemporaryDirectory() as folder:
        features = Path(folder) / "features.npy"
        write_features(features, n_images, n, d)
        size = features.stat().st_size
        runs = [measure(features, Path(folder) / f"{n_jobs}.csv", n_jobs, n_images) for n_jobs in (1, 2)]
        same = (Path(folder) / "1.csv").read_bytes() == (Path(folder) / "2.csv").read_bytes()
    results = {
        "n_images": n_images,
        "n_patches": n,
        "n_features": d,
        "dtype": "float32",
        "input_mb": round(size / 1e6, 1),
        "limit_mb": LIMIT_MB,
        "same_output": same,
        "runs": runs,
    }
    print(results)
    write_results("bench_memory", results, options.out)


if __name__ == "__main__":
    main()
