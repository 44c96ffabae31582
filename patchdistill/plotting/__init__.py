"""Pictures: which patches of an image were kept, with which score, what changed in it, and what pipelines cost."""

from patchdistill.plotting.compute import ComputeDisplay
from patchdistill.plotting.distortion import DistortionMapDisplay
from patchdistill.plotting.selection import PanoramaSelectionDisplay, SelectionDisplay

__all__ = ["ComputeDisplay", "DistortionMapDisplay", "PanoramaSelectionDisplay", "SelectionDisplay"]
