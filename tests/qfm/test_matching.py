"""Partners are those that a search through all pairs finds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.utils.estimator_checks import parametrize_with_checks

from patchdistill.qfm import QualityMatcher, match_pairs
from patchdistill.qfm import matching as module
from patchdistill.qfm.matching import as_pairs, pair_laplacian, unmatched_rate


def search(y, semantics, groups, pairing, tau, k):
    """Look at every pair, one after the other."""
    partners = []
    for i in range(len(y)):
        found = []
        for j in range(len(y)):
            a, b = semantics[i], semantics[j]
            cosine = round(float(a @ b) / float(np.linalg.norm(a) * np.linalg.norm(b)), 10)
            alike = abs(y[j] - y[i]) <= tau * np.std(y)
            if groups[i] != groups[j] and alike == (pairing == "quality"):
                found.append((cosine if pairing == "quality" else -cosine, j))
        best = [j for _, j in sorted(found)[:k]]
        partners.append(best + [-1] * (k - len(best)))
    return np.array(partners)


@st.composite
def images(draw):
    """Labels, descriptors and groups; labels and descriptors with ties."""
    n, m = draw(st.integers(10, 30)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    y = np.append(rng.integers(0, 8, n - 2), [0, 9]).astype(float)
    semantics = rng.integers(-2, 3, (n, m)) + 0.5
    groups = np.append(rng.integers(0, draw(st.integers(2, n)), n - 2), [0, 1])
    return y, semantics, groups


class TestMatchPairs:
    @given(images(), st.sampled_from(["quality", "semantic"]), st.sampled_from([0.1, 0.5, 2.0]), st.integers(1, 4))
    def test_is_a_search_through_all_pairs(self, data, pairing, tau, k):
        y, semantics, groups = data
        found = match_pairs(y, semantics, groups, pairing=pairing, tau=tau, k=k)
        assert_array_equal(found, search(y, semantics, groups, pairing, tau, k))

    @given(images(), st.sampled_from(["quality", "semantic"]), st.integers(1, 100))
    def test_blocks_change_nothing(self, data, pairing, block):
        whole = match_pairs(*data, pairing=pairing)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "_BLOCK", block)
            assert_array_equal(match_pairs(*data, pairing=pairing), whole)

    @given(images(), st.sampled_from(["quality", "semantic"]), st.floats(0.01, 10))
    def test_no_partner_shares_a_group_and_labels_are_as_asked(self, data, pairing, tau):
        y, semantics, groups = data
        image, partner = as_pairs(match_pairs(y, semantics, groups, pairing=pairing, tau=tau)).T
        assert (groups[image] != groups[partner]).all()
        assert ((np.abs(y[image] - y[partner]) <= tau * y.std()) == (pairing == "quality")).all()

    @given(images(), st.floats(0.1, 10), st.floats(-5, 5))
    def test_units_of_labels_and_lengths_of_descriptors_do_not_matter(self, data, scale, shift):
        y, semantics, groups = data
        lengths = np.linspace(0.5, 3, len(y))[:, None]
        # A little more than tau, so that rounding decides no tie.
        assert_array_equal(
            match_pairs(scale * y + shift, lengths * semantics, groups, tau=0.3001),
            match_pairs(y, semantics, groups, tau=0.3001),
        )

    def test_without_groups_every_image_is_a_scene_of_its_own(self):
        rng = np.random.default_rng(0)
        y, semantics = rng.normal(size=20), rng.normal(size=(20, 3))
        found = match_pairs(y, semantics, tau=np.inf, k=19)
        assert_array_equal(np.sort(found, axis=1), [[j for j in range(20) if j != i] for i in range(20)])
        assert_array_equal(match_pairs(y, semantics, list("abcdefghijklmnopqrst"), tau=np.inf, k=19), found)

    def test_a_difference_of_just_tau_is_similar_quality(self):
        y = np.tile([1.0, -1.0], 6)  # their standard deviation is 1
        assert (match_pairs(y, np.eye(12), tau=2.0, k=11) >= 0).sum() == 12 * 11
        assert (match_pairs(y, np.eye(12), tau=2.0, k=11, pairing="semantic") < 0).all()

    def test_more_partners_than_images_are_padded(self):
        rng = np.random.default_rng(0)
        found = match_pairs(rng.normal(size=12), rng.normal(size=(12, 3)), tau=np.inf, k=15)
        assert found.shape == (12, 15)
        assert ((found >= 0).sum(axis=1) == 11).all()

    def test_a_descriptor_of_zeros_is_like_none(self):
        semantics = np.eye(12)
        semantics[3] = 0
        assert (match_pairs(np.arange(12.0), semantics, tau=np.inf, k=2)[3] == [0, 1]).all()

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"y": np.full(12, 3.5)}, "All labels are 3.5; labels that differ"),
            ({"y": np.full(12, 0.1) + 1e-18}, "All labels are 0.1"),
            ({"y": np.append(np.arange(11.0), np.nan)}, "y contains NaN"),
            ({"semantics": np.full((12, 2), np.inf)}, "semantics contains infinity"),
            ({"groups": ["cafe"] * 12}, "All images are of one group"),
            ({"groups": [None] * 12}, "Image 0 has no scene"),
            ({"y": np.arange(11.0)}, "inconsistent numbers of samples"),
            ({"groups": list("ab")}, "inconsistent numbers of samples"),
            ({"tau": 0.0}, r"'tau' parameter of match_pairs must be a float in the range \(0.0, inf\]"),
            ({"tau": np.nan}, "'tau' parameter"),
            ({"k": 0}, "'k' parameter"),
            ({"pairing": "both"}, "'pairing' parameter"),
        ],
    )
    def test_bad_input(self, changes, message):
        arguments = {"y": np.arange(12.0), "semantics": np.eye(12), **changes}
        with pytest.raises(ValueError, match=message):
            match_pairs(arguments.pop("y"), arguments.pop("semantics"), **arguments)

    def test_too_few_images(self):
        with pytest.raises(ValueError, match="There are 9 images, but matching needs at least 10"):
            match_pairs(np.arange(9.0), np.eye(9))


class TestPairs:
    partners = np.array([[2, -1], [-1, -1], [0, 1]])

    def test_list_and_rate(self):
        assert_array_equal(as_pairs(self.partners), [[0, 2], [2, 0], [2, 1]])
        assert unmatched_rate(self.partners) == 1 / 3

    def test_laplacian_is_the_mean_squared_difference(self):
        z = np.array([1.0, 10.0, 4.0])
        laplacian = pair_laplacian(self.partners)
        assert_allclose(z @ (laplacian @ z), (9 + 9 + 36) / 3)
        assert_allclose(laplacian.toarray(), laplacian.toarray().T)
        assert_allclose(laplacian.sum(axis=1), 0, atol=1e-15)

    def test_no_pairs_at_all(self):
        nothing = np.full((4, 2), -1)
        assert as_pairs(nothing).shape == (0, 2)
        assert unmatched_rate(nothing) == 1
        assert_array_equal(pair_laplacian(nothing).toarray(), np.zeros((4, 4)))


class TestQualityMatcher:
    def test_is_the_function(self):
        rng = np.random.default_rng(0)
        X, y, groups = rng.normal(size=(30, 4)), rng.normal(size=30), np.arange(30) // 10
        matcher = QualityMatcher("semantic", tau=2.5, k=2).fit(X, y, groups)
        expected = match_pairs(y, X, groups, pairing="semantic", tau=2.5, k=2)
        assert_array_equal(matcher.partners_, expected)
        assert_array_equal(matcher.pairs_, as_pairs(expected))
        assert matcher.unmatched_rate_ == unmatched_rate(expected)
        assert 0 < matcher.unmatched_rate_ < 1

    @parametrize_with_checks([QualityMatcher()])
    def test_scikit_learn_checks(self, estimator, check):
        check(estimator)
