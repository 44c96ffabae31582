"""``patchdistill compare``: pictures and their references in, what changed and by how much out."""

import csv
import json
import sys
from contextlib import closing
from dataclasses import asdict
from functools import partial
from pathlib import Path
from urllib.parse import quote

from patchdistill.cli.folder import compute_all, write_folder
from patchdistill.cli.options import UsageError, add_run_options
from patchdistill.images import list_images
from patchdistill.pools import named_errors, stamp
from patchdistill.progress import Progress

SUMMARY = "say what changed between pictures and their references, score and rank them"
DESCRIPTION = """\
Compare pictures with their references, channel by channel: exposure, contrast,
saturation, sharpness, noise, blockiness. For each channel that changed:

  mean         over the picture; positive: more of it than in the reference
  worst tenth  mean over the tenth of the picture that changed most
  area         share of the picture that changed by more than 0.2
  box          the worst region: top, left, bottom, right, in pixels; on a panorama
               left is not below right where it goes on across the seam

1 and -1 are the strongest distortions that the scale knows. The score is 0 for the
reference itself and falls with every distortion; no human opinion went into it.
Rank 1 is the best of the versions of one reference."""
EXAMPLES = """\
examples:
  patchdistill compare image.png --ref reference.png
  patchdistill compare versions/ --ref reference.png --out report/
  patchdistill compare pairs.csv --panorama --out report/ --n-jobs -1"""


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
        help="a picture, a folder of versions of one picture, or a .csv file with the columns image and reference, "
        "whose paths start from its folder",
    )
    parser.add_argument("--ref", metavar="FILE", help="the reference; not for a .csv file")
    parser.add_argument(
        "--out", metavar="DIR", help="folder for a report with maps over the pictures (report.html) and channels.csv"
    )
    parser.add_argument(
        "--panorama",
        action="store_true",
        help="the pictures are panoramas of the whole sphere (equirectangular, twice as wide as high)",
    )
    parser.add_argument(
        "--map",
        choices=("classical", "network"),
        default="classical",
        help="what finds the changes: the classical map (default), or a network, which is better and needs PyTorch",
    )
    add_run_options(parser)


def run(arguments):
    """Run the command.

    Parameters
    ----------
    arguments : argparse.Namespace
        What :func:`add_arguments` declared.
    """
    from patchdistill.relational.comparison import Comparison, rank_versions  # other commands start sooner without it
    from patchdistill.relational.page import write_comparisons

    if arguments.restart and not arguments.out:
        raise UsageError("--restart needs --out: without it, nothing is kept that could be forgotten.")
    pairs = _read_pairs(arguments.input, arguments.ref)
    images = {name: image for name, (image, _) in pairs.items()}
    geometry = "panorama" if arguments.panorama else "flat"
    scorer, n_jobs = _load_scorer(arguments.map), arguments.n_jobs
    if len(pairs) == 1:  # what is done at the same time are parts of the picture
        if arguments.map == "classical":  # PyTorch has threads of its own
            scorer.map_.set_params(n_jobs=n_jobs)
        n_jobs = 1
    compute = partial(_compare, scorer, dict(pairs.values()), geometry, arguments.out is not None)
    if arguments.out is None:
        progress = Progress("compare", len(images), quiet=arguments.quiet)
        with closing(progress):
            results = list(compute_all(list(images.values()), compute, n_jobs, progress))
    else:
        results = _compute_kept(arguments, pairs, geometry, compute, n_jobs)
    comparisons = [Comparison.from_dict(result) for result in results]
    if arguments.out is not None:
        write_comparisons(comparisons, list(pairs), arguments.out)
    print(_table(comparisons, list(images), *rank_versions(comparisons)))
    wide = [comparison.image for comparison in comparisons if comparison.width == 2 * comparison.height]
    if wide and not arguments.panorama and not arguments.quiet:
        others = f" and {len(wide) - 1} more" if wide[1:] else ""
        print(f"{wide[0]}{others}: twice as wide as high. Pass --panorama for a whole sphere.", file=sys.stderr)


