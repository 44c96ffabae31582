"""Files that are there as a whole or not at all."""

import os


def write_whole(path, write):
    """Write a file under another name and give it its own when it is complete.

    Parameters
    ----------
    path : Path
        Its name; a file of that name is replaced.
    write : callable
        Called with the path to write to.
    """
    unfinished = path.with_name(path.name + ".tmp")
    try:
        write(unfinished)
        with open(unfinished, "rb+") as stream:
            sync(stream)
        os.replace(unfinished, path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def check_parent(path):
    """Check that the folder an output is to lie in exists.

    Parameters
    ----------
    path : Path
        The output.

    Raises
    ------
    FileNotFoundError
        If it does not.
    """
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path.parent} is no folder, so that {path} cannot be written. Make it first.")


def sync(stream):
    """Wait until a file is on the disk: a name given earlier could survive a power cut that the contents do not.

    Parameters
    ----------
    stream : file
        Open for writing.
    """
    stream.flush()
    os.fsync(stream.fileno())
