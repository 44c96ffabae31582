"""The closed form is least squares with rows for the pairs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.linalg import inv, sqrtm
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from patchdistill import ResidualPatchSelector
from patchdistill.evaluation import SceneKFold, srcc
from patchdistill.models import BagPooling
from patchdistill.qfm import QFMRidge, match_pairs, semantic_sensitivity
from patchdistill.qfm.matching import as_pairs

PAIRINGS = ["quality", "semantic", "both"]
KINDS = {"quality": ["quality"], "semantic": ["semantic"], "both": ["quality", "semantic"]}


def draw(n=40, d=6, seed=0):
    """Features that hold quality and what is shown, labels, and scenes of two images."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + 3
    return X, X[:, 0] - X[:, -1] + 0.3 * rng.normal(size=n), np.arange(n) // 2


def standardized(X):
    return (X - X.mean(axis=0)) / X.std(axis=0)


def least_squares(X, y, groups, lam, alpha, pairing):
    """Write the penalties as rows: a row per pair, a row per feature."""
    Z, targets = X - X.mean(axis=0), y - y.mean()
    rows, values = [Z], [targets]
    for kind in KINDS[pairing]:
        i, j = as_pairs(match_pairs(y, standardized(X), groups, pairing=kind)).T
        weight = np.sqrt(lam * len(Z) / len(i))
        rows.append(weight * (Z[j] - Z[i]))
        values.append(weight * (y[j] - y[i]) * (kind == "semantic"))
    rows.append(np.sqrt(alpha) * np.eye(X.shape[1]))
    values.append(np.zeros(X.shape[1]))
    return np.linalg.lstsq(np.concatenate(rows), np.concatenate(values), rcond=None)[0]


