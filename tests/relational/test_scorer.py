import json
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from scipy.stats import kendalltau
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from patchdistill.datasets import dead_leaves
from patchdistill.evaluation import psnr
from patchdistill.images import LUMA
from patchdistill.relational import DistortionEngine
from patchdistill.relational.checkpoints import choose_checkpoint
from patchdistill.relational.pooling import cell_weights, pool_map
from patchdistill.relational.scorer import RelationalScorer
from patchdistill.relational.tiers import list_pairs, make_ranked_versions

SEEDS = st.integers(0, 10**6)


class SimpleMap:
    """Three features of cells, odd in the two pictures."""

    channel_names_ = ("exposure", "saturation", "noise")

    def predict_map(self, a, ref, geometry="flat"):
        return np.clip(self.features(a) - self.features(ref), -1, 1).astype(np.float32)

    @staticmethod
    def features(picture):
        pixels = picture / 255 if picture.dtype == np.uint8 else np.asarray(picture)
        luma = pixels @ LUMA
        gap = np.abs(np.diff(luma, axis=1, append=luma[:, -2:-1]))
        parts = [2 * luma, 3 * np.ptp(pixels, axis=-1), 4 * gap]
        return np.stack([cell_mean(part) for part in parts])


def cell_mean(plane):
    height, width = plane.shape
    sums = np.add.reduceat(np.add.reduceat(plane, np.arange(0, height, 8), 0), np.arange(0, width, 8), 1)
    return sums / cell_weights(height, width)


@pytest.fixture(scope="module")
def scorer():
    return RelationalScorer(SimpleMap(), pooling="mean", n_pictures=6, size=48).fit()


@pytest.fixture(scope="module")
def every():
    return RelationalScorer(SimpleMap(), n_pictures=6, size=48).fit()


REFERENCE = dead_leaves(48, random_state=7)
ENGINE = DistortionEngine(SimpleMap.channel_names_, masks="full", severity="strength")
MILD, BAD = (ENGINE.apply(REFERENCE, [level, 0, level])[0] for level in (0.2, 0.7))


def test_score_is_minus_the_weighted_sum_of_means(scorer):
    distortions = SimpleMap().predict_map(BAD, REFERENCE)
    assert scorer.weights_.shape == (3, 2, 1)
    expected = 0
    for channel, (more, less) in zip(distortions, scorer.weights_[..., 0], strict=True):
        expected -= more * np.maximum(channel, 0).mean() + less * np.maximum(-channel, 0).mean()
    assert_allclose(scorer.score(BAD, REFERENCE), expected, rtol=1e-6)
    assert isinstance(scorer.score(BAD, REFERENCE), float)


def test_all_statistics_and_curves_can_be_weighed(every):
    pooled = pool_map(SimpleMap().predict_map(BAD, REFERENCE), cell_weights(48, 48))
    expected = 0
    for i in np.ndindex(3, 2, 4):
        for half, weight in zip((0.1, 0.3, 1), every.weights_.reshape(3, 2, 4, 3)[i], strict=True):
            expected -= weight / (1 + half**2 / pooled[i] ** 2) if pooled[i] else 0
    assert_allclose(every.score(BAD, REFERENCE), expected, rtol=1e-12)
    assert np.count_nonzero(every.weights_) > np.count_nonzero(every.weights_[..., 0])


@given(SEEDS)
def test_the_reference_scores_zero_and_nothing_more(scorer, seed):
    rng = np.random.default_rng(seed)
    picture = rng.random((int(rng.integers(8, 40)), int(rng.integers(8, 40)), 3))
    score = scorer.score(picture, ref=picture)
    assert score == 0 and not np.signbit(score)
    assert scorer.score(rng.random(picture.shape), ref=picture) <= 0


