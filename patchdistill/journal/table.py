"""A table that grows image by image and goes on growing after a crash."""

import os
import zlib
from pathlib import Path

from patchdistill.journal.files import check_parent, sync, write_whole
from patchdistill.journal.log import RunLog


class TableJournal:
    """A text file that grows image by image under another name, and gets its own name when it is complete.

    Beside ``FILE`` there are, until then, ``FILE.part``, the rows so far, and ``FILE.part.jsonl``, a `RunLog` with the
    length and checksum of each image's rows. Rows that the log does not vouch for are cut off when the next run begins.
    Used as a context manager; where no image was finished, nothing is left behind.

    Parameters
    ----------
    path : str or path-like
        ``FILE``.
    header : str
        First line of the table.
    settings : dict
        See `RunLog`.
    restart : bool, default=False
        Whether finished images are forgotten, and whether a complete ``FILE`` may be replaced.

    Attributes
    ----------
    records : list of dict
        One for each image finished so far, in order.

    Raises
    ------
    FileExistsError
        If ``FILE`` is complete and `restart` is not given.
    ValueError
        See `RunLog`.
    """

    def __init__(self, path, header, settings, restart=False):
        self.path = Path(path)
        self._part = self.path.with_name(self.path.name + ".part")
        check_parent(self.path)
        self._log = RunLog(self.path.with_name(self.path.name + ".part.jsonl"), settings, restart)
        if self.path.exists() and not self._part.exists() and not restart:
            self._log.close(remove=True)
            raise FileExistsError(f"{self.path} exists already. Use --restart to replace it, or choose another --out.")
        self._stream = open(self._part, "a+b")
        self._recover(header.encode(), restart)

    @property
    def records(self):  # noqa: D102
        return self._log.records

    def _recover(self, header, restart):
        finished, end = 0, 0
        self._stream.seek(0)
        if not restart and self._stream.read(len(header)) == header:
            end = len(header)
            for record in self.records:
                rows = self._stream.read(record["bytes"])
                if len(rows) != record["bytes"] or zlib.crc32(rows) != record["crc32"]:
                    break
                finished, end = finished + 1, end + len(rows)
        self._log.keep(finished)
        self._stream.truncate(end)
        if not end:
            self._stream.write(header)
            self._stream.flush()

    def append(self, rows, record):
        """Add the rows of the next image.

        Parameters
        ----------
        rows : str
            Whole lines.
        record : dict
            What a later run is to know of the image, in JSON types.
        """
        rows = rows.encode()
        self._stream.write(rows)
        self._stream.flush()
        self._log.append({**record, "bytes": len(rows), "crc32": zlib.crc32(rows)})

    def finish(self, convert=None):
        """Give the table its name.

        Parameters
        ----------
        convert : callable, default=None
            Called with the paths of the text file and of the file to write, where ``FILE`` is not to be text.
        """
        sync(self._stream)
        self._stream.close()
        if convert is None:
            os.replace(self._part, self.path)
        else:
            write_whole(self.path, lambda path: convert(self._part, path))
            self._part.unlink()
        self._log.close(remove=True)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if not self._stream.closed and not self.records:
            self._part.unlink()
            self._log.close(remove=True)
        self._stream.close()
        self._log.close()
