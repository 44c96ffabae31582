"""Readers of panoramas: on the real tables of scores, with empty files in place of the pictures, and on small trees."""

import numpy as np
import pandas
import pytest
from numpy.testing import assert_array_equal
from scipy.io import savemat

from patchdistill.datasets import read_cviq, read_iqaodi, read_jufe, read_mvaqd, read_oiq10k, read_oiqa

READERS = {
    "cviq": read_cviq,
    "oiqa": read_oiqa,
    "mvaqd": read_mvaqd,
    "iqaodi": read_iqaodi,
    "jufe": read_jufe,
    "oiq10k": read_oiq10k,
}
# Small trees: for each data set some files with their scores.
SMALL = {
    "cviq": {"001.png": 70.0, "011.png": 20.0, "034.png": 75.5, "067.png": 30.25},
    "oiqa": {"img1": 8.5, "img2": 7.0, "img30": 3.0, "ref1": 9.0},
    "mvaqd": {"16.png": 4.3, "2.png": 4.2, "31.png": 2.25},
    "iqaodi": {"QF5_ERP_human_P0": 73.7899, "QF15_cmp_human_P0": 38.1707, "QF60_ERP_nature_P1": 32.0},
    "jufe": {"1_len3_bd_1.png": 3.4, "1_len3_len5_bd_3.png": 2.0, "276_len6_len_3_st_2.png": 1.9},
    "oiq10k": {"101_len1_bd_1.png": 2.2, "101_len1_len2_gn_3.png": 1.2, "dis7.jpeg": 1.5, "ref12.jpg": 2.9},
}


def make_tree(root, names, ending=".png"):
    """Put pictures into two folders; names without an ending get one."""
    for i, name in enumerate(names):
        path = root / ("first", "second/inner")[i % 2] / (name if "." in name else name + ending)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def write_small(root, which, **changes):
    scores = {**SMALL[which], **changes}
    make_tree(root, SMALL[which])
    table = pandas.DataFrame({"file": list(scores), "mos": list(scores.values())})
    if which == "mvaqd":
        table["reference"] = ["1.png", "17.png", "1.png"]
    if which == "iqaodi":
        table = table.rename(columns={"mos": "dmos"})
        table["reference"] = ["human_P0", "human_P0", "nature_P1"]
    name = {"cviq": "CVIQ.mat", "iqaodi": "dmos.csv"}.get(which, "mos.csv")
    if which == "cviq":
        cells = np.array(table.to_numpy().tolist(), dtype=object)
        savemat(root / name, {"CVIQ": cells})
    else:
        table.to_csv(root / name, index=False)
    return root / name


def real(data_dir, tmp_path, name, reader, references=(), ending=".jpg"):
    """Read the real table, both as it is and as the manifest of a tree with these files."""
    labels = data_dir / "mos" / f"{name}.csv"
    table = pandas.read_csv(labels, dtype={"reference": str, "scene": str})
    make_tree(tmp_path, [*table["file"], *references], ending)
    manifest = reader(tmp_path, labels)
    assert len(manifest) == len(table)
    stems = [name.rsplit("/", 1)[1] for name in manifest["image"]]
    assert stems == [name if "." in name else name + ending for name in table["file"]]
    return table, manifest


def base_names(paths):
    return [None if pandas.isna(path) else path.rsplit("/", 1)[1] for path in paths]


def test_all_of_cviq(data_dir, tmp_path):
    table, manifest = real(data_dir, tmp_path, "cviq_mos", read_cviq)
    assert len(manifest) == 544
    assert_array_equal(manifest["scene"], table["scene"])
    assert_array_equal(manifest["distortion"], table["codec"])
    assert_array_equal(manifest["level"], table["level"])
    assert_array_equal(manifest["mos"], table["mos"])
    assert (manifest["mos_kind"] == "mos").all()
    reference = table["file"][table["codec"] == "reference"].repeat(34)
    expected = [None if own == name else name for name, own in zip(reference, table["file"], strict=True)]
    assert base_names(manifest["reference"]) == expected


def test_all_of_oiqa(data_dir, tmp_path):
    table, manifest = real(data_dir, tmp_path, "oiqa_mos", read_oiqa)
    assert len(manifest) == 336
    for column in ("scene", "distortion", "level"):
        assert_array_equal(manifest[column], table[column])
    assert_array_equal(manifest["mos"], table["mos_1_10"])
    expected = [None if level == 0 else f"ref{scene}.jpg" for scene, level in table[["scene", "level"]].to_numpy()]
    assert base_names(manifest["reference"]) == expected


