"""Doctests of what needs PyTorch are left out where it is not installed, as its tests are."""

import importlib.util

collect_ignore = [] if importlib.util.find_spec("torch") else ["patchdistill/batched"]
