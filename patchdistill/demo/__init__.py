"""The whole path on real photographs, from pictures to a report that can be opened in a browser."""

from patchdistill.demo.run import run_demo

__all__ = ["run_demo"]
