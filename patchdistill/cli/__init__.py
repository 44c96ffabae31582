"""The command ``patchdistill``."""

import argparse
import sys
from concurrent.futures import BrokenExecutor

from patchdistill import __version__
from patchdistill.cli import compare, demo, embed, report, sample, select, study
from patchdistill.cli.options import UsageError

__all__ = ["main"]


class _Parser(argparse.ArgumentParser):
    """Parser whose errors are one line, like all errors of the command."""

    def error(self, message):
        self.exit(2, f"patchdistill: error: {message} (see: {self.prog} --help)\n")


def main(argv=None):
    """Run the command.

    Parameters
    ----------
    argv : list of str, default=None
        Arguments; those of the process by default.

    Returns
    -------
    int
        0 if all went well, 1 if the input or the machine did not allow it, 130 if it was interrupted.

    Raises
    ------
    SystemExit
        With code 2 if the arguments are not valid, with 0 after ``--help`` and ``--version``.
    """
    parser = _Parser(
        prog="patchdistill",
        description="Keep the patches of an image that matter for image quality.",
        epilog="A run that was stopped, however it was, goes on where it stopped when the same command is given again.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"patchdistill {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, dest="command")
    for module in (sample, embed, select, compare, study, report, demo):
        name = module.__name__.rpartition(".")[2]
        command = commands.add_parser(
            name,
            help=module.SUMMARY,
            description=module.DESCRIPTION,
            epilog=module.EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run, parser=command)
    arguments = parser.parse_args(argv)
    try:
        arguments.run(arguments)
    except UsageError as error:
        arguments.parser.error(_one_line(error))
    except (ValueError, OSError, ImportError) as error:
        return _fail(1, f"error: {_one_line(error)}")
    except BrokenExecutor:
        return _fail(
            1,
            "error: a worker process died, most likely for want of memory. What is finished is kept: give the command "
            "again with fewer --n-jobs.",
        )
    except KeyboardInterrupt:
        again = "the same command, without --restart," if getattr(arguments, "restart", False) else "the same command"
        return _fail(130, f"interrupted. What is finished is kept; {again} goes on from there.")
    return 0


def _fail(code, message):
    print(f"patchdistill: {message}", file=sys.stderr)
    return code


def _one_line(error):
    return " ".join(str(error).split())
