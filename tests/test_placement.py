import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from scipy import stats

from patchdistill.placement import grid_positions, random_positions


@st.composite
def layouts(draw):
    size = draw(st.integers(1, 40))
    height, width = (size + draw(st.integers(0, 200)) for _ in range(2))
    return height, width, draw(st.integers(1, 250)), size


@given(layouts())
def test_exactly_as_many_inside_and_distinct_when_room(layout):
    height, width, n_patches, size = layout
    top, left = grid_positions(*layout)
    assert top.shape == left.shape == (n_patches,)
    assert top.min() >= 0 and left.min() >= 0
    assert top.max() + size <= height and left.max() + size <= width
    if (height - size + 1) * (width - size + 1) >= n_patches:
        assert len(set(zip(top.tolist(), left.tolist(), strict=True))) == n_patches


def test_every_place_of_a_small_picture_can_be_filled():
    for height, width in np.ndindex(8, 8):
        for n_patches in range(1, (height + 1) * (width + 1) + 1):
            positions = np.transpose(grid_positions(height + 3, width + 3, n_patches, 3))
            assert len(np.unique(positions, axis=0)) == n_patches


@given(layouts())
def test_reaches_from_edge_to_edge_in_even_steps(layout):
    height, width, n_patches, size = layout
    assume((height - size + 1) * (width - size + 1) >= n_patches)
    top, left = grid_positions(*layout)
    rows = np.unique(top)
    if len(rows) > 1:
        assert rows[0] == 0 and rows[-1] == height - size
        assert np.ptp(np.diff(rows)) <= 1
    lengths = []
    for row in rows[: len(rows) if len(rows) > 1 else 0]:
        across = np.unique(left[top == row])
        lengths.append((top == row).sum())
        if len(across) > 1:
            assert across[0] == 0 and across[-1] == width - size
            assert np.ptp(np.diff(across)) <= 1
    assert not lengths or max(lengths) - min(lengths) <= 1


def test_the_common_case():
    top, left = grid_positions(640, 1280, 180, 64)
    rows, columns = np.unique(top), np.unique(left)
    # 9 x 20 would step by 72 down and 64 across (ratio 1.125), 10 x 18 by 64 and 71.5 (1.118).
    assert (len(rows), len(columns)) == (10, 18)
    assert_array_equal(top, np.repeat(rows, 18))
    assert_array_equal(left, np.tile(columns, 10))


def test_prime_number_of_patches_on_a_square():
    top, left = grid_positions(1000, 1000, 101, 64)
    rows, counts = np.unique(top, return_counts=True)
    assert counts.sum() == 101 and set(counts) == {10, 11}  # not one row of 101
    assert len(rows) == 10


def test_positions_are_rounded_not_cut():
    assert_array_equal(grid_positions(64, 10, 4, 10)[0], [0, 18, 36, 54])
    assert_array_equal(grid_positions(63, 10, 4, 10)[0], [0, 18, 35, 53])  # steps of 17.67


def test_one_patch_lies_in_the_middle():
    assert [int(p[0]) for p in grid_positions(100, 201, 1, 20)] == [40, 90]


def test_a_picture_of_the_size_of_a_patch():
    top, left = grid_positions(8, 8, 3, 8)
    assert_array_equal(top, 0)
    assert_array_equal(left, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((10, 30, 4, 11), r"patch_size=11 does not fit into a picture of 10 x 30 pixels.*Lower patch_size"),
        ((30, 10, 4, 11), "30 x 10"),
        ((30, 30, 0, 11), "at least 1; got 0 and 11"),
        ((30, 30, 4, 0), "at least 1; got 4 and 0"),
    ],
)
def test_impossible_layouts(arguments, message):
    with pytest.raises(ValueError, match=message):
        grid_positions(*arguments)


@given(layouts(), st.integers(0, 2**32 - 1))
def test_random_places_lie_inside(layout, seed):
    height, width, n_patches, size = layout
    top, left = random_positions(*layout, seed)
    assert top.shape == left.shape == (n_patches,)
    assert top.min() >= 0 and left.min() >= 0
    assert top.max() + size <= height and left.max() + size <= width
    for again, first in zip(random_positions(*layout, seed), (top, left), strict=True):
        assert_array_equal(again, first)


def test_random_places_are_equally_likely():
    top, left = random_positions(6, 8, 40000, 4, random_state=0)
    counts = np.zeros((3, 5))
    np.add.at(counts, (top, left), 1)
    assert stats.chisquare(counts.ravel()).pvalue > 0.01
    assert (random_positions(6, 8, 100, 4, random_state=1)[0] != top[:100]).any()


@pytest.mark.parametrize("arguments", [(10, 30, 4, 11), (30, 10, 4, 11), (30, 30, 0, 11), (30, 30, 4, 0)])
def test_impossible_random_places(arguments):
    with pytest.raises(ValueError, match="does not fit into a picture|at least 1"):
        random_positions(*arguments)
