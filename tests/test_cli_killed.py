"""Real processes that are killed at work, and started again."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from patchdistill.cli import main
from patchdistill.cli import select as select_command
from patchdistill.selection import select_patches

N_IMAGES = 40
pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="the signals of POSIX")


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """Folder with features and the tables of a run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("killed")
    np.save(folder / "features.npy", np.random.default_rng(0).standard_normal((N_IMAGES, 40, 256)).astype("f4"))
    assert main(["select", str(folder / "features.npy"), "--out", str(folder / "whole.csv"), "--quiet"]) == 0
    return folder


def start(work, out, *options):
    command = [sys.executable, "-m", "patchdistill.cli", "select", work / "features.npy", "--out", out, *options]
    # A process started in the background may have been told to ignore Ctrl-C, and hands that on to its children.
    heed = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True, **heed)


def finished(out):
    """Images that the log vouches for."""
    log = out.with_name(out.name + ".part.jsonl")
    return max(0, log.read_bytes().count(b"\n") - 1) if log.exists() else 0


def wait_for(process, out, n):
    deadline = time.monotonic() + 60
    while finished(out) < n:
        assert process.poll() is None and time.monotonic() < deadline, process.stderr.read()
        time.sleep(0.002)


def count_calls(monkeypatch):
    calls = []
    monkeypatch.setattr(
        select_command, "select_patches", lambda E, **keywords: calls.append(1) or select_patches(E, **keywords)
    )
    return calls


@pytest.mark.parametrize("n_jobs, ending", [(1, ".csv"), (2, ".csv"), (2, ".parquet")])
def test_killed_twice_the_table_is_the_same_byte_for_byte(work, tmp_path, monkeypatch, n_jobs, ending):
    whole, out = work / f"whole{ending}", tmp_path / f"table{ending}"
    if ending == ".parquet":
        pytest.importorskip("pyarrow")
        if not whole.exists():
            assert main(["select", str(work / "features.npy"), "--out", str(whole), "--quiet"]) == 0
    for n in (3, 10):
        process = start(work, out, "--n-jobs", str(n_jobs))
        wait_for(process, out, n)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert not out.exists()
    kept = finished(out)
    assert 10 <= kept < N_IMAGES
    calls = count_calls(monkeypatch)
    assert main(["select", str(work / "features.npy"), "--out", str(out), "--quiet"]) == 0
    assert len(calls) <= N_IMAGES - kept  # a line of the log may have been written half
    assert len(calls) >= N_IMAGES - kept - 1
    assert out.read_bytes() == whole.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_ctrl_c_ends_with_a_sentence_and_is_gone_on_from(work, tmp_path, n_jobs):
    out = tmp_path / "table.csv"
    process = start(work, out, "--n-jobs", str(n_jobs))
    wait_for(process, out, 3)
    os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to the workers too
    _, printed = process.communicate(timeout=60)
    assert process.returncode == 130
    assert printed == "patchdistill: interrupted. What is finished is kept; the same command goes on from there.\n"
    assert not out.exists() and finished(out) >= 3
    assert main(["select", str(work / "features.npy"), "--out", str(out), "--quiet"]) == 0
    assert out.read_bytes() == (work / "whole.csv").read_bytes()
