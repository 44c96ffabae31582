"""Facts about files."""

import struct
import zipfile
import zlib
from contextlib import contextmanager


def stamp(path):
    """Tell one version of a file from another.

    Parameters
    ----------
    path : Path
        A file.

    Returns
    -------
    list of int
        Its size in bytes and its time of change in nanoseconds.
    """
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


@contextmanager
def named_errors(path):
    """Say which file it was, where the library that reads it does not.

    Parameters
    ----------
    path : Path
        The file that is read in the body of the ``with`` statement.

    Raises
    ------
    ValueError
        Instead of what a library raises about a damaged file.
    """
    try:
        yield
    except (
        ValueError,
        OSError,
        EOFError,
        KeyError,
        RuntimeError,
        zipfile.BadZipFile,
        zlib.error,
        struct.error,
    ) as error:
        if str(path) in str(error):
            raise
        raise ValueError(f"{path} cannot be read ({error}); it is truncated or damaged.") from error
