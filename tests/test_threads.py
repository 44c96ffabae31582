"""The number of BLAS threads belongs to the process, and images may be worked on by several of its threads."""

import subprocess
import sys

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from patchdistill._threads import single_blas_thread

# In a process of its own: here the main thread has a limit from conftest.py.
OVERLAP = """
from threading import Event, Thread
import scipy.linalg
from threadpoolctl import threadpool_info, threadpool_limits
from patchdistill._threads import single_blas_thread

entered = [Event() for _ in range(2)]
leave = [Event() for _ in range(2)]
left = [Event() for _ in range(2)]
finish = Event()

def work(i):
    with single_blas_thread():
        entered[i].set()
        leave[i].wait()
    left[i].set()
    finish.wait()  # a pool keeps its threads

def show():
    print({library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"})

setter = Thread(target=threadpool_limits, kwargs={"limits": 3, "user_api": "blas"})
setter.start()
setter.join()
show()
threads = [Thread(target=work, args=[i]) for i in range(2)]
for i in range(2):
    threads[i].start()
    entered[i].wait()
    show()
for i in range(2):
    leave[i].set()
    left[i].wait()
    show()
finish.set()
"""


def blas_threads():
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


def test_the_limit_ends_with_the_block():
    with threadpool_limits(limits=3, user_api="blas"):
        before = blas_threads()
        with single_blas_thread():
            assert blas_threads() == {1}
            with single_blas_thread():
                pass
            assert blas_threads() == {1}
        assert blas_threads() == before
        with pytest.raises(ValueError, match="inside"), single_blas_thread():
            raise ValueError("inside")
        assert blas_threads() == before


def test_the_first_to_leave_does_not_lift_the_limit_of_the_other():
    run = subprocess.run([sys.executable, "-c", OVERLAP], capture_output=True, text=True, timeout=120, check=True)
    assert run.stdout.split("\n") == ["{3}", "{1}", "{1}", "{1}", "{3}", ""]
