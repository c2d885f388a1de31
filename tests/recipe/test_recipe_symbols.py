"""Static resolution: what source text tells about classes and their constructors, and that nothing runs for it."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from zoo.recipe.classes import Classes
from zoo.recipe.imports import import_object
from zoo.recipe.kinds import Slot, describe
from zoo.recipe.modules import Opaque
from zoo.recipe.symbols import Class, Symbols
from zoo.recipe.trust import Trust

BASES = """
class Base:
    def __init__(self, a: int, b: float = 0.5) -> None: ...
class Child(Base): pass
class Named(Base):
    def __init__(self, c: str, **kwargs) -> None:
        super().__init__(**kwargs)
class Fixed(Base):
    def __init__(self, c: str, **kwargs) -> None:
        super().__init__(1, b=2.0, **kwargs)
class Starred(Base):
    def __init__(self, *args, **kwargs) -> None:
        super().__init__(1, *args, **kwargs)
class Direct(Base):
    def __init__(self, c: str, **kwargs) -> None:
        Base.__init__(self, **kwargs)
class Open(Base):
    def __init__(self, c: str, **kwargs) -> None:
        self.more = kwargs
class Ignored(Base):
    def __init__(self, c: str, **kwargs) -> None:
        super().__init__(1)
class Mixin:
    def helper(self): ...
class Both(Mixin, Named): pass
class Bare: pass
class New:
    def __new__(cls, q: int): return super().__new__(cls)
class Keywords:
    def __init__(self, *args, x: int, y: int = 2): ...
class Branch:
    if True:
        def __init__(self, v: int): ...
