"""The carried text: complete for zoo's classes, free of everything else, deterministic, and a fixed point."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import yaml

from zoo.recipe import carried, check, read, text
from zoo.recipe.classes import Classes
from zoo.recipe.recipe import read_text
from zoo.recipe.symbols import Class, Symbols
from zoo.recipe.trust import Trust
from zoo.recipe.writing import _default

ROOT = Path(__file__).resolve().parents[2]
RECIPES = sorted((ROOT / "recipes").rglob("*.yaml"))

ZOO = """\
model:
  class_path: MODULE.Net
  init_args: {width: 1}
data: MODULE.Data
optimizer: {class_path: SGD, init_args: {nesterov: true, momentum: 0.9}}
lr_scheduler: {class_path: MultiStep, init_args: {warmup: 1 epochs, milestones: [2 epochs, 5 steps]}}
trainer: {max_epochs: 2, callbacks: RichModelSummary}
"""


def test_the_text_of_a_recipe(workshop) -> None:
    assert (
        text(workshop.read(ZOO))
        == """\
trainer:
  callbacks:
    class_path: lightning.pytorch.callbacks.RichModelSummary
  max_epochs: 2
model:
  class_path: MODULE.Net
  init_args:
    width: 1
data:
  class_path: MODULE.Data
optimizer:
  class_path: torch.optim.SGD
  init_args:
    momentum: 0.9
    nesterov: true
lr_scheduler:
  class_path: zoo.training.MultiStep
  init_args:
    milestones:
    - 2 epochs
    - 5 steps
    gamma: 0.1
    warmup: 1 epochs
    warmup_factor: 0.0
""".replace("MODULE", workshop.module)
    )


def _texts(workshop) -> list[str]:
    options = [("model.title", "${model.init_args.monitor}: x"), ("data.root", r"a\${b}"), ("model.loss", "Hinge")]
    recipes = [workshop.read(workshop.sample), workshop.read(ZOO), workshop.read(workshop.sample, options)]
    return [text(recipe) for recipe in recipes + [read(path) for path in RECIPES]]


def test_it_reads_back_to_itself(workshop) -> None:
    for first in _texts(workshop):
        again = read_text(first, "again", "again.yaml", Trust(), ())
        assert again.found == []
        assert text(again) == first
        untrusted = carried(first, "best.ckpt", trust=[workshop.module])
        assert text(untrusted) == first
        assert untrusted.tree == again.tree


def test_it_keeps_what_recipe_and_overrides_wrote(workshop) -> None:
    recipe = workshop.read(workshop.sample, [("model.margin", "0.125"), ("optimizer", "SGD"), ("data.root", r"a\${b}")])
    tree = yaml.safe_load(text(recipe))
    assert tree["model"]["init_args"]["margin"] == 0.125
    assert tree["optimizer"] == {"class_path": "torch.optim.SGD"}
    assert tree["trainer"]["callbacks"][0]["init_args"]["monitor"] == "val/auc"
    assert tree["data"]["init_args"]["root"] == r"a\${b}"
    assert carried(text(recipe), "x.ckpt", trust=[workshop.module]).tree["data"]["init_args"]["root"] == "a${b}"


def test_key_order_and_comments_do_not_matter(workshop) -> None:
    tree = yaml.safe_load(workshop.sample.replace("MODULE", workshop.module))
    rng = random.Random(1)

    def shuffled(value: object) -> object:
        if isinstance(value, dict):
            keys = list(value)
            if "a" not in keys:  # the order of a free mapping may mean something
                rng.shuffle(keys)
            return {key: shuffled(value[key]) for key in keys}
        return [shuffled(item) for item in value] if isinstance(value, list) else value

    expected = text(workshop.read(workshop.sample))
    for _ in range(5):
        dumped = "# other comment\n" + yaml.safe_dump(shuffled(tree), sort_keys=False)
        assert text(workshop.read(dumped.replace("1e-3", "0.001"))) == expected


def test_written_recipes_have_no_mistakes(workshop) -> None:
    assert check(read_text(text(workshop.read(ZOO)), "x", "x", Trust(), ())) == []


def _zoo_classes() -> list[Class]:
    symbols = Symbols()
    found = []
    for home in ("zoo.training", "zoo.ranking", "zoo.layers", "zoo.metrics", "zoo.domains"):
        module = symbols.finder.module(home)
        names = module.submodules() if home == "zoo.domains" and module is not None else [""]  # type: ignore[union-attr]
        for name in names:
            package = symbols.finder.module(f"{home}.{name}".rstrip("."))
            for word in symbols.names(package) if package is not None else []:
                cls = symbols.member(package, word) if package is not None else None
                if isinstance(cls, Class) and cls.module.name.startswith("zoo."):
                    found.append(cls)
    return found


def test_every_default_of_zoo_can_be_written() -> None:
    """Defaults of constructors that recipes reach are plain values."""
    classes = Classes(Symbols(), Trust())
    slots = [classes.resolve(path).found for path in ("torch.nn.Module", "torch.optim.lr_scheduler.LRScheduler")]
    seen = 0
    for cls in _zoo_classes():
        if any(isinstance(base, Class) and classes.symbols.is_subclass(cls, base) for base in slots):
            for parameter in classes.signature(cls).parameters.values():
                if not parameter.required:
                    yaml.safe_dump(_default(classes, parameter, cls))
                    seen += 1
    assert seen > 20


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_argument_of_zoo_is_left_out(path: Path) -> None:
    recipe = read(path)
    tree = yaml.safe_load(text(recipe))
    for section in ("model", "data"):
        found = recipe.classes.resolve(tree[section]["class_path"]).found
        names = list(recipe.classes.signature(found).parameters)
        assert list(tree[section]["init_args"]) == names
