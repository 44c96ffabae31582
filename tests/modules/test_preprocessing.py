import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

torch = pytest.importorskip("torch")

from patchdistill.images import is_pixels  # noqa: E402
from patchdistill.modules.preprocessing import Preprocess  # noqa: E402

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 12, 17, 3), dtype=np.uint8)
SIDES = st.integers(1, 40)
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


def preprocess(pixels, **parameters):
    return Preprocess(**parameters)(torch.from_numpy(pixels)).numpy()


def pillow(plane, height, width):
    picture = Image.fromarray(plane.astype(np.float32), mode="F")
    return np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR))


def test_channels_go_to_the_front_and_255_becomes_1():
    x = preprocess(PIXELS)
    assert x.dtype == np.float32
    assert_array_equal(x, np.transpose(PIXELS, (0, 3, 1, 2)).astype(np.float32) / 255)
    assert x.min() == 0 and x.max() == 1


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("size", [None, (5, 30)])
def test_float_pixels_agree_with_uint8_pixels(dtype, size):
    stored = preprocess(PIXELS, size=size, **IMAGENET)
    floats = preprocess((PIXELS / 255).astype(dtype), size=size, **IMAGENET)
    assert floats.dtype == np.float32
    # Half precision has 11 bits, so that a level in [0, 1] is off by 2**-12 at most, which std=0.224 makes larger.
    assert_allclose(floats, stored, atol=2**-12 / 0.224 if dtype == np.float16 else 2e-6)


def test_channels_are_standardized_in_the_range_0_to_1():
    mean, std = np.array(IMAGENET["mean"]), np.array(IMAGENET["std"])
    expected = np.transpose((PIXELS / 255 - mean) / std, (0, 3, 1, 2))
    assert_allclose(preprocess(PIXELS, **IMAGENET), expected, atol=2e-6)
    assert_allclose(preprocess(PIXELS, mean=mean, std=std), expected, atol=2e-6)
    assert_allclose(preprocess(PIXELS, mean=torch.tensor(mean), std=torch.tensor(std)), expected, atol=2e-6)


@settings(max_examples=60)
@given(before=st.tuples(SIDES, SIDES), after=st.tuples(SIDES, SIDES), seed=st.integers(0, 9))
def test_patches_are_resized_as_pillow_does_it(before, after, seed):
    pixels = np.random.default_rng(seed).random((2, *before, 3), dtype=np.float32)
    x = preprocess(pixels, size=after)
    assert x.shape == (2, 3, *after)
    for patch in range(2):
        for channel in range(3):
            # Both sum up to 40 x 40 products of numbers up to 1 in float32, in another order.
            assert_allclose(x[patch, channel], pillow(pixels[patch, ..., channel], *after), atol=5e-6)


def test_resizing_comes_before_standardizing():
    x = preprocess(PIXELS, size=8, **IMAGENET)
    mean, std = (np.array(IMAGENET[name])[:, None, None] for name in ("mean", "std"))
    assert_allclose(x, (preprocess(PIXELS, size=8) - mean) / std, atol=2e-6)


@pytest.mark.parametrize("size", [8, np.int64(8), (8, 8), [8, 8], (np.int32(8), 8)])
def test_a_side_is_height_and_width(size):
    assert_array_equal(preprocess(PIXELS, size=size), preprocess(PIXELS, size=(8, 8)))


def test_the_size_they_have_already_changes_nothing():
    assert_array_equal(preprocess(PIXELS, size=(12, 17)), preprocess(PIXELS))


def test_making_patches_smaller_filters_before_it_samples():
    stripes = np.zeros((1, 32, 32, 3), np.uint8)
    stripes[:, :, ::2] = 255
    assert_allclose(preprocess(stripes, size=(32, 8)), 0.5, atol=0.05)


@pytest.mark.parametrize("lead", [(), (4,), (2, 3), (2, 1, 3)])
@pytest.mark.parametrize("size", [None, 5])
def test_any_axes_may_stand_in_front(lead, size):
    pixels = np.random.default_rng(0).integers(0, 256, (*lead, 12, 17, 3), dtype=np.uint8)
    x = preprocess(pixels, size=size, **IMAGENET)
    assert x.shape == (*lead, 3, *((12, 17) if size is None else (5, 5)))
    one_by_one = [preprocess(patch[None], size=size, **IMAGENET)[0] for patch in pixels.reshape(-1, 12, 17, 3)]
    assert_allclose(x.reshape(-1, *x.shape[-3:]), one_by_one, atol=1e-6)


