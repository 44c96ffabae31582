import importlib.util
import os
from pathlib import Path

import hypothesis
import pytest
import scipy.linalg  # noqa: F401
import threadpoolctl

# Figures are drawn, never shown: the tests run where there is no screen.
os.environ.setdefault("MPLBACKEND", "Agg")

# On a busy machine the first example pays for imports and page faults; a time limit would fail it for nothing. What
# hypothesis chose for this place (the same examples every time under CI) stays as it is otherwise.
hypothesis.settings.register_profile("patchdistill", hypothesis.settings(), deadline=None)
hypothesis.settings.load_profile("patchdistill")

# The matrices of the tests are small: more than one BLAS thread makes them many times slower on a busy machine. Only a
# BLAS that is loaded can be limited, and SciPy has loaded its own and that of NumPy.
threadpoolctl.threadpool_limits(limits=1, user_api="blas")

# So are the networks.
if importlib.util.find_spec("torch"):
    import torch

    torch.set_num_threads(1)

ROOT = Path(__file__).resolve().parent.parent


def pytest_collection_modifyitems(items):
    """Begin with the longest test: at the end, one process would wait for the other that has it."""
    items.sort(key=lambda item: item.name != "test_sphinx_builds_without_warnings")


@pytest.fixture(scope="session")
def data_dir():
    """Folder with real photographs and panoramas: the variable PATCHDISTILL_TEST_DATA, or ../shared/data."""
    folder = Path(os.environ.get("PATCHDISTILL_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"needs real images, and {folder} is not there; set PATCHDISTILL_TEST_DATA to their folder")
    return folder