def test_oiqa_as_mc360iqa_has_it_is_refused(data_dir, tmp_path):
    table = pandas.read_csv(data_dir / "mos" / "oiqa_mos.csv")
    make_tree(tmp_path, table["file"])
    message = r"img1 has the score 73.9628, but those of OIQA lie in \[1, 10\]; 336 of 336 are larger\. .*MC360IQA"
    table[["file", "mosz"]].set_axis(["file", "mos"], axis="columns").to_csv(tmp_path / "mos.csv")
    with pytest.raises(ValueError, match=message):
        read_oiqa(tmp_path)


def test_all_of_mvaqd(data_dir, tmp_path):
    labels = pandas.read_csv(data_dir / "mos" / "mvaqd_mos.csv")
    table, manifest = real(data_dir, tmp_path, "mvaqd_mos", read_mvaqd, sorted(set(labels["reference"])))
    assert len(manifest) == 300
    assert_array_equal(manifest["mos"], table["mos_1_5"])
    assert base_names(manifest["reference"]) == table["reference"].tolist()
    assert (manifest["scene"] + ".png").tolist() == table["reference"].tolist()
    assert manifest.groupby("scene").size().tolist() == [20] * 15
    # The files are numbered scene by scene in turn, which the list of references must agree with.
    number = table["file"].str[:-4].astype(int)
    assert manifest.groupby(number % 15)["scene"].nunique().tolist() == [1] * 15
    assert manifest[["distortion", "level"]].isna().all(axis=None)


def test_all_of_iqaodi(data_dir, tmp_path):
    table, manifest = real(data_dir, tmp_path, "iqaodi_dmos", read_iqaodi, ["human_P0"])
    assert len(manifest) == 960
    assert_array_equal(manifest["scene"], table["reference"])
    assert_array_equal(manifest["distortion"], "jpeg_" + table["projection"])
    assert_array_equal(manifest["level"], table["jpeg_quality"].map({60: 1, 35: 2, 15: 3, 5: 4}))
    assert (manifest["mos_kind"] == "flipped dmos").all()
    assert_array_equal(manifest["mos"].round(4), (100 - table["dmos_0_100_high_is_bad"]).round(4))
    assert base_names(manifest["reference"]) == [
        "human_P0.jpg" if s == "human_P0" else None for s in table["reference"]
    ]


def test_all_of_jufe(data_dir, tmp_path):
    table, manifest = real(data_dir, tmp_path, "jufe10k_mos", read_jufe, ["7.png"])
    assert len(manifest) == 10320
    for column in ("scene", "distortion", "level", "mos"):
        assert_array_equal(manifest[column], table[column])
    assert base_names(manifest["reference"]) == ["7.png" if scene == "7" else None for scene in table["scene"]]


def test_all_of_oiq10k(data_dir, tmp_path):
    table, manifest = real(data_dir, tmp_path, "oiq10k_mos", read_oiq10k)
    assert len(manifest) == 10000
    assert_array_equal(manifest["mos"], table["mos_1_3"])
    regions = table["distorted_range"]
    assert ((manifest["distortion"] == "global") == (regions == "global")).all()
    assert ((manifest["distortion"] == "none") == (regions == "none")).all()
    assert_array_equal(manifest["level"].isna(), regions == "global")
    # Pictures of JUFE-10K are among them: what it says of them must hold here.
    jufe = pandas.read_csv(data_dir / "mos" / "jufe10k_mos.csv", dtype={"scene": str}).set_index("file")
    shared = table["file"].isin(jufe.index).to_numpy()
    assert shared.sum() == 5016
    for column in ("scene", "distortion", "level"):
        assert_array_equal(manifest[column][shared], jufe.loc[table["file"][shared], column])
    rest = manifest[~shared]
    assert rest["scene"][rest["distortion"] == "global"].unique().tolist() == ["dis"]
    assert rest["scene"][rest["distortion"] == "none"].nunique() == 2500
    assert not set(rest["scene"]) & set(jufe["scene"])
    # Both files say into which part of the published division a picture goes.
    straddling = table[shared].assign(scene=manifest["scene"][shared]).groupby("scene")["source_split"].nunique()
    assert (len(straddling), (straddling > 1).sum()) == (209, 207)


