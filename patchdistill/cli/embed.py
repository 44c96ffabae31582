"""``patchdistill embed``: pictures or pools of patches in, embeddings out."""

from functools import partial

import numpy as np

from patchdistill.cli.folder import check_folder, write_folder
from patchdistill.cli.options import UsageError, add_run_options, positive_int
from patchdistill.embedding import PatchStatistics
from patchdistill.images import list_images
from patchdistill.pools import named_errors

SUMMARY = "describe patches by natural-scene statistics"
DESCRIPTION = """\
Describe every patch by natural-scene statistics, which need no trained weights. The
input is a folder of pictures, in which an even grid of patches is placed, or the
folder of .npz pools that `patchdistill sample` made (or you: an array `pixels`,
(n_patches, size, size, 3), in each). Each image becomes a file NAME.npy of shape
(n_patches, n_features), for `patchdistill select --normalize columns`."""
EXAMPLES = """\
examples:
  patchdistill embed pictures/ --out features/ --n-jobs -1
  patchdistill embed patches/ --out features/"""


def add_arguments(parser):
    """Declare the arguments of the command.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        Parser of the command.
    """
    parser.add_argument("input", metavar="INPUT", help="folder of pictures, or of .npz pools of patches")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the embeddings")
    parser.add_argument(
        "--patches", type=positive_int, metavar="N", help="patches per picture; not for pools (default: 180)"
    )
    parser.add_argument(
        "--patch-size", type=positive_int, metavar="PIXELS", help="side of a patch; not for pools (default: 64)"
    )
    add_run_options(parser)


def run(arguments):
    """Run the command.

    Parameters
    ----------
    arguments : argparse.Namespace
        What :func:`add_arguments` declared.
    """
    folder = check_folder(arguments.input)
    pools = sorted(path for path in folder.iterdir() if path.suffix == ".npz")
    if pools:
        if arguments.patches is not None or arguments.patch_size is not None:
            raise UsageError(
                f"{folder} holds pools of patches, which are cut already; leave --patches and --patch-size out."
            )
        sources, parameters = {f"{path.stem}.npy": path for path in pools}, {"patches": "as in the pools"}
        compute = partial(_embed_pool, PatchStatistics())
    else:
        sources = {f"{path.name}.npy": path for path in list_images(folder)}
        parameters = {"patches": arguments.patches or 180, "patch_size": arguments.patch_size or 64}
        statistics = PatchStatistics(n_patches=parameters["patches"], patch_size=parameters["patch_size"])
        try:
            statistics.fit()
        except ValueError as error:
            raise UsageError(error) from None
        compute = partial(_embed_picture, statistics)
    write_folder(arguments, sources, parameters, compute, np.save, arguments.n_jobs)


def _embed_picture(statistics, path):
    return statistics.transform([path])[0]


def _embed_pool(statistics, path):
    with named_errors(path), np.load(path, allow_pickle=False) as arrays:
        if "pixels" not in arrays:
            raise ValueError(f"{path} has no array 'pixels'; it has: {', '.join(arrays) or 'none'}.")
        pixels = arrays["pixels"]
    return statistics.transform([pixels])[0]
