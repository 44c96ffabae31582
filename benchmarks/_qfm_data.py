"""What the study of quality-aware feature matching learns from: pictures, features, labels, and what they show."""

import csv
import re
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from _common import data_folder

from patchdistill.datasets import make_semantic_confound
from patchdistill.embedding import PatchStatistics, TorchEmbedder
from patchdistill.evaluation import SceneShuffleSplit
from patchdistill.images import read_image
from patchdistill.models import BagPooling
from patchdistill.qfm import thumbnail_descriptor
from patchdistill.sampling import GridSampler, RandomCropSampler

# Side of the pictures of dead leaves, and of what the networks see.
SIZE = 64

# Share of the scenes of the photographs that is tested on.
TEST_SHARE = 0.25


@dataclass(frozen=True)
class Part:
    """Images of one side of a split: labels, scenes for validation, descriptors, features by name, patches."""

    y: np.ndarray
    scenes: np.ndarray
    semantics: np.ndarray
    features: dict
    patches: object

    def take(self, images):
        """Give some of the images."""
        return Part(
            self.y[images],
            self.scenes[images],
            self.semantics[images],
            {name: values[images] for name, values in self.features.items()},
            self.patches[images],
        )


@lru_cache(maxsize=2)
def confound_sides(seed, n_train, n_test):
    """Labelled, unlabelled and test images of the first data set."""
    train, test = _confound(seed, n_train, n_test)
    return train.take(np.arange(n_train)), train.take(np.arange(n_train, 2 * n_train)), test


@lru_cache(maxsize=1)
def _all_photographs(smoke):
    """The second data set; where it is missing, a few dead leaves stand in for it."""
    photos = None if smoke else _photographs()
    if photos is not None:
        return photos
    stand_in, _ = _confound(0, 24, 6)
    return Part(stand_in.y, np.arange(48), stand_in.semantics, stand_in.features, stand_in.patches)


def photograph_sides(seed, n_labels, smoke):
    """Labelled, unlabelled and test images of the second data set."""
    photos = _all_photographs(smoke)
    splitter = SceneShuffleSplit(n_splits=seed + 1, test_size=TEST_SHARE, random_state=0)
    train, test = list(splitter.split(groups=photos.scenes))[-1]
    train = np.random.default_rng(seed).permutation(train)
    return photos.take(train[:n_labels]), photos.take(np.sort(train[n_labels:])), photos.take(test)


def _confound(seed, n_train, n_test):
    """Dead leaves whose palettes tell quality in training, and mislead in the test; the scenes are the palettes.

    The training part has twice as many images as are labelled: the second half is for the distillation.
    """
    parts = make_semantic_confound(2 * n_train, n_test, size=SIZE, random_state=seed)
    return tuple(
        Part(part.y, part.cluster, thumbnail_descriptor(part.images), _with_colors(part.images), part.images)
        for part in parts
    )


def _with_colors(images):
    """Features, and statistics side by side with what the descriptor sees, as a trained network has both."""
    features = _features(images[:, None])
    colors = thumbnail_descriptor(images)
    return {**features, "statistics and colors": np.hstack([features["statistics"], colors])}


def _photographs():
    """The 170 images of LIVE In the Wild, or None where they are missing.

    Neighbouring numbers often show the same scene: runs of consecutive numbers are one.
    """
    folder = data_folder() / "rated" / "livec"
    if not folder.is_dir():
        return None
    with open(folder / "livec_mos.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    numbers = np.array([int(re.search(r"\d+", row["original_name"]).group()) for row in rows])
    order = np.argsort(numbers)
    rows = [rows[i] for i in order]
    scenes = np.cumsum(np.diff(numbers[order], prepend=numbers[order][0]) > 1)
    paths = [str(folder / "images" / row["file"]) for row in rows]
    crops = RandomCropSampler(n_patches=4, patch_size=128, random_state=0).transform(paths).load()
    semantics = np.stack([thumbnail_descriptor(read_image(path)[None])[0] for path in paths])
    grid = GridSampler(n_patches=20, patch_size=96).transform(paths).load()
    return Part(np.array([float(row["mos"]) for row in rows]), scenes, semantics, _features(grid), crops)


def _features(patches):
    """Features of images: means and standard deviations over their patches."""
    pooling = BagPooling(stats=("mean",) if len(patches[0]) == 1 else ("mean", "std"))
    statistics = pooling.fit_transform(PatchStatistics().fit_transform(patches))
    network = pooling.fit_transform(TorchEmbedder(vit(), size=SIZE).transform(patches))
    return {"statistics": statistics, "network": network}


def vit():
    """Make a vision transformer that was never trained, the same on every call."""
    import torch
    from transformers import ViTConfig, ViTModel

    config = ViTConfig(
        hidden_size=96,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=192,
        image_size=SIZE,
        patch_size=8,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return ViTModel(config, add_pooling_layer=False).eval()
