"""``patchdistill demo``: the whole path on real photographs, and a report of it."""

from pathlib import Path

from patchdistill.cli.options import worker_count

SUMMARY = "run the whole path on photographs, write a report"
DESCRIPTION = """\
Distort photographs, label them with a full-reference measure, select patches, train
quality models on all, kept and random patches, and write one HTML report with
pictures; besides, select patches of a panorama of which one half is spoiled. Without
--images it takes the photographs bundled with scikit-learn and scikit-image. The first
picture of DIR that is exactly twice as wide as high is the panorama; without one, a
synthetic panorama is made."""
EXAMPLES = """\
examples:
  patchdistill demo --out report/
  patchdistill demo --images pictures/ --out report/ --n-jobs -1"""


def add_arguments(parser):
    """Declare the arguments of the command.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        Parser of the command.
    """
    parser.add_argument("--images", metavar="DIR", help="folder of undistorted photographs (default: bundled ones)")
    parser.add_argument(
        "--out", default="demo_report", metavar="DIR", help="folder for the report (default: demo_report)"
    )
    parser.add_argument(
        "--n-jobs",
        type=worker_count,
        metavar="N",
        help="parallel workers; -1: one for each core (default: one for each core, at most four)",
    )
    parser.add_argument("--quiet", action="store_true", help="print the path of the report only")


def run(arguments):
    """Run the command.

    Parameters
    ----------
    arguments : argparse.Namespace
        What :func:`add_arguments` declared.
    """
    from patchdistill.demo import run_demo  # it needs the optional packages

    images = Path(arguments.images) if arguments.images is not None else None
    print(run_demo(Path(arguments.out), images=images, n_jobs=arguments.n_jobs, progress=not arguments.quiet))
