"""What relational quality costs: labelled pairs, fitting a map, and comparing large pictures on the command line."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from _common import arguments, real_paths, seconds, write_results
from PIL import Image

from patchdistill.datasets import dead_leaves
from patchdistill.images import read_image
from patchdistill.relational import ClassicalRelationalMap, DistortionEngine, RelationalScorer

LIMITS = {"pair of 128 px": 0.06, "pair of 512 px": 0.5, "fit": 60.0, "comparison": 30.0}


def main():
    parsed = arguments(__doc__).parse_args()
    smoke = parsed.smoke
    photograph, panorama = real_paths("photos")[0], real_paths("panoramas")[0]
    large, wide = ((600, 400), (512, 256)) if smoke else ((6000, 4000), (4096, 2048))
    picture = read_image(photograph)
    results = {
        "limits": LIMITS,
        "pairs": {
            channels: {f"{size} px": time_pairs(channels, size, 3 if smoke else 100) for size in (128, 512)}
            for channels in ("core6", "full12")
        },
        "fit": time_fit(8 if smoke else 800),
        "score": {"512 x 512": seconds(lambda: score(picture[:512, :512]), 1 if smoke else 5)},
        "comparisons": [
            time_comparison("photograph", photograph, large),
            time_comparison("panorama", panorama, wide, "--panorama"),
            time_comparison("photograph, network", photograph, large, "--map", "network"),
            time_comparison("panorama, network", panorama, wide, "--panorama", "--map", "network"),
        ],
    }
    write_results("bench_relational", results, parsed.out)


def time_pairs(channels, size, n):
    """Time of labelled pairs on one core: median, and the slowest."""
    engine, picture = DistortionEngine(channels, random_state=0), dead_leaves(size)
    times = []
    for index in range(n + 1):
        start = time.perf_counter()
        engine.sample(picture, index)
        times.append(time.perf_counter() - start)
    return {"median": statistics.median(times[1:]), "largest": max(times[1:])}


def time_fit(n_pairs):
    """Time to fit the map that is shipped, with two processes."""
    start = time.perf_counter()
    ClassicalRelationalMap(n_pairs=n_pairs, n_jobs=2).fit()
    return {"n_pairs": n_pairs, "seconds": time.perf_counter() - start}


def score(picture):
    """Score a picture against a noisy one, with the map."""
    noisy = np.clip(picture + np.random.default_rng(0).normal(0, 8, picture.shape), 0, 255).astype(np.uint8)
    return RelationalScorer.pretrained().score(noisy, ref=picture)


def time_comparison(name, path, size, *options):
    """Time and memory of the command, from files to the report, with two jobs; the picture is enlarged to the size."""
    with tempfile.TemporaryDirectory() as folder, Image.open(path) as picture:
        folder = Path(folder)
        large = picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)
        large.save(folder / "reference.png", compress_level=1)
        large.save(folder / "version.jpg", quality=60)
        command = [sys.executable, "-m", "patchdistill.cli", "compare", folder / "version.jpg"]
        command += ["--ref", folder / "reference.png", "--out", folder / "report", "--n-jobs", "2", *options]
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)  # tells of this process alone
        taken = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"{command} failed with exit status {process.returncode}.")
        return {
            "picture": name,
            "megapixels": size[0] * size[1] / 1e6,
            "seconds": taken,
            "peak_memory_gb": usage.ru_maxrss / 1e6,  # in kilobytes, on Linux
            "report_mb": (folder / "report" / "report.html").stat().st_size / 1e6,
        }


if __name__ == "__main__":
    main()
