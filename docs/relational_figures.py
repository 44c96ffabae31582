"""Figures of the page "What changed, where and how much"."""

import matplotlib.pyplot as plt
from sklearn.datasets import load_sample_images

from patchdistill.codecs import to_8_bits
from patchdistill.plotting import DistortionMapDisplay
from patchdistill.relational import ClassicalRelationalMap, DistortionEngine, Operation


def distortion_maps():
    """Draw a photograph that is blurred on one side and noisy in a patch, with the maps of both."""
    reference = load_sample_images().images[0][:384, :512]
    ops = [Operation("sharpness", -0.6, "half", seed=3), Operation("noise", 0.6, "box", seed=1)]
    version = DistortionEngine().replay(reference, ops)[0]
    model = ClassicalRelationalMap.pretrained()
    figure, axes = plt.subplots(1, 3, figsize=(11, 2.9), layout="constrained")
    axes[0].imshow(to_8_bits(version))
    axes[0].set(title="the version", xticks=[], yticks=[])
    display = DistortionMapDisplay.from_pair(model, version, reference)
    # One bar of colors for both: the scale is the same.
    display.plot(axes[1], channel="sharpness", colorbar=False)
    display.plot(axes[2], channel="noise")
    return figure


RELATIONAL_FIGURES = {"distortion_maps": distortion_maps}
