import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import OptimizeResult, approx_fprime, least_squares
from sklearn.exceptions import ConvergenceWarning

from patchdistill.evaluation import MAPPINGS, ScoreMapping, fit_mapping, logistic4, logistic5, mapping

LOGISTIC = {"logistic4": logistic4, "logistic5": logistic5}
KNOWN = [
    ("logistic4", (5.0, 1.0, 0.4, 0.1)),
    ("logistic4", (20.0, 80.0, 0.7, -0.2)),
    ("logistic4", (1e4, -1e4, 1.4, 0.3)),
    ("logistic5", (4.0, 9.0, 0.5, 0.3, 2.0)),
    ("logistic5", (-40.0, 6.0, 0.2, -3.0, 60.0)),
    ("logistic5", (3.0, -12.0, 0.8, 0.0, 2.0)),
]


def noisy(seed, n=80, falling=False):
    """Scores that saturate at both ends, as those of quality models do, and opinions in 1 to 5."""
    rng = np.random.default_rng(seed)
    scores = rng.uniform(0, 1, n)
    y = logistic4(scores, 5, 1, rng.uniform(0.3, 0.7), rng.uniform(0.08, 0.15)) + rng.normal(scale=0.3, size=n)
    return (-scores if falling else scores), y


def anything(seed):
    """Relations of all kinds, none included, between few or many scores."""
    rng = np.random.default_rng(seed)
    n = int(rng.choice([8, 20, 60]))
    scores = [rng.normal(size=n), rng.uniform(size=n), rng.exponential(size=n)][seed % 3]
    relations = [np.tanh, np.exp, np.negative, np.square, np.zeros_like]
    return scores, relations[seed % 5](scores) + rng.choice([0.02, 0.5]) * rng.normal(size=n)


def squared_error(function, scores, y):
    return np.sum((function(scores) - y) ** 2)


@pytest.mark.parametrize("x", [0.3, np.linspace(-1, 2, 7)])
def test_curves_are_the_published_ones(x):
    assert_allclose(logistic4(x, 5, 1, 0.4, -0.1), (5 - 1) / (1 + np.exp(-(x - 0.4) / 0.1)) + 1, rtol=1e-14)
    expected = 4 * (1 / 2 - 1 / (1 + np.exp(9 * (x - 0.5)))) + 0.3 * x + 2
    assert_allclose(logistic5(x, 4, 9, 0.5, 0.3, 2), expected, rtol=1e-14)


def test_curves_of_huge_arguments_are_their_ends():
    x = np.array([-1e308, 1e308])
    assert_array_equal(logistic4(x, 5.0, 1.0, 1e308, 1e-3), [1.0, 3.0])
    assert_array_equal(logistic5(x, 4.0, -1e3, 0.0, 0.0, 2.0), [4.0, 0.0])


@pytest.mark.parametrize(("kind", "coefficients"), KNOWN)
def test_finds_a_known_curve(kind, coefficients):
    scores = np.random.default_rng(0).uniform(size=60)
    y = LOGISTIC[kind](scores, *coefficients)
    fitted = fit_mapping(scores, y, kind)
    assert fitted.kind == kind
    assert_allclose(fitted(scores), y, atol=1e-6 * y.std())


def test_line_is_that_of_polyfit():
    scores, y = noisy(0, falling=True)
    line = fit_mapping(scores, y, "linear")
    assert_allclose(line.coefficients, np.polyfit(scores, y, 1), rtol=1e-10)
    assert_allclose(line(scores[:3]), np.polyval(np.polyfit(scores, y, 1), scores[:3]), rtol=1e-10)


@pytest.mark.parametrize("falling", [False, True])
@pytest.mark.parametrize("kind", LOGISTIC)
@pytest.mark.parametrize("seed", range(4))
def test_squared_error_is_stationary(seed, kind, falling):
    scores, y = noisy(seed, falling=falling)
    coefficients = np.array(fit_mapping(scores, y, kind).coefficients)

    def loss(relative):
        return squared_error(lambda x: LOGISTIC[kind](x, *coefficients * relative), scores, y)

    ones = np.ones(len(coefficients))
    gradient = (approx_fprime(ones, loss, 1e-5) + approx_fprime(ones, loss, -1e-5)) / 2
    assert_allclose(gradient, 0, atol=1e-6 * len(y) * y.var())


