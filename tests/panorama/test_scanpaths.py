import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

from patchdistill.baselines import RandomPatchSelector
from patchdistill.cutting import CutPatches
from patchdistill.models.sequences import SequenceSelector
from patchdistill.panorama import TrajectorySampler, cut_over_seam, recursive_walk, scanpaths

RNG = np.random.default_rng(0)
IMAGES = [RNG.integers(0, 256, (height, 2 * height, 3), dtype=np.uint8) for height in (48, 64, 48)]


@given(st.integers(1, 30), st.integers(1, 12))
@settings(max_examples=15)
def test_first_paths_are_one_step_longer(n_patches, n_paths):
    n_paths = min(n_paths, n_patches)
    bags = TrajectorySampler(n_patches, 8, n_paths=n_paths).transform([np.zeros((16, 32, 3))])
    sequence, step = bags.field("sequence", 0), bags.field("step", 0)
    lengths = np.bincount(sequence)
    assert len(lengths) == n_paths and lengths.sum() == n_patches
    assert np.ptp(lengths) <= 1 and (np.diff(lengths) <= 0).all() and (np.diff(sequence) >= 0).all()
    assert_array_equal(step, np.concatenate([np.arange(length) for length in lengths]))


@pytest.mark.parametrize("fov", [None, 40])
def test_walks_see_the_views_that_are_cut(fov, monkeypatch):
    seen = []

    def watching(panorama, n_paths, n_steps, fov, random_state):
        seen.append(fov)
        return recursive_walk(panorama, n_paths, n_steps, fov, random_state)

    monkeypatch.setattr(scanpaths, "recursive_walk", watching)
    bags = TrajectorySampler(14, 16, "tangent", fov, n_paths=4, random_state=2).transform(IMAGES)
    assert seen == [fov or 180 * 16 / len(image) for image in IMAGES]
    for i, image in enumerate(IMAGES):
        lon, lat = recursive_walk(image, 4, 4, fov or 180 * 16 / len(image), random_state=2)
        of_patch = bags.field("sequence", i), bags.field("step", i)
        assert_array_equal(bags.field("lon", i), lon[of_patch])
        assert_array_equal(bags.field("lat", i), lat[of_patch])


def test_given_paths_are_taken(tmp_path):
    scan = RNG.uniform((-90, -180), (90, 180), (3, 4, 2))
    bags = TrajectorySampler(12, 16, "tangent", n_paths=3, scanpaths=scan.tolist()).transform(IMAGES)
    for i in range(3):
        assert_array_equal(bags.field("lat", i), scan[..., 0].ravel())
        assert_array_equal(bags.field("lon", i), scan[..., 1].ravel())
        assert_array_equal(bags.field("sequence", i), np.repeat([0, 1, 2], 4))
    by_id = {0: scan, 2: scan[::-1], 1: scan + [0, 360]}
    bags = TrajectorySampler(12, 16, "tangent", n_paths=3, scanpaths=by_id).transform(IMAGES)
    assert_array_equal(bags.field("lat", 2), scan[::-1, :, 0].ravel())
    assert_allclose(bags.field("lon", 1), scan[..., 1].ravel())
    Image.fromarray(IMAGES[0]).save(tmp_path / "room.png")
    by_name = TrajectorySampler(12, 16, "tangent", n_paths=3, scanpaths={"room": scan})
    assert_array_equal(by_name.transform([tmp_path / "room.png"]).field("lat", 0), scan[..., 0].ravel())
    with pytest.raises(ValueError, match=r"scanpaths has no key 0, the id of this.*the first keys are \['room'\]"):
        by_name.transform(IMAGES)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((4, 3, 2), r"Image 0: the scan-paths are 4 paths of 3 steps, but n_paths=3 .*Pass n_paths=4 and n_patches=12"),
        ((3, 5, 2), r"3 paths of 5 steps, but n_paths=3 and n_patches=12. Pass n_paths=3 and n_patches=15"),
        ((12, 2), r"have shape \(12, 2\), but \(n_paths, n_steps, 2\).*Pass one path as \[path\]"),
        ((3, 4, 3), r"have shape \(3, 4, 3\)"),
    ],
)
def test_given_paths_must_not_contradict(shape, message):
    with pytest.raises(ValueError, match=message):
        TrajectorySampler(12, 16, n_paths=3, scanpaths=np.zeros(shape)).transform(IMAGES)


@pytest.mark.parametrize("wrong", [np.nan, 91, np.inf])
def test_given_paths_must_be_directions(wrong):
    scan = np.zeros((3, 4, 2))
    scan[1, 2, 0] = wrong
    with pytest.raises(ValueError, match=r"Image 0: Step 1, 2 has lon=0 and lat="):
        TrajectorySampler(12, 16, n_paths=3, scanpaths=scan).transform(IMAGES)


def test_sequences_can_be_selected_in():
    bags = TrajectorySampler(30, 16, n_paths=3).transform(IMAGES)
    kept = SequenceSelector(RandomPatchSelector(rate=4)).fit_transform(bags)
    assert isinstance(kept.values, CutPatches)
    assert_array_equal(kept.field("sequence", 1), np.repeat([0, 1, 2], 4))
    assert_array_equal(kept[1], cut_over_seam(IMAGES[1], kept.field("top", 1), kept.field("left", 1), 16))


def test_checks_the_number_of_paths():
    with pytest.raises(ValueError, match="The 'n_paths' parameter of TrajectorySampler"):
        TrajectorySampler(n_paths=0).transform(IMAGES)
    with pytest.raises(ValueError, match="n_paths=9 paths need as many patches.*n_patches=8. Lower n_paths"):
        TrajectorySampler(8, 16).transform(IMAGES)
