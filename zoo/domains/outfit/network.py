"""What both designs share: outfits as lists of item features, padding, scoring, embedding, one named output."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from zoo.errors import InputError

Outfits = Tensor | Sequence[Tensor]


class OutfitOutput(NamedTuple):
    """What the network gives for a padded batch of outfits.

    Attributes:
        score: ``(B,)`` in [0, 1], how well the items go together.
        query: ``(B, E)``, where an item that completes the outfit should lie; compared by Euclidean distance.
    """

    score: Tensor
    query: Tensor


class OutfitNetwork(nn.Module):
    """A set transformer over item features ``[image | text]``; what the two designs have in common.

    A subclass writes :meth:`logits`, :meth:`queries` and :meth:`embed_item`.

    Args:
        image_features: Fi, width of the image half of an item's features; 0 where there are no images.
        text_features: Ft, width of the text half; 0 where there are no texts.
        max_items: Only so many items of an outfit are used, the first ones; None for any number.

    Attributes:
        image_encoder: The network that makes the image half, where it is trained with the rest or carried along; its
            input is a batch of normalised pictures ``(N, 3, H, W)``, its output ``(N, Fi)``.
        takes_target: Whether a query may say what is looked for (:meth:`embed_query`, ``target``).
        embedding: E, width of query and item embeddings.
        truncated: Outfits so far of which items were left out.
    """

    takes_target = False
    embedding: int

    def __init__(self, image_features: int, text_features: int, max_items: int | None) -> None:
        super().__init__()
        if min(image_features, text_features) < 0 or image_features + text_features < 1:
            raise InputError(f"an item needs features, got {image_features} of its image and {text_features} of text")
        if max_items is not None and max_items < 1:
            raise InputError(f"max_items must be at least 1, got {max_items}")
        self.image_features, self.text_features, self.max_items = image_features, text_features, max_items
        self.image_encoder: nn.Module | None = None
        self.truncated = 0

    @property
    def features(self) -> int:
        """F, width of an item's features."""
        return self.image_features + self.text_features

    # -- what a design writes

    def logits(self, features: Tensor, mask: Tensor) -> Tensor:
        """Compatibility before the sigmoid, ``(B,)``, of ``features (B, L, F)`` and ``mask (B, L)``, True = real."""
        raise TypeError(f"{type(self).__name__} defines no logits")

    def queries(self, features: Tensor, mask: Tensor, target: Tensor | None = None) -> Tensor:
        """Query embeddings ``(B, E)`` of partial outfits; ``target (B, Ft)`` tells what is looked for."""
        raise TypeError(f"{type(self).__name__} defines no queries")

    def embed_item(self, items: Tensor) -> Tensor:
        """Embeddings ``(N, E)`` of single items ``(N, F)``, not normalised; the nearer to a query the better."""
        raise TypeError(f"{type(self).__name__} defines no item embedding")

    # -- what users call

    def score(self, outfits: Outfits) -> Tensor:
        """How well the items of each outfit go together.

        Args:
            outfits: Outfits ``(L, F)``, each with its own number L >= 1 of items; ``(B, L, F)`` is fine too.

        Returns:
            ``(B,)`` in [0, 1].
        """
        return self.logits(*self.pad(outfits)).sigmoid()

    def embed_query(self, outfits: Outfits, target: Tensor | None = None) -> Tensor:
        """Where the item that completes each partial outfit should lie.

        Args:
            outfits: Partial outfits ``(L, F)``.
            target: ``(B, Ft)`` text features of what is looked for (its description or category), for networks
                that take one; None says nothing about it.

        Returns:
            ``(B, E)``, not normalised.
        """
        return self.queries(*self.pad(outfits), target)

    def forward(self, features: Tensor, mask: Tensor, target: Tensor | None = None) -> OutfitOutput:
        """Score and query of padded outfits.

        Args:
            features: ``(B, L, F)``.
            mask: ``(B, L)`` bool, True = real; every outfit has at least one item.
            target: ``(B, Ft)`` or None.
        """
        return OutfitOutput(self.logits(features, mask).sigmoid(), self.queries(features, mask, target))

    # -- shared pieces

    def pad(self, outfits: Outfits) -> tuple[Tensor, Tensor]:
        """Joins outfits to ``(B, L, F)`` with zeros where nothing is real, and ``mask (B, L)``, True = real.

        Raises:
            InputError: There is no outfit, one has no item or another width, or holds values that are not finite.
        """
        given = list(outfits) if not isinstance(outfits, Tensor) or outfits.ndim == 3 else [outfits]
        if not given:
            raise InputError("outfits: there is none")
        for number, outfit in enumerate(given):
            self._check(number, outfit)
        long = [number for number, outfit in enumerate(given) if self.max_items and len(outfit) > self.max_items]
        if long:
            self.truncated += len(long)
            text = f"{len(long)} of {len(given)} outfits have more than {self.max_items} items; only the first "
            warnings.warn(f"{text}{self.max_items} are used (max_items)", stacklevel=3)
        kept = [outfit[: self.max_items] for outfit in given]
        sizes = torch.tensor([len(outfit) for outfit in kept], device=kept[0].device)
        mask = torch.arange(int(sizes.max()), device=sizes.device) < sizes.unsqueeze(1)
        return nn.utils.rnn.pad_sequence(kept, batch_first=True), mask

    def _check(self, number: int, outfit: Tensor) -> None:
        if outfit.ndim != 2 or outfit.shape[1] != self.features:
            raise InputError(f"outfit {number}: shape {tuple(outfit.shape)} given, expected (items, {self.features})")
        if not len(outfit):
            raise InputError(f"outfit {number}: has no item")
        if not torch.isfinite(outfit).all():
            raise InputError(f"outfit {number}: item {int((~torch.isfinite(outfit)).nonzero()[0, 0])} is not finite")

    def halves(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """The image half ``(..., Fi)`` and the text half ``(..., Ft)``."""
        return features[..., : self.image_features], features[..., self.image_features :]


def unit_halves(features: Tensor, half: int) -> Tensor:
    """Scales each half of the last dimension to length 1; a half of zeros stays zero."""
    first, second = features[..., :half], features[..., half:]
    return torch.cat([normalize(first, dim=-1), normalize(second, dim=-1)], dim=-1)
