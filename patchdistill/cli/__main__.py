"""``python -m patchdistill.cli``."""

import sys

from patchdistill.cli import main

if __name__ == "__main__":
    sys.exit(main())
