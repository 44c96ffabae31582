import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

torch = pytest.importorskip("torch")

from numpy.testing import assert_allclose, assert_array_equal  # noqa: E402

from patchdistill import PatchBags  # noqa: E402
from patchdistill.qfm.distillation import Stages, add_unlabeled, label_images, most_certain  # noqa: E402
from patchdistill.qfm.inputs import ImagePatches, Reading  # noqa: E402
from patchdistill.qfm.networks import QFMNetwork, TinyViT  # noqa: E402
from patchdistill.qfm.training import Recipe, Samples, Training  # noqa: E402

READING = Reading(size=None, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), batch_size=2, device=None, autocast=None)


def network():
    torch.manual_seed(0)
    return QFMNetwork(TinyViT(size=16, patch=8, width=8, depth=1), width=8).eval()


def test_labels_and_their_spread_by_hand():
    images = ImagePatches(None, [2, 1], np.array([0.5, 1.5, 1.0]))
    labels, spread = label_images(np.array([[1.0, 3.0], [4.0, 6.0], [2.0, 8.0]]), images)
    mean = (0.5 * (1 + 3) + 1.5 * (4 + 6)) / 4
    variance = (0.5 * ((1 - mean) ** 2 + (3 - mean) ** 2) + 1.5 * ((4 - mean) ** 2 + (6 - mean) ** 2)) / 4
    assert_allclose(labels, [mean, 5.0])
    assert_allclose(spread, [np.sqrt(variance), 3.0])


def test_weights_by_hand():
    kept, weights = most_certain(np.array([0.3, 0.1, 0.7, 0.2, 0.4]), keep=0.8)
    assert_array_equal(kept, [0, 1, 3, 4])
    assert_allclose(weights, np.exp(-np.array([0.3, 0.1, 0.2, 0.4]) / 0.25))


SPREADS = arrays(np.float64, st.integers(1, 30), elements=st.floats(0, 100).filter(lambda s: s == 0 or s > 1e-6))


@given(spread=SPREADS, keep=st.floats(0.01, 1.0))
def test_the_most_certain_are_kept_and_count_more(spread, keep):
    kept, weights = most_certain(spread, keep)
    assert len(kept) == max(1, np.ceil(keep * len(spread) - 1e-9))
    assert_array_equal(kept, np.unique(kept))
    left_out = np.delete(spread, kept)
    assert not len(left_out) or left_out.min() >= spread[kept].max()
    assert ((weights >= 0) & (weights <= 1)).all()
    order = np.argsort(spread[kept])
    assert (np.diff(weights[order]) <= 0).all()
    again, same = most_certain(4 * spread, keep)  # the unit of the scores does not matter
    assert_array_equal(again, kept)
    assert_array_equal(same, weights)


def test_if_most_are_certain_beyond_doubt_all_count_alike():
    assert_array_equal(most_certain(np.array([0.0, 0.0, 0.0, 1.0]), keep=1)[1], np.ones(4))


def test_images_without_labels_come_behind_the_others_with_the_scores_of_the_teacher():
    rng = np.random.default_rng(0)
    pools = [rng.random((n, 16, 16, 3)).astype(np.float32) for n in (2, 1, 3, 1)]
    known, unlabeled = READING.open(pools[:2]), READING.open(pools[2:] + pools[:1])
    teacher = network()
    samples = add_unlabeled(Samples(known, np.array([1.0, 2.0]), np.ones(2), 2), unlabeled, teacher, READING, 0.5)
    spreads, labels = [], []
    for pool in (*pools[2:], pools[0]):
        x = torch.from_numpy(pool).permute(0, 3, 1, 2)
        with torch.no_grad():
            scores = torch.cat([teacher(x).scores, teacher(x.flip(-1)).scores]).double().numpy()
        labels.append(scores.mean())
        spreads.append(scores.std())
    kept = np.sort(np.argsort(spreads)[:2])
    assert_allclose(samples.labels, [1.0, 2.0, *np.array(labels)[kept]], rtol=1e-5)
    expected = np.exp(-np.array(spreads)[kept] / np.median(np.array(spreads)[kept]))
    assert_allclose(samples.weights, [1.0, 1.0, *expected], rtol=1e-4)
    assert samples.n_labelled == 2
    patches = [*pools[0], *pools[1], *np.concatenate([(*pools[2:], pools[0])[i] for i in kept])]
    assert_array_equal([samples.images.read(row) for row in range(len(samples.images.image))], patches)


def test_weights_of_patches_count_in_the_labels():
    rng = np.random.default_rng(0)
    bags = PatchBags.from_list([rng.random((3, 16, 16, 3))], fields={"weights": [np.array([1.0, 0.0, 0.0])]})
    one = READING.open([bags.values[:1]])
    samples = Samples(one, np.zeros(1), np.ones(1), 1)
    weighted, first = (add_unlabeled(samples, images, network(), READING, 1.0) for images in (READING.open(bags), one))
    assert_allclose(weighted.labels, first.labels)


def test_student_and_teacher_begin_alike_and_draw_differently(monkeypatch):
    begun = {}
    monkeypatch.setattr(
        Training, "run", lambda self, samples, validate, checkpoint, name, quiet: begun.update({name: self})
    )
    parameters = dict.fromkeys(("consistency", "contrast", "sparsity", "distillation"), 0.0)
    recipe = Recipe(
        **parameters,
        temperature=0.1,
        perturbation="style",
        max_strength=1.0,
        max_epochs=1,
        batch_size=2,
        lr=1e-3,
        weight_decay=0.0,
        n_iter_no_change=1,
        autocast=None,
    )
    initial = network()
    stages = Stages(initial, READING.preprocess(initial), recipe, 3, None, None, None, True)
    teacher, _ = stages.train("teacher", None, {})
    student, _ = stages.train("student", None, {}, teacher)
    assert teacher is not initial and student is not teacher
    for name, weight in initial.state_dict().items():
        assert torch.equal(weight, student.state_dict()[name])
    assert begun["teacher"].seed != begun["student"].seed
    assert begun["teacher"].teacher is None and begun["student"].teacher is teacher
    assert not student.training
