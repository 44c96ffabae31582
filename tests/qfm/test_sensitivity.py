"""The sensitivity is the mean over pairs, in standard deviations of the scores."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from patchdistill.qfm import match_pairs, semantic_sensitivity

PARTNERS = np.array([[1, 2], [0, -1], [-1, -1]])


def test_mean_over_pairs():
    scores = np.array([1.0, 4.0, 2.0])
    assert_allclose(semantic_sensitivity(scores, PARTNERS), (3 + 1 + 3) / 3 / scores.std())


def test_scores_with_the_semantics_of_partners():
    scores, perturbed = np.array([1.0, 4.0, 2.0]), np.array([[1.5, 1.0], [6.0, np.nan], [np.nan, np.nan]])
    assert_allclose(semantic_sensitivity(scores, PARTNERS, perturbed), (0.5 + 0 + 2) / 3 / scores.std())


@given(st.integers(0, 1000), st.floats(0.1, 10), st.floats(-5, 5))
def test_units_do_not_matter(seed, scale, shift):
    scores = np.random.default_rng(seed).normal(size=3)
    assert_allclose(semantic_sensitivity(scale * scores + shift, PARTNERS), semantic_sensitivity(scores, PARTNERS))


def test_labels_have_at_most_tau_and_chance_has_two_over_the_root_of_pi():
    rng = np.random.default_rng(0)
    y, shown = rng.normal(size=2000), rng.normal(size=(2000, 5))
    partners = match_pairs(y, shown, tau=0.25)
    assert 0 < semantic_sensitivity(y, partners) <= 0.25
    assert_allclose(semantic_sensitivity(rng.normal(size=2000), partners), 2 / np.sqrt(np.pi), rtol=0.05)


def test_bad_input():
    with pytest.raises(ValueError, match="No image has a partner"):
        semantic_sensitivity([1.0, 2.0, 3.0], np.full((3, 1), -1))
    with pytest.raises(ValueError, match="All scores are 2, so that"):
        semantic_sensitivity([2.0, 2.0, 2.0], PARTNERS)
