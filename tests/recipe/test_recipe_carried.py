"""Recipes out of checkpoints: judged as text, nothing imported that nobody vouches for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from zoo.errors import InputError
from zoo.recipe import carried, text
from zoo.recipe.recipe import Recipe
from zoo.recipe.trust import ALLOWED, Trust

GOOD = """\
trainer:
  max_epochs: 2
  callbacks:
  - class_path: lightning.pytorch.callbacks.EarlyStopping
    init_args: {monitor: val/ndcg}
model:
  class_path: zoo.training.ZooModule
  init_args: {monitor: val/x, mode: max}
data:
  class_path: zoo.training.ZooData
  init_args: {root: null, batch_size: 1, workers: 0, synthesize: true, limit: 1, on_error: stop}
optimizer:
  class_path: torch.optim.Adam
"""


@pytest.fixture
def sample(workshop) -> str:
    return text(workshop.read(workshop.sample))


@pytest.fixture
def trap(workshop, python) -> str:
    """A module that leaves a trace when it is imported."""
    return python(
        "from pathlib import Path\nPath('imported').touch()\n"
        f"from {workshop.module} import Loss, Net\n"
        "class Trap(Loss): pass\nclass Whole(Net): pass\ndef call(x): return x\n"
    )


def _refused(source: str, trust: tuple[str, ...] = (), overrides=()) -> str:
    with pytest.raises(InputError) as caught:
        carried(source, "best.ckpt", trust, overrides)
    assert not Path("imported").exists()
    return str(caught.value)


def test_a_trusted_module_works(workshop, sample: str) -> None:
    recipe = carried(sample, "best.ckpt", trust=[workshop.module])
    assert isinstance(recipe, Recipe)
    assert recipe.tree["model"] == workshop.read(workshop.sample).tree["model"]
    assert text(recipe) == sample


def test_zoos_own_classes_need_no_trust() -> None:
    assert carried(GOOD, "best.ckpt").tree["model"]["init_args"] == {"monitor": "val/x", "mode": "max"}


def test_a_module_that_nobody_vouches_for_is_refused(workshop, sample: str) -> None:
    said = _refused(sample)
    line = sample[: sample.index(f"{workshop.module}.Net")].count("\n") + 1
    assert f"best.ckpt:{line}: '{workshop.module}.Net' is not imported: a recipe out of a checkpoint" in said
    assert f"add --trust {workshop.module}" in said
    assert workshop.module not in sys.modules


@pytest.mark.parametrize(
    "old_new",
    [
        ("class_path: MODULE.Hinge", "class_path: TRAP.Trap"),
        ("class_path: MODULE.Net", "class_path: TRAP.Whole"),
        ("activation: torch.nn.functional.relu", "activation: TRAP.call"),
        ("activation: torch.nn.functional.relu", "activation: {class_path: TRAP.Trap}"),
        ("activation: torch.nn.functional.relu", "anything: {class_path: TRAP.Trap}"),
        ("activation: torch.nn.functional.relu", "anything: {deep: [{class_path: TRAP.Trap}]}"),
        ("activation: torch.nn.functional.relu", "anything: '{class_path: TRAP.Trap}'"),
        ("activation: torch.nn.functional.relu", 'anything: "{\\"class_path\\": \\"TRAP.Trap\\"}"'),
        ("activation: torch.nn.functional.relu", "activation: '{class_path: TRAP.Trap}'"),
        ("- class_path: MODULE.Hinge", "- TRAP.Trap"),
        ("class_path: torch.optim.AdamW", "class_path: TRAP.Trap"),
        ("class_path: lightning.pytorch.callbacks.RichModelSummary", "class_path: TRAP.Trap"),
        ("precision: 16-mixed", "plugins: TRAP.Trap"),
        ("precision: 16-mixed", "strategy: TRAP.Trap"),
        ("class_path: MODULE.Steep", "class_path: MODULE.Steep\n          dict_kwargs: {inner: TRAP.Trap}"),
        (
            "class_path: MODULE.Steep",
            "class_path: MODULE.Steep\n          dict_kwargs: {inner: {class_path: TRAP.Trap}}",
        ),
        (
            "class_path: lightning.pytorch.callbacks.RichModelSummary",
            "class_path: lightning.pytorch.callbacks.LambdaCallback\n    init_args: {on_fit_start: TRAP.call}",
        ),
    ],
)
def test_nothing_reaches_a_trap(workshop, trap: str, old_new: tuple[str, str]) -> None:
    sample = text(workshop.read(workshop.sample)).replace(workshop.module, "MODULE")
    sample = sample.replace("losses:\n    - class_path: MODULE.Hinge", "losses:\n    - class_path: MODULE.Loss")
    if old_new[0].startswith("- "):
        sample = sample.replace("    - class_path: MODULE.Loss\n", "    - class_path: MODULE.Hinge\n", 1)
    assert sample.count(old_new[0]) == 1, sample
    source = sample.replace(*old_new).replace("MODULE", workshop.module).replace("TRAP", trap)
    said = _refused(source, (workshop.module,))
    assert trap in said or "quoted YAML" in said
    assert trap not in sys.modules


@pytest.mark.parametrize(
    "path",
    [
        "os.system",
        "subprocess.Popen",
        "torch.load",
        "torch.hub.load",
        "torch.nn.functional.torch.hub.load",
        "torch.nn.modules.module.warnings.warn",
        "torch.nn.Linear.forward",
        "torch.nn.modules",
        "torch.optim.optimizer.functools.partial",
        "torchnn.Linear",
        "zoo_evil.Loss",
        "zoo.recipe.imports.importlib.import_module",
        "zoo.recipe.build.partial",
        "zoo.training.ZooData",
        "torch.nn.Linear",
        "lightning.pytorch.Trainer",
        "lightning.pytorch.callbacks.EarlyStopping",
        "timm.create_model",
        "torchvision.models.resnet18",
        "builtins.eval",
        "eval",
        "Popen",
        "Loss",
    ],
)
def test_what_a_model_slot_may_not_name(workshop, path: str) -> None:
    source = GOOD.replace("class_path: zoo.training.ZooModule", f"class_path: {path}")
    assert "best.ckpt:7: " in _refused(source)


@pytest.mark.parametrize(
    "path",
    ["os.system", "torch.hub.load", "torch.nn.modules.module.warnings.warn", "torch.nn.Nothing", "timm.create_mode"],
)
def test_what_a_callable_may_not_name(workshop, sample: str, path: str) -> None:
    source = sample.replace("torch.nn.functional.relu", path)
    assert f"'{path}'" in _refused(source, (workshop.module,))


def test_allowed_prefixes_are_whole_components() -> None:
    trust = Trust(False, ("mine.models",))
    assert all(trust.allows(f"{prefix}.X") for prefix in ALLOWED)
    assert trust.allows("mine.models.Net")
    for path in ("mine.modelsX.Net", "mine.Net", "zoo2.X", "torch.X", "torch.nnx.X", "lightning.X", "timmy.X"):
        assert not trust.allows(path)


def test_nothing_is_interpolated(workshop, sample: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "hidden")
    for value in ("${oc.env:SECRET}", "${model.init_args.width}", "x${"):
        source = sample.replace("root: users/own", f"root: '{value}'")
        said = _refused(source, (workshop.module,))
        assert f"'{value}': interpolations are not followed in a carried recipe" in said
        assert "hidden" not in said


def test_aliases_tags_and_sizes_are_refused(sample: str) -> None:
    assert "the alias '*a' is not allowed here" in _refused("model: &a {}\ndata: *a\n")
    assert "the tag 'python/name:os.system' is not allowed" in _refused("model: !!python/name:os.system ''\ndata: 1\n")
    assert "this carries no recipe" in _refused(sample + "#" * 300_000)
    refused = _refused("model: " + "[" * 5000)
    assert "nested more than" in refused or "nesting depth" in refused  # libyaml has a bound of its own
    assert "this is not YAML" in _refused("model: {")
    assert "the recipe is empty" in _refused("")
    with pytest.raises(InputError, match="this carries no recipe"):
        carried(b"model: 1", "best.ckpt")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="--trust os;ls: this is no module"):
        carried(sample, "best.ckpt", ["os;ls"])


def test_model_and_data_are_checked_strictly_the_rest_for_imports_only(workshop, sample: str) -> None:
    aged = sample.replace("max_epochs: 3", "max_epochs_of_old: 3").replace("    lr: 0.001\n", "    old_rate: 0.001\n")
    assert carried(aged, "best.ckpt", [workshop.module]).tree["trainer"]["max_epochs_of_old"] == 3
    for old, new, why in (
        ("margin: 0.001", "margin: big", "expected float, got 'big'"),
        ("batch_size: 8", "batch_sise: 8", "Data takes no 'batch_sise'; did you mean 'batch_size'?"),
        ("data:\n", "date:\n", "the section 'data' is missing"),
        ("batch_size: 8", "batch_size: 8\n    batch_size: 8", "'batch_size' stands twice"),
    ):
        assert why in _refused(sample.replace(old, new), (workshop.module,))


def test_the_users_options_are_trusted(workshop, sample: str) -> None:
    overrides = [("data.batch_size", "16"), ("data.root", "elsewhere"), ("model.loss", f"{workshop.module}.Steep")]
    recipe = carried(sample, "best.ckpt", [workshop.module], [*overrides, ("model.loss.slope", "1")])
    assert recipe.tree["data"]["init_args"]["batch_size"] == 16
    said = _refused(sample, (workshop.module,), [("data.batch_sise", "16")])
    assert said == "--data.batch_sise: Data takes no 'batch_sise'; did you mean 'batch_size'?"


def test_the_current_folder_is_out_of_reach(workshop, python, sample: str) -> None:
    """Without --trust a module of the current folder is not even looked at."""
    python("raise SystemExit\n", "torchmetrics_extra")
    recipe_text = GOOD.replace("zoo.training.ZooModule", "torchmetrics_extra.X")
    assert "is not imported" in _refused(recipe_text)


def test_a_file_here_with_the_name_of_an_allowed_library_is_refused(
    workshop, python, sample: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    python(
        "from pathlib import Path\nPath('imported').touch()\nfrom torch import nn\nclass X(nn.Module): pass\n", "timm"
    )
    monkeypatch.delitem(sys.modules, "timm", raising=False)
    monkeypatch.syspath_prepend(workshop.folder)  # as `python -m zoo` has it
    source = sample.replace("activation: torch.nn.functional.relu", "activation: {class_path: timm.X}")
    assert "'timm.X' is not imported" in _refused(source, (workshop.module,))
