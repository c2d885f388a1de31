"""A workshop: a current folder with a user's module of its own name and a recipe that uses all of the dialect."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from zoo.recipe import Mistake, Recipe, read
from zoo.recipe.checking import static
from zoo.recipe.mistakes import in_order

HERE = Path(__file__).parent
_numbers = itertools.count()


@dataclass
class Workshop:
    """The folder, and the name of the module in it (fresh for each test: imported modules stay in the process)."""

    folder: Path
    module: str
    sample: str = (HERE / "sample.yaml").read_text()

    def write(self, text: str, name: str = "recipe.yaml") -> Path:
        """Writes a recipe; ``MODULE`` stands for the user's module."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("MODULE", self.module))
        return path

    def read(
        self, text: str, overrides: Sequence[tuple[str, str]] | Mapping[str, object] = (), name: str = "recipe.yaml"
    ) -> Recipe:
        """Reads a recipe by its relative path."""
        return read(self.write(text, name).relative_to(self.folder), overrides)

    def seen(self, text: str, overrides: Sequence[tuple[str, str]] | Mapping[str, object] = ()) -> list[str]:
        """What the check says without importing anything."""
        return [str(mistake) for mistake in self.mistakes(text, overrides)]

    def mistakes(self, text: str, overrides: Sequence[tuple[str, str]] | Mapping[str, object] = ()) -> list[Mistake]:
        """The mistakes that the text shows."""
        return in_order(static(self.read(text, overrides)).mistakes)

    def change(self, old: str, new: str) -> str:
        """The sample recipe with one piece replaced."""
        assert self.sample.count(old) == 1, f"{old!r} stands {self.sample.count(old)} times in the sample"
        return self.sample.replace(old, new)

    def line(self, text: str, piece: str) -> int:
        """The line of a piece of text."""
        assert text.count(piece) == 1, f"{piece!r} stands {text.count(piece)} times"
        return text.count("\n", 0, text.index(piece)) + 1


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    module = f"workshop{next(_numbers)}"
    (tmp_path / f"{module}.py").write_text((HERE / "sample_module.py").read_text())
    return Workshop(tmp_path, module)


@pytest.fixture
def python(workshop: Workshop) -> Callable[[str, str], str]:
    """Writes a module into the workshop and gives its name."""

    def write(source: str, name: str = "") -> str:
        name = name or f"{workshop.module}_{next(_numbers)}"
        path = workshop.folder / Path(*name.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
        return name

    return write
