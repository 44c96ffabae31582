import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import stats
from sklearn.exceptions import ConvergenceWarning, UndefinedMetricWarning
from sklearn.metrics import root_mean_squared_error

from patchdistill.evaluation import agreement, fit_mapping, krcc, outlier_ratio, plcc, rmse, srcc

CORRELATIONS = {"plcc": plcc, "srcc": srcc, "krcc": krcc}


def rated(seed, n=40, digits=12):
    """Opinions in 1 to 5 and scores of a model, with ties if rounded to few digits."""
    rng = np.random.default_rng(seed)
    y = rng.uniform(1, 5, n)
    return y.round(digits), (np.tanh(y - 3) + 0.4 * rng.normal(size=n)).round(digits)


@given(st.integers(0, 10**6), st.sampled_from([1, 12]), st.integers(3, 60))
def test_raw_figures_are_those_of_scipy_and_scikit_learn(seed, digits, n):
    y, scores = rated(seed, n, digits)
    assert srcc(y, scores) == pytest.approx(stats.spearmanr(y, scores).statistic, abs=1e-12)
    assert krcc(y, scores) == pytest.approx(stats.kendalltau(y, scores).statistic, abs=1e-12)
    assert plcc(y, scores, mapping=None) == pytest.approx(stats.pearsonr(y, scores).statistic, abs=1e-12)
    assert rmse(y, scores, mapping=None) == pytest.approx(root_mean_squared_error(y, scores), rel=1e-12)


@pytest.mark.parametrize("mapping", ["linear", "logistic4", "logistic5"])
def test_mapped_figures_are_raw_ones_of_mapped_scores(mapping):
    y, scores = rated(0)
    mapped = fit_mapping(scores, y, mapping)(scores)
    assert plcc(y, scores, mapping) == pytest.approx(stats.pearsonr(y, mapped).statistic, abs=1e-12)
    assert rmse(y, scores, mapping) == pytest.approx(root_mean_squared_error(y, mapped), rel=1e-12)
    errors = np.sort(np.abs(y - mapped))
    threshold = np.full(40, (errors[29] + errors[30]) / 4)  # 10 of 40 errors are above twice this
    assert outlier_ratio(y, scores, threshold, mapping) == 0.25


def test_logistic_example_by_hand():
    """Two images at each of four scores; the curve goes through the mean of either pair.

    With b1 = 5, b2 = 1, b3 = 0 and b4 = 1 the logistic curve is 1 + 4 / (1 + exp(-x)). At the scores ln(1/3), 0,
    ln(3), ln(9) it is 1 + 4/4 = 2, 1 + 4/2 = 3, 1 + 4 * 3/4 = 4 and 1 + 4 * 9/10 = 4.6. Opinions lie 0.1 above and
    below, so that no curve is closer: the mean of each pair has the least squared error, and four coefficients meet
    four means.

    RMSE: every error is 0.1, and so is their root mean square.
    PLCC: the curve's values have the mean (2 + 3 + 4 + 4.6) / 4 = 3.4 and the variance
    (1.96 + 0.16 + 0.36 + 1.44) / 4 = 0.98; the opinions vary by 0.98 + 0.01, with the covariance 0.98. Hence
    0.98 / sqrt(0.98 * 0.99) = sqrt(98 / 99).
    Outliers: at a standard error of 0.04 an image is one from 0.08 on: all. At 0.06, from 0.12 on: none.
    """
    scores = np.repeat(np.log([1 / 3, 1, 3, 9]), 2)
    y = np.repeat([2, 3, 4, 4.6], 2) + np.tile([0.1, -0.1], 4)
    mos_std = np.repeat([0.04, 0.06], 4)
    assert plcc(y, scores) == pytest.approx(np.sqrt(98 / 99), abs=1e-9)
    assert rmse(y, scores) == pytest.approx(0.1, abs=1e-9)
    assert outlier_ratio(y, scores, mos_std) == 0.5
    # Of 28 pairs 24 have different scores, and all of these are in order; opinions do not tie: 24 / sqrt(24 * 28).
    assert krcc(y, scores) == pytest.approx(24 / np.sqrt(24 * 28), abs=1e-12)
    # Ranks of opinions are 2, 1, 4, 3, ..., those of scores 1.5, 1.5, 3.5, 3.5, ...: variances 42 / 8 and 40 / 8.
    assert srcc(y, scores) == pytest.approx(40 / np.sqrt(40 * 42), abs=1e-12)


