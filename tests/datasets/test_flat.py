"""Readers of photographs, and of any folder."""

import numpy as np
import pandas
import pytest
from scipy.io import savemat

from patchdistill.datasets import read_folder, read_kadid10k, read_koniq10k, read_livec

NAMES = ["t1.bmp", "t2.bmp", "3.bmp", "10.JPG", "1024.JPG"]


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


@pytest.fixture
def livec(tmp_path):
    for name in NAMES:
        touch(tmp_path / "Images" / ("trainingImages" if name[0] == "t" else "") / name)
    write_livec(tmp_path)
    return tmp_path


def write_livec(root, scores=(50, 51, 62.5, 4.9, 80), deviations=(1, 2, 21.5, 9.25, 18)):
    """Names are a column of cells, scores and deviations are rows, as in the release."""
    (root / "Data").mkdir(exist_ok=True)
    names = np.array(NAMES, dtype=object)[:, None]
    savemat(root / "Data" / "AllImages_release.mat", {"AllImages_release": names})
    savemat(root / "Data" / "AllMOS_release.mat", {"AllMOS_release": np.array([scores], dtype=float)})
    savemat(root / "Data" / "AllStdDev_release.mat", {"AllStdDev_release": np.array([deviations], dtype=float)})


def test_livec(livec):
    table = read_livec(livec)
    assert table["image"].tolist() == [str(livec / "Images" / name) for name in NAMES[2:]]
    assert table["scene"].tolist() == ["3", "10", "1024"]
    assert table["mos"].tolist() == [62.5, 4.9, 80]
    assert table["mos_std"].tolist() == [21.5, 9.25, 18]
    assert table["mos_kind"].unique().tolist() == ["mos"]
    assert table[["reference", "distortion", "level"]].isna().all(axis=None)


def test_livec_of_real_scores(data_dir, tmp_path):
    real = pandas.read_csv(data_dir / "rated" / "livec" / "livec_mos.csv")
    names = real["original_name"].to_numpy(dtype=object)[:, None]
    for name in real["original_name"]:
        touch(tmp_path / "Images" / name)
    (tmp_path / "Data").mkdir()
    savemat(tmp_path / "Data" / "AllImages_release.mat", {"AllImages_release": names})
    for name, column in (("AllMOS_release", "mos"), ("AllStdDev_release", "std")):
        savemat(tmp_path / "Data" / f"{name}.mat", {name: real[column].to_numpy()[None]})
    table = read_livec(tmp_path)
    assert table["mos"].tolist() == real["mos"].tolist()
    assert table["mos_std"].tolist() == real["std"].tolist()
    assert table["scene"].nunique() == len(real) == 170


def test_livec_refuses_what_does_not_belong_together(livec):
    write_livec(livec, scores=(1, 2, 3))
    with pytest.raises(ValueError, match="Data have 5 names, 3 scores and 5 deviations, but one of each"):
        read_livec(livec)
    write_livec(livec, scores=(1, 2, 3, 4, 101))
    with pytest.raises(ValueError, match=r"Row 3 .*1024.JPG\) has 101.0 in column 'mos', but it must be in \[0, 100\]"):
        read_livec(livec)


def test_livec_says_what_is_missing(livec):
    (livec / "Images" / "10.JPG").unlink()
    with pytest.raises(
        FileNotFoundError, match="10.JPG is not below .*; 1 of 3 pictures .* https://live.ece.utexas.edu"
    ):
        read_livec(livec)
    (livec / "Data" / "AllMOS_release.mat").unlink()
    with pytest.raises(
        FileNotFoundError, match="There is no file .*AllMOS_release.mat. For LIVE In the Wild, the fold"
    ):
        read_livec(livec)


def write_kadid(root, scores):
    lines = ["dist_img,ref_img,dmos,var"]
    for name, (score, deviation) in scores.items():
        touch(root / "images" / name)
        lines.append(f"{name},{name[:3]}.png,{score},{deviation}")
    touch(root / "images" / "I01.png")
    (root / "dmos.csv").write_text("\n".join(lines) + "\n")


def test_kadid(tmp_path):
    write_kadid(
        tmp_path, {"I01_01_01.png": (4.57, 0.496), "I01_10_05.png": (1.17, 0.373), "I81_25_02.png": (3.87, 0.8)}
    )
    table = read_kadid10k(tmp_path)
    assert table["scene"].tolist() == ["I01", "I01", "I81"]
    assert table["distortion"].tolist() == ["gaussian_blur", "jpeg", "contrast_change"]
    assert table["level"].tolist() == [1, 5, 2]
    assert table["mos"].tolist() == [4.57, 1.17, 3.87]
    assert table["mos_std"].tolist() == [0.496, 0.373, 0.8]
    assert table["mos_kind"].unique().tolist() == ["mos"]
    assert table["reference"].tolist()[:2] == [str(tmp_path / "images" / "I01.png")] * 2
    assert pandas.isna(table["reference"][2])


@pytest.mark.parametrize("name", ["I01_26_01.png", "I01_00_01.png", "I01_01_06.png", "I01_01_00.png", "01_01_01.png"])
def test_kadid_refuses_other_names(tmp_path, name):
    write_kadid(tmp_path, {name: (3, 1)})
    with pytest.raises(ValueError, match=f"'{name}' is no file name of KADID-10k"):
        read_kadid10k(tmp_path)


