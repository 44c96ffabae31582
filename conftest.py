"""Doctests of what needs PyTorch or skorch are left out where these are not installed, as its tests are."""

import importlib.util

MODELS = ("datasets", "frozen", "metric", "networks", "training", "views")
QFM = (
    *("bank", "distillation", "heads", "inputs", "losses", "networks"),
    *("perturbation", "preparation", "readout", "regressor", "training"),
)
RELATIONAL = ("encoder", "loss", "map_losses", "map_training", "network", "pairs", "twin")
NEEDS = {
    "torch": [
        "patchdistill/batched",
        "patchdistill/modules",
        "patchdistill/embedding/modules.py",
        *(f"patchdistill/models/{name}.py" for name in MODELS),
        *(f"patchdistill/qfm/{name}.py" for name in QFM),
        *(f"patchdistill/relational/{name}.py" for name in RELATIONAL),
    ],
    "skorch": ["patchdistill/models/training.py"],
}
collect_ignore = [path for name, paths in NEEDS.items() if not importlib.util.find_spec(name) for path in paths]
