"""YAML text to nodes: lines, scalars as jsonargparse reads them, duplicates, and everything that is no recipe."""

from __future__ import annotations

import random
import string

import jsonargparse
import pytest
import yaml

from zoo.recipe.document import MAX_DEPTH, MAX_NODES, compose, head_lines
from zoo.recipe.nodes import node_of, plain, walk
from zoo.recipe.scalars import read_scalar, read_value
from zoo.recipe.writing import _Dumper

_SCALARS = r"""
1e-3 1E5 -1e+3 1.5 .5 -.5 +.5 5. 1_000 1_0.5 0x1F 010 0b11 0o7 08 12:30 12:30.5 1e3x 1,5 .inf -.Inf .nan inf
nan yes no on off true False TRUE null ~ Null none None 2024-01-01 2024-01-01T10:00:00 a:b "5" '5' 5 -5 +5 - =
<< 1.2.3 val/auc 16-mixed 5e bias$ *x a#b [] {} "" '' 00 -0 1e 1e- .e3 ._5 _1 3.0e+02 ${x}
"""
SCALARS = _SCALARS.split()


@pytest.mark.parametrize("text", SCALARS)
def test_scalars_are_read_as_jsonargparse_reads_them(text: str) -> None:
    try:
        expected = jsonargparse.get_loader("yaml")(f"[{text}]")[0]
    except yaml.YAMLError:
        tree, mistakes = compose(f"[{text}]", "f")
        assert tree is None or mistakes or text in ("=", "<<")
        return
    tree, mistakes = compose(f"[{text}]", "f")
    assert not mistakes
    assert tree is not None
    got = plain(tree)[0]
    assert type(got) is type(expected)
    assert got == expected or (got != got and expected != expected)


def test_every_node_knows_its_line() -> None:
    tree, mistakes = compose("a:\n  b: 1\n  c:\n    - x\n    - {d: 2,\n       e: 3}\nf:\n  g\n", "file.yaml")
    assert not mistakes
    assert tree is not None
    lines = {path: str(node.place) for path, node in walk(tree)}
    assert lines[("a", "c", 1, "e")] == "file.yaml:6"
    assert lines[("a", "b")] == "file.yaml:2"
    assert lines[("a", "c", 0)] == "file.yaml:4"
    assert lines[("f",)] == "file.yaml:7"


def test_every_duplicate_is_named_with_the_first_line() -> None:
    _, mistakes = compose("a: 1\nb:\n  c: 1\n  c: 2\na: 3\na: {d: 1, d: 2}\n", "f")
    assert [str(m) for m in mistakes] == [
        "f:4: 'c' stands twice; first on line 3",
        "f:5: 'a' stands twice; first on line 1",
        "f:6: 'd' stands twice; first on line 6",
        "f:6: 'a' stands twice; first on line 1",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\n b: 2\n", "f:2: this is not YAML: mapping values are not allowed in this context"),
        ("a: [1, 2\nb: 3\n", "f:2: this is not YAML: while parsing a flow sequence did not find expected ',' or ']'"),
        ("a:\n\t- b\n", "f:2: this is not YAML: while scanning for the next token found character that cannot start"),
        ("a: 'x\n", "f:2: this is not YAML: while scanning a quoted scalar found unexpected end of stream"),
        ("a: 1\n---\nb: 2\n", "f:2: a second document starts here; a recipe is one document"),
        ("a: !!python/object:os.system x\n", "f:1: the tag 'python/object:os.system' is not allowed in a recipe"),
        ("a: !custom x\n", "f:1: the tag '!custom' is not allowed in a recipe"),
        ("a: !!int x\n", "f:1: 'x' is no int"),
        ("a: 1\n? [x]\n: 2\n", "f:2: a key must be text, here is a mapping or a list"),
        ("a: *b\n", "f:1: the alias '*b' has no anchor before it"),
        ("a: 1\nb: \x07\n", "f:2: the character '\\x07' is not allowed in YAML"),
        ("a: {<<: 3}\n", "f:1: '<<' merges mappings, here is something else"),
    ],
)
def test_what_is_no_recipe_is_named_with_its_line(text: str, message: str) -> None:
    _, mistakes = compose(text, "f")
    assert str(mistakes[0]).startswith(message)


