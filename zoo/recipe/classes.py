"""Class paths of a recipe: full or short, right, misspelt or forbidden."""

from __future__ import annotations

import keyword
from functools import cached_property
from pathlib import Path

from zoo.recipe.annotations import Annotations
from zoo.recipe.kinds import Slot
from zoo.recipe.light import Frozen
from zoo.recipe.mistakes import near
from zoo.recipe.modules import Module, Opaque, Outside
from zoo.recipe.signatures import Signature, constructor, function_signature
from zoo.recipe.sure import LIBRARIES, sure
from zoo.recipe.symbols import Class, Found, Function, Symbols
from zoo.recipe.trust import Trust, refusal

_HOMES = ("zoo.training", "zoo.ranking", "zoo.layers", "zoo.metrics")


class ClassPath(Frozen):
    """What a class path means.

    Attributes:
        path: The full path to write; as given where nothing better is known.
        found: The definition; that of the nearest name where the path is misspelt; None where there is none.
        problem: What is wrong with the path, None if nothing.
        refused: Whether it is wrong because nobody vouches for it.
    """

    path: str
    found: Class | Function | Opaque | None
    problem: str | None = None
    refused: bool = False

    @property
    def name(self) -> str:
        """Last part of the path, or the class's own name where the path is misspelt."""
        return self.found.name if isinstance(self.found, Class) else self.path.rpartition(".")[2]


