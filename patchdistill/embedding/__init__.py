"""From pixels to features."""

from patchdistill.embedding.statistics import PatchStatistics, patch_statistics

__all__ = ["PatchStatistics", "patch_statistics"]