def test_anchors_and_merges_work_where_they_are_allowed() -> None:
    text = "a: &x {p: 1, q: 2}\nb: *x\nc: {<<: *x, q: 3}\nd: {<<: [*x, {r: 4}]}\n"
    tree, mistakes = compose(text, "f")
    assert not mistakes
    assert tree is not None
    assert plain(tree) == yaml.safe_load(text)
    assert tree.child("b") is not tree.child("a")
    refused, why = compose(text, "f", aliases=False)
    assert refused is None
    assert str(why[0]) == "f:2: the alias '*x' is not allowed here"


def test_bombs_end_in_one_mistake() -> None:
    laughs = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{new}: &{new} [{', '.join(['*' + old] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
    )
    for text in (
        laughs,
        "[" * 100_000,
        "a: " + "{b: " * (MAX_DEPTH + 5),
        "- x\n" * (MAX_NODES + 5),
        "x" * 2_000_000,
        "- " * 50_000 + "x",
        "a: &a [*a]\n",
    ):
        tree, mistakes = compose(text, "f")
        assert tree is None
        assert len(mistakes) == 1


def test_noise_never_raises() -> None:
    rng = random.Random(0)
    letters = string.printable + "{}[]:-#&*!|>'\"%@`\n\n  é\u2028\x85"
    for _ in range(3000):
        compose("".join(rng.choice(letters) for _ in range(rng.randint(0, 60))), "f")


def test_the_head_is_the_comments_at_the_top() -> None:
    assert head_lines("# Paper: x\n#\n#   indented\n\na: 1\n# later\n") == ["Paper: x", "", "  indented"]
    assert head_lines("a: 1\n# no head\n") == []


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3), ("010", 10), ("-7", -7), ("1e-3", 1e-3), ("", ""), (" ", " "), ("null", None), ("a:", "a:"),
        ("{a}", "{a}"), ("[1, x]", [1, "x"]), ("{a: 1}", {"a": 1}), ("[1", "[1"), ("a: b: c", "a: b: c"), ("*x", "*x"),
        ("val/auc", "val/auc"), ("${a.b}", "${a.b}"), ("'5'", "5"),
    ],
)  # fmt: skip
def test_option_values_are_read_as_jsonargparse_reads_them(text: str, value: object) -> None:
    node = read_value(text, node_of(None, compose("x", "--option")[0].place))  # type: ignore[union-attr]
    assert plain(node) == value
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--x", type=int | float | list | dict | None | str)
    if text.strip() and "{" not in text and "'" not in text:
        assert parser.parse_args([f"--x={text}"]).x == value


def test_written_scalars_read_back_the_same() -> None:
    values = [
        *SCALARS,
        "5 epochs",
        "a: b",
        " x",
        "x ",
        "multi\nline",
        "é",
        "#",
        "key: [",
        1e-5,
        1e22,
        -0.0,
        3,
        True,
        None,
    ]
    values += [float("inf"), 0.1 + 0.2, 10**20, "1e-3", "0x1F", "12:30", "${a}"]
    for value in values:
        text = yaml.dump({"x": value}, Dumper=_Dumper)
        tree, mistakes = compose(text, "f")
        assert not mistakes
        assert tree is not None
        assert plain(tree) == {"x": value}, text
        assert type(plain(tree)["x"]) is type(value)  # type: ignore[index, call-overload]


def test_quoted_numbers_count_as_numbers() -> None:
    assert [read_scalar(text) for text in ("3", "010", "1e-3", "yes", "x", "0b", "")] == [
        3,
        10,
        1e-3,
        True,
        "x",
        "0b",
        "",
    ]
