import pickle
import warnings

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from PIL import Image
from sklearn.base import clone

from patchdistill.sampling import GridSampler, grid_positions

RNG = np.random.default_rng(0)


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


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_sampler_cuts_slices(dtype):
    images = [(RNG.random((40 + i, 60, 3)) * (255 if dtype == np.uint8 else 1)).astype(dtype) for i in range(3)]
    bags = GridSampler(n_patches=6, patch_size=16).fit_transform(images)
    assert bags.values.dtype == dtype
    assert bags.ids.tolist() == [0, 1, 2]
    for i, image in enumerate(images):
        for patch, t, le in zip(bags[i], bags.field("top", i), bags.field("left", i), strict=True):
            assert_array_equal(patch, image[t : t + 16, le : le + 16])


def test_sampler_reads_paths_and_stacks(tmp_path):
    stack = RNG.integers(0, 256, (2, 40, 40, 3), dtype=np.uint8)
    for name, image in zip("ab", stack, strict=True):
        Image.fromarray(image).save(tmp_path / f"{name}.png")
    sampler = GridSampler(n_patches=4, patch_size=16)
    from_stack, from_paths = sampler.transform(stack), sampler.transform([tmp_path / "a.png", tmp_path / "b.png"])
    assert_array_equal(from_stack.values, from_paths.values)
    assert from_paths.ids.tolist() == ["a", "b"]


def test_sampler_refuses_to_mix_ranges():
    with pytest.raises(ValueError, match=r"Image 1 has dtype float64, but image 0 has uint8.*Divide"):
        GridSampler(2, 8).transform([np.zeros((16, 16, 3), np.uint8), np.zeros((16, 16, 3))])


def test_sampler_names_the_picture_that_is_too_small():
    with pytest.raises(ValueError, match="Image 1: patch_size=32 does not fit"):
        GridSampler(2, 32).transform([np.zeros((64, 64, 3)), np.zeros((64, 16, 3))])


def test_sampler_warns_of_copies():
    with pytest.warns(UserWarning, match=r"Image 0 \(8 x 9 pixels\) has room for 2 different.*3 were asked"):
        GridSampler(3, 8).transform([np.zeros((8, 9, 3))])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        GridSampler(2, 8).transform([np.zeros((8, 9, 3))])


@pytest.mark.parametrize("parameters", [{"n_patches": 0}, {"patch_size": 0}, {"n_patches": 2.5}])
def test_sampler_checks_parameters_where_they_are_used(parameters):
    sampler = GridSampler(**parameters)
    for call in (sampler.fit, lambda: sampler.transform([np.zeros((64, 64, 3))])):
        with pytest.raises(ValueError, match=f"The {next(iter(parameters))!r} parameter of GridSampler"):
            call()


def test_sampler_is_an_estimator():
    sampler = GridSampler(n_patches=2, patch_size=8)
    image = RNG.random((16, 16, 3))
    for twin in (clone(sampler), pickle.loads(pickle.dumps(sampler))):
        assert_array_equal(twin.transform([image]).values, sampler.transform([image]).values)
    assert sampler.set_output(transform="default") is sampler
    with pytest.raises(ValueError, match="cannot output 'pandas'"):
        sampler.set_output(transform="pandas")
