"""Tests that other projects can run on their own selectors: a battery of checks, and hypothesis strategies."""

from patchdistill.testing.checks import bag_checks, parametrize_with_bag_checks

__all__ = ["bag_checks", "parametrize_with_bag_checks"]
