"""Images worked on in parallel, their results in order, and no more of them in memory than there are workers for."""

import warnings

from joblib import Parallel, delayed
from sklearn.exceptions import ConvergenceWarning


def in_order(function, items, n_jobs):
    """Call a function with one item after the other.

    Parameters
    ----------
    function : callable
        Called with one item.
    items : iterator
        They are taken one by one, two for each worker in advance.
    n_jobs : int
        Number of worker processes, as in joblib.

    Yields
    ------
    result : object
        What the function returned, in the order of the items.
    messages : list of str
        Warnings it gave, other than those of convergence.

    Raises
    ------
    Exception
        What the function or the iterator raised, after the results of all items before.
    """
    # No memory maps of large items: their files would stay until the end.
    parallel = Parallel(n_jobs=n_jobs, return_as="generator", pre_dispatch="2*n_jobs", max_nbytes=None)
    outcomes = parallel(_tasks(function, items))
    try:
        for result, messages, error in outcomes:
            if error is not None:
                raise error
            yield result, messages
    finally:
        with warnings.catch_warnings():  # joblib tells of work that nobody waits for any more; whoever stopped knows
            warnings.simplefilter("ignore", UserWarning)
            outcomes.close()


# Raised in a worker, an error makes joblib forget the results still to come before it: these are returned instead. What
# is not about the input or the machine is a defect of the program, and is raised with all its traces.
_EXPECTED = (ValueError, OSError, ImportError)


def _tasks(function, items):
    try:
        for item in items:
            yield delayed(_call)(function, item)
    except _EXPECTED as error:
        yield delayed(_outcome)(error)


def _call(function, item):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)  # told of once, for all images
        try:
            result = function(item)
        except _EXPECTED as error:
            return _outcome(error)
    return result, [str(warning.message) for warning in caught], None


def _outcome(error):
    return None, [], error
