"""The command `compare`, with a map that can be worked out by hand."""

import csv
import json
import re

import numpy as np
import pytest

from patchdistill.cli import compare, main
from patchdistill.cli import folder as folder_module
from patchdistill.cli.parallel import in_order as _in_order
from patchdistill.datasets import dead_leaves
from patchdistill.relational import comparison
from patchdistill.relational.comparison import compare_files

Image = pytest.importorskip("PIL.Image")

LEAVES = 90 + dead_leaves(64, 128, random_state=0) // 2
NAMES = ("a much.png", "b little.png", "c equal.png")


@pytest.fixture(autouse=True)
def stub(monkeypatch, stub_scorer):
    monkeypatch.setattr(compare, "_load_scorer", lambda map_name: stub_scorer)


@pytest.fixture
def folder(tmp_path):
    """A reference, and versions that are darker in the upper half: by 80, 60 and 0."""
    (tmp_path / "versions").mkdir()
    for name, step in zip(("reference.png", *(f"versions/{name}" for name in NAMES)), (0, 80, 60, 0), strict=True):
        picture = LEAVES.copy()
        picture[:32] -= np.uint8(step)
        Image.fromarray(picture).save(tmp_path / name)
    return tmp_path


def run(*arguments):
    """Exit code of the command."""
    try:
        return main(["compare", *map(str, arguments)])
    except SystemExit as error:
        return error.code


def error_of(capsys, code, *arguments):
    """The one line of a command that fails."""
    assert run(*arguments) == code
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1, printed.err
    assert printed.err.startswith("patchdistill: error: ")
    return printed.err


