import warnings

import numpy as np
import pytest
from scipy import stats
from sklearn.exceptions import ConvergenceWarning, UndefinedMetricWarning

from patchdistill.evaluation import grouped_bootstrap, plcc, srcc

RNG = np.random.default_rng(0)
Y = RNG.normal(size=40)
A, B = Y + 0.5 * RNG.normal(size=40), Y + 0.8 * RNG.normal(size=40)
SCENES = np.repeat(np.arange(10), 4)


def mean_error(y, scores):
    return np.mean(scores - y)


@pytest.mark.parametrize("confidence", [0.95, 0.8])
def test_images_of_a_scene_each_give_the_interval_of_scipy(confidence):
    ours = grouped_bootstrap(srcc, Y, A, np.arange(40), n_resamples=300, confidence=confidence, random_state=5)
    theirs = stats.bootstrap(
        (Y, A),
        lambda y, scores: stats.spearmanr(y, scores).statistic,
        paired=True,
        vectorized=False,
        method="percentile",
        n_resamples=300,
        confidence_level=confidence,
        random_state=np.random.RandomState(5),
    ).confidence_interval
    assert ours["value"] == pytest.approx(stats.spearmanr(Y, A).statistic)
    assert (ours["low"], ours["high"]) == pytest.approx(tuple(theirs))
    assert ours["n_undefined"] == 0


def test_scenes_are_drawn_whole_and_as_many_as_there_are():
    scenes = np.array([0, 1, 0, 2, 1, 0])
    seen = []

    def statistic(y, scores):
        seen.append(y)
        assert np.array_equal(scores, 10 * y)
        return 0.0

    grouped_bootstrap(statistic, np.arange(6), 10 * np.arange(6), scenes, n_resamples=50)
    assert seen[0].tolist() == [0, 1, 2, 3, 4, 5] and len(seen) == 51
    counts = np.array([np.bincount(images, minlength=6) for images in seen[1:]])
    np.testing.assert_array_equal(counts[:, [2, 5]], counts[:, [0, 0]])
    np.testing.assert_array_equal(counts[:, 4], counts[:, 1])
    times = counts[:, [0, 1, 3]]
    assert (times.sum(axis=1) == 3).all() and times.max() == 3 and (times.mean(axis=0) > 0.7).all()


def test_mean_of_scene_means_by_hand():
    """Two scenes, one image each, values 0 and 1: resamples have the mean 0, 1/2, 1/2 or 1."""
    found = grouped_bootstrap(mean_error, [0, 0], [0, 1], ["a", "b"], n_resamples=400, confidence=0.2)
    assert (found["value"], found["low"], found["high"]) == (0.5, 0.5, 0.5)
    found = grouped_bootstrap(mean_error, [0, 0], [0, 1], ["a", "b"], n_resamples=400)
    assert (found["low"], found["high"]) == (0, 1)


def test_scenes_give_a_wider_interval_than_images():
    rng = np.random.default_rng(1)
    scenes = np.repeat(np.arange(30), 10)
    y = np.zeros(300)
    scores = np.repeat(rng.normal(size=30), 10) + 0.1 * rng.normal(size=300)
    by_scene = grouped_bootstrap(mean_error, y, scores, scenes, n_resamples=400)
    by_image = grouped_bootstrap(mean_error, y, scores, np.arange(300), n_resamples=400)
    assert by_scene["high"] - by_scene["low"] > 2 * (by_image["high"] - by_image["low"])


def test_coverage():
    """Of 200 intervals of 80 % about 160 cover the truth; 5 standard deviations are 28 of them."""
    rng = np.random.default_rng(0)
    scenes, y, covered = np.repeat(np.arange(40), 2), np.zeros(80), 0
    for seed in range(200):
        scores = np.repeat(rng.normal(size=40), 2) + 0.3 * rng.normal(size=80)
        found = grouped_bootstrap(mean_error, y, scores, scenes, n_resamples=150, confidence=0.8, random_state=seed)
        covered += found["low"] < 0 < found["high"]
    assert 132 < covered < 188


