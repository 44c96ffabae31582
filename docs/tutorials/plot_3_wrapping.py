"""
Selecting for somebody else's network, and for a metric
=======================================================

A network from another library, used as it is: it embeds the patches, scores the kept ones, and is trained on them in a
plain loop of PyTorch. Then a full-reference metric, on kept patches and on whole pictures. Last, what it costs.

The network is a vision transformer of ``transformers`` with random weights, because nothing is downloaded here. It
knows nothing about quality, and its agreement with the labels says nothing about selection. What can be seen is how
close a score of kept patches is to the score of all patches, which does not depend on what the score means.
"""

# %%
# Pictures and network
# --------------------
# Weights of your own are put into a network by :func:`~patchdistill.embedding.load_weights`.

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.stats import spearmanr
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from torch import nn
from torch.utils.data import DataLoader
from transformers import ViTConfig, ViTForImageClassification

from patchdistill import ResidualPatchSelector
from patchdistill.baselines import RandomPatchSelector
from patchdistill.demo.distortions import distort, similarity_to
from patchdistill.demo.scenes import find_scenes, load_scene
from patchdistill.embedding import PatchStatistics, TorchEmbedder
from patchdistill.models import (
    BagDataset,
    FrozenModuleRegressor,
    PatchMean,
    Preprocess,
    SelectedPatches,
    SelectiveMetric,
    compute_report,
    pad_collate,
)
from patchdistill.plotting import ComputeDisplay
from patchdistill.sampling import GridSampler

torch.set_num_threads(1)
torch.manual_seed(0)

pictures, references, labels, scenes = [], [], [], []
for scene, path in find_scenes()[0].items():
    photograph = load_scene(path, longest_side=256)
    for kind in ("blur", "noise"):
        for level in (2, 4):
            pictures.append(distort(photograph, kind, level))
            references.append(photograph)
            labels.append(similarity_to(photograph, pictures[-1]))
            scenes.append(scene)
labels, scenes = np.array(labels), np.array(scenes)


def make_network(width, depth):
    """Vision transformer for patches of 32 x 32 pixels, with one output."""
    config = ViTConfig(
        image_size=32,
        patch_size=8,
        hidden_size=width,
        num_hidden_layers=depth,
        num_attention_heads=4,
        intermediate_size=4 * width,
        num_labels=1,
    )
    return ViTForImageClassification(config)


network = make_network(width=96, depth=3)
inputs = {
    "mean": (0.5, 0.5, 0.5),
    "std": (0.5, 0.5, 0.5),
}  # what the network expects, see its model card

# %%
# Embed, select, score
# --------------------
# The backbone embeds, the whole network scores. Both get pixels as they are stored, and bring them into the form that
# ``inputs`` says. Neither is changed: it is run in evaluation mode, without gradients, and is afterwards as it was.

pools = GridSampler(n_patches=30, patch_size=32).transform(pictures)
bags = TorchEmbedder(network.vit, **inputs).transform(pools)
scorer = FrozenModuleRegressor(network, field="pixels", **inputs)
on_all = scorer.predict(bags)


def change(scores):
    """Difference to the scores from all patches, in standard deviations of these."""
    return np.sqrt(np.mean((scores - on_all) ** 2)) / on_all.std()


print("Change of the scores")
print("patches  selected  equal weights  random, five seeds")
for rate in (3, 8):
    kept = ResidualPatchSelector(rate=rate).fit_transform(bags)
    selected = change(scorer.predict(kept))
    equal = change(
        FrozenModuleRegressor(
            network, field="pixels", aggregate="mean", **inputs
        ).predict(kept)
    )
    seeds = [
        change(
            scorer.predict(
                RandomPatchSelector(rate, random_state=seed).fit_transform(bags)
            )
        )
        for seed in range(5)
    ]
    print(
        f"{rate:<7}  {selected:.3f}     {equal:.3f}          "
        f"{np.mean(seeds):.3f} ± {np.std(seeds, ddof=1):.3f}"
    )

# %%
# Selected by the network's own features and counted by their weights, a few patches give a score that is closer to that
# of all patches than random ones do. The weights are a good part of that.
#
# A score has its own scale. ``mapping="logistic4"`` fits the customary curve from scores to labels, on the training
# scenes alone.

mapped = FrozenModuleRegressor(
    network, mapping="logistic4", field="pixels", **inputs
)
for name, selector in (
    ("all 30", "passthrough"),
    ("8 selected", ResidualPatchSelector(rate=8)),
    *(
        (f"8 random, seed {seed}", RandomPatchSelector(8, random_state=seed))
        for seed in range(3)
    ),
):
    pipeline = Pipeline([("select", selector), ("model", mapped)])
    predicted = cross_val_predict(
        pipeline, bags, labels, groups=scenes, cv=GroupKFold(3)
    )
    rmse = np.sqrt(np.mean((predicted - labels) ** 2))
    srcc = spearmanr(predicted, labels).statistic
    print(f"{name:<17} SRCC {srcc:+.2f}, RMSE {rmse:.2f}")
print(f"standard deviation of the labels: {labels.std():.2f}")

# %%
# As was to be expected of random weights: no row predicts anything, and an error that is larger than the standard
# deviation of the labels is a curve fitted to noise. With a network that was trained for quality, look at these two
# columns first.
#
# In a training loop of your own
# ------------------------------
# :class:`~patchdistill.models.SelectedPatches` is a view of a data set with one item per image, and gives the kept
# patches alone. With ``rate="auto"`` each picture keeps as many as its averages need, and
# :func:`~patchdistill.models.pad_collate` makes a batch of them with a mask. :class:`~patchdistill.models.PatchMean`
# scores the patches that are real by any network, which it copies. Here it trains on seven scenes.

