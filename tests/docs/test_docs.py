"""The handbook: variables and exit codes as the code has them, pictures that show what they say, pages that lead on."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest
import torch

import zoo.ranking
from zoo.cli import failures
from zoo.errors import InputError, ZooError

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
CONVENTIONS = (DOCS / "conventions.md").read_text(encoding="utf-8")
VARIABLE = re.compile(r"(?:ZOO|HF|XDG|TRANSFORMERS)_[A-Z_]+|LOCALAPPDATA")


@pytest.fixture(scope="module")
def scripts():
    """The modules of docs/, importable."""
    sys.path.insert(0, str(DOCS))
    yield
    sys.path.remove(str(DOCS))


def read_by_the_code() -> set[str]:
    """Names of environment variables that stand as text of their own in the package."""
    found: set[str] = set()
    for file in (ROOT / "zoo").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and VARIABLE.fullmatch(node.value):
                found.add(node.value)
    return found


def test_the_table_of_variables_is_that_of_the_code():
    table = CONVENTIONS.partition("## Environment variables")[2].partition("\n\n##")[0]
    told = re.findall(r"^\| `([A-Z_]+)` \| \S", table, re.MULTILINE)
    assert len(told) == len(set(told))
    assert set(told) == read_by_the_code()


def test_every_use_of_the_environment_is_seen():
    """A variable whose name is made up at run time would not be in the table."""
    uses = 0
    for file in (ROOT / "zoo").rglob("*.py"):
        for line in file.read_text(encoding="utf-8").splitlines():
            if "os.environ" in line or "getenv" in line:
                uses += 1
                assert VARIABLE.search(line) or "(name" in line, f"{file}: {line.strip()}"
    assert uses


def test_exit_codes_are_those_of_the_table(capsys):
    codes = {error: failures.report(error, False) for error in (ZooError("a"), InputError("b"), KeyboardInterrupt())}
    capsys.readouterr()
    assert sorted(codes.values()) == [1, 1, 2]
    told = re.findall(r"^\| (\d) \| (\w+)", CONVENTIONS, re.MULTILINE)
    assert told == [("0", "done"), ("1", "failed"), ("2", "the")]


def test_a_picture_for_every_objective(scripts):
    import make_pictures

    drawn = {**make_pictures.score_losses(), **make_pictures.similarity_losses()}
    modules = {"across_processes", "both_ways", "gather", "use_engine"}
    functions = {name for name in zoo.ranking.__all__ if name.islower()} - modules
    assert set(drawn) == functions


def test_order_and_gradient_of_a_picture_are_the_loss(scripts, tmp_path):
    import make_pictures

    sketch = make_pictures.score_losses()["hinge"]
    risen = make_pictures.swaps(lambda scores: zoo.ranking.hinge(scores, make_pictures.TARGET), sketch.ideal)
    assert torch.equal(risen, risen.T)
    assert torch.all(risen.diagonal() == 0)
    assert risen[1, 2] == 0  # equal targets
    assert risen[0, 5] == risen.max()  # best and worst
    make_pictures.picture("hinge", sketch, False, tmp_path / "hinge.svg")
    assert (tmp_path / "hinge.svg").stat().st_size > 10_000


def test_links_are_led_to_pages_and_broken_ones_stop_the_build(scripts, tmp_path, monkeypatch):
    pytest.importorskip("jupytext", reason="the handbook's packages: pip install '.[docs]'")
    pytest.importorskip("nbclient", reason="the handbook's packages: pip install '.[docs]'")
    import make_docs

    monkeypatch.setattr(make_docs, "ROOT", tmp_path)
    monkeypatch.setattr(make_docs, "OUT", tmp_path / "out")
    monkeypatch.setattr(make_docs, "PAGES", {"README.md": "index.md", "deep/card.md": "cards/card.md"})
    (tmp_path / "deep").mkdir()
    card = tmp_path / "deep/card.md"
    (tmp_path / "README.md").write_text("x")
    (tmp_path / "code.py").write_text("x")
    (tmp_path / "deep/a.png").write_bytes(b"x")
    card.write_text("[home](../README.md#top) ![seen](a.png) [code](../code.py) [far](https://x.org) [here](#there)")
    text = make_docs.led(card, "cards/card.md")
    assert text == "[home](../index.md#top) ![seen](card_a.png) code [far](https://x.org) [here](#there)"
    assert (tmp_path / "out/cards/card_a.png").is_file()
    card.write_text("[gone](../gone.md)")
    with pytest.raises(FileNotFoundError, match=r"card\.md: the link to \.\./gone\.md leads nowhere"):
        make_docs.led(card, "cards/card.md")


def test_arguments_are_read_out_of_signature_and_docstring(scripts):
    pytest.importorskip("jupytext", reason="the handbook's packages: pip install '.[docs]'")
    pytest.importorskip("nbclient", reason="the handbook's packages: pip install '.[docs]'")
    import make_docs

    from zoo.domains.ltr import MQ2008, MLPRanker

    text = make_docs.arguments(MLPRanker)
    (row,) = [line for line in text.splitlines() if line.startswith("| `ranking` | `")]
    assert "ScoreLoss" in row
    assert "Any score loss of" in row  # its docstring
    assert "`batch_size`" in make_docs.arguments(MQ2008)
    assert make_docs.classes(sys.modules["zoo.domains.ltr"])


@pytest.mark.parametrize(
    "name",
    ["core", pytest.param("images", marks=pytest.mark.long), pytest.param("report", marks=pytest.mark.long)],
)
def test_a_notebook_runs(name, warm, tmp_path):
    import os

    result = warm.run([str(DOCS / "notebooks" / f"{name}.py")], tmp_path, {**os.environ, "MPLBACKEND": "agg"}, 600)
    assert result.returncode == 0, result.stderr


def test_notebooks_are_text_without_outputs():
    found = sorted((DOCS / "notebooks").iterdir())
    assert [file.suffix for file in found if file.is_file()] == [".py"] * 3
    assert all("# %% [markdown]" in file.read_text() for file in found if file.is_file())
