"""Parameter groups by name pattern: learning-rate scale and weight decay."""

from __future__ import annotations

import re
from typing import Any, NotRequired, TypedDict

from torch import nn

from zoo.errors import InputError


class ParameterGroup(TypedDict):
    """One entry of ``model.init_args.groups``.

    Attributes:
        pattern: Regular expression searched in the parameter's name, e.g. ``"bias$"``.
        lr_scale: What the optimizer's learning rate is multiplied with; 1 when absent.
        weight_decay: Replaces the optimizer's weight decay when given.
    """

    pattern: str
    lr_scale: NotRequired[float]
    weight_decay: NotRequired[float]


def parameter_groups(module: nn.Module, groups: list[ParameterGroup], lr: float | None) -> list[dict[str, Any]]:
    """Splits the trainable parameters of a module into optimizer groups; the first matching pattern wins.

    Args:
        module: The module whose ``named_parameters`` are split.
        groups: Patterns in order of precedence.
        lr: The optimizer's learning rate, needed where a group scales it.

    Returns:
        Optimizer groups ``{"params": [...], "lr": ..., "weight_decay": ...}``; parameters that no pattern matches
        come first, with the optimizer's own settings.

    Raises:
        InputError: A pattern is no regular expression, or matches no trainable parameter first.
    """
    names = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
    rest = dict(names)
    result: list[dict[str, Any]] = []
    for group in groups:
        pattern = group["pattern"]
        try:
            matched = [name for name in rest if re.search(pattern, name)]
        except re.error as error:
            raise InputError(f"groups: pattern {pattern!r} is no regular expression: {error}") from None
        if not matched:
            earlier = any(re.search(pattern, name) for name in names)
            why = "only parameters that an earlier pattern took" if earlier else "no trainable parameter"
            raise InputError(f"groups: pattern {pattern!r} matches {why}; names are like {', '.join(list(names)[:4])}")
        entry: dict[str, Any] = {"params": [rest.pop(name) for name in matched]}
        if "lr_scale" in group:
            if lr is None:
                raise InputError(f"groups: pattern {pattern!r} scales a learning rate that the optimizer lacks")
            entry["lr"] = lr * group["lr_scale"]
        if "weight_decay" in group:
            entry["weight_decay"] = group["weight_decay"]
        result.append(entry)
    return [{"params": list(rest.values())}, *result] if rest else result
