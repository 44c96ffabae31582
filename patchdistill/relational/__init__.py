"""Relational quality: what got worse between a picture and its reference, where, how much and in which direction."""

from patchdistill._compat import lazy_names
from patchdistill.relational.calibrator import MOSCalibrator
from patchdistill.relational.classical import ClassicalRelationalMap
from patchdistill.relational.description import describe_map
from patchdistill.relational.drawing import Operation
from patchdistill.relational.energy import MapEnergy, MapEnergySelector
from patchdistill.relational.engine import DistortionEngine, RelationalSample
from patchdistill.relational.scorer import RelationalScorer

_TORCH = {
    name: (f"patchdistill.relational.{module}", "torch", "torch")
    for name, module in {
        "ClassicalMapModule": "twin",
        "RelationalLoss": "loss",
        "RelationalMapNet": "network",
        "RelationalPairs": "pairs",
    }.items()
}

__all__ = [
    "ClassicalRelationalMap",
    "DistortionEngine",
    "MOSCalibrator",
    "MapEnergy",
    "MapEnergySelector",
    "Operation",
    "RelationalSample",
    "RelationalScorer",
    "describe_map",
]

__getattr__, __dir__ = lazy_names(__name__, __all__, _TORCH)
