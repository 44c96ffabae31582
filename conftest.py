"""Doctests of what needs PyTorch or skorch are left out where these are not installed, as its tests are."""

import importlib.util

MODELS = ("datasets", "frozen", "metric", "networks", "training", "views")
NEEDS = {
    "torch": [
        "patchdistill/batched",
        "patchdistill/modules",
        "patchdistill/embedding/modules.py",
        *(f"patchdistill/models/{name}.py" for name in MODELS),
    ],
    "skorch": ["patchdistill/models/training.py"],
}
collect_ignore = [path for name, paths in NEEDS.items() if not importlib.util.find_spec(name) for path in paths]
