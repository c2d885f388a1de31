"""What a domain gives to ``zoo bench``: pieces of work to be timed, ours and a peer's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Work = Callable[[], object]


@dataclass(frozen=True)
class Case:
    """One line of a benchmark.

    Attributes:
        name: What is timed, with its sizes.
        ours: Builds everything and gives the function to time.
        peers: The same for other packages, by the name they are imported under; one that is not installed is told.
        agree: Called once with both results before anything is timed; raises AssertionError where they differ.
        slow: Left out by ``--quick``.
        line: The line of the growth plot that it is a point of, if any.
        size: Where on that line.
    """

    name: str
    ours: Callable[[], Work]
    peers: Mapping[str, Callable[[], Work]] = field(default_factory=dict)
    agree: Callable[[object, object], None] | None = None
    slow: bool = False
    line: str = ""
    size: int = 0
