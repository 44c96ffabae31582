"""From patches to predictions: pooling, patch-wise and trained models, and what stands around other people's models."""

from patchdistill._compat import lazy_names
from patchdistill.models.adjacency import view_adjacency
from patchdistill.models.compute import ComputeReport, compute_report
from patchdistill.models.fixed_k import FixedK, fixed_k_indices
from patchdistill.models.frozen import FrozenModuleRegressor
from patchdistill.models.patchwise import PatchwiseRegressor
from patchdistill.models.pooling import BagPooling
from patchdistill.models.sequences import SequenceSelector

# What needs an optional package is imported when it is first asked for, and is no part of `import *`.
_TORCH = {
    name: (f"patchdistill.{module}", "torch", "torch")
    for name, module in {
        "BagDataset": "models.datasets",
        "pad_collate": "models.datasets",
        "SelectedPatches": "models.views",
        "select_indices": "models.views",
        "SelectiveMetric": "models.metric",
        "PatchCNN": "models.networks",
        "PatchMean": "models.networks",
        "PatchTransformer": "models.networks",
        "Preprocess": "modules.preprocessing",
    }.items()
}
_SKORCH = {"BagNetRegressor": ("patchdistill.models.training", "skorch", "models")}

__all__ = [
    "BagPooling",
    "ComputeReport",
    "FixedK",
    "FrozenModuleRegressor",
    "PatchwiseRegressor",
    "SequenceSelector",
    "compute_report",
    "fixed_k_indices",
    "view_adjacency",
]

__getattr__, __dir__ = lazy_names(__name__, __all__, {**_TORCH, **_SKORCH})
