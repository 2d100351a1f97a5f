"""The old name of `python -m segtf.report`."""

import sys

from segtf.report import main

if __name__ == "__main__":
    sys.exit(main())
