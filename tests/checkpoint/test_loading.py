"""From a checkpoint to a model, and from a trained model to the start of another."""

from __future__ import annotations

import inspect
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import zoo as package
from zoo.checkpoint import initialise, load, open_target, read, write_safetensors
from zoo.errors import InputError
from zoo.training import ZooModule

from .conftest import RECIPE

Save = Callable[..., Path]
TRUST = ("small_method",)


def refusal(call: Callable[..., Any], *args: Any, **keywords: Any) -> str:
    with pytest.raises(InputError) as caught:
        call(*args, **keywords)
    return str(caught.value)


@pytest.mark.parametrize("kind", ["ckpt", "safetensors", "folder"])
def test_a_loaded_model_is_the_saved_one(save: Save, contents: dict[str, Any], tmp_path: Path, kind: str) -> None:
    target = save("run/best.ckpt")
    if kind == "safetensors":
        write_safetensors(tmp_path / "x.safetensors", read(target))
        target = tmp_path / "x.safetensors"
    elif kind == "folder":
        target = target.parent
    module = load(target, trust=TRUST)
    assert isinstance(module, ZooModule)
    assert type(module).__name__ == "Small"
    assert {name: tensor.tolist() for name, tensor in module.state_dict().items()} == {
        name: tensor.tolist() for name, tensor in contents["state_dict"].items()
    }
    assert not module.training
    assert not module.network.training
    assert all(parameter.requires_grad for parameter in module.parameters())
    assert module.class_names == ["cat", "dog", "eel"]
    assert module.recipe_text == RECIPE
    file = target / "best.ckpt" if kind == "folder" else target
    assert module.card == {
        "recipe": RECIPE,
        "version": contents["zoo_version"],
        "classes": ["cat", "dog", "eel"],
        "metrics": {"val/error": 0.25},
        "preprocess": {"size": [4], "mean": 0.5},
        "source": "",
        "file": str(file),
    }


def test_the_package_exports_load(save: Save) -> None:
    assert inspect.signature(package.load) == inspect.signature(load)  # which takes names of models too
    assert package.load(save(), trust=TRUST).class_names == ["cat", "dog", "eel"]


def test_the_file_may_go_away_after_loading(save: Save, contents: dict[str, Any]) -> None:
    path = save()
    module = load(path, trust=TRUST)
    path.unlink()
    assert torch.equal(module.network[0].weight, contents["state_dict"]["network.0.weight"])


def test_training_with_averaged_weights_loads_the_averages(save: Save, contents: dict[str, Any]) -> None:
    raw = {name: tensor + 1 for name, tensor in contents["state_dict"].items()}
    module = load(save(current_model_state=raw, averaging_state={}), trust=TRUST)
    assert torch.equal(module.network[0].weight, contents["state_dict"]["network.0.weight"])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_precision_becomes_float32(save: Save, contents: dict[str, Any], dtype: torch.dtype) -> None:
    state = {k: v.to(dtype) if v.is_floating_point() else v for k, v in contents["state_dict"].items()}
    module = load(save(state_dict=state), trust=TRUST)
    assert {p.dtype for p in module.parameters()} == {torch.float32}
    assert torch.equal(module.network[0].weight, state["network.0.weight"].float())


# -- the carried recipe is not trusted


def test_a_module_of_the_users_own_must_be_trusted(save: Save) -> None:
    path = save()
    sys.modules.pop("small_method")
    message = refusal(load, path)
    assert "--trust small_method" in message
    assert str(path) in message
    assert "small_method" not in sys.modules


