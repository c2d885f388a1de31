"""What stands beside features that ``zoo data make`` made: of which video they are, and how many frames it has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def note_place(features: Path) -> Path:
    """The note of a feature file: ``NAME.npy.json``."""
    return features.with_name(f"{features.name}.json")


def read_note(features: Path) -> dict[str, Any] | None:
    """What is said of a feature file: ``content`` (hash of the video), ``frames``, ``fps``, ``rows``, ``bytes``.

    Args:
        features: The feature file.

    Returns:
        None where there is no note, or the file is not the one it speaks of.
    """
    note = note_place(features)
    if not features.is_file() or not note.is_file():
        return None
    try:
        told: dict[str, Any] = json.loads(note.read_text(encoding="utf-8"))
        whole = told["bytes"] == features.stat().st_size and isinstance(told["content"], str)
        return told if whole and isinstance(told["frames"], int) else None
    except (ValueError, KeyError, TypeError):
        return None
