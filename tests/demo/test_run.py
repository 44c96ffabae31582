import json
import re
from html import unescape

import numpy as np
import pytest
from sklearn.datasets import load_sample_images

from patchdistill.bags import PatchBags
from patchdistill.demo import run_demo
from patchdistill.demo.record import share_of_outliers
from patchdistill.demo.run import Design, run_study
from patchdistill.demo.study import MODES, SELECTORS
from patchdistill.demo.wording import NAMES, findings, headline, number, panorama_caption, panorama_findings

pytest.importorskip("skimage")
pytest.importorskip("matplotlib")
Image = pytest.importorskip("PIL.Image")

DESIGN = Design(levels=(1, 3, 5), n_patches=36, rates=(0.1, 0.25, 0.45), n_seeds=3, panorama_height=128)
SMALL = Design(levels=(5,), n_patches=12, rates=(0.45,), n_seeds=1, panorama_height=64)


def run(out, folder, design, progress=False):
    paths = {path.stem: path for path in sorted(folder.iterdir())}
    return run_study(out, paths, 96, n_jobs=None, progress=progress, design=design)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    china, flower = load_sample_images().images
    for name, crop in {
        "roof": china[80:176, 150:246],
        "tree": china[300:396, 500:596],
        "petals": flower[150:246, 280:376],
    }.items():
        Image.fromarray(crop).save(folder / f"{name}.png")
    return folder


@pytest.fixture(scope="module")
def report(scenes, tmp_path_factory):
    return run(tmp_path_factory.mktemp("out") / "new" / "folder", scenes, DESIGN)


@pytest.fixture(scope="module")
def results(report):
    return json.loads((report.parent / "results.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def page(report):
    return report.read_text(encoding="utf-8")


def test_report_needs_nothing_else(report, page):
    assert sorted(path.name for path in report.parent.iterdir()) == ["report.html", "results.json"]
    text, n_pictures = re.subn(r'src="data:image/png;base64,[A-Za-z0-9+/=]+"', "", page)  # any word may occur in these
    assert n_pictures == 6
    assert not any(word in text for word in ("href", "src=", "http", "<script", "url("))


def test_numbers_of_the_page_are_those_of_the_results(page, results):
    study = results["study"]
    assert headline(study) in page
    assert all(sentence in page for sentence in findings(study))
    cells = iter(re.findall(r"<tr.*?</tr>", page.split("How well quality")[1].split("</table>")[0])[2:])
    for row, line in zip(study["rows"], cells, strict=True):
        assert f">{NAMES[row['selector']]}<" in line
        for figure in (row["srcc"], row["plcc"]):
            assert f">{number(figure['value'])}" in line
        assert number(row["srcc_minus_all"]["value"], sign=True) in line
    assert f"SRCC {number(results['pipeline']['srcc'])}" in page
    assert f"clean {number(100 * results['outliers']['clean'], digits=1)} %, JPEG " in page
    for label in results["labels"]["blur"].values():
        assert number(label) in page


def test_page_says_what_the_results_say_of_the_panorama(page, results):
    section = unescape(page.split("<h2>On a panorama</h2>")[1].split("<h2>")[0])
    panorama = results["panorama"]
    assert f"<figcaption>{panorama_caption(panorama)}</figcaption>" in section
    assert f"<p>{' '.join(panorama_findings(panorama))}</p>" in section
    assert section.count("<img") == 1
    assert (panorama["picture"], panorama["height"], panorama["width"]) == (None, 128, 256)
    assert (panorama["n_patches"], panorama["n_kept"], panorama["patch_size"]) == (36, 17, 16)
    assert "Only the part “On a panorama” knows about the sphere" in unescape(page)


def test_rows_are_complete(results):
    rows = results["study"]["rows"]
    assert [(r["mode"], r["rate"], r["selector"]) for r in rows] == [
        (mode, rate, name) for mode in MODES for rate in DESIGN.rates for name in SELECTORS
    ]
    assert results["setup"]["n_images"] == 3 * (1 + 4 * 3)
    assert results["solver"]["n_converged"] == 39 and results["solver"]["largest_gap"] <= 1e-3


def test_literal_pipeline_says_what_the_study_says(results):
    assert results["pipeline"]["largest_difference"] < 1e-9
    (row,) = (
        r for r in results["study"]["rows"] if (r["mode"], r["rate"], r["selector"]) == ("retrained", 0.45, "cover")
    )
    assert results["pipeline"]["srcc"] == pytest.approx(row["srcc"]["value"])
    assert "PatchStatistics(n_patches=36" in results["pipeline"]["code"]


def test_share_of_outliers_is_counted_over_patches_not_images():
    bags = PatchBags.from_list([np.zeros((n, 2)) for n in (10, 30, 5)])
    outliers = [np.array([3]), np.array([1, 4, 6]), np.array([], dtype=int)]
    shares = share_of_outliers(outliers, bags, np.array(["clean", "clean", "blur"]))
    assert shares == {"clean": 0.1, "blur": 0.0}


def test_more_random_patches_change_a_fixed_model_less(results):
    change = [r["change"] for r in results["study"]["rows"] if r["mode"] == "fixed" and r["selector"] == "random"]
    assert (np.diff(change) < 0).all()


def test_again_gives_the_same_numbers_and_progress_is_told(scenes, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("patchdistill.demo.figures._png", lambda figure, dpi=None: b"")  # pictures are not looked at
    first, again = (
        json.loads((run(tmp_path, scenes, SMALL, told).parent / "results.json").read_text()) for told in (True, False)
    )
    for key in ("labels", "study", "pipeline", "outliers", "solver", "panorama"):
        assert again[key] == first[key]
    captured = capsys.readouterr()
    assert captured.out == ""
    for stage in (
        "distort and label",
        "sample and embed",
        "select",
        "compare with random",
        "literal pipeline",
        "select on a panorama",
    ):
        assert len(re.findall(rf"^{stage}: [\d.]+ s$", captured.err, re.MULTILINE)) == 1


def test_nothing_is_written_if_it_fails(tmp_path):
    (tmp_path / "in").mkdir()
    Image.new("RGB", (64, 64)).save(tmp_path / "in" / "good.png")
    (tmp_path / "in" / "broken.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match="broken.png is not a picture"):
        run_demo(tmp_path / "out", images=tmp_path / "in", n_jobs=1, progress=False)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.fixture(scope="module")
def constant(tmp_path_factory):
    """The folder of a run on pictures without content, one of which is a panorama."""
    folder = tmp_path_factory.mktemp("constant")
    for name, width in {"a": 64, "b": 64, "p & q": 128}.items():
        Image.new("RGB", (width, 64), (90, 120, 150)).save(folder / f"{name}.png")
    return run(tmp_path_factory.mktemp("out"), folder, SMALL).parent


def test_pictures_without_content_are_told_as_constant_not_nan(constant):
    assert "NaN" not in (constant / "results.json").read_text(encoding="utf-8")


def test_wide_picture_of_the_folder_is_the_panorama(constant):
    panorama = json.loads((constant / "results.json").read_text(encoding="utf-8"))["panorama"]
    assert (panorama["picture"], panorama["height"], panorama["width"]) == ("p & q", 64, 128)
    page = (constant / "report.html").read_text(encoding="utf-8")
    assert page.count("The picture is p &amp; q, the first one that is exactly twice") == 2  # and in its description
    assert "synthetic" not in page