class TestClosedForm:
    @pytest.mark.parametrize("pairing", PAIRINGS)
    @given(st.integers(0, 2**32 - 1), st.sampled_from([2, 6, 39, 40, 41, 90]), st.floats(0, 10), st.floats(1, 100))
    def test_equals_augmented_least_squares(self, pairing, seed, d, lam, alpha):
        X, y, groups = draw(40, d, seed)
        model = QFMRidge(lam, alpha=alpha, pairing=pairing).fit(X, y, groups)
        expected = least_squares(X, y, groups, lam, alpha, pairing)
        scale = np.abs(expected).max()
        assert_allclose(model.coef_, expected, rtol=0, atol=1e-10 * max(1, scale))
        assert_allclose(model.predict(X), y.mean() + (X - X.mean(axis=0)) @ expected, rtol=0, atol=1e-8 * np.ptp(y))

    def test_equals_training_on_images_that_are_shifted_towards_their_partners_at_random(self):
        X, y, _ = draw(200, 4)
        y = np.clip(y, *np.quantile(y, [0.02, 0.98]))  # the best and the worst have partners too
        lam, alpha, n_draws = 0.7, 1.0, 4000
        partners = match_pairs(y, standardized(X), tau=1.0, k=1)[:, 0]
        assert (partners >= 0).all()
        Z, targets = X - X.mean(axis=0), y - y.mean()
        rng = np.random.default_rng(1)
        normal = np.zeros((n_draws, 4, 4))
        linear = np.zeros((n_draws, 4))
        for i in range(n_draws):
            shifted = Z + np.sqrt(lam) * rng.choice([-1, 1], size=(200, 1)) * (Z[partners] - Z)
            normal[i], linear[i] = shifted.T @ shifted, shifted.T @ targets
        drawn = np.linalg.solve(normal.mean(axis=0) + alpha * np.eye(4), linear.mean(axis=0))
        batches = [
            np.linalg.solve(n.mean(axis=0) + alpha * np.eye(4), b.mean(axis=0))
            for n, b in zip(np.split(normal, 20), np.split(linear, 20), strict=True)
        ]
        error = np.std(batches, axis=0) / np.sqrt(20)
        closed = QFMRidge(lam, alpha=alpha, tau=1.0, k=1).fit(X, y).coef_
        assert (np.abs(drawn - closed) < 4 * error).all()
        assert (error < 0.01 * np.abs(closed).max()).all()
        assert np.abs(Ridge(alpha=alpha).fit(X, y).coef_ - closed).max() > 20 * error.max()

    @pytest.mark.parametrize("pairing", PAIRINGS)
    @pytest.mark.parametrize("d", [5, 60])
    def test_without_penalty_it_is_ridge(self, pairing, d):
        X, y, groups = draw(40, d)
        model, ridge = QFMRidge(0.0, alpha=2.5, pairing=pairing).fit(X, y, groups), Ridge(alpha=2.5).fit(X, y)
        assert_allclose(model.coef_, ridge.coef_, rtol=1e-10, atol=1e-12)
        assert_allclose(model.intercept_, ridge.intercept_, rtol=1e-10)

    @given(st.integers(0, 2**32 - 1), st.sampled_from([3, 60]), st.floats(0.01, 10))
    def test_the_difference_of_partners_never_rises_with_the_penalty(self, seed, d, alpha):
        X, y, groups = draw(40, d, seed)
        i, j = as_pairs(match_pairs(y, standardized(X), groups)).T
        differences = [
            np.mean(((X[j] - X[i]) @ QFMRidge(lam, alpha=alpha).fit(X, y, groups).coef_) ** 2)
            for lam in (0.0, 0.01, 0.1, 1.0, 10.0, 1000.0)
        ]
        assert (np.diff(differences) <= 1e-9 * differences[0]).all()
        assert differences[-1] < differences[0]

    @pytest.mark.parametrize("d", [25, 300])
    def test_no_square_matrix_of_features_is_made(self, monkeypatch, d):
        X, y, groups = draw(20, d)
        largest = 0

        def eye(n):
            nonlocal largest
            largest = max(largest, n)
            return np.diag(np.ones(n))

        monkeypatch.setattr("patchdistill.qfm.ridge.np.eye", eye)
        model = QFMRidge("cv", output="whitened").fit(X, y, groups)
        model.transform(X)
        assert 0 < largest <= 20
        assert all(np.size(part) < d * d for part in model._whitening)

    def test_adding_a_constant_to_features_or_labels_moves_the_intercept_alone(self):
        X, y, groups = draw()
        model, moved = QFMRidge(2.0).fit(X, y, groups), QFMRidge(2.0).fit(X + 100, y - 7, groups)
        assert_allclose(moved.coef_, model.coef_, atol=1e-9)
        assert_allclose(moved.predict(X + 100), model.predict(X) - 7, atol=1e-8)


class TestQualityCondition:
    def test_matching_by_semantics_alone_destroys_the_model(self):
        # What is shown goes with quality, as it does in photographs: partners of any quality take out both.
        rng = np.random.default_rng(0)
        shown = rng.uniform(-1.5, 1.5, 300)
        quality = 1.5 * shown + 0.8 * rng.normal(size=300)
        X = np.stack([quality, shown], axis=1) + 0.3 * rng.normal(size=(300, 2))
        semantics = np.stack([np.cos(shown), np.sin(shown)], axis=1)
        train, test = np.arange(150), np.arange(150, 300)

        def quality_of(tau):
            model = QFMRidge(30.0, tau=tau).fit(X[train], quality[train], semantics=semantics[train])
            return srcc(quality[test], model.predict(X[test]))

        assert quality_of(0.25) > 0.9
        assert quality_of(np.inf) < quality_of(0.25) - 0.2


