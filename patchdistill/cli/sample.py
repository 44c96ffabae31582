"""``patchdistill sample``: pictures in, pools of patches out."""

from functools import partial

import numpy as np

from patchdistill.cli.folder import check_folder, write_folder
from patchdistill.cli.options import add_run_options, positive_int
from patchdistill.images import list_images
from patchdistill.panorama import (
    FibonacciSampler,
    LatitudeSampler,
    RandomSampler,
    TrajectorySampler,
    UniformSampler,
)
from patchdistill.sampling import GridSampler, RandomCropSampler

SUMMARY = "cut pictures into patches"
DESCRIPTION = """\
Cut square patches out of every picture of a folder. Each picture becomes a file
NAME.npz with the arrays pixels (n_patches, size, size, 3), top and left (n_patches,),
where NAME is the name of the picture with its ending. Patches of panoramas also have
lon, lat and fov, in degrees, and those of trajectories sequence and step."""
EXAMPLES = """\
examples:
  patchdistill sample pictures/ --out patches/ --patches 180 --patch-size 64
  patchdistill sample panoramas/ --out patches/ --sampling panorama-latitude"""

_SAMPLERS = {
    "grid": GridSampler,
    "random": RandomCropSampler,
    "panorama-uniform": UniformSampler,
    "panorama-latitude": LatitudeSampler,
    "panorama-fibonacci": FibonacciSampler,
    "panorama-random": RandomSampler,
    "panorama-trajectory": TrajectorySampler,
}
# What is the same for all patches, or their number.
_NOT_SAVED = {"patch_index", "size"}


def add_arguments(parser):
    """Declare the arguments of the command.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        Parser of the command.
    """
    parser.add_argument("input", metavar="IMAGES_DIR", help="folder of pictures")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the patches")
    parser.add_argument(
        "--patches", type=positive_int, default=180, metavar="N", help="patches per picture (default: 180)"
    )
    parser.add_argument(
        "--patch-size", type=positive_int, default=64, metavar="PIXELS", help="side of a patch (default: 64)"
    )
    parser.add_argument(
        "--sampling",
        choices=_SAMPLERS,
        metavar="HOW",
        default="grid",
        help="where patches lie: grid or random; on panoramas (equirectangular, twice as wide as high) "
        "panorama-uniform (a grid over the picture), panorama-latitude (rows that share out the sphere evenly), "
        "panorama-fibonacci (a spiral that does), panorama-random or panorama-trajectory (walks) (default: grid)",
    )
    add_run_options(parser, with_jobs=False)


def run(arguments):
    """Run the command.

    Parameters
    ----------
    arguments : argparse.Namespace
        What :func:`add_arguments` declared.
    """
    sources = {f"{path.name}.npz": path for path in list_images(check_folder(arguments.input))}
    parameters = {
        "patches": arguments.patches,
        "patch_size": arguments.patch_size,
        "sampling": arguments.sampling,
    }
    sampler = _SAMPLERS[arguments.sampling](n_patches=arguments.patches, patch_size=arguments.patch_size)
    write_folder(arguments, sources, parameters, partial(_cut, sampler), _save)


def _cut(sampler, path):
    bags = sampler.transform([path])
    return {"pixels": bags[0], **{name: bags.field(name, 0) for name in bags.fields if name not in _NOT_SAVED}}


def _save(stream, arrays):
    np.savez(stream, **arrays)
