import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.ndimage import gaussian_filter
from scipy.stats import kstest, norm, spearmanr
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from patchdistill.datasets import confound, dead_leaves, make_semantic_confound
from patchdistill.embedding.nss import describe_windows, feature_names
from patchdistill.embedding.windows import Windows
from patchdistill.qfm.descriptors import thumbnail_descriptor


@pytest.fixture
def blank(monkeypatch):
    """Draw no pictures: what is said about many images would take long otherwise."""
    monkeypatch.setattr(confound, "dead_leaves", lambda size, **_: np.zeros((1, 1, 3)))


def same(first, second):
    return all(first[name].tobytes() == second[name].tobytes() for name in ("images", "y", "severity", "cluster"))


def statistics(part):
    side = part.images.shape[1:3]
    return describe_windows(part.images, Windows([0], [0], side, side))


def colors(part):
    return np.hstack([part.images.mean(axis=(1, 2)) / 255, thumbnail_descriptor(part.images)])


def agreement(features, truths):
    """SRCC with the truth, of a model that learns one set and is tested on the other."""
    model = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-1, 5, 13))).fit(features[0], -truths[0])
    return spearmanr(model.predict(features[1]), -truths[1]).statistic


@given(st.integers(0, 10**6), st.integers(5, 12), st.integers(2, 5), st.sampled_from([8, 13]))
@settings(max_examples=10)
def test_shapes_types_and_ranges(seed, n, n_clusters, size):
    for part in make_semantic_confound(n, n + 1, n_clusters=n_clusters, size=size, random_state=seed):
        assert part.images.shape == (n, size, size, 3) and part.images.dtype == np.uint8
        assert part.y.shape == part.severity.shape == part.cluster.shape == (n,)
        assert part.y.min() >= 0 and part.y.max() <= 100
        assert part.severity.min() >= 0 and part.severity.max() <= 1
        assert part.cluster.dtype.kind == "i" and part.cluster.min() >= 0 and part.cluster.max() < n_clusters
        n += 1


def test_same_seed_same_bytes():
    first = make_semantic_confound(8, 8, size=16, random_state=3)
    for again in (3, np.random.RandomState(3)):
        other = make_semantic_confound(8, 8, size=16, random_state=again)
        assert same(first[0], other[0]) and same(first[1], other[1])
    others = make_semantic_confound(8, 8, size=16, random_state=4)
    assert not (same(first[0], others[0]) or same(first[1], others[1]))
    assert (first[0].images != first[1].images).mean() > 0.5
    assert not np.isclose(first[0].severity, first[1].severity).any()


def test_first_images_are_the_same_for_every_number():
    few = make_semantic_confound(6, 7, size=8)
    many = make_semantic_confound(9, 11, size=8)
    for short, long in zip(few, many, strict=True):
        assert same(short, {name: values[: len(short.y)] for name, values in long.items()})


def test_correlation_changes_the_quality_not_what_is_shown():
    parts = [make_semantic_confound(20, 20, corr_train=c, corr_test=c, size=8) for c in (-0.8, 0.0, 0.8)]
    for i in range(2):
        first, *others = (pair[i] for pair in parts)
        for other in others:
            assert_array_equal(first.cluster, other.cluster)
            assert (first.severity != other.severity).all()
    train, test = make_semantic_confound(20, 20, corr_train=-0.8, corr_test=0.8, size=8)
    assert same(train, parts[0][0]) and same(test, parts[2][1])


@pytest.mark.parametrize("corr", [-1.0, -0.8, 0.0, 0.5, 1.0])
@pytest.mark.parametrize("n_clusters", [3, 6])
def test_rank_correlation_of_cluster_and_quality(blank, corr, n_clusters):
    for part in make_semantic_confound(3000, 3000, corr_train=corr, corr_test=corr, n_clusters=n_clusters, size=8):
        expected = 6 / np.pi * np.arcsin(corr / 2) * np.sqrt(1 - 1 / n_clusters**2)
        # Three standard errors, and 0.01 for the share that ties take.
        assert abs(spearmanr(part.cluster, -part.severity).statistic - expected) < 3 / np.sqrt(3000) + 0.01


@pytest.mark.parametrize("corr", [-0.8, 0.0, 0.8])
def test_severities_and_clusters_are_uniform(blank, corr):
    for part in make_semantic_confound(4000, 4000, corr_train=corr, corr_test=corr, n_clusters=5, size=8):
        assert kstest(part.severity, "uniform").pvalue > 0.005
        assert_allclose(np.bincount(part.cluster) / 4000, 1 / 5, atol=3 * 0.4 / np.sqrt(4000))


def test_correlations_of_the_two_sets_are_those_asked_for(blank):
    train, test = make_semantic_confound(3000, 3000, size=8)
    assert spearmanr(train.cluster, train.y).statistic > 0.7
    assert spearmanr(test.cluster, test.y).statistic < -0.7
    train, test = make_semantic_confound(3000, 3000, corr_train=0.0, corr_test=0.9, size=8)
    assert abs(spearmanr(train.cluster, train.y).statistic) < 0.06
    assert spearmanr(test.cluster, test.y).statistic > 0.8


def test_within_a_cluster_the_latent_quality_is_a_line_plus_noise(blank):
    """With two clusters, u is above or below 0, and the mean of q is then rho sqrt(2 / pi)."""
    train, _ = make_semantic_confound(8000, 2, corr_train=0.6, n_clusters=2, size=8)
    quality = norm.ppf(1 - train.severity)
    assert_allclose(quality[train.cluster == 1].mean(), 0.6 * np.sqrt(2 / np.pi), atol=0.05)
    assert_allclose(quality[train.cluster == 0].mean(), -0.6 * np.sqrt(2 / np.pi), atol=0.05)


