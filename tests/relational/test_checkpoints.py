import numpy as np
import pytest
from numpy.testing import assert_allclose

from patchdistill.relational.checkpoints import choose_checkpoint

RNG = np.random.default_rng(0)
BASE = RNG.normal(size=40)


def test_takes_the_highest_mean():
    choice = choose_checkpoint({"a": BASE, "b": BASE + 1, "c": BASE + 0.5})
    assert (choice.best, choice.runner_up) == ("b", "c") and list(choice.mean_scores) == ["b", "c", "a"]
    assert_allclose(list(choice.mean_scores.values()), [BASE.mean() + 1, BASE.mean() + 0.5, BASE.mean()])


def test_the_interval_is_that_of_paired_differences():
    gains = 0.2 + 0.3 * RNG.normal(size=40)
    choice = choose_checkpoint({"a": BASE, "b": BASE + gains}, n_resamples=4000, confidence=0.9)
    error = gains.std() / np.sqrt(40)
    assert_allclose(choice.lead["value"], gains.mean())
    expected = gains.mean() + error * np.array([-1.645, 1.645])
    assert_allclose([choice.lead["low"], choice.lead["high"]], expected, atol=0.15 * error)
    assert choice.is_clear


def test_a_lead_by_chance_is_not_clear():
    assert not choose_checkpoint({"a": BASE, "b": BASE + RNG.permutation(np.linspace(-1, 1.1, 40))}).is_clear


def test_equal_models_are_a_draw():
    choice = choose_checkpoint({"first": BASE, "second": BASE})
    assert (choice.best, choice.runner_up, choice.is_clear) == ("first", "second", False)
    assert choice.lead["low"] == choice.lead["high"] == 0


def test_chance_has_a_seed():
    gains = RNG.normal(size=40)
    leads = [choose_checkpoint({"a": BASE, "b": BASE + gains}, random_state=seed).lead for seed in (1, 1, 2)]
    assert leads[0] == leads[1] != leads[2]


@pytest.mark.parametrize("scores", [{}, {"a": [1, 2]}, {"a": [1], "b": [2]}])
def test_needs_two_models_and_two_pictures(scores):
    with pytest.raises(ValueError, match="at least two models and two pictures of each; got {"):
        choose_checkpoint(scores)


def test_needs_the_same_pictures():
    with pytest.raises(ValueError, match="the same pictures; got {'a': 2, 'b': 3}"):
        choose_checkpoint({"a": [1, 2], "b": [1, 2, 3]})
