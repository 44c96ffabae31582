"""The training of QFMRegressor from a file: what the file may say, what is trained, and how it goes on."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

for package in ("yaml", "pandas", "transformers", "safetensors", "PIL"):
    pytest.importorskip(package)

import torch  # noqa: E402
import train_qfm  # noqa: E402
import yaml  # noqa: E402
from PIL import Image  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from train_qfm import PLAIN, crops_of, held, make_vit, read_config, summarize, train  # noqa: E402

from patchdistill import ResidualPatchSelector  # noqa: E402
from patchdistill.datasets import make_semantic_confound, read_manifest, write_manifest  # noqa: E402
from patchdistill.embedding import PatchStatistics  # noqa: E402
from patchdistill.qfm import QFMRegressor  # noqa: E402
from patchdistill.sampling import RandomCropSampler  # noqa: E402

FILE = Path(train_qfm.__file__).with_suffix(".yaml")
COMMITTED = read_config(FILE)
N_PICTURES = 30

# Few labels: some images have no partner, and a logistic curve may not fit.
few = pytest.mark.filterwarnings("ignore::UserWarning")


def changed(config, changes):
    """A copy with other values, by their names such as "split: seeds"; ... takes the name out."""
    config = copy.deepcopy(config)
    for where, value in changes.items():
        *parts, name = where.split(": ")
        section = config[parts[0]] if parts else config
        if value is ...:
            del section[name]
        else:
            section[name] = value
    return config


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Rated and unrated pictures of 40 pixels; two share a scene."""
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "unrated").mkdir()
    rated, unrated = make_semantic_confound(N_PICTURES, 8, size=40)
    names = [f"{number:02}.png" for number in range(N_PICTURES)]
    for name, pixels in zip(names, rated.images, strict=True):
        Image.fromarray(pixels).save(folder / name)
    for name, pixels in zip(names, unrated.images, strict=False):
        Image.fromarray(pixels).save(folder / "unrated" / name)
    scenes = np.repeat(np.arange(N_PICTURES // 2), 2)
    write_manifest({"image": names, "scene": scenes, "mos": rated.y, "mos_kind": "mos"}, folder / "manifest.csv")
    return folder


@pytest.fixture
def config(tmp_path):
    """The committed file in small."""
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    changes = {
        "manifest": "manifest.csv",
        **{f"backbone: {name}": value for name, value in small.items()},
        "crops": {"n_patches": 4, "patch_size": 32},
        "regressor: device": "cpu",
        "regressor: max_epochs": 2,
        "regressor: verbose": 0,
        "split": {"seeds": [3], "test_size": 0.4},
        "out": str(tmp_path / "out"),
    }
    return changed(COMMITTED, changes)


def without_time(rows):
    return [{name: value for name, value in row.items() if name not in ("seconds", "epochs_before")} for row in rows]


def test_the_committed_file_is_the_scale_of_the_paper():
    backbone, regressor = COMMITTED["backbone"], COMMITTED["regressor"]
    vit = make_vit(backbone, COMMITTED["crops"]["patch_size"], FILE.parent, 0)
    assert sum(parameter.numel() for parameter in vit.parameters()) == 21_665_664  # ViT-S/16, without a classifier
    assert COMMITTED["crops"] == {"n_patches": 10, "patch_size": 224}
    expected = {"max_epochs": 9, "batch_size": 16, "lr": 2e-4, "weight_decay": 0.05, "autocast": "bfloat16"}
    assert {name: regressor[name] for name in expected} == expected
    assert (regressor["mean"], regressor["std"]) == ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    assert COMMITTED["split"]["test_size"] == 0.2 and COMMITTED["plain"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"manifst": "a.csv"}, "The file has the unknown key 'manifst'; use manifest, "),
        ({"load": ...}, "The file lacks the key 'load'; needed are manifest, "),
        ({"backbone": 16}, "backbone is 16; it must map names to values"),
        ({"backbone: strict": ...}, "backbone lacks the key 'strict'"),
        ({"backbone: image_size": 224}, "backbone has the unknown key 'image_size'; use hidden_size, "),
        ({"backbone: hidden_size": "384"}, "'hidden_size' parameter of backbone must be an int .* Got '384'"),
        ({"backbone: weights": 3}, "'weights' parameter of backbone must be an instance of 'str' or None"),
        ({"crops: random_state": 0}, "crops has the unknown key 'random_state'; use n_patches, patch_size"),
        ({"crops: n_patches": 0}, "'n_patches' parameter of crops must be an int in the range .* Got 0"),
        ({"crops: patch_size": 230}, "patch_size is 230, but the backbone cuts squares of 16 .* a multiple"),
        ({"regressor: checkpoint": "x"}, "regressor has the unknown key 'checkpoint'; use "),
        ({"regressor: random_state": 0}, "regressor has the unknown key 'random_state'"),
        ({"regressor: size": 64}, "regressor has the unknown key 'size'"),
        ({"regressor: encoder": "x"}, "regressor has the unknown key 'encoder'"),
        ({"regressor: lr": "2e-4"}, "'lr' parameter of regressor must be a float .* Got '2e-4'"),
        ({"split: seeds": 10}, "seeds is 10; give a list of whole numbers"),
        ({"split: seeds": []}, r"seeds is \[\]; give a list"),
        ({"split: seeds": [0, -1]}, r"seeds is \[0, -1\]; give a list"),
        ({"split: test_size": 1.5}, "'test_size' parameter of split must be .* Got 1.5"),
        ({"selection": 0}, r"'selection' .* in the range \(0.0, 1.0\] or None. Got 0"),
        ({"load": "yes please"}, "'load' .* 'bool'.* Got 'yes please'"),
        ({"plain": 1}, "'plain' .* 'bool'.* Got 1"),
        ({"unlabeled": False}, "'unlabeled' .* 'str' or None. Got False"),
        ({"out": None}, "'out' .* 'str'. Got None"),
    ],
)
def test_a_wrong_file_is_refused_by_name(changes, message, tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_text(yaml.safe_dump(changed(COMMITTED, changes)))
    with pytest.raises(ValueError, match=f"wrong.yaml: .*{message}"):
        read_config(path)


def test_what_is_no_yaml_is_said_so(tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_text("plain: [")
    with pytest.raises(ValueError, match="wrong.yaml is no YAML"):
        read_config(path)


@pytest.mark.parametrize("manifest", [{"dataset": "koniq", "root": "x"}, 3])
def test_an_unknown_data_set_is_refused(manifest, config, folder):
    with pytest.warns(UserWarning, match="RANDOM"), pytest.raises(ValueError, match="manifest is .* koniq10k"):
        train(changed(config, {"manifest": manifest}), folder)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_told_before_any_work(config):
    with pytest.raises(ValueError, match="PyTorch finds 0 CUDA devices"):
        train(changed(config, {"regressor: device": "cuda"}), Path("nowhere"))


@few
def test_both_models_are_tested_on_the_same_scenes(config, folder):
    full, plain = train(config, folder)
    assert (full["model"], plain["model"], full["seed"], plain["seed"]) == ("full", "plain", 3, 3)
    assert {full["n_test"], plain["n_test"]} == {12} and {full["n_train"], plain["n_train"]} == {18}  # whole scenes
    assert full["n_train_crops"] == 18 * 4
    assert all(-1 <= row[name] <= 1 for row in (full, plain) for name in ("srcc", "plcc", "krcc"))
    assert min(full["semantic_sensitivity"], plain["semantic_sensitivity"]) > 0
    assert 0 <= full["unmatched_rate"] < 1 and plain["unmatched_rate"] is None
    assert {"consistency", "sparsity"} < set(full["history"][0])
    assert set(plain["history"][0]) == {"stage", "lr", "loss", "regression"}  # labels alone


@few
def test_a_row_is_what_the_estimator_gives(config, folder):
    # With so many partners it matters that those of the own scene are none.
    config = changed(config, {"plain": False, "regressor: tau": 2.0, "regressor: k": 11})
    (row,) = train(config, folder)
    table = read_manifest(folder / "manifest.csv")
    y, scenes = table["mos"].to_numpy(), table["scene"].to_numpy(str)
    test = np.isin(scenes, np.random.RandomState(3).permutation(np.unique(scenes))[:6])
    crops = crops_of(table["image"], config)
    model = QFMRegressor(
        make_vit(config["backbone"], 32, folder, 3),
        size=None,
        descriptor="thumbnail",
        random_state=3,
        **config["regressor"],
    )
    model.fit(crops[~test], y[~test], groups=scenes[~test])
    assert row["srcc"] == model.score(crops[test], y[test])
    assert row["semantic_sensitivity"] == model.semantic_sensitivity(crops[test], y[test], groups=scenes[test])


@few
def test_where_pixels_are_held_changes_nothing(config, folder, tmp_path):
    rows = train(config, folder)
    for load, out in ((True, "again"), (False, "lazy")):
        other = train(changed(config, {"load": load, "out": str(tmp_path / out)}), folder)
        assert without_time(other) == without_time(rows)
    crops = crops_of([folder / "00.png"], config)
    assert isinstance(held(crops, True).values, np.ndarray) and held(crops, False) is crops


@few
def test_a_run_goes_on_where_it_was_stopped(config, folder, monkeypatch):
    rows = train(config, folder)
    (out,) = Path(config["out"]).iterdir()
    assert {path.name for path in out.iterdir() if path.is_dir()} == {"full-3", "plain-3"}
    assert [row["epochs_before"] for row in rows] == [0, 0]
    for result in out.glob("*.json"):
        result.unlink()  # as if it had been stopped between training and test
    resumed = train(config, folder)
    assert [row["epochs_before"] for row in resumed] == [2, 2]
    assert without_time(resumed) == without_time(rows)
    monkeypatch.setattr(QFMRegressor, "fit", None)  # what is finished is not even read back
    assert train(config, folder) == resumed
    # Another place for pixels, and other models beside it, leave a model valid.
    (full,) = train(changed(config, {"plain": False, "load": False}), folder)
    assert full == resumed[0]


@few
def test_more_seeds_are_added_to_those_that_are_there(config, folder):
    config["plain"] = False
    rows = train(config, folder)
    more = train(changed(config, {"split: seeds": [3, 4]}), folder)
    assert more[0] == rows[0] and [row["seed"] for row in more] == [3, 4]
    assert more[1]["history"] != rows[0]["history"]


@few
def test_other_settings_and_other_labels_are_another_training(config, folder, tmp_path):
    config["plain"] = False
    (row,) = train(config, folder)
    (other,) = train(changed(config, {"regressor: lr": 1e-3}), folder)
    assert other["history"][0]["lr"] == 1e-3 and row["history"][0]["lr"] == 2e-4
    (other,) = train(changed(config, {"split: test_size": 0.5}), folder)
    assert other["n_test"] != row["n_test"]
    table = read_manifest(folder / "manifest.csv")
    write_manifest(table.assign(mos=table["mos"].to_numpy()[::-1]), tmp_path / "manifest.csv")
    (other,) = train(config, tmp_path)
    assert other["history"] != row["history"]


@few
def test_unrated_pictures_are_for_the_full_model_alone(config, folder):
    full, plain = train(changed(config, {"unlabeled": "unrated"}), folder)
    assert {epoch["stage"] for epoch in full["history"]} == {"teacher", "student"}
    assert {epoch["stage"] for epoch in plain["history"]} == {"teacher"}


@few
@pytest.mark.parametrize(("rate", "kept"), [(0.5, 2), (1, 4)])
def test_the_selection_is_learned_from(config, folder, rate, kept):
    config = changed(config, {"selection": rate, "plain": False})
    (row,) = train(config, folder)
    assert row["n_train_crops"] == 18 * kept
    crops = crops_of([folder / "00.png", folder / "01.png"], config)
    assert crops.n_patches.tolist() == [kept, kept]
    np.testing.assert_allclose([crops.field("weights", i).sum() for i in range(2)], 1)


def test_the_selection_is_that_of_a_pipeline(config, folder):
    paths = sorted(folder.glob("*.png"))
    config = changed(config, {"selection": 0.5, "crops: n_patches": 10})
    sampler = RandomCropSampler(n_patches=10, patch_size=32)
    selector = ResidualPatchSelector(rate=0.5, normalize="columns")
    kept = make_pipeline(sampler, PatchStatistics(), selector).fit_transform([str(path) for path in paths])
    crops = crops_of(paths, config)
    for name in ("patch_index", "top", "left", "weights"):
        np.testing.assert_array_equal(crops.fields[name], kept.fields[name])
    np.testing.assert_array_equal(np.asarray(crops.values), np.asarray(kept.fields["pixels"]))


def test_weights_come_from_the_file(config, folder, tmp_path):
    backbone = config["backbone"]
    saved, other = (make_vit(backbone, 32, folder, seed) for seed in (0, 1))
    torch.save(saved.state_dict(), tmp_path / "vit.pt")
    loaded = make_vit({**backbone, "weights": "vit.pt"}, 32, tmp_path, 1)
    for name, weight in loaded.state_dict().items():
        assert torch.equal(weight, saved.state_dict()[name])
    assert not torch.equal(loaded.embeddings.cls_token, other.embeddings.cls_token)
    torch.save({**saved.state_dict(), "pooler": torch.zeros(1)}, tmp_path / "more.pt")
    with pytest.raises(ValueError, match="1 are unknown"):
        make_vit({**backbone, "weights": "more.pt"}, 32, tmp_path, 1)
    make_vit({**backbone, "weights": "more.pt", "strict": False}, 32, tmp_path, 1)


def test_random_weights_are_said_loudly(config, folder, tmp_path, monkeypatch):
    seen = []

    def fit(model, X, y, groups):
        seen.append((model.descriptor, model.get_params()["gate"]))
        raise KeyError

    monkeypatch.setattr(QFMRegressor, "fit", fit)
    with pytest.warns(UserWarning, match="RANDOM WEIGHTS"), pytest.raises(KeyError):
        train(config, folder)
    torch.save(make_vit(config["backbone"], 32, folder, 0).state_dict(), tmp_path / "vit.pt")
    with pytest.raises(KeyError):  # and no warning
        train(changed(config, {"backbone: weights": str(tmp_path / "vit.pt")}), folder)
    assert [descriptor for descriptor, _ in seen] == ["thumbnail", "encoder"]


def test_medians_are_over_seeds_and_pairs():
    figures = {"plcc": 0.0, "krcc": 0.0, "semantic_sensitivity": 1.0, "seconds": 1.0}
    rows = [
        {"model": model, "srcc": srcc, **figures}
        for pair in ((0.5, 0.4), (0.9, 0.6), (0.7, 0.8))
        for model, srcc in zip(("full", "plain"), pair, strict=True)
    ]
    medians = summarize(rows)
    assert (medians["full"]["srcc"], medians["plain"]["srcc"]) == (0.7, 0.6)
    assert medians["full minus plain"]["srcc"] == pytest.approx(0.1)
    assert set(summarize(rows[::2])) == {"full"}
    assert PLAIN["consistency"] == PLAIN["contrast"] == PLAIN["sparsity"] == 0 and PLAIN["gate"] is None


def test_smoke(tmp_path):
    """The committed file itself, once around."""
    script, out = Path(train_qfm.__file__), tmp_path / "results.json"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, script, FILE, "--smoke", "--out", out]
    told = subprocess.run(command, check=True, env=environment, capture_output=True, text=True)
    assert "RANDOM WEIGHTS" in told.stderr
    results = json.loads(out.read_text())
    assert results["benchmark"] == "train_qfm" and results["weights"] == "random"
    assert {"date", "processor", "python", "packages"} <= set(results["setup"])
    assert set(results["medians"]) == {"full", "plain", "full minus plain"}
    assert [len(row["history"]) for row in results["per_seed"]] == [1, 1]
    # All but what the smoke run makes smaller is the file's.
    for name in ("lr", "weight_decay", "autocast", "pairing", "mean", "std"):
        assert results["config"]["regressor"][name] == COMMITTED["regressor"][name]
    assert results["config"]["backbone"]["hidden_size"] == 384 and results["config"]["crops"]["patch_size"] == 224
