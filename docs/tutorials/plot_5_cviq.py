"""
Starting from CVIQ
==================

CVIQ has 16 panoramas, each through three codecs at eleven qualities, with the opinions of people. It cannot be
downloaded here, so that a small synthetic set in exactly its layout takes its place. With the real one, the folder is
the only thing to change.
"""

# %%
# The layout
# ----------
# ``001.png`` to ``544.png``: 34 pictures per scene, eleven of each codec and the reference, and the scores in
# ``CVIQ.mat``. The stand-in has three scenes, JPEG 2000 and WebP in the place of the video codecs, and scores that are
# computed.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
from sklearn.model_selection import cross_val_score

from patchdistill import ResidualPatchSelector
from patchdistill.baselines import RandomPatchSelector
from patchdistill.cli import main
from patchdistill.datasets import make_cviq_like, read_cviq
from patchdistill.embedding import PatchStatistics
from patchdistill.evaluation import SCORERS, ImageShuffleSplit, SceneShuffleSplit
from patchdistill.panorama import LatitudeSampler
from patchdistill.studies import read_study
from patchdistill.studies.config import pooled_svr

root = Path(tempfile.mkdtemp()) / "CVIQ"
make_cviq_like(root, n_scenes=3, height=64)
print(sorted(path.name for path in root.iterdir())[:4])

# %%
# From the layout to a manifest
# -----------------------------

manifest = read_cviq(root)
print(manifest.groupby("distortion").mos.agg(["size", "min", "max"]).round(1))

# %%
# Splits that do not leak
# -----------------------
# A split by picture puts versions of one scene on both sides. The model then knows the scene, and its figures are too
# good; this is refused:

images = manifest.image.tolist()
mos = manifest.mos.to_numpy()
scenes = manifest.scene.to_numpy()
try:
    list(ImageShuffleSplit(n_splits=3).split(images, groups=scenes))
except ValueError as error:
    print(error)

# %%
# By scene, several times, with the seed stated:

splits = SceneShuffleSplit(n_splits=5, test_size=0.34, random_state=0)
patches = LatitudeSampler(n_patches=16, patch_size=16).transform(images)
bags = PatchStatistics().transform(patches)
for name, kept in {
    "all patches": bags,
    "30 % selected": ResidualPatchSelector(
        rate=0.3, normalize="columns"
    ).fit_transform(bags),
    "30 % random": RandomPatchSelector(0.3, random_state=0).fit_transform(bags),
}.items():
    scores = cross_val_score(
        pooled_svr(),
        kept,
        mos,
        groups=scenes,
        cv=splits,
        scoring=SCORERS["srcc"],
    )
    print(f"{name:<14} SRCC {scores.mean():.3f} ± {scores.std(ddof=1):.3f}")

# %%
# The same as a study, from a file
# --------------------------------
# On the command line this is ``patchdistill study study.yaml --out study``, and then ``patchdistill report study``.

(root.parent / "study.yaml").write_text(
    """
manifest: {dataset: cviq, root: CVIQ}
samplings:
  latitude: {sampler: latitude, n_patches: 16, patch_size: 16}
selector: {normalize: columns}
h: [5]
rates: [0.1, 0.3]
models:
  SVR: {model: pooled-svr}
n_seeds: 3
"""
)
out = root.parent / "study"
main(["study", str(root.parent / "study.yaml"), "--out", str(out), "--quiet"])
main(["report", str(out)])

# %%
# One of the figures of the page, and the table behind it:

figure = out / "figures" / "rates.png"
_, ax = plt.subplots(figsize=(9, 4.5), layout="constrained")
ax.imshow(plt.imread(figure))
ax.axis("off")
cells = read_study(out).cells
print(
    cells.groupby(["sampling", "selection", "rate"], sort=False)
    .srcc.agg(["mean", "std"])
    .round(3)
)