class Classes:
    """Resolves class paths against the slot they stand in.

    Args:
        symbols: Where names are looked up.
        trust: What may be named.
    """

    def __init__(self, symbols: Symbols, trust: Trust) -> None:
        self.symbols, self.trust = symbols, trust
        self.annotations = Annotations(symbols)
        self._signatures: dict[Class, Signature] = {}
        self._sure: dict[Found | None, bool] = {}
        self._resolved: dict[tuple[str, Slot | None, Trust], ClassPath] = {}

    def signature(self, found: Class | Function | Opaque | None) -> Signature:
        """What the constructor of a class takes."""
        if isinstance(found, Function):
            return function_signature(found)
        if not isinstance(found, Class):
            return Signature(open=True)
        if found not in self._signatures:
            self._signatures[found] = constructor(self.symbols, found)
        return self._signatures[found]

    def resolve(self, path: str, slot: Slot | None = None, vouched: bool = False) -> ClassPath:
        """What a class path means in a slot.

        Args:
            path: As written: ``torch.optim.SGD``, or ``SGD`` where the slot makes it plain.
            slot: What is wanted there, None where anything is.
            vouched: The user wrote the path on the command line.
        """
        trust = Trust() if vouched else self.trust
        key = (path, slot, trust)
        if key not in self._resolved:
            self._resolved[key] = self._resolve(path, slot, trust)
        return self._resolved[key]

    def _resolve(self, path: str, slot: Slot | None, trust: Trust) -> ClassPath:
        parts = path.split(".")
        if not all(part.isidentifier() and not keyword.iskeyword(part) for part in parts):
            return ClassPath(path, None, f"'{path}' is no class path, which is module.Class")
        if len(parts) == 1:
            result = self._short(path, slot)
        elif not trust.allows(path):
            result = ClassPath(path, None, refusal(path), refused=True)
        else:
            result = self._dotted(parts, slot)
        if result.problem is None and (unfit := self._unfit(result, slot)):
            return result.changed(problem=unfit)
        if result.problem is None and (unsafe := self._unsafe(result, slot, trust)):
            return result.changed(problem=unsafe, refused=True)
        return result

    def fits(self, found: Found | None, slot: Slot | None) -> bool | None:
        """Whether a definition can fill a slot; None where only an import can tell."""
        if not isinstance(found, Class):
            return None if isinstance(found, Function | Opaque | Outside) else False
        if slot is None:
            return True
        return self.symbols.is_subclass(found, slot.base) if slot.base is not None else None

    def sure(self, found: Found | None) -> bool:
        """Whether the text shows that a class can be imported and made an object of."""
        if found not in self._sure:
            top = found.module.name.partition(".")[0] if isinstance(found, Class) else ""
            known = top in LIBRARIES and not self._lies_here(top)
            self._sure[found] = known and isinstance(found, Class) and sure(self.symbols, found)
        return self._sure[found]

    def missing(self, path: str) -> str | None:
        """What is wrong with the import path of a function or class, None where it leads to one or may do so."""
        if not self.trust.allows(path):
            return None
        problem = self._dotted(path.split("."), None).problem
        return problem.replace("no class", "no function or class", 1) if problem is not None else None

    def importable(self, path: str) -> bool:
        """Whether a dotted text may be imported: vouched for, or surely a class or function of an allowed module."""
        if self.trust.vouched(path) or not self.trust.allows(path):
            return self.trust.vouched(path)
        result = self._dotted(path.split("."), None)
        if result.problem is not None or not isinstance(result.found, Class | Function):
            return False
        module = result.found.module.name
        return self.trust.allows(f"{module}.{result.found.node.name}") and not self._lies_here(module)

    def _unfit(self, result: ClassPath, slot: Slot | None) -> str | None:
        if slot is not None and isinstance(result.found, Class) and self.fits(result.found, slot) is False:
            return f"{result.path} is no {slot.name}"
        return None

    def _unsafe(self, result: ClassPath, slot: Slot | None, trust: Trust) -> str | None:
        """Whether a path that nobody vouches for could import something else than a class that fits."""
        if trust.vouched(result.path):
            return None
        found = result.found
        if not isinstance(found, Class):
            return f"{result.path} is not a class that can be told from its source; {refusal(result.path)}"
        if not trust.allows(found.path) or self._lies_here(found.module.name):
            return refusal(found.path)
        if slot is None or not self.fits(found, slot):
            wanted = f"a {slot.name}" if slot is not None else "a class wanted here"
            return f"{result.path} is not known to be {wanted}; {refusal(result.path)}"
        return None

    def _lies_here(self, name: str) -> bool:
        """Whether a module is a file of the current folder that goes by the name of an allowed library."""
        top = self.symbols.finder.module(name.partition(".")[0])
        if not isinstance(top, Module) or top.name == "zoo":
            return False
        folders = [folder.parent for folder in top.folders] or ([top.path.parent] if top.path else [])
        return Path.cwd() in [folder.resolve() for folder in folders]

    # -- full paths

    def _dotted(self, parts: list[str], slot: Slot | None) -> ClassPath:
        path = ".".join(parts)
        owner: Found | None = None
        right: list[str] = []
        wrong: int | None = None
        for index, part in enumerate(parts):
            last = index == len(parts) - 1
            found = self._step(owner, part)
            if found is None or (isinstance(found, Opaque) and found.guessed and (not last or wrong is not None)):
                close = self._nearest(owner, part, slot, last)
                if close is not None or found is None:
                    wrong = index if wrong is None else wrong
                    part = close or part
                    found = self._step(owner, part)
            if found is None:
                return ClassPath(path, None, self._missing(parts, wrong or 0, None, slot))
            if isinstance(found, Opaque | Outside):
                right += [part, *parts[index + 1 :]]
                why = f"{path} cannot be read: {found.why}" if isinstance(found, Opaque) and found.broken else None
                found = found if isinstance(found, Opaque) else Opaque("of the standard library")
                problem = why if wrong is None else self._missing(parts, wrong, ".".join(right), slot)
                return ClassPath(path, found, problem)
            owner = found
            right.append(part)
        problem = None if wrong is None else self._missing(parts, wrong, ".".join(right), slot)
        if isinstance(owner, Class | Function):
            return ClassPath(path, owner, problem)
        if isinstance(owner, Module):
            return ClassPath(path, None, problem or f"{path} is a module; name a class in it")
        return ClassPath(path, Opaque("set while running"), problem)

    def _step(self, owner: Found | None, part: str) -> Found | None:
        return self.symbols.finder.module(part) if owner is None else self.symbols.member(owner, part)

    def _nearest(self, owner: Found | None, part: str, slot: Slot | None, last: bool) -> str | None:
        names = self.symbols.finder.tops() if owner is None else self.symbols.names(owner)
        close = near(part, names)
        definitions = {name: self._step(owner, name) for name in close}
        if not last:
            return next((name for name in close if isinstance(definitions[name], Module)), None)
        fitting = [name for name in close if self.fits(definitions[name], slot) is True]
        classes = [name for name in close if isinstance(definitions[name], Class)]
        return next(iter([*fitting, *classes, *close]), None)

    def _missing(self, parts: list[str], wrong: int, right: str | None, slot: Slot | None) -> str:
        path = ".".join(parts)
        if right is None:
            elsewhere = self._by_name(parts[-1], slot)
            right = elsewhere[0][0] if elsewhere else None
        module = wrong < len(parts) - 1
        what = f"there is no module '{'.'.join(parts[: wrong + 1])}'" if module else f"there is no class '{path}'"
        return f"{what}; did you mean '{right}'?" if right else what

    # -- short names

    @cached_property
    def _own_homes(self) -> list[str]:
        domains = self.symbols.finder.module("zoo.domains")
        inner = domains.submodules() if isinstance(domains, Module) else []
        return [*_HOMES, *(f"zoo.domains.{name}" for name in inner)]

    def _homes(self, slot: Slot) -> list[Module]:
        """Where classes for a slot usually live: around its base, and in the zoo."""
        names = list(self._own_homes)
        if isinstance(slot.base, Class):
            parts = slot.base.module.name.split(".")
            names += [".".join(parts[:length]) for length in range(min(2, len(parts)), len(parts) + 1)]
        homes = [self.symbols.finder.module(name) for name in dict.fromkeys(names)]
        return [home for home in homes if isinstance(home, Module)]

    def _by_name(self, name: str, slot: Slot | None) -> list[tuple[str, Class]]:
        """All classes of a name that fit a slot, with the shortest path of each."""
        found: dict[Class, str] = {}
        for home in self._homes(slot) if slot is not None else []:
            cls = self.symbols.member(home, name)
            path = f"{home.name}.{name}"
            if isinstance(cls, Class) and self.fits(cls, slot) and len(path) < len(found.get(cls, path + " ")):
                found[cls] = path
        return [(path, cls) for cls, path in found.items()]

    def _short(self, name: str, slot: Slot | None) -> ClassPath:
        found = self._by_name(name, slot)
        if len(found) == 1:
            return ClassPath(*found[0])
        if found:
            paths = ", ".join(path for path, _ in found)
            return ClassPath(name, None, f"'{name}' may be any of {paths}; write the one that is meant")
        wanted = f"no {slot.name}" if slot is not None else "no class"
        names = {word for home in (self._homes(slot) if slot is not None else []) for word in self.symbols.names(home)}
        for close in near(name, names):
            guess = self._by_name(close, slot)
            if guess:
                path, cls = guess[0]
                return ClassPath(name, cls, f"there is {wanted} '{name}'; did you mean '{path}'?")
        return ClassPath(name, None, f"there is {wanted} '{name}'; write its full path, module.Class")