def write_csv(path, rows, head=("image", "reference")):
    with open(path, "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([head, *rows])
    return path


def test_one_picture(folder, capsys):
    assert run(folder / "versions" / NAMES[0], "--ref", folder / "reference.png") == 0
    assert capsys.readouterr().out == (
        "a much.png  score -0.157\n"
        "  channel   direction   mean  worst tenth  area  box\n"
        "  exposure  darker     -0.16        -0.31   50%  0, 0, 32, 128\n"
        "  unchanged: noise\n"
    )


def test_what_may_be_a_panorama_is_told_of(folder, capsys):
    hint = ": twice as wide as high. Pass --panorama for a whole sphere.\n"
    image, reference = folder / "versions" / NAMES[0], folder / "reference.png"
    assert run(image, "--ref", reference) == 0
    assert capsys.readouterr().err == f"{image}{hint}"
    assert run(folder / "versions", "--ref", reference) == 0
    assert capsys.readouterr().err.endswith(f"{image} and 2 more{hint}")
    for option in ("--panorama", "--quiet"):
        assert run(image, "--ref", reference, option) == 0
        assert capsys.readouterr().err == ""
    for path in (image, reference):
        Image.open(path).crop((0, 0, 127, 64)).save(path)
    assert run(image, "--ref", reference) == 0
    assert capsys.readouterr().err == ""


def test_a_folder_of_versions_is_ranked(folder, capsys):
    assert run(folder / "versions", "--ref", folder / "reference.png", "--quiet") == 0
    printed = capsys.readouterr()
    assert [line for line in printed.out.splitlines() if "score" in line] == [
        "c equal.png  score 0.000  rank 1 of 3",
        "b little.png  score -0.118  rank 2 of 3",
        "a much.png  score -0.157  rank 3 of 3",
    ]
    assert "  unchanged: exposure, noise\n\nb little.png" in printed.out and printed.err == ""


def test_a_table_of_pairs_with_several_references(folder, capsys):
    rows = [(f"versions/{name}", "reference.png") for name in NAMES[:2]] + [("reference.png", f"versions/{NAMES[0]}")]
    table = write_csv(folder / "pairs.csv", [(*row, 3) for row in rows], ("image", "reference", "mos"))
    assert run(table, "--quiet") == 0
    scores = [line for line in capsys.readouterr().out.splitlines() if "score" in line]
    assert scores == [
        "versions/b little.png  score -0.118  rank 1 of 2",
        "versions/a much.png  score -0.157  rank 2 of 2",
        "reference.png  score -0.157",
    ]


def test_the_report(folder, capsys, stub_scorer):
    out = folder / "report"
    arguments = folder / "versions", "--ref", folder / "reference.png", "--out", out
    assert run(*arguments) == 0
    printed = capsys.readouterr()
    assert "compare: 3 images -> " in printed.err and "rank 3 of 3" in printed.out
    assert {path.name for path in out.iterdir()} == {
        *("report.html", "channels.csv", "patchdistill.jsonl"),
        *("a%20much.png.json", "b%20little.png.json", "c%20equal.png.json"),
    }
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.index("c equal.png: score") < page.index("b little.png: score") < page.index("a much.png: score")
    with open(out / "channels.csv", newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    found = compare_files(stub_scorer, folder / "versions" / NAMES[0], folder / "reference.png")
    assert len(rows) == 6 and float(rows[0]["score"]) == found.score and rows[0]["rank"] == "3"
    record = json.loads((out / "a%20much.png.json").read_text(encoding="utf-8"))
    assert record["pictures"] == found.pictures and record["score"] == found.score


def test_a_second_run_does_what_is_new_only(folder, capsys, monkeypatch):
    arguments = folder / "versions", "--ref", folder / "reference.png", "--out", folder / "report"
    assert run(*arguments) == 0
    first = capsys.readouterr().out
    seen = []
    monkeypatch.setattr(comparison, "compare_files", lambda *a: seen.append(a[1].name) or compare_files(*a))
    Image.fromarray(LEAVES // 2).save(folder / "versions" / "d new.png")
    assert run(*arguments) == 0
    assert seen == ["d new.png"]
    printed = capsys.readouterr()
    assert "rank 4 of 4" in printed.out and "3 of 4 images were finished before" in printed.err
    assert printed.out.startswith(first.split("\n")[0].replace("of 3", "of 4"))
    # With another reference, or as panoramas, nothing that is there can be used.
    Image.fromarray(LEAVES // 3).save(folder / "reference.png")
    assert "Use --restart" in error_of(capsys, 1, *arguments)
    assert run(*arguments, "--restart", "--quiet") == 0
    assert len(seen) == 5
    capsys.readouterr()
    assert "Use --restart" in error_of(capsys, 1, *arguments, "--panorama")
    assert "Use --restart" in error_of(capsys, 1, *arguments, "--map", "network")


@pytest.mark.parametrize("with_report", [False, True])
def test_workers_take_images_or_parts_of_the_only_one(folder, monkeypatch, stub_scorer, with_report):
    asked = []

    def in_order(function, items, n_jobs):
        asked.append((n_jobs, stub_scorer.map_.n_jobs))
        return _in_order(function, items, 1)

    monkeypatch.setattr(folder_module, "in_order", in_order)
    for source in (folder / "versions", folder / "versions" / NAMES[0]):
        out = ("--out", folder / f"report of {source.name}") if with_report else ()
        assert run(source, "--ref", folder / "reference.png", "--n-jobs", 2, *out) == 0
    assert asked == [(2, None), (1, 2)]


def test_the_network_is_asked_for_by_name(folder, capsys, monkeypatch, stub_scorer):
    asked = []
    monkeypatch.setattr(compare, "_load_scorer", lambda map_name: asked.append(map_name) or stub_scorer)
    arguments = folder / "versions" / NAMES[0], "--ref", folder / "reference.png", "--quiet"
    assert run(*arguments) == 0
    stub_scorer.map_.n_jobs = "not set"
    assert run(*arguments, "--map", "network", "--n-jobs", 2) == 0
    assert asked == ["classical", "network"]
    assert stub_scorer.map_.n_jobs == "not set"  # PyTorch has threads of its own
    assert run(*arguments, "--map", "neural") == 2
    assert "invalid choice: 'neural'" in capsys.readouterr().err


def test_both_maps_find_what_was_done(folder, capsys, monkeypatch):
    monkeypatch.undo()  # the scorers that come with the package
    for name in ("classical", "network"):
        if name == "network":
            for package in ("torch", "safetensors"):
                pytest.importorskip(package)
        assert run(folder / "versions" / NAMES[0], "--ref", folder / "reference.png", "--quiet", "--map", name) == 0
        assert re.search("exposure +darker", capsys.readouterr().out)


def test_panoramas(folder, capsys):
    out = folder / "report"
    arguments = folder / "versions" / NAMES[0], "--ref", folder / "reference.png", "--panorama"
    assert run(*arguments, "--out", out, "--quiet") == 0
    assert json.loads((out / "a%20much.png.json").read_text())["geometry"] == "panorama"
    assert "the reference, 128 x 64" in (out / "report.html").read_text(encoding="utf-8")
    assert "exposure, down" in (out / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("with_report", [False, True])
def test_a_shift_is_warned_of_once_and_the_rest_is_done(folder, capsys, with_report):
    Image.fromarray(np.roll(LEAVES, 2, axis=1)).save(folder / "versions" / "z.png")
    out = ("--out", folder / "report") if with_report else ()
    assert run(folder / "versions", "--ref", folder / "reference.png", "--quiet", *out) == 0
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1 and printed.err.count("z.png") == 1
    assert printed.err.startswith(f"patchdistill: warning: {folder / 'versions' / 'z.png'} is shifted")
    assert "rank 4 of 4" in printed.out
    if with_report:
        assert "Caution" in (folder / "report" / "report.html").read_text(encoding="utf-8")


def test_arguments_that_do_not_fit(folder, capsys):
    version, reference = folder / "versions" / NAMES[0], folder / "reference.png"
    assert "--ref FILE is needed" in error_of(capsys, 2, version)
    assert "--restart needs --out" in error_of(capsys, 2, version, "--ref", reference, "--restart")
    table = write_csv(folder / "pairs.csv", [("reference.png", "reference.png")])
    assert "leave --ref out" in error_of(capsys, 2, table, "--ref", reference)


def test_tables_that_do_not_fit(folder, capsys):
    path = folder / "pairs.csv"
    write_csv(path, [("reference.png", 1)], ("image", "mos"))
    assert "has no column 'reference'; it needs image and reference" in error_of(capsys, 1, path)
    write_csv(path, [])
    assert "has no rows" in error_of(capsys, 1, path)
    write_csv(path, [("reference.png", "reference.png"), ("x.png", "")])
    assert f"Row 2 of {path} has no reference. Fill it in" in error_of(capsys, 1, path)
    write_csv(path, [("", "x.png")])
    assert f"Row 1 of {path} has no image" in error_of(capsys, 1, path)
    write_csv(path, [("reference.png",)])
    assert "has no reference" in error_of(capsys, 1, path)
    write_csv(path, [("reference.png", "reference.png")] * 2)
    assert f"Row 2 of {path} lists reference.png again" in error_of(capsys, 1, path)
    write_csv(path, [("reference.png", "reference.png"), ("./reference.png", "x.png")])
    assert "lists ./reference.png again" in error_of(capsys, 1, path)
    path.write_bytes(b"image,reference\n\xff\xfe,x\n")
    assert f"{path} cannot be read" in error_of(capsys, 1, path)


def test_files_that_do_not_fit(folder, capsys):
    reference = folder / "reference.png"
    assert "missing.png" in error_of(capsys, 1, folder / "missing.png", "--ref", reference)
    assert "missing.png" in error_of(capsys, 1, reference, "--ref", folder / "missing.png")
    assert "missing.png" in error_of(capsys, 1, reference, "--ref", folder / "missing.png", "--out", folder / "report")
    Image.fromarray(LEAVES[:, :100]).save(folder / "other.png")
    message = error_of(capsys, 1, folder / "other.png", "--ref", reference)
    assert "other.png has 100 x 64 pixels, but its reference" in message
    assert "twice as wide" in error_of(capsys, 1, folder / "other.png", "--ref", folder / "other.png", "--panorama")
    (folder / "empty").mkdir()
    assert "holds no picture" in error_of(capsys, 1, folder / "empty", "--ref", reference)


def test_errors_of_the_map_name_the_file(folder, capsys, monkeypatch, stub_scorer):
    def refuse(*arguments, **options):
        raise ValueError("too small")

    monkeypatch.setattr(type(stub_scorer.map_), "predict_map", refuse)
    path = folder / "versions" / NAMES[0]
    assert f"{path}: too small" in error_of(capsys, 1, path, "--ref", folder / "reference.png")


def test_there_is_no_minus_before_zero(folder, capsys):
    picture = LEAVES.copy()
    picture[0, 0] -= 1
    Image.fromarray(picture).save(folder / "almost.png")
    assert run(folder / "almost.png", "--ref", folder / "reference.png") == 0
    assert capsys.readouterr().out == "almost.png  score 0.000\n  unchanged: exposure, noise\n"
