"""The shared frame of the score losses: masks, groups, weights, ties, empties and reductions, in one place.

A loss only says what one clean list is worth. It gets `Lists`, in which every list has something to rank or no real
item at all, all numbers are finite fillers where nothing is real, and groups have become lists of their own.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from zoo.ranking.checks import (
    REDUCTIONS,
    TIED_LISTS,
    Reduction,
    TiedLists,
    accumulation_dtype,
    check_choice,
    check_like,
    check_real,
)
from zoo.ranking.engines import can_look
from zoo.ranking.reduction import divide, reduce_values
from zoo.ranking.sorting import order_rows


@dataclass(frozen=True)
class Lists:
    """M lists of at most N items each; all tensors `(M, N)`. A loss sees 0 wherever an item is not real."""

    scores: Tensor
    """float32 or float64."""
    target: Tensor
    """float32, float64 or int64, without gradient; kept wide, so that no order is lost."""
    real: Tensor
    """bool: the item counts."""
    weight: Tensor
    """dtype of the scores; above 0 where real."""
    plain: bool = False
    """Every item is real and weighs 1, known without a look."""

    @cached_property
    def binary(self) -> bool:
        """Whether this is one list, of items that count alike, with two different targets."""
        if not self.plain or len(self.target) != 1:
            return False
        low, high = self.target.aminmax()
        whole = not self.target.is_floating_point()
        return (whole and int(high) - int(low) == 1) or bool(((self.target == high) | (self.target == low)).all())


ListValue = Callable[[Lists], Tensor]
"""What one loss adds: `Lists` of shape (M, N) -> one finite value per list, `(M,)`."""


def list_loss(
    value: ListValue,
    scores: Tensor,
    target: Tensor,
    *,
    group: Tensor | None,
    mask: Tensor | None,
    weight: Tensor | None,
    reduction: Reduction,
    tied_lists: TiedLists = "skip",
) -> Tensor:
    """Evaluate a score loss: check and clean the input, split groups, value the lists, reduce.

    Args:
        value: One value per clean list.
        scores: `(..., N)` floating point; float16 and bfloat16 are computed and returned in float32.
        target: `(..., N)` number or bool; higher means that the item belongs higher. Never gets a gradient.
        group: `(..., N)` integer ids: each group is a list of its own, the list's value is their mean.
        mask: `(..., N)` bool: True = real.
        weight: `(..., N)` numbers >= 0; an item of weight 0 counts as not real.
        reduction: "mean", "sum" or "none".
        tied_lists: "skip": a list whose real targets are all equal has nothing to rank; "keep": it
            counts if it has two real items.

    Returns:
        A scalar, or `(...)` with reduction "none"; float64 for float64 scores, else float32.

    Raises:
        TypeError: if an argument that must be a tensor is none.
        ValueError: if a shape, dtype, device or string does not fit.
    """
    check_choice("reduction", reduction, REDUCTIONS)
    check_choice("tied_lists", tied_lists, TIED_LISTS)
    _check(scores, target, group, mask, weight)
    shape, items = scores.shape[:-1], scores.shape[-1]
    if items == 0:
        empty = scores.to(accumulation_dtype(scores)).sum(-1)
        return reduce_values(empty, torch.zeros_like(empty, dtype=torch.bool), reduction)
    lists = _flatten(scores, target, mask, weight)
    if group is None:
        values, rankable = _evaluate(value, lists, tied_lists)
    else:
        values, rankable = _evaluate_groups(value, lists, group.reshape(-1, items), tied_lists)
    return reduce_values(values.reshape(shape), rankable.reshape(shape), reduction)


def _check(scores: Tensor, target: Tensor, group: Tensor | None, mask: Tensor | None, weight: Tensor | None) -> None:
    check_real("scores", scores)
    if scores.ndim == 0:
        raise ValueError("scores: shape () given, expected (..., N)")
    shape, device, of = scores.shape, scores.device, "the shape of scores"
    check_like("target", target, shape, device, "number", of)
    for name, tensor, kind in (("group", group, "integer"), ("mask", mask, "bool"), ("weight", weight, "number")):
        if tensor is not None:
            check_like(name, tensor, shape, device, kind, of)


def _flatten(scores: Tensor, target: Tensor, mask: Tensor | None, weight: Tensor | None) -> Lists:
    """The input as `(M, N)` tensors in the dtypes of the computation."""
    dtype, items = accumulation_dtype(scores), scores.shape[-1]
    wide = torch.int64
    if target.is_floating_point():  # as wide as the scores too: differences of targets enter next to those of scores
        wide = torch.promote_types(dtype, accumulation_dtype(target))
    plain = mask is None and weight is None
    real = torch.ones_like(scores, dtype=torch.bool) if mask is None else mask
    if weight is None:
        weight = torch.ones_like(scores, dtype=dtype)
    else:
        real = real & (weight != 0)
    wide_scores, wide_target = scores.to(dtype), target.detach().to(wide)
    flat = [x.reshape(-1, items) for x in (wide_scores, wide_target, real, weight.to(dtype))]
    return Lists(flat[0], flat[1], flat[2], flat[3], plain)


def _evaluate(value: ListValue, lists: Lists, tied_lists: TiedLists) -> tuple[Tensor, Tensor]:
    """One value per list and whether it has something to rank; exactly 0, with zero gradient, where it has not.

    Whatever does not count is replaced here, before the loss is computed: nan and inf leak through a product with 0.
    """
    rankable = _has_two_targets(lists) if tied_lists == "skip" else lists.real.sum(-1) > 1
    if lists.plain and can_look(lists.scores) and bool(rankable.all()):
        return value(lists), rankable
    real = lists.real & rankable.unsqueeze(-1)
    scores, weight = torch.where(real, lists.scores, 0.0), torch.where(real, lists.weight, 0.0)
    values = value(Lists(scores, torch.where(real, lists.target, 0), real, weight))
    return torch.where(rankable, values, 0.0), rankable


def _has_two_targets(lists: Lists) -> Tensor:
    """bool `(M,)`: two real items of the list have different targets."""
    if lists.plain:
        return lists.target.amax(-1) > lists.target.amin(-1)
    whole = torch.iinfo(torch.int64)
    bottom, top = (-torch.inf, torch.inf) if lists.target.is_floating_point() else (whole.min, whole.max)
    highest = torch.where(lists.real, lists.target, bottom).amax(-1)
    lowest = torch.where(lists.real, lists.target, top).amin(-1)
    return highest > lowest


def _evaluate_groups(value: ListValue, lists: Lists, group: Tensor, tied_lists: TiedLists) -> tuple[Tensor, Tensor]:
    """As `_evaluate`, for the mean over each list's groups that have something to rank."""
    total = lists.scores[:, :0].sum(-1)  # zeros that hang on the scores: the graph stays whole without any group
    count = torch.zeros_like(total)
    for part, owner, _ in split_groups(lists, group):
        values, rankable = _evaluate(value, part, tied_lists)
        total = total.index_add(0, owner, values)
        count = count.index_add(0, owner, rankable.to(count.dtype))
    return divide(total, count), count > 0


