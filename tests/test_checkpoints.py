"""The state of a training in a folder: read as it was written, whole, and only by the run that wrote it."""

import json
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from patchdistill import checkpoints  # noqa: E402
from patchdistill.checkpoints import Checkpoint  # noqa: E402

TENSORS = {
    "network.weight": torch.randn(3, 4).t(),  # not contiguous
    "bank.filled": torch.tensor([True, False]),
    "half": torch.randn(5).bfloat16(),
    "step": torch.tensor(7.0),
    "count": torch.tensor(3),
}
HISTORY = [{"lr": 2e-4, "loss": 0.1 + 0.2}, {"lr": 2e-5, "loss": 1 / 3}]


def checkpoint(folder, stage="teacher", **settings):
    return Checkpoint(folder, stage, {"lr": 2e-4, "size": (64, 32), **settings})


def test_what_was_saved_is_read_to_the_last_bit(tmp_path):
    folder = tmp_path / "runs" / "first"
    assert checkpoint(folder).load() == ({}, [])
    checkpoint(folder).save(TENSORS, HISTORY)
    tensors, history = checkpoint(folder).load()
    assert history == HISTORY
    assert set(tensors) == set(TENSORS)
    for name, tensor in TENSORS.items():
        assert torch.equal(tensors[name], tensor) and tensors[name].dtype == tensor.dtype


def test_the_record_can_be_read_by_people(tmp_path):
    checkpoint(tmp_path).save(TENSORS, HISTORY)
    record = json.loads((tmp_path / "teacher.json").read_text())
    assert record["stage"] == "teacher" and record["epoch"] == 2
    assert record["settings"] == {"lr": 2e-4, "size": [64, 32]}


def test_stages_share_a_folder_and_the_newest_numbers_of_each_are_kept(tmp_path):
    checkpoint(tmp_path).save(TENSORS, HISTORY[:1])
    checkpoint(tmp_path, "student").save(TENSORS, HISTORY[:1])
    checkpoint(tmp_path).save(TENSORS, HISTORY)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "student-0001.safetensors",
        "student.json",
        "teacher-0002.safetensors",
        "teacher.json",
    ]
    assert checkpoint(tmp_path, "student").load()[1] == HISTORY[:1]


@pytest.mark.parametrize("nth", [1, 2])
def test_a_run_that_is_stopped_while_it_saves_has_the_state_before(tmp_path, monkeypatch, nth):
    checkpoint(tmp_path).save({"a": torch.zeros(2)}, HISTORY[:1])
    write, calls = checkpoints.write_whole, []

    def stop(path, function):
        calls.append(path)
        if len(calls) == nth:
            raise KeyboardInterrupt
        write(path, function)

    monkeypatch.setattr(checkpoints, "write_whole", stop)
    with pytest.raises(KeyboardInterrupt):
        checkpoint(tmp_path).save({"a": torch.ones(2)}, HISTORY)
    tensors, history = checkpoint(tmp_path).load()
    assert history == HISTORY[:1] and not tensors["a"].any()


def test_weights_that_two_layers_share_are_saved(tmp_path):
    shared = torch.arange(4.0)
    checkpoint(tmp_path).save({"a": shared, "b": shared, "c": shared[1:3]}, HISTORY)
    tensors, _ = checkpoint(tmp_path).load()
    assert torch.equal(tensors["a"], tensors["b"]) and tensors["c"].tolist() == [1.0, 2.0]


def test_another_run_is_refused_and_what_differs_is_named(tmp_path):
    checkpoint(tmp_path, tau=np.inf).save(TENSORS, HISTORY)
    same = {"lr": np.float64(2e-4), "size": np.array([64, 32]), "tau": float("inf")}
    assert checkpoint(tmp_path, **same).load()[1] == HISTORY
    with pytest.raises(ValueError, match=r"other settings or data: k None, now 3, lr 0.0002, now 0.001\. Use these"):
        checkpoint(tmp_path, tau=np.inf, k=3, lr=1e-3).load()


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"settings": {}, "history": []}', '{"settings": 1}'])
def test_a_broken_record_is_an_error(tmp_path, content):
    (tmp_path / "teacher.json").write_text(content)
    with pytest.raises(ValueError, match=r"teacher.json cannot be read .*Remove .* to start anew"):
        checkpoint(tmp_path).load()


@pytest.mark.parametrize("content", [None, b"no numbers"])
def test_numbers_that_are_lost_or_broken_are_an_error(tmp_path, content):
    checkpoint(tmp_path).save(TENSORS, HISTORY)
    file = tmp_path / "teacher-0002.safetensors"
    file.unlink() if content is None else file.write_bytes(content)
    with pytest.raises(ValueError, match=r"teacher-0002.safetensors cannot be read .*Remove .* to start anew"):
        checkpoint(tmp_path).load()


def test_without_safetensors_the_error_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    with pytest.raises(ImportError, match=r'checkpoint needs safetensors(.|\n)*"patchdistill\[models\]"'):
        checkpoint(tmp_path / "new")
    assert not (tmp_path / "new").exists()
