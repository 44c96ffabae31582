"""One BLAS thread for the small matrices of one image: two were measured to be 2 to 8 times slower."""

from functools import lru_cache

from threadpoolctl import ThreadpoolController


@lru_cache(maxsize=1)
def _controller():
    # Looking for the libraries takes milliseconds, as long as a solve: it is done once.
    return ThreadpoolController()


def single_blas_thread():
    """Limit BLAS to one thread.

    Returns
    -------
    context manager
        The former number of threads comes back at its end.
    """
    return _controller().limit(limits=1, user_api="blas")
