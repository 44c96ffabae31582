import base64
import re
from collections import defaultdict

import numpy as np
import pytest

from patchdistill.studies.figures import draw_h
from patchdistill.studies.page import _draw, _encode, render, write_report
from patchdistill.studies.tables import agreement_table, best_table, overview_table
from patchdistill.studies.wording import headline

pytest.importorskip("matplotlib")

NAMES = {"differences", "rates", "smallest", "h", "effects", "examples", "convergence", "costs"}


@pytest.fixture(scope="module", autouse=True)
def coarse_figures():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("patchdistill.studies.page._DPI", 40)
        yield


@pytest.fixture(scope="module")
def results(make_results):
    return make_results(samplings=("ERP",), metrics=("euclidean", "cosine"), h=(10, 5), rates=(0.05, 0.45), n_seeds=4)


@pytest.fixture(scope="module")
def report(results, tmp_path_factory):
    return write_report(results, tmp_path_factory.mktemp("out") / "report")


@pytest.fixture(scope="module")
def page(report):
    return report.read_text(encoding="utf-8")


def pictures(page):
    return [base64.b64decode(data) for data in re.findall(r'src="data:image/png;base64,([A-Za-z0-9+/=]+)"', page)]


def without_pictures(page):
    return re.sub(r'src="data:image/png;base64,[A-Za-z0-9+/=]+"', "", page)


def test_the_page_needs_nothing_else(page):
    text = without_pictures(page)
    assert len(pictures(page)) == len(NAMES)
    assert not any(word in text for word in ("href", "src=", "http", "<script", "url(", "@import"))


def test_figures_are_files_and_those_of_the_page(report, page):
    folder = report.parent / "figures"
    assert {path.name for path in folder.iterdir()} == {f"{name}.{kind}" for name in NAMES for kind in ("png", "pdf")}
    assert {path.name for path in report.parent.iterdir()} == {"report.html", "figures"}
    assert sorted(path.read_bytes() for path in folder.glob("*.png")) == sorted(pictures(page))
    assert all(path.read_bytes().startswith(b"%PDF") for path in folder.glob("*.pdf"))


def test_the_page_says_what_was_found(page, results):
    assert headline(results.cells, results.settings) in page
    for table in (overview_table, agreement_table, best_table):
        assert table(results.cells, results.settings) in page
    assert f"All {results.n_cells} models of the study were trained and tested." in page
    for words in ("40 images of 10 scenes", "after the fact", "too good", "corrected resampled t-test", "(logistic4)"):
        assert words in page


def test_the_same_results_give_the_same_files(results, report, tmp_path):
    again = write_report(results, tmp_path).parent
    files = sorted(path.relative_to(again) for path in again.rglob("*.*"))
    assert len(files) == 1 + 2 * len(NAMES)
    for file in files:
        assert (report.parent / file).read_bytes() == (again / file).read_bytes()


def test_both_files_of_a_figure_have_the_same_layout(results, tmp_path, monkeypatch):
    places = []

    def encode(figure, kind):
        data = _encode(figure, kind)
        places.append([ax.get_position().bounds for ax in figure.axes])
        return data

    def a_figure():
        return draw_h(results.cells, results.settings)

    monkeypatch.setattr("patchdistill.studies.page._draw", lambda _: {"h": a_figure()})
    monkeypatch.setattr("patchdistill.studies.page._encode", encode)
    monkeypatch.setattr("patchdistill.studies.page.render", lambda *_: "")
    write_report(results, tmp_path)
    expected = a_figure()
    assert places[0] != [ax.get_position().bounds for ax in expected.axes]
    expected.draw_without_rendering()
    assert places[0] == places[1]
    assert np.allclose(places[0], [ax.get_position().bounds for ax in expected.axes], atol=0.02)


def test_without_examples_the_page_says_so(unfinished, monkeypatch):
    monkeypatch.setattr(unfinished, "examples", [])
    assert "No example yet." in render(unfinished, defaultdict(bytes))
    assert "examples" not in _draw(unfinished)


def test_an_unfinished_study_of_two_models(unfinished, tmp_path):
    page = write_report(unfinished, tmp_path).read_text(encoding="utf-8")
    n, n_cells = len(unfinished.cells), unfinished.n_cells
    assert f"not finished: {n} of {n_cells} models" in page and n < n_cells
    names = {path.stem for path in (tmp_path / "figures").glob("*.png")}
    per_model = NAMES - {"examples", "convergence"}
    assert names == {"examples", "convergence"} | {
        f"{name}-{of}" for name in per_model for of in ("1-svr", "2-ridge-co-")
    }
    assert "Model: ridge &amp; &lt;co&gt;. " in page and "<co>" not in page
    assert len(re.findall("Model: svr. ", re.sub(' alt="[^"]*"', "", page))) == len(per_model)


def test_a_folder_that_cannot_be_made_is_told(results, tmp_path):
    with pytest.raises(FileNotFoundError, match="is no folder, so that .* cannot be written"):
        write_report(results, tmp_path / "missing" / "report")
