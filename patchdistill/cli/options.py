"""What the commands share of their arguments."""

import argparse

from patchdistill.ranking import check_rate


class UsageError(Exception):
    """Arguments that each look well but are not valid."""


def positive_int(text):
    """Read an argument that is a number of things.

    Parameters
    ----------
    text : str
        The argument.

    Returns
    -------
    int
        At least 1.
    """
    return _int(text, lambda number: number >= 1, "an int of at least 1")


def worker_count(text):
    """Read a number of workers, as joblib understands it.

    Parameters
    ----------
    text : str
        The argument.

    Returns
    -------
    int
        Not 0; -1 is one for each core.
    """
    return _int(text, lambda number: number != 0, "an int other than 0 (-1: one worker for each core)")


def _int(text, is_legal, legal):
    try:
        number = int(text)
    except ValueError:
        number = None
    if number is None or not is_legal(number):
        raise argparse.ArgumentTypeError(f"{text!r} is not valid; use {legal}.")
    return number


def rate(text):
    """Read a rate: with a decimal point it is a share, without one a number of patches, or it is "auto".

    Parameters
    ----------
    text : str
        The argument.

    Returns
    -------
    float, int or "auto"
        See :func:`patchdistill.select_patches`.

    Examples
    --------
    >>> from patchdistill.cli.options import rate
    >>> rate("0.45"), rate("72"), rate("1.0"), rate("1"), rate("auto")
    (0.45, 72, 1.0, 1, 'auto')
    """
    for kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            continue
        break
    else:
        number = text
    try:
        check_rate(number, auto=True)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return number


def add_run_options(parser, with_jobs=True):
    """Add the options of how a command runs, which do not change what comes out.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        Parser of a command.
    with_jobs : bool, default=True
        Whether the command has parallel workers.
    """
    if with_jobs:
        parser.add_argument(
            "--n-jobs",
            type=worker_count,
            default=1,
            metavar="N",
            help="images worked on at the same time; -1: one for each core (default: 1)",
        )
    parser.add_argument(
        "--restart", action="store_true", help="start over: forget, and in the end replace, what is there"
    )
    parser.add_argument("--quiet", action="store_true", help="print warnings and errors only")