@pytest.mark.parametrize("which", READERS)
def test_small_trees(tmp_path, which):
    write_small(tmp_path, which)
    table = READERS[which](tmp_path)
    expected = {
        "cviq": (["1", "1", "1", "2"], ["jpeg", "jpeg", "reference", "hevc"], [1, 11, 0, 11]),
        "oiqa": (["1", "1", "2", "1"], ["jpeg", "jpeg", "jp2k", "reference"], [1, 2, 5, 0]),
        "mvaqd": (["1", "17", "1"], [None] * 3, [None] * 3),
        "iqaodi": (["human_P0", "human_P0", "nature_P1"], ["jpeg_erp", "jpeg_cmp", "jpeg_erp"], [4, 3, 1]),
        "jufe": (["1", "1", "276"], ["bd", "bd", "st"], [1, 3, 2]),
        "oiq10k": (["101", "101", "dis", "ref12"], ["bd", "gn", "global", "none"], [1, 3, None, 0]),
    }[which]
    for column, values in zip(("scene", "distortion", "level"), expected, strict=True):
        assert table[column].astype(object).where(table[column].notna(), None).tolist() == values
    scores = list(SMALL[which].values())
    assert table["mos"].round(6).tolist() == [round(100 - s, 6) if which == "iqaodi" else s for s in scores]
    assert [path.startswith(str(tmp_path)) for path in table["image"]] == [True] * len(table)


def test_paths_are_absolute(tmp_path, monkeypatch):
    write_small(tmp_path, "cviq")
    monkeypatch.chdir(tmp_path.parent)
    assert read_cviq(tmp_path.name)["image"].tolist() == read_cviq(tmp_path)["image"].tolist()


@pytest.mark.parametrize("which", ["cviq", "oiqa", "jufe", "oiq10k"])
def test_tables_without_header(tmp_path, which):
    write_small(tmp_path, which)
    lines = [f"{name} {score}" for name, score in SMALL[which].items()]
    (tmp_path / "labels.txt").write_text("\n".join(lines) + "\n")
    pandas.testing.assert_frame_equal(READERS[which](tmp_path, "labels.txt"), READERS[which](tmp_path))


@pytest.mark.parametrize("which", ["mvaqd", "iqaodi"])
def test_tables_without_header_with_a_reference(tmp_path, which):
    table = pandas.read_csv(write_small(tmp_path, which), dtype=str)
    score = {"mvaqd": "mos", "iqaodi": "dmos"}[which]
    lines = [" ".join(row) for row in table[["reference", "file", score]].to_numpy()]
    (tmp_path / "labels.txt").write_text("\n".join(lines) + "\n")
    pandas.testing.assert_frame_equal(READERS[which](tmp_path, "labels.txt"), READERS[which](tmp_path))
    (tmp_path / "labels.txt").write_text("a b\n")
    with pytest.raises(
        ValueError, match="labels.txt has 2 columns parted by spaces, but 3 are expected: reference, file"
    ):
        READERS[which](tmp_path, "labels.txt")


@pytest.mark.parametrize("which", READERS)
def test_says_what_is_missing_and_where_it_is_to_be_had(tmp_path, which):
    with pytest.raises(
        FileNotFoundError, match=r"There is no file .*(mos\.csv|CVIQ\.mat)\. For .* https://github.com/"
    ):
        READERS[which](tmp_path)
    write_small(tmp_path, which)
    images = [path for path in tmp_path.rglob("*") if path.suffix in (".png", ".jpg", ".jpeg")]
    for path in images[1:]:
        path.unlink()
    count = rf"{len(images) - 1} of {len(images)} pictures are missing\. For .* expected.* https://.* nothing is downl"
    with pytest.raises(FileNotFoundError, match=count):
        READERS[which](tmp_path)


@pytest.mark.parametrize(
    ("which", "name", "score", "shown"),
    [
        ("cviq", "001.png", 101, r"101.0 in column 'mos', but it must be in \[0, 100\]"),
        ("cviq", "001.png", -1, r"-1.0 in column 'mos', but it must be in \[0, 100\]"),
        ("oiqa", "img1", 0.5, r"0.5 in column 'mos', but it must be in \[1, 10\]"),
        ("oiqa", "img1", 10.5, r"has the score 10.5, but those of OIQA lie in \[1, 10\]; 1 of 4 are larger"),
        ("mvaqd", "16.png", 5.1, r"5.1 in column 'mos', but it must be in \[1, 5\]"),
        ("jufe", "1_len3_bd_1.png", 0, r"0.0 in column 'mos', but it must be in \[1, 5\]"),
        ("oiq10k", "dis7.jpeg", 3.5, r"3.5 in column 'mos', but it must be in \[1, 3\]"),
        ("iqaodi", "QF15_cmp_human_P0", 101, r"-1.0 in column 'mos', but it must be in \[0, 100\]"),
    ],
)
def test_refuses_scores_of_another_scale(tmp_path, which, name, score, shown):
    write_small(tmp_path, which, **{name: score})
    with pytest.raises(ValueError, match=rf"{name.split('.')[0]}.*{shown}"):
        READERS[which](tmp_path)


