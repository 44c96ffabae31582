import pickle

import numpy as np
import pytest
from scipy import stats
from sklearn.dummy import DummyRegressor
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.linear_model import Ridge
from sklearn.metrics import get_scorer, root_mean_squared_error
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate
from sklearn.pipeline import Pipeline

from patchdistill.evaluation import SCORERS, SceneKFold

RNG = np.random.default_rng(0)
SCENES = np.repeat([f"scene {i}" for i in range(10)], 6)
X = RNG.normal(size=(60, 3))
Y = X @ [1.0, -0.5, 0.2] + 0.5 * RNG.normal(size=60)
ORACLES = {
    "srcc": lambda y, p: stats.spearmanr(y, p).statistic,
    "plcc": lambda y, p: stats.pearsonr(y, p).statistic,
    "krcc": lambda y, p: stats.kendalltau(y, p).statistic,
    "neg_rmse": lambda y, p: -root_mean_squared_error(y, p),
}


def test_these_are_all():
    assert set(SCORERS) == set(ORACLES)


@pytest.mark.parametrize("name", ORACLES)
def test_figures_of_predictions_as_they_are(name):
    model = Ridge().fit(X[:40], Y[:40])
    expected = ORACLES[name](Y[40:], model.predict(X[40:]))
    scorer = pickle.loads(pickle.dumps(SCORERS[name]))
    assert scorer(model, X[40:], Y[40:]) == pytest.approx(expected)
    assert get_scorer(scorer) is scorer


def test_predictions_against_opinions_are_bad():
    model = Ridge().fit(X, -Y)
    assert all(scorer(model, X, Y) < -0.4 for scorer in SCORERS.values())


def test_cross_validation_by_scene():
    scores = cross_val_score(Ridge(), X, Y, groups=SCENES, cv=SceneKFold(3), scoring=SCORERS["srcc"])
    expected = []
    for train, test in SceneKFold(3).split(X, Y, SCENES):
        expected.append(ORACLES["srcc"](Y[test], Ridge().fit(X[train], Y[train]).predict(X[test])))
    np.testing.assert_allclose(scores, expected)
    found = cross_validate(Ridge(), X, Y, groups=SCENES, cv=SceneKFold(3), scoring=SCORERS)
    np.testing.assert_allclose(found["test_srcc"], expected)


@pytest.mark.parametrize("refit", ["srcc", "neg_rmse"])
def test_grid_search_chooses_the_best_and_learns_again(refit):
    search = GridSearchCV(Ridge(), {"alpha": [1.0, 1e6]}, scoring=SCORERS, refit=refit, cv=SceneKFold(3))
    search.fit(X, Y, groups=SCENES)
    if refit == "neg_rmse":  # to ranks the size of coefficients matters little
        assert search.best_params_ == {"alpha": 1.0}
    assert search.best_score_ == search.cv_results_[f"mean_test_{refit}"].max()
    assert SCORERS[refit](search, X, Y) == pytest.approx(ORACLES[refit](Y, search.predict(X)))


@pytest.mark.filterwarnings("always::sklearn.exceptions.UndefinedMetricWarning")  # threads of joblib see this only
def test_a_model_that_predicts_a_constant_is_told_and_never_chosen():
    candidates = {"model": [DummyRegressor(), Ridge()]}
    search = GridSearchCV(Pipeline([("model", Ridge())]), candidates, scoring=SCORERS["srcc"], cv=SceneKFold(3))
    with pytest.warns(UserWarning) as caught:
        search.fit(X, Y, groups=SCENES)
    assert any("non-finite" in str(w.message) for w in caught)
    assert sum(w.category is UndefinedMetricWarning for w in caught) == 3
    assert isinstance(search.best_params_["model"], Ridge)
