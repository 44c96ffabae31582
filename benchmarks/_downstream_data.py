"""Images with quality labels, as features of their patches: what the downstream study learns from.

Two sets: panoramas, distorted on purpose, whose labels are computed; and photographs of LIVE In the Wild, whose labels
are ratings of people. What one image gives is kept in one file of the cache, so that a run that was stopped goes on
where it stopped.
"""

import csv
import hashlib
import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from _common import bundled_paths, data_folder
from _distortions import CLEAN, LEVELS, distort, missing_kinds
from _random_cnn import RandomCNN
from _resume import CACHE
from joblib import Parallel, delayed
from PIL import Image

from patchdistill import PatchBags
from patchdistill.embedding import PatchStatistics
from patchdistill.evaluation import ws_gms, ws_ssim
from patchdistill.images import list_images, read_image
from patchdistill.journal.files import write_whole
from patchdistill.panorama import LatitudeSampler
from patchdistill.progress import Progress
from patchdistill.sampling import GridSampler

AUTHENTIC = "authentic"
FEATURES = ("PatchStatistics", "RandomCNN")


@dataclass(frozen=True)
class Scale:
    """How much is done: patches of an image, their side in pixels, and a size (height, width) pictures are brought to.

    Without a size they stay as they are.
    """

    n_patches: int = 180
    patch_size: int = 64
    size: tuple | None = None


FULL = Scale()
SMOKE = Scale(n_patches=24, patch_size=32, size=(128, 256))
SMOKE_SCENES, SMOKE_KINDS, SMOKE_LEVELS = 3, ("JPEG", "blur"), (2, 4)


class Record(NamedTuple):
    """One image: the file of its scene, and what is done to it (kind "clean" or "authentic", level 0: nothing)."""

    scene: str
    kind: str
    level: int
    path: Path


@dataclass(frozen=True)
class DownstreamData:
    """Images of a study, one after the other.

    Attributes
    ----------
    features : dict of str to PatchBags
        ``PatchStatistics`` (131 columns) and ``RandomCNN`` (448), float32, with the fields ``top`` and ``left`` in
        pixels, and for panoramas ``lat`` and ``lon`` in degrees.
    labels : dict of str to ndarray of shape (n_images,)
        ``ws_ssim`` and ``ws_gms`` of panoramas, ``mos`` of photographs; higher is better.
    scenes : ndarray of str, shape (n_images,)
        What the image shows: images of one scene must not be split between training and test.
    kinds : ndarray of str, shape (n_images,)
        Distortion.
    levels : ndarray of int, shape (n_images,)
        0 if nothing was done, else 1, mild, to 5, strong.
    missing : dict of str to str
        Kinds that were left out, and why.
    """

    features: dict
    labels: dict
    scenes: np.ndarray
    kinds: np.ndarray
    levels: np.ndarray
    missing: dict


def panorama_table(*, limit=None, smoke=False):
    """List the panoramas and their distorted versions, scene by scene.

    Parameters
    ----------
    limit : int, default=None
        Number of scenes; all by default.
    smoke : bool, default=False
        Whether to take a few bundled photographs, two kinds and two levels instead.

    Returns
    -------
    list of Record
        The clean one of a scene first. Kinds that cannot be made on this machine are left out.

    Raises
    ------
    FileNotFoundError
        If the panoramas are not there.
    """
    if smoke:
        paths = bundled_paths()[:SMOKE_SCENES]
    else:
        paths = list_images(_test_data("panoramas"))
    kinds = SMOKE_KINDS if smoke else [kind for kind in LEVELS if kind not in missing_kinds()]
    levels = SMOKE_LEVELS if smoke else range(1, 6)
    versions = [(CLEAN, 0)] + [(kind, level) for kind in kinds for level in levels]
    return [Record(path.stem, kind, level, path) for path in paths[:limit] for kind, level in versions]


def livec_table(*, limit=None):
    """List the photographs of LIVE In the Wild.

    Parameters
    ----------
    limit : int, default=None
        Number of photographs; all by default.

    Returns
    -------
    records : list of Record
        Each is a scene of its own.
    mos : ndarray of shape (n_images,)
        Mean opinion scores, 0 to 100.

    Raises
    ------
    FileNotFoundError
        If they are not there.
    """
    folder = _test_data("rated") / "livec"
    with open(folder / "livec_mos.csv", newline="") as file:
        rows = list(csv.DictReader(file))[:limit]
    paths = [folder / "images" / row["file"] for row in rows]
    return [Record(path.stem, AUTHENTIC, 0, path) for path in paths], np.array([float(row["mos"]) for row in rows])


def _test_data(name):
    root = data_folder()
    if not (root / name).is_dir():
        raise FileNotFoundError(
            f"There is no folder {root / name}. Set PATCHDISTILL_TEST_DATA to the folder that holds {name!r}."
        )
    return root / name


def load_panoramas(cache=CACHE, *, n_jobs=1, limit=None, smoke=False):
    """Compute the panoramas of the study, or read what was computed before.

    Parameters
    ----------
    cache : path-like, default=CACHE
        Folder to keep the results in; it is made if need be. Results of older settings stay in it, unused.
    n_jobs : int, default=1
        Images worked on at the same time.
    limit : int, default=None
        Number of scenes; all by default.
    smoke : bool, default=False
        Whether to do it in small, to see that it runs: 3 bundled photographs squeezed to 256 x 128 pixels, 24 patches
        of 32 pixels.

    Returns
    -------
    DownstreamData
        All images.

    Raises
    ------
    FileNotFoundError
        If the panoramas are not there.
    """
    records = panorama_table(limit=limit, smoke=smoke)
    results = _results(records, describe_panorama, SMOKE if smoke else FULL, cache, n_jobs, "panoramas")
    labels = {name: np.array([float(result[name]) for result in results]) for name in ("ws_ssim", "ws_gms")}
    return _gather(records, results, ("top", "left", "lat", "lon"), labels, missing_kinds())


