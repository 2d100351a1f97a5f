"""The old name of `python -m segtf.compare`."""

import sys

from segtf.compare import main

if __name__ == "__main__":
    sys.exit(main())
