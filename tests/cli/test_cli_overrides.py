"""Recipe overrides are taken out of a command line."""

from __future__ import annotations

import pytest

from zoo.cli.arguments import ROOTS, is_option, split_overrides, take_flag
from zoo.errors import InputError

CASES = [
    ("anomaly/demo", ["anomaly/demo"], []),
    ("--model.margin 0.5 demo", ["demo"], [("model.margin", "0.5")]),
    ("demo --model.margin=0.5", ["demo"], [("model.margin", "0.5")]),
    ("--model.margin -0.5 demo", ["demo"], [("model.margin", "-0.5")]),
    ("--model.margin -.5", [], [("model.margin", "-.5")]),
    ("--model.margin -1e-3", [], [("model.margin", "-1e-3")]),
    ("--model.margin -inf", [], [("model.margin", "-inf")]),
    ("--model.margin=-x", [], [("model.margin", "-x")]),
    ("--model.margin=", [], [("model.margin", "")]),
    ("--model.name=a=b", [], [("model.name", "a=b")]),
    ("--model.list [1,-2]", [], [("model.list", "[1,-2]")]),
    ("--model.table {a:1}", [], [("model.table", "{a:1}")]),
    ("--model.name -", [], [("model.name", "-")]),
    ("--trainer.callbacks+=EarlyStopping", [], [("trainer.callbacks+", "EarlyStopping")]),
    ("--trainer.callbacks+ EarlyStopping", [], [("trainer.callbacks+", "EarlyStopping")]),
    ("--trainer.callbacks+= EarlyStopping", [], [("trainer.callbacks+", "EarlyStopping")]),
    ("--trainer.callbacks.EarlyStopping.patience 5", [], [("trainer.callbacks.EarlyStopping.patience", "5")]),
    ("--seed_everything 7 demo", ["demo"], [("seed_everything", "7")]),
    ("--optimizer torch.optim.SGD", [], [("optimizer", "torch.optim.SGD")]),
    ("--optimizer.lr 1 --lr_scheduler=x --optimizer.lr 2", [],
     [("optimizer.lr", "1"), ("lr_scheduler", "x"), ("optimizer.lr", "2")]),
    ("--data other demo", ["demo"], [("data", "other")]),
    ("--name x --data.limit 3 demo", ["--name", "x", "demo"], [("data.limit", "3")]),
    ("--name=x --models 3", ["--name=x", "--models", "3"], []),
    ("--modle.margin 3", ["--modle.margin", "3"], []),
    ("--model.a 1 -- --model.b 2", ["--", "--model.b", "2"], [("model.a", "1")]),
    ("-x --json", ["-x", "--json"], []),
]  # fmt: skip


@pytest.mark.parametrize(("line", "rest", "overrides"), CASES)
def test_split(line, rest, overrides):
    assert split_overrides(line.split(" ")) == (rest, overrides)


def test_values_may_hold_anything():
    assert split_overrides(["--model.text", "two words\nand a line", "--model.other=a b\nc", "--model.empty", ""]) == (
        [],
        [("model.text", "two words\nand a line"), ("model.other", "a b\nc"), ("model.empty", "")],
    )


def test_options_of_the_verb_are_no_overrides():
    argv = ["--data", "other", "--data=third", "--data.limit", "3"]
    assert split_overrides(argv, {"--data"}) == (["--data", "other", "--data=third"], [("data.limit", "3")])


def test_only_the_roots_that_a_verb_takes():
    assert split_overrides(["--model.x", "1", "--data.x", "2"], (), ("data",)) == (
        ["--model.x", "1"],
        [("data.x", "2")],
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("demo --model.margin", "option --model.margin needs a value, e.g. --model.margin VALUE"),
        ("--model.margin --name x", "option --model.margin needs a value"),
        ("--model.margin -x", "a value that starts with a dash is written --model.margin=-x"),
        ("--model.margin -- demo", "option --model.margin needs a value"),
        ("--trainer.callbacks+", "option --trainer.callbacks needs a value"),
        ("--trainer.callbacks+=", "option --trainer.callbacks needs a value"),
        ("--model..margin 3", "'model..margin' is no key of a recipe: a part of it is empty"),
        ("--model. 3", "'model.' is no key of a recipe"),
    ],
)
def test_mistakes(line, message):
    with pytest.raises(InputError) as raised:
        split_overrides(line.split(" "))
    assert message in str(raised.value)


def test_the_roots_are_the_sections_of_a_recipe():
    from zoo.recipe.shape import SECTIONS

    assert ROOTS == SECTIONS


@pytest.mark.parametrize(
    ("token", "option"),
    [("--x", True), ("-x", True), ("-", False), ("-1", False), ("-.5", False), ("-inf", False), ("-info", True),
     ("-.inf", False), ("-nan", False), ("x", False), ("", False)],
)  # fmt: skip
def test_is_option(token, option):
    assert is_option(token) is option


def test_take_flag():
    assert take_flag(["a", "--debug", "b", "--debug", "--", "--debug"], "--debug") == (
        ["a", "b", "--", "--debug"],
        True,
    )
    assert take_flag(["a", "--", "--debug"], "--debug") == (["a", "--", "--debug"], False)
