"""What every benchmark shares: pictures, encoders, timing, and the JSON that says where and when it was measured."""

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import statistics
import time
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_info

from patchdistill.demo.scenes import find_scenes
from patchdistill.images import list_images

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("patchdistill", "numpy", "scipy", "scikit-learn", "joblib", "threadpoolctl")


def arguments(description):
    """Command line that all benchmarks have."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, to see that it runs")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    return parser


def write_results(name, results, out=None, indent=1):
    """Write results with the machine, the versions and the date beside them; large ones better without indent."""
    path = out or RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"benchmark": name, "setup": setup(), **results}, indent=indent) + "\n")
    print(f"wrote {path}")


def setup():
    """Machine, versions and date."""
    return {
        "date": datetime.date.today().isoformat(),
        "machine": platform.machine(),
        "processor": _processor(),
        "cpus": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "blas": [
            {key: lib.get(key) for key in ("internal_api", "version", "architecture", "num_threads")}
            for lib in threadpool_info()
            if lib["user_api"] == "blas"
        ],
    }


def _processor():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())


def seconds(function, repeats=5):
    """Median time of a call, after one call to warm up."""
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def growth(sizes, times):
    """Exponent of the power law fitted to times over sizes."""
    return float(np.polyfit(np.log(sizes), np.log(times), 1)[0])


def bundled_paths():
    """Photographs that scikit-image and scikit-learn carry."""
    return sorted(find_scenes()[0].values(), key=lambda path: path.stem)


def data_folder():
    """Folder of the test data, whether it is there or not."""
    return Path(os.environ.get("PATCHDISTILL_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))


def real_paths(folder):
    """Pictures in a folder of the test data where it is, else the bundled photographs."""
    return list_images(data_folder() / folder) if (data_folder() / folder).is_dir() else bundled_paths()


def real_pictures(limit=None, folder="panoramas", width=1280):
    """Pixels of :func:`real_paths` by name, resized to a width."""
    from PIL import Image

    pictures = {}
    for path in real_paths(folder)[:limit]:
        with Image.open(path) as picture:
            height = round(picture.height * width / picture.width)
            pictures[path.stem] = np.asarray(picture.convert("RGB").resize((width, height), Image.Resampling.LANCZOS))
    return pictures


class RandomFilters:
    """Patches to features as a network without training sees them: 7 x 7 random filters, rectified, averaged."""

    def __init__(self, n_filters=2048, seed=0):
        rng = np.random.default_rng(seed)
        filters = rng.standard_normal((7 * 7 * 3, n_filters)).astype(np.float32)
        self.filters = filters / np.linalg.norm(filters, axis=0)
        self.bias = rng.normal(scale=0.05, size=n_filters).astype(np.float32)

    def __call__(self, patches):
        windows = np.lib.stride_tricks.sliding_window_view(patches.astype(np.float32) / 255 - 0.5, (7, 7), axis=(1, 2))
        windows = windows[:, ::4, ::4].reshape(len(patches), -1, 7 * 7 * 3)
        return np.stack([np.maximum(w @ self.filters + self.bias, 0).mean(axis=0) for w in windows])
