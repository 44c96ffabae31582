import pickle
import threading

import joblib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline

from patchdistill import PatchBags, ResidualPatchSelector
from patchdistill.cutting import CutPatches
from patchdistill.datasets import dead_leaves
from patchdistill.models import BagPooling
from patchdistill.panorama import FibonacciSampler, LatitudeSampler, cut_over_seam
from patchdistill.placement import cut_patches
from patchdistill.relational import ClassicalRelationalMap
from patchdistill.relational.energy import MapEnergy, MapEnergySelector, patch_energies
from patchdistill.sampling import GridSampler, RandomCropSampler

RNG = np.random.default_rng(0)
SAMPLER = GridSampler(n_patches=12, patch_size=20)
PICTURES = [dead_leaves(50, 70, random_state=seed) for seed in range(4)]
PAIRS = [(np.uint8(picture * (0.6 + 0.1 * i)), picture) for i, picture in enumerate(PICTURES)]
PANORAMA = dead_leaves(64, 128)


class LevelMap:
    """Difference of the first two colors in every cell, in [-1, 1]; remembers what geometry it was asked for."""

    channel_names_ = ("red", "green")

    def __init__(self):
        self.asked = []

    def predict_map(self, a, ref, geometry="flat"):
        self.asked.append((a.shape, geometry))
        difference = (a[..., :2].astype(float) - ref[..., :2]) / 255
        rows, columns = (np.arange(0, side, 8) for side in difference.shape[:2])
        cells = np.add.reduceat(np.add.reduceat(difference, rows, axis=0), columns, axis=1)
        sizes = np.outer(
            *(np.diff(np.append(starts, side)) for starts, side in zip((rows, columns), a.shape[:2], strict=True))
        )
        return (cells / sizes[..., None]).transpose(2, 0, 1).astype(np.float32)


def of_pixels(change, shape):
    """The map with one value for every pixel, channels last."""
    return np.kron(change, np.ones((8, 8)))[:, : shape[0], : shape[1]].transpose(1, 2, 0)


def means(patches):
    """Mean of what there is more and less of in patches (n, size, size, K)."""
    return np.stack([np.maximum(sign * patches, 0).mean(axis=(1, 2)) for sign in (1, -1)], axis=-1)


@given(st.integers(1, 3), st.integers(1, 6), st.integers(1, 6), st.integers(1, 48), st.integers(0, 10**6))
def test_energies_are_means_over_the_pixels_of_patches(n_channels, h, w, size, seed):
    rng = np.random.default_rng(seed)
    size = min(size, 8 * h, 8 * w)
    change = rng.uniform(-1, 1, (n_channels, h, w)) * rng.integers(0, 2, (n_channels, h, w))
    top, left = rng.integers(8 * h - size + 1, size=5), rng.integers(8 * w - size + 1, size=5)
    found = patch_energies(change, top, left, size)
    assert found.shape == (5, n_channels, 2) and found.dtype == np.float64
    assert_allclose(found, means(cut_patches(of_pixels(change, (8 * h, 8 * w)), top, left, size)), atol=1e-12)
    total = cut_patches(np.abs(of_pixels(change, (8 * h, 8 * w))).sum(axis=-1, keepdims=True), top, left, size)
    assert_allclose(found.sum(axis=(1, 2)), total.mean(axis=(1, 2, 3)), atol=1e-12)
    assert_array_equal(patch_energies(-change, top, left, size), found[..., ::-1])


