"""How well predicted scores agree with opinion scores."""

from patchdistill.evaluation.mapping import MAPPINGS, ScoreMapping, fit_mapping, logistic4, logistic5

__all__ = ["MAPPINGS", "ScoreMapping", "fit_mapping", "logistic4", "logistic5"]
