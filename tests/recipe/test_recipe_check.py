"""What the check says of each kind of mistake, word by word, without importing what the recipe names."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from zoo.recipe import check
from zoo.recipe.checking import static

SEVEN = """\
seed_everything: 0
trainer:
  max_epoch: 3
  callbacks:
    - class_path: lightning.pytorch.callbacks.EarlyStopping
      init_args:
        moniter: val/auc
        patience: 3
model:
  class_path: MODULE.Net
  init_args:
    width: 3
    marjin: 1.0
    loss:
      class_path: MODULE.Hinj
    deep: true
    deep: false
dataa:
  class_path: MODULE.Data
optimizer:
  class_path: torch.optim.AdamW
  init_args:
    lrr: 1e-3
"""
SAID = [
    "recipe.yaml:3: Trainer takes no 'max_epoch'; did you mean 'max_epochs'?",
    "recipe.yaml:7: EarlyStopping takes no 'moniter'; did you mean 'monitor'?",
    "recipe.yaml:13: Net takes no 'marjin'; did you mean 'margin'?",
    "recipe.yaml:15: there is no class 'MODULE.Hinj'; did you mean 'MODULE.Hinge'?",
    "recipe.yaml:17: 'deep' stands twice; first on line 16",
    "recipe.yaml:18: there is no section 'dataa'; did you mean 'data'?",
    "recipe.yaml:23: AdamW takes no 'lrr'; did you mean 'lr'?",
]


def test_the_sample_has_no_mistake_that_its_text_shows(workshop) -> None:
    seen = static(workshop.read(workshop.sample))
    assert seen.mistakes == []
    assert seen.doubts == []


def test_seven_mistakes_are_all_named_in_one_run(workshop) -> None:
    recipe = workshop.read(SEVEN)
    assert [str(m) for m in check(recipe)] == [line.replace("MODULE", workshop.module) for line in SAID]


def test_mistakes_in_the_text_cost_no_torch_and_no_time(workshop) -> None:
    workshop.write(SEVEN)
    (workshop.folder / f"{workshop.module}.py").open("a").write("\nopen('imported', 'w').close()\n")
    code = (
        "import sys, time; start = time.perf_counter(); import zoo.recipe as z\n"
        "mistakes = z.check(z.read('recipe.yaml')); took = time.perf_counter() - start\n"
        "heavy = {'torch', 'lightning', 'jsonargparse', 'numpy'} & set(sys.modules)\n"
        "print(len(mistakes), len(heavy), took)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": _root()}
    )
    count, heavy, took = run.stdout.split()
    assert (count, heavy) == ("7", "0")
    assert float(took) < 1.5
    assert not (workshop.folder / "imported").exists()


def _root() -> str:
    return str(Path(__file__).resolve().parents[2])


def _cases() -> list[tuple[str, str, str, str]]:
    cases = []
    for block in (Path(__file__).parent / "wrong.txt").read_text().split("\n\n")[1:]:
        parts = {line[0]: line[2:].replace("\\n", "\n") for line in block.splitlines()}
        cases.append((parts["-"], parts["+"], parts.get("@", parts["+"]), parts["="]))
    return cases


@pytest.mark.parametrize(("old", "new", "at", "message"), _cases(), ids=[case[1].strip()[:40] for case in _cases()])
def test_a_mistake_is_named_with_its_line(workshop, old: str, new: str, at: str, message: str) -> None:
    text = workshop.change(old, new)
    message = message.replace("MODULE", workshop.module)
    assert workshop.seen(text) == [f"recipe.yaml:{workshop.line(text, at)}: {message}"]


FORMS = [
    ("", ["recipe.yaml:1: the recipe is empty; it needs the sections model and data"]),
    ("# only a comment\n", ["recipe.yaml:1: the recipe is empty; it needs the sections model and data"]),
    ("- model\n", ["recipe.yaml:1: a recipe is a mapping with the sections model, data, ..., got a list"]),
    ("model\n", ["recipe.yaml:1: a recipe is a mapping with the sections model, data, ..., got 'model'"]),
    ("{}\n", ["recipe.yaml:1: the section 'model' is missing", "recipe.yaml:1: the section 'data' is missing"]),
    (
        "model: MODULE.Net\ndata:\n  init_args: {}\noptimizer: {}\n",
        [
            "recipe.yaml:1: Net needs 'width'",
            "recipe.yaml:3: data: class_path (of a ZooData) is missing; an object is class_path and init_args",
            "recipe.yaml:4: optimizer: class_path (of an Optimizer) is missing; an object is class_path and init_args",
        ],
    ),
    (
        "model:\n  class_path: MODULE.Net\n  width: 3\ndata:\n  class_path: MODULE.Data\n  init_args: [1]\n",
        [
            "recipe.yaml:1: the section 'optimizer' is missing: training needs one",
            "recipe.yaml:2: Net needs 'width'",
            "recipe.yaml:3: an object takes class_path and init_args, no 'width'; 'width' belongs under init_args",
            "recipe.yaml:6: data.init_args: expected mapping of Data's arguments, got [1]",
        ],
    ),
    (
        "model: MODULE.Data\ndata: MODULE.Net\noptimizer: torch.nn.Linear\ntrainer: [1]\n",
        [
            "recipe.yaml:1: MODULE.Data is no ZooModule",
            "recipe.yaml:2: MODULE.Net is no ZooData",
            "recipe.yaml:3: torch.nn.Linear is no Optimizer",
            "recipe.yaml:4: trainer: expected mapping of Trainer's arguments or null, got [1]",
        ],
    ),
    (
        "model: null\ndata: 3\noptimizer: torch.optim.Adam\n",
        [
            "recipe.yaml:1: model: expected a ZooModule (class_path), got null",
            "recipe.yaml:2: data: expected a ZooData (class_path), got 3",
        ],
    ),
]


@pytest.mark.parametrize(("text", "said"), FORMS)
def test_wrong_forms(workshop, text: str, said: list[str]) -> None:
    assert workshop.seen(text) == [line.replace("MODULE", workshop.module) for line in said]


def test_a_class_path_beside_its_arguments_is_explained(workshop) -> None:
    text = workshop.change(
        "  class_path: torch.optim.AdamW\n", "  class_path: torch.optim.AdamW\n  weight_decay: 0.1\n"
    )
    assert workshop.seen(text) == [
        f"recipe.yaml:{workshop.line(text, 'weight_decay')}: an object takes class_path and init_args, "
        "no 'weight_decay'; 'weight_decay' belongs under init_args"
    ]


def test_values_under_a_key_that_stands_twice_are_checked_both_times(workshop) -> None:
    text = workshop.change("data:\n", "model: {class_path: MODULE.Net, init_args: {width: x}}\ndata:\n")
    text = text.replace("${model.init_args.monitor}", "val/auc")
    first = workshop.line(text, "model:\n")
    second = workshop.line(text, "{width: x}")
    assert workshop.seen(text.replace("margin: 1e-3", "margin: big")) == [
        f"recipe.yaml:{workshop.line(text, 'margin: 1e-3')}: model.init_args.margin: expected float, got 'big'",
        f"recipe.yaml:{second}: 'model' stands twice; first on line {first}",
        f"recipe.yaml:{second}: model.init_args.width: expected int, got 'x'",
    ]


def test_arguments_of_a_misspelt_class_are_checked_against_the_nearest(workshop) -> None:
    text = workshop.change("class_path: MODULE.Net\n", "class_path: MODULE.Nett\n").replace(
        "variant: paper", "varriant: x"
    )
    assert [mistake.partition(": ")[2] for mistake in workshop.seen(text)] == [
        f"there is no class '{workshop.module}.Nett'; did you mean '{workshop.module}.Net'?",
        "Net takes no 'varriant'; did you mean 'variant'?",
        "model.init_args.varriant: expected 'official' or 'paper', got 'x'",
    ]


def test_arguments_of_an_unknown_class_are_not_guessed_at(workshop) -> None:
    text = workshop.change("class_path: torch.optim.AdamW", "class_path: some.where.Else")
    assert len(workshop.seen(text)) == 1


def test_a_model_with_its_own_optimizer_needs_none(workshop, python: Callable[[str], str]) -> None:
    own = python(
        f"from {workshop.module} import Net\n"
        "class Own(Net):\n    def configure_optimizers(self):\n        return None\n"
        "class Other(Own):\n    pass\n"
    )
    text = f"model: {{class_path: {own}.Other, init_args: {{width: 1}}}}\ndata: MODULE.Data\n"
    assert workshop.seen(text) == []
    assert workshop.seen(text.replace(f"{own}.Other", "MODULE.Net")) == [
        "recipe.yaml:1: the section 'optimizer' is missing: training needs one"
    ]


def test_checks_of_large_recipes_stay_quick(workshop) -> None:
    many = "".join(f"      k{index}: {index}\n" for index in range(5000))
    text = workshop.change("    weights: {a: 1, b: 2.0}\n", f"    weights:\n{many}")
    start = time.perf_counter()
    assert workshop.seen(text) == []
    assert time.perf_counter() - start < 10
