"""From pixels to features."""

from patchdistill._compat import lazy_names
from patchdistill.embedding.modules import TorchEmbedder, embed_patches
from patchdistill.embedding.statistics import PatchStatistics, patch_statistics

__all__ = ["PatchStatistics", "TorchEmbedder", "embed_patches", "patch_statistics"]

_TORCH = {"load_weights": ("patchdistill.modules.weights", "torch", "torch")}

__getattr__, __dir__ = lazy_names(__name__, __all__, _TORCH)
