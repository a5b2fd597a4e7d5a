"""`python -m tomoseg` is the command line."""

import sys

from tomoseg.cli import main

if __name__ == "__main__":
    sys.exit(main())
