"""Panoramas through three codecs at eleven qualities, as the data set CVIQ was made: picture files and a manifest.

The labels are computed, not rated: ``ws_ssim``, the structural similarity to the original, averaged over the sphere.
"""

import json
from functools import partial
from pathlib import Path

from _distortions import encode, missing_kinds
from joblib import Parallel, delayed
from PIL import Image

from patchdistill.datasets import make_manifest, write_manifest
from patchdistill.evaluation import ws_ssim
from patchdistill.images import read_image
from patchdistill.journal.files import write_whole
from patchdistill.progress import Progress

# Quality of JPEG (1 where CVIQ has 0, which is the same to libjpeg); quantizer of AVC and HEVC intra pictures.
LADDERS = {"JPEG": (50, 45, 40, 35, 30, 25, 20, 15, 10, 5, 1), "AVC": tuple(range(30, 51, 2))}
LADDERS["HEVC"] = LADDERS["AVC"]
REFERENCE = "reference"


def write_ladders(folder, references, *, codecs=tuple(LADDERS), n_levels=11, n_jobs=1):
    """Write every version of every panorama that is not there yet, and the manifest.

    Parameters
    ----------
    folder : path-like
        Where; it is made if need be.
    references : list of path
        The panoramas.
    codecs : sequence of str, default=("JPEG", "AVC", "HEVC")
        Which ladders.
    n_levels : int, default=11
        How many steps of each, from its mild end.
    n_jobs : int, default=1
        Panoramas worked on at the same time.

    Returns
    -------
    Path
        ``manifest.csv``, whose label is ``ws_ssim``.

    Raises
    ------
    RuntimeError
        If a codec is missing on this machine.
    """
    lacking = {codec: reason for codec, reason in missing_kinds().items() if codec in codecs}
    if lacking:
        raise RuntimeError(f"A ladder cannot be made: {lacking}. Install ffmpeg with libx264 and libx265.")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    progress = Progress("ladders", len(references))
    rows = []
    work = (delayed(_write_scene)(folder, Path(reference), codecs, n_levels) for reference in references)
    for of_scene in Parallel(n_jobs=n_jobs, return_as="generator")(work):
        rows += of_scene
        progress.step()
    progress.finish("ladders are there")
    manifest = folder / "manifest.csv"
    write_manifest(make_manifest(rows), manifest)
    return manifest


def _write_scene(folder, path, codecs, n_levels):
    """Rows of the manifest for one panorama and its versions."""
    reference = read_image(path)
    versions = [(REFERENCE, 0, None)]
    versions += [(c, level, s) for c in codecs for level, s in enumerate(LADDERS[c][:n_levels], 1)]
    clean = folder / f"{path.stem}_{REFERENCE}.png"
    rows = []
    for codec, level, strength in versions:
        file = folder / f"{path.stem}_{codec}_{level:02}.png" if level else clean
        label = file.with_suffix(".json")
        if not label.exists():  # it is written last
            picture = encode(reference, codec, strength) if level else reference
            write_whole(file, partial(_save, picture))
            write_whole(label, partial(_write_text, json.dumps(ws_ssim(reference, picture))))
        row = {"image": str(file), "scene": path.stem, "reference": str(clean), "distortion": codec, "level": level}
        rows.append(row | {"mos": json.loads(label.read_text()), "mos_kind": "mos"})
    return rows


def _save(picture, path):
    Image.fromarray(picture).save(path, "PNG", compress_level=1)


def _write_text(text, path):
    path.write_text(text)
