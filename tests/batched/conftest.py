import numpy as np
import pytest
from _common import RandomFilters, bundled_paths

from patchdistill.images import read_image
from patchdistill.sampling import GridSampler


@pytest.fixture(scope="session")
def photographs():
    """Features of 60 patches of six photographs, float64, as of a network that was never trained."""
    pools = GridSampler(n_patches=60, patch_size=32).fit_transform([read_image(path) for path in bundled_paths()[:6]])
    encode = RandomFilters(256)
    return np.stack([encode(pool) for pool in pools]).astype(np.float64)
