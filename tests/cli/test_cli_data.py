"""``zoo data``: showing, making and verifying, with a data set of the test's own."""

from __future__ import annotations

import importlib.util
import sys
import textwrap
from pathlib import Path
from types import ModuleType

import pytest

import zoo.cli.data
import zoo.cli.list
from zoo.cli import main
from zoo.cli.catalogue import Catalogue
from zoo.cli.data_files import MARK

SOURCE = '''
    from pathlib import Path
    from typing import ClassVar, Literal

    from zoo.training import DataError, ZooData


    class Lines:
        def __init__(self, lines):
            self.lines = lines

        def __len__(self):
            return len(self.lines)

        def item(self, index, rng):
            if self.lines[index] == "bad":
                raise DataError(f"line {index + 1} is bad")
            return {"id": self.lines[index]}


    class Pond(ZooData):
        """Carps in a pond."""

        domain: ClassVar[str] = "fish"
        dataset: ClassVar[str] = "pond"
        source: ClassVar[str] = "by the road,
    on the left"
        terms: ClassVar[str] = "none"
        layout: ClassVar[str] = """
            train.txt
            val.txt, test.txt
        """

        def __init__(
            self,
            root: str | None = None,
            batch_size: int = 4,
            workers: int = 0,
            synthesize: bool = True,
            limit: int | None = None,
            on_error: Literal["stop", "skip"] = "stop",
            suffix: str = "txt",
        ) -> None:
            super().__init__(root, batch_size, workers, synthesize, limit, on_error)
            self.suffix = suffix

        def read(self, root, split):
            file = root / f"{split}.{self.suffix}"
            if not file.is_file():
                raise DataError(f"{file}: there is no such file")
            return Lines(file.read_text().split())

        def make(self, root: Path) -> None:
            for number, split in enumerate(("train", "val", "test"), start=1):
                (root / f"{split}.{self.suffix}").write_text(f"carp{self.seed} " * number)


    class Lake(Pond):
        """The same files, wider."""


    class River(Pond):
        """Nobody can make a river."""

        dataset: ClassVar[str] = "river"

        def make(self, root: Path) -> None:
            ZooData.make(self, root)
'''.replace("road,\n    on", "road, on")


