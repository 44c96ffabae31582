"""One BLAS thread for the small matrices of one image: two were measured to be 2 to 8 times slower."""

from contextlib import contextmanager
from functools import lru_cache
from threading import Lock

from threadpoolctl import ThreadpoolController

_lock = Lock()
_limiters = []  # of everything in this process that is inside


@lru_cache(maxsize=1)
def _controller():
    # Looking for the libraries takes milliseconds, as long as a solve: it is done once.
    return ThreadpoolController()


@contextmanager
def single_blas_thread():
    """Limit BLAS to one thread.

    The number of BLAS threads belongs to the process, not to the Python thread that sets it. Where several threads work
    on images, as under joblib's backend "threading", the first one in sets the limit and the last one out lifts it.

    Yields
    ------
    None
        The former number of threads comes back at the end.
    """
    with _lock:
        _disown()
        _limiters.append(_controller().limit(limits=1, user_api="blas"))
        _disown()
    try:
        yield
    finally:
        with _lock:
            if len(_limiters) == 1:
                _limiters[0].restore_original_limits()
                _disown()
            del _limiters[1 if len(_limiters) > 1 else 0]  # the first one knows the former number


def _disown():
    """Let any thread change the limit: since 3.8 threadpoolctl ignores all but the one that changed it first."""
    for library in _controller().lib_controllers:
        if hasattr(library, "clear_controlling_thread"):
            library.clear_controlling_thread(force=True)
