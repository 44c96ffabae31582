import tracemalloc

import numpy as np
import pytest

from patchdistill import select_patches
from patchdistill.large import sizes, strata, target

N_FEATURES, STRATUM, BLOCK = 24, 60, 2**13


def peak(n):
    """Most bytes that a selection among n patches allocates at a time."""
    E = np.random.default_rng(0).random((n, N_FEATURES), dtype=np.float32)
    tracemalloc.start()
    try:
        select_patches(E)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_is_linear_in_the_number_of_patches(monkeypatch):
    monkeypatch.setattr(target, "_LANDMARKS", 60)
    monkeypatch.setattr(strata, "_STRATUM", STRATUM)
    monkeypatch.setattr(sizes, "_BLOCK", BLOCK)
    peak(200)  # what is imported or cached once
    small, large = peak(1500), peak(3000)
    assert large < 2.2 * small
    # A few copies of the embeddings and of twenty eigenvectors, blocks, and matrices of a stratum or of features.
    copies = 8 * 3000 * (6 * N_FEATURES + 6 * 20)
    assert large < copies + 8 * (8 * BLOCK + 12 * STRATUM**2 + 6 * N_FEATURES**2)
    assert large < 8 * 3000**2 / 6


@pytest.mark.parametrize("metric", ["manhattan", "mahalanobis", "cosine"])
def test_no_metric_needs_a_matrix_of_all_distances(metric, monkeypatch):
    monkeypatch.setattr(sizes, "_BLOCK", BLOCK)
    E = np.random.default_rng(0).random((2000, 8))
    select_patches(E[:50], metric=metric, coverage=None)
    tracemalloc.start()
    select_patches(E, metric=metric, coverage=None)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 8 * 2000**2 / 4