class TestCrossValidation:
    def test_is_a_loop_over_folds(self):
        X, y, groups = draw(60, 5)
        semantics = np.random.default_rng(1).normal(size=(60, 3))
        model = QFMRidge("cv", lams=(3.0, 0.0, 0.5), alpha=0.7).fit(X, y, groups, semantics)
        errors = []
        for lam in (0.0, 0.5, 3.0):
            squares = []
            for train, test in SceneKFold(5).split(groups=groups):
                fitted = QFMRidge(lam, alpha=0.7).fit(X[train], y[train], groups[train], semantics[train])
                squares.extend((y[test] - fitted.predict(X[test])) ** 2)
            errors.append(np.mean(squares))
        assert_allclose(model.cv_errors_, errors)
        assert model.lam_ == (0.0, 0.5, 3.0)[int(np.argmin(errors))]
        assert_array_equal(model.coef_, QFMRidge(model.lam_, alpha=0.7).fit(X, y, groups, semantics).coef_)

    def test_scenes_are_not_split(self, monkeypatch):
        # A label per scene that no feature tells: knowing the scene's other images would help.
        rng = np.random.default_rng(0)
        groups = np.repeat(np.arange(20), 3)
        X = np.repeat(rng.normal(size=(20, 30)), 3, axis=0)
        y = np.repeat(rng.normal(size=20), 3)
        assert QFMRidge("cv", alpha=0.01).fit(X, y, groups).cv_errors_.min() > 0.5 * y.var()

    def test_two_scenes_are_too_few(self):
        X, y, _ = draw(20)
        with pytest.raises(ValueError, match='lam="cv" needs images of at least 3 scenes.*there are 2. Give lam'):
            QFMRidge().fit(X, y, np.arange(20) % 2)
        assert QFMRidge(1.0).fit(X, y, np.arange(20) % 2).lam_ == 1

    @pytest.mark.parametrize("lams", [(), (-1.0,), (np.nan,), ((1.0,),)])
    def test_bad_grid(self, lams):
        X, y, groups = draw()
        with pytest.raises(ValueError, match="lams=.* is not valid"):
            QFMRidge(lams=lams).fit(X, y, groups)


class TestGateAndTransform:
    @pytest.mark.parametrize("pairing", PAIRINGS)
    def test_gate_is_signal_over_signal_and_noise(self, pairing):
        X, y, groups = draw()
        model = QFMRidge(0.4, pairing=pairing).fit(X, y, groups)
        i, j = as_pairs(match_pairs(y, standardized(X), groups)).T
        signal = np.array([np.cov(x, y, bias=True)[0, 1] ** 2 / y.var() for x in X.T])
        noise = ((X[j] - X[i]) ** 2).mean(axis=0)
        assert_allclose(model.gate_, signal / (signal + 0.4 * noise))
        assert_allclose(model.transform(X), X * model.gate_)

    def test_gate_tells_quality_from_what_is_shown(self):
        rng = np.random.default_rng(0)
        quality, shown = rng.normal(size=(2, 400))
        X = np.stack([quality + 0.1 * rng.normal(size=400), shown, np.full(400, 5.0)], axis=1)
        gate = QFMRidge(1.0).fit(X, quality).gate_
        assert gate[0] > 0.9
        assert gate[1] < 0.05
        assert gate[2] == 1  # a constant tells nothing, and harms nothing

    def test_gate_is_open_without_penalty(self):
        X, y, groups = draw()
        assert_array_equal(QFMRidge(0.0).fit(X, y, groups).gate_, 1)

    @pytest.mark.parametrize("d", [5, 60])
    def test_ridge_on_whitened_features_is_the_model(self, d):
        X, y, groups = draw(40, d)
        model = QFMRidge(0.8, alpha=1.5, output="whitened").fit(X, y, groups)
        plain = make_pipeline(clone(model), Ridge(alpha=1.5)).fit(X, y, qfmridge__groups=groups)
        assert_allclose(plain.predict(X), model.predict(X), atol=1e-8)

    @pytest.mark.parametrize("d", [5, 60])
    def test_whitening_is_the_inverse_root(self, d):
        X, y, groups = draw(40, d)
        model = QFMRidge(0.8, alpha=1.5, output="whitened").fit(X, y, groups)
        i, j = as_pairs(match_pairs(y, standardized(X), groups)).T
        S = (X[j] - X[i]).T @ (X[j] - X[i]) / len(i)
        root = inv(sqrtm(np.eye(d) + 0.8 * 40 / 1.5 * S).real)
        assert_allclose(model.transform(X), X @ root, atol=1e-9)


