"""Pairs are what the engine gives, cell by cell; the same item has the same bytes, whoever makes it."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from joblib import parallel_config  # noqa: E402
from numpy.testing import assert_allclose, assert_array_equal  # noqa: E402
from torch.utils.data import DataLoader  # noqa: E402

from patchdistill.datasets import dead_leaves  # noqa: E402
from patchdistill.images import list_images  # noqa: E402
from patchdistill.relational import pairs as pairs_module  # noqa: E402
from patchdistill.relational.engine import DistortionEngine  # noqa: E402
from patchdistill.relational.pairs import HeldPairs, RelationalPairs  # noqa: E402

NAMES = {"a", "b", "ref", "target", "target_ref", "valid"}
PICTURES = [dead_leaves(70, 90, random_state=1), dead_leaves(48, random_state=2) / 255]


def pairs(pictures=None, **parameters):
    return RelationalPairs(pictures, **{"crop": 32, "n": 20, **parameters})


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in NAMES)


def bytes_of(picture):
    return np.rint(np.moveaxis(picture.numpy(), 0, -1) * 255).astype(np.uint8)


@pytest.mark.parametrize("pictures", [None, PICTURES])
def test_an_item_is_a_sample_of_the_engine(pictures, monkeypatch):
    made = pairs(pictures, engine=DistortionEngine(["noise", "exposure"], random_state=5), random_state=3)
    samples, sample = [], made.engine.sample
    monkeypatch.setattr(made.engine, "sample", lambda ref, index: samples.append(sample(ref, index)) or samples[-1])
    for i in (0, 7, 8, 19):
        item = made[i]
        assert set(item) == NAMES and all(tensor.dtype == torch.float32 for tensor in item.values())
        assert [tuple(item[name].shape) for name in ("a", "target", "valid")] == [(3, 32, 32), (2, 4, 4), (4, 4)]
        # The engine with the seed of the pairs does the same to the clean picture.
        expected = DistortionEngine(["noise", "exposure"], random_state=3).sample(bytes_of(item["ref"]), index=i)
        for name in "ab":
            assert_array_equal(bytes_of(item[name]), np.rint(getattr(expected, name) * 255))
            assert_array_equal(item[name] * 255, (item[name] * 255).round())
        cells = lambda values: values.reshape(*values.shape[:-2], 4, 8, 4, 8).mean(axis=(-3, -1))  # noqa: E731
        assert_allclose(item["target"], cells(expected.label), atol=1e-6)
        assert_allclose(item["target_ref"], cells(expected.s_b), atol=1e-6)
        assert_allclose(item["target"] + item["target_ref"], cells(expected.s_a), atol=1e-6)
        assert_allclose(item["valid"], cells(expected.valid), atol=1e-6)


def test_items_depend_on_seed_epoch_and_index_alone():
    made = pairs()
    items = [made[i] for i in range(20)]
    shuffled = pairs()
    assert all(same(shuffled[i], items[i]) for i in (13, 2, 19, 2, 0))
    assert same(made[-1], items[19])
    differing = [items[3], items[4], pairs(random_state=1)[3]]
    made.set_epoch(1)
    differing.append(made[3])
    for name in ("a", "ref", "target"):
        assert len({tensor[name].numpy().tobytes() for tensor in differing}) == 4
    made.set_epoch(0)
    assert same(made[3], items[3])


def test_workers_change_nothing():
    made = pairs()
    made.set_epoch(2)
    loaders = [DataLoader(made, batch_size=6, num_workers=workers) for workers in (0, 2)]
    for alone, together in zip(*loaders, strict=True):
        assert same(alone, together)


def test_a_data_set_ends():
    made = pairs(n=3)
    assert len(made) == 3 and len(list(made)) == 3
    for i in (3, -4):
        with pytest.raises(IndexError, match=f"no pair {i}; an epoch has 3"):
            made[i]


def test_crops_come_from_all_over_the_pictures(monkeypatch):
    rows, columns = np.mgrid[:40, :60]
    place = np.stack([rows, columns, np.full_like(rows, 7)], axis=2).astype(np.uint8)
    other = np.full((32, 32, 3), 99, np.uint8)
    made = pairs([place, other], n=400)
    monkeypatch.setattr(made.engine, "sample", lambda ref, index: empty_sample(ref))
    corners, pictures = [], []
    for i in range(400):
        ref = bytes_of(made[i]["ref"])
        pictures.append(int(ref[0, 0, 2] == 99))
        if not pictures[-1]:
            corners.append(ref[0, 0, :2])
            assert_array_equal(ref, place[corners[-1][0] :, corners[-1][1] :][:32, :32])
    corners = np.array(corners)
    assert set(corners[:, 0]) == set(range(9)) and {0, 28} <= set(corners[:, 1])
    # Eight crops from each picture.
    runs = np.reshape(pictures, (-1, 8))
    assert (runs == runs[:, :1]).all() and 0.2 < runs[:, 0].mean() < 0.8


def test_a_picture_is_made_once_for_its_crops(monkeypatch):
    sizes = []
    monkeypatch.setattr(
        pairs_module, "dead_leaves", lambda size, random_state: sizes.append(size) or dead_leaves(size, random_state=0)
    )
    made = pairs(n=320)
    monkeypatch.setattr(made.engine, "sample", lambda ref, index: empty_sample(ref))
    for i in range(320):
        made[i]
    assert len(sizes) == 40 and min(sizes) >= 32 and max(sizes) <= 128 and np.ptp(sizes) > 60


def empty_sample(ref):
    zeros = np.zeros((6, *ref.shape[:2]), np.float32)
    return SimpleNamespace(a=ref, b=ref, s_a=zeros, s_b=zeros, valid=zeros[0] == 0)


def test_paths_are_read(tmp_path):
    image = pytest.importorskip("PIL.Image")
    path = tmp_path / "leaves.png"
    image.fromarray(PICTURES[0]).save(path)
    assert same(pairs([path])[5], pairs(PICTURES[:1])[5])


def test_pictures_are_not_written_into():
    picture = PICTURES[0].copy()
    picture.setflags(write=False)
    pairs([picture])[0]
    assert_array_equal(picture, PICTURES[0])


def test_settings_tell_runs_apart():
    given = [
        pairs(),
        pairs(PICTURES),
        pairs(PICTURES[::-1]),
        pairs(["a.png"]),
        pairs(n=21),
        pairs(crop=40),
        pairs(random_state=1),
        pairs(engine=DistortionEngine("full12")),
        pairs(engine=DistortionEngine(max_ops=1)),
        HeldPairs(pairs(n=1)),
    ]
    told = [json.dumps(made.settings, sort_keys=True) for made in given]
    assert len(set(told)) == len(given)
    assert pairs(engine=DistortionEngine("core6", random_state=9)).settings == pairs().settings
    assert len(pairs().settings["channels"]) == 6


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"crop": 36}, "crop=36 is no multiple of 8; use 32"),
        ({"crop": 24}, "'crop' parameter of RelationalPairs must be an int in the range \\[32, inf\\)"),
        ({"n": 0}, "'n' parameter"),
        ({"random_state": None}, "'random_state' parameter"),
        ({"pictures": []}, "There are no pictures"),
    ],
)
def test_wrong_parameters_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        pairs(**parameters)


def test_small_pictures_are_refused():
    with pytest.raises(ValueError, match=r"Picture 0 has shape \(40, 31, 3\), less than crop=32; lower crop"):
        pairs([np.zeros((40, 31, 3))])[0]


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_held_pairs_are_the_pairs(n_jobs):
    made = pairs(n=11)
    made.set_epoch(4)
    with parallel_config("threading"):
        held = HeldPairs(made, n_jobs)
    assert len(held) == 11 and not hasattr(held, "set_epoch")
    assert all(same(held[i], made[i]) for i in range(11))
    assert held[0]["a"].dtype == torch.float32 and held[0]["a"].max() <= 1
    with pytest.raises(IndexError):
        held[11]


def test_real_photographs(data_dir):
    item = pairs(list_images(data_dir / "photos")[:1], crop=64)[0]
    assert item["ref"].std() > 0
