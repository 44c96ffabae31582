"""``patchdistill select``: embeddings in, a table of all patches and which of them are kept out."""

import csv
import importlib
import inspect
import io
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from patchdistill import __version__
from patchdistill._compat import import_optional, validate_parameter_constraints
from patchdistill.cli.options import UsageError, add_run_options, positive_int, rate
from patchdistill.cli.parallel import in_order
from patchdistill.journal import TableJournal
from patchdistill.normalization import NORMALIZATIONS
from patchdistill.pools import open_pools
from patchdistill.progress import Progress
from patchdistill.scoring import convergence_message
from patchdistill.selection import PARAMETER_CONSTRAINTS, check_choice, select_patches
from patchdistill.similarity import METRICS
from patchdistill.solvers import SOLVERS

SUMMARY = "choose patches by their embeddings, write a table"
DESCRIPTION = """\
Set aside the patches of every image that stand apart, choose patches that represent
the others, without copies, and write a table with one row per patch:

  image    name of the file or array, or position in an array of many images
  patch    index of the patch in its image
  score    relative residual: 0 is explained perfectly, 1 as badly as not at all
  rank     0 for the first to keep
  kept     true or false
  weight   how much a kept patch counts for its image, 0 if it is not kept; the
           weights of an image sum to 1
  outlier  true if the patch was set aside because it stands apart, else false
  gap      relative duality gap of the image: how far from optimal it can be at most

One image is in memory at a time (a .mat file is read whole)."""
EXAMPLES = """\
examples:
  patchdistill select features/ --normalize columns --out selected.csv
  patchdistill select features.npy --rate 72 --n-jobs -1 --out selected.parquet
  patchdistill select data.mat --variable data --patches-per-image 180 --out selected.csv"""

_COLUMNS = ("image", "patch", "score", "rank", "kept", "weight", "outlier", "gap")
_PARAMETERS = (
    "h metric rate keep coverage outlier_threshold alpha beta bandwidth normalize solver tol max_iter random_state"
).split()
_DEFAULTS = {name: inspect.signature(select_patches).parameters[name].default for name in _PARAMETERS}
_ROW_GROUP_BYTES = 2**22


def add_arguments(parser):
    """Declare the arguments of the command.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        Parser of the command.
    """
    parser.add_argument(
        "input",
        metavar="INPUT",
        help=".npy (n_images, n_patches, n_features), or 2-D with --patches-per-image; .npz with one 2-D array per "
        "image; .mat; or a folder with one .npy (n_patches, n_features) per image",
    )
    parser.add_argument("--out", required=True, metavar="FILE", help="the table, .csv or .parquet")
    parser.add_argument(
        "--patches-per-image", type=positive_int, metavar="N", help="rows of a 2-D array that make an image"
    )
    parser.add_argument("--variable", metavar="NAME", help="variable of a .mat file (default: data)")
    group = parser.add_argument_group("selection")

    def add(flag, text, **keywords):
        name = flag.strip("-").replace("-", "_")
        group.add_argument(flag, default=_DEFAULTS[name], help=f"{text} (default: %(default)s)", **keywords)

    add(
        "--rate",
        "share of the patches to keep, as 0.45, or their number, as 72; 1.0 keeps all, 1 one; auto: as many as "
        "it takes to represent the image",
        type=rate,
    )
    add(
        "--coverage",
        "representatives: set outliers aside and keep patches that represent the others; none: rank by the score",
        choices=("representatives", "none"),
    )
    add(
        "--outlier-threshold",
        "with coverage, the outlyingness above which a patch shows that its image has outliers; inf: none has",
        type=float,
        metavar="T",
    )
    add("--keep", "which end of the scores is kept with --coverage none", choices=("low", "high"))
    add("--h", "leading eigenvectors of the affinity that make the target", type=int, metavar="H")
    add("--metric", "distance between patches", choices=METRICS)
    add("--alpha", "penalty of the features, as a share of the smallest one that leaves nothing", type=float)
    add(
        "--beta",
        "penalty of the residuals, in units of the smallest one that leaves no outlier at the start",
        type=float,
    )
    add("--bandwidth", "of the affinity, as a multiple of the median squared distance", type=float)
    add(
        "--normalize",
        "rows: every patch to unit norm, right for the activations of a network; columns: every feature standardized "
        "over the patches of its image first, right for mixed units such as those of `embed`; none: neither",
        choices=(*NORMALIZATIONS, "none"),
    )
    add("--solver", "exact, or the published script's iteration", choices=SOLVERS)
    add("--tol", "relative duality gap at which the exact solver stops", type=float)
    add("--max-iter", "most steps of the solver", type=int, metavar="N")
    add("--random-state", "start of the published iteration", type=int, metavar="SEED")
    add_run_options(parser)


