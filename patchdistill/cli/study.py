"""``patchdistill study``: a comparison described in a file, run and reported."""

from patchdistill.cli.options import worker_count

SUMMARY = "compare selections over samplings, metrics, rates and splits"
DESCRIPTION = """\
Run the study that a YAML file describes: samplings x metrics x h x rates x seeds x
models, on the images of one manifest. For every cell a quality model is trained on
the scenes of one side of a split and tested on the others; the selection stands
beside all patches and beside as many random ones. The output is a folder with the
tables cells.parquet, solutions.parquet and costs.parquet and what was computed on
the way. `patchdistill report` makes a page with figures of it, at any time."""
EXAMPLES = """\
example of a file:
  manifest: manifest.csv
  samplings:
    ERP: {sampler: uniform}
    LAT: {sampler: latitude}
  selector: {normalize: columns}
  metrics: [euclidean, cosine]
  h: [10, 20]
  rates: [0.1, 0.45]
  models:
    SVR: {model: pooled-svr}
  n_seeds: 20

examples:
  patchdistill study study.yaml --out study/ --n-jobs -1
  patchdistill report study/"""


def add_arguments(parser):
    """Declare the arguments of the command.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        Parser of the command.
    """
    parser.add_argument("config", metavar="FILE", help="the study, in YAML")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the results")
    parser.add_argument(
        "--n-jobs",
        type=worker_count,
        default=1,
        metavar="N",
        help="pieces worked on at the same time; -1: one for each core (default: 1)",
    )
    parser.add_argument("--quiet", action="store_true", help="print warnings and errors only")


def run(arguments):
    """Run the command.

    Parameters
    ----------
    arguments : argparse.Namespace
        What :func:`add_arguments` declared.
    """
    from patchdistill.studies import read_config, run_study  # they need the optional packages

    run_study(read_config(arguments.config), arguments.out, n_jobs=arguments.n_jobs, progress=not arguments.quiet)
