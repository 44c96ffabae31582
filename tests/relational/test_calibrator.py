import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.isotonic import isotonic_regression

from patchdistill.evaluation import SceneKFold, agreement, fit_mapping, logistic4
from patchdistill.relational.calibrator import MOSCalibrator

KINDS = ("isotonic", "logistic4", "logistic5")


def rated(n=40, seed=0, noise=0.2):
    rng = np.random.default_rng(seed)
    scores = -rng.random(n)
    return scores, logistic4(scores, 5, 1, -0.5, 0.15) + noise * rng.normal(size=n)


@pytest.mark.parametrize("kind", KINDS[1:])
def test_logistic_maps_are_those_of_the_evaluation(kind):
    scores, mos = rated()
    calibrator = MOSCalibrator(kind).fit(scores, mos)
    assert calibrator.mapping_ == fit_mapping(scores, mos, kind)
    assert_array_equal(calibrator.predict(scores), calibrator.mapping_(scores))


@pytest.mark.parametrize("labels", ["mos", "dmos"])
def test_isotonic_map_is_that_of_pooled_adjacent_violators(labels):
    scores, mos = rated()
    y = mos if labels == "mos" else 100 - 20 * mos
    order = np.argsort(scores)
    calibrator = MOSCalibrator("isotonic", labels).fit(scores, y)
    assert_allclose(calibrator.predict(scores[order]), isotonic_regression(y[order], increasing=labels == "mos"))
    low, high = calibrator.predict([-9.0, 9.0])
    assert_allclose([low, high], calibrator.predict([scores.min(), scores.max()]))
    assert (low < high) == (labels == "mos")


@given(st.integers(0, 10**6), st.sampled_from(KINDS[:2]))
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore:The labels fall")
def test_keeps_the_order_of_scores(seed, kind):
    scores, mos = rated(12, seed)
    predicted = MOSCalibrator(kind).fit(scores, mos).predict(np.linspace(-1.5, 0.5, 40))
    assert (np.diff(predicted) >= -1e-9).all()


@pytest.mark.parametrize("kind", KINDS)
def test_learns_a_known_curve_from_fifteen_labels(kind):
    scores, _ = rated(15)
    calibrator = MOSCalibrator(kind).fit(scores, logistic4(scores, 5, 1, -0.5, 0.15))
    fresh = -np.linspace(0.1, 0.9, 30)
    assert np.abs(calibrator.predict(fresh) - logistic4(fresh, 5, 1, -0.5, 0.15)).max() < (
        0.4 if kind == "isotonic" else 0.02
    )


@pytest.mark.parametrize("kind", KINDS)
def test_columns_are_read_like_rows(kind):
    scores, mos = rated()
    rows = MOSCalibrator(kind).fit(scores, mos)
    columns = MOSCalibrator(kind).fit(scores[:, None], mos)
    assert_array_equal(columns.predict(scores[:, None]), rows.predict(scores))
    assert rows.predict(list(scores)).shape == (40,)


@pytest.mark.parametrize("kind", KINDS)
def test_cross_validation_predicts_scenes_that_were_left_out(kind):
    scores, mos = rated()
    scenes = np.arange(40) % 8
    predictions, figures = MOSCalibrator(kind).cross_validate(scores, mos, scenes)
    for scene in range(8):
        there = scenes == scene
        expected = MOSCalibrator(kind).fit(scores[~there], mos[~there]).predict(scores[there])
        assert_array_equal(predictions[there], expected)
    assert figures == agreement(mos, predictions, mapping=None)
    assert_allclose(figures["rmse"], np.sqrt(np.mean((mos - predictions) ** 2)))
    assert figures["mapping"] is None


def test_cross_validation_takes_other_splits_by_scene():
    scores, mos = rated()
    scenes = np.arange(40) % 8
    folds = SceneKFold(n_splits=2)
    predictions, _ = MOSCalibrator().cross_validate(scores, mos, scenes, cv=folds)
    train, test = next(iter(folds.split(groups=scenes)))
    assert_array_equal(predictions[test], MOSCalibrator().fit(scores[train], mos[train]).predict(scores[test]))


