"""The second check (real classes, by jsonargparse) and the objects that are built."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping, RichModelSummary

from zoo.recipe import (
    RecipeError,
    build_data,
    build_model,
    build_optimizer,
    build_scheduler,
    build_trainer_arguments,
    check,
    ensure,
    read,
)
from zoo.training import Span, WarmupCosine, ZooData, ZooModule


def _said(workshop, text: str, overrides=()) -> list[str]:
    return [str(mistake) for mistake in check(workshop.read(text, overrides))]


def test_the_sample_passes_and_builds(workshop) -> None:
    recipe = workshop.read(workshop.sample)
    assert check(recipe) == []
    ensure(recipe)
    model = build_model(recipe)
    assert isinstance(model, ZooModule)
    given = model.given  # type: ignore[attr-defined]
    module = sys.modules[workshop.module]
    assert given["margin"] == 1e-3
    assert given["size"] == (4, 5)
    assert given["weights"] == {"a": 1.0, "b": 2.0}
    assert given["flips"] == module.Flips(share=0.1)
    assert given["activation"] is torch.nn.functional.relu
    assert isinstance(given["loss"], module.Hinge)
    assert isinstance(given["loss"].inner, module.Steep)
    assert (given["loss"].margin, given["loss"].inner.slope, given["loss"].inner.margin) == (0.5, 2.0, 2.0)
    assert [type(loss) for loss in given["losses"]] == [module.Hinge, module.Loss]
    assert model.groups == [{"pattern": "bias$", "lr_scale": 2.0}]
    data = build_data(recipe)
    assert isinstance(data, ZooData)
    assert (data.root, data.batch_size, data.workers) == ("users/own", 8, 0)


def test_trainer_arguments_are_those_written(workshop) -> None:
    arguments = build_trainer_arguments(workshop.read(workshop.sample))
    callbacks = arguments.pop("callbacks")
    assert [type(callback) for callback in callbacks] == [EarlyStopping, RichModelSummary]
    assert (callbacks[0].monitor, callbacks[0].patience) == ("val/auc", 3)
    assert arguments == {
        "max_epochs": 3,
        "precision": "16-mixed",
        "gradient_clip_val": 1,
        "max_time": {"hours": 1},
    }
    arguments.pop("precision")
    Trainer(**arguments, logger=False, accelerator="cpu", enable_progress_bar=False, enable_model_summary=False)
    text = workshop.sample[workshop.sample.index("model:\n") :].replace("${model", "${model")
    assert build_trainer_arguments(workshop.read(text)) == {}


def test_optimizer_and_schedule_are_callables_with_the_written_arguments(workshop) -> None:
    recipe = workshop.read(workshop.sample)
    optimizer = build_optimizer(recipe)
    assert isinstance(optimizer, partial)
    assert optimizer.func is torch.optim.AdamW
    assert optimizer.keywords == {"lr": 1e-3, "betas": (0.9, 0.98)}
    built = optimizer([{"params": [torch.nn.Parameter(torch.zeros(1))]}])
    scheduler = build_scheduler(recipe)
    assert scheduler is not None
    schedule = scheduler(built, Span(5, 20))
    assert isinstance(schedule, WarmupCosine)
    assert schedule.warmup == 10
    without = workshop.read(workshop.sample, [("lr_scheduler", "null")])
    assert build_scheduler(without) is None


def test_objects_where_anything_goes_are_checked_too(workshop) -> None:
    value = f"{{class_path: {workshop.module}.Steep}}"
    assert _said(workshop, workshop.sample, [("model.anything", value)]) == ["--model.anything: Steep needs 'slope'"]


def test_what_only_an_import_tells_is_told_by_line(workshop, python) -> None:
    module = python(
        "import abc\n"
        f"from {workshop.module} import Loss\n"
        "class Abstract(Loss, abc.ABC):\n    @abc.abstractmethod\n    def rank(self): ...\n"
        "Made = type('Made', (Loss,), {})\n"
        "Other = type('Other', (), {})\n"
        "number = 3 + 4\n"
        "class Loose(Loss):\n"
        "    def __init__(self, margin: float = 1.0, **kwargs):\n"
        "        super().__init__(margin); self.slope = kwargs.pop('slope', 2.0)\n"
    )
    for name, message in {
        "Abstract": f"{module}.Abstract is abstract: it lacks rank",
        "Other": f"{module}.Other is no Loss",
        "number": f"{module}.number is no class",
    }.items():
        text = workshop.change("class_path: MODULE.Hinge\n", f"class_path: {module}.{name}\n")
        line = workshop.line(text, f"{module}.{name}")
        assert _said(workshop, text) == [f"recipe.yaml:{line}: {message}"]
    assert _said(workshop, workshop.change("[Hinge, {", f"[{module}.Made, {{")) == []
    loose = f"{{class_path: {module}.Loose, init_args: {{slop: 1}}}}"
    text = workshop.change("losses: [Hinge, ", f"losses: [{loose}, ")
    line = workshop.line(text, loose)
    assert _said(workshop, text) == [f"recipe.yaml:{line}: Loose takes no 'slop'; did you mean 'slope'?"]
    assert _said(workshop, text.replace("slop:", "slope:")) == []
    both = text.replace("max_epochs: 3", "max_epoch: 3")
    assert len(_said(workshop, both)) == 2, "a doubt is looked into although the text shows another mistake"


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("import not_installed_anywhere\nclass Hinge: pass\n", "No module named 'not_installed_anywhere'"),
        ("raise RuntimeError('no camera')\nclass Hinge: pass\n", "RuntimeError: no camera"),
        ("class Hinge: pass\nprint(undefined)\n", "NameError: name 'undefined' is not defined"),
    ],
)
def test_a_module_that_cannot_be_imported_is_named(workshop, python, source: str, why: str) -> None:
    module = python(
        f"from {workshop.module} import Loss\n" + source.replace("class Hinge: pass", "class Hinge(Loss): pass")
    )
    text = workshop.change("class_path: MODULE.Hinge\n", f"class_path: {module}.Hinge\n")
    line = workshop.line(text, f"{module}.Hinge")
    assert _said(workshop, text) == [f"recipe.yaml:{line}: '{module}.Hinge' cannot be imported: {why}"]
    with pytest.raises(RecipeError, match="cannot be imported"):
        build_model(workshop.read(text))


def test_a_constructor_that_refuses_is_named_with_its_line(workshop, python) -> None:
    module = python(
        f"from {workshop.module} import Loss\nfrom zoo.errors import InputError\n"
        "class Picky(Loss):\n    def __init__(self, margin: float = 1.0, kind: str = 'value'):\n"
        "        raise {'value': ValueError, 'type': TypeError, 'input': InputError}[kind](f'{kind} {margin} is odd')\n"
    )
    with pytest.raises(RecipeError) as caught:
        build_model(workshop.read(workshop.sample, [("model.margin", "-1")]))
    line = workshop.line(workshop.sample, "class_path: MODULE.Net")
    assert str(caught.value) == f"recipe.yaml:{line}: Net: margin must not be negative, got -1.0"
    for kind in ("value", "type", "input"):
        text = workshop.change("class_path: MODULE.Hinge\n", f"class_path: {module}.Picky\n")
        text = text.replace("        inner:\n          class_path: MODULE.Steep\n", "        kind: KIND\n")
        text = text.replace("          init_args:\n            slope: 2\n", "").replace("KIND", kind)
        with pytest.raises(RecipeError) as caught:
            build_model(workshop.read(text))
        line = workshop.line(text, f"{module}.Picky")
        assert str(caught.value) == f"recipe.yaml:{line}: Picky: {kind} 0.5 is odd"
        assert caught.value.exit_code == 2


def test_building_a_section_needs_only_that_section(workshop) -> None:
    recipe = workshop.read(workshop.change("margin: 1e-3", "margin: big"))
    assert isinstance(build_data(recipe), ZooData)
    with pytest.raises(RecipeError, match="expected float, got 'big'"):
        build_model(recipe)
    broken = workshop.read("model: [\n")
    for build in (build_model, build_data, build_trainer_arguments):
        with pytest.raises(RecipeError, match="this is not YAML"):
            build(broken)
    with pytest.raises(RecipeError, match="the section 'model' is missing"):
        build_model(workshop.read("data: MODULE.Data\n"))


def test_the_users_own_module_lies_in_the_current_folder(workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is found after all installed ones, also when the recipe lies elsewhere."""
    path = workshop.write(workshop.sample, "elsewhere/recipe.yaml")
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry != ""])
    recipe = read(path)
    assert check(recipe) == []
    assert sys.path[-1] == str(Path.cwd())
    assert type(build_model(recipe)).__module__ == workshop.module


