"""What a run has done so far, written so that it survives the run."""

import json

try:
    import fcntl
except ImportError:  # Windows has other locks; there, two runs into one output are not noticed
    fcntl = None


class RunLog:
    """What a run has done so far: a file of JSON lines, the settings first, then one record for each finished image.

    Lines are only ever appended, and a line that was not written to its end does not count. A lock keeps a second run
    away while the first one lives; it goes with the process, however that ends.

    Parameters
    ----------
    path : Path
        Where the log is, or is to be.
    settings : dict
        What the output depends on besides the images, in JSON types.
    restart : bool, default=False
        Whether what was done so far is forgotten.

    Attributes
    ----------
    records : list of dict
        One for each image finished so far.

    Raises
    ------
    ValueError
        If another run is writing, or an earlier one finished images with other settings.
    """

    def __init__(self, path, settings, restart=False):
        self.path = path
        self._stream = open(path, "a+b")
        try:
            self._lock()
            before = None if restart else self._read()
            if before is None or not self.records:
                self._begin(settings)
            else:
                self._compare(before, settings)
                self.keep(len(self.records))
        except BaseException:
            self._stream.close()
            raise

    def _lock(self):
        try:
            if fcntl is not None:
                fcntl.flock(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ValueError(
                f"Another run is writing ({self.path}). Wait for its end, or choose another --out."
            ) from None

    def _read(self):
        """Return the settings of the run before, or None; keep its records and where each of their lines ends."""
        lines, self._ends = [], []
        self._stream.seek(0)
        for line in self._stream:
            try:
                lines.append(json.loads(line))
            except ValueError:
                break
            if not line.endswith(b"\n"):
                lines.pop()
                break
            self._ends.append(self._stream.tell())
        self.records = lines[1:]
        return lines[0] if lines else None

    def _begin(self, settings):
        self._stream.truncate(0)
        self.records, self._ends = [], []
        self._write(settings)

    def _compare(self, before, settings):
        # As text, because a rate of 1 (one patch) and one of 1.0 (all of them) are equal numbers.
        before, now = ({name: json.dumps(value) for name, value in s.items()} for s in (before, settings))
        changes = [
            f"{name} was {before.get(name, 'not set')} and is {now.get(name, 'not set')}"
            for name in {**before, **now}
            if before.get(name) != now.get(name)
        ]
        if changes:
            raise ValueError(
                f"An earlier run with other settings left finished images ({self.path}): {', '.join(changes)}. "
                "Use --restart to start over, or choose another --out."
            )

    def _write(self, line):
        self._stream.write(json.dumps(line).encode() + b"\n")
        self._stream.flush()
        self._ends.append(self._stream.tell())

    def keep(self, n):
        """Forget all records but the first ones.

        Parameters
        ----------
        n : int
            How many are kept.
        """
        del self.records[n:], self._ends[n + 1 :]
        self._stream.truncate(self._ends[-1])

    def append(self, record):
        """Note that an image is finished.

        Parameters
        ----------
        record : dict
            What is to be known of it, in JSON types.
        """
        self._write(record)
        self.records.append(record)

    def close(self, remove=False):
        """Let go of the log.

        Parameters
        ----------
        remove : bool, default=False
            Whether its file is deleted too.
        """
        if remove:
            self.path.unlink(missing_ok=True)
        self._stream.close()
