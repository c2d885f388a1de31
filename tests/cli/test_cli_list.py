"""``zoo list``: kinds, patterns, and the table."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from zoo.cli import main
from zoo.cli.heads import first_line, method
from zoo.cli.list import KINDS
from zoo.cli.table import fit, table


def rows(capsys, *argv: str) -> list[list[str]]:
    assert main(["list", *argv]) == 0
    return [line.split() for line in capsys.readouterr().out.splitlines()]


def test_losses(capsys):
    header, *lines = rows(capsys, "losses")
    assert header == ["name", "module", "family", "what", "it", "is", "source"]
    by_name = {line[0]: line for line in lines}
    assert by_name["hinge"][:3] == ["hinge", "Hinge", "score"]
    assert by_name["triplet_alignment"][:3] == ["triplet_alignment", "TripletAlignment", "similarity"]
    assert "gather" not in by_name


@pytest.mark.parametrize("glob", ["*hinge", "*HINGE", "[hs]*inge"])
def test_a_pattern_chooses_names(capsys, glob):
    _, *lines = rows(capsys, "losses", glob)
    assert [line[0] for line in lines] == ["hinge", "squared_hinge"]


def test_a_pattern_alone_is_looked_up_in_every_kind(capsys):
    first, last = rows(capsys, "listm*")
    assert first == ["losses", "listmle"]
    assert last[:3] == ["zoo", "list", "losses"]


def test_brief_names_every_kind(capsys):
    lines = rows(capsys)
    assert [line[0] for line in lines[:-1]] == list(KINDS)
    assert "hinge" in next(line for line in lines if line[0] == "losses")


def test_brief_fits_a_screen_and_names_every_domain(capsys, monkeypatch):
    monkeypatch.setattr("zoo.cli.list.terminal_width", lambda: 80)
    lines = rows(capsys)
    assert len(lines) <= 23  # of 24; the prompt takes one
    text = " ".join(" ".join(line) for line in lines)
    counts = {domain: int(count) for domain, count in re.findall(r"(\w+)/\* \((\d+)\)", text)}
    from zoo.recipe import names

    assert counts == Counter(name.partition("/")[0] for name in names())
    assert "quality-small" in text
    assert "rankdetr" not in text


def test_recipes_match_their_files(capsys):
    from zoo.recipe import names, read

    _, *lines = rows(capsys, "recipes")
    assert [line[0] for line in lines] == list(names())
    for line in lines:
        tree = read(line[0]).tree
        assert line[1] == line[0].partition("/")[0]
        assert line[2] == tree["model"]["class_path"].rpartition(".")[2]
        assert len(line) > 3, f"{line[0]}: the head of the recipe says nothing"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["lossess"], "error: unknown kind 'lossess'; did you mean 'losses'?"),
        (["zebra"], "error: unknown kind 'zebra'; there are recipes, models, losses, metrics, data"),
        (["losses", "hing"], "error: no loss matches 'hing'; did you mean 'hinge'?"),
        (["losses", "cg"], "error: no loss matches 'cg'; try '*cg*'"),
        (["losses", "zebra*"], "error: no loss matches 'zebra*'; zoo list losses shows all"),
        (["zebra*"], "error: nothing matches 'zebra*'; zoo list shows what there is"),
    ],
)
def test_mistakes(capsys, argv, message):
    assert main(["list", *argv]) == 2
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"{message}\n")


def test_table_in_a_pipe_has_one_line_per_row():
    text = table(("a", "long name"), [("x", "word " * 50), ("longer", "y")])
    assert [line.rstrip() for line in text.splitlines()] == [
        "a       long name",
        "x       " + ("word " * 50).rstrip(),
        "longer  y",
    ]


def test_table_on_a_terminal_keeps_to_its_width():
    text = table(("name", "what", "source"), [("a_rather_long_name", "word " * 30, "book " * 20)], width=64)
    assert max(map(len, text.splitlines())) <= 64
    assert text.count("word") == 30
    assert text.count("book") == 20
    assert "a_rather_long_name" in text


def test_fit():
    assert fit([5, 100, 30], 200) == [5, 100, 30]
    assert fit([5, 100, 30], 85) == [5, 50, 30]
    assert fit([5, 100, 70], 85) == [5, 40, 40]
    assert fit([5, 100, 70], 10) == [5, 20, 20]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("model:\n  class_path: zoo.domains.a.Model\n  init_args: {loss: {class_path: zoo.ranking.Hinge}}", "Model"),
        ("data: x\nmodel: {class_path: 'a.Model', init_args: {}}\n", "Model"),
        ("model: zoo.domains.a.Model  # short\ndata: {class_path: b.Data}", "Model"),
        ("model: Model", "Model"),
        ("model:\n\n# note\n  class_path: a.Model", "Model"),
        ("data:\n  class_path: b.Data\n", ""),
        ("model:\ndata:\n  class_path: b.Data\n", ""),
        ("submodel:\n  class_path: b.Data\n", ""),
        ("", ""),
    ],
)
def test_method(text, name):
    assert method(text) == name


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("# One.\n# Two.\nmodel: x", "One."),
        ("#\n#   Late.\n", "Late."),
        ("---\n\n# After a start.\n", "After a start."),
        ("model: x\n# Not a head.\n", ""),
        ("", ""),
    ],
)
def test_first_line(text, line):
    assert first_line(text) == line