def _load_scorer(map_name):
    from patchdistill.relational.scorer import RelationalScorer  # reads the coefficients that come with the package

    return RelationalScorer.pretrained(map_name)


def _read_pairs(source, reference):
    """Give the name, the path and the reference of each picture."""
    source = Path(source)
    if source.suffix.lower() == ".csv":
        if reference is not None:
            raise UsageError(f"{source} names the references; leave --ref out.")
        return _read_csv(source)
    if reference is None:
        raise UsageError("--ref FILE is needed: what the input is compared with.")
    paths = list_images(source) if source.is_dir() else [source]
    return {path.name: (path, Path(reference)) for path in paths}


def _read_csv(source):
    pairs, seen = {}, set()
    with named_errors(source), open(source, newline="", encoding="utf-8-sig") as stream:
        rows = csv.DictReader(stream)
        missing = [name for name in ("image", "reference") if name not in (rows.fieldnames or ())]
        if missing:
            raise ValueError(f"{source} has no column {missing[0]!r}; it needs image and reference.")
        for i, row in enumerate(rows, start=1):
            image, reference = row["image"], row["reference"]
            if not image or not reference:
                what = "reference" if image else "image"
                raise ValueError(f"Row {i} of {source} has no {what}. Fill it in, or leave the row out.")
            path = source.parent / image
            if path in seen:
                raise ValueError(f"Row {i} of {source} lists {image} again. Each picture has one reference.")
            seen.add(path)
            pairs[image] = path, source.parent / reference
    if not pairs:
        raise ValueError(f"{source} has no rows; give at least one picture.")
    return pairs


def _compare(scorer, references, geometry, with_pictures, path):
    from patchdistill.relational.comparison import compare_files

    return asdict(compare_files(scorer, path, references[path], geometry, with_pictures))


def _compute_kept(arguments, pairs, geometry, compute, n_jobs):
    """Compare those pictures that are not compared yet, and give the results of all."""
    files = {f"{quote(name, safe='')}.json": image for name, (image, _) in pairs.items()}
    stamps = {str(path): stamp(path) for path in sorted({reference for _, reference in pairs.values()})}
    parameters = {"references": stamps, "geometry": geometry, "map": arguments.map}
    write_folder(arguments, files, parameters, compute, _save, n_jobs)
    return [json.loads((Path(arguments.out) / file).read_text(encoding="utf-8")) for file in files]


def _save(stream, result):
    stream.write(json.dumps(result).encode())


def _table(comparisons, names, ranks, counts):
    """Write what changed in each picture, the best one of each reference first."""
    order = sorted(range(len(names)), key=lambda i: (comparisons[i].reference, ranks[i], names[i]))
    blocks = []
    for i in order:
        rank = f"  rank {ranks[i]} of {counts[i]}" if counts[i] > 1 else ""
        lines = [f"{names[i]}  score {_number(comparisons[i].score, '.3f')}{rank}"]
        changed = [report for report in comparisons[i].channels if report.word != "unchanged"]
        if changed:
            rows = [("channel", "direction", "mean", "worst tenth", "area", "box"), *map(_row, changed)]
            lines += _align(rows)
        same = [report.channel for report in comparisons[i].channels if report.word == "unchanged"]
        if same:
            lines.append(f"  unchanged: {', '.join(same)}")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _row(report):
    numbers = _number(report.mean, "+.2f"), _number(report.worst_tenth, "+.2f"), f"{report.area:.0%}"
    return report.channel, report.word, *numbers, ", ".join(map(str, report.box))


def _number(value, form):
    return f"{round(value, int(form[-2])) + 0.0:{form}}"  # no minus before zero


def _align(rows):
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    is_number = (False, False, True, True, True, False)
    return [
        "  "
        + "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, is_number, strict=True)
        ).rstrip()
        for row in rows
    ]
