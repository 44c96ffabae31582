"""Checks of what every patch selector owes its users.

scikit-learn's own battery gives an estimator tables, which here mean one patch per image, and so never reaches the
selection. These checks give it images. Each is a function ``check(estimator)`` that raises AssertionError where the
estimator falls short.
"""

from patchdistill.testing import input_checks, selection_checks


def bag_checks():
    """List the checks.

    Returns
    -------
    list of callable
        Each takes an unfitted estimator, which it clones.
    """
    modules = (selection_checks, input_checks)
    return [function for module in modules for name, function in vars(module).items() if name.startswith("check_")]


def parametrize_with_bag_checks(estimators, *, expected_failed_checks=None):
    """Decorate a test with every check for every estimator.

    The counterpart of :func:`sklearn.utils.estimator_checks.parametrize_with_checks`.

    Parameters
    ----------
    estimators : list of estimator instances
        Selectors: transformers of bags with a parameter `rate`.
    expected_failed_checks : callable, default=None
        Maps an estimator to a dict of check name to the reason why it is expected to fail.

    Returns
    -------
    decorator
        A :func:`pytest.mark.parametrize` of the arguments ``estimator`` and ``check``.

    Examples
    --------
    >>> from patchdistill import ResidualPatchSelector
    >>> from patchdistill.testing import parametrize_with_bag_checks
    >>> @parametrize_with_bag_checks([ResidualPatchSelector()])
    ... def test_bags(estimator, check):
    ...     check(estimator)
    """
    import pytest

    cases = []
    for estimator in estimators:
        expected = expected_failed_checks(estimator) if expected_failed_checks else {}
        for check in bag_checks():
            name = check.__name__
            marks = [pytest.mark.xfail(reason=expected[name], strict=True)] if name in expected else []
            cases.append(pytest.param(estimator, check, marks=marks, id=f"{type(estimator).__name__}-{name}"))
    return pytest.mark.parametrize(("estimator", "check"), cases)
