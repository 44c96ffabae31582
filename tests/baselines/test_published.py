import numpy as np

from patchdistill import ResidualProblem
from patchdistill.baselines import PublishedPatchSelector
from patchdistill.solvers.published import published_target, solve_published


def images(seed=0):
    rng = np.random.default_rng(seed)
    return [np.maximum(rng.normal(size=(n, 40)), 0) for n in (30, 25)]


def test_images_are_ranked_by_the_scripts_residuals_one_after_the_other():
    X = images()
    rng = np.random.RandomState(5)
    selector = PublishedPatchSelector(rate=0.4, random_state=5).fit(X)
    for E, ranking, kept in zip(X, selector.ranking_, selector.selected_idx_, strict=True):
        problem = ResidualProblem(E, published_target(E, "euclidean", h=10), alpha=0.1, beta=0.1)
        norms = np.linalg.norm(solve_published(problem, rng, max_iter=50).R, axis=1)
        np.testing.assert_array_equal(ranking, np.argsort(norms))
        np.testing.assert_array_equal(kept, np.sort(np.argsort(norms)[: len(kept)]))


def test_an_image_of_copies_is_no_error_and_takes_nothing_from_the_others():
    X = images()
    plain = PublishedPatchSelector().fit(X).ranking_
    with_copies = PublishedPatchSelector().fit([X[0], np.ones((4, 40)), X[1]]).ranking_
    np.testing.assert_array_equal(with_copies[1], np.arange(4))
    np.testing.assert_array_equal(with_copies[2], plain[1])
