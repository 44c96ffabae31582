import pickle
import warnings

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image
from sklearn.base import clone

from patchdistill.placement import random_positions
from patchdistill.sampling import GridSampler, RandomCropSampler

RNG = np.random.default_rng(0)
SAMPLERS = [GridSampler, RandomCropSampler]


@pytest.mark.parametrize("Sampler", SAMPLERS)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_sampler_cuts_slices(Sampler, dtype):
    images = [(RNG.random((40 + i, 60, 3)) * (255 if dtype == np.uint8 else 1)).astype(dtype) for i in range(3)]
    bags = Sampler(n_patches=6, patch_size=16).fit_transform(images)
    assert bags.values.dtype == dtype and bags.n_patches.tolist() == [6, 6, 6]
    assert_array_equal(bags.fields["size"], 16)
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


@pytest.mark.parametrize("Sampler", SAMPLERS)
@pytest.mark.parametrize("parameters", [{"n_patches": 0}, {"patch_size": 0}, {"n_patches": 2.5}])
def test_sampler_checks_parameters_where_they_are_used(Sampler, parameters):
    sampler = Sampler(**parameters)
    for call in (sampler.fit, lambda: sampler.transform([np.zeros((64, 64, 3))])):
        with pytest.raises(ValueError, match=f"The {next(iter(parameters))!r} parameter of {Sampler.__name__}"):
            call()


@pytest.mark.parametrize("Sampler", SAMPLERS)
def test_sampler_is_an_estimator(Sampler):
    sampler = Sampler(n_patches=2, patch_size=8)
    image = RNG.random((16, 16, 3))
    for twin in (clone(sampler), pickle.loads(pickle.dumps(sampler))):
        assert_array_equal(twin.transform([image]).values, sampler.transform([image]).values)
    assert sampler.set_output(transform="default") is sampler
    with pytest.raises(ValueError, match="cannot output 'pandas'"):
        sampler.set_output(transform="pandas")


def test_random_crops_belong_to_the_seed_and_the_size_of_the_picture():
    images = [RNG.random((40, 60, 3)), RNG.random((50, 70, 3)), RNG.random((40, 60, 3))]
    sampler = RandomCropSampler(n_patches=9, patch_size=16, random_state=3)
    bags = sampler.transform(images)
    expected = random_positions(40, 60, 9, 16, random_state=3)
    for i, alone in ((0, bags), (2, bags), (0, sampler.transform(images[2:]))):
        for name, places in zip(("top", "left"), expected, strict=True):
            assert_array_equal(alone.field(name, i), places)
    assert (bags.field("top", 0) != RandomCropSampler(9, 16, random_state=4).transform(images).field("top", 0)).any()


def test_random_crops_name_the_picture_that_is_too_small():
    with pytest.raises(ValueError, match="Image 1: patch_size=32 does not fit"):
        RandomCropSampler(2, 32).transform([np.zeros((64, 64, 3)), np.zeros((64, 16, 3))])
