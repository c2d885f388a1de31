"""``python -m zoo``: the same as the ``zoo`` command."""

import sys

from zoo.cli import main

if __name__ == "__main__":  # worker processes import this file under another name
    sys.exit(main())
