"""
Choosing a rate in a scikit-learn pipeline
==========================================

Statistics of the patches, a selection, one row of features per image, a support vector regression: a quality model that
needs no network. A grid search asks how many patches it needs, and random selection stands beside the answer.
"""

# %%
# Pictures, labels, scenes
# ------------------------
# Ten photographs, six distorted versions of each. The label is the structural similarity to the photograph. With a data
# set of your own it is the mean opinion score, and ``pictures`` is a list of paths. ``scenes`` says which photograph a
# version was made from: versions of one scene must not be on both sides of a split.

import tempfile

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import spearmanr
from sklearn.base import clone
from sklearn.metrics import make_scorer
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR

from patchdistill import ResidualPatchSelector
from patchdistill.baselines import RandomPatchSelector
from patchdistill.demo.distortions import distort, similarity_to
from patchdistill.demo.scenes import find_scenes, load_scene
from patchdistill.embedding import PatchStatistics
from patchdistill.models import BagPooling

pictures, labels, scenes = [], [], []
for scene, path in find_scenes()[0].items():
    photograph = load_scene(path, longest_side=320)
    for kind in ("JPEG", "blur", "noise"):
        for level in (2, 4):
            pictures.append(distort(photograph, kind, level))
            labels.append(similarity_to(photograph, pictures[-1]))
            scenes.append(scene)
labels = np.array(labels)
print(
    f"{len(pictures)} pictures of {len(set(scenes))} scenes, "
    f"labels from {labels.min():.2f} to {labels.max():.2f}"
)

# %%
# Features, once
# --------------
# The statistics of a picture are computed without a look at the others, and so they may be computed before any split.
# In a pipeline they would be computed again for every fold and every candidate of a search.

bags = PatchStatistics(n_patches=64, patch_size=48).transform(pictures)
print(bags)

# %%
# A search over rates
# -------------------
# The selector is a step like any other, and its rate a parameter like any other. ``normalize="columns"`` is for
# descriptors of mixed units, such as these. ``memory`` keeps the solution of each image under a key that leaves the
# rate out: the search solves each image once, not once per rate and fold.

folder = tempfile.TemporaryDirectory()
selector = ResidualPatchSelector(normalize="columns", memory=folder.name)
model = make_pipeline(BagPooling(), StandardScaler(), SVR(C=10, epsilon=0.01))
folds = list(GroupKFold(5).split(labels, groups=scenes))
scorer = make_scorer(lambda y, predicted: spearmanr(y, predicted).statistic)
rates = [0.05, 0.1, 0.25, 0.5]


def search(selector):
    """Cross-validate at every rate: the models learn from, and are given, kept patches."""
    pipeline = Pipeline([("select", selector), *model.steps])
    grid = {"select__rate": rates}
    return (
        GridSearchCV(pipeline, grid, scoring=scorer, cv=folds, refit=False)
        .fit(bags, labels)
        .cv_results_
    )


selected = search(selector)["mean_test_score"]
random = np.array(
    [
        search(RandomPatchSelector(random_state=seed))["mean_test_score"]
        for seed in range(5)
    ]
)
of_folds = cross_val_score(model, bags, labels, scoring=scorer, cv=folds)
print("SRCC, mean of five folds")
print("rate  selected  random, five seeds")
for i, rate in enumerate(rates):
    print(
        f"{rate:<4}  {selected[i]:.3f}     "
        f"{random[:, i].mean():.3f} ± {random[:, i].std(ddof=1):.3f}"
    )
print(f"all   {of_folds.mean():.3f}     the folds: {np.round(np.sort(of_folds), 2)}")

# %%
# How to read this: the folds differ from each other by far more than the rows do, and the seeds of random selection by
# as much. On 60 pictures no rate can be told from another, nor the selection from chance, for a model that learns from
# kept patches. A search that reports its best rate alone would hide that; and the score of the best of several rates is
# a little too good, unless an outer loop over other scenes measures it.
#
# What the weights do
# -------------------
# A kept patch stands for others, and its weight says for how many. :class:`~patchdistill.models.BagPooling` uses the
# weights, so that the averages of an image stay close to what all of its patches give. This is of use to a model that
# exists, was trained on all patches, and is now given a few: here one per fold, which predicts the scenes that it did
# not learn from. *Change* is the root mean square difference to what the same model says of all patches.