"""


@pytest.fixture
def classes(workshop) -> Classes:
    return Classes(Symbols([Path.cwd()]), Trust())


def _names(classes: Classes, path: str) -> dict[str, bool]:
    result = classes.resolve(path)
    assert result.problem is None, result.problem
    signature = classes.signature(result.found)
    found = {name: parameter.required for name, parameter in signature.parameters.items()}
    return {**found, "...": True} if signature.open else found


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Base", {"a": True, "b": False}),
        ("Child", {"a": True, "b": False}),
        ("Named", {"c": True, "a": True, "b": False}),
        ("Fixed", {"c": True}),
        ("Starred", {"b": False}),
        ("Direct", {"c": True, "a": True, "b": False}),
        ("Open", {"c": True, "...": True}),
        ("Ignored", {"c": True}),
        ("Both", {"c": True, "a": True, "b": False}),
        ("Bare", {}),
        ("New", {"...": True}),
        ("Keywords", {"x": True, "y": False}),
        ("Branch", {"v": True}),
    ],
)
def test_constructor_parameters(classes: Classes, python, name: str, expected: dict[str, bool]) -> None:
    assert _names(classes, f"{python(BASES)}.{name}") == expected


def test_dataclasses(classes: Classes, python) -> None:
    module = python(
        "import dataclasses\nfrom dataclasses import dataclass, field, KW_ONLY, InitVar\nfrom typing import ClassVar\n"
        "@dataclass\nclass A:\n    x: int\n    y: list[int] = field(default_factory=list)\n"
        "    z: int = field(init=False)\n    w: ClassVar[int] = 3\n    _: KW_ONLY\n    v: InitVar[int] = 1\n"
        "@dataclasses.dataclass(frozen=True)\nclass B(A):\n    u: float = field(default=2.0)\n"
        "    t: str = field(kw_only=True)\n"
        "@dataclass(init=False)\nclass C(A):\n    q: int\n"
    )
    assert _names(classes, f"{module}.A") == {"x": True, "y": False, "v": False}
    assert _names(classes, f"{module}.B") == {"x": True, "y": False, "v": False, "u": False, "t": True}
    assert _names(classes, f"{module}.C") == {"x": True, "y": False, "v": False}


RE_EXPORTS = [
    "from {m}.deep import Thing",
    "from {m}.deep import Thing as Thing",
    "from .deep import *",
    "from . import deep\nThing = deep.Thing",
    "import {m}.deep\nThing = {m}.deep.Thing",
    "import {m}.deep as other\nThing = other.Thing",
    "try:\n    from .missing import Thing\nexcept ImportError:\n    from .deep import Thing",
    "try:\n    from .deep import Thing\nexcept ImportError:\n    Thing = None",
    "import sys\nif sys.version_info > (3,):\n    from .deep import Thing\nelse:\n    Thing = None",
    "_WHERE = {{'Thing': 'deep'}}\ndef __getattr__(name):\n    return 1",
    "_WHERE = {{'Thing': '.deep'}}\ndef __getattr__(name):\n    return 1",
    "_WHERE = {{'Thing': '{m}.deep'}}\ndef __getattr__(name):\n    return 1",
    "_WHERE = {{'Thing': ('{m}.deep', 'Thing')}}\ndef __getattr__(name):\n    return 1",
    "_WHERE = {{'{m}.deep': ['Thing', 'Other']}}\ndef __getattr__(name):\n    return 1",
    "Thing, Other = deep.Thing, 3\nfrom . import deep",
]


@pytest.mark.parametrize("source", RE_EXPORTS)
def test_re_exports_are_followed(classes: Classes, workshop, python, source: str) -> None:
    package = f"{workshop.module}_package"
    python(source.format(m=package), f"{package}.__init__")
    python("__all__ = ['Thing']\nclass Thing:\n    def __init__(self, a: int): ...\n", f"{package}.deep")
    assert _names(classes, f"{package}.Thing") == {"a": True}
    assert package not in sys.modules


def test_what_the_text_does_not_tell_is_left_open(classes: Classes, python) -> None:
    module = python(
        "def make(): return type('Made', (), {})\nMade = make()\nglobals()['Later'] = Made\n"
        "from collections import OrderedDict\nclass Odd(make()): pass\nclass Old(OrderedDict): pass\n"
        "import attr\n@attr.s(auto_attribs=True)\nclass Attrs:\n    x: int\n"
    )
    for name in ("Made", "Later", "OrderedDict"):
        result = classes.resolve(f"{module}.{name}")
        assert result.problem is None
        assert isinstance(result.found, Opaque), name
    for name in ("Odd", "Old", "Attrs"):
        assert _names(classes, f"{module}.{name}") == {"...": True}
    slot = Slot(classes.resolve("torch.optim.Optimizer").found, "Optimizer")  # type: ignore[arg-type]
    assert classes.fits(classes.resolve(f"{module}.Odd").found, slot) is None


def test_broken_modules_are_named(classes: Classes, python) -> None:
    module = python("class A:\n  def x(:\n")
    problem = classes.resolve(f"{module}.A").problem
    assert problem is not None
    assert problem.endswith(f"{module}.py:2: invalid syntax")


def test_circles_end(classes: Classes, workshop, python) -> None:
    one, two = f"{workshop.module}_one", f"{workshop.module}_two"
    python(f"from {two} import *\nfrom {two} import Thing\nA = B\nB = A\n", one)
    python(f"from {one} import *\nfrom {one} import Thing\nclass C(C): pass\nX = 'X | int'\n", two)
    for name in ("Thing", "A", "Nothing"):
        assert not isinstance(classes.resolve(f"{one}.{name}").found, Class)
    assert classes.signature(classes.resolve(f"{two}.C").found).open in (True, False)


def test_annotations_through_aliases(classes: Classes, python) -> None:
    module = python(
        "from __future__ import annotations\nimport enum, typing as t\nfrom pathlib import Path\n"
        "from collections.abc import Sequence\nfrom typing import *\nfrom jsonargparse.typing import PositiveInt\n"
        "Number = Union[int, float]\nMode = Literal['a', 'b']\nId = NewType('Id', int)\nT = TypeVar('T')\n"
        "class Color(enum.Enum):\n    RED = 1\n    BLUE = 2\n"
        "class Keys(TypedDict, total=False):\n    a: Required[int]\n    b: str\n"
        "class Tree:\n    def __init__(self, children: list[Tree]): ...\n"
        "class A:\n    def __init__(self, a: Number, b: Mode | None, c: 'Optional[Mode]', d: t.List[Number],\n"
        "        e: Sequence[str], f: Id, g: T, h: Color, i: Keys, j: Path, k: dict[str, list[int]],\n"
        "        l: tuple[int, ...], m: Annotated[int, 3], n: PositiveInt, o: Tree,\n"
        "        p: 'not an annotation (', q: int = None, r: Callable[[int], str] = len,\n"
        "        s: type[Tree] = Tree, u: Any = 1, v: 'Tree | str' = ''): ...\n"
    )
    found = classes.signature(classes.resolve(f"{module}.A").found).parameters
    assert {name: describe(classes.annotations.of(parameter)) for name, parameter in found.items()} == {
        "a": "int or float",
        "b": "'a', 'b' or null",
        "c": "'a', 'b' or null",
        "d": "list of (int or float)",
        "e": "list of str",
        "f": "int",
        "g": "anything",
        "h": "'RED' or 'BLUE'",
        "i": "mapping with a, b",
        "j": "path",
        "k": "mapping of str to list of int",
        "l": "list of int",
        "m": "int",
        "n": "int restricted to be >0",
        "o": "a Tree (class_path)",
        "p": "anything",
        "q": "int or null",
        "r": "import path of a function or class",
        "s": "import path of a class",
        "u": "anything",
        "v": "a Tree (class_path) or str",
    }


_KNOWN = """
lightning.pytorch.Trainer lightning.pytorch.callbacks.EarlyStopping
lightning.pytorch.callbacks.ModelCheckpoint lightning.pytorch.callbacks.RichProgressBar torch.optim.SGD
torch.optim.AdamW torch.optim.lr_scheduler.OneCycleLR torch.optim.lr_scheduler.ReduceLROnPlateau
torch.nn.Linear torch.nn.TransformerEncoderLayer torchvision.models.ResNet zoo.training.ZooModule
zoo.training.ZooData zoo.training.WarmupCosine zoo.training.OneCycle zoo.training.MultiStep zoo.ranking.Hinge
zoo.ranking.ListNet zoo.ranking.Triplet zoo.ranking.SmoothAP
"""
KNOWN = _KNOWN.split()


@pytest.mark.parametrize("path", KNOWN)
def test_the_text_tells_the_same_as_the_imported_class(classes: Classes, path: str) -> None:
    expected = {
        name: parameter.default is inspect.Parameter.empty
        for name, parameter in inspect.signature(import_object(path)).parameters.items()
    }
    assert _names(classes, path) == expected


def test_a_module_called_zoo_elsewhere_is_not_ours(classes: Classes, python: Callable[..., str]) -> None:
    python("class ZooModule: pass\n", "zoo.training")
    found = classes.resolve("zoo.training.ZooModule").found
    assert isinstance(found, Class)
    assert found.module.path is not None
    assert not found.module.path.is_relative_to(Path.cwd())


def test_namespace_packages_and_inner_classes(classes: Classes, workshop, python) -> None:
    package = f"{workshop.module}_space"
    python("class Outer:\n    class Inner:\n        def __init__(self, a: int): ...\n", f"{package}.sub.mod")
    assert _names(classes, f"{package}.sub.mod.Outer.Inner") == {"a": True}
    assert classes.resolve(f"{package}.sub.mod.Outer.Iner").problem is not None
    problem = classes.resolve(f"{package}.sub.mood.Outer").problem
    assert problem == f"there is no module '{package}.sub.mood'; did you mean '{package}.sub.mod.Outer'?"
