"""What is checked without an import agrees with what an import says, of every class that recipes can reach."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

import lightning.pytorch.callbacks
import pytest
import torch

from zoo.cli.catalogue import Catalogue
from zoo.recipe import check, names, read
from zoo.recipe.checking import static
from zoo.recipe.classes import Classes
from zoo.recipe.imports import import_object
from zoo.recipe.mistakes import Place
from zoo.recipe.nodes import node_of, walk
from zoo.recipe.shape import TRAINER
from zoo.recipe.steps import expand
from zoo.recipe.symbols import Class, Symbols
from zoo.recipe.trust import Trust
from zoo.recipe.validate import _Arguments
from zoo.recipe.values import Check

ROOT = Path(__file__).resolve().parents[2]
VALUES = (
    -1, "abc", 0.5, True, [1], {"a": 1}, "3", [0.1, 0.2], 7, ["a"], [], {"class_path": "torch.nn.ReLU"}, "min", {},
)  # fmt: skip
NOT_SURE = {  # they take **kwargs and keep them
    *(f"lightning.pytorch.callbacks.{name}" for name in ("WeightAveraging", "EMAWeightAveraging", "ThroughputMonitor")),
    *(f"lightning.pytorch.callbacks.{name}" for name in ("ModelSummary", "RichModelSummary")),
}


def _reachable() -> list[str]:
    """Classes that recipes name, and all others that stand where those do."""
    found = {TRAINER}
    for name in names():
        texts = [node.content for path, node in walk(read(name).root) if path[-1:] == ("class_path",)]
        found.update(str(text) for text in texts)
    catalogue = Catalogue()
    found.update(f"zoo.domains.{one.domain}.{one.name}" for one in catalogue.models())
    found.update(f"zoo.domains.{one.domain}.{one.name}" for one in catalogue.data())
    for module in (torch.optim, torch.optim.lr_scheduler, lightning.pytorch.callbacks):
        inside = {name: getattr(module, name) for name in module.__all__}
        found.update(f"{module.__name__}.{name}" for name, cls in inside.items() if inspect.isclass(cls))
    return sorted(found)


@pytest.fixture(scope="module")
def classes() -> Classes:
    return Classes(Symbols(), Trust())


def test_no_recipe_needs_an_import_to_be_checked() -> None:
    for name in names():
        seen = static(read(name))
        assert (name, seen.mistakes, seen.doubts, seen.unsure) == (name, [], [], [])


@pytest.mark.parametrize("path", _reachable())
def test_signatures_agree(path: str, classes: Classes) -> None:
    """Of a class that is sure: the same arguments, the same of them required, and no value passes the text alone."""
    real_class = import_object(path)
    found = classes.resolve(path).found
    signature = classes.signature(found)
    if not classes.sure(found) or signature.open:
        assert path in NOT_SURE or inspect.isabstract(real_class)
        return
    assert not inspect.isabstract(real_class)
    assert isinstance(found, Class)
    real = _Arguments(path, real_class, set(), ("x",), Place("f", 1))
    taken = real._parser(set())[1]
    assert set(signature.parameters) == set(taken)
    needed = {name for name, parameter in signature.parameters.items() if parameter.required}
    assert {name for name in taken if real._error({}, set(taken) - {name})} <= needed
    values = cycle(VALUES[len(path) % len(VALUES) :] + VALUES[: len(path) % len(VALUES)])
    for name, parameter in signature.parameters.items():
        value = next(values)
        seen, kind, node = Check(classes), classes.annotations.of(parameter), node_of(value, Place("f", 1))
        expand(classes, node, kind)
        seen.value(node, kind, ("x", "init_args", name))
        if not (seen.mistakes or seen.doubts or seen.unsure):
            assert real._error({name: value}, set(taken) - {name}) is None, (name, value)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("trainer.accelerator", "abacus"),
        ("trainer.strategy", "of its own"),
        ("lr_scheduler", "torch.optim.lr_scheduler.LambdaLR"),  # its function is one of Python's own
        ("trainer.callbacks+", "lightning.pytorch.callbacks.WeightAveraging"),
        ("model.dict_kwargs", "{a: 1}"),
    ],
)
def test_what_the_text_leaves_open_is_imported(option: str, value: str) -> None:
    overrides = [(option, value)]
    if value.endswith("LambdaLR"):
        overrides.append(("lr_scheduler.lr_lambda", "math.floor"))
    recipe = read("calibration/demo", overrides)
    seen = static(recipe)
    assert seen.mistakes == []
    assert seen.unsure + seen.doubts
    assert check(recipe) == check(recipe, imports=True)


CASES = {
    "plain": ("class A: ...", True),
    "abstract": (
        "from abc import ABC, abstractmethod\nclass A(ABC):\n    @abstractmethod\n    def f(self): ...",
        False,
    ),
    "abstract above": (
        "from abc import ABC, abstractmethod\nclass B(ABC):\n    @abstractmethod\n    def f(self): ...\n"
        "    def g(self): ...\nclass A(B):\n    def g(self): ...",
        False,
    ),
    "no more abstract": (
        "from abc import ABC, abstractmethod\nclass B(ABC):\n    @abstractmethod\n    def f(self): ...\n"
        "class A(B):\n    f = None",
        True,
    ),
    "in a branch": ("import sys\nif sys.argv:\n    class A: ...", False),
    "imported in a branch": (
        "try:\n    from collections import OrderedDict as A\nexcept ImportError:\n    A = None",
        False,
    ),
    "metaclass": ("class M(type): ...\nclass A(metaclass=M): ...", False),
    "unreadable base": ("B = type('B', (), {})\nclass A(B): ...", False),
    "missing package": ("import no_such_package_at_all\nclass A: ...", False),
    "missing package that is guarded": (
        "try:\n    import no_such_package_at_all\nexcept ImportError:\n    no_such_package_at_all = None\nclass A: ...",
        True,
    ),
    "missing name": ("from zoo.errors import NoSuchError\nclass A: ...", False),
    "missing module": ("from zoo.no_such_module import x\nclass A: ...", False),
    "missing far away": ("from zoo.made_up_helper import x\nclass A: ...", False),
    "for type checkers": (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from zoo.no_such_module import x\nclass A: ...",
        True,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_makes_a_class_of_ours_sure(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import zoo.recipe.modules as modules

    text, sure = CASES[case]
    for file in (ROOT / "zoo").glob("*.py"):
        (tmp_path / file.name).write_text(file.read_text())
    (tmp_path / "made_up.py").write_text(text)
    (tmp_path / "made_up_helper.py").write_text("from zoo.errors import NoSuchError as x\n")
    monkeypatch.setattr(modules, "_PACKAGE", tmp_path)
    classes = Classes(Symbols(), Trust())
    assert classes.sure(classes.resolve("zoo.made_up.A").found) is sure


def test_a_circle_of_imports_hides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import zoo.recipe.modules as modules

    (tmp_path / "__init__.py").touch()
    (tmp_path / "one.py").write_text("from zoo.two import B\nimport no_such_package_at_all\nclass A: ...\n")
    (tmp_path / "two.py").write_text("from zoo.one import A\nclass B: ...\n")
    monkeypatch.setattr(modules, "_PACKAGE", tmp_path)
    classes = Classes(Symbols(), Trust())
    assert [classes.sure(classes.resolve(path).found) for path in ("zoo.one.A", "zoo.two.B")] == [False, False]


def test_a_module_of_the_user_is_never_sure(workshop, python: Callable[[str, str], str]) -> None:
    name = python("raise RuntimeError('as it is imported')\nclass A: ...", "")
    classes = Classes(Symbols([workshop.folder]), Trust())
    assert classes.sure(classes.resolve(f"{name}.A").found) is False


def test_a_library_of_the_current_folder_is_not_sure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torchmetrics.py").write_text("class Mine: ...\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "torchmetrics", raising=False)
    classes = Classes(Symbols(), Trust())
    found = classes.resolve("torchmetrics.Mine").found
    assert isinstance(found, Class)
    assert classes.sure(found) is False
