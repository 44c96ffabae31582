"""``patchdistill report``: the tables of a study in, a page with figures out."""

from pathlib import Path

SUMMARY = "make a page with figures of a study"
DESCRIPTION = """\
Make one HTML page with figures of what `patchdistill study` has found so far, and
the figures as PNG and PDF files beside it."""
EXAMPLES = """\
examples:
  patchdistill report study/
  patchdistill report study/ --out paper/"""


def add_arguments(parser):
    """Declare the arguments of the command.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        Parser of the command.
    """
    parser.add_argument("input", metavar="STUDY_DIR", help="folder that a study was run in")
    parser.add_argument("--out", metavar="DIR", help="folder for the page and the figures (default: that of the study)")


def run(arguments):
    """Run the command.

    Parameters
    ----------
    arguments : argparse.Namespace
        What :func:`add_arguments` declared.
    """
    from patchdistill.studies import read_study
    from patchdistill.studies.page import write_report

    print(write_report(read_study(arguments.input), Path(arguments.out or arguments.input)))
