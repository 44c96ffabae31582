"""
Training a network on kept patches
==================================

Pixels go in, patches are chosen by their statistics, and a small convolutional network learns from the pixels of those
that are kept. The labels are standardized, training stops early on scenes set aside, and what every stage costs is
measured.
"""

# %%
# Pictures and pools of patches
# -----------------------------
# Ten photographs, each blurred and with noise, two levels of both. The label is the structural similarity to the
# photograph, from 0 to 100. :class:`~patchdistill.sampling.GridSampler` cuts 24 patches out of every picture.

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.stats import spearmanr
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import EarlyStopping
from skorch.dataset import ValidSplit

from patchdistill import ResidualPatchSelector
from patchdistill.baselines import RandomPatchSelector
from patchdistill.demo.distortions import distort, similarity_to
from patchdistill.demo.scenes import find_scenes, load_scene
from patchdistill.embedding import PatchStatistics
from patchdistill.models import BagNetRegressor, PatchCNN, compute_report
from patchdistill.plotting import ComputeDisplay
from patchdistill.sampling import GridSampler

torch.set_num_threads(1)  # so small a network is faster so

pictures, labels, scenes = [], [], []
for scene, path in find_scenes()[0].items():
    photograph = load_scene(path, longest_side=256)
    for kind in ("blur", "noise"):
        for level in (2, 5):
            pictures.append(distort(photograph, kind, level))
            labels.append(100 * similarity_to(photograph, pictures[-1]))
            scenes.append(scene)
labels, scenes = np.array(labels), np.array(scenes)
pools = GridSampler(n_patches=24, patch_size=32).transform(pictures)
print(pools)

# %%
# Features to select by, pixels to learn from
# -------------------------------------------
# On pools, :class:`~patchdistill.embedding.PatchStatistics` puts the features in the place of the pixels and gives the
# pixels along as a field; so does :class:`~patchdistill.embedding.TorchEmbedder`. The selector reads the features, and
# all fields follow it.

bags = PatchStatistics().transform(pools)
print(bags)

# %%
# The network
# -----------
# :class:`~patchdistill.models.BagNetRegressor` is skorch's regressor for images with patches. ``dataset__field`` names
# what the network is given. ``ValidSplit(GroupKFold(4))`` sets a quarter of the training scenes aside for early
# stopping; it has to be told the scenes, as ``groups`` of :meth:`~patchdistill.models.BagNetRegressor.fit`. Labels of 0
# to 100 are learned slowly, so they are standardized around the network.

net = BagNetRegressor(
    PatchCNN,
    module__channels=(8, 16, 32),
    dataset__field="pixels",
    optimizer=torch.optim.Adam,
    lr=0.003,
    max_epochs=10,
    batch_size=4,
    train_split=ValidSplit(GroupKFold(4)),
    callbacks=[
        ("stop", EarlyStopping(patience=4, load_best=True, sink=lambda _: None))
    ],
    verbose=0,
)
model = TransformedTargetRegressor(net, transformer=StandardScaler())

# %%
# Cross-validation over scenes
# ----------------------------
# Neither the features nor the selection of a picture depend on other pictures, and both are made once, before the
# split. ``params`` hands the scenes of the training pictures on to the network; in a pipeline with a step ``model`` it
# is ``{"model__groups": scenes}``. Random selection has a seed, and the training has one too: three of each, and one
# training on all patches.

folds = list(GroupKFold(3).split(labels, groups=scenes))


def cross_validate(kept, seed):
    """Scores by networks that did not see the scene, and the mean SRCC."""
    seeded = clone(model).set_params(regressor__random_state=seed)
    predicted = cross_val_predict(
        seeded, kept, labels, cv=folds, params={"groups": scenes}
    )
    return predicted, np.mean(
        [spearmanr(labels[test], predicted[test]).statistic for _, test in folds]
    )


kept = ResidualPatchSelector(rate=6, normalize="columns").fit_transform(bags)
selected = [cross_validate(kept, seed) for seed in range(3)]
random = [
    cross_validate(
        RandomPatchSelector(6, random_state=seed).fit_transform(bags), seed
    )
    for seed in range(3)
]
on_all = [cross_validate(bags, 0)]
for name, runs in (
    ("6 selected", selected),
    ("6 random", random),
    ("all 24", on_all),
):
    print(f"{name:<10}  SRCC", *(f"{srcc:.3f}" for _, srcc in runs))

# %%
# The seeds of one row differ by about as much as the rows do. Forty pictures do not tell which patches are best to
# learn from; what they show is that the parts go together.
#
# What it costs
# -------------
# All patches are cut and embedded before some are kept. A network on pixels needs no embedding when it gets all
# patches, or random ones. :func:`~patchdistill.models.compute_report` therefore gets three pipelines, and measures each
# stage of each in training and in inference. Early stopping would end each training after another number of epochs, and
# is left out. (With it, the scenes are given as ``fit_params={"model__groups": scenes}``.)

whole = clone(model).set_params(
    regressor__train_split=None, regressor__callbacks=None
)
sample = ("sample", GridSampler(n_patches=24, patch_size=32))
report = compute_report(
    {
        "6 selected": Pipeline(
            [
                sample,
                ("embed", PatchStatistics()),
                ("select", ResidualPatchSelector(rate=6, normalize="columns")),
                ("model", whole),
            ]
        ),
        "6 random": Pipeline(
            [sample, ("select", RandomPatchSelector(rate=6)), ("model", whole)]
        ),
        "all 24": Pipeline([sample, ("model", whole)]),
    },
    pictures[:16],
    labels[:16],
    count_flops=False,
)
print(report)
in_training, in_inference = (
    report.ratio("6 selected", "all 24", phase)
    for phase in ("training", "inference")
)
print(
    "selected, as a share of all patches: "
    f"{in_training:.0%} in training, {in_inference:.0%} in inference"
)

# %%
# A loss, and not a small one: this network takes less time for 24 patches than statistics and selection do for finding
# six of them. Random patches need neither, and are what a selection has to be worth more than. In training the two are
# paid once and the network passes over the patches ten times, but here that is not enough. A selection saves time in
# front of networks that are slow; the next tutorial has one.

fig, (left, right) = plt.subplots(
    1, 2, figsize=(12, 4), layout="constrained", width_ratios=(1, 1.4)
)
for scene in np.unique(scenes):
    left.scatter(
        labels[scenes == scene], selected[0][0][scenes == scene], s=18, label=scene
    )
left.plot([20, 100], [20, 100], color="0.7", zorder=0)
left.set(
    xlabel="structural similarity x 100",
    ylabel="score of the network",
    title="6 selected patches, scenes not seen",
)
left.legend(fontsize="x-small", ncols=2, frameon=False)
left.spines[["top", "right"]].set_visible(False)
ComputeDisplay.from_report(report, ax=right)
right.set_title("Cost of 16 pictures")
plt.show()