@given(SEEDS)
def test_more_distortion_never_raises_the_score(scorer, every, seed):
    rng = np.random.default_rng(seed)
    distortions = rng.uniform(-1, 1, (3, 4, 5))
    further = np.clip(distortions * (1 + rng.random((3, 4, 5)) * rng.integers(0, 2, (3, 4, 5))), -1, 1)
    assert scorer.score_map(further) <= scorer.score_map(distortions)
    assert every.score_map(further) <= every.score_map(distortions) + 1e-12


def test_less_noise_is_no_distortion(scorer):
    assert (scorer.weights_ >= 0).all()
    assert_array_equal(scorer.weights_[2, 1], 0)
    less = np.zeros((3, 2, 2))
    less[2] = -1
    assert scorer.score_map(less) == 0
    assert scorer.score_map(-less) < 0


@given(SEEDS)
def test_comparisons_are_antisymmetric_and_transitive(scorer, seed):
    a, b, c, ref = np.random.default_rng(seed).random((4, 16, 16, 3))
    assert scorer.compare(a, b, ref) == -scorer.compare(b, a, ref)
    assert scorer.compare(a, a, ref) == 0
    assert_allclose(scorer.compare(a, c, ref), scorer.compare(a, b, ref) + scorer.compare(b, c, ref), atol=1e-12)
    assert scorer.compare(a, b, ref) == scorer.score(a, ref) - scorer.score(b, ref)


def test_comparison_over_scenes_has_two_references(scorer):
    other = dead_leaves(48, random_state=8)
    worse = ENGINE.apply(other, [0.9, 0, 0])[0]
    found = scorer.compare(MILD, worse, REFERENCE, ref_b=other)
    assert found == scorer.score(MILD, REFERENCE) - scorer.score(worse, other) > 0
    assert scorer.compare(REFERENCE, other, REFERENCE, ref_b=other) == 0


def test_falls_along_ladders(scorer):
    for seed in range(4):
        versions = make_ranked_versions(REFERENCE, ENGINE, n_types=0, random_state=seed)
        scores = np.array([scorer.score(image, REFERENCE) for image in versions.images])
        for ladder in range(2):
            assert (np.diff(scores[versions.ladders == ladder]) < 0).all()


def test_learns_the_order_of_unseen_pictures(scorer):
    engine = DistortionEngine(SimpleMap.channel_names_)
    scores, amounts, peaks = [], [], []
    for seed in range(6):
        picture = dead_leaves(48, random_state=100 + seed)
        versions = make_ranked_versions(picture, engine, n_ladders=0, n_types=3, random_state=seed)
        scores += [scorer.score(image, picture) for image in versions.images]
        peaks += [psnr((picture / 255).astype(np.float32), image) for image in versions.images]
        amounts += versions.amounts.tolist()
    assert kendalltau(scores, np.negative(amounts)).statistic > 0.6
    assert kendalltau(scores, np.negative(amounts)).statistic > kendalltau(peaks, np.negative(amounts)).statistic
    assert_allclose(np.mean(scores), -np.mean(amounts), rtol=0.25)  # the unit is that of the levels


def test_fit_is_that_of_the_additive_problem(every, monkeypatch):
    seen = {}

    def fit(features, amounts, pairs, *parameters):
        seen.update(features=features, amounts=amounts, pairs=pairs, parameters=parameters)
        return original(features, amounts, pairs, *parameters)

    from patchdistill.relational import scorer as module

    original = module.fit_additive
    monkeypatch.setattr(module, "fit_additive", fit)
    again = clone(every).set_params(alpha=0.01, tie_weight=0.5, tol=1e-4).fit()
    assert seen["features"].shape == (6 * 24, 5 * 4 * 3) and seen["parameters"] == (0.01, 0.5, 1e-4)
    scenes, ladders = np.repeat(np.arange(6), 24), np.tile([0] * 4 + [1] * 4 + [-1] * 16, 6)
    assert len(np.unique(seen["amounts"].reshape(6, 24), axis=0)) == 6  # every picture is distorted in its own way
    strongest = seen["amounts"].reshape(6, 24)[:, -1]
    assert strongest.min() < 0.5 < strongest.max() < 0.61  # some in parts only
    for kind, pairs in list_pairs(seen["amounts"], scenes, ladders).items():
        assert_array_equal(seen["pairs"][kind], pairs)
    assert again.optimality_ <= 1e-4 and again.n_iter_ > 0
    counted = np.ones((3, 2), bool)
    counted[2, 1] = False
    estimated = seen["features"] @ again.weights_[counted].ravel()
    assert_allclose(
        estimated @ seen["amounts"], estimated @ estimated
    )  # so the features are in the order of the weights


