"""Quality-aware feature matching: which features fool a quality model, and models that ignore them."""

from patchdistill._compat import lazy_names
from patchdistill.qfm.descriptors import thumbnail_descriptor
from patchdistill.qfm.matching import QualityMatcher, match_pairs
from patchdistill.qfm.ridge import QFMRidge
from patchdistill.qfm.sensitivity import semantic_sensitivity

_TORCH = {"QFMRegressor": ("patchdistill.qfm.regressor", "torch", "torch")}

__all__ = ["QFMRidge", "QualityMatcher", "match_pairs", "semantic_sensitivity", "thumbnail_descriptor"]

__getattr__, __dir__ = lazy_names(__name__, __all__, _TORCH)
