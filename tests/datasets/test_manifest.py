import sys

import numpy as np
import pandas
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from patchdistill.datasets import COLUMNS, MOS_KINDS, check_manifest, make_manifest, read_manifest, write_manifest

ROWS = {
    "image": ["a.png", "b/a.png", "b/c.png"],
    "scene": ["pier", "pier", "007"],
    "reference": ["ref.png", "ref.png", None],
    "distortion": ["jpeg", "blur", None],
    "level": [1, 3, 0],
    "mos": [61.25, 20, 1 / 3],
    "mos_std": [4.5, None, 0],
    "mos_kind": ["mos"] * 3,
}


def rows(**changes):
    return pandas.DataFrame({**ROWS, **changes})


@pytest.fixture
def folder(tmp_path):
    for name in ("a.png", "b/a.png", "b/c.png", "ref.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_has_one_form(folder):
    table = check_manifest(rows(note=[1.5, None, 2])[["note", *reversed(COLUMNS)]], folder)
    assert list(table.columns) == [*COLUMNS, "note"]
    assert [str(table[name].dtype) for name in COLUMNS] == ["string"] * 4 + ["Int64", "float64", "float64", "string"]
    assert table["image"].tolist() == ROWS["image"]
    assert table["level"].tolist() == [1, 3, 0]
    assert table["reference"].isna().tolist() == [False, False, True]
    assert table["mos_std"].isna().tolist() == [False, True, False]
    assert_frame_equal(check_manifest(table, folder), table)


def test_the_table_given_stays_as_it_is(folder):
    given_table = rows()
    check_manifest(given_table, folder)
    assert_frame_equal(given_table, rows())


def test_index_of_the_table_does_not_matter(folder):
    table = rows()
    shuffled = table.set_axis([7, 7, 1])
    assert_frame_equal(check_manifest(shuffled, folder), check_manifest(table, folder))


def test_what_is_optional_is_missing(folder):
    table = make_manifest({name: ROWS[name] for name in ("image", "scene", "mos", "mos_kind")}, folder)
    assert list(table.columns) == list(COLUMNS)
    assert table[["reference", "distortion", "level", "mos_std"]].isna().all(axis=None)
    assert table["image"].tolist() == [str(folder / name) for name in ROWS["image"]]


def test_is_made_of_rows_and_of_columns(folder):
    from_rows = make_manifest(rows().to_dict("records"), folder)
    assert_frame_equal(from_rows, make_manifest(ROWS, folder))


def test_numbers_are_names_too(folder):
    table = check_manifest(rows(scene=[3, 3, 12]), folder)
    assert table["scene"].tolist() == ["3", "3", "12"]


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_a_file_gives_back_what_was_written(folder, ending):
    table = make_manifest(rows(scene=["NA", "NA", "nan"], note=[1.5, None, 2]), folder)
    write_manifest(table, folder / f"m{ending}")
    assert_frame_equal(read_manifest(folder / f"m{ending}"), table)
    assert [path.name for path in folder.glob("*.tmp")] == []


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_a_written_manifest_can_be_moved_with_its_pictures(folder, tmp_path_factory, ending):
    outside = tmp_path_factory.mktemp("other") / "far.png"
    outside.touch()
    table = make_manifest(rows(image=[str(folder / "a.png"), outside, "b/c.png"]), folder)
    write_manifest(table, folder / f"m{ending}")
    moved = folder.rename(folder.with_name(f"moved{ending}"))
    read = read_manifest(moved / f"m{ending}")
    assert read["image"].tolist() == [str(moved / "a.png"), str(outside), str(moved / "b/c.png")]
    assert read["reference"].tolist()[:2] == [str(moved / "ref.png")] * 2


def test_relative_paths_start_where_the_file_lies(folder, monkeypatch):
    monkeypatch.chdir(folder / "b")
    write_manifest(check_manifest(rows(), folder), "../m.csv")
    assert (folder / "m.csv").read_text().splitlines()[1].startswith("a.png,pier,ref.png,jpeg,1,61.25,4.5,mos")
    assert read_manifest("../m.csv")["image"].tolist() == [str(folder / name) for name in ROWS["image"]]


@settings(max_examples=30)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=5))
def test_csv_keeps_every_digit(tmp_path_factory, scores):
    path = tmp_path_factory.mktemp("m") / "m.csv"
    images = [f"{i}.png" for i in range(len(scores))]
    write_manifest(pandas.DataFrame({"image": images, "scene": "s", "mos": scores, "mos_kind": "mos"}), path)
    assert read_manifest(path, check_files=False)["mos"].tolist() == scores


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mos": [1, "much", 3]}, r"Row 2 \(b/a.png\) has 'much' in column 'mos', but it must be a number\.$"),
        ({"mos": [1, np.nan, None]}, r"Row 2 \(b/a.png\) has no value in column 'mos', .* finite .* in 1 more rows\."),
        ({"mos": [1, 2, np.inf]}, r"Row 3 \(b/c.png\) has inf in column 'mos', but it must be a finite number"),
        ({"mos_std": [1, -0.5, None]}, r"Row 2 .* has -0.5 in column 'mos_std', but it must be at least 0, or empty"),
        ({"mos_std": [np.inf, 1, None]}, r"Row 1 .* has inf in column 'mos_std'"),
        ({"level": [0, 1.5, None]}, r"Row 2 .* has 1.5 in column 'level', but it must be 0 \(no distortion\) or a pos"),
        ({"level": [0, 1, -1]}, r"Row 3 .* has -1.0 in column 'level'"),
        ({"level": [0, np.inf, 1]}, r"Row 2 .* has inf in column 'level'"),
        ({"level": ["mild", 1, 1]}, r"Row 1 .* has 'mild' in column 'level', but it must be a number"),
        ({"scene": ["s", "s", " "]}, r"Row 3 \(b/c.png\) has no value in column 'scene', but it must be the name of"),
        ({"image": ["a.png", None, "b/c.png"]}, r"Row 2 .* has no value in column 'image', but it must be the path"),
        (
            {"mos_kind": "MOS"},
            r"Row 1 .* has 'MOS' in column 'mos_kind', .* one of mos, dmos, flipped dmos\. .* 2 more",
        ),
        ({"mos_kind": ["dmos", "dmos", "mos"]}, r"Row 3 \(b/c.png\) has mos_kind 'mos', but row 1 has 'dmos'\. A man"),
        ({"image": ["a.png", "b/c.png", "b/../a.png"]}, r"Row 3 \(b/../a.png\) lists the image of row 1 again; 1 row"),
        ({"scene": ["1", "2", "3"]}, r"Row 2 .* is in scene '2', but its reference ref.png belongs to scene '1' else"),
        ({"reference": [None, "b/c.png", None]}, r"Row 2 .* reference b/c.png belongs to scene '007' elsewhere"),
    ],
)
def test_refuses_a_row(changes, message):
    with pytest.raises(ValueError, match=message) as caught:
        check_manifest(rows(**changes), check_files=False)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("column", ["image", "scene", "mos", "mos_kind"])
