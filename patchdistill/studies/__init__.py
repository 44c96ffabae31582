"""Studies: what a selection does for quality models, over samplings, metrics, h, rates, splits and models."""

from patchdistill.studies.config import read_config
from patchdistill.studies.design import Study
from patchdistill.studies.results import StudyResults, read_study
from patchdistill.studies.run import run_study

__all__ = ["Study", "StudyResults", "read_config", "read_study", "run_study"]
