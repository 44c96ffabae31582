from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from patchdistill.relational import masks as masks_module
from patchdistill.relational.masks import KINDS, check_masks, draw_kind, expand_masks, make_mask


@given(st.sampled_from(KINDS), st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32), st.booleans())
def test_masks_lie_in_the_unit_interval(kind, height, width, seed, on_sphere):
    mask = make_mask(kind, height, width, np.random.default_rng(seed), on_sphere)
    assert mask.shape == (height, width) and mask.dtype == np.float32
    assert mask.min() >= 0 and mask.max() <= 1
    assert_array_equal(mask, make_mask(kind, height, width, np.random.default_rng(seed), on_sphere))


@pytest.mark.parametrize("on_sphere", [False, True])
@pytest.mark.parametrize("kind", ["field", "box", "half", "ramp"])
def test_masks_leave_a_part_out_and_take_a_part_in(kind, on_sphere):
    for seed in range(20):
        mask = make_mask(kind, 48, 96, np.random.default_rng(seed), on_sphere)
        assert mask.min() < 0.05 and mask.max() > 0.95
        assert 0.08 < mask.mean() < 0.78


@given(st.integers(0, 1000), st.floats(0.3, 0.7))
def test_the_middle_of_a_soft_edge_is_where_the_share_ends(seed, share):
    values = np.random.default_rng(seed).standard_normal((20, 30))
    assert abs((masks_module._threshold(values, share) > 0.5).mean() - (1 - share)) <= 1 / 600


def test_places_of_flat_pictures_are_pixels_in_units_of_the_shorter_side():
    for height, width in ((4, 6), (6, 4)):
        places = masks_module._plane(height, width)
        assert_allclose(places[0, 0], [0.125, 0.125])
        assert_allclose(places[-1, -1], [height / 4 - 0.125, width / 4 - 0.125])


def test_places_of_panoramas_are_centers_of_pixels_on_the_sphere():
    places = masks_module._sphere(6, 12)
    assert_allclose(np.linalg.norm(places, axis=-1), 1, rtol=1e-6)
    # Half around, the point is opposite on its parallel; on the mirrored row, the one below the equator.
    assert_allclose(np.roll(places, 6, axis=1), places * [-1, -1, 1], atol=1e-6)
    assert_allclose(places[::-1], places * [1, 1, -1], atol=1e-6)
    cosine, sine = np.cos(np.pi / 12), np.sin(np.pi / 12)
    assert_allclose(places[2, 0], [cosine * cosine, cosine * sine, sine], rtol=1e-6)


def test_the_full_mask_is_everywhere():
    assert (make_mask("full", 5, 7, np.random.default_rng(0)) == 1).all()


def test_a_box_has_sides_of_a_third_to_four_fifths():
    for seed in range(30):
        mask = make_mask("box", 100, 200, np.random.default_rng(seed))
        rows, columns = mask.any(axis=1), mask.any(axis=0)
        assert_array_equal(mask, np.outer(rows, columns))
        assert 30 <= rows.sum() <= 80 and 60 <= columns.sum() <= 160
        # In one piece: the sides do not go on at the other border.
        assert abs(np.diff(rows.astype(int))).sum() <= 2 and abs(np.diff(columns.astype(int))).sum() <= 2


def test_a_half_is_on_one_side_of_a_line():
    for seed in range(10):
        mask = make_mask("half", 60, 60, np.random.default_rng(seed))
        share = mask.mean()
        assert 0.28 < share < 0.72
        soft = (mask > 0) & (mask < 1)
        rows, columns = np.nonzero(soft)
        # All pixels of the soft edge lie within 0.03 of one line.
        centered = np.stack([rows, columns]) - np.mean([rows, columns], axis=1, keepdims=True)
        _, _, vt = np.linalg.svd(centered @ centered.T)
        assert np.abs(vt[1] @ centered).max() <= 0.03 * 60


