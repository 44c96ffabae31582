"""The commands `study` and `report`, on a tree in the layout of a published data set, killed and undisturbed."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from patchdistill.cli import main
from patchdistill.datasets import make_cviq_like
from patchdistill.studies import read_study

pytest.importorskip("pandas")
pytest.importorskip("pyarrow")
pytest.importorskip("yaml")

CONFIG = """
manifest: {dataset: cviq, root: CVIQ}
samplings:
  sphere: {sampler: fibonacci, n_patches: 9, patch_size: 16, view: tangent}
selector: {normalize: columns}
h: [2, 3]
rates: [0.3, 0.6]
models:
  ridge: {model: pooled-ridge}
n_seeds: 4
"""
N_CELLS = 4 * (1 + 2 + 2 * 2)
N_FEATURES = 2 * 34
KEYS = ["sampling", "selection", "metric", "h", "rate", "model", "seed"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Synthetic panoramas in the layout of CVIQ, a study of them, and its results."""
    folder = tmp_path_factory.mktemp("cviq")
    make_cviq_like(folder / "CVIQ", n_scenes=2, height=32)
    (folder / "study.yaml").write_text(CONFIG)
    assert main(["study", str(folder / "study.yaml"), "--out", str(folder / "study"), "--quiet"]) == 0
    return folder


def test_a_study_from_the_layout_of_a_data_set(folder):
    results = read_study(folder / "study")
    assert len(results.cells) == results.n_cells == N_CELLS
    assert results.settings["n_images"] == 2 * 34 and results.settings["n_scenes"] == 2
    # Compressed pictures of scenes never seen: any features of noise and blocks tell them apart.
    assert results.cells.query("selection == 'all'").srcc.mean() > 0.5


def test_the_report_is_made_of_the_folder(folder, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    (tmp_path / "paper").mkdir()
    assert main(["report", str(folder / "study"), "--out", str(tmp_path / "paper")]) == 0
    page = tmp_path / "paper" / "report.html"
    assert capsys.readouterr().out.strip() == str(page)
    text = page.read_text()
    assert f"{N_CELLS}" in text and "http" not in text.split("<body")[0]
    assert sorted(path.stem for path in (tmp_path / "paper" / "figures").glob("*.png")) == sorted(
        path.stem for path in (tmp_path / "paper" / "figures").glob("*.pdf")
    )


def start(folder, out):
    command = [sys.executable, "-m", "patchdistill.cli", "study", folder / "study.yaml", "--out", out, "--n-jobs", "2"]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)


def n_files(out):
    cells = out / "cells.jsonl"
    n_cells = max(0, cells.read_bytes().count(b"\n") - 1) if cells.exists() else 0
    return sum(1 for file in out.glob("*/*.npz")) + n_cells


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="the signals of POSIX")
def test_killed_twice_the_results_are_the_same(folder, tmp_path):
    out = tmp_path / "study"
    for n in (30, N_FEATURES + 2 + 5):  # among the features, and among the models
        process = start(folder, out)
        deadline = time.monotonic() + 120
        while n_files(out) < n:
            assert process.poll() is None and time.monotonic() < deadline, process.stderr.read()
            time.sleep(0.005)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    kept = {file: file.stat().st_mtime_ns for file in out.glob("features/*.npz")}
    assert len(kept) == N_FEATURES
    unfinished = read_study(out)
    assert 5 <= len(unfinished.cells) < N_CELLS and unfinished.n_cells == N_CELLS
    assert main(["study", str(folder / "study.yaml"), "--out", str(out), "--quiet"]) == 0
    assert {file: file.stat().st_mtime_ns for file in out.glob("features/*.npz")} == kept
    whole, again = (read_study(one).cells.set_index(KEYS) for one in (folder / "study", out))
    for name in ("srcc", "krcc", "plcc", "rmse", "n_kept"):
        np.testing.assert_array_equal(whole[name], again[name])
    assert not list(out.glob("*/*.tmp"))


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["study", "nowhere.yaml", "--out", "x"], "nowhere.yaml"),
        (["report", "."], "holds no study"),
    ],
)
def test_errors_are_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
