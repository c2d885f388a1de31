"""What is wrong with data that was skipped, counted by kind: for the log and for the run folder."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping

# the first that fits counts; the words are those of the readers' own messages, as long as no name of a file has them
KINDS = {
    "missing file": r"there is no (such )?(image|file|annotation)|no such|no feature file|no picture|is no image of",
    "empty file": r"the (file|list) is empty|: is empty|\b0 bytes",
    "damaged file": r"is damaged|cut off|file is truncated|truncated file|no image that can be read|"
    r"cannot be (read|decoded)|is no (text|csv)",
    "duplicate": r"(stands|comes|named|there) twice|appears again|stands (already|in|at)|same (clip|id)",
    "not a finite number": r"not a finite|finite number|\bnan\b|\binf\b|not finite|no number",
    "out of bounds": r"lies? outside|out of range|out of order|negative (width|height)|lies beyond",
    "empty text": r"caption.*(''|\[\]|empty|None)|empty (caption|text)|expected a text",
}
OTHER = "malformed entry"
_FILES = re.compile(r"[^\s:]*(/[^\s:]*|\.[a-z]\w{1,4}\b)", re.IGNORECASE)


def kind_of(reason: str) -> str:
    """The kind of a fault, from the message that names it."""
    said = _FILES.sub("#", reason)
    return next((kind for kind, words in KINDS.items() if re.search(words, said, re.IGNORECASE)), OTHER)


def by_kind(reasons: Iterable[str]) -> Counter[str]:
    """How many there are of each kind, the most frequent first."""
    return Counter(dict(Counter(map(kind_of, reasons)).most_common()))


def summary(reasons: Iterable[str]) -> str:
    """One line, e.g. ``3 damaged file, 1 duplicate``."""
    return ", ".join(f"{count} {kind}" for kind, count in by_kind(reasons).items())


def told(skipped: Mapping[str, int]) -> str:
    """One line, e.g. ``4 unusable items (3 damaged file, 1 duplicate)``; a fault may cost several items, or none.

    Args:
        skipped: How many items each fault costs, by the message that names it.
    """
    items, faults = sum(skipped.values()), len(skipped)
    by = f" by {faults} fault{'s' * (faults > 1)}" if items != faults else ""
    return f"{items} unusable items{by} ({summary(skipped)})"


def listing(reasons: Iterable[str]) -> str:
    """A text file: how many faults of each kind, then each with its kind in front."""
    told = list(reasons)
    heads = [f"{count} {kind}" for kind, count in by_kind(told).items()]
    return "".join(f"{line}\n" for line in [*heads, "", *(f"{kind_of(reason)}: {reason}" for reason in told)])