@pytest.mark.parametrize("kind", LOGISTIC)
@pytest.mark.parametrize("seed", range(3))
def test_many_searches_for_all_coefficients_find_nothing_better(seed, kind):
    scores, y = noisy(seed, falling=seed == 1)
    low, high = {
        "logistic4": ([-20, -20, -2, 0.02], [20, 20, 2, 5]),
        "logistic5": ([-50, 0, -2, -50, -50], [50, 50, 2, 50, 50]),
    }[kind]
    starts = np.random.default_rng(seed).uniform(low, high, size=(60, len(low))) / 2 + np.add(low, high) / 4
    found = [least_squares(lambda b: LOGISTIC[kind](scores, *b) - y, start, bounds=(low, high)) for start in starts]
    best = 2 * min(search.cost for search in found)
    assert_allclose(squared_error(fit_mapping(scores, y, kind), scores, y), best, rtol=1e-6)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@given(st.integers(0, 10**6), st.sampled_from(list(LOGISTIC)))
def test_is_never_worse_than_the_line(seed, kind):
    scores, y = anything(seed)
    error, of_line = (squared_error(fit_mapping(scores, y, k), scores, y) for k in (kind, "linear"))
    assert error <= of_line + 1e-9 * len(y) * y.var()


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@given(
    st.integers(0, 10**6),
    st.sampled_from(MAPPINGS),
    st.floats(1e-100, 1e100),
    st.floats(-5, 5),
    st.floats(1e-100, 1e100),
    st.sampled_from([-1, 1]),
)
def test_units_do_not_matter(seed, kind, unit, offset, unit_of_y, sign):
    scores, y = anything(seed)
    fitted = fit_mapping(scores, y, kind)
    other = fit_mapping(unit * (scores + offset), sign * unit_of_y * y, kind)
    assert other.kind == fitted.kind
    between = np.linspace(scores.min(), scores.max(), 50)
    mapped = other(unit * (between + offset)) / (sign * unit_of_y)
    assert_allclose(mapped, fitted(between), atol=1e-8 * np.abs(y).max())


@pytest.mark.parametrize("kind", MAPPINGS)
@pytest.mark.parametrize("seed", range(10))
def test_scores_may_fall_with_quality(seed, kind):
    scores, y = noisy(seed)
    fitted, falling = fit_mapping(scores, y, kind), fit_mapping(7 - 3 * scores, y, kind)
    assert falling.kind == kind
    assert_allclose(falling(7 - 3 * scores), fitted(scores), atol=1e-5)
    between = np.linspace(scores.min(), scores.max(), 50)
    if kind != "logistic5":
        assert (np.diff(fitted(between)) > 0).all()
        assert (np.diff(falling(7 - 3 * between[::-1])) < 0).all()


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@given(st.integers(0, 10**6))
def test_logistic4_is_monotonic(seed):
    scores, y = anything(seed)
    steps = np.diff(fit_mapping(scores, y, "logistic4")(np.linspace(scores.min(), scores.max(), 50)))
    rounding = 1e-12 * np.abs(y).max()
    assert (steps >= -rounding).all() or (steps <= rounding).all()


def test_rounding_does_not_choose_between_mirror_images():
    """Bends at both ends, of which the curve can follow either; sums in another order are rounded otherwise."""
    scores = np.linspace(-1, 1, 41)
    fitted = fit_mapping(scores, scores**9, "logistic4")
    for seed in range(10):
        order = np.random.default_rng(seed).permutation(41)
        assert_allclose(fit_mapping(scores[order], scores[order] ** 9, "logistic4")(scores), fitted(scores), atol=1e-6)


def assert_line_with_warning(scores, y, kind, reason):
    with pytest.warns(ConvergenceWarning, match=f"The {kind} map was not fitted, .*line of slope .*{reason}") as caught:
        fitted = fit_mapping(scores, y, kind)
    assert len(caught) == 1 and caught[0].filename == __file__
    assert fitted.kind == "linear"
    return fitted


