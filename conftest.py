"""Doctests of what needs PyTorch are left out where it is not installed, as its tests are."""

import importlib.util

NEED_TORCH = [
    "patchdistill/batched",
    "patchdistill/modules",
    "patchdistill/embedding/modules.py",
    *(f"patchdistill/models/{name}.py" for name in ("datasets", "frozen", "metric", "networks", "training", "views")),
]
collect_ignore = [] if importlib.util.find_spec("torch") else NEED_TORCH