def test_a_recipe_that_names_something_harmful_imports_nothing(save: Save, tmp_path: Path) -> None:
    (tmp_path / "trap.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    recipe = RECIPE.replace("small_method.Small", "trap.Small")
    assert "trap" in refusal(load, save(zoo_recipe=recipe), trust=TRUST)
    assert "os.system" in refusal(load, save(zoo_recipe=RECIPE.replace("small_method.Small", "os.system")), trust=TRUST)
    assert not (tmp_path / "ran").exists()


def test_a_recipe_that_is_no_yaml(save: Save) -> None:
    path = save(zoo_recipe="model: [")
    assert str(path) in refusal(load, path)
    assert refusal(load, save(zoo_recipe="just text"), trust=TRUST)


def test_a_class_that_is_no_model(save: Save) -> None:
    recipe = RECIPE.replace("small_method.Small", "small_method.Other").replace(
        "    width: 8\n    num_classes: 3\n", ""
    )
    recipe = recipe.replace("  init_args:\n", "", 1)
    assert "Other" in refusal(load, save(zoo_recipe=recipe), trust=TRUST)


def test_only_model_and_data_are_taken_from_the_carried_recipe(save: Save) -> None:
    opened = open_target(save(), trust=TRUST)
    assert set(opened.recipe.tree) == {"model", "data"}
    assert opened.file.name == "best.ckpt"
    more = open_target(save(), trust=TRUST, overrides=[("trainer.devices", "2"), ("data.batch_size", "9")])
    assert more.recipe.tree["trainer"] == {"devices": 2}
    assert more.recipe.tree["data"]["init_args"]["batch_size"] == 9


def test_an_override_changes_the_model(save: Save) -> None:
    opened = open_target(save(), trust=TRUST, overrides={"model.monitor": "val/other"})
    assert opened.module().monitor == "val/other"
    assert open_target(save(), trust=TRUST).module().monitor == "val/error"


# -- strict


def test_every_tensor_that_does_not_fit_is_named(save: Save, contents: dict[str, Any]) -> None:
    state = dict(contents["state_dict"])
    state["network.0.weight"] = torch.zeros(8, 5)
    del state["network.2.bias"]
    state["network.9.weight"] = torch.zeros(7)
    state["network.1.num_batches_tracked"] = torch.tensor(0.5)
    path = save(state_dict=state)
    assert refusal(load, path, trust=TRUST) == (
        f"{path}: 4 tensors do not fit Small:\n"
        "  network.0.weight: (8, 5) in the file, (8, 4) in the model\n"
        "  network.1.num_batches_tracked: float32 in the file, int64 in the model\n"
        "  network.2.bias: missing in the file, (3,) in the model\n"
        "  network.9.weight: (7,) in the file, not in the model"
    )


def test_of_many_ten_are_named_and_the_rest_counted(save: Save, contents: dict[str, Any]) -> None:
    state = {**contents["state_dict"], **{f"extra.{index:02}": torch.zeros(1) for index in range(14)}}
    message = refusal(load, save(state_dict=state), trust=TRUST)
    assert message.count("not in the model") == 10
    assert message.endswith("  and 4 more")


def test_not_strict_loads_what_fits_and_tells_the_rest(save: Save, contents: dict[str, Any]) -> None:
    state = {**contents["state_dict"], "network.2.weight": torch.zeros(5, 8), "extra": torch.zeros(1)}
    del state["network.2.bias"]
    with pytest.warns(UserWarning, match="3 tensors were not loaded") as caught:
        module = load(save(state_dict=state), strict=False, trust=TRUST)
    text = str(caught[0].message)
    assert all(name in text for name in ("network.2.weight", "network.2.bias", "extra"))
    assert Path(caught[0].filename) == Path(__file__)
    assert torch.equal(module.network[0].weight, state["network.0.weight"])


def test_not_strict_still_needs_something_that_fits(save: Save) -> None:
    message = refusal(load, save(state_dict={"a": torch.zeros(1)}), strict=False, trust=TRUST)
    assert "none of its 1 tensors fits" in message


def test_class_names_that_do_not_fit_the_network(save: Save) -> None:
    path = save(zoo_classes=["cat", "dog"])
    assert refusal(load, path, trust=TRUST) == f"{path}: the network has 3 classes, the names are 2: ['cat', 'dog']"


def test_without_class_names(save: Save) -> None:
    assert load(save(zoo_classes=[]), trust=TRUST).class_names == []


def test_a_device_that_is_not_there(save: Save) -> None:
    for device in ("cuda:99", "toaster"):
        assert f"device {device!r} cannot be used" in refusal(load, save(), device=device, trust=TRUST)


def test_the_default_target_errors_come_through(tmp_path: Path) -> None:
    assert "there is no such checkpoint" in refusal(load, tmp_path / "nothing.ckpt")


# -- the start of another training


def test_initialise_copies_the_weights(save: Save, contents: dict[str, Any], method: Any) -> None:
    module = method.Small()
    module.train()
    assert initialise(module, save()) == []
    assert all(torch.equal(module.state_dict()[name], t) for name, t in contents["state_dict"].items())
    assert module.training
    assert module.class_names == []
    assert module.card == {}


def test_initialise_needs_no_trust(save: Save, method: Any) -> None:
    assert initialise(method.Small(), save(zoo_recipe="model: os.system")) == []


def test_initialise_with_other_classes_names_the_head_and_how_to_skip_it(save: Save, method: Any) -> None:
    path = save()
    assert refusal(initialise, method.Small(num_classes=5), path) == (
        f"{path}: 2 tensors do not fit the model:\n"
        "  network.2.weight: (3, 8) in the file, (5, 8) in the model\n"
        "  network.2.bias: (3,) in the file, (5,) in the model\n"
        "to leave them as they start: --init-skip PATTERN, e.g. --init-skip '^network.2'"
    )


def test_skipped_tensors_keep_their_start(save: Save, contents: dict[str, Any], method: Any) -> None:
    module = method.Small(num_classes=5)
    start = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    assert initialise(module, save(), skip=["^network.2"]) == ["network.2.weight", "network.2.bias"]
    state = module.state_dict()
    assert torch.equal(state["network.2.weight"], start["network.2.weight"])
    assert torch.equal(state["network.0.weight"], contents["state_dict"]["network.0.weight"])


def test_skip_takes_what_fits_too_and_what_only_the_file_has(save: Save, contents: dict[str, Any], method: Any) -> None:
    state = {**contents["state_dict"], "extra.weight": torch.zeros(1)}
    module = method.Small()
    before = module.network[0].weight.detach().clone()
    assert initialise(module, save(state_dict=state), skip=["^extra", r"0\.weight$"]) == [
        "network.0.weight",
        "extra.weight",
    ]
    assert torch.equal(module.network[0].weight, before)


@pytest.mark.parametrize(
    ("skip", "says"),
    [
        (["head"], "--init-skip 'head' matches no tensor; names are like network.0.weight"),
        (["("], "--init-skip '(' is no regular expression"),
        (["."], "none of its 9 tensors fits"),
    ],
)
def test_patterns_that_are_wrong(save: Save, method: Any, skip: list[str], says: str) -> None:
    assert says in refusal(initialise, method.Small(), save(), skip=skip)


def test_a_refused_initialisation_changes_nothing(save: Save, method: Any) -> None:
    module = method.Small(num_classes=5)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    refusal(initialise, module, save())
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


def test_a_run_folder_elsewhere_is_enough(save: Save, tmp_path: Path) -> None:
    save("runs/x/best.ckpt")
    shutil.move(tmp_path / "runs" / "x" / "best.ckpt", tmp_path / "copied.ckpt")
    shutil.rmtree(tmp_path / "runs")
    assert load(tmp_path / "copied.ckpt", trust=TRUST).card["file"] == str(tmp_path / "copied.ckpt")
