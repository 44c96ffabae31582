import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from patchdistill.embedding.windows import Windows

RNG = np.random.default_rng(0)
TOP, LEFT, SIZE = np.array([0, 7, 7, 20, 33]), np.array([3, 0, 30, 11, 30]), 16
PLANE = RNG.random((1, 49, 46)).astype(np.float32)
WINDOWS = Windows(TOP, LEFT, (SIZE, SIZE), PLANE.shape[1:])


@pytest.mark.parametrize("trim", [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_mean_is_the_mean_of_slices(trim):
    down, across = trim
    plane = PLANE[:, : PLANE.shape[1] - down, : PLANE.shape[2] - across]
    slices = [plane[0, t : t + SIZE - down, le : le + SIZE - across] for t, le in zip(TOP, LEFT, strict=True)]
    assert_allclose(WINDOWS.mean(plane), [s.mean() for s in slices], rtol=1e-5)


@given(
    st.integers(16, 40), st.integers(16, 40), st.integers(0, 24), st.integers(0, 24), st.sampled_from([2, 4]), st.data()
)
def test_coarse_mean_weighs_border_pixels_by_coverage(height, width, more_down, more_across, factor, data):
    shape = height + more_down, width + more_across
    top, left = data.draw(st.integers(0, more_down)), data.draw(st.integers(0, more_across))
    coarse = RNG.random((1, -(-shape[0] // factor), -(-shape[1] // factor))).astype(np.float32)
    # Written out at full size, every coarse pixel a block, the window is a slice again.
    fine = np.repeat(np.repeat(coarse[0], factor, axis=0), factor, axis=1)
    mean = Windows([top], [left], (height, width), shape).mean(coarse, factor)
    assert_allclose(mean, fine[top : top + height, left : left + width].mean(), rtol=1e-5)


def test_mean_of_a_ramp():
    ramp = np.add.outer(2.0 * np.arange(49), 3.0 * np.arange(46))[None].astype(np.float32)
    middle = (SIZE - 1) / 2
    assert_allclose(WINDOWS.mean(ramp), 2 * (TOP + middle) + 3 * (LEFT + middle), rtol=1e-6)


def test_pictures_do_not_mix():
    planes = RNG.random((4, 49, 46)).astype(np.float32)
    assert_array_equal(WINDOWS.mean(planes), np.concatenate([WINDOWS.mean(plane[None]) for plane in planes]))
    whole = Windows([0], [0], (49, 46), (49, 46))
    assert_allclose(whole.mean(planes), planes.mean(axis=(1, 2)), rtol=1e-5)
    assert_allclose(whole.column_profile(planes), planes.mean(axis=1), rtol=1e-5)


@pytest.mark.parametrize("across", [0, 1])
def test_column_profile_is_that_of_slices(across):
    plane = PLANE[:, :, : PLANE.shape[2] - across]
    expected = [plane[0, t : t + SIZE, le : le + SIZE - across].mean(axis=0) for t, le in zip(TOP, LEFT, strict=True)]
    assert_allclose(WINDOWS.column_profile(plane), expected, rtol=1e-5)


def test_transpose():
    turned = WINDOWS.transpose()
    assert_allclose(turned.mean(PLANE.swapaxes(1, 2)), WINDOWS.mean(PLANE), rtol=1e-5)
    expected = [PLANE[0, t : t + SIZE, le : le + SIZE].mean(axis=1) for t, le in zip(TOP, LEFT, strict=True)]
    assert_allclose(turned.column_profile(PLANE.swapaxes(1, 2)), expected, rtol=1e-5)