def test_a_ramp_is_a_plane_from_zero_to_one():
    mask = make_mask("ramp", 40, 64, np.random.default_rng(3)).astype(float)
    assert mask.min() == 0 and mask.max() == 1
    assert_allclose(np.diff(mask, 2, axis=0), 0, atol=1e-5)
    assert_allclose(np.diff(mask, 2, axis=1), 0, atol=1e-5)


@pytest.mark.parametrize("kind", ["field", "half", "ramp"])
def test_on_the_sphere_first_and_last_column_are_neighbors(kind):
    def seam(on_sphere):
        """How much more first and last column differ than other neighbors do."""
        masks = np.stack([make_mask(kind, 32, 96, np.random.default_rng(seed), on_sphere) for seed in range(30)])
        return np.abs(masks[..., 0] - masks[..., -1]).mean() / np.abs(np.diff(masks)).mean()

    assert seam(on_sphere=True) < 1.7
    assert seam(on_sphere=False) > 5  # so that the test can fail


def test_boxes_cross_the_seam():
    masks = [make_mask("box", 32, 64, np.random.default_rng(seed), on_sphere=True).any(axis=0) for seed in range(60)]
    crossing = [mask for mask in masks if mask[0] and mask[-1] and not mask.all()]
    assert 5 < len(crossing) < 55
    assert all(abs(np.diff(mask.astype(int), append=int(mask[0]))).sum() == 2 for mask in masks)


@pytest.mark.parametrize("on_sphere", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_masks_have_the_same_shape_at_other_sizes(kind, on_sphere):
    for seed in range(8):
        small = make_mask(kind, 96, 128, np.random.default_rng(seed), on_sphere)
        large = make_mask(kind, 288, 384, np.random.default_rng(seed), on_sphere)
        reduced = large.reshape(96, 3, 128, 3).mean(axis=(1, 3))
        assert np.abs(small - reduced).mean() < 0.05


def test_kinds_are_drawn_in_their_shares():
    rng = np.random.default_rng(0)
    n = 4000
    drawn = Counter(draw_kind("mixed", rng) for _ in range(n))
    for kind, share in zip(KINDS, [0.30, 0.40, 0.075, 0.075, 0.15], strict=True):
        assert abs(drawn[kind] / n - share) < 4 * np.sqrt(share * (1 - share) / n)
    assert {draw_kind("box", rng) for _ in range(20)} == {"box"}


@given(seed=st.integers(0, 1000))
@settings(max_examples=10)
def test_the_kind_asked_for_changes_nothing_of_what_is_drawn_next(seed):
    mixed, box = np.random.default_rng(seed), np.random.default_rng(seed)
    draw_kind("mixed", mixed), draw_kind("box", box)
    assert mixed.random() == box.random()


def test_refuses_other_kinds():
    for masks in ("mixed", *KINDS):
        check_masks(masks)
    with pytest.raises(ValueError, match=r"'mixed' or one of 'full', 'field'.*got 'circle'"):
        check_masks("circle")


def test_one_mask_serves_all_channels():
    mask = np.random.default_rng(0).random((4, 6))
    assert_array_equal(expand_masks(mask, 3, (4, 6)), np.stack(3 * [mask.astype(np.float32)]))
    assert_array_equal(expand_masks(None, 3, (4, 6)), np.ones((3, 4, 6)))
    each = np.random.default_rng(1).random((3, 4, 6)).astype(np.float32)
    assert_array_equal(expand_masks(each, 3, (4, 6)), each)


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        (np.ones((2, 4, 6)), r"shape \(3, 4, 6\), or \(4, 6\) for all channels alike; got \(2, 4, 6\)"),
        (np.full((4, 6), 1.5), r"\[0, 1\]; got 1.5 to 1.5"),
        (np.full((4, 6), -0.5), r"\[0, 1\]; got -0.5 to -0.5"),
        (np.full((4, 6), np.nan), r"\[0, 1\]; got nan"),
    ],
)
def test_refuses_masks_that_do_not_fit(masks, message):
    with pytest.raises(ValueError, match=message):
        expand_masks(masks, 3, (4, 6))
