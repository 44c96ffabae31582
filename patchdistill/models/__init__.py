"""From patches to predictions: pooling."""

from patchdistill.models.pooling import BagPooling

__all__ = ["BagPooling"]
