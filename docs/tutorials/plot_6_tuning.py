"""
Tuning a denoiser and an encoder
================================

How strong should a denoiser be, and how small may a file become? Where there is a clean picture to compare with, a
distortion map answers both: as a loss with a gradient, and as a score. Neither has seen an opinion score, and both are
checked on pictures and by measures that had no part in the tuning.
"""

# %%
# Pictures
# --------
# Two photographs that come with scikit-learn: the denoiser is tuned on the flower and tested on the palace.

import io

import matplotlib.pyplot as plt
import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from torch.nn import functional

from patchdistill.evaluation import ms_ssim, psnr, ssim
from patchdistill.relational import (
    ClassicalMapModule,
    ClassicalRelationalMap,
    RelationalLoss,
    RelationalScorer,
)

torch.set_num_threads(1)

palace, flower = (
    np.ascontiguousarray(image[150:342, 200:392])
    for image in load_sample_images().images
)


def to_tensor(picture):
    """Give a picture as networks take it: (1, 3, height, width) in [0, 1]."""
    return torch.from_numpy(picture / np.float32(255)).permute(2, 0, 1)[None]


def to_picture(tensor):
    """Give it back as an array."""
    pixels = tensor[0].detach().permute(1, 2, 0).clamp(0, 1)
    return np.rint(255 * pixels.numpy()).astype(np.uint8)


def add_noise(clean, seed, deviation=0.06):
    """Take the picture with a camera that is too small."""
    generator = torch.Generator().manual_seed(seed)
    grain = torch.randn(clean.shape, generator=generator)
    return (clean + deviation * grain).clamp(0, 1)


# %%
# A denoiser with one knob
# ------------------------
# Wiener's filter leaves more of a neighborhood's contrast the more there is beside the noise that it expects. If it
# expects too little, noise stays; if it expects too much, the picture blurs.


def denoise(noisy, deviation, window=5):
    """Filter noise of this standard deviation."""

    def mean(values):
        border = [window // 2] * 4
        return functional.avg_pool2d(
            functional.pad(values, border, mode="reflect"), window, stride=1
        )

    center = mean(noisy)
    variance = (mean(noisy**2) - center**2).clamp(min=1e-6)
    return center + variance / (variance + deviation**2) * (noisy - center)


# %%
# Down the gradient
# -----------------
# :class:`~patchdistill.relational.RelationalLoss` asks a frozen distortion map what is wrong: noise that is left, and
# sharpness that is lost. From either end its gradient leads to the same setting.

loss = RelationalLoss(ClassicalMapModule(ClassicalRelationalMap.pretrained()))
clean = to_tensor(flower)
noisy = add_noise(clean, seed=0)


def tune(start, n_steps=24):
    """Follow the gradient of the logarithm of the deviation."""
    log_deviation = torch.tensor(np.log(start), requires_grad=True)
    optimizer = torch.optim.Adam([log_deviation], lr=0.3, betas=(0.7, 0.9))
    path = [start]
    for _ in range(n_steps):
        optimizer.zero_grad()
        loss(denoise(noisy, log_deviation.exp()), ref=clean).backward()
        optimizer.step()
        path.append(log_deviation.exp().item())
    return path


paths = {start: tune(start) for start in (0.01, 0.5)}
tuned = float(np.sqrt(paths[0.01][-1] * paths[0.5][-1]))
print({start: round(path[-1], 3) for start, path in paths.items()})

# %%
# On the other picture, with other noise, and by measures that know nothing of distortion maps:

clean_test = to_tensor(palace)
noisy_test = add_noise(clean_test, seed=1)
settings = np.geomspace(0.01, 0.5, 12)
results = [to_picture(denoise(noisy_test, deviation)) for deviation in settings]
for name, deviation in (("weak", 0.01), ("tuned", tuned), ("strong", 0.5)):
    result = to_picture(denoise(noisy_test, deviation))
    print(
        f"{name:6}  PSNR {psnr(palace, result):.2f} dB  SSIM {ssim(palace, result):.3f}"
    )

figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
for path in paths.values():
    axes[0].plot(path, "o-", markersize=3)
axes[0].set(yscale="log", xlabel="step", ylabel="deviation", title="Tuning, flower")
axes[1].plot(settings, [ssim(palace, result) for result in results], color="0.3")
axes[1].axvline(tuned, color="tab:blue", linestyle="--", label="tuned")
axes[1].set(xscale="log", xlabel="deviation", title="SSIM, palace")
axes[1].legend(frameon=False)
for ax in axes:
    ax.spines[["top", "right"]].set_visible(False)

# %%
# An encoder without a gradient
# -----------------------------
# JPEG rounds, so nothing can be differentiated; but its quality is one number, and
# :class:`~patchdistill.relational.RelationalScorer` falls with it. Bisection finds the smallest file whose score stays
# above a budget. A score of -0.15 is as bad as the level 0.15 of one distortion over the whole picture.

scorer = RelationalScorer.pretrained()


def encode(picture, quality):
    """Give the picture after JPEG, and the size of the file in bytes."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file)), file.tell()


def smallest_quality(picture, budget, low=5, high=95):
    """Find the lowest quality whose score is at least the budget."""
    while low < high:
        middle = (low + high) // 2
        if scorer.score(encode(picture, middle)[0], ref=picture) >= budget:
            high = middle
        else:
            low = middle + 1
    return low


for name, picture in (("palace", palace), ("flower", flower)):
    for quality in (10, smallest_quality(picture, budget=-0.15), 95):
        result, n_bytes = encode(picture, quality)
        print(
            f"{name}  quality {quality}  {n_bytes / 1024:5.1f} kB  "
            f"score {scorer.score(result, ref=picture):.2f}  "
            f"MS-SSIM {ms_ssim(picture, result):.3f}"
        )

# %%
# What this shows, and what not
# -----------------------------
# The denoiser ends, from either side, at a setting that is better than both by PSNR and SSIM of another picture. It is
# not the setting that SSIM itself would take: the map minds lost sharpness less, and left noise more. The encoder ends
# between a file that shows its blocks and one that is several times as large and hardly better.
#
# A budget gives each picture a quality of its own. Who wants equal SSIM should ask for that; the score asks for equal
# distortion.