def split_groups(lists: Lists, group: Tensor) -> Iterator[tuple[Lists, Tensor, Tensor]]:
    """Turn groups into lists of their own, in the items' given order.

    Groups of similar size come together, padded to the largest of them, so the work is that of the groups and never
    that of the whole list squared.

    Args:
        lists: `(M, N)`.
        group: `(M, N)` integer ids, any values; read where real.

    Yields:
        Lists `(m, n)` of one group each; the index `(m,)` of the list that each came from; and where each real item
        stood, `(m, n)` places in the flattened `(M, N)`.
    """
    owner, column = lists.real.nonzero(as_tuple=True)
    names, label = torch.unique(group[lists.real], return_inverse=True)
    _, index, sizes = torch.unique(owner * len(names) + label, return_inverse=True, return_counts=True)
    order = order_rows(index)
    place = (owner * group.shape[-1] + column)[order]
    start = sizes.cumsum(0) - sizes
    octave = sizes.double().log2().ceil()
    for size_class in octave.unique():
        chosen = (octave == size_class).nonzero().squeeze(-1)
        offset = torch.arange(int(sizes[chosen].max()), device=group.device)
        real = offset < sizes[chosen].unsqueeze(-1)
        item = place[(start[chosen].unsqueeze(-1) + offset).clamp(max=len(place) - 1)]
        scores, target, weight = (x.flatten()[item] for x in (lists.scores, lists.target, lists.weight))
        yield Lists(scores, target, real, weight), owner[order][start[chosen]], item
