"""``python -m lightning_cr``."""

import sys

from lightning_cr.cli import main

if __name__ == "__main__":
    sys.exit(main())
