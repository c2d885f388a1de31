"""Weights of an extractor out of a user's file, strictly."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zoo.errors import InputError


def read_weights(file: Path, key: str) -> dict[str, Tensor]:
    """Reads tensors by name from a file; nothing in it is run.

    Args:
        file: ``.safetensors``, or what ``torch.save`` wrote of a state dict, bare or under ``state_dict``.
        key: Of the recipe, for the error.

    Raises:
        InputError: There is no such file, or it holds no tensors by name.
    """
    if not file.expanduser().is_file():
        raise InputError(f"{key}: there is no weights file {file}")
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            loaded: Any = load_file(file.expanduser())
        else:
            loaded = torch.load(file.expanduser(), map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged or hostile file makes the readers raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        raise InputError(f"{file}: cannot be read as weights: {reason}") from error
    state = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else loaded
    if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"{file}: holds no tensors by name")
    return {str(name).removeprefix("module."): value for name, value in state.items()}


def load_strictly(network: nn.Module, state: dict[str, Tensor], file: str) -> None:
    """Copies tensors into a network; each must be there with its shape.

    Raises:
        InputError: A tensor is missing, extra, misshapen or not finite; names it.
    """
    expected = network.state_dict()
    wrong = [f"{name} is missing" for name in expected if name not in state]
    wrong += [f"{name} is not in the network" for name in state if name not in expected]
    for name, tensor in state.items():
        if name in expected and tensor.shape != expected[name].shape:
            wrong.append(f"{name} has shape {tuple(tensor.shape)}, the network {tuple(expected[name].shape)}")
        elif name in expected and not torch.isfinite(tensor).all():
            wrong.append(f"{name} holds values that are not finite")
    if wrong:
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise InputError(f"{file}: {len(wrong)} tensors do not fit: {'; '.join(wrong[:5])}{more}")
    network.load_state_dict(state)


def digest(file: Path) -> str:
    """Hash of a file's content.

    Raises:
        InputError: It cannot be read.
    """
    try:
        with file.expanduser().open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{file}: {error.strerror or error}") from error