def test_learns_from_given_pictures(tmp_path):
    pictures = [dead_leaves(40, 56, random_state=seed) for seed in range(3)]
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for path, picture in zip(paths, pictures, strict=True):
        Image.fromarray(picture).save(path)
    few = RelationalScorer(SimpleMap(), n_pictures=3, size=32)
    from_arrays, from_paths, from_leaves = few.fit(pictures).weights_, clone(few).fit(paths).weights_, clone(few).fit()
    assert_array_equal(from_arrays, from_paths)
    assert (from_arrays != from_leaves.weights_).any()
    with pytest.raises(ValueError, match="40 x 56 pixels .* size=64"):
        few.set_params(size=64).fit(pictures)


def test_a_seed_is_a_result():
    few = RelationalScorer(SimpleMap(), n_pictures=2, size=32)
    one, same = few.fit().weights_, clone(few).fit().weights_
    assert one.tobytes() == same.tobytes()
    assert (one != few.set_params(random_state=1).fit().weights_).any()


def test_rank_orders_versions_and_keeps_ties(scorer, tmp_path):
    path = tmp_path / "bad.png"
    Image.fromarray((255 * BAD).round().astype(np.uint8)).save(path)
    order, scores = scorer.rank([BAD, MILD, REFERENCE, MILD], REFERENCE)
    assert order.tolist() == [2, 1, 3, 0]
    assert scores.tolist() == [scorer.score(image, REFERENCE) for image in (BAD, MILD, REFERENCE, MILD)]
    assert scorer.rank([path], REFERENCE)[1][0] == scorer.score(np.asarray(Image.open(path)), REFERENCE)


def test_panoramas_weigh_the_equator_more():
    class Recording(SimpleMap):
        geometries = []

        def predict_map(self, a, ref, geometry="flat"):
            self.geometries.append(geometry)
            return super().predict_map(a, ref)

    scorer = RelationalScorer(Recording(), n_pictures=2, size=32).fit()
    reference = np.full((64, 128, 3), 0.5)
    poles, equator = reference.copy(), reference.copy()
    poles[:8] += 0.3
    equator[32:40] += 0.3
    assert_allclose(scorer.score(poles, reference), scorer.score(equator, reference))
    assert scorer.score(poles, reference, geometry="panorama") > scorer.score(equator, reference, "panorama")
    assert scorer.compare(poles, equator, reference, geometry="panorama") > 0
    assert scorer.rank([equator, poles], reference, geometry="panorama")[0].tolist() == [1, 0]
    made = {"equator": [equator] * 2, "poles": [poles] * 2}
    assert scorer.select_checkpoint(made, [reference] * 2, geometry="panorama").best == "poles"
    assert Recording.geometries[:10] == ["flat"] * 10 and Recording.geometries[-8:] == ["panorama"] * 8
    distortions = SimpleMap().predict_map(poles, reference)
    weights = cell_weights(64, 128, "panorama")
    assert scorer.score_map(distortions, weights) == scorer.score(poles, reference, "panorama")