def test_kadid_refuses_a_dmos_that_is_one(tmp_path):
    write_kadid(tmp_path, {"I01_01_01.png": (1.43, 0.5), "I01_01_05.png": (4.9, 0.3)})
    with pytest.raises(ValueError, match="KADID-10k is 1.43 at level 1 and 4.9 at level 5, but quality falls"):
        read_kadid10k(tmp_path)


@pytest.fixture
def koniq(tmp_path):
    for folder in ("1024x768", "512x384"):
        for name in ("100.jpg", "200.jpg"):
            touch(tmp_path / folder / name)
    (tmp_path / "koniq10k_distributions_sets.csv").write_text(
        "image_name,c1,c2,c3,c4,c5,c_total,MOS,SD,set\n"
        "100.jpg,0,0,0.24,0.69,0.07,105,77.38,0.53,training\n200.jpg,0,0.03,0.47,0.49,0.01,96,68.5,0.58,test\n"
    )
    (tmp_path / "koniq10k_scores_and_distributions.csv").write_text(
        "image_name,c1,c2,c3,c4,c5,c_total,MOS,SD,MOS_zscore\n"
        "100.jpg,0,0,25,73,7,105,3.83,0.53,77.38\n200.jpg,0,3,45,47,1,96,3.48,0.58,68.5\n"
    )
    return tmp_path


@pytest.mark.parametrize("folder", ["1024x768", "512x384"])
@pytest.mark.parametrize("table", ["koniq10k_distributions_sets.csv", "koniq10k_scores_and_distributions.csv"])
def test_koniq(koniq, folder, table):
    manifest = read_koniq10k(koniq, folder, table)
    assert manifest["image"].tolist() == [str(koniq / folder / name) for name in ("100.jpg", "200.jpg")]
    assert manifest["scene"].tolist() == ["100", "200"]
    assert manifest["mos"].tolist() == [77.38, 68.5]
    assert manifest["mos_std"].isna().all()


def test_koniq_takes_the_large_pictures_by_default(koniq):
    assert read_koniq10k(koniq)["image"][1] == str(koniq / "1024x768" / "200.jpg")


def test_koniq_says_what_is_missing(koniq):
    with pytest.raises(
        FileNotFoundError, match="100.jpg is not below .*640x480; 2 of 2 .* https://database.mmsp-kn.de"
    ):
        read_koniq10k(koniq, "640x480")


@pytest.fixture
def folder(tmp_path):
    for name in ("a.png", "b.png", "c/d.png", "o.png"):
        touch(tmp_path / name)
    (tmp_path / "scores.csv").write_text(
        "name,quality,place,of,what,how,sd\n"
        "a.png,3.5,pier,o.png,blur,2,0.5\nb.png,1,pier,o.png,blur,3,\nc/d.png,2,007,,,,1\n"
    )
    return tmp_path


def test_any_folder(folder):
    table = read_folder(folder, "scores.csv", image="name", mos="quality", mos_range=(1, 5))
    assert table["image"].tolist() == [str(folder / name) for name in ("a.png", "b.png", "c/d.png")]
    assert table["scene"].tolist() == ["a.png", "b.png", "c/d.png"]
    assert table["mos"].tolist() == [3.5, 1, 2]
    assert table[["reference", "distortion", "level", "mos_std"]].isna().all(axis=None)
    assert table["mos_kind"].unique().tolist() == ["mos"]


def test_any_folder_with_all_columns(folder):
    names = {"scene": "place", "reference": "of", "distortion": "what", "level": "how", "mos_std": "sd"}
    table = read_folder(folder, "scores.csv", image="name", mos="quality", mos_kind="dmos", **names)
    assert table["scene"].tolist() == ["pier", "pier", "007"]
    assert table["reference"].tolist()[:2] == [str(folder / "o.png")] * 2
    assert table["distortion"].tolist()[:2] == ["blur", "blur"]
    assert table["level"].tolist()[:2] == [2, 3]
    assert table["mos_std"].tolist()[::2] == [0.5, 1]
    assert table.iloc[2][["reference", "distortion", "level"]].isna().all()
    assert table["mos_kind"].unique().tolist() == ["dmos"]


@pytest.mark.parametrize("columns", [{"image": "file"}, {"mos": "file"}, {"scene": "file"}])
def test_any_folder_refuses_columns_that_are_not_there(folder, columns):
    columns = {"image": "name", "mos": "quality", **columns}
    with pytest.raises(ValueError, match=r"scores.csv has no column 'file'; it has \['name', .*\]. Name one of these"):
        read_folder(folder, "scores.csv", **columns)


def test_any_folder_refuses_what_is_wrong(folder):
    with pytest.raises(
        TypeError, match="read_folder got 'place', but only scene, reference, distortion, level and mos"
    ):
        read_folder(folder, "scores.csv", image="name", mos="quality", place="place")
    with pytest.raises(ValueError, match=r"Row 2 \(b.png\) has 1.0 in column 'mos', but it must be in \[2, 5\]"):
        read_folder(folder, "scores.csv", image="name", mos="quality", mos_range=(2, 5))
    (folder / "b.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"Row 2 \(b.png\): there is no file .*b.png \(image\); 1 of 3"):
        read_folder(folder, "scores.csv", image="name", mos="quality")