def test_computes_in_float64_when_it_was_converted():
    pixels = torch.from_numpy(np.random.default_rng(0).random((2, 9, 9, 3)))
    x = Preprocess(size=6).double()(pixels)
    narrow = Preprocess(size=6)(pixels)
    assert x.dtype == torch.float64 and narrow.dtype == torch.float32
    assert 0 < (x - narrow).abs().max() < 1e-6
    standardized = Preprocess(**IMAGENET, dtype=torch.float64)(torch.from_numpy(PIXELS))
    expected = np.transpose((PIXELS / 255 - IMAGENET["mean"]) / IMAGENET["std"], (0, 3, 1, 2))
    assert_allclose(standardized, expected, rtol=1e-14, atol=1e-14)
    exact = Preprocess().double()(torch.from_numpy(PIXELS))
    assert_array_equal(exact, np.transpose(PIXELS, (0, 3, 1, 2)) / 255)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_works_in_half_precision(dtype):
    x = Preprocess(size=6, **IMAGENET).to(dtype)(torch.from_numpy(PIXELS))
    assert x.dtype == dtype
    wide = preprocess(PIXELS, size=6, **IMAGENET)
    assert_allclose(x.float(), wide, atol=8 * torch.finfo(dtype).eps)


def test_a_network_behind_it_keeps_its_state():
    network = torch.nn.Conv2d(3, 4, 3)
    both = torch.nn.Sequential(network, Preprocess(**IMAGENET))
    assert Preprocess(**IMAGENET).state_dict() == {} and not list(Preprocess().parameters())
    assert list(both.state_dict()) == ["0.weight", "0.bias"]


def test_pixels_are_not_changed():
    pixels = torch.from_numpy(np.random.default_rng(0).random((2, 9, 9, 3), dtype=np.float32))
    before = pixels.clone()
    Preprocess(size=4, **IMAGENET)(pixels)
    assert torch.equal(pixels, before)


def test_gradients_reach_float_pixels():
    pixels = torch.rand(2, 9, 9, 3, requires_grad=True)
    Preprocess(size=4, **IMAGENET)(pixels).sum().backward()
    assert (pixels.grad > 0).all()


@pytest.mark.parametrize(("shape", "expected"), [((2, 4, 4, 3), True), ((2, 4, 4, 1), False), ((2, 3), False)])
def test_pixels_are_told_from_features_by_their_shape(shape, expected):
    assert is_pixels(np.zeros(shape)) is is_pixels(torch.zeros(shape)) is expected


@pytest.mark.parametrize("size", [0, -3, (4,), (4, 5, 6), (4, 0), 4.0, (4.0, 4), "large"])
def test_refuses_what_is_no_size(size):
    with pytest.raises(ValueError, match=r"size=.* is not valid; use None, a side in pixels, or \(height, width\)"):
        Preprocess(size=size)


@pytest.mark.parametrize("name", ["mean", "std"])
@pytest.mark.parametrize("values", [0.5, (0.5, 0.5), (0.5,) * 4, (0.5, 0.5, np.nan), (1, 1, np.inf), None, "gray"])
def test_refuses_what_are_not_three_numbers(name, values):
    with pytest.raises(ValueError, match=f"{name}=.* is not valid; three finite numbers are needed"):
        Preprocess(**{name: values})


@pytest.mark.parametrize("std", [(1, 0, 1), (1, 1, -1)])
def test_refuses_to_divide_by_nothing(std):
    with pytest.raises(ValueError, match=r"std=\(1, .*\) must be positive"):
        Preprocess(std=std)


@pytest.mark.parametrize("shape", [(3,), (8, 3), (2, 3, 8, 8), (2, 8, 8, 1), (2, 8, 8, 4)])
def test_refuses_other_shapes(shape):
    with pytest.raises(ValueError, match=r"Pixels have shape .* \(\.\.\., height, width, 3\) is expected"):
        Preprocess()(torch.zeros(shape))


@pytest.mark.parametrize("dtype", [torch.int64, torch.int8, torch.bool, torch.complex64])
def test_refuses_other_types(dtype):
    with pytest.raises(TypeError, match=f"Pixels have dtype {dtype}, but uint8, or floats"):
        Preprocess()(torch.zeros((2, 8, 8, 3), dtype=dtype))
