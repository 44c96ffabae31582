"""Long studies in pieces: each piece is one JSON file, and what is there is not computed again."""

import hashlib
import json
import os
import sys
import time
from pathlib import Path

CACHE = Path(__file__).parent / ".cache"


class Pieces:
    """Results of a study, one file per piece.

    Parameters
    ----------
    name : str
        Name of the study.
    settings : object
        All that decides the results, as JSON can hold it; other settings are other files.
    folder : Path, default=None
        Where the files go; ``benchmarks/.cache`` by default.
    """

    def __init__(self, name, settings, folder=None):
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
        self.folder = (folder or CACHE) / f"{name}-{digest}"
        self.folder.mkdir(parents=True, exist_ok=True)

    def compute(self, work):
        """Give the result of each piece, computing those that are missing, with progress on stderr.

        Parameters
        ----------
        work : dict of str to callable
            Function without arguments of each piece; its result is what JSON can hold.

        Returns
        -------
        dict of str to object
            Results by name, in the order of `work`.
        """
        missing = [name for name in work if not self._file(name).exists()]
        start = time.perf_counter()
        for done, name in enumerate(missing):
            seconds = time.perf_counter() - start
            left = f", {seconds / done * (len(missing) - done):.0f} s left" if done else ""
            print(f"\r{done} of {len(missing)} done{left}: {name:40.40}", end="", file=sys.stderr, flush=True)
            temporary = self._file(name).with_suffix(".part")
            temporary.write_text(json.dumps(work[name]()))
            os.replace(temporary, self._file(name))
        if missing:
            print(f"\r{len(missing)} done in {time.perf_counter() - start:.0f} s{'':60}", file=sys.stderr)
        return {name: json.loads(self._file(name).read_text()) for name in work}

    def _file(self, name):
        return self.folder / f"{hashlib.sha256(name.encode()).hexdigest()[:24]}.json"
