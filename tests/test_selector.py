import joblib
import numpy as np
import pytest
from hypothesis import given, settings
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.svm import SVR
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks

import patchdistill.scoring
import patchdistill.selector
from patchdistill import PatchBags, ResidualPatchSelector, select_patches
from patchdistill.baselines import RandomPatchSelector
from patchdistill.embedding import PatchStatistics
from patchdistill.models import BagPooling
from patchdistill.ranking import Choice, n_keep
from patchdistill.testing import bag_checks, parametrize_with_bag_checks
from patchdistill.testing.strategies import patch_bags

SELECTORS = [
    ResidualPatchSelector(),
    ResidualPatchSelector(coverage=None, keep="high", metric="mahalanobis"),
    RandomPatchSelector(),
]


@pytest.mark.filterwarnings("ignore::patchdistill.SinglePatchBagWarning")
@parametrize_with_checks(SELECTORS)
def test_scikit_learn_battery(estimator, check):
    check(estimator)


@pytest.mark.parametrize("estimator", SELECTORS)
def test_scikit_learn_battery_is_not_empty(estimator):
    assert len(list(estimator_checks_generator(estimator))) >= 40


def random_is_random(estimator):
    if isinstance(estimator, RandomPatchSelector):
        return {
            "check_permutation_equivariant": "what is drawn are places",
            "check_images_are_independent": "images are drawn one after the other",
        }
    return {}


@pytest.mark.filterwarnings("ignore::UserWarning:sklearn")
@parametrize_with_bag_checks(SELECTORS, expected_failed_checks=random_is_random)
def test_bag_battery(estimator, check):
    check(estimator)


def test_bag_battery_is_not_small():
    assert len(bag_checks()) >= 25


def images(n_images=4, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.random((n, 40)) for n in rng.integers(20, 30, n_images)]


@settings(max_examples=25)
@given(patch_bags())
def test_estimator_is_the_function_for_every_image(bags):
    selector = ResidualPatchSelector(h=3, rate=0.4, metric="manhattan").fit(bags)
    for i, E in enumerate(bags):
        selection = select_patches(E, h=3, rate=0.4, metric="manhattan")
        np.testing.assert_array_equal(selector.selected_idx_[i], selection.indices)
        np.testing.assert_array_equal(selector.ranking_[i], selection.ranking)
        np.testing.assert_array_equal(selector.weights_[i], selection.weights)
        np.testing.assert_array_equal(selector.outliers_[i], selection.outliers)
        np.testing.assert_array_equal(selector.residual_scores_[i], selection.scores)
        assert selector.dual_gap_[i] == selection.solution.dual_gap
        assert selector.objective_[i] == selection.solution.objective
        assert selector.n_iter_per_image_[i] == selection.solution.n_iter
    assert selector.n_iter_ == selector.n_iter_per_image_.max()


def test_score_samples_has_a_score_for_every_patch():
    X = images()
    selector = ResidualPatchSelector().fit(X)
    for found, expected in zip(selector.score_samples(X), selector.residual_scores_, strict=True):
        np.testing.assert_array_equal(found, expected)
    stack = np.stack([X[0][:20], X[1][:20]])
    assert selector.score_samples(stack).shape == (2, 20)
    assert [len(s) for s in selector.score_samples(PatchBags.from_list(X))] == [len(x) for x in X]


def test_unfitted_selector_says_so():
    with pytest.raises(NotFittedError):
        ResidualPatchSelector().transform(images())


def test_a_search_over_rates_solves_each_image_once(tmp_path, monkeypatch):
    solved = []
    run_solver = patchdistill.scoring.run_solver

    def counting(*arguments):
        solved.append(1)
        return run_solver(*arguments)

    monkeypatch.setattr(patchdistill.scoring, "run_solver", counting)
    X = images(6)
    pipeline = Pipeline(
        [("select", ResidualPatchSelector(memory=str(tmp_path))), ("pool", BagPooling()), ("model", SVR())]
    )
    search = GridSearchCV(
        pipeline, {"select__rate": [0.2, 0.5, 0.9], "select__coverage": [None, "representatives"]}, cv=GroupKFold(3)
    )
    search.fit(X, np.arange(6.0), groups=[0, 0, 1, 1, 2, 2])
    assert len(solved) == len(X)
    clone(pipeline).set_params(select__h=3).fit(X, np.arange(6.0))
    assert len(solved) == 2 * len(X)


def test_a_generator_starts_the_same_images_whatever_the_number_of_workers():
    def fit(n_jobs):
        start = np.random.RandomState(3)
        return ResidualPatchSelector(solver="published", random_state=start, n_jobs=n_jobs).fit(images(6)).objective_

    alone = fit(None)
    np.testing.assert_array_equal(fit(2), alone)
    alike = ResidualPatchSelector(solver="published", random_state=np.random.RandomState(3)).fit(images(1) * 2)
    assert alike.objective_[0] != alike.objective_[1]  # every image has a start of its own


