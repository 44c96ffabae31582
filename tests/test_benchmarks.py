"""Every benchmark runs, at its smallest size, and says where it was run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"
NEEDED = {
    "bench_backends": ("torch",),
    "study_end_to_end": ("skorch",),
    "bench_large_models": ("skorch", "transformers"),
    "bench_qfm": ("torch", "safetensors"),
    "bench_relational": ("torch", "safetensors"),
    "study_relational": ("torch", "safetensors"),
    "study_qfm": ("torch", "transformers"),
}


@pytest.mark.parametrize(
    "script", sorted([*FOLDER.glob("bench_*.py"), *FOLDER.glob("study_*.py")]), ids=lambda path: path.stem
)
def test_smoke(script, tmp_path):
    for package in NEEDED.get(script.stem, ()):
        pytest.importorskip(package)
    out = tmp_path / "results.json"
    # Without the test data, so that it is the same everywhere.
    environment = {**os.environ, "PATCHDISTILL_TEST_DATA": str(tmp_path)}
    # Other tests run at the same time: threads of all of them would wait for each other.
    environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    subprocess.run([sys.executable, script, "--smoke", "--out", out], check=True, env=environment, capture_output=True)
    results = json.loads(out.read_text())
    assert results["benchmark"] == script.stem
    assert {"date", "processor", "python", "packages"} <= set(results["setup"])


@pytest.mark.parametrize("results", sorted((FOLDER / "results").glob("*.json")), ids=lambda path: path.stem)
def test_committed_results_say_where_and_when(results):
    setup = json.loads(results.read_text())["setup"]
    assert setup["date"].startswith("20") and setup["machine"]
