"""The metrics: compatibility, fill-in-the-blank, complementary retrieval; by length and by category."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor
from torchmetrics.utilities import dim_zero_cat

from zoo.errors import InputError
from zoo.metrics import roc_auc
from zoo.metrics.gathered import Metric

Ties = Literal["share", "first"]
THRESHOLD = 0.5
DEPTHS = (10, 30, 50)


class Collected(Metric):
    """Keeps what it is given; ``compute`` gives several numbers by name, none where nothing was given.

    Args:
        names: What is kept.
        details: Also give the numbers by length and by category.
    """

    is_differentiable = False
    full_state_update = False

    def __init__(self, names: tuple[str, ...], details: bool) -> None:
        super().__init__()
        self.names, self.details = names, details
        self.groups: list[str] = []
        for name in names:
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def keep(self, *values: Tensor) -> None:
        """Adds values, each ``(B, ...)``, in the order of the names."""
        for name, value in zip(self.names, values, strict=True):
            check_finite(name, value)
            getattr(self, name).append(value.detach())

    def _sync_dist(self, *given: Any, **named: Any) -> None:
        """Also gives the names of the categories to a process that saw nothing."""
        super()._sync_dist(*given, **named)
        seen: list[list[str]] = [[] for _ in range(torch.distributed.get_world_size())]
        torch.distributed.all_gather_object(seen, self.groups)
        self.groups = next((groups for groups in seen if groups), [])

    def kept(self) -> list[Tensor] | None:
        """All that was given, on the CPU; None where nothing was."""
        if not len(getattr(self, self.names[0])):
            return None
        found = [dim_zero_cat(getattr(self, name)).cpu() for name in self.names]
        return found if len(found[0]) else None


def check_finite(name: str, values: Tensor) -> None:
    """Refuses numbers ``(B, ...)`` that are none.

    Raises:
        InputError: Names the row.
    """
    if values.is_floating_point() and not torch.isfinite(values).all():
        bad = (~torch.isfinite(values)).reshape(len(values), -1).any(1).nonzero()
        raise InputError(f"{name}: row {int(bad[0])} is not finite")


class Compatibility(Collected):
    """AUC (equal scores count one half), and accuracy, precision, recall and F1 of scores above 0.5.

    With details: ``auc_length_<n>`` of outfits of n items, where both labels occur; ``auc_same_length``, over pairs of
    equal length only, which a score that merely grows with the length cannot win; and ``length_correlation_compatible``
    and ``..._incompatible``, Spearman's correlation of score and length within a label.
    """

    def __init__(self, details: bool = False) -> None:
        super().__init__(("scores", "labels", "lengths"), details)

    def update(self, scores: Tensor, labels: Tensor, lengths: Tensor) -> None:
        """Adds outfits: ``scores`` in [0, 1], ``labels`` 0 or 1, ``lengths``: ``(B,)``."""
        self.keep(scores.double(), labels, lengths)

    def compute(self) -> dict[str, Tensor]:
        """The numbers by name.

        Raises:
            InputError: All outfits have one label.
        """
        found = self.kept()
        if found is None:
            return {}
        scores, labels, lengths = found
        if len(labels.unique()) < 2:
            raise InputError(
                f"compatibility cannot be evaluated: all {len(labels)} outfits have label {int(labels[0])}"
            )
        values = {"auc": roc_auc(scores, labels), **threshold_metrics(scores, labels)}
        return {**values, **self._by_length(scores, labels, lengths)} if self.details else values

    def _by_length(self, scores: Tensor, labels: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        values: dict[str, Tensor] = {}
        total = pairs = 0.0
        for length in lengths.unique().tolist():
            chosen = lengths == length
            positive = int(labels[chosen].sum())
            count = positive * (int(chosen.sum()) - positive)
            if count:
                area = roc_auc(scores[chosen], labels[chosen])
                values[f"auc_length_{length:02d}"] = area
                total, pairs = total + count * float(area), pairs + count
        if pairs:
            values["auc_same_length"] = torch.tensor(total / pairs)
        for label, name in ((1, "compatible"), (0, "incompatible")):
            chosen = labels == label
            x, y = scores[chosen].numpy(), lengths[chosen].numpy()
            if len(np.unique(x)) > 1 and len(np.unique(y)) > 1:
                values[f"length_correlation_{name}"] = torch.tensor(float(spearmanr(x, y).statistic))
        return values


def threshold_metrics(scores: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Accuracy, precision, recall and F1 where a score above 0.5 (strictly) means compatible; 0 where undefined."""
    guess, truth = scores > THRESHOLD, labels == 1
    hits = (guess & truth).sum().double()
    precision, recall = hits / guess.sum().clamp(min=1), hits / truth.sum().clamp(min=1)
    f1 = 2 * hits / (guess.sum() + truth.sum()).clamp(min=1)
    return {"accuracy": (guess == truth).double().mean(), "precision": precision, "recall": recall, "f1": f1}