def test_scores_are_the_truth_with_noise(blank):
    train, _ = make_semantic_confound(4000, 6, label_noise=5.0, size=8)
    inside = np.abs(train.severity - 0.5) < 0.25  # nothing is clipped there
    error = train.y - 100 * (1 - train.severity)
    assert_allclose(error[inside].std(), 5.0, rtol=0.05)
    assert_allclose(error[inside].mean(), 0, atol=0.5)
    assert abs(spearmanr(error[inside], train.severity[inside]).statistic) < 0.1
    exact, _ = make_semantic_confound(50, 6, label_noise=0, size=8)
    assert_allclose(exact.y, 100 * (1 - exact.severity), rtol=1e-12)


def test_images_are_dead_leaves_with_blur_and_grain(monkeypatch):
    scenes = []

    def record(*arguments, **options):
        scenes.append(dead_leaves(*arguments, **options))
        return scenes[-1]

    monkeypatch.setattr(confound, "dead_leaves", record)
    train, test = make_semantic_confound(30, 30)
    severity = np.concatenate([train.severity, test.severity])
    residuals = []
    for image, scene, s in zip(np.concatenate([train.images, test.images]), scenes, severity, strict=True):
        low, high = confound._BLUR
        sigma = low ** (1 - s) * high**s
        blurred = gaussian_filter(scene.astype(float), (sigma, sigma, 0))
        far_from_the_ends = (blurred > 110) & (blurred < 145)
        error = (image - blurred)[far_from_the_ends]
        if len(error) > 300:
            residuals.append((abs(error.mean()) / error.std() * np.sqrt(len(error)), error.std(), s))
    bias, grain, severity = np.array(residuals).T
    assert len(grain) > 30
    assert (bias < 4.5).all()
    low, high = confound._GRAIN
    assert kstest(np.log(grain), "uniform", (np.log(low), np.log(high / low))).pvalue > 0.01
    assert abs(spearmanr(grain, severity).statistic) < 0.5  # grain says nothing about the truth


@pytest.mark.parametrize("n_clusters", [2, 6, 10])
def test_palettes_are_as_different_as_they_can_be(n_clusters):
    for seed in range(5):
        palettes = confound._draw_palettes(n_clusters, np.random.RandomState(seed))
        assert palettes.shape == (n_clusters, 6, 3) and palettes.min() >= 0 and palettes.max() <= 1
        means = palettes.mean(axis=1)
        distance = np.linalg.norm(means[:, None] - means, axis=-1)[~np.eye(n_clusters, dtype=bool)]
        assert distance.min() > (0.15 if n_clusters < 10 else 0.05)
        assert np.ptp(palettes.max(axis=-1).mean(axis=1)) > 0.3
        contrasts = palettes.max(axis=-1).std(axis=1)
        assert contrasts.max() > 2 * contrasts.min()


def test_palettes_are_in_no_order():
    brightness = np.stack(
        [confound._draw_palettes(6, np.random.RandomState(seed)).max(axis=-1).mean(axis=1) for seed in range(200)]
    )
    ranks = [spearmanr(values, range(6)).statistic for values in brightness]
    assert abs(np.mean(ranks)) < 0.1 and np.std(ranks) > 0.3


def test_both_sets_have_the_same_palettes():
    train, test = make_semantic_confound(60, 60, corr_train=0.0, corr_test=0.0)
    means = [
        np.stack([part.images[part.cluster == k].mean(axis=(0, 1, 2)) for k in range(6)]) for part in (train, test)
    ]
    distance = np.linalg.norm(means[0][:, None] - means[1], axis=-1)
    assert_array_equal(distance.argmin(axis=1), range(6))


def test_the_truth_can_be_learned_and_colors_mislead():
    """Statistics of luma that are free of contrast rank the blur, if they are learned without bias."""
    blind = [name.split("_", 1)[1].startswith(("luma_mscn", "luma_product")) for name in feature_names()]
    fair, _ = make_semantic_confound(150, 6, corr_train=0.0, random_state=4)
    sets = (fair, *make_semantic_confound(150, 100, random_state=4))
    truths = [part.severity for part in sets]
    rows, shown = [statistics(part) for part in sets], [colors(part) for part in sets]
    everything = [np.hstack(both) for both in zip(rows, shown, strict=True)]

    def found(features, learned, tested):
        return agreement([features[learned], features[tested]], [truths[learned], truths[tested]])

    without_color = [row[:, blind] for row in rows]
    assert found(without_color, 0, 2) > 0.7
    assert found(without_color, 1, 2) > found(everything, 1, 2) + 0.05
    assert found(everything, 1, 2) < found(everything, 0, 2) - 0.1
    assert found(shown, 1, 2) < -0.4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"corr_train": 1.1}, r"'corr_train' .* range \[-1.0, 1.0\]. Got 1.1"),
        ({"corr_test": -2}, r"'corr_test' .* Got -2"),
        ({"corr_test": np.nan}, "'corr_test' .* Got nan"),
        ({"n_train": 5}, "n_train=5 and n_test=200 must be at least n_clusters=6"),
        ({"n_test": 5}, "n_train=200 and n_test=5 must be at least n_clusters=6"),
        ({"n_test": 20.0}, "'n_test' .* int"),
        ({"n_clusters": 1}, "'n_clusters' .* Got 1"),
        ({"size": 7}, "'size' .* Got 7"),
        ({"label_noise": -1.0}, "'label_noise' .* Got -1.0"),
        ({"random_state": "x"}, "'random_state'"),
    ],
)
def test_refuses_parameters_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_semantic_confound(**arguments)
