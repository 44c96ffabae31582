import os
import subprocess
import sys
from pathlib import Path

import pytest

import patchdistill.embedding
import patchdistill.models
import patchdistill.qfm
import patchdistill.relational

OPTIONAL = (
    "torch",
    "skorch",
    "transformers",
    "safetensors",
    "matplotlib",
    "pandas",
    "pyarrow",
    "yaml",
    "PIL",
    "skimage",
    "hypothesis",
    "pytest",
)
SCRIPT = """
import numpy as np
import patchdistill, patchdistill.baselines, patchdistill.datasets, patchdistill.embedding, patchdistill.evaluation
import patchdistill.models, patchdistill.panorama, patchdistill.plotting, patchdistill.qfm, patchdistill.relational
import patchdistill.sampling, patchdistill.studies, patchdistill.studies.page
from patchdistill import ResidualPatchSelector
image = np.random.default_rng(0).random((64, 128, 3))
views = patchdistill.panorama.FibonacciSampler(n_patches=6, patch_size=32, view="tangent").transform([image])
bags = patchdistill.embedding.PatchStatistics().transform(views)
patchdistill.evaluation.agreement([1, 2, 3], [1, 3, 2], mapping="linear")
patchdistill.evaluation.ws_ssim(image, image)
patchdistill.relational.RelationalScorer.pretrained().score(image, ref=image)
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


@pytest.mark.parametrize(
    "package",
    [patchdistill.embedding, patchdistill.models, patchdistill.qfm, patchdistill.relational],
    ids=lambda package: package.__name__,
)
def test_names_that_need_optional_packages_are_listed_and_the_rest_can_be_starred(package):
    assert set(package.__all__) < set(dir(package))
    namespace = {}
    exec(f"from {package.__name__} import *", namespace)
    assert set(package.__all__) <= set(namespace)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        package.nothing  # noqa: B018


@pytest.mark.parametrize(
    "package",
    [patchdistill.embedding, patchdistill.models, patchdistill.qfm, patchdistill.relational],
    ids=lambda package: package.__name__,
)
def test_every_name_that_is_listed_is_there(package):
    pytest.importorskip("torch")
    pytest.importorskip("skorch")
    for name in dir(package):
        assert getattr(package, name).__name__ == name