@pytest.fixture(autouse=True)
def pond(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts the data set into the catalogue, and the test into an empty folder."""
    root = tmp_path / "package"
    file = root / "domains" / "fish" / "data.py"
    file.parent.mkdir(parents=True)
    file.write_text(textwrap.dedent(SOURCE))
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.delenv("ZOO_DATA", raising=False)
    spec = importlib.util.spec_from_file_location("zoo.domains.fish.data", file)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "zoo.domains.fish", ModuleType("zoo.domains.fish"))
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(zoo.cli.data, "Catalogue", lambda: Catalogue(root))
    monkeypatch.setattr(zoo.cli.list, "_catalogue", lambda: Catalogue(root))


def run(capsys, *argv: str) -> tuple[int, list[str], list[str]]:
    code = main(["data", *argv])
    out, err = capsys.readouterr()
    return code, out.splitlines(), err.splitlines()


def test_list(capsys):
    code, out, _ = run(capsys, "list")
    assert code == 0
    assert [line.split()[:3] for line in out[1:]] == [
        ["Lake", "fish", "pond"],
        ["Pond", "fish", "pond"],
        ["River", "fish", "river"],
    ]


@pytest.mark.parametrize("name", ["River", "river", "fish/river", "RIVER"])
def test_show(capsys, monkeypatch, name):
    Path("data/fish/river").mkdir(parents=True)
    monkeypatch.setenv("ZOO_DATA", "elsewhere")
    code, out, _ = run(capsys, "show", name)
    assert code == 0
    assert out[0] == "fish/river: Nobody can make a river."
    for line in ("source  by the road, on the left", "terms   none", "  train.txt", "  val.txt, test.txt"):
        assert line in out
    assert [line.split() for line in out[-2:]] == [
        ["$ZOO_DATA/fish/river", "(not", "there)"],
        ["data/fish/river", "(empty)"],
    ]


def test_show_names_every_class_of_a_data_set(capsys):
    _, out, _ = run(capsys, "show", "pond")
    assert [line for line in out if line.startswith("fish/pond: ")] == [
        "fish/pond: The same files, wider.",
        "fish/pond: Carps in a pond.",
    ]


def test_show_looks_where_the_data_does(monkeypatch):
    from zoo.training.root import candidates

    monkeypatch.setenv("ZOO_DATA", "/somewhere")
    dataset = zoo.cli.data.Catalogue().data()[0]
    assert [path for _, path in zoo.cli.data.places(dataset)] == candidates(None, dataset.domain, dataset.dataset)


def test_make_then_verify_without_options(capsys):
    code, out, err = run(capsys, "make", "Pond")
    assert (code, err) == (0, [])
    assert out[0] == "data/fish/pond: fish/pond, made up with seed 0, 3 files"
    assert out[1].endswith("zoo data verify Pond --root data/fish/pond")
    assert [file.name for file in Path("data/fish").iterdir()] == ["pond"]  # nothing half-made is left
    assert Path("data/fish/pond").stat().st_mode & 0o777 == 0o755
    code, out, err = run(capsys, "verify", "Pond")
    assert (code, err) == (0, [])
    assert out == [
        "fish/pond in data/fish/pond (made up by zoo data make)",
        "  train  1 items",
        "  val    2 items",
        "  test   3 items",
    ]


def test_make_with_seed_place_and_arguments(capsys):
    assert run(capsys, "make", "Pond", "--out", "a/b", "--seed", "7", "--data.suffix", "csv")[0] == 0
    assert Path("a/b/train.csv").read_text() == "carp7 "
    assert run(capsys, "verify", "Pond", "--root", "a/b")[0] == 2
    assert run(capsys, "verify", "Pond", "--root", "a/b", "--data.suffix=csv")[0] == 0


def test_make_refuses_what_is_not_its_own(capsys):
    Path("full").mkdir()
    Path("full/real.txt").write_text("precious")
    for more in ([], ["--overwrite"]):
        code, out, err = run(capsys, "make", "Pond", "--out", "full", *more)
        assert (code, out) == (2, [])
        assert err == ["error: full is not empty, and zoo data make did not write it; name another folder with --out"]
    assert Path("full/real.txt").read_text() == "precious"
    code, _, err = run(capsys, "make", "Pond", "--out", "full/real.txt")
    assert (code, err) == (2, ["error: full/real.txt is a file; name a folder with --out"])


def test_make_overwrites_only_when_asked(capsys):
    Path("out").mkdir()  # an empty folder is fine
    assert run(capsys, "make", "Pond", "--out", "out")[0] == 0
    code, _, err = run(capsys, "make", "Pond", "--out", "out", "--seed", "1")
    assert code == 2
    assert err == ["error: out holds made-up data already; --overwrite replaces it, --out names another folder"]
    assert Path("out/train.txt").read_text() == "carp0 "
    assert run(capsys, "make", "Pond", "--out", "out", "--seed", "1", "--overwrite")[0] == 0
    assert Path("out/train.txt").read_text() == "carp1 "
    assert (Path("out") / MARK).is_file()


def test_make_of_what_cannot_be_made(capsys):
    code, _, err = run(capsys, "make", "river", "--out", "out")
    assert code == 2
    assert err == ["error: River cannot be synthesized; give --data.root DIR"]
    assert not list(Path().iterdir())


def test_verify_names_everything_that_is_wrong(capsys):
    Path("mine").mkdir()
    Path("mine/train.txt").write_text("carp bad carp bad")
    Path("mine/test.txt").write_text("bad")
    code, out, err = run(capsys, "verify", "Pond", "--root", "mine")
    assert code == 2
    assert out == [
        "fish/pond in mine",
        "  train  2 items, 2 wrong",
        "  val    0 items, 1 wrong",
        "  test   0 items, 2 wrong",
    ]
    assert err == [
        "train: line 2 is bad",
        "train: line 4 is bad",
        "val: mine/val.txt: there is no such file",
        "test: line 1 is bad",
        "test: mine: the test split of pond holds no usable item",
        "error: mine: 5 things are wrong",
    ]


def test_verify_never_reads_a_synthesized_set(capsys):
    code, out, err = run(capsys, "verify", "Pond")
    assert (code, out) == (2, [])
    assert err[0].startswith("error: no data for pond: looked in data/fish/pond")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["mkae", "pond"], "unknown action 'mkae'; did you mean 'make'?"),
        (["zebra"], "unknown action 'zebra'; there are list, show, make, verify"),
        (["make"], "zoo data make needs a NAME; zoo data list shows them"),
        (["show", "rivr"], "there is no data set 'rivr'; did you mean 'river'?"),
        (["show", "zebra"], "there is no data set 'zebra'; see: zoo data list"),
        (["verify", "pond"], "'pond' is read by several classes; name one of them: Lake, Pond"),
        (["list", "p*"], "zoo data list takes no NAME; a pattern: zoo list data 'p*'"),
        (["show", "river", "--out", "x"], "--out belongs to zoo data make, not to show"),
        (["make", "Pond", "--root", "x"], "--root belongs to zoo data verify, not to make"),
        (["show", "river", "--data.root", "x"], "zoo data show takes no --data.root; make and verify do"),
        (["make", "Pond", "--data.sufix", "x"], "--data.sufix: Pond takes no 'sufix'; did you mean 'suffix'?"),
        (["verify", "Pond", "--data.batch_size", "0"], "data.batch_size must be at least 1, got 0"),
    ],
)
def test_mistakes(capsys, argv, message):
    assert run(capsys, *argv) == (2, [], [f"error: {message}"])


def test_value_of_the_wrong_type(capsys):
    code, _, err = run(capsys, "make", "Pond", "--data.batch_size", "many")
    assert code == 2
    assert len(err) == 1
    assert "batch_size" in err[0]
    assert "many" in err[0]