@pytest.mark.parametrize("kind", MAPPINGS)
@pytest.mark.parametrize("scores", [np.full(6, 0.1), np.array([0.1] * 5 + [0.1 + 1e-16]), np.zeros(6)])
def test_equal_scores_are_mapped_to_the_mean(kind, scores):
    y = np.arange(6.0)
    fitted = assert_line_with_warning(scores, y, kind, "all scores are equal; check the model")
    assert_array_equal(fitted.coefficients, [0, 2.5])


def test_few_scores_get_a_line():
    y = np.array([1.0, 4.0, 5.0, 2.0])
    for kind, scores in [("logistic5", [1, 2, 3, 4]), ("logistic4", [1, 2, 3, 3])]:
        n = len(set(scores))
        reason = f"{n} different scores do not determine {kind[-1]} coefficients; pass more images, or kind="
        fitted = assert_line_with_warning(scores, y, kind, reason)
        assert fitted == fit_mapping(scores, y, "linear")
    assert fit_mapping([1, 2, 3, 4], y, "logistic4").kind == "logistic4"


def test_what_is_worse_than_the_line_gives_way_to_it():
    scores = np.linspace(0, 1, 20)
    fitted = assert_line_with_warning(scores, 2 * scores + 1, "logistic4", "larger than that of the line; pass kind=")
    assert_allclose(fitted.coefficients, [2, 1], atol=1e-12)
    assert fit_mapping(scores, 2 * scores + 1, "logistic5").kind == "logistic5"


def fail(*args, **kwargs):
    raise np.linalg.LinAlgError("SVD did not converge")


def stop_early(fun, x0, **kwargs):
    return OptimizeResult(x=np.array(x0), success=False)


@pytest.mark.parametrize(
    ("search", "reason"), [(fail, r"failed \(SVD did not converge\)"), (stop_early, "did not converge; look for")]
)
@pytest.mark.parametrize("kind", LOGISTIC)
def test_a_failed_search_leaves_the_line(monkeypatch, kind, search, reason):
    scores, y = noisy(0)
    monkeypatch.setattr(mapping, "least_squares", search)
    assert assert_line_with_warning(scores, y, kind, reason) == fit_mapping(scores, y, "linear")


@pytest.mark.parametrize("kind", MAPPINGS)
def test_constant_opinions_are_predicted(kind):
    fitted = fit_mapping(np.arange(8.0), np.full(8, 3.0), kind)
    assert fitted.kind == kind
    assert_allclose(fitted([-1, 2.5, 9]), 3)


def test_a_mapping_is_a_value():
    fitted = fit_mapping(*noisy(0), "logistic4")
    assert pickle.loads(pickle.dumps(fitted)) == fitted
    assert all(type(b) is float for b in fitted.coefficients)
    assert fitted([[1], [2]]).shape == (2, 1)
    assert_array_equal(ScoreMapping("linear", (2.0, 1.0))([1, 2]), [3, 5])


@pytest.mark.parametrize("kind", ["logistic", None, "Linear"])
def test_refuses_other_kinds(kind):
    with pytest.raises(ValueError, match=f"kind={kind!r} is unknown; use one of linear, logistic4, logistic5"):
        fit_mapping([1, 2], [1, 2], kind)


@pytest.mark.parametrize(
    ("scores", "y", "message"),
    [
        ([[1], [2]], [1, 2], r"scores has shape \(2, 1\), but one number per image is needed; .* np.ravel\(scores\)"),
        ([1, 2], 3, r"y has shape \(\)"),
        ([1, 2, 3], [1, 2], "3 scores, but 2 values of y; pass one of each per image"),
        ([1, np.nan], [1, 2], "Input scores contains NaN"),
        ([1, 2], [1, np.inf], "Input y contains infinity"),
        ([], [], r"Found array with 0 sample\(s\)"),
    ],
)
def test_refuses_what_are_not_scores(scores, y, message):
    with pytest.raises(ValueError, match=message):
        fit_mapping(scores, y, "linear")
