"""What mkdocs asks of this project: pages that are there only after somebody measured come into the navigation."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def on_config(config: Any) -> Any:
    """Adds the pages of timings and of faults where they were written."""
    for title, page in (("Timings", "bench.md"), ("Faults", "faults.md")):
        if (Path(config.docs_dir) / page).is_file():
            config.nav.append({title: page})
    return config