def test_outliers_exceed_twice_the_standard_error():
    assert outlier_ratio([0, 0, 0, 0], [1, 2, 3, -3], [1, 1, 1, 1], mapping=None) == 0.5
    assert outlier_ratio([0, 0], [0, 1], [0, 0], mapping=None) == 0.5


@pytest.mark.parametrize("mapping", ["linear", "logistic4", "logistic5", None])
def test_agreement_gives_them_all(mapping):
    y, scores = rated(1)
    mos_std = np.linspace(0.1, 0.5, 40)
    assert agreement(y, scores, mapping=mapping, mos_std=mos_std) == {
        "plcc": plcc(y, scores, mapping),
        "srcc": srcc(y, scores),
        "krcc": krcc(y, scores),
        "rmse": rmse(y, scores, mapping),
        "outlier_ratio": outlier_ratio(y, scores, mos_std, mapping),
        "mapping": mapping,
    }
    assert agreement(y, scores, mapping=mapping)["outlier_ratio"] is None


def test_the_map_is_the_logistic_curve_of_four_coefficients_unless_said():
    y, scores = rated(2)
    assert agreement(y, scores) == agreement(y, scores, mapping="logistic4") != agreement(y, scores, mapping="linear")
    mos_std = np.full(40, 0.25)
    assert plcc(y, scores) == plcc(y, scores, "logistic4") != plcc(y, scores, "logistic5")
    assert rmse(y, scores) == rmse(y, scores, "logistic4") != rmse(y, scores, "logistic5")
    ratios = [outlier_ratio(y, scores, mos_std, mapping) for mapping in ("logistic4", None)]
    assert outlier_ratio(y, scores, mos_std) == ratios[0] != ratios[1]


def test_the_kind_of_map_is_the_one_in_fact_used():
    with pytest.warns(ConvergenceWarning, match="3 different scores do not determine 4"):
        row = agreement([1, 2, 4, 5], [1, 2, 3, 3])
    assert row["mapping"] == "linear"
    assert row["plcc"] == pytest.approx(stats.pearsonr([1, 2, 4, 5], [1, 2, 3, 3]).statistic)


def test_scores_against_opinions():
    """A map may fall: only rank correlations and raw ones are negative."""
    y, scores = rated(3)
    up, down = agreement(y, scores), agreement(y, -scores)
    assert down["plcc"] == pytest.approx(up["plcc"], abs=1e-9) and up["plcc"] > 0.5
    assert down["rmse"] == pytest.approx(up["rmse"], rel=1e-9)
    assert down["srcc"] == pytest.approx(-up["srcc"]) and down["krcc"] == pytest.approx(-up["krcc"])
    assert plcc(y, -scores, mapping=None) == pytest.approx(-plcc(y, scores, mapping=None))


@pytest.mark.parametrize(
    ("y", "scores", "which"),
    [
        ([1.0, 2, 4, 5], [0.1 + 0.2, 0.3, 0.3, 0.3], "scores is 0.3 for all of the 4 images"),
        ([2.0, 2, 2, 2], [1, 2, 3, 4], "y is 2 for all of the 4 images"),
        ([3.0], [1.0], "y is 3 for all of the 1 images"),
    ],
)
def test_constants_have_no_correlation_and_that_is_told_once(y, scores, which):
    with pytest.warns(UndefinedMetricWarning, match=which) as caught:
        row = agreement(y, scores, mapping="linear", mos_std=np.full(len(y), 1.0))
    assert len(caught) == 1 and "PLCC, SRCC and KRCC are undefined" in str(caught[0].message)
    assert caught[0].filename == __file__
    assert np.isnan([row[name] for name in CORRELATIONS]).all()
    best = np.mean(y)  # on which side the constant is: the error left is that of the mean
    assert row["rmse"] == pytest.approx(np.sqrt(np.mean((np.array(y) - best) ** 2)), abs=1e-12)
    assert row["outlier_ratio"] == np.mean(np.abs(np.array(y) - best) > 2)
    for name, function in CORRELATIONS.items():
        with pytest.warns(UndefinedMetricWarning, match=f"{name.upper()} is undefined and set to NaN") as caught:
            assert np.isnan(function(y, scores))
        assert len([w for w in caught if w.category is UndefinedMetricWarning]) == 1