class TestSensitivity:
    def test_is_that_of_the_scores(self):
        X, y, groups = draw()
        model = QFMRidge(0.5, tau=0.6, k=2).fit(X, y, groups)
        partners = match_pairs(y, standardized(X), groups, tau=0.6, k=2)
        assert model.semantic_sensitivity(X, y, groups) == semantic_sensitivity(model.predict(X), partners)
        semantics = X[:, :2]
        other = match_pairs(y, semantics, groups, tau=0.6, k=2)
        assert model.semantic_sensitivity(X, y, groups, semantics) == semantic_sensitivity(model.predict(X), other)

    def test_unmatched_rate(self):
        X, y, groups = draw()
        model = QFMRidge(0.5, tau=0.02).fit(X, y, groups)
        expected = (match_pairs(y, X, groups, tau=0.02)[:, 0] < 0).mean()
        assert 0 < model.unmatched_rate_ == expected < 1
        both = QFMRidge(0.5, tau=0.02, pairing="both").fit(X, y, groups)
        other = match_pairs(y, standardized(X), groups, tau=0.02, pairing="semantic")[:, 0] < 0
        assert both.unmatched_rate_ == other.mean() == 0

    def test_no_partner_at_all(self):
        X, _, _ = draw(20)
        with pytest.warns(UserWarning, match="No image has a partner with pairing='quality' and tau=0.001"):
            model = QFMRidge(5.0, tau=0.001).fit(X, np.arange(20.0))
        assert model.unmatched_rate_ == 1
        assert_allclose(model.coef_, Ridge(alpha=1.0).fit(X, np.arange(20.0)).coef_)


class TestConventions:
    @parametrize_with_checks([QFMRidge(), QFMRidge(1.0, pairing="both", output="whitened")])
    def test_scikit_learn_checks(self, estimator, check):
        check(estimator)

    def test_behind_the_selection_of_patches(self):
        rng = np.random.default_rng(0)
        y = rng.normal(size=24)
        images = [rng.normal(size=(30, 6)) + label * np.arange(6) for label in y]
        scenes = np.arange(24) // 2
        steps = [
            ("select", ResidualPatchSelector(rate=0.4, h=4)),
            ("pool", BagPooling()),
            ("scale", StandardScaler()),
            ("model", QFMRidge()),
        ]
        scores = cross_val_score(
            Pipeline(steps), images, y, groups=scenes, cv=SceneKFold(4), params={"model__groups": scenes}
        )
        assert scores.mean() > 0.8
        search = GridSearchCV(Pipeline(steps), {"model__lam": [0.0, 1.0], "model__alpha": [0.1, 1.0]}, cv=SceneKFold(4))
        assert search.fit(images, y, groups=scenes, model__groups=scenes).best_params_["model__lam"] in (0.0, 1.0)

    def test_two_runs_are_identical(self):
        X, y, groups = draw(60, 90)
        models = [QFMRidge(output="whitened").fit(X, y, groups) for _ in range(2)]
        assert models[0].coef_.tobytes() == models[1].coef_.tobytes()
        assert models[0].transform(X).tobytes() == models[1].transform(X).tobytes()

    @pytest.mark.parametrize(
        ("y", "groups", "message"),
        [
            (np.full(20, 2.0), None, "All labels are 2; labels that differ"),
            (np.append(np.arange(19.0), np.nan), None, "Input y contains NaN"),
            (np.arange(20.0), np.zeros(20, dtype=int), "All images are of one group"),
        ],
    )
    def test_bad_input(self, y, groups, message):
        with pytest.raises(ValueError, match=message):
            QFMRidge(1.0).fit(draw(20)[0], y, groups)

    def test_too_few_images(self):
        X, y, _ = draw(9)
        with pytest.raises(ValueError, match="Found array with 9 sample.*minimum of 10 is required by QFMRidge"):
            QFMRidge(1.0).fit(X, y)

    def test_descriptors_of_other_images(self):
        X, y, _ = draw(20)
        with pytest.raises(ValueError, match="inconsistent numbers of samples"):
            QFMRidge(1.0).fit(X, y, semantics=X[:15])
