"""Two files of results side by side: numbers are matched by what they are of, not by where they stand."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from compare import compare

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"


def results(rows, **setup):
    return {"benchmark": "bench_x", "setup": {"date": "2026-01-01", "processor": "A", **setup}, "rows": rows}


def columns(lines):
    return [line.rsplit(maxsplit=3) for line in lines]


def test_rows_are_matched_by_what_tells_them_apart():
    old = results([{"gap": 0.5, "n_jobs": 1, "seconds": 8.0}, {"gap": 0.4, "n_jobs": 2, "seconds": 5.0}])
    new = results([{"gap": 0.4, "n_jobs": 2, "seconds": 4.0}, {"gap": 0.25, "n_jobs": 1, "seconds": 10.0}])
    assert columns(compare(old, new)) == [
        ["rows / 1 / seconds", "8", "10", "1.250"],
        ["rows / 2 / seconds", "5", "4", "0.800"],
    ]
    assert columns(compare(old, new, every=True)) == [
        ["rows / 1 / gap", "0.5", "0.25", "0.500"],
        ["rows / 1 / seconds", "8", "10", "1.250"],
        ["rows / 2 / seconds", "5", "4", "0.800"],
    ]


def test_rows_that_nothing_tells_apart_are_matched_by_their_places():
    old, new = (results([{"ms": time} for time in times]) for times in ([1.0, 2.0], [3.0, 4.0]))
    assert columns(compare(old, new)) == [["rows / 0 / ms", "1", "3", "3.000"], ["rows / 1 / ms", "2", "4", "2.000"]]


def test_a_new_row_is_told_of_and_moves_no_other():
    rows = [{"backend": "loky", "n_jobs": n, "seconds": float(n)} for n in (1, 2)]
    *lines, last = compare(results(rows[1:]), results(rows))
    assert columns(lines) == [["rows / loky, 2 / seconds", "2", "2", "1.000"]]
    assert last == "Only in the new file: 2 numbers, such as rows / loky, 1 / n_jobs."


def test_nothing_is_divided_by_zero():
    assert columns(compare(results([{"ms": 0}]), results([{"ms": 1}]))) == [["rows / 0 / ms", "0", "1", "-"]]


def test_another_machine_or_version_is_told_of_first():
    old = results([], cpus=2, packages={"numpy": "2.0", "scipy": "1.0"})
    new = {**results([], cpus=4, packages={"numpy": "2.1", "scipy": "1.0"}), "benchmark": "bench_y"}
    assert list(compare(old, new)) == [
        "These are two benchmarks, bench_x and bench_y.",
        "Not the same cpus: 2 -> 4",
        "Not the same numpy: 2.0 -> 2.1",
        "No times, rates or sizes are in both.",
    ]


def shuffled(value, rng):
    if isinstance(value, dict):
        return {name: shuffled(part, rng) for name, part in value.items()}
    if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
        return rng.sample([shuffled(row, rng) for row in value], len(value))
    return value


@pytest.mark.parametrize("path", sorted((FOLDER / "results").glob("*.json")), ids=lambda path: path.stem)
def test_committed_results_are_the_same_in_any_order_of_their_rows(path):
    found = json.loads(path.read_text())
    mixed = {**shuffled(found, random.Random(0)), "setup": found["setup"]}
    assert list(compare(found, mixed, every=True)) == ["No number differs."]


def test_the_command_prints_and_ends_well(tmp_path):
    for name, seconds in (("old", 2.0), ("new", 1.0)):
        (tmp_path / name).write_text(json.dumps(results([{"metric": "cosine", "seconds": seconds}])))
    command = [sys.executable, FOLDER / "compare.py", tmp_path / "old", tmp_path / "new"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert columns(printed.splitlines()) == [["rows / cosine / seconds", "2", "1", "0.500"]]
