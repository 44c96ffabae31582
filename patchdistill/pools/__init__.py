"""Embeddings on disk, read one image at a time."""

from patchdistill.pools.files import named_errors, stamp
from patchdistill.pools.formats import open_pools
from patchdistill.pools.pools import Pools

__all__ = ["Pools", "named_errors", "open_pools", "stamp"]
