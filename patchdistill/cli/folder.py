"""What ``sample`` and ``embed`` share: a folder in, a folder with one file per image out."""

from contextlib import closing
from functools import partial
from pathlib import Path

from patchdistill import __version__
from patchdistill.cli.parallel import in_order
from patchdistill.journal import FolderJournal
from patchdistill.pools import stamp
from patchdistill.progress import Progress


def check_folder(path):
    """Check that the input is a folder.

    Parameters
    ----------
    path : str
        The argument.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    NotADirectoryError
        If it is none.
    """
    path = Path(path)
    if not path.is_dir():
        raise NotADirectoryError(f"{path} is {'a file' if path.exists() else 'missing'}; the input must be a folder.")
    return path


def write_folder(arguments, sources, parameters, compute, save, n_jobs=1):
    """Make a file of every image that has none yet, or has changed since.

    Parameters
    ----------
    arguments : argparse.Namespace
        Arguments of the command.
    sources : dict of str to Path
        Where each file of the output comes from.
    parameters : dict
        What the output depends on besides, in JSON types.
    compute : callable
        Called with the path of an image, in a worker.
    save : callable
        Called with a file open for binary writing and what `compute` returned.
    n_jobs : int, default=1
        Number of workers.
    """
    settings = {
        "command": arguments.command,
        "version": __version__,
        "input": str(Path(arguments.input).resolve()),
        **parameters,
    }
    with FolderJournal(arguments.out, list(sources), settings, arguments.restart) as journal:
        todo = {name: stamp(path) for name, path in sources.items() if not journal.is_done(name, stamp(path))}
        progress = Progress(arguments.command, len(sources), len(sources) - len(todo), arguments.quiet)
        results = compute_all([sources[name] for name in todo], compute, n_jobs, progress)
        with closing(progress), closing(results):
            for name, result in zip(todo, results, strict=True):
                journal.write(name, todo[name], partial(_save, save, result))
            progress.finish(f"{len(sources)} images -> {arguments.out}")


def compute_all(paths, compute, n_jobs, progress):
    """Compute something of every image, and tell of warnings and progress.

    Parameters
    ----------
    paths : list of Path
        The images.
    compute : callable
        Called with the path of an image, in a worker.
    n_jobs : int
        Number of workers.
    progress : Progress
        What to tell it on.

    Yields
    ------
    object
        What `compute` returned, in the order of the images.
    """
    results = in_order(partial(_compute, compute), iter(paths), n_jobs)
    with closing(results):
        for path, (result, messages) in zip(paths, results, strict=True):
            for message in messages:
                progress.warn(message if str(path) in message else f"{path}: {message}")
            yield result
            progress.step()


def _compute(compute, path):
    try:
        return compute(path)
    except ValueError as error:
        if str(path) in str(error):
            raise
        raise ValueError(f"{path}: {error}") from error


def _save(save, result, stream):
    save(stream, result)