def test_what_workers_share_is_removed_while_others_wait(tmp_path, monkeypatch):
    """Copies of all images in shared memory would add up; what is handed over is cut into calls of joblib."""
    X, shared = images(30), []
    monkeypatch.setattr(patchdistill.selector, "_SHARED_FROM_BYTES", 1)
    monkeypatch.setattr(patchdistill.selector, "_TASK_IMAGES", 1)
    monkeypatch.setattr(patchdistill.selector, "_CALL_BYTES", 1)

    class Watched(joblib.Parallel):
        def __call__(self, tasks):
            results = super().__call__(tasks)
            shared.append(len(results))
            assert not [path for path in tmp_path.rglob("*") if path.is_file()]
            return results

    monkeypatch.setattr(patchdistill.selector, "Parallel", Watched)
    with joblib.parallel_config(temp_folder=str(tmp_path)):
        together = ResidualPatchSelector(n_jobs=2).fit(X)
    assert shared == [8, 8, 8, 6]
    alone = ResidualPatchSelector().fit(X)
    for name in ("selected_idx_", "weights_", "residual_scores_"):
        for a, b in zip(getattr(together, name), getattr(alone, name), strict=True):
            np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(together.dual_gap_, alone.dual_gap_)


def test_late_images_are_told_in_one_warning():
    X = [np.zeros((5, 40)), *images(3)]
    with pytest.warns(ConvergenceWarning) as caught:
        ResidualPatchSelector(tol=1e-9, max_iter=1).fit(X)
    assert len(caught) == 1
    assert "3 of 4 images did not reach tol=1e-09 in 1 iterations (largest gap" in str(caught[0].message)


def test_pixels_are_kept_where_an_embedding_is_given():
    rng = np.random.default_rng(0)
    pixels = [rng.integers(0, 256, (n, 8, 8, 3), dtype=np.uint8) for n in (12, 9)]

    def flatten(patches):
        return patches.reshape(len(patches), -1) / 255

    selector = ResidualPatchSelector(embedding=flatten, rate=0.5)
    kept = selector.fit_transform(pixels)
    plain = ResidualPatchSelector(rate=0.5).fit([flatten(p) for p in pixels])
    assert selector.n_features_in_ == 192
    for out, pool, expected in zip(kept, pixels, plain.selected_idx_, strict=True):
        np.testing.assert_array_equal(out, pool[expected])
        assert out.dtype == np.uint8
    smaller = [pool[:, :4, :4] for pool in pixels]
    with pytest.raises(ValueError, match="X has 48 features, but ResidualPatchSelector is expecting 192"):
        selector.transform(smaller)
    assert selector.fit(smaller).n_features_in_ == 48


def test_the_whole_pipeline_from_images_to_scores():
    rng = np.random.default_rng(0)
    scenes = rng.random((4, 96, 128, 3))
    levels = np.tile([0.0, 0.1, 0.2, 0.3], 4)
    X = [
        np.clip(scene + level * rng.normal(size=scene.shape), 0, 1)
        for scene, level in zip(np.repeat(scenes, 4, axis=0), levels, strict=True)
    ]
    pipeline = Pipeline(
        [
            ("embed", PatchStatistics(n_patches=20, patch_size=32)),
            ("select", ResidualPatchSelector(normalize="columns")),
            ("pool", BagPooling()),
            ("model", SVR()),
        ]
    )
    scores = cross_val_score(
        pipeline,
        X,
        -levels,
        groups=np.repeat(range(4), 4),
        cv=GroupKFold(4),
        scoring="neg_mean_absolute_error",
        error_score="raise",
    )
    assert (scores > -0.1).all()  # constant predictions have 0.1


class Backwards(Choice):
    @property
    def kept(self):
        return super().kept[::-1]


class Unordered(RandomPatchSelector):
    def _choose(self, bags):
        choices, learned = super()._choose(bags)
        return [Backwards(*choice) for choice in choices], learned


class ByPlace(RandomPatchSelector):
    def _choose(self, bags):
        sizes = enumerate(bags.n_patches.tolist())
        return [Choice(np.roll(np.arange(n), i), n_keep(n, self.rate)) for i, n in sizes], {}


class OneTooMany(RandomPatchSelector):
    def _choose(self, bags):
        choices, learned = super()._choose(bags)
        return [choice._replace(n_kept=choice.n_kept + 1) for choice in choices], learned


class Restless(RandomPatchSelector):
    count = 0

    def _choose(self, bags):
        Restless.count += 1
        return [Choice(np.roll(np.arange(n), Restless.count), n_keep(n, self.rate)) for n in bags.n_patches], {}


class ByNorm(RandomPatchSelector):
    def _choose(self, bags):
        distances = [np.abs(np.linalg.norm(image, axis=1) - 3.0) for image in bags]
        return [Choice(np.argsort(d), n_keep(len(d), self.rate)) for d in distances], {}


def test_the_battery_sees_broken_selectors():
    """Every check has to be able to fail."""

    def failures(estimator):
        failed = set()
        for check in bag_checks():
            try:
                check(estimator)
            except (AssertionError, ValueError):
                failed.add(check.__name__)
        return failed

    assert "check_kept_patches_come_unchanged_and_in_order" in failures(Unordered())
    assert {"check_permutation_equivariant", "check_images_are_independent"} <= failures(ByPlace())
    assert {"check_number_kept", "check_support_forms_agree"} & failures(OneTooMany())
    assert {"check_same_bytes_twice", "check_fit_transform_is_fit_then_transform"} <= failures(Restless())
    assert failures(ByNorm()) == {"check_scale_invariant"}
