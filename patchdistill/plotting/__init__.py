"""Pictures: which patches of an image were kept, with which score, and what pipelines cost."""

from patchdistill.plotting.compute import ComputeDisplay
from patchdistill.plotting.selection import PanoramaSelectionDisplay, SelectionDisplay

__all__ = ["ComputeDisplay", "PanoramaSelectionDisplay", "SelectionDisplay"]
