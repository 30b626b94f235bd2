"""``python -m cascade``."""

import sys

from cascade.cli import main

# Worker processes run this file too, under another name.
if __name__ == "__main__":
    sys.exit(main())
