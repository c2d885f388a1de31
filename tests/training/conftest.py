"""The toy method and data set, importable by worker and DDP processes too."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