def test_function_class_paths(workshop, python) -> None:
    module = python(
        f"from {workshop.module} import Net, Loss\n"
        "def make(width: int, margin: float = 0.25) -> Net:\n    return Net(width=width, margin=margin)\n"
        "def wrong(width: int) -> Loss:\n    return Loss()\n"
    )
    text = f"model: {{class_path: {module}.make, init_args: {{width: 2}}}}\ndata: MODULE.Data\noptimizer: SGD\n"
    assert _said(workshop, text) == []
    assert build_model(workshop.read(text)).given["margin"] == 0.25  # type: ignore[attr-defined]
    assert _said(workshop, text.replace("width:", "widht:")) == [
        "recipe.yaml:1: make takes no 'widht'; did you mean 'width'?"
    ]
    with pytest.raises(RecipeError, match="wrong is no ZooModule"):
        build_model(workshop.read(text.replace("make", "wrong")))


def test_argument_names_that_parsers_use_themselves(workshop, python) -> None:
    module = python(
        f"from {workshop.module} import Loss\n"
        "class Named(Loss):\n"
        "    def __init__(self, config: str = 'a', print_config: bool = False, items: int = 2, keys: int = 3,\n"
        "                 get: int = 4):\n"
        "        super().__init__(); self.all = (config, print_config, items, keys, get)\n"
    )
    arguments = "{config: x, print_config: true, items: 6, keys: 7, get: 8}"
    text = workshop.change("losses: [Hinge, ", f"losses: [{{class_path: {module}.Named, init_args: {arguments}}}, ")
    assert _said(workshop, text) == []
    model = build_model(workshop.read(text))
    assert model.given["losses"][0].all == ("x", True, 6, 7, 8)  # type: ignore[attr-defined]
    wrong = text.replace("keys: 7", "keys: seven").replace("get: 8", "get: x")
    assert len(_said(workshop, wrong)) == 2


def test_unknown_accelerators_and_strategies_are_named(workshop) -> None:
    text = workshop.change("precision: 16-mixed", "accelerator: abacus\n  strategy: slowly")
    said = _said(workshop, text)
    line = workshop.line(text, "abacus")
    assert len(said) == 2
    assert said[0].startswith(f"recipe.yaml:{line}: trainer.accelerator: expected 'cpu', 'cuda', ")
    assert said[1].startswith(f"recipe.yaml:{line + 1}: trainer.strategy: expected 'ddp', ")
    assert _said(workshop, text.replace("abacus", "gpu").replace("slowly", "fsdp")) == []