trained = [clone(model).fit(bags[train], labels[train]) for train, _ in folds]


def predict(kept):
    """Scores from kept patches."""
    predicted = np.empty(len(labels))
    for fitted, (_, test) in zip(trained, folds, strict=True):
        predicted[test] = fitted.predict(kept[test])
    return predicted


on_all = predict(bags)


def change(kept):
    """Difference to the scores from all patches, in deviations of the labels."""
    return np.sqrt(np.mean((predict(kept) - on_all) ** 2)) / labels.std()


changes = {"weights": [], "equal weights": [], "random": []}
for rate in rates:
    kept = selector.set_params(rate=rate).fit_transform(bags)
    changes["weights"].append(change(kept))
    changes["equal weights"].append(
        change(kept.with_values(kept.values, weights=np.ones(len(kept.values))))
    )
    seeds = [RandomPatchSelector(rate, random_state=seed) for seed in range(5)]
    changes["random"].append(
        [change(at_random.fit_transform(bags)) for at_random in seeds]
    )
print("Change of the predictions")
print("rate  weights  equal weights  random, five seeds")
for rate, weighted, equal, seeds in zip(rates, *changes.values(), strict=True):
    print(
        f"{rate:<4}  {weighted:.3f}    {equal:.3f}          "
        f"{np.mean(seeds):.3f} ± {np.std(seeds, ddof=1):.3f}"
    )
folder.cleanup()

# %%
# The scores of a fixed model from selected patches are closer to those from all patches than its scores from random
# ones. The weights need enough patches to stand on: of four patches, 5 %, they are no help here; of half of them, they
# take more than half of what is left of the difference away.
#
# One picture, and both tables
# ----------------------------
# On the left, a tenth of the patches of one picture: the area of a circle is the weight of the patch.

shown = 0
fig, axes = plt.subplots(
    1, 3, figsize=(12, 3.4), layout="constrained", width_ratios=(1.2, 1, 1)
)
kept = selector.set_params(rate=0.1, memory=None).fit_transform(
    bags[shown : shown + 1]
)
top, left, weights = (kept.field(name, 0) for name in ("top", "left", "weights"))
axes[0].imshow(pictures[shown])
axes[0].scatter(
    left + 24,
    top + 24,
    3000 * weights,
    facecolor="none",
    edgecolor="white",
    linewidth=4,
)
axes[0].scatter(
    left + 24,
    top + 24,
    3000 * weights,
    facecolor="none",
    edgecolor="black",
    linewidth=1.5,
)
axes[0].set(
    xticks=[], yticks=[], title=f"{len(top)} of 64 patches, and their weights"
)

axes[1].axhline(of_folds.mean(), color="0.3", linestyle=":", label="all patches")
for axis, of_seeds in ((axes[1], random.T), (axes[2], np.array(changes["random"]))):
    axis.fill_between(
        rates,
        of_seeds.min(axis=1),
        of_seeds.max(axis=1),
        color="0.85",
        label="random, five seeds",
    )
    axis.set(xscale="log", xlabel="share kept", xticks=rates, xticklabels=rates)
    axis.minorticks_off()
    axis.spines[["top", "right"]].set_visible(False)
axes[1].plot(rates, selected, "o-", color="tab:blue", label="selected")
axes[1].set(title="Retrained: SRCC", ylim=(0, 1))
axes[2].plot(rates, changes["weights"], "o-", color="tab:blue", label="selected")
axes[2].plot(
    rates,
    changes["equal weights"],
    "s--",
    color="tab:orange",
    label="selected, equal weights",
)
axes[2].set(title="Fixed: change of the predictions", ylim=(0, None))
for axis in axes[1:]:
    axis.legend(frameon=False, fontsize="small")
plt.show()
