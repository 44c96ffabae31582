import itertools

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from patchdistill.datasets import dead_leaves
from patchdistill.relational import DistortionEngine
from patchdistill.relational.channels import CORE6
from patchdistill.relational.tiers import PAIR_KINDS, STEPS, TIERS, list_pairs, make_ranked_versions

PICTURE = dead_leaves(40, 48, random_state=0)
ENGINE = DistortionEngine()


class RecordingEngine(DistortionEngine):
    """Keeps what was asked for."""

    def apply(self, ref, amplitudes, masks=None, rng=None):
        if not hasattr(self, "calls_"):
            self.calls_ = []
        image, label, valid = super().apply(ref, amplitudes, masks, rng)
        self.calls_.append((np.array(amplitudes), np.array(masks), label))
        return image, label, valid


@pytest.fixture(scope="module", params=range(3))
def made(request):
    engine = RecordingEngine()
    return make_ranked_versions(PICTURE, engine, random_state=request.param), engine.calls_


def test_amounts_are_mean_absolute_labels(made):
    versions, calls = made
    assert len(versions.images) == len(versions.amounts) == len(versions.ladders) == len(calls) == 24
    assert_allclose(versions.amounts, [np.abs(label).sum(axis=0).mean() for *_, label in calls], rtol=1e-5)


def test_ladders_keep_type_and_place_while_the_level_grows(made):
    versions, calls = made
    assert sorted(set(versions.ladders[:8])) == [0, 1]
    for ladder in range(2):
        steps = np.flatnonzero(versions.ladders == ladder)
        amplitudes, masks, labels = (np.stack(part) for part in zip(*(calls[i] for i in steps), strict=True))
        assert (masks == masks[0]).all()
        assert_allclose(amplitudes, np.outer(STEPS, amplitudes[-1]))
        assert (np.diff(np.abs(labels), axis=0) >= 0).all()
        assert (np.diff(versions.amounts[steps]) > 0).all()
        # The last step is the highest level of the type: one of its channels can do no more, or the level is 1.
        total = np.abs(amplitudes[-1]).sum()
        at_end = [
            np.isclose(level, ENGINE.level_range(name)[int(level > 0)])
            for name, level in zip(CORE6, amplitudes[-1], strict=True)
            if level
        ]
        assert total <= 1 + 1e-12 and (any(at_end) or np.isclose(total, 1))


def test_the_noise_of_a_ladder_is_the_same_on_all_steps():
    gray = np.full((32, 32, 3), 0.5, dtype=np.float32)
    versions = make_ranked_versions(gray, DistortionEngine(["noise"], masks="full"), n_ladders=1, n_types=0)
    for fainter, stronger in itertools.pairwise(versions.images):
        assert np.corrcoef(fainter.ravel() - 0.5, stronger.ravel() - 0.5)[0, 1] > 0.99


def test_tiers_hold_different_types_of_one_level_at_one_place(made):
    versions, calls = made
    amplitudes, masks, _ = (np.stack(part) for part in zip(*calls[8:], strict=True))
    assert (versions.ladders[8:] == -1).all()
    assert_allclose(np.abs(amplitudes).sum(axis=1), np.repeat(TIERS, 4))
    assert (masks == masks[0]).all()
    for tier in np.sign(amplitudes).reshape(4, 4, 6):
        assert len(np.unique(tier, axis=0)) == 4
    assert set(np.count_nonzero(amplitudes, axis=1)) <= {1, 2, 3}
    for of_one in amplitudes:  # the channels of a mix share its level evenly
        assert np.ptp(np.abs(of_one[of_one != 0])) < 1e-12
    # Of noise that is sharpened or blurred later nothing is taken: the order is that of a camera.
    assert_allclose(versions.amounts[8:], np.repeat(TIERS, 4) * masks[0].mean(), rtol=1e-3)


class Limited(RecordingEngine):
    """Cannot do much of two channels."""

    def level_range(self, channel):
        return {"exposure": (-1.0, 1.0), "saturation": (-0.2, 0.1), "noise": (0.0, 0.3)}[channel]