def test_refuses_a_table_without_a_required_column(column):
    with pytest.raises(ValueError, match=f"The manifest has no column '{column}'; it has .* Required are image, scene"):
        check_manifest(rows().drop(columns=column), check_files=False)


def test_refuses_an_empty_table():
    with pytest.raises(ValueError, match="The manifest has no rows"):
        check_manifest(rows()[:0], check_files=False)


@pytest.mark.parametrize(("mos", "row"), [([0.99, 2, 3], 1), ([1, 5, 5.01], 3)])
def test_refuses_scores_outside_the_range(mos, row):
    assert make_manifest(rows(mos=[1, 5, 3]), check_files=False, mos_range=(1, 5))["mos"].tolist() == [1, 5, 3]
    with pytest.raises(
        ValueError, match=rf"Row {row} .* in column 'mos', but it must be in \[1, 5\], the range of the"
    ):
        make_manifest(rows(mos=mos), check_files=False, mos_range=(1, 5))


def test_refuses_pictures_that_are_not_there(folder):
    (folder / "b" / "a.png").unlink()
    (folder / "b" / "c.png").unlink()
    message = rf"Row 2 \(b/a.png\): there is no file {folder / 'b' / 'a.png'} \(image\); 2 of 3 are missing"
    with pytest.raises(FileNotFoundError, match=message):
        check_manifest(rows(), folder)
    assert len(check_manifest(rows(), folder, check_files=False)) == 3


def test_refuses_references_that_are_not_there(folder):
    (folder / "ref.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"Row 1 .*ref.png \(reference\); 2 of 2 are missing"):
        check_manifest(rows(), folder)


def test_a_folder_is_no_picture(folder):
    with pytest.raises(FileNotFoundError, match=r"Row 1 \(b\)"):
        check_manifest(rows(image=["b", "b/a.png", "b/c.png"]), folder)


def test_errors_name_the_file(folder):
    (folder / "m.csv").write_text("image,scene,mos,mos_kind\na.png,s,61,mos\na.png,s,61,mos\n")
    with pytest.raises(ValueError, match=r"m.csv: Row 2 \(.*a.png\) lists the image of row 1 again"):
        read_manifest(folder / "m.csv")
    (folder / "m.csv").write_text("image,scene,mos,mos_kind\nno.png,s,61,mos\n")
    with pytest.raises(FileNotFoundError, match="m.csv: Row 1"):
        read_manifest(folder / "m.csv")


@pytest.mark.parametrize("act", [read_manifest, lambda path: write_manifest(rows(), path)])
def test_refuses_other_endings(tmp_path, act):
    with pytest.raises(ValueError, match=r"m.xls ends in '.xls', but a manifest ends in .csv or .parquet"):
        act(tmp_path / "m.xls")


def test_nothing_is_written_where_something_is_wrong(folder):
    (folder / "m.csv").write_text("before")
    with pytest.raises(ValueError, match="Row 1"):
        write_manifest(rows(mos=["x", 1, 2]), folder / "m.csv")
    assert (folder / "m.csv").read_text() == "before"
    with pytest.raises(FileNotFoundError, match="no folder"):
        write_manifest(rows(), folder / "nowhere" / "m.csv")


def test_kinds_are_three():
    assert MOS_KINDS == ("mos", "dmos", "flipped dmos")
    for kind in MOS_KINDS:
        assert check_manifest(rows(mos_kind=kind), check_files=False)["mos_kind"].unique().tolist() == [kind]


@pytest.mark.parametrize("act", [lambda: check_manifest(ROWS), lambda: read_manifest("m.csv")])
def test_says_how_to_get_pandas(monkeypatch, act):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"A manifest needs pandas. Install it with:\npip install .*\[studies\]"):
        act()


def test_says_how_to_get_pyarrow(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"A .parquet manifest needs pyarrow. .*\n.*\[studies\]"):
        write_manifest(rows(), tmp_path / "m.parquet")
