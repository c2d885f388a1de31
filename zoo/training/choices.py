"""Words that a recipe or a data set may hold: refused with the nearest right one where they are none of these."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from zoo.errors import InputError


def nearest(name: str, known: Sequence[str]) -> str:
    """``; did you mean ...?``, or nothing where no known name is similar."""
    found = get_close_matches(name, known, n=1, cutoff=0.7)
    return f"; did you mean {found[0]!r}?" if found else ""


def check_choice(key: str, value: str, known: Sequence[str]) -> None:
    """Refuses a word that is none of the known ones.

    Args:
        key: The recipe's key, e.g. ``model.variant``.
        value: What was given.
        known: What may be given.

    Raises:
        InputError: Names key, word, choices and the nearest of them.
    """
    if value not in known:
        raise InputError(f"{key} must be one of {', '.join(known)}, got {value!r}{nearest(str(value), known)}")