kept = ResidualPatchSelector(rate="auto").fit(bags).selected_idx_
counts = [len(of_image) for of_image in kept]
print(f"{min(counts)} to {max(counts)} of 30 patches are kept")

images = BagDataset(pools, (labels - labels.mean()) / labels.std())
training = np.flatnonzero(np.isin(scenes, np.unique(scenes)[:7]))
views = torch.utils.data.Subset(SelectedPatches(images, kept), training)
loader = DataLoader(views, batch_size=6, shuffle=True, collate_fn=pad_collate)
model = PatchMean(nn.Sequential(Preprocess(**inputs), network))
optimizer = torch.optim.Adam(model.parameters(), lr=5e-4)
for epoch in range(6):
    losses = []
    for batch, targets in loader:
        loss = nn.functional.mse_loss(
            model(batch["patches"], batch["mask"]), targets
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    print(f"epoch {epoch}: training loss {np.mean(losses):.2f}")

# %%
# A full-reference metric
# -----------------------
# Any function of tensors (n, 3, height, width) in [0, 1] that gives one number per row, as the metrics of pyiqa, piq
# and torchmetrics do. Patches are selected on the picture under test and cut out of both pictures at the same places.


def psnr(test, reference):
    """Peak signal-to-noise ratio in decibels."""
    return -10 * torch.log10(((test - reference) ** 2).mean(dim=(1, 2, 3)))


def as_tensor(picture):
    """One picture as metrics take it."""
    return torch.from_numpy(picture.copy()).movedim(-1, 0)[None] / 255


def scores_of(metric):
    """Scores of all pictures."""
    pairs = zip(pictures, references, strict=True)
    return np.array(
        [
            metric(as_tensor(test), as_tensor(reference)).item()
            for test, reference in pairs
        ]
    )


on_whole = scores_of(psnr)
statistics = PatchStatistics(n_patches=30, patch_size=32)
selector = make_pipeline(
    statistics, ResidualPatchSelector(rate=8, normalize="columns")
)
selected = scores_of(SelectiveMetric(psnr, selector))
grid = GridSampler(n_patches=30, patch_size=32)
every = scores_of(
    SelectiveMetric(psnr, make_pipeline(grid, RandomPatchSelector(rate=1.0)))
)
at_random = [
    make_pipeline(grid, RandomPatchSelector(8, random_state=seed))
    for seed in range(5)
]
random = [scores_of(SelectiveMetric(psnr, selector)) for selector in at_random]

print("PSNR                SRCC with SSIM  distance to all patches (dB)")
for name, scores in (
    ("whole pictures", on_whole),
    ("30 patches", every),
    ("8 selected", selected),
    *((f"8 random, seed {seed}", scores) for seed, scores in enumerate(random)),
):
    distance = np.sqrt(np.mean((scores - every) ** 2))
    print(
        f"{name:<19} {spearmanr(scores, labels).statistic:.3f}           {distance:.2f}"
    )

# %%
# A mean of decibels is not the decibels of a mean: on patches, kept or all, this is another metric than on whole
# pictures. Selected patches are about as close to all patches as the better ones of the random selections. PSNR takes
# less time than the selection does. Selecting pays for metrics that are slow.
#
# What it costs, end to end
# -------------------------
# The network of this section has the width and depth of ViT-Tiny and is slow beside the selection. Embedding with its
# own backbone sends all patches through it, and then there is nothing left to save. Its first layer is a small part of
# it, and statistics need no network. ``layer`` is any name of ``named_modules()``; what is behind that layer is not
# run.

slow = make_network(width=192, depth=12)
first_layer = next(
    name for name, _ in slow.vit.named_modules() if name.endswith(".0")
)
embedders = {
    "backbone": TorchEmbedder(slow.vit, **inputs),
    f"layer {first_layer!r}": TorchEmbedder(slow.vit, layer=first_layer, **inputs),
    "statistics": PatchStatistics(),
}
score = ("score", FrozenModuleRegressor(slow, field="pixels", **inputs))
pipelines = {}
for name, embedder in embedders.items():
    selector = ResidualPatchSelector(
        rate=8, normalize="columns" if name == "statistics" else "rows"
    )
    pipelines[f"8 by {name}"] = Pipeline(
        [("sample", grid), ("embed", embedder), ("select", selector), score]
    )
pipelines["all 30"] = Pipeline([("sample", grid), score])
pipelines["8 random"] = Pipeline(
    [("sample", grid), ("select", RandomPatchSelector(8)), score]
)
for pipeline in pipelines.values():
    pipeline.fit(pictures[:1], labels[:1])  # nothing is learned
report = compute_report(pipelines, pictures[:3])
for name in pipelines:
    print(
        f"{name:<24} {report.ratio(name, 'all 30'):.0%} of the time, "
        f"{report.flops(name) / 1e9:.1f} GFLOP counted"
    )

# %%
# Whether a selection that costs so much is worth more than random patches, which cost less, is what the first table of
# this page is about, for a network and weights of your own.

fig, (left, right) = plt.subplots(
    1, 2, figsize=(12, 4), layout="constrained", width_ratios=(1, 1.5)
)
left.scatter(every, random[0], s=16, color="0.6", label="8 random")
left.scatter(every, selected, s=16, color="tab:blue", label="8 selected")
left.plot([18, 50], [18, 50], color="0.8", zorder=0)
left.set(
    xlabel="PSNR of 30 patches (dB)",
    ylabel="PSNR of 8 patches (dB)",
    title="A metric on kept patches",
)
left.legend(frameon=False)
left.spines[["top", "right"]].set_visible(False)
ComputeDisplay.from_report(report, ax=right)
right.set_title("Inference on three pictures")
plt.show()
