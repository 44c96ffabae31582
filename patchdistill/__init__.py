"""patchdistill keeps what matters for image quality: which patches, which features, which pixels."""

from patchdistill.bags import PatchBags
from patchdistill.forms import SinglePatchBagWarning
from patchdistill.problem import ResidualProblem
from patchdistill.selection import PatchSelection, select_patches
from patchdistill.selector import ResidualPatchSelector
from patchdistill.solvers import Solution, solve

__version__ = "0.1.0"

__all__ = [
    "PatchBags",
    "PatchSelection",
    "ResidualPatchSelector",
    "ResidualProblem",
    "SinglePatchBagWarning",
    "Solution",
    "select_patches",
    "solve",
]
