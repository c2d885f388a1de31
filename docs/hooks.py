"""What mkdocs asks of this project: pages that are there only after somebody measured come into the navigation."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def on_config(config: Any) -> Any:
    """Adds the page of timings where it was written."""
    if (Path(config.docs_dir) / "bench.md").is_file():
        config.nav.append({"Timings": "bench.md"})
    return config
