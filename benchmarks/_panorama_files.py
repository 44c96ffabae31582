"""Distorted panoramas as picture files: what a pipeline begins with when everything is counted."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from _downstream_data import FULL, SMOKE, clean_picture, panorama_table, version
from PIL import Image

from patchdistill.evaluation import ws_ssim
from patchdistill.journal.files import write_whole
from patchdistill.progress import Progress

# Enough for labels that differ, and few enough to train networks on a CPU.
KINDS, LEVELS = ("clean", "JPEG", "blur", "noise"), (0, 2, 4)


class PanoramaFiles(NamedTuple):
    """Picture files with their labels and scenes, one after the other."""

    paths: list
    labels: np.ndarray
    scenes: np.ndarray


def write_panoramas(folder, *, smoke=False):
    """Write the versions of every panorama that are not there yet, and their labels.

    Parameters
    ----------
    folder : path-like
        Where; it is made if need be.
    smoke : bool, default=False
        Whether to do it with three bundled photographs, squeezed.

    Returns
    -------
    PanoramaFiles
        Labels are ``ws_ssim``, the structural similarity weighted by the area on the sphere.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    records = [r for r in panorama_table(smoke=smoke) if r.kind in KINDS and r.level in LEVELS]
    progress = Progress("panoramas", len(records))
    paths, labels = [], []
    for record in records:
        path = folder / f"{record.scene}_{record.kind}_{record.level}.png"
        if not path.with_suffix(".json").exists():
            reference = clean_picture(record, SMOKE if smoke else FULL)
            picture = version(reference, record)
            write_whole(
                path, lambda file, picture=picture: Image.fromarray(picture).save(file, "PNG", compress_level=1)
            )
            label = json.dumps(ws_ssim(reference, picture))
            write_whole(path.with_suffix(".json"), lambda file, label=label: file.write_text(label))
        paths.append(path)
        labels.append(json.loads(path.with_suffix(".json").read_text()))
        progress.step()
    progress.finish("panoramas are there")
    return PanoramaFiles(paths, np.array(labels), np.array([record.scene for record in records]))