def load_livec(cache=CACHE, *, n_jobs=1, limit=None, smoke=False):
    """Compute the rated photographs of the study, or read what was computed before.

    Parameters
    ----------
    cache, n_jobs
        As for :func:`load_panoramas`.
    limit : int, default=None
        Number of photographs; all by default.
    smoke : bool, default=False
        Whether to take 24 patches of 32 pixels instead of 180 of 64.

    Returns
    -------
    DownstreamData
        All images.

    Raises
    ------
    FileNotFoundError
        If the photographs are not there.
    """
    records, mos = livec_table(limit=limit)
    scale = Scale(SMOKE.n_patches, SMOKE.patch_size) if smoke else FULL
    results = _results(records, describe_photograph, scale, cache, n_jobs, "livec")
    return _gather(records, results, ("top", "left"), {"mos": mos}, {})


def describe_panorama(image, reference, scale):
    """Patches at even spacing on the sphere, their features, and the labels.

    Parameters
    ----------
    image, reference : ndarray of uint8, shape (height, width, 3)
        The panorama, distorted and clean.
    scale : Scale
        Number and size of the patches.

    Returns
    -------
    dict of str to ndarray
        Features, fields and labels by name.
    """
    patches = LatitudeSampler(scale.n_patches, scale.patch_size).transform([image])
    places = {name: patches.fields[name] for name in ("top", "left", "lat", "lon")}
    return {**places, **_embed(patches[0]), "ws_ssim": ws_ssim(reference, image), "ws_gms": ws_gms(reference, image)}


def describe_photograph(image, reference, scale):
    """Patches on an even grid, and their features; arguments as for :func:`describe_panorama`, one not read."""
    patches = GridSampler(scale.n_patches, scale.patch_size).transform([image])
    return {"top": patches.fields["top"], "left": patches.fields["left"], **_embed(patches[0])}


def _embed(pixels):
    embedded = PatchStatistics().transform([pixels]).values, RandomCNN()(pixels)
    return {name: values.astype(np.float32) for name, values in zip(FEATURES, embedded, strict=True)}


def _gather(records, results, fields, labels, missing):
    ids = [f"{record.scene}_{record.kind}_{record.level}" for record in records]
    places = {field: [result[field] for result in results] for field in fields}
    bags = {name: PatchBags.from_list([r[name] for r in results], fields=places, ids=ids) for name in FEATURES}
    scenes, kinds, levels, _ = (np.array(column) for column in zip(*records, strict=True))
    return DownstreamData(bags, labels, scenes, kinds, levels, missing)


def _results(records, describe, scale, cache, n_jobs, title):
    """What every image gives, in order; computed where its file is not there yet."""
    cache = Path(cache)
    cache.mkdir(parents=True, exist_ok=True)
    files = [cache / name for name in _names(records, describe, scale, title)]
    todo = [(record, file) for record, file in zip(records, files, strict=True) if not file.exists()]
    progress = Progress(title, len(files), done=len(files) - len(todo), quiet=not todo)
    parallel = Parallel(n_jobs=n_jobs, return_as="generator")
    for _ in parallel(delayed(_compute)(record, describe, scale, file) for record, file in todo):
        progress.step()
    progress.finish(f"{len(todo)} images were computed")
    return [_read(file) for file in files]


def _compute(record, describe, scale, file):
    reference = clean_picture(record, scale)
    arrays = describe(version(reference, record), reference, scale)

    def write(path):
        with open(path, "wb") as stream:
            np.savez(stream, **arrays)

    write_whole(file, write)


def clean_picture(record, scale):
    """The picture before anything is done to it, brought to the size of the study."""
    picture = read_image(record.path)
    if scale.size is None:
        return picture
    return np.asarray(Image.fromarray(picture).resize(scale.size[::-1], Image.Resampling.LANCZOS))


def version(reference, record):
    """The distorted picture; its noise depends on the names, so that other records do not change it."""
    if record.kind == AUTHENTIC:
        return reference
    return distort(reference, record.kind, record.level, seed=[zlib.crc32(record.scene.encode()), record.level])


def _read(file):
    with np.load(file, allow_pickle=False) as arrays:
        return dict(arrays)


def _names(records, describe, scale, title):
    """Names of files that change with everything that decides what is in them.

    Besides the picture and the settings that is code, of this project and of others. It is recognized by what it gives
    on a small fixed picture, so that there is no version number that somebody must remember to raise.
    """
    probe = np.random.default_rng(0).integers(0, 256, (128, 256, 3), dtype=np.uint8)
    recipe = {name: _digest(np.round(values, 3)) for name, values in describe(probe, probe[::-1], scale).items()}
    versions = {(r.kind, r.level): r._replace(scene="") for r in records}
    distorted = {key: _digest(version(probe, record)) for key, record in versions.items()}
    pictures = {path: _digest(np.fromfile(path, np.uint8)) for path in {record.path for record in records}}
    names = []
    for r in records:
        key = json.dumps([recipe, repr(scale), r.scene, distorted[r.kind, r.level], pictures[r.path]])
        digest = hashlib.sha256(key.encode()).hexdigest()[:16]
        names.append(f"{title}_{r.scene}_{r.kind.replace(' ', '')}_{r.level}_{digest}.npz")
    return names


def _digest(values):
    return hashlib.sha256(np.ascontiguousarray(values)).hexdigest()
