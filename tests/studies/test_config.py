from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from patchdistill import ResidualPatchSelector
from patchdistill.embedding import PatchStatistics
from patchdistill.panorama import FibonacciSampler, UniformSampler
from patchdistill.sampling import GridSampler
from patchdistill.studies import config, read_config, run_study

pytest.importorskip("pandas")
pytest.importorskip("yaml")

MINIMAL = """
manifest: pictures/manifest.csv
samplings: {ERP: {sampler: uniform}}
models: {SVR: {model: pooled-svr}}
n_seeds: 2
test_size: 0.5
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Four scenes in two versions each, and their manifest."""
    folder, rng = tmp_path_factory.mktemp("config"), np.random.default_rng(0)
    (folder / "pictures").mkdir()
    lines = ["image,scene,mos,mos_kind"]
    for scene in range(4):
        for version in range(2):
            pixels = rng.integers(0, 256 >> version, (32, 64, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / "pictures" / f"{scene}_{version}.png")
            lines.append(f"{scene}_{version}.png,s{scene},{50 + 10 * version + scene},mos")
    (folder / "pictures" / "manifest.csv").write_text("\n".join(lines))
    return folder


def read(folder, text):
    (folder / "study.yaml").write_text(text)
    return read_config(folder / "study.yaml")


def test_what_is_left_out_has_its_default(folder):
    study = read(folder, MINIMAL)
    assert Path(study.paths[0]) == folder / "pictures" / "0_0.png" and study.labels[1] == 60
    assert repr(study.samplings) == repr({"ERP": UniformSampler()})
    assert repr(study.embedding) == repr(PatchStatistics()) and not study.pixels
    assert repr(study.selector) == repr(ResidualPatchSelector(normalize="columns"))
    assert study.metrics == ("euclidean",) and study.h == (10,) and len(study.rates) == 8
    assert study.n_seeds == 2


def test_everything_can_be_set(folder):
    study = read(
        folder,
        """
manifest: pictures/manifest.csv
samplings:
  sphere: {sampler: fibonacci, n_patches: 20, view: tangent, fov: 30}
  flat: {sampler: flat-grid, n_patches: 20, patch_size: 16}
embedding: {embedding: statistics, n_jobs: 2}
selector: {normalize: null, coverage: null, keep: high}
metrics: [cosine, manhattan]
h: [3, 4]
rates: [0.2, 5]
models:
  stiff: {model: pooled-svr, C: 0.5}
  line: {model: pooled-ridge, alpha: 3}
  patches: {model: patchwise-ridge}
n_seeds: 3
test_size: 0.5
mapping: linear
label: made up
""",
    )
    assert repr(study.samplings["sphere"]) == repr(FibonacciSampler(20, view="tangent", fov=30))
    assert repr(study.samplings["flat"]) == repr(GridSampler(20, 16))
    assert study.embedding.n_jobs == 2
    assert study.selector.normalize is None and study.selector.keep == "high"
    assert (study.metrics, study.h, study.rates) == (("cosine", "manhattan"), (3, 4), (0.2, 5))
    assert study.models["stiff"].regressor["svr"].C == 0.5 and study.models["line"]["ridge"].alpha == 3
    assert (study.n_seeds, study.test_size, study.mapping, study.label) == (3, 0.5, "linear", "made up")
    train, test = study.splits[0]
    assert len(train) == len(test) == 4


@pytest.mark.parametrize("name", [name for name in config.MODELS if name != "patch-cnn"])
def test_every_model_learns(folder, tmp_path, name):
    text = MINIMAL.replace("pooled-svr", name).replace("uniform", "uniform, n_patches: 6, patch_size: 16")
    cells = run_study(read(folder, text + "rates: [0.5]\nh: [2]\n"), tmp_path / "study", progress=False).cells
    assert len(cells) == 6 and cells.rmse.notna().all()


def test_a_network_on_pixels_gets_them(folder, tmp_path):
    pytest.importorskip("skorch")
    text = MINIMAL.replace("pooled-svr", "patch-cnn, max_epochs: 1, channels: [2, 3]")
    text = text.replace("uniform", "uniform, n_patches: 6, patch_size: 16") + "rates: [0.5]\nh: [2]\n"
    study = read(folder, text)
    assert study.pixels
    assert len(run_study(study, tmp_path / "study", progress=False).cells) == 6


def test_features_of_a_saved_network(folder, tmp_path):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("torch")
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    network = transformers.ViTModel(transformers.ViTConfig(image_size=16, patch_size=8, **sizes))
    network.save_pretrained(tmp_path / "network")
    text = MINIMAL + f"embedding: {{embedding: transformers, folder: {tmp_path / 'network'}, pooling: cls, size: 16}}\n"
    study = read(folder, text.replace("uniform", "uniform, n_patches: 6, patch_size: 16"))
    bags = study.embedding.fit_transform(study.samplings["ERP"].transform(study.paths[:1]))
    assert bags.values.shape == (6, 8)


@pytest.mark.parametrize(
    "change, message",
    [
        (("manifest: pictures/manifest.csv", "rates: [0.1]"), "lacks the key 'manifest'; needed are manifest"),
        (("n_seeds:", "seeds:"), "unknown key 'seeds'; use manifest, "),
        (("n_seeds: 2", "rates: 0.1"), r"rates is 0.1; give a list, \[0.1\]"),
        (("{ERP: {sampler: uniform}}", "uniform"), "samplings is 'uniform'; give a name"),
        (("uniform", "spiral"), "samplings: ERP is .*'spiral'.*one of uniform, latitude"),
        (("uniform", "uniform, patches: 9"), "samplings: ERP has the unknown key 'patches'; use n_patches"),
        (("pooled-svr", "svr"), "models: SVR is .*one of pooled-svr"),
        (("pooled-svr", "pooled-svr, c: 3"), "models: SVR has the unknown key 'c'; use C"),
        (("{SVR: {model: pooled-svr}}", "{SVR: pooled-svr}"), "models: SVR is 'pooled-svr'; it needs the key 'model'"),
        (("n_seeds: 2", "selector: {normalise: rows}"), "selector has the unknown key 'normalise'"),
        (("n_seeds: 2", "embedding: {embedding: resnet}"), "one of statistics, transformers"),
        (("n_seeds: 2", "n_seeds: {"), "is no YAML"),
        (("n_seeds: 2", "rates: [2.5]"), r"study.yaml: rate=2.5 is not valid"),
        (("pictures/manifest.csv", "{dataset: cvi, root: x}"), "manifest is .*one of cviq, oiqa"),
        (("pictures/manifest.csv", "{dataset: cviq, rot: x}"), "manifest has the unknown key 'rot'"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(folder, change, message):
    with pytest.raises(ValueError, match=message):
        read(folder, MINIMAL.replace(*change))


def test_nothing_in_the_file_is_executed(folder):
    with pytest.raises(ValueError, match="is no YAML"):
        read(folder, MINIMAL + "h: !!python/object/apply:os.system [echo]\n")