def run(arguments):
    """Run the command.

    Parameters
    ----------
    arguments : argparse.Namespace
        What :func:`add_arguments` declared.
    """
    parameters = {name: getattr(arguments, name) for name in _PARAMETERS}
    for name in ("normalize", "coverage"):
        if parameters[name] == "none":
            parameters[name] = None
    try:
        validate_parameter_constraints(PARAMETER_CONSTRAINTS, parameters, caller_name="patchdistill select")
        check_choice(parameters["rate"], parameters["keep"], parameters["coverage"])
    except ValueError as error:
        raise UsageError(str(error).replace("coverage=None", "--coverage none")) from None
    out = Path(arguments.out)
    if out.suffix.lower() not in (".csv", ".parquet"):
        raise UsageError(f"--out {out} is not valid; its name must end in .csv or .parquet.")
    if is_parquet := out.suffix.lower() == ".parquet":
        import_optional("pyarrow", "A .parquet table", "cli")
    pools = open_pools(arguments.input, arguments.patches_per_image, arguments.variable)
    settings = {
        "command": "select",
        "version": __version__,
        "input": str(Path(arguments.input).resolve()),
        "patches_per_image": arguments.patches_per_image,
        "variable": arguments.variable,
        **parameters,
    }
    with TableJournal(out, ",".join(_COLUMNS) + "\n", settings, arguments.restart) as journal:
        _check_unchanged(journal.records, pools)
        progress = Progress("select", len(pools), len(journal.records), arguments.quiet)
        with closing(progress):
            _select_images(pools, parameters, arguments.n_jobs, journal, progress)
            _warn(journal.records, pools, parameters, progress)
            journal.finish(partial(_write_parquet, by_number=isinstance(pools.names[0], int)) if is_parquet else None)
            progress.finish(f"{len(pools)} images, {sum(pools.n_patches)} patches -> {out}")


def _check_unchanged(records, pools):
    """Refuse to go on with a table whose finished images are not those of the input any more."""
    for i, record in enumerate(records):
        now = (pools.names[i], pools.stamps[i]) if i < len(pools) else (None, None)
        if (record["image"], record["stamp"]) != now:
            what = "was changed" if record["image"] == now[0] else f"is now {'missing' if now[0] is None else now[0]}"
            raise ValueError(
                f"Image {i} of {pools.path}, {record['image']} when an earlier run did it, {what} since. "
                "Use --restart to start over, or choose another --out."
            )


class _Selected(NamedTuple):
    """What the table tells of one image's selection; the coefficients stay with the worker."""

    scores: np.ndarray
    ranking: np.ndarray
    indices: np.ndarray
    weights: np.ndarray
    outliers: np.ndarray
    gap: float
    converged: bool


def _select_images(pools, parameters, n_jobs, journal, progress):
    start = len(journal.records)
    with closing(in_order(partial(_select, parameters), pools.read(start), n_jobs)) as results:
        for i, (selected, messages) in zip(range(start, len(pools)), results, strict=True):
            for message in messages:
                progress.warn(f"image {pools.names[i]}: {message}")
            record = {"image": pools.names[i], "stamp": pools.stamps[i]}
            record |= {"gap": selected.gap, "converged": selected.converged}
            journal.append(_rows(pools.names[i], selected), record)
            progress.step()


def _select(parameters, E):
    selection = select_patches(E, **parameters)
    solution = selection.solution
    gap = float(solution.dual_gap / solution.objective) if solution.objective > 0 else 0.0
    choice = selection.scores, selection.ranking, selection.indices, selection.weights, selection.outliers
    return _Selected(*choice, gap, bool(solution.converged))


def _rows(name, selected):
    """Rows of one image; numbers as Python writes them, so that they read back to the last bit."""
    quoted = io.StringIO()
    csv.writer(quoted, lineterminator="\r\n").writerow([name])  # what it has of these in a name it quotes
    image = quoted.getvalue().removesuffix("\r\n")
    n = len(selected.ranking)
    rank, kept, weight, outlier = np.empty(n, int), np.zeros(n, bool), np.zeros(n), np.zeros(n, bool)
    rank[selected.ranking] = np.arange(n)
    kept[selected.indices], weight[selected.indices] = True, selected.weights
    outlier[selected.outliers] = True
    columns = zip(*(column.tolist() for column in (selected.scores, rank, kept, weight, outlier)), strict=True)
    return "".join(
        f"{image},{patch},{score!r},{rank},{_boolean(kept)},{weight!r},{_boolean(outlier)},{selected.gap!r}\n"
        for patch, (score, rank, kept, weight, outlier) in enumerate(columns)
    )


def _boolean(value):
    return "true" if value else "false"


def _warn(records, pools, parameters, progress):
    converged = [record["converged"] for record in records]
    if not all(converged):
        gaps = [record["gap"] for record in records]
        progress.warn(convergence_message(converged, gaps, parameters["tol"], parameters["max_iter"]))
    rate, n_patches = parameters["rate"], np.array(pools.n_patches)
    if isinstance(rate, int) and (n_patches < rate).any():
        short = int((n_patches < rate).argmax())
        progress.warn(
            f"rate={rate} asks for more patches than {(n_patches < rate).sum()} of {len(pools)} images have "
            f"(image {pools.names[short]} has {n_patches[short]}); all of theirs are kept."
        )


def _write_parquet(text, path, by_number):
    """Turn the finished text table into Parquet, block by block."""
    arrow, arrow_csv, parquet = map(importlib.import_module, ("pyarrow", "pyarrow.csv", "pyarrow.parquet"))
    types = {"image": arrow.int64() if by_number else arrow.string(), "patch": arrow.int64(), "rank": arrow.int64()}
    types |= dict.fromkeys(("score", "weight", "gap"), arrow.float64())
    types |= dict.fromkeys(("kept", "outlier"), arrow.bool_())
    reader = arrow_csv.open_csv(
        text,
        read_options=arrow_csv.ReadOptions(block_size=_ROW_GROUP_BYTES),
        parse_options=arrow_csv.ParseOptions(newlines_in_values=True),  # a name may have them
        convert_options=arrow_csv.ConvertOptions(column_types=types),
    )
    with parquet.ParquetWriter(path, reader.schema) as writer:
        for rows in reader:
            writer.write_batch(rows)
