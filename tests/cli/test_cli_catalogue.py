"""What the catalogue reads from source text: made-up packages, then the zoo itself against the imported truth."""

from __future__ import annotations

import importlib
import textwrap
from pathlib import Path

import pytest

from zoo.cli.catalogue import Catalogue
from zoo.errors import ZooError
from zoo.recipe import remembered

ROOT = Path(__file__).resolve().parents[2]


def write(root: Path, files: dict[str, str]) -> Catalogue:
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text))
    return Catalogue(root)


def test_models_by_chain_of_bases(tmp_path):
    found = write(
        tmp_path,
        {
            "domains/__init__.py": "",
            "domains/fish/module.py": '''
                from zoo.training import ZooModule as Base
                from zoo import training

                class _Hidden(Base):
                    """Not public."""

                class Carp(_Hidden):
                    """A carp,
                    on two lines.

                    And more.
                    """

                class Pike(training.ZooModule): ...

                class Rod: ...

                class NotAModel(Rod): ...
            ''',
            "domains/fish/more.py": '''
                from zoo.domains.fish.module import Pike

                class BigPike(Pike[int]):
                    """A big pike."""
            ''',
            "domains/bird/module.py": '''
                class Pike: ...

                class Stork(Pike):
                    """Its Pike is another one."""
            ''',
        },
    ).models()
    assert [(model.domain, model.name, model.summary) for model in found] == [
        ("fish", "BigPike", "A big pike."),
        ("fish", "Carp", "A carp, on two lines."),
        ("fish", "Pike", ""),
    ]
    assert found[0].module == "zoo.domains.fish.more"


DATA = '''
    from typing import ClassVar
    from zoo.training import ZooData

    class Pond(ZooData):
        """Ponds."""

        domain: ClassVar[str] = "fish"
        source = terms = "here"
        layout = """
            pond/
              a.txt
        """

    class Carps(Pond):
        """Carps in a pond."""

        dataset = "carps"

    class Pikes(Pond):
        """Pikes."""

        dataset, terms = "pikes", "there " "and here"
'''


def test_data_attributes_are_inherited(tmp_path):
    found = write(tmp_path, {"domains/fish/data.py": DATA}).data()
    assert [(data.name, data.domain, data.dataset, data.source, data.terms) for data in found] == [
        ("Carps", "fish", "carps", "here", "here"),
        ("Pikes", "fish", "pikes", "here", "there and here"),
    ]
    assert "pond/" in found[0].layout


def test_data_attributes_must_be_there_and_plain(tmp_path):
    head = "from zoo.training import ZooData\nclass Carps(ZooData):\n    dataset = 'carps'\n"
    lacking = write(tmp_path / "a", {"domains/fish/data.py": head})
    with pytest.raises(ZooError, match=r"data\.py:2: Carps lacks the class attribute 'domain'"):
        lacking.data()
    computed = write(tmp_path / "b", {"domains/fish/data.py": head + "    terms = 'x'.upper()\n"})
    with pytest.raises(ZooError, match=r"data\.py:4: Carps\.terms must be written as a text"):
        computed.data()


def test_losses_of_all(tmp_path):
    found = write(
        tmp_path,
        {
            "ranking/__init__.py": '__all__ = ["ListThing", "list_thing", "near", "gather", "untold"]',
            "ranking/scores.py": '''
                def list_thing(scores, target):
                    """One line.

                    Source: Somebody, 2001,
                    eq. 4.

                    Args:
                        scores: Some.
                    """

                def not_exported(scores, target): ...

                def untold(scores):
                    """Says nothing of its origin."""

                class ListThing: ...
            ''',
            "ranking/near.py": '''
                def near(similarity, positive):
                    """Another.

                    Source:
                        Else, 2002.
                    Args:
                        similarity: Some.
                    """

                def gather(x): ...
            ''',
        },
    ).losses()
    assert [
        (loss.function.name, loss.module_class, loss.function.family, loss.function.summary, loss.function.reference)
        for loss in found
    ] == [
        ("list_thing", "ListThing", "score", "One line.", "Somebody, 2001, eq. 4."),
        ("untold", "", "score", "Says nothing of its origin.", ""),
        ("near", "", "similarity", "Another.", "Else, 2002."),
    ]


def test_all_must_be_plain(tmp_path):
    with pytest.raises(ZooError, match=r"__init__\.py:1: __all__ must be written as a list of names"):
        write(tmp_path, {"ranking/__init__.py": "__all__ = sorted(['a'])"}).losses()


def test_broken_source_is_named(tmp_path):
    with pytest.raises(ZooError, match=r"module\.py:2: this is not Python"):
        write(tmp_path, {"domains/fish/module.py": "class Carp(ZooModule):\n    def (:"}).models()