def test_difference_on_the_same_resamples():
    other = Y + 0.3  # differs from y by a constant: whatever is drawn
    found = grouped_bootstrap(mean_error, Y, other + 0.2, SCENES, other=other, n_resamples=50)
    assert (found["value"], found["low"], found["high"]) == pytest.approx((0.2, 0.2, 0.2))
    found = grouped_bootstrap(srcc, Y, A, SCENES, other=B, n_resamples=50)
    assert found["value"] == pytest.approx(srcc(Y, A) - srcc(Y, B))
    turned = grouped_bootstrap(srcc, Y, B, SCENES, other=A, n_resamples=50)
    assert (turned["low"], turned["high"]) == pytest.approx((-found["high"], -found["low"]))


def test_seeds_and_the_order_of_images():
    found = grouped_bootstrap(srcc, Y, A, SCENES, n_resamples=50)
    assert found == grouped_bootstrap(srcc, Y, A, SCENES, n_resamples=50, random_state=0)
    assert found != grouped_bootstrap(srcc, Y, A, SCENES, n_resamples=50, random_state=1)
    order = np.random.default_rng(3).permutation(40)
    again = grouped_bootstrap(srcc, Y[order], A[order], SCENES[order], n_resamples=50)
    assert again == pytest.approx(found, abs=1e-12)
    assert grouped_bootstrap(srcc, list(Y), list(A), [f"{s}" for s in SCENES], n_resamples=50) == found


def test_defaults():
    calls = []
    found = grouped_bootstrap(lambda y, scores: calls.append(0) or len(calls), Y, A, SCENES)
    assert len(calls) == 1001
    # Numbers 2 to 1001 in turn: their quantiles at 2.5 % and 97.5 %.
    assert (found["low"], found["high"]) == pytest.approx((2 + 0.025 * 999, 2 + 0.975 * 999))


def test_resamples_without_a_figure_are_left_out_and_told_once():
    """Of three scenes of one image, each of three equal draws has no correlation: 3 of 27."""
    y, scores = [1.0, 2.0, 3.0], [1.0, 2.0, 4.0]
    with pytest.warns(UndefinedMetricWarning, match=r"NaN on \d+ of 500 resamples, which the interval") as caught:
        found = grouped_bootstrap(srcc, y, scores, ["a", "b", "c"], n_resamples=500)
    assert len(caught) == 1 and caught[0].filename == __file__
    assert 30 < found["n_undefined"] < 85 and f"on {found['n_undefined']} of" in str(caught[0].message)
    assert found["value"] == pytest.approx(1) and found["low"] == pytest.approx(1)


def test_no_figure_at_all():
    with pytest.warns(UndefinedMetricWarning) as caught:
        found = grouped_bootstrap(srcc, Y, np.ones(40), SCENES, n_resamples=20)
    assert len(caught) == 2  # on the images as they are, and on all resamples
    assert np.isnan([found["value"], found["low"], found["high"]]).all() and found["n_undefined"] == 20


def test_other_warnings_of_the_statistic_are_told_once():
    y, scores = [1.0, 2, 2, 5, 4], [1.0, 2, 3, 4, 5]
    with pytest.warns(ConvergenceWarning) as caught:
        grouped_bootstrap(plcc, y, scores, np.arange(5), n_resamples=30)
    told = [str(w.message) for w in caught if w.category is ConvergenceWarning]
    assert 1 <= len(told) <= 2
    assert "times on 30 resamples: The logistic4 map was not fitted" in told[-1]


def test_well_behaved_statistics_are_quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        grouped_bootstrap(srcc, Y, A, SCENES, n_resamples=20)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"groups": ["a"] * 40}, "There is 1 scene, but scenes are drawn again; pass images of at least two"),
        ({"groups": None}, "the scene of each image is needed"),
        ({"groups": SCENES[:-1]}, "inconsistent numbers of samples"),
        ({"other": B[:-1]}, "inconsistent numbers of samples"),
        ({"scores": A[:-1]}, "inconsistent numbers of samples"),
        ({"n_resamples": 0}, "The 'n_resamples' parameter of grouped_bootstrap must be"),
        ({"confidence": 95}, "The 'confidence' parameter of grouped_bootstrap must be"),
        ({"statistic": "srcc"}, "The 'statistic' parameter of grouped_bootstrap must be a callable"),
        ({"random_state": "a"}, "The 'random_state' parameter of grouped_bootstrap must be"),
    ],
)
def test_bad_input(changed, message):
    arguments = {"statistic": srcc, "y": Y, "scores": A, "groups": SCENES, "n_resamples": 5, **changed}
    with pytest.raises(ValueError, match=message):
        grouped_bootstrap(**arguments)
