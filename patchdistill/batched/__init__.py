"""Selection for many images at once, on tensors, on the CPU or a GPU.

The one room of the package that imports PyTorch. Its modules bear the names of those whose work they do, for a
batch of images at a time, and take their constants from these.
"""

from patchdistill._compat import import_optional

import_optional("torch", 'backend="torch"', "torch")

from patchdistill.batched.pipeline import BatchSelection  # noqa: E402
from patchdistill.batched.selection import select_batch  # noqa: E402

__all__ = ["BatchSelection", "select_batch"]
