"""How well predicted scores agree with opinion scores, and how sure that is."""

from patchdistill.evaluation.bootstrap import grouped_bootstrap
from patchdistill.evaluation.correlation import agreement, krcc, outlier_ratio, plcc, rmse, srcc
from patchdistill.evaluation.full_reference import psnr, ssim
from patchdistill.evaluation.gradients import gmsd, mdsi
from patchdistill.evaluation.information import vif
from patchdistill.evaluation.mapping import MAPPINGS, ScoreMapping, fit_mapping, logistic4, logistic5
from patchdistill.evaluation.multiscale import ms_ssim
from patchdistill.evaluation.scorers import SCORERS
from patchdistill.evaluation.significance import anova, wilcoxon_over_seeds
from patchdistill.evaluation.spherical import ws_gms, ws_psnr, ws_ssim
from patchdistill.evaluation.splits import (
    ImageShuffleSplit,
    LeaveOneSceneOut,
    SceneKFold,
    SceneShuffleSplit,
    check_split,
)

__all__ = [
    "MAPPINGS",
    "SCORERS",
    "ImageShuffleSplit",
    "LeaveOneSceneOut",
    "SceneKFold",
    "SceneShuffleSplit",
    "ScoreMapping",
    "agreement",
    "anova",
    "check_split",
    "fit_mapping",
    "gmsd",
    "grouped_bootstrap",
    "krcc",
    "logistic4",
    "logistic5",
    "mdsi",
    "ms_ssim",
    "outlier_ratio",
    "plcc",
    "psnr",
    "rmse",
    "srcc",
    "ssim",
    "vif",
    "wilcoxon_over_seeds",
    "ws_gms",
    "ws_psnr",
    "ws_ssim",
]