def test_select_checkpoint_scores_the_same_pictures(scorer, tmp_path):
    refs = [dead_leaves(32, random_state=seed) for seed in range(5)]
    made = {
        name: [ENGINE.apply(ref, [level, 0, 0], rng=np.random.default_rng(i))[0] for i, ref in enumerate(refs)]
        for name, level in (("epoch 1", 0.8), ("epoch 2", 0.2), ("epoch 3", 0.5))
    }
    choice = scorer.select_checkpoint(made, refs, n_resamples=200, random_state=3)
    scores = {name: [scorer.score(*pair) for pair in zip(of_one, refs, strict=True)] for name, of_one in made.items()}
    assert choice == choose_checkpoint(scores, n_resamples=200, random_state=3)
    assert (choice.best, choice.runner_up, choice.is_clear) == ("epoch 2", "epoch 3", True)
    with pytest.raises(ValueError, match="'epoch 3' has 4 pictures, but there are 5 references"):
        scorer.select_checkpoint({**made, "epoch 3": made["epoch 3"][:4]}, refs)


def test_goes_through_json(scorer):
    state = json.loads(json.dumps(scorer.to_dict()))
    loaded = RelationalScorer.from_dict(state, SimpleMap())
    assert loaded.score(BAD, REFERENCE) == scorer.score(BAD, REFERENCE)
    assert loaded.get_params()["n_pictures"] == 6
    assert (loaded.optimality_, loaded.n_iter_) == (scorer.optimality_, scorer.n_iter_)
    assert loaded.to_dict() == scorer.to_dict()


def test_pretrained_is_read_from_the_data_of_the_package(scorer, monkeypatch, tmp_path):
    from patchdistill.relational import scorer as module

    monkeypatch.setattr(module.resources, "files", lambda package: tmp_path / package)
    folder = tmp_path / "patchdistill.relational" / "data"
    folder.mkdir(parents=True)
    monkeypatch.setitem(module.PRETRAINED, "simple", SimpleMap)
    (folder / "scorer_simple.json").write_text(json.dumps({"made by": "a command", **scorer.to_dict()}))
    assert RelationalScorer.pretrained("simple").score(BAD, REFERENCE) == scorer.score(BAD, REFERENCE)


def test_what_comes_with_the_package_was_fitted_with_its_own_map():
    for name in ("classical", "network"):
        if name == "network":
            for package in ("torch", "safetensors"):
                pytest.importorskip(package)
        scorer = RelationalScorer.pretrained(name)
        assert (
            type(scorer.map_).__name__ == {"classical": "ClassicalRelationalMap", "network": "RelationalMapNet"}[name]
        )
        assert scorer.score(REFERENCE, REFERENCE) == 0 > scorer.score(MILD, REFERENCE) > scorer.score(BAD, REFERENCE)
    with pytest.raises(ValueError, match="map must be one of classical, network; got 'neural'"):
        RelationalScorer.pretrained("neural")


def test_refuses_weights_of_other_channels(scorer):
    state = {**scorer.to_dict(), "channels": ["hue"]}
    with pytest.raises(ValueError, match="belong to the channels hue, but the map predicts exposure, .*; fit a scorer"):
        RelationalScorer.from_dict(state, SimpleMap())


def test_refuses_maps_of_other_channels(scorer):
    with pytest.raises(
        ValueError, match="The map has 2 channels, but this scorer reads 3: exposure, saturation, noise"
    ):
        scorer.score_map(np.zeros((2, 4, 4)))


def test_is_an_estimator(scorer):
    with pytest.raises(NotFittedError):
        RelationalScorer(SimpleMap()).score(BAD, REFERENCE)
    loaded = pickle.loads(pickle.dumps(scorer))
    assert loaded.score(BAD, REFERENCE) == scorer.score(BAD, REFERENCE)
    assert scorer.map is scorer.map_ and scorer.channel_names_ == SimpleMap.channel_names_


@pytest.mark.parametrize(
    "parameters",
    [
        {"map": 3},
        {"pooling": "max"},
        {"n_pictures": 1},
        {"size": 16},
        {"alpha": 0},
        {"tie_weight": -1},
        {"tol": 0},
        {"random_state": None},
    ],
)
def test_checks_its_parameters(parameters):
    with pytest.raises(ValueError, match=f"The '{next(iter(parameters))}' parameter of RelationalScorer"):
        RelationalScorer(**{"map": SimpleMap(), **parameters}).fit()
