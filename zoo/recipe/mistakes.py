"""A mistake in a recipe: where it stands, what is wrong, and what was probably meant."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from zoo.errors import InputError
from zoo.recipe.light import Frozen


class Place(NamedTuple):
    """Where something was written.

    Attributes:
        source: The recipe's file, or the option (``--model.margin``).
        line: Line of the file, from 1; 0 for an option.
    """

    source: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}" if self.line else self.source


class Mistake(Frozen):
    """One mistake; ``str`` gives ``recipe.yaml:17: RankMixup takes no 'marjin'; did you mean 'margin'?``."""

    place: Place
    text: str

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"


class RecipeError(InputError):
    """A recipe with mistakes; the message has one line for each.

    Attributes:
        mistakes: All of them, in the order of the file.
    """

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = list(mistakes)
        super().__init__("\n".join(str(mistake) for mistake in mistakes))


def in_order(mistakes: Iterable[Mistake]) -> list[Mistake]:
    """Those of the file by line, then those of the options; each once."""
    return sorted(dict.fromkeys(mistakes), key=lambda mistake: (mistake.place.line == 0, mistake.place.line))


def distance(first: str, second: str) -> int:
    """Letters dropped, added, changed or swapped with their neighbour between two words (optimal string alignment)."""
    before: list[int] = []
    row = list(range(len(second) + 1))
    for i, a in enumerate(first, 1):
        before, above, row = row, before, [i]
        for j, b in enumerate(second, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a != b))
            if i > 1 and j > 1 and a == second[j - 2] and first[i - 2] == b:
                cost = min(cost, above[j - 2] + 1)
            row.append(cost)
    return row[-1]


def near(word: str, names: Iterable[str]) -> list[str]:
    """The names that ``word`` may be a misspelling of, nearest first."""
    from difflib import SequenceMatcher  # only where something is misspelt

    plain = word.lower().replace("_", "")
    found = []
    for name in dict.fromkeys(names):
        other = name.lower().replace("_", "")
        longest = max(len(plain), len(other))
        if abs(len(plain) - len(other)) > longest // 3 + 1:
            continue
        apart = distance(plain, other)
        alike = SequenceMatcher(None, plain, other).ratio()
        if (apart <= max(1, longest // 3) and apart < longest) or alike >= 0.65:
            found.append((apart, distance(word, name), -alike, name))
    return [name for *_, name in sorted(found)]


def nearest(word: str, names: Iterable[str]) -> str | None:
    """The name that ``word`` was probably meant to be, None where nothing is close."""
    return next(iter(near(word, names)), None)


def meant(word: str, names: Iterable[str]) -> str:
    """``; did you mean 'margin'?``, or nothing where no name is close."""
    name = nearest(word, names)
    return f"; did you mean '{name}'?" if name is not None else ""


def meant_or_known(word: str, names: Sequence[str], most: int = 12) -> str:
    """:func:`meant`; where no name is close, the names there are, if they are few."""
    hint = meant(word, names)
    if hint or not names or len(names) > most:
        return hint
    return f"; it takes {', '.join(names)}"
