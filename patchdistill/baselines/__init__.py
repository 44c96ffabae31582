"""Selectors to compare with, behind the same estimator API: any claim about a selection has to be better than these."""

from patchdistill.baselines.centers import FacilityLocationSelector, FarthestPointSelector, KMedoidsSelector
from patchdistill.baselines.herding import KernelHerdingSelector
from patchdistill.baselines.kmeans import KMeansSelector
from patchdistill.baselines.published import PublishedPatchSelector
from patchdistill.baselines.random import RandomPatchSelector
from patchdistill.baselines.trimmed import TrimmedMedoidsSelector
from patchdistill.baselines.variance import HighVarianceSelector

__all__ = [
    "FacilityLocationSelector",
    "FarthestPointSelector",
    "HighVarianceSelector",
    "KMeansSelector",
    "KMedoidsSelector",
    "KernelHerdingSelector",
    "PublishedPatchSelector",
    "RandomPatchSelector",
    "TrimmedMedoidsSelector",
]
