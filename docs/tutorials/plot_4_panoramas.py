"""
From a folder of panoramas to a result table
============================================

A folder of panoramas, a table of scores, and a deadline: which patches should a quality model get, and is the choice
worth anything? The way goes through a manifest, samplings of the sphere, and a study in which random selection stands
beside every result.
"""

# %%
# A folder of panoramas
# ---------------------
# These are synthetic, so that the tutorial runs anywhere: :func:`~patchdistill.datasets.make_panoramas` paints leaves
# on the sphere. Each is blurred and compressed. The label is the structural similarity to the original, every part of
# the sphere counting alike, :func:`~patchdistill.evaluation.ws_ssim`; with pictures of your own it would be the mean
# opinion score.

import io
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from patchdistill import ResidualPatchSelector, select_patches
from patchdistill.datasets import make_manifest, make_panoramas, write_manifest
from patchdistill.embedding import PatchStatistics
from patchdistill.evaluation import ws_ssim
from patchdistill.panorama import (
    FibonacciSampler,
    LatitudeSampler,
    RandomSampler,
    TrajectorySampler,
    UniformSampler,
    tangent_views,
)
from patchdistill.plotting import PanoramaSelectionDisplay
from patchdistill.studies import Study, run_study
from patchdistill.studies.config import pooled_svr

folder = Path(tempfile.mkdtemp())
scenes = make_panoramas(n_scenes=6, height=192)


def compressed(picture, quality):
    """Give the picture after JPEG."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def blurred(picture, sigma):
    """Put the picture out of focus; the seam is no border."""
    return gaussian_filter(picture, sigma, axes=(0, 1), mode=("reflect", "wrap"))


versions = {
    ("JPEG", 1): lambda picture: compressed(picture, 40),
    ("JPEG", 2): lambda picture: compressed(picture, 10),
    ("blur", 1): lambda picture: blurred(picture, 0.8),
    ("blur", 2): lambda picture: blurred(picture, 2.0),
}
rows = []
for number, scene in enumerate(scenes):
    for (kind, level), change in versions.items():
        path = folder / f"scene{number}_{kind}_{level}.png"
        changed = change(scene)
        Image.fromarray(changed).save(path)
        rows.append(
            {
                "image": str(path),
                "scene": f"scene{number}",
                "distortion": kind,
                "level": level,
                "mos": 100 * ws_ssim(scene, changed),
                "mos_kind": "mos",
            }
        )

# %%
# The manifest
# ------------
# One row per picture. ``scene`` is the column that matters most: versions of one scene must never be on both sides of a
# split. :func:`~patchdistill.datasets.make_manifest` checks every row, and says which one is wrong.

manifest = make_manifest(rows)
write_manifest(manifest, folder / "manifest.csv")
print(manifest[["scene", "distortion", "level", "mos", "mos_kind"]].head(5))

# %%
# Where patches lie on a sphere
# -----------------------------
# An equirectangular picture is stretched toward the poles, so that an even grid looks there too often. The other
# samplings do not, and trajectories walk to where there is something to see. Patches are crops of the picture, which go
# on across its border, or with ``view="tangent"`` views as a camera would take them.

samplings = {
    "uniform": UniformSampler(60, 24),
    "latitude": LatitudeSampler(60, 24),
    "Fibonacci": FibonacciSampler(60, 24, view="tangent"),
    "random": RandomSampler(60, 24, view="tangent"),
    "trajectory": TrajectorySampler(60, 24, view="tangent", n_paths=5),
}
figure, axes = plt.subplots(3, 2, figsize=(9, 7), layout="constrained")
for ax, (name, sampler) in zip(axes.flat, samplings.items(), strict=False):
    patches = sampler.transform([scenes[0]])
    ax.imshow(scenes[0], extent=(-180, 180, -90, 90))
    ax.plot(
        patches.field("lon", 0),
        patches.field("lat", 0),
        "o",
        markerfacecolor="white",
        markeredgecolor="black",
        markersize=4,
    )
    ax.set_title(name)
axes.flat[-1].axis("off")

# %%
# The pixels stay in the files until something asks for them. The same place of the sphere, as a view of 90 degrees:

view = tangent_views(scenes[0], lon=[30], lat=[60], fov=90, size=128)[0]
_, ax = plt.subplots(figsize=(3, 3), layout="constrained")
ax.imshow(view)
ax.axis("off")

# %%
# Kept patches of one panorama
# ----------------------------

patches = PatchStatistics().transform(
    samplings["latitude"].transform([manifest.image[1]])
)
selection = select_patches(patches[0], rate=0.3, normalize="columns")
PanoramaSelectionDisplay.from_selection(manifest.image[1], patches, selection)

# %%
# A study
# -------
# Every model learns from all patches, from those that are kept, and from as many random ones, on the same splits by
# scene. What is computed is kept in a folder, and the study goes on there if it is stopped.

study = Study(
    manifest,
    samplings={name: samplings[name] for name in ("latitude", "Fibonacci")},
    models={"SVR": pooled_svr()},
    selector=ResidualPatchSelector(normalize="columns"),
    h=(10,),
    rates=(0.1, 0.3),
    n_seeds=3,
)
results = run_study(study, folder / "study", progress=False)

# %%
# The result table has one row per trained model. Means over the splits:

table = results.cells.groupby(["sampling", "selection", "rate"], sort=False).agg(
    srcc=("srcc", "mean"), sd=("srcc", "std"), models=("srcc", "size")
)
print(table.round(3))

# %%
# A split with one test scene of four pictures tells little, and with six scenes it is no wonder if no row stands out.
# That is what the standard deviations are for. The page with all figures is made by
# ``patchdistill report FOLDER``, and the same study from a file by ``patchdistill study study.yaml --out FOLDER``; see
# :doc:`/user_guide/studies`.
