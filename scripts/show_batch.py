"""The old name of `python -m segtf.show_batch`."""

import sys

from segtf.show_batch import main

if __name__ == "__main__":
    sys.exit(main())
