"""A map and a scorer simple enough to be worked out by hand."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator

from patchdistill.images import LUMA
from patchdistill.relational.channels import CELL


class StubMap(BaseEstimator):
    """Difference of the mean luma in each cell as exposure, nothing else."""

    channel_names_ = ("exposure", "noise")

    def __init__(self, n_jobs=None):
        self.n_jobs = n_jobs

    def predict_map(self, a, ref, geometry="flat"):
        difference = (np.asarray(a, dtype=float) - ref) @ np.array(LUMA) / 255
        height, width = difference.shape
        padded = np.pad(difference, ((0, -height % CELL), (0, -width % CELL)), mode="edge")
        cells = padded.reshape(len(padded) // CELL, CELL, -1, CELL).mean(axis=(1, 3))
        return np.stack([cells, 0 * cells]).astype(np.float32)


class StubScorer:
    """Minus the weighted mean magnitude of exposure."""

    channel_names_ = StubMap.channel_names_

    def __init__(self):
        self.map_ = StubMap()

    def score_map(self, D, weights):
        return 0.0 - float((np.abs(D[0]) * weights).sum() / weights.sum())


@pytest.fixture
def stub_scorer():
    return StubScorer()
