"""Interpolations: on the tree with overrides, every one that leads nowhere named with its line."""

from __future__ import annotations

import pytest

SAID = {
    "${model.init_args.margn}": "nothing is written at 'margn' in model.init_args; did you mean 'margin'?",
    "${modl.init_args.margin}": "nothing is written at 'modl' at the top; did you mean 'model'?",
    "${model.init_args.margin.x}": "nothing is written at 'x' in model.init_args.margin",
    "${model.init_args.size[7]}": "nothing is written at '7' in model.init_args.size",
    "${.lrr}": "nothing is written at 'lrr' in optimizer.init_args",
    "a ${model.nope} b": "nothing is written at 'nope' in model",
}


@pytest.mark.parametrize(("text", "why"), SAID.items())
def test_unreachable(workshop, text: str, why: str) -> None:
    recipe = workshop.change("lr: 1e-3", f'eps: "{text}"')
    line = workshop.line(recipe, "eps:")
    assert workshop.seen(recipe) == [f"recipe.yaml:{line}: optimizer.init_args.eps: '{text}' leads nowhere: {why}"]


@pytest.mark.parametrize("text", ["${", "${}", "${a b}", "${a", "x ${model.init_args.margin"])
def test_malformed(workshop, text: str) -> None:
    recipe = workshop.change("lr: 1e-3", f'eps: "{text}"')
    line = workshop.line(recipe, "eps:")
    assert workshop.seen(recipe) == [
        f"recipe.yaml:{line}: optimizer.init_args.eps: '{text}' is no interpolation; it is written ${{section.key}}"
    ]


def test_circles_and_resolvers(workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = workshop.change("lr: 1e-3", "eps: ${.lr}\n    lr: ${optimizer.init_args.eps}\n    foreach: ${nope:1}")
    assert [mistake.partition(": ")[2] for mistake in workshop.seen(recipe)] == [
        "optimizer.init_args.eps: '${.lr}' leads back to itself",
        "optimizer.init_args.lr: '${optimizer.init_args.eps}' leads back to itself",
        "optimizer.init_args.foreach: '${nope:1}': there is no resolver 'nope'; oc.env reads the environment",
    ]
    monkeypatch.delenv("NOT_THERE", raising=False)
    monkeypatch.setenv("RATE", "1e-4")
    recipe = workshop.change("lr: 1e-3", "eps: ${oc.env:NOT_THERE}\n    lr: ${oc.env:RATE}")
    assert [mistake.partition(": ")[2] for mistake in workshop.seen(recipe)] == [
        "optimizer.init_args.eps: '${oc.env:NOT_THERE}' cannot be resolved: "
        "\"Environment variable 'NOT_THERE' not found\""
    ]


def test_all_unreachable_ones_are_named_at_once(workshop) -> None:
    recipe = workshop.change("lr: 1e-3", "lr: ${a.b}\n    eps: ${c.d}").replace("root: users/own", "root: ${e.f}")
    assert len(workshop.seen(recipe)) == 3


def test_values_keep_their_type_and_overrides_come_first(workshop) -> None:
    recipe = workshop.change("lr: 1e-3", "lr: ${model.init_args.margin}").replace(
        "root: users/own", "root: users/${model.init_args.width}/${seed_everything}"
    )
    tree = workshop.read(recipe).tree
    assert tree["optimizer"]["init_args"]["lr"] == 1e-3
    assert tree["data"]["init_args"]["root"] == "users/3/1"
    tree = workshop.read(recipe, [("model.margin", "0.25"), ("seed_everything", "8")]).tree
    assert tree["optimizer"]["init_args"]["lr"] == 0.25
    assert tree["data"]["init_args"]["root"] == "users/3/8"
    assert workshop.seen(recipe) == []


def test_whole_objects_are_taken_over(workshop) -> None:
    recipe = workshop.change("[Hinge, {class_path: MODULE.Loss}]", "['${model.init_args.loss}', '${.[0]}']")
    recipe = recipe.replace("${.[0]}", "${model.init_args.losses[0]}")
    tree = workshop.read(recipe).tree["model"]["init_args"]
    assert tree["losses"] == [tree["loss"], tree["loss"]]
    assert workshop.seen(recipe) == []
    wrong = recipe.replace("slope: 2", "slop: 2")
    used = workshop.line(wrong, "losses:")
    said = [mistake.split(":", 2) for mistake in workshop.seen(wrong)]
    assert [int(line) for _, line, _ in said] == [workshop.line(wrong, "slop:"), used]
    assert {text for _, _, text in said} == {" Steep takes no 'slop'; did you mean 'slope'?"}


def test_a_wrong_value_behind_an_interpolation_is_named_where_it_is_used(workshop) -> None:
    recipe = workshop.change("lr: 1e-3", "lr: ${model.init_args.monitor}")
    line = workshop.line(recipe, "lr: $")
    assert workshop.seen(recipe) == [f"recipe.yaml:{line}: optimizer.init_args.lr: expected float, got 'val/auc'"]


def test_escaped_text_is_text(workshop) -> None:
    recipe = workshop.change("root: users/own", r"root: 'a\${b}'")
    assert workshop.read(recipe).tree["data"]["init_args"]["root"] == "a${b}"