def test_all_types_that_reach_a_level_are_drawn():
    small = dead_leaves(16, random_state=1)
    engine = Limited(["exposure", "saturation", "noise"], masks="full")
    for seed in range(60):
        make_ranked_versions(small, engine, n_ladders=0, n_types=2, random_state=seed)
    mixes = list(itertools.product((-1, 0, 1), (-1, 0, 1), (0, 1)))
    for i, level in enumerate(TIERS):
        possible = set()
        for mix in mixes:
            share = level / max(np.count_nonzero(mix), 1)
            fits = [
                e == 0 or share <= np.abs(engine.level_range(c)[int(e > 0)])
                for c, e in zip(engine.channels, mix, strict=True)
            ]
            if any(mix) and all(fits):
                possible.add(mix)
        calls = [call for call in engine.calls_ if np.isclose(np.abs(call[0]).sum(), level)]
        found = {tuple(np.sign(amplitudes).astype(int)) for amplitudes, *_ in calls}
        assert found == possible, i
        assert len(calls) == 60 * min(2, len(possible))


def test_sizes_of_mixes_are_equally_frequent():
    engine = RecordingEngine(masks="full")
    for seed in range(100):
        make_ranked_versions(dead_leaves(8, random_state=1), engine, n_ladders=2, n_types=0, random_state=seed)
    sizes = [np.count_nonzero(amplitudes) for amplitudes, *_ in engine.calls_[::4]]
    assert (np.abs(np.bincount(sizes, minlength=4)[1:] - 200 / 3) < 30).all()


def test_there_may_be_fewer_types_than_asked_for():
    versions = make_ranked_versions(PICTURE, DistortionEngine(["noise"], masks="full"), n_ladders=0)
    assert_allclose(versions.amounts, TIERS, rtol=1e-5)
    engine = Limited(["saturation", "noise"], masks="full")
    versions = make_ranked_versions(PICTURE, engine, n_ladders=1, n_types=9)
    assert_allclose(sorted(set(versions.amounts[4:].round(4))), [0.1, 0.2, 0.35])  # none reaches 0.6


def test_masks_are_those_of_the_engine():
    full = make_ranked_versions(PICTURE, DistortionEngine(masks="full"), random_state=1)
    assert_allclose(full.amounts[8:], np.repeat(TIERS, 4), atol=1e-3)
    engine = RecordingEngine(masks="box", geometry="panorama")
    wraps = 0
    for seed in range(8):
        make_ranked_versions(dead_leaves(24, 48, random_state=0), engine, n_types=1, random_state=seed)
    for _, mask, _ in engine.calls_:
        assert set(np.unique(mask)) == {0, 1}
        columns = mask.any(axis=0)
        wraps += bool(columns[0] and columns[-1] and not columns.all())
    assert wraps > 0


def test_a_seed_is_a_result():
    engine = DistortionEngine()
    one, same, other = (make_ranked_versions(PICTURE, engine, random_state=seed) for seed in (3, 3, 4))
    assert all(a.tobytes() == b.tobytes() for a, b in zip(one.images, same.images, strict=True))
    assert_array_equal(one.amounts, same.amounts)
    assert any((a != b).any() for a, b in zip(one.images, other.images, strict=True))


def test_the_picture_is_not_written_into():
    picture = PICTURE.copy()
    make_ranked_versions(picture, DistortionEngine())
    assert_array_equal(picture, PICTURE)


def test_pairs_are_those_that_can_be_compared():
    rng = np.random.default_rng(0)
    amounts, scenes, ladders = rng.integers(0, 5, 40) / 4, rng.integers(0, 3, 40), rng.integers(-1, 2, 40)
    pairs = list_pairs(amounts, scenes, ladders)
    assert tuple(pairs) == PAIR_KINDS
    expected = {kind: set() for kind in PAIR_KINDS}
    for i, j in itertools.combinations(range(40), 2):
        if ladders[i] == ladders[j] >= 0 and scenes[i] == scenes[j]:
            expected["ladder"].add(frozenset((i, j)))
        if ladders[i] == ladders[j] == -1:
            expected["tiers" if scenes[i] == scenes[j] else "scenes"].add(frozenset((i, j)))
    for kind, found in pairs.items():
        assert {frozenset(pair) for pair in found.tolist()} == expected[kind] and len(found) == len(expected[kind]) > 0
        assert (amounts[found[:, 0]] <= amounts[found[:, 1]]).all()


def test_no_versions_have_no_pairs():
    none = np.array([], dtype=int)
    assert all(pairs.shape == (0, 2) for pairs in list_pairs(np.array([]), none, none).values())