def test_constant_scores_need_no_logistic_map():
    with pytest.warns(UndefinedMetricWarning) as caught:
        row = agreement([1, 2, 4, 5], [0.3] * 4)
    assert len(caught) == 1 and row["mapping"] == "linear"
    assert rmse([1, 2, 3, 6], [0.3] * 4) == pytest.approx(np.sqrt(3.5))  # the errors of the mean 3 are 2, 1, 0, 3
    assert rmse([1, 2, 4, 5], [3.5] * 4, mapping=None) == pytest.approx(np.sqrt((6.25 + 2.25 + 0.25 + 2.25) / 4))


def test_scores_of_no_use_have_correlation_zero():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert plcc([1, 2, 1], [1, 2, 3], mapping="linear") == pytest.approx(0, abs=1e-12)
        assert srcc([1, 2, 1], [1, 2, 3]) == pytest.approx(0, abs=1e-12)


@given(st.integers(0, 10**6), st.floats(1e-100, 1e100), st.floats(-3, 3), st.floats(1e-100, 1e100))
def test_units_do_not_matter(seed, unit, offset, unit_of_y):
    y, scores = rated(seed, 12)
    for name, function in CORRELATIONS.items():
        options = {"mapping": None} if name == "plcc" else {}
        there = function(y * unit_of_y, (scores + offset) * unit, **options)
        assert there == pytest.approx(function(y, scores, **options), abs=1e-9)
        assert -1 <= there <= 1


def test_perfect_scores():
    y = np.array([1.1, 2.3, 4.7, 4.9, 3.3])
    row = agreement(y, 3 * y - 1, mapping="linear", mos_std=np.full(5, 1e-9))
    expected = {"plcc": 1, "srcc": 1, "krcc": 1, "rmse": 0, "outlier_ratio": 0}
    assert {k: row[k] for k in expected} == pytest.approx(expected, abs=1e-12)
    for seed in range(50):  # rounding takes some of these beyond 1
        y, _ = rated(seed)
        assert 1 - 1e-12 < plcc(y, y, None) <= 1 and -1 <= plcc(y, -y, None) < -1 + 1e-12


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1, 2], [1, 2, 3]), "There are 3 scores, but 2 values of y; pass one of each per image"),
        (([1, 2], [1, np.nan]), "Input scores contains NaN"),
        (([1, np.inf], [1, 2]), "Input y contains infinity"),
        (([[1], [2]], [1, 2]), r"y has shape \(2, 1\), but one number per image is needed"),
    ],
)
@pytest.mark.parametrize("function", [agreement, plcc, srcc, krcc, rmse])
def test_bad_input(function, arguments, message):
    with pytest.raises(ValueError, match=message):
        function(*arguments)


@pytest.mark.parametrize("scores", [[1, 2, 3], [1, 1, 1]])
def test_unknown_map(scores):
    with pytest.raises(ValueError, match="mapping='cubic' is unknown; use one of linear, .*, logistic5, or None"):
        agreement([1, 2, 3], scores, mapping="cubic")


@pytest.mark.parametrize("mos_std", [[0.1, 0.1], [0.1, -0.2, 0.3]])
def test_bad_standard_errors(mos_std):
    with pytest.raises(ValueError, match=f"mos_std has {len(mos_std)} values .* but 3 are needed"):
        outlier_ratio([1, 2, 3], [1, 2, 4], mos_std, mapping=None)


def test_calibration_of_many_images(data_dir):
    """Ratings of real photographs: the figures of scores that are the ratings with noise are those of scipy."""
    columns = np.genfromtxt(data_dir / "rated" / "livec" / "livec_mos.csv", delimiter=",", names=True, dtype=None)
    mos, std = columns["mos"], columns["std"]
    scores = mos + np.random.default_rng(0).normal(scale=std.mean(), size=len(mos))
    row = agreement(mos, scores, mapping="linear", mos_std=std)
    line = np.polyval(np.polyfit(scores, mos, 1), scores)
    assert_allclose(
        [row["plcc"], row["srcc"], row["krcc"], row["rmse"], row["outlier_ratio"]],
        [
            abs(stats.pearsonr(mos, scores).statistic),
            stats.spearmanr(mos, scores).statistic,
            stats.kendalltau(mos, scores).statistic,
            root_mean_squared_error(mos, line),
            np.mean(np.abs(mos - line) > 2 * std),
        ],
        rtol=1e-9,
    )


@pytest.mark.parametrize("scores, sign", [([1.0, 2.0], 1), ([2.0, 1.0], -1)])
def test_two_images_are_in_order_or_not(scores, sign):
    assert krcc([10.0, 20.0], scores) == srcc([10.0, 20.0], scores) == sign
