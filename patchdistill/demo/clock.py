"""How long each stage takes, and where it is."""

import sys
import time
from contextlib import contextmanager

_EVERY_ON_TERMINAL = 0.1
_EVERY_IN_LOG = 20.0


class Clock:
    """Time the stages of a run and tell on stderr where it is.

    Parameters
    ----------
    progress : bool
        Whether anything is told.

    Attributes
    ----------
    seconds : dict of str to float
        Wall time of each finished stage.
    """

    def __init__(self, progress):
        self.seconds = {}
        self._progress = progress
        self._on_terminal = sys.stderr.isatty()

    @contextmanager
    def stage(self, name, note=""):
        """Time a stage; gives a function that wraps a sequence of work to count it.

        Parameters
        ----------
        name : str
            What is done.
        note : str, default=""
            Told at the beginning.

        Yields
        ------
        callable
            ``track(sequence, total)`` gives the items of the sequence.
        """
        start = time.perf_counter()
        self._tell(f"{name} ... {note}")
        yield lambda sequence, total: self._count(name, sequence, total)
        self.seconds[name] = time.perf_counter() - start
        self._tell(f"{name}: {self.seconds[name]:.1f} s", last=True)

    def _count(self, name, sequence, total):
        told = time.perf_counter()
        for done, item in enumerate(sequence, start=1):
            yield item
            now = time.perf_counter()
            if now - told > (_EVERY_ON_TERMINAL if self._on_terminal else _EVERY_IN_LOG):
                told = now
                self._tell(f"{name}: {done} of {total}")

    def _tell(self, line, last=False):
        if not self._progress:
            return
        if self._on_terminal:  # one line a stage, written over until it is done
            print(f"\r\x1b[K{line}", end="\n" if last else "", file=sys.stderr, flush=True)
        else:
            print(line, file=sys.stderr, flush=True)
