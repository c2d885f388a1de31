"""The released checkpoint's tensor names to ours: ``shortcut`` becomes ``downsample``, nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from zoo.errors import InputError

PREFIX = "module."
_SHORTCUT = re.compile(r"(^|\.)shortcut\.")


def convert(released: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Maps a released classifier onto ours.

    The file's other entries (epoch, criterion, optimizer, scheduler, val_score) and a ``module.`` before every name are
    set aside before. The released loader drops ``module.`` wherever it starts a name, so single ones are taken too.
    A released file has no temperature: it starts at 1.

    Args:
        released: Tensors by name: ``conv1.weight``, ``layer1.0.shortcut.0.weight`` (CIFAR) or
            ``layer1.0.downsample.0.weight`` (the other layouts), ``fc.weight`` and so on.

    Returns:
        Our tensors, ``network.conv1.weight`` and so on; and what was done, one line each.

    Raises:
        InputError: Two tensors come to one name, or one holds a value that is not finite; names it.
    """
    notes: list[str] = []
    state: dict[str, Tensor] = {}
    came_from: dict[str, str] = {}
    prefixed, renamed, halves = 0, 0, 0
    for name, tensor in released.items():
        bare = name
        while bare.startswith(PREFIX):
            bare = bare.removeprefix(PREFIX)
        prefixed += bare != name
        ours = _SHORTCUT.sub(r"\1downsample.", bare)
        renamed += ours != bare
        if ours in state:
            raise InputError(f"{name} and {came_from[ours]} both come to {ours}")
        if tensor.is_floating_point():
            if not torch.isfinite(tensor).all():
                raise InputError(f"{name}: holds values that are not finite")
            halves += tensor.dtype != torch.float32
            tensor = tensor.to(torch.float32)
        state[ours], came_from[ours] = tensor.contiguous(), name
    if prefixed:
        notes.append(f"removed {PREFIX!r} before {prefixed} names")
    if renamed:
        notes.append(f"renamed shortcut to downsample in {renamed} names")
    if halves:
        notes.append(f"turned {halves} tensors to float32")
    if "bn1.weight" in state and not any(name.endswith("num_batches_tracked") for name in state):
        # files of old torch versions lack these counters, which nothing but momentum=None reads
        norms = [name.removesuffix("running_mean") for name in state if name.endswith("running_mean")]
        state |= {f"{norm}num_batches_tracked": torch.zeros((), dtype=torch.int64) for norm in norms}
        notes.append(f"set {len(norms)} missing num_batches_tracked to 0")
    notes.append("set temperature to 1: a released file stores none")
    return {**{f"network.{name}": tensor for name, tensor in state.items()}, "temperature": torch.ones(())}, notes