def test_metrics_with_their_domains(tmp_path):
    found = write(
        tmp_path,
        {
            "metrics/__init__.py": 'from zoo.metrics.a import Depth\n__all__ = ["Depth", "DryError"]',
            "metrics/a.py": 'class Depth(Metric):\n    """How deep."""\n\nclass DryError(ValueError): ...',
            "domains/fish/module.py": "from zoo.metrics import Depth",
            "domains/pond/module.py": "import zoo.metrics\nzoo.metrics.Depth()",
            "domains/bird/metric.py": 'class Height(Metric):\n    """How high."""',
        },
    ).metrics()
    assert [(use.definition.name, use.domains, use.definition.summary) for use in found] == [
        ("Depth", ("fish", "pond"), "How deep."),
        ("Height", ("bird",), "How high."),
    ]


def test_empty_zoo(tmp_path):
    catalogue = Catalogue(tmp_path)
    assert [catalogue.models(), catalogue.data(), catalogue.metrics(), catalogue.losses()] == [[], [], [], []]


def imported_subclasses(base: type) -> set[type]:
    import pkgutil

    import zoo.domains

    for module in pkgutil.walk_packages(zoo.domains.__path__, "zoo.domains."):
        importlib.import_module(module.name)
    found: set[type] = set()
    waiting = [base]
    while waiting:
        for child in waiting.pop().__subclasses__():
            waiting.append(child)
            domain = child.__module__.removeprefix("zoo.domains.").partition(".")[0]  # of the zoo, not of a test
            if (ROOT / "zoo/domains" / domain).is_dir() and not child.__name__.startswith("_"):
                found.add(child)
    return found


def test_the_zoo_itself_models():
    from zoo.training import ZooModule

    found = {(model.module, model.name) for model in Catalogue().models()}
    shown = {
        cls
        for cls in imported_subclasses(ZooModule)
        if cls.__name__ in importlib.import_module(".".join(cls.__module__.split(".")[:3])).__all__
    }
    assert found == {(cls.__module__, cls.__name__) for cls in shown}
    assert {"MILRanking", "RankMixup"} <= {name for _, name in found}
    assert not {"VideoModule", "Classifier"} & {name for _, name in found}


def test_the_zoo_itself_data():
    from zoo.training import ZooData

    imported = {cls for cls in imported_subclasses(ZooData) if hasattr(cls, "dataset")}
    found = {(data.definition.module, data.name): data for data in Catalogue().data()}
    assert set(found) == {(cls.__module__, cls.__name__) for cls in imported}
    for cls in imported:
        data = found[cls.__module__, cls.__name__]
        for attribute in ("domain", "dataset", "source", "terms", "layout"):
            assert getattr(data, attribute) == getattr(cls, attribute)


def test_the_zoo_itself_losses():
    import zoo.ranking

    found = {loss.function.name: loss for loss in Catalogue().losses()}
    named = {name for name in zoo.ranking.__all__ if name.islower()} - {
        "gather",
        "use_engine",
        "both_ways",
        "across_processes",
    }
    assert set(found) == named
    for name, loss in found.items():
        assert loss.function.summary
        assert loss.function.reference, f"{name}: its docstring has no line `Source: ...`"
        base = zoo.ranking.ScoreLoss if loss.function.family == "score" else zoo.ranking.SimilarityLoss
        assert issubclass(getattr(zoo.ranking, loss.module_class), base)


def test_what_is_remembered_is_never_older_than_the_files(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(remembered, "SETTLED", 0)  # remembers even what was written a moment ago
    root = tmp_path / "zoo"
    carp = 'from zoo.training import ZooModule\n\n\nclass Carp(ZooModule):\n    """A carp."""\n'

    def models() -> list[tuple[str, str]]:
        return [(model.name, model.summary) for model in Catalogue(root).models()]

    write(root, {"domains/fish/module.py": carp})
    assert models() == models() == [("Carp", "A carp.")]
    monkeypatch.setattr(Catalogue, "_models", lambda self: pytest.fail("it was remembered"))
    assert models() == [("Carp", "A carp.")]
    monkeypatch.undo()
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    write(root, {"domains/fish/module.py": carp.replace("A carp", "A Carp")})
    assert models() == [("Carp", "A Carp.")]
    write(root, {"domains/fish/more.py": carp.replace("Carp", "Pike")})
    assert models() == [("Carp", "A Carp."), ("Pike", "A carp.")]
    (root / "domains/fish/module.py").unlink()
    assert models() == [("Pike", "A carp.")]