@pytest.mark.parametrize(
    ("which", "changes", "message"),
    [
        ("cviq", {"001.png": 20, "011.png": 70}, r"CVIQ is 20 at level 1 and 50.12 at level 11, but quality falls"),
        ("iqaodi", {"QF5_ERP_human_P0": 20}, r"IQA-ODI is 68 at level 1 and 80 at level 4"),
        ("jufe", {"1_len3_bd_1.png": 1.5}, "JUFE-10K is 1.5 at level 1 and 2 at level 3"),
    ],
)
def test_refuses_scores_turned_round(tmp_path, which, changes, message):
    write_small(tmp_path, which, **changes)
    with pytest.raises(ValueError, match=message):
        READERS[which](tmp_path)


def test_references_do_not_count_for_the_direction(tmp_path):
    write_small(tmp_path, "cviq", **{"034.png": 1.0})
    assert len(read_cviq(tmp_path)) == 4


@pytest.mark.parametrize(
    ("which", "name"),
    [
        ("cviq", "a1.png"),
        ("oiqa", "image1"),
        ("iqaodi", "QF10_ERP_human_P0"),
        ("iqaodi", "QF5_erp_human_P0"),
        ("jufe", "1_len3_xx_1.png"),
        ("jufe", "1_len3_bd_11.png"),
        ("jufe", "1_len1_len2_len3_bd_1.png"),
        ("oiq10k", "dis.png"),
    ],
)
def test_refuses_files_of_other_data_sets(tmp_path, which, name):
    write_small(tmp_path, which)
    labels = tmp_path / "labels.csv"
    labels.write_text(f"file,mos,dmos,reference\n{name},2,2,r\n")
    with pytest.raises(ValueError, match=rf"'{name}' is no file name of .*\. There, .* expected"):
        READERS[which](tmp_path, "labels.csv")


@pytest.mark.parametrize("which", [name for name in READERS if name != "cviq"])
def test_refuses_a_table_without_a_column(tmp_path, which):
    path = write_small(tmp_path, which)
    pandas.read_csv(path).rename(columns={"mos": "score", "dmos": "score"}).to_csv(path, index=False)
    with pytest.raises(ValueError, match=rf"{path} has no column 'd?mos'.*; it has .*'score'.*Rename it"):
        READERS[which](tmp_path)


def test_refuses_an_empty_table(tmp_path):
    (tmp_path / "mos.csv").write_text("file,mos\n")
    with pytest.raises(ValueError, match="mos.csv has no rows; one per picture is expected"):
        read_oiqa(tmp_path)


def test_one_picture_is_enough(tmp_path):
    make_tree(tmp_path, ["012.png"])
    savemat(tmp_path / "CVIQ.mat", {"CVIQ": np.array([["012.png", 61.5]], dtype=object)})
    assert read_cviq(tmp_path)[["distortion", "level", "mos"]].to_numpy().tolist() == [["avc", 1, 61.5]]


def test_refuses_what_is_no_score(tmp_path):
    write_small(tmp_path, "oiqa", img2="good")
    with pytest.raises(ValueError, match=r"mos.csv, row 2 \(img2\): the score 'good' is no number"):
        read_oiqa(tmp_path)


def test_refuses_a_picture_scored_twice(tmp_path):
    path = write_small(tmp_path, "jufe")
    path.write_text(path.read_text() + "1_len3_bd_1.png,3\n")
    with pytest.raises(ValueError, match=r"Row 4 \(.*1_len3_bd_1.png\) lists the image of row 1 again"):
        read_jufe(tmp_path)


def test_refuses_two_pictures_of_one_name(tmp_path):
    write_small(tmp_path, "oiqa")
    (tmp_path / "first" / "img2.jpg").touch()
    with pytest.raises(ValueError, match="There are two pictures img2: .*img2.* and .*img2"):
        read_oiqa(tmp_path)


def test_the_ending_tells_pictures_apart_where_the_table_gives_it(tmp_path):
    write_small(tmp_path, "jufe")
    (tmp_path / "1_len3_bd_1.jpg").touch()
    assert read_jufe(tmp_path)["image"][0].endswith("1_len3_bd_1.png")
    (tmp_path / "first" / "1_len3_bd_1.png").unlink()
    with pytest.raises(FileNotFoundError, match="1_len3_bd_1.png is not below"):
        read_jufe(tmp_path)


def test_refuses_broken_matlab_files(tmp_path):
    (tmp_path / "CVIQ.mat").write_bytes(b"no MATLAB")
    with pytest.raises(ValueError, match=r"CVIQ.mat cannot be read as a MATLAB file \("):
        read_cviq(tmp_path)
    savemat(tmp_path / "CVIQ.mat", {"MOS": [1, 2]})
    with pytest.raises(ValueError, match=r"holds no variable 'CVIQ'; it holds \['MOS'\]"):
        read_cviq(tmp_path)
