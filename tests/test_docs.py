"""The documentation builds without a warning, and the example of the README runs as printed."""

import doctest
import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from patchdistill import ResidualPatchSelector
from patchdistill.studies import read_config

ROOT = Path(__file__).resolve().parent.parent


def test_sphinx_builds_without_warnings(tmp_path):
    pytest.importorskip("sphinx")
    pytest.importorskip("numpydoc")
    pytest.importorskip("sphinx_gallery")
    pytest.importorskip("skorch")  # the tutorials run
    pytest.importorskip("transformers")
    pytest.importorskip("skimage")
    # A copy, because autosummary writes its pages beside the sources. README and package are not needed there.
    shutil.copytree(ROOT / "docs", tmp_path / "docs", ignore=shutil.ignore_patterns("_build", "generated"))
    shutil.copytree(ROOT / "benchmarks" / "results", tmp_path / "benchmarks" / "results")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    # Other tests run at the same time: threads of all of them would wait for each other.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    build = subprocess.run(
        [*command, tmp_path / "docs", tmp_path / "html"], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert build.returncode == 0, build.stderr
    assert (tmp_path / "html" / "index.html").is_file()
    for script in (ROOT / "docs" / "tutorials").glob("plot_*.py"):
        page = (tmp_path / "html" / "generated" / "tutorials" / f"{script.stem}.html").read_text(encoding="utf-8")
        assert "sphx-glr-script-out" in page, f"{script.name} did not run"
        assert "sphx_glr_" + script.stem + "_001.png" in page, f"{script.name} has no figure"


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "user_guide").glob("*.rst")), ids=lambda page: page.stem)
def test_examples_of_the_pages_run(page):
    failed, _ = doctest.testfile(str(page), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert not failed


def test_example_of_a_cluster_runs(tmp_path):
    pytest.importorskip("distributed")
    page = (ROOT / "docs" / "user_guide" / "speed.rst").read_text(encoding="utf-8")
    example = re.search(r"code-block:: python\n\n(   import joblib\n.*?)\n\n\S", page, re.DOTALL).group(1)
    quiet = example.replace("Client(n_workers=4", 'Client(n_workers=2, dashboard_address="127.0.0.1:0"')
    assert quiet != example
    (tmp_path / "example.py").write_text(textwrap.dedent(quiet))
    images = np.random.default_rng(0).random((6, 20, 30), dtype=np.float32)
    np.save(tmp_path / "features.npy", images)
    command = [sys.executable, "-W", "error", "example.py"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    kept = np.load(tmp_path / "kept.npz")
    for array, expected in zip(kept.values(), ResidualPatchSelector().fit(images).selected_idx_, strict=True):
        np.testing.assert_array_equal(array, expected)


def test_readme_has_the_figures_of_the_files(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    import tables

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert tables.MARKS[0] + tables.readme_figures() + tables.MARKS[1] in text


@pytest.fixture
def readme_names(tmp_path):
    """What the README leaves to the reader: files, opinion scores, scenes."""
    Image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{i}.png" for i in range(10)]
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (80, 160, 3), dtype=np.uint8)).save(path)
    return {"paths": paths, "mos": np.linspace(1, 5, 10), "scenes": np.repeat(np.arange(5), 2)}


def readme_example(number):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    example = list(re.finditer(r"```python\n(.*?)```", text, re.DOTALL))[number]
    code = "\n" * text[: example.start(1)].count("\n") + example.group(1)  # a failure names the line of the README
    return compile(code, "README.md", "exec")


def test_readme_example_runs(readme_names):
    exec(readme_example(0), readme_names)
    assert readme_names["predicted"].shape == (10,)


def test_readme_example_with_a_network_runs(readme_names):
    nn = pytest.importorskip("torch.nn")
    layers = {"layer1": nn.Conv2d(3, 8, 3, stride=4), "flatten": nn.Flatten(), "score": nn.Linear(8 * 16 * 16, 1)}
    readme_names["network"] = nn.Sequential(OrderedDict(layers))
    exec(readme_example(1), readme_names)
    assert readme_names["predicted"].shape == (10,)
    assert np.isfinite(readme_names["predicted"]).all()


def test_readme_example_of_panoramas_runs(readme_names):
    exec(readme_example(0), readme_names)
    del readme_names["predicted"]
    exec(readme_example(2), readme_names)
    assert readme_names["predicted"].shape == (10,)
    assert readme_names["sampler"].transform(readme_names["paths"]).fields["lat"].shape == (1800,)


def test_readme_example_of_pixels_runs(readme_names, tmp_path, monkeypatch):
    paths = readme_names["paths"]
    paths[3].rename(tmp_path / "reference.png")
    monkeypatch.chdir(tmp_path)
    names = {"versions": [tmp_path / "reference.png", *paths[:2]]}
    exec(readme_example(3), names)
    assert names["order"][0] == 0 and names["scores"][0] == 0
    assert names["change"].shape == (6, 10, 20) and not names["change"].any()


def test_readme_study_is_one(tmp_path, readme_names):
    pytest.importorskip("pandas")
    pytest.importorskip("yaml")
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = re.search(r"    manifest: .*?\n\n", text, re.DOTALL).group(0)
    (tmp_path / "study.yaml").write_text(textwrap.dedent(lines))
    rows = zip(*(readme_names[name] for name in ("paths", "scenes", "mos")), strict=True)
    table = "\n".join(f"{path.name},{scene},{mos},mos" for path, scene, mos in rows)
    (tmp_path / "scores.csv").write_text(f"image,scene,mos,mos_kind\n{table}\n")
    study = read_config(tmp_path / "study.yaml")
    assert list(study.samplings) == ["latitude", "sphere"] and study.rates == (0.1, 0.2, 0.45)
