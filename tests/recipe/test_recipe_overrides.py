"""Options that change a recipe: where they land, in which order, what they drop, and what is said of wrong ones."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from zoo.recipe.nodes import Plain


def _get(workshop, overrides, path: str) -> Plain:
    recipe = workshop.read(workshop.sample, overrides)
    assert not recipe.found, [str(m) for m in recipe.found]
    node = recipe.node(tuple(int(p) if p.isdigit() else p for p in path.split(".")))
    assert node is not None
    tree = recipe.tree
    for part in path.split("."):
        tree = tree[int(part)] if isinstance(tree, list) else tree[part]
    return tree


@pytest.mark.parametrize(
    ("option", "text", "path", "value"),
    [
        ("model.margin", "0.5", "model.init_args.margin", 0.5),
        ("model.init_args.margin", "1e-4", "model.init_args.margin", 1e-4),
        ("model.title", "007", "model.init_args.title", "007"),
        ("model.title", "null", "model.init_args.title", "null"),
        ("model.table", "null", "model.init_args.table", None),
        ("model.deep", "yes", "model.init_args.deep", True),
        ("model.size", "[7, 8]", "model.init_args.size", [7, 8]),
        ("model.size", "7", "model.init_args.size", 7),
        ("model.loss.margin", "2", "model.init_args.loss.init_args.margin", 2),
        ("model.loss.inner.slope", "3", "model.init_args.loss.init_args.inner.init_args.slope", 3),
        ("model.loss.init_args.inner.init_args.slope", "3", "model.init_args.loss.init_args.inner.init_args.slope", 3),
        ("model.flips.share", ".25", "model.init_args.flips.share", 0.25),
        ("model.weights.c", "3", "model.init_args.weights.c", 3),
        ("model.groups.0.lr_scale", "5", "model.init_args.groups.0.lr_scale", 5),
        ("model.groups[0].lr_scale", "5", "model.init_args.groups.0.lr_scale", 5),
        ("model.losses.Hinge.margin", "9", "model.init_args.losses.0.init_args.margin", 9),
        ("model.losses.1.margin", "9", "model.init_args.losses.1.init_args.margin", 9),
        ("model.losses", "[]", "model.init_args.losses", []),
        ("trainer.callbacks.EarlyStopping.patience", "5", "trainer.callbacks.0.init_args.patience", 5),
        ("trainer.callbacks.0.patience", "5", "trainer.callbacks.0.init_args.patience", 5),
        ("trainer.max_time.hours", "2", "trainer.max_time", {"hours": 2}),
        ("trainer.max_time", "00:01:00:00", "trainer.max_time", "00:01:00:00"),
        ("trainer.devices", "2", "trainer.devices", 2),
        ("data.root", "1", "data.init_args.root", "1"),
        ("data.root", "a: b", "data.init_args.root", "a: b"),
        ("lr_scheduler.warmup", "5 steps", "lr_scheduler.init_args.warmup", "5 steps"),
        ("lr_scheduler", "null", "lr_scheduler", None),
        ("optimizer.lr", "${model.init_args.width}", "optimizer.init_args.lr", 3),
        ("seed_everything", "7", "seed_everything", 7),
        ("trainer", "{max_epochs: 9}", "trainer.max_epochs", 9),
        ("trainer", "{max_epochs: 9}", "trainer.precision", "16-mixed"),
        ("model.init_args", "{margin: 9}", "model.init_args.margin", 9),
        ("model", "{margin: 9}", "model.init_args.width", 3),
    ],
)
def test_an_option_lands_where_it_belongs(workshop, option: str, text: str, path: str, value: Plain) -> None:
    got = _get(workshop, [(option, text)], path)
    assert got == value
    assert type(got) is type(value)
    assert workshop.seen(workshop.sample, [(option, text)]) == []


def test_python_values_are_taken_as_they_are(workshop) -> None:
    overrides = {"data.root": "007", "model.size": (7, 8), "model.table": Path("a/b"), "trainer.max_epochs": 2}
    assert _get(workshop, overrides, "data.init_args.root") == "007"
    assert _get(workshop, overrides, "model.init_args.size") == [7, 8]
    assert _get(workshop, overrides, "model.init_args.table") == "a/b"
    assert _get(workshop, {"trainer": {"max_epochs": 4}}, "trainer") == {
        **workshop.read(workshop.sample).tree["trainer"],
        "max_epochs": 4,
    }
    assert workshop.seen(workshop.sample, {"model.margin": object}) == [
        "--model.margin: a recipe holds text, numbers, lists and mappings, not type (<class 'object'>)"
    ]


def test_a_class_switched_starts_from_its_own_defaults(workshop) -> None:
    recipe = workshop.read(workshop.sample, [("optimizer", "torch.optim.SGD")])
    assert recipe.tree["optimizer"] == {"class_path": "torch.optim.SGD"}
    assert recipe.notes == [
        "--optimizer torch.optim.SGD: starts from its own defaults; dropped lr, betas, written for torch.optim.AdamW"
    ]


@pytest.mark.parametrize("name", ["torch.optim.AdamW", "AdamW", "torch.optim.adamw.AdamW"])
@pytest.mark.parametrize("option", ["optimizer", "optimizer.class_path"])
def test_the_same_class_given_again_keeps_its_arguments(workshop, name: str, option: str) -> None:
    recipe = workshop.read(workshop.sample, [(option, name)])
    assert recipe.tree["optimizer"] == workshop.read(workshop.sample).tree["optimizer"]
    assert recipe.notes == []


@pytest.mark.parametrize("option", ["optimizer", "optimizer.class_path"])
def test_a_misspelt_class_is_told_even_where_the_nearest_is_the_one_already_there(workshop, option: str) -> None:
    seen = workshop.seen(workshop.sample, [(option, "AdamWW")])
    assert any("'AdamWW'; did you mean" in line and "AdamW'?" in line for line in seen), seen


def test_classes_are_switched_before_their_arguments_are_set(workshop) -> None:
    options = [
        ("optimizer.momentum", "0.9"),
        ("optimizer.class_path", "SGD"),
        ("model.loss.slope", "4"),
        ("model.loss.inner.margin", "6"),
        ("model.loss", "Steep"),
        ("trainer.callbacks.Timer.interval", "step"),
        ("trainer.callbacks+", "Timer"),
        ("model.loss.margin", "5"),
    ]
    rng = random.Random(0)
    seen = []
    for _ in range(8):
        rng.shuffle(options)
        recipe = workshop.read(workshop.sample, [o for o in options if "inner" not in o[0]])
        assert not recipe.found
        seen.append(recipe.tree)
    assert all(tree == seen[0] for tree in seen)
    assert seen[0]["optimizer"] == {"class_path": "torch.optim.SGD", "init_args": {"momentum": 0.9}}
    assert seen[0]["model"]["init_args"]["loss"] == {
        "class_path": f"{workshop.module}.Steep",
        "init_args": {"slope": 4, "margin": 5},
    }
    assert seen[0]["trainer"]["callbacks"][2]["init_args"] == {"interval": "step"}


def test_a_class_with_arguments_replaces_one_without_leaking(workshop) -> None:
    value = "{class_path: SGD, init_args: {lr: 0.1}}"
    assert _get(workshop, [("optimizer", value)], "optimizer") == {
        "class_path": "torch.optim.SGD",
        "init_args": {"lr": 0.1},
    }
    merged = _get(workshop, [("optimizer", value.replace("SGD", "AdamW"))], "optimizer.init_args")
    assert merged == {"lr": 0.1, "betas": [0.9, 0.98]}


def test_list_items_are_added(workshop) -> None:
    for value in ("Timer", "lightning.pytorch.callbacks.Timer", "{class_path: Timer}", "[Timer]"):
        callbacks = _get(workshop, [("trainer.callbacks+", value)], "trainer.callbacks")
        assert callbacks[2] == {"class_path": "lightning.pytorch.callbacks.Timer"}  # type: ignore[index, call-overload]
    both = [("trainer.callbacks+", "Timer"), ("trainer.callbacks+", "LearningRateMonitor")]
    assert len(_get(workshop, both, "trainer.callbacks")) == 4  # type: ignore[arg-type]
    none = workshop.change("  callbacks:\n", "  callbacks: []\n").split("    - class_path: lightning")[0]
    text = none + workshop.sample[workshop.sample.index("model:\n") :]
    for start in (text, text.replace("  callbacks: []\n", ""), text.replace("[]", "Timer").replace("- Timer", "")):
        recipe = workshop.read(start, [("trainer.callbacks+", "RichModelSummary")])
        assert recipe.tree["trainer"]["callbacks"][-1]["class_path"].endswith("RichModelSummary")


def _cases() -> list[tuple[str, ...]]:
    blocks = (Path(__file__).parent / "wrong_options.txt").read_text().split("\n\n")[1:]
    return [tuple(line[2:] for line in block.splitlines()) for block in blocks]


@pytest.mark.parametrize(("option", "text", "message"), _cases())
def test_a_wrong_option_is_named(workshop, option: str, text: str, message: str) -> None:
    said = workshop.seen(workshop.sample, [(option, text)])
    assert len(said) == 1, said
    assert said[0].startswith(f"--{option}: {message}"), said


def test_an_option_for_something_absent_says_how_to_make_it(workshop) -> None:
    text = workshop.sample[: workshop.sample.index("lr_scheduler:")]
    assert workshop.seen(text, [("lr_scheduler.warmup", "1 epochs")]) == [
        "--lr_scheduler.warmup: lr_scheduler is not set; choose its class with --lr_scheduler CLASS"
    ]
    recipe = workshop.read(text, [("lr_scheduler.warmup", "1 epochs"), ("lr_scheduler", "WarmupCosine")])
    assert recipe.tree["lr_scheduler"] == {
        "class_path": "zoo.training.WarmupCosine",
        "init_args": {"warmup": "1 epochs"},
    }


def test_two_items_of_one_class_need_a_number(workshop) -> None:
    overrides = [("trainer.callbacks+", "{class_path: EarlyStopping, init_args: {monitor: x}}")]
    said = workshop.seen(workshop.sample, [*overrides, ("trainer.callbacks.EarlyStopping.patience", "1")])
    assert said == [
        "--trainer.callbacks.EarlyStopping.patience: trainer.callbacks has 2 items of class EarlyStopping; "
        "give the number, as --trainer.callbacks.0 or --trainer.callbacks.2"
    ]
    assert workshop.seen(workshop.sample, [*overrides, ("trainer.callbacks.2.patience", "1")]) == []


def test_a_failing_option_leaves_nothing_behind(workshop) -> None:
    before = workshop.read(workshop.sample).tree
    options = [("trainer.profiler.x", "1"), ("model.flips.a.b", "1"), ("data.nope.x", "1"), ("new.a", "1")]
    recipe = workshop.read(workshop.sample, options)
    assert recipe.tree == before
    assert len(recipe.found) == len(options)


def test_mistakes_of_the_file_and_of_options_come_in_one_list(workshop) -> None:
    text = workshop.change("max_epochs: 3", "max_epoch: 3")
    assert workshop.seen(text, [("model.marjin", "1"), ("optimizer.lrr", "1")]) == [
        "recipe.yaml:6: Trainer takes no 'max_epoch'; did you mean 'max_epochs'?",
        "--model.marjin: Net takes no 'marjin'; did you mean 'margin'?",
        "--optimizer.lrr: AdamW takes no 'lrr'; did you mean 'lr'?",
    ]


def test_an_option_repairs_what_the_file_has_wrong(workshop) -> None:
    text = workshop.change("margin: 1e-3", "margin: big")
    assert workshop.seen(text, [("model.margin", "1")]) == []
