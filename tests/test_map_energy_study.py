"""The study of map energies: what it keeps, and what it calls better."""

import numpy as np
import pytest
import study_map_energy as study

from patchdistill import PatchBags, ResidualPatchSelector

RNG = np.random.default_rng(0)
ENERGIES = RNG.gamma(1.0, size=(3 * 40, 4))
BAGS = PatchBags(
    RNG.normal(size=(3 * 40, 6)),
    np.arange(4) * 40,
    fields={"energies": ENERGIES, "energy": ENERGIES.sum(axis=1)},
)


@pytest.mark.parametrize("rate", [0.1, 0.45])
@pytest.mark.parametrize("strategy", [*study.strategies(), study.RANDOM])
def test_strategies_keep_what_the_rate_says(strategy, rate):
    keep = study.strategies().get(strategy, lambda *args: study.at_random(0, *args))
    weights = keep(BAGS, rate)
    assert weights.shape == (3, 40)
    np.testing.assert_array_equal((weights > 0).sum(axis=1), round(40 * rate))
    np.testing.assert_allclose(weights.sum(axis=1), 1)


def test_energy_keeps_the_most_changed():
    energies = ENERGIES.sum(axis=1).reshape(3, 40)
    for kept, energy in zip(study.by_energy(BAGS, 0.25) > 0, energies, strict=True):
        assert energy[kept].min() > energy[~kept].max()


def test_both_keeps_the_most_changed_of_the_representatives():
    representatives = ResidualPatchSelector(rate=20, normalize="columns").fit(BAGS).support_
    energies = ENERGIES.sum(axis=1).reshape(3, 40)
    for kept, among, energy in zip(study.by_both(BAGS, 0.25) > 0, representatives, energies, strict=True):
        assert among[kept].all() and energy[kept].min() > energy[among & ~kept].max()


def test_residual_looks_at_the_statistics_or_at_what_changed():
    shuffled = BAGS.with_values(BAGS.values, energies=ENERGIES[::-1], energy=ENERGIES[::-1].sum(axis=1))
    assert (study.by_residual(BAGS, 0.25) == study.by_residual(shuffled, 0.25)).all()
    assert (study.by_residual_of_energies(BAGS, 0.25) != study.by_residual_of_energies(shuffled, 0.25)).any()


def test_panoramas_are_distorted_as_a_whole_and_in_part():
    data = study.PanoramaSet(smoke=True)
    pairs = list(data.pairs("leaves0"))
    assert len(pairs) == 2 * len(study.PANORAMA_KINDS) * len(study.PANORAMA_LEVELS)
    for (whole, reference, label), (part, _, of_part) in zip(pairs[::2], pairs[1::2], strict=True):
        columns = (part != reference).any(axis=(0, 2))
        assert 0 < columns.mean() <= study.PART and label < of_part < 1
        assert (part[:, columns] == whole[:, columns]).all()


@pytest.mark.parametrize(
    ("value", "spread", "sd", "expected"),
    [
        (0.1, 0.02, 0.03, "better"),
        (0.1, 0.02, 0.06, "undecided"),
        (0.1, 0.2, 0.03, "undecided"),
        (-0.1, 0.02, 0.03, "worse"),
        (-0.1, 0.02, 0.06, "undecided"),
        (-0.1, 0.2, 0.03, "undecided"),
    ],
)
def test_better_needs_both_the_scenes_and_the_seeds(value, spread, sd, expected):
    assert study.verdict(np.append(value, value + spread * np.linspace(-1, 1, 100)), sd) == expected
