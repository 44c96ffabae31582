"""One line of progress on the standard error, with the time that is left."""

import sys
import time

_EVERY_ON_TERMINAL = 0.1
_EVERY_IN_LOG = 30.0


class Progress:
    """Count images, or other things, on one line of a terminal or as a line in a log now and then.

    Parameters
    ----------
    command : str
        What is done.
    total : int
        All images.
    done : int, default=0
        Those an earlier run has done.
    quiet : bool, default=False
        Whether nothing is printed but warnings.
    things : str, default="images"
        What is counted.
    """

    def __init__(self, command, total, done=0, quiet=False, things="images"):
        self._command, self._total, self._done, self._quiet, self._things = command, total, done, quiet, things
        self._before = done
        self._begin = self._printed = time.monotonic()
        self._on_terminal = sys.stderr.isatty()
        if done and not quiet:
            self._print(f"{command}: {done} of {total} {things} were finished before; going on from there")

    def step(self):
        """Count one more."""
        self._done += 1
        now = time.monotonic()
        if self._quiet or now - self._printed < (_EVERY_ON_TERMINAL if self._on_terminal else _EVERY_IN_LOG):
            return
        self._printed = now
        left = (now - self._begin) / (self._done - self._before) * (self._total - self._done)
        line = f"{self._command}: {self._done} of {self._total} {self._things}, {_clock(left)} left"
        if self._on_terminal:
            print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)
        else:
            self._print(line)

    def finish(self, summary):
        """Print what came out of it all.

        Parameters
        ----------
        summary : str
            One line.
        """
        if not self._quiet:
            self._print(f"{self._command}: {summary} ({_clock(time.monotonic() - self._begin)})")

    def warn(self, message):
        """Print a warning, quiet or not.

        Parameters
        ----------
        message : str
            One line.
        """
        self._print(f"patchdistill: warning: {message}")

    def close(self):
        """Leave the line on the terminal, for others to write."""
        if self._on_terminal and not self._quiet:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def _print(self, line):
        self.close()
        print(line, file=sys.stderr, flush=True)


def _clock(seconds):
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
