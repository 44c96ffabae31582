import os
import subprocess
import sys
from pathlib import Path

OPTIONAL = (
    "torch",
    "skorch",
    "transformers",
    "safetensors",
    "matplotlib",
    "pandas",
    "pyarrow",
    "PIL",
    "skimage",
    "hypothesis",
    "pytest",
)
SCRIPT = """
import numpy as np
import patchdistill, patchdistill.baselines, patchdistill.embedding, patchdistill.evaluation, patchdistill.models
import patchdistill.sampling
from patchdistill import ResidualPatchSelector
image = np.random.default_rng(0).random((64, 96, 3))
bags = patchdistill.embedding.PatchStatistics(n_patches=6, patch_size=32).transform([image])
pooled = patchdistill.models.BagPooling().fit_transform(ResidualPatchSelector().fit_transform(bags))
print(pooled.shape)
"""


def test_the_core_works_where_the_optional_packages_are_missing(tmp_path):
    """Modules of their names that cannot be imported stand in front of the real ones."""
    for name in OPTIONAL:
        (tmp_path / f"{name}.py").write_text(f"raise ModuleNotFoundError('something imported {name}')")
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[1])])
    environment = {**os.environ, "PYTHONPATH": path}
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