@given(st.integers(1, 4), st.integers(8, 60), st.integers(1, 32), st.integers(0, 10**6))
def test_patches_of_panoramas_go_on_across_the_seam(h, width, size, seed):
    rng = np.random.default_rng(seed)
    size = min(size, 8 * h, width)
    change = rng.uniform(-1, 1, (2, h, -(-width // 8)))
    top, left = rng.integers(8 * h - size + 1, size=5), np.append(rng.integers(width, size=4), width - 1)
    pixels = of_pixels(change, (8 * h, width))
    expected = means(cut_over_seam(pixels, top, left, size))
    assert_allclose(patch_energies(change, top, left, size, width=width), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("change", "places", "message"),
    [
        (np.zeros((4, 4)), ([0], [0], 8), r"The map has shape \(4, 4\), but \(n_channels, h, w\)"),
        (np.full((1, 4, 4), np.nan), ([0], [0], 8), "holds NaN or infinity"),
        (np.zeros((1, 4, 4)), ([25], [0], 8), "beyond the map of 32 x 32.*top runs from 25 to 25"),
        (np.zeros((1, 4, 4)), ([0], [25], 8), "beyond the map"),
        (np.zeros((1, 4, 4)), ([-1], [0], 8), "beyond the map"),
        (np.zeros((1, 4, 4)), ([0], [-1], 8), "beyond the map"),
        (np.zeros((1, 4, 4)), ([0], [0], 33), "Patches of 33 x 33 pixels"),
        (np.zeros((1, 4, 4)), ([0, 0], [0], 8), r"equally long.*\(2,\) and \(1,\)"),
        (np.zeros((1, 4, 4)), ([0.5], [0], 8), "arrays of int.*float64 and int"),
        (np.zeros((1, 4, 4)), (np.arange(0), np.arange(0), 8), "not empty"),
        (np.zeros((1, 4, 4)), ([0], [0], 0), "patch_size must be an int of at least 1; got 0"),
        (np.zeros((1, 4, 4)), ([0], [0], 8.0), "patch_size must be an int"),
    ],
)
def test_refuses_patches_that_are_not_on_the_map(change, places, message):
    with pytest.raises(ValueError, match=message):
        patch_energies(change, *places)


@pytest.mark.parametrize("width", [24, 33])
def test_refuses_widths_of_other_pictures(width):
    with pytest.raises(ValueError, match=f"width={width} does not fit to a map of 4 columns"):
        patch_energies(np.zeros((1, 4, 4)), [0], [0], 8, width=width)


@pytest.mark.parametrize(("left", "size"), [(28, 8), (0, 29)])
def test_refuses_what_lies_beyond_a_panorama_of_partial_cells(left, size):
    with pytest.raises(ValueError, match="beyond the map"):
        patch_energies(np.zeros((1, 8, 4)), [0], [left], size, width=28)


def test_embeds_and_scores_every_patch_of_every_pair():
    change = LevelMap()
    bags = MapEnergy(change, SAMPLER).fit_transform(PAIRS)
    assert change.asked == [((50, 70, 3), "flat")] * 4
    expected = SAMPLER.transform([image for image, _ in PAIRS])
    for i, (image, reference) in enumerate(PAIRS):
        top, left = expected.field("top", i), expected.field("left", i)
        energies = patch_energies(change.predict_map(image, reference), top, left, 20)
        assert_array_equal(bags[i], energies.reshape(12, 4))
        assert_allclose(bags.field("energy", i), bags[i].sum(axis=1))
        assert_array_equal(bags.field("pixels", i), cut_patches(image, top, left, 20))
        assert_array_equal(bags.field("reference_pixels", i), cut_patches(reference, top, left, 20))
        for name in ("top", "left", "size"):
            assert_array_equal(bags.field(name, i), expected.field(name, i))
    assert (bags.values[:, [0, 2]] == 0).all() and (bags.values[:36, [1, 3]] > 0).all()  # all are darker


def test_names_of_features_are_those_of_their_columns():
    names = MapEnergy(LevelMap()).get_feature_names_out()
    assert names.tolist() == ["red_more", "red_less", "green_more", "green_less"]
    brighter = [(np.full((32, 32, 3), [90, 60, 0], np.uint8), np.full((32, 32, 3), [60, 90, 0], np.uint8))]
    row = MapEnergy(LevelMap(), GridSampler(1, 32)).transform(brighter)[0][0]
    assert_allclose(row, [30 / 255, 0, 0, 30 / 255], rtol=1e-6)


def test_files_are_what_their_pixels_are_and_stay_unread(tmp_path):
    paths = []
    for i, pair in enumerate(PAIRS):
        paths.append([tmp_path / f"version{i}.png", tmp_path / f"scene{i}.png"])
        for path, picture in zip(paths[-1], pair, strict=True):
            Image.fromarray(picture).save(path)
    energies = MapEnergy(LevelMap(), SAMPLER)
    from_files, from_pixels = energies.transform(paths), energies.transform(PAIRS)
    assert from_files.ids.tolist() == ["version0", "version1", "version2", "version3"]
    assert_array_equal(energies.transform(np.array(paths).astype(str)).values, from_pixels.values)
    for name in ("pixels", "reference_pixels"):
        assert isinstance(from_files.fields[name], CutPatches)
        assert_array_equal(np.asarray(from_files.fields[name]), np.asarray(from_pixels.fields[name]))
    assert_array_equal(from_files.values, from_pixels.values)


def test_there_are_180_patches_of_64_pixels_by_default():
    picture = dead_leaves(96)
    bags = MapEnergy(LevelMap()).transform([(picture, picture)])
    assert bags.n_patches.tolist() == [180] and (bags.fields["size"] == 64).all()


def test_pictures_and_references_may_have_other_units():
    as_floats = [(image, reference / 255) for image, reference in PAIRS]
    bags = MapEnergy(sampler=GridSampler(4, 32)).transform(as_floats)
    assert_allclose(bags.values, MapEnergy(sampler=GridSampler(4, 32)).transform(PAIRS).values, atol=1e-5)


def test_references_are_cut_where_their_pictures_are():
    sampler = RandomCropSampler(9, 16, random_state=None)
    bags = MapEnergy(LevelMap(), sampler).transform([(picture, picture) for picture in PICTURES])
    assert_array_equal(np.asarray(bags.fields["pixels"]), np.asarray(bags.fields["reference_pixels"]))
    assert (bags.values == 0).all() and (bags.fields["energy"] == 0).all()


def test_crops_of_panoramas_share_a_map_across_the_seam():
    darker = np.uint8(PANORAMA * np.linspace(0.2, 1, 128)[:, None])
    change = LevelMap()
    bags = MapEnergy(change, LatitudeSampler(20, 24)).transform([(darker, PANORAMA)])
    assert change.asked == [((64, 128, 3), "panorama")]
    top, left = bags.field("top", 0), bags.field("left", 0)
    assert left.max() > 128 - 24  # one of them goes on across the seam
    pixels = of_pixels(change.predict_map(darker, PANORAMA), (64, 128))
    assert_allclose(bags[0], means(cut_over_seam(pixels, top, left, 24)).reshape(20, 4), atol=1e-6)
    assert_array_equal(bags.field("reference_pixels", 0), cut_over_seam(PANORAMA, top, left, 24))


def test_every_view_has_a_map_of_its_own():
    darker = np.uint8(PANORAMA * np.linspace(0.2, 1, 128)[:, None])
    sampler = FibonacciSampler(5, 36, view="tangent", fov=80)
    change = LevelMap()
    bags = MapEnergy(change, sampler).transform([(PANORAMA, darker), (darker, PANORAMA)])
    assert change.asked == [((36, 36, 3), "flat")] * 10
    views, references = sampler.transform([darker]), sampler.transform([PANORAMA])
    assert_array_equal(bags.field("reference_pixels", 1), references[0])
    for row, view, reference in zip(bags[1], views[0], references[0], strict=True):
        pixels = of_pixels(change.predict_map(view, reference), (36, 36))
        assert_allclose(row, means(pixels[None]).ravel(), atol=1e-6)
    assert_allclose(bags[0].reshape(5, 2, 2), bags[1].reshape(5, 2, 2)[..., ::-1], atol=1e-6)
    assert_allclose(bags.fields["energy"], bags.values.sum(axis=1))


def test_the_map_of_the_package_tells_what_changed_where():
    reference = dead_leaves(96, 192) / 255
    noisy = reference.copy()
    noisy[:, :96] = np.clip(noisy[:, :96] + RNG.normal(0, 0.08, (96, 96, 3)), 0, 1)
    energies = MapEnergy(sampler=GridSampler(2, 96))
    names = energies.get_feature_names_out()
    left, right = energies.transform([(noisy, reference)])[0]
    assert names[left.argmax()] == "noise_more" and left.sum() > 5 * right.sum()
    assert_array_equal(energies.transform([(reference, reference)]).values, 0)
    change = ClassicalRelationalMap.pretrained().predict_map(noisy, reference)
    assert_allclose(left, patch_energies(change, [0], [0], 96).ravel())


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ([], "There are no pairs"),
        (PICTURES[:2], r"Image 0 is an array of shape \(50, 70, 3\), but a \(picture, reference\) pair"),
        ([PAIRS[0], (*PAIRS[0], 1)], r"Image 1 is a tuple of 3, but.*pass list\(zip\(pictures, references\)\)"),
        (("ab", "cd"), r"Image 0 is 'ab', but a \(picture, reference\) pair"),
        ([3], "Image 0 is 3, but"),
        ([PAIRS[0], (PICTURES[0], PICTURES[0][:, 1:])], "Image 1 has 50 x 70 pixels.*its reference 50 x 69"),
        ([PAIRS[0], (PICTURES[0], PICTURES[0][1:])], "Image 1 has 50 x 70 pixels.*its reference 49 x 70"),
        ([(PICTURES[0], PICTURES[0][..., :1])], r"Image 0 has shape \(50, 70, 1\)"),
    ],
)
def test_refuses_what_are_no_pairs(X, message):
    with pytest.raises(ValueError, match=message):
        MapEnergy(LevelMap(), SAMPLER).transform(X)


def test_names_the_pair_that_the_map_refuses():
    class Refusing(LevelMap):
        def predict_map(self, a, ref, geometry="flat"):
            if a is PAIRS[2][0]:
                raise ValueError("no.")
            return super().predict_map(a, ref, geometry)

    with pytest.raises(ValueError, match=r"^Image 2: no\.$"):
        MapEnergy(Refusing(), SAMPLER).transform(PAIRS)


@pytest.mark.parametrize("parameters", [{"map": 3}, {"sampler": "grid"}, {"n_jobs": 0.5}])
def test_checks_parameters(parameters):
    for call in (MapEnergy(**parameters).fit, lambda X: MapEnergy(**parameters).transform(X)):
        with pytest.raises(ValueError, match=f"The {next(iter(parameters))!r} parameter of MapEnergy"):
            call(PAIRS)


def test_is_an_estimator():
    energies = MapEnergy(sampler=GridSampler(4, 32))
    expected = energies.transform(PAIRS[:2]).values
    for twin in (clone(energies), pickle.loads(pickle.dumps(energies)), energies.fit(PAIRS)):
        assert_array_equal(twin.transform(PAIRS[:2]).values, expected)
    with joblib.parallel_config("threading"):
        assert_array_equal(MapEnergy(sampler=GridSampler(4, 32), n_jobs=2).transform(PAIRS[:2]).values, expected)


def test_works_on_several_pairs_at_the_same_time():
    barrier = threading.Barrier(2, timeout=30)

    class Waiting(LevelMap):
        def predict_map(self, a, ref, geometry="flat"):
            barrier.wait()  # for a second one
            return super().predict_map(a, ref, geometry)

    with joblib.parallel_config("threading"):
        bags = MapEnergy(Waiting(), SAMPLER, n_jobs=2).transform(PAIRS)
    assert_array_equal(bags.values, MapEnergy(LevelMap(), SAMPLER).transform(PAIRS).values)


def test_pairs_stay_together_through_splits_and_searches():
    pairs = [(np.uint8(picture * gain), picture) for picture in PICTURES for gain in (0.9, 0.7, 0.5)]
    labels = np.tile([3.0, 2.0, 1.0], 4)
    scenes = np.repeat(range(4), 3)
    model = make_pipeline(MapEnergy(LevelMap(), SAMPLER), MapEnergySelector(0.5), BagPooling(), Ridge(1e-3))
    predicted = cross_val_predict(model, pairs, labels, groups=scenes, cv=GroupKFold(4))
    assert np.corrcoef(predicted, labels)[0, 1] > 0.6
    held_out = clone(model).fit(pairs[3:], labels[3:]).predict(pairs[:3])
    assert_allclose(predicted[:3], held_out)
    search = GridSearchCV(model, {"mapenergyselector__rate": [0.25, 1.0]}, cv=GroupKFold(2))
    assert np.isfinite(search.fit(pairs, labels, groups=scenes).cv_results_["mean_test_score"]).all()


def test_energies_are_an_embedding_for_residual_selection():
    bags = make_pipeline(MapEnergy(LevelMap(), SAMPLER), ResidualPatchSelector(rate=5, normalize=None)).fit_transform(
        PAIRS
    )
    assert bags.n_patches.tolist() == [5] * 4
    kept = MapEnergySelector(2).fit_transform(bags)  # of what one keeps, what the other prefers
    for i in range(4):
        assert sorted(kept.field("energy", i)) == sorted(bags.field("energy", i))[-2:]


def some_bags(energy, values=None):
    values = np.eye(len(energy)) if values is None else values
    return PatchBags(values, [0, 3, len(energy)], fields={"energy": energy})


@given(st.integers(1, 20), st.floats(0.05, 1), st.integers(0, 10**6))
def test_keeps_the_most_or_the_least_changed(n, rate, seed):
    energy = np.random.default_rng(seed).uniform(0, 6, 3 + n).round(6)
    bags = some_bags(energy)
    for keep, sign in (("high", -1), ("low", 1)):
        selector = MapEnergySelector(rate, keep=keep).fit(bags)
        for i in range(2):
            of_image = bags.field("energy", i)
            assert_array_equal(selector.ranking_[i], np.argsort(sign * of_image, kind="stable"))
            n_kept = max(1, int(np.ceil(rate * len(of_image) - 1e-9)))
            assert_array_equal(selector.selected_idx_[i], np.sort(selector.ranking_[i][:n_kept]))
            assert_array_equal(np.flatnonzero(selector.support_[i]), selector.selected_idx_[i])
            assert_allclose(selector.weights_[i], 1 / n_kept)
        kept = selector.transform(bags)
        assert_array_equal(kept.values, bags.take(selector.selected_idx_).values)


def test_keeps_most_changed_by_default_and_breaks_ties_by_index():
    bags = some_bags(np.array([0.2, 0.2, 0.1, 0.0, 0.5, 0.5, 0.5]))
    assert [kept.tolist() for kept in MapEnergySelector(1).fit(bags).selected_idx_] == [[0], [1]]
    assert [kept.tolist() for kept in MapEnergySelector(2).fit(bags).selected_idx_] == [[0, 1], [1, 2]]
    assert [len(kept) for kept in MapEnergySelector().fit(some_bags(np.arange(23.0))).selected_idx_] == [2, 9]


def test_selects_pixels_without_reading_them():
    bags = MapEnergy(LevelMap(), SAMPLER).transform(PAIRS)
    kept = MapEnergySelector(3).fit_transform(bags.with_values(bags.fields["pixels"]))
    assert isinstance(kept.values, CutPatches) and kept.values.shape == (12, 20, 20, 3)
    chosen = MapEnergySelector(3).fit(bags).selected_idx_[1]
    assert_array_equal(kept[1], bags.field("pixels", 1)[chosen])


def test_refuses_patches_without_energies():
    with pytest.raises(ValueError, match=r"no field 'energy'.*only \['patch_index'\].*Begin the pipeline with MapEn"):
        MapEnergySelector().fit([np.eye(4)])
    with pytest.raises(ValueError, match="The 'keep' parameter of MapEnergySelector"):
        MapEnergySelector(keep="middle").fit(some_bags(np.zeros(4)))
    with pytest.raises(ValueError, match=r"rate=0\.0 is not valid"):
        MapEnergySelector(0.0).fit(some_bags(np.zeros(4)))


def test_real_photographs(data_dir):
    paths = [data_dir / "photos" / f"kodim{n:02}.png" for n in (1, 3)]
    bags = MapEnergy().transform([(path, path) for path in paths])
    assert bags.ids.tolist() == ["kodim01", "kodim03"] and bags.values.shape == (360, 12)
    assert (bags.values == 0).all()