def test_cross_validation_needs_scenes():
    scores, mos = rated()
    with pytest.raises(ValueError, match="groups is None, but the scene of each image is needed"):
        MOSCalibrator().cross_validate(scores, mos, None)
    with pytest.raises(ValueError, match="at least two scenes"):
        MOSCalibrator().cross_validate(scores, mos, np.zeros(40, int))


@pytest.mark.parametrize(("kind", "least"), [("isotonic", 3), ("logistic4", 5), ("logistic5", 6)])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_too_few_labels_are_refused(kind, least):
    scores, mos = rated(least, noise=0.05)
    MOSCalibrator(kind).fit(scores, mos)
    repeated = np.append(scores[1:], scores[1])
    with pytest.raises(
        ValueError, match=f"There are {least - 1} different scores .*kind='{kind}' needs at least {least}"
    ):
        MOSCalibrator(kind).fit(repeated, mos)


def test_the_remedy_for_too_few_labels_is_one():
    scores, mos = rated(4)
    with pytest.raises(ValueError, match='rate more pictures, or pass kind="isotonic"'):
        MOSCalibrator().fit(scores, mos)
    with pytest.raises(ValueError, match="rate more pictures.$"):
        MOSCalibrator().fit(scores[:2], mos[:2])


@pytest.mark.parametrize("kind", KINDS)
def test_warns_of_labels_that_run_the_wrong_way(kind):
    scores, mos = rated()
    with pytest.warns(UserWarning, match="The labels fall as the scores rise, .*If they are DMOS, pass labels='dmos'"):
        MOSCalibrator(kind).fit(scores, -mos)
    with pytest.warns(UserWarning, match="The labels rise as the scores rise, .*If they are MOS, pass labels='mos'"):
        MOSCalibrator(kind, "dmos").fit(scores, mos)


def test_a_line_in_place_of_a_curve_is_told():
    scores = np.linspace(-1, 0, 12)
    with pytest.warns(ConvergenceWarning, match="The logistic4 map was not fitted"):
        calibrator = MOSCalibrator().fit(scores, 5 + 4 * scores)
    assert_allclose(calibrator.predict([-0.5]), [3])


def test_constant_labels_are_predicted():
    scores, _ = rated()
    assert_allclose(MOSCalibrator("isotonic").fit(scores, np.full(40, 3.0)).predict(scores), 3)


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (np.zeros((6, 2)), np.zeros(6), r"X has shape \(6, 2\), but one score per image"),
        ([0, 1, np.nan, 2, 3, 4], np.zeros(6), "Input X contains NaN"),
        (np.arange(6), [0, 1, 2, 3, 4, np.inf], "Input y contains infinity"),
        (np.arange(6), np.zeros(5), "inconsistent numbers of samples"),
    ],
)
def test_refuses_what_are_not_scores(X, y, message):
    with pytest.raises(ValueError, match=message):
        MOSCalibrator().fit(X, y)


@pytest.mark.parametrize("parameters", [{"kind": "linear"}, {"labels": "jnd"}])
def test_checks_its_parameters(parameters):
    with pytest.raises(ValueError, match=f"The '{next(iter(parameters))}' parameter of MOSCalibrator"):
        MOSCalibrator(**parameters).fit(*rated())


@pytest.mark.parametrize("kind", KINDS)
def test_is_an_estimator(kind):
    scores, mos = rated()
    calibrator = MOSCalibrator(kind)
    with pytest.raises(NotFittedError):
        calibrator.predict(scores)
    assert calibrator.fit(scores, mos) is calibrator
    loaded = pickle.loads(pickle.dumps(calibrator))
    assert_array_equal(loaded.predict(scores), calibrator.predict(scores))
    assert not hasattr(clone(calibrator), "mapping_")
    assert calibrator.score(scores, mos) > 0.9  # R2, as of all regressors
