"""The command line, as `python -m tlkit`."""

import sys

from tlkit.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
