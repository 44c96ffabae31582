import os
import subprocess
import sys
from pathlib import Path

import pytest

OPTIONAL = ("torch", "matplotlib", "pandas", "pyarrow", "PIL", "skimage", "hypothesis", "pytest")
SCRIPT = """
import numpy as np
import patchdistill, patchdistill.baselines, patchdistill.embedding, patchdistill.models, patchdistill.sampling
from patchdistill import ResidualPatchSelector
image = np.random.default_rng(0).random((64, 96, 3))
bags = patchdistill.embedding.PatchStatistics(n_patches=6, patch_size=32).transform([image])
pooled = patchdistill.models.BagPooling().fit_transform(ResidualPatchSelector().fit_transform(bags))
print(pooled.shape)
"""


@pytest.mark.parametrize("missing", OPTIONAL)
def test_the_core_works_where_an_optional_package_is_missing_or_broken(missing, tmp_path):
    """A package of that name that cannot be imported stands in front of the real one."""
    (tmp_path / f"{missing}.py").write_text("raise ImportError('the core imported it')")
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[1])])
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