class FillInTheBlank(Collected):
    """Share of questions whose right candidate is the nearest; with details also by coarse category and by length.

    Args:
        details: By category (``fitb_<category>``) and by length of what is given (``fitb_length_<n>``).
        ties: ``share``: of m equally near candidates the right one counts 1/m. ``first``: the first of them is taken,
            as an argmin does; a network that calls all candidates equal then scores what the order of the file gives.
    """

    def __init__(self, details: bool = False, ties: Ties = "share") -> None:
        super().__init__(("credit", "group", "lengths"), details)
        self.ties = ties

    def update(
        self, distances: Tensor, real: Tensor, correct: Tensor, group: Tensor, lengths: Tensor, groups: list[str]
    ) -> None:
        """Adds questions.

        Args:
            distances: ``(B, C)``, smaller is better.
            real: ``(B, C)`` bool, which candidates there are.
            correct: ``(B,)`` place of the right one.
            group: ``(B,)`` coarse category of the right one.
            lengths: ``(B,)`` items given.
            groups: Names of the coarse categories.
        """
        self.groups = groups
        check_finite("distances", torch.where(real, distances, 0.0))
        self.keep(blank_credit(distances, real, correct, self.ties), group, lengths)

    def compute(self) -> dict[str, Tensor]:
        """The numbers by name."""
        found = self.kept()
        if found is None:
            return {}
        credit, group, lengths = found
        values = {"fitb": credit.mean()}
        return {**values, **_parts("fitb", credit, group, lengths, self.groups)} if self.details else values


def _parts(name: str, credit: Tensor, group: Tensor, lengths: Tensor, groups: list[str]) -> dict[str, Tensor]:
    """The mean credit of questions ``(Q,)`` by category and by length."""
    values = {f"{name}_{_word(groups[index])}": credit[group == index].mean() for index in group.unique().tolist()}
    for length in lengths.unique().tolist():
        values[f"{name}_length_{length:02d}"] = credit[lengths == length].mean()
    return values


def blank_credit(distances: Tensor, real: Tensor, correct: Tensor, ties: Ties = "share") -> Tensor:
    """What each question counts, ``(B,)`` in [0, 1]; see :class:`FillInTheBlank`."""
    far = torch.where(real, distances.double(), torch.inf)
    if ties == "first":
        return (far.argmin(1) == correct).double()
    nearest = (far == far.amin(1, keepdim=True)) & real
    return nearest.gather(1, correct.unsqueeze(1)).squeeze(1).double() / nearest.sum(1)


class Retrieval(Collected):
    """Recall at 10, 30 and 50 of the right item in the gallery of its fine category; equal distances share.

    Details: the median rank, how many questions and galleries there were, and recall at 10 by coarse category
    (``recall10_<category>``) and by length of what is given (``recall10_length_<n>``).
    """

    def __init__(self, details: bool = False) -> None:
        super().__init__(("embeddings", "keys", "galleries", "queries", "group", "lengths"), details)

    def update(
        self,
        embeddings: Tensor,
        keys: Tensor,
        galleries: Tensor,
        queries: Tensor,
        group: Tensor,
        lengths: Tensor,
        groups: list[str],
    ) -> None:
        """Adds queries and gallery items.

        Args:
            embeddings: ``(B, E)``.
            keys: ``(B,)`` the number of the item, or of the item that is looked for.
            galleries: ``(B,)`` which gallery.
            queries: ``(B,)`` bool, True for a query.
            group: ``(B,)`` coarse category of that item.
            lengths: ``(B,)`` items given by a query; of no meaning for a gallery item.
            groups: Names of the coarse categories.
        """
        self.groups = groups
        self.keep(embeddings.float(), keys, galleries, queries, group, lengths)

    def compute(self) -> dict[str, Tensor]:
        """The numbers by name."""
        found = self.kept()
        if found is None:
            return {}
        embeddings, keys, galleries, queries, group, lengths = found
        better, equal, places = [], [], []
        for gallery in galleries.unique().tolist():
            items = (galleries == gallery) & ~queries
            # with data.limit a gallery may lack an answer; then the question cannot be asked
            asked = (galleries == gallery) & queries & torch.isin(keys, keys[items])
            if not asked.any():
                continue
            first, second = gallery_ranks(embeddings[asked], embeddings[items], keys[asked], keys[items])
            better.append(first)
            equal.append(second)
            places.append(asked.nonzero()[:, 0])
        if not better:
            return {}
        above, level, place = torch.cat(better), torch.cat(equal), torch.cat(places)
        hits = {k: ((k - above) / level).clamp(0, 1) for k in DEPTHS}
        values = {f"recall{k}": hit.mean() for k, hit in hits.items()}
        if self.details:
            values |= _parts(f"recall{DEPTHS[0]}", hits[DEPTHS[0]], group[place], lengths[place], self.groups)
            values["median_rank"] = (above + (level + 1) / 2).median()
            values["recall_questions"] = torch.tensor(float(len(above)))
            values["recall_galleries"] = torch.tensor(float(len(better)))
        return values


def gallery_ranks(queries: Tensor, items: Tensor, wanted: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
    """How many items are nearer than the right one, and how many are as near (it is one of them): ``(Q,)`` each.

    Args:
        queries: ``(Q, E)``.
        items: ``(G, E)``.
        wanted: ``(Q,)`` keys.
        keys: ``(G,)``, each once.
    """
    distances = torch.cdist(queries.double(), items.double(), compute_mode="donot_use_mm_for_euclid_dist")
    right = (keys.unsqueeze(0) == wanted.unsqueeze(1)).double().argmax(1, keepdim=True)
    own = distances.gather(1, right)
    return (distances < own).sum(1).double(), (distances == own).sum(1).double()


def _word(name: str) -> str:
    """A category as part of a metric's name."""
    return "_".join("".join(letter if letter.isalnum() else " " for letter in name.lower()).split()) or "unknown"
