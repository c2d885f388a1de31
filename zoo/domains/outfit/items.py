"""What a user has as items: pictures, texts and categories, or features; and galleries to search in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from zoo.domains.outfit.encoders import ItemEncoder
from zoo.domains.outfit.network import OutfitNetwork
from zoo.errors import InputError
from zoo.training import as_images, read_image


class OutfitItem(NamedTuple):
    """One item of a user.

    Attributes:
        image: A file, or RGB ``(3, H, W)`` as uint8 0..255 or float in [0, 1]; None where there is no picture.
        text: What is said about it; where it is empty its category is taken.
        category: Its category; may be empty.
    """

    image: Any = None
    text: str = ""
    category: str = ""


class Retrieved(NamedTuple):
    """Items of a gallery, nearest first.

    Attributes:
        places: ``(k,)`` places in the gallery.
        distance: ``(k,)`` Euclidean distances to the query.
        ids: Their names in the gallery.
    """

    places: Tensor
    distance: Tensor
    ids: list[str]


class Ranking(NamedTuple):
    """Candidates of a blank, best first.

    Attributes:
        order: ``(C,)`` places of the candidates.
        distance: ``(C,)`` of each candidate in its given order; the smaller the better.
    """

    order: Tensor
    distance: Tensor


class Gallery:
    """Items embedded once, to be searched again and again.

    Args:
        embeddings: ``(N, E)``, not normalised.
        ids: Name of each item; its number by default.
        categories: Category of each item; None where they are not known.
    """

    def __init__(
        self, embeddings: Tensor, ids: Sequence[str] | None = None, categories: Sequence[str] | None = None
    ) -> None:
        if embeddings.ndim != 2 or not len(embeddings):
            raise InputError(f"gallery: embeddings of shape {tuple(embeddings.shape)} given, expected (items, E)")
        for name, given in (("ids", ids), ("categories", categories)):
            if given is not None and len(given) != len(embeddings):
                raise InputError(f"gallery: {len(given)} {name} given for {len(embeddings)} items")
        # distances do not see a common shift, and small numbers keep more digits
        self.centre = embeddings.float().mean(0)
        self.embeddings = (embeddings.float() - self.centre).contiguous()
        self.half_squares = self.embeddings.square().sum(1) / 2
        self.ids = list(ids) if ids is not None else [str(number) for number in range(len(embeddings))]
        self.categories = None if categories is None else [name.strip().lower() for name in categories]
        self._members: dict[str, Tensor] = {}

    def __len__(self) -> int:
        return len(self.embeddings)

    def members(self, category: str) -> Tensor | None:
        """Places of the items of a category, whatever the case of its letters; None where there is no such."""
        name = category.strip().lower()
        if self.categories is None:
            return None
        if name not in self._members:
            found = [place for place, other in enumerate(self.categories) if other == name]
            self._members[name] = torch.tensor(found, dtype=torch.long, device=self.embeddings.device)
        return self._members[name] if len(self._members[name]) else None

    def search(self, query: Tensor, k: int, among: Tensor | None = None) -> Retrieved:
        """The nearest items by Euclidean distance.

        Args:
            query: ``(E,)``.
            k: How many; all where there are fewer.
            among: Places that count; None for all.
        """
        if k < 1:
            raise InputError(f"k must be at least 1, got {k}")
        aim = query.float() - self.centre
        rows = self.embeddings if among is None else self.embeddings[among]
        squares = self.half_squares if among is None else self.half_squares[among]
        near = torch.addmv(squares, rows, aim, alpha=-1)  # half of the squared distance, less half of the query's
        # one matrix product finds the nearest; the differences themselves order them
        places = near.topk(min(len(near), k + 8), largest=False).indices
        exact = torch.linalg.vector_norm(rows[places].double() - aim.double(), dim=1)
        order = exact.argsort(stable=True)[:k]
        index = places[order] if among is None else among[places[order]]
        return Retrieved(index, exact[order].float(), [self.ids[int(place)] for place in index])


def is_outfit(given: Any) -> bool:
    """Whether something is one outfit, not a list of them."""
    if isinstance(given, Tensor | np.ndarray):
        return given.ndim == 2
    return bool(len(given)) and (isinstance(given[0], tuple | dict | str | Path))


def as_item(given: Any, where: str) -> OutfitItem:
    """One item from what a user has: an :class:`OutfitItem`, a tuple like it, a dictionary, or a picture file.

    Raises:
        InputError: It is none of these; names it.
    """
    if isinstance(given, str | Path):
        return OutfitItem(image=given)
    if isinstance(given, dict):
        unknown = [name for name in given if name not in OutfitItem._fields]
        if unknown:
            raise InputError(f"{where}: an item has image, text and category, not {unknown[0]!r}")
        given = OutfitItem(**given)
    if not isinstance(given, tuple) or not 1 <= len(given) <= 3:
        raise InputError(
            f"{where}: expected (image, text, category), a picture file or a dictionary, got {type(given)}"
        )
    item = OutfitItem(*given)
    if not isinstance(item.text, str) or not isinstance(item.category, str):
        raise InputError(f"{where}: text and category must be texts, got {item.text!r} and {item.category!r}")
    return item


def picture(item: OutfitItem, where: str) -> Tensor | None:
    """The picture of an item, ``(3, H, W)``; None where it has none.

    Raises:
        InputError: It cannot be read, or is no picture.
    """
    if item.image is None:
        return None
    if isinstance(item.image, str | Path):
        return read_image(Path(item.image))
    return as_images(item.image, f"{where}: image")[0]


@torch.no_grad()
def item_features(items: Sequence[Any], encoder: ItemEncoder, network: OutfitNetwork, name: str = "item") -> Tensor:
    """Features ``(L, F)`` of a user's items; an absent picture or text is all zeros.

    Raises:
        InputError: An item has neither picture nor text, or cannot be read; names it.
    """
    read = [as_item(given, f"{name} {number}") for number, given in enumerate(items)]
    pictures = [picture(item, f"{name} {number}") for number, item in enumerate(read)]
    texts = [item.text.strip() or item.category.strip() for item in read]
    for number, (seen, text) in enumerate(zip(pictures, texts, strict=True)):
        if (seen is None or not network.image_features) and (not text or not network.text_features):
            raise InputError(f"{name} {number}: this model sees nothing of it (no usable picture, no usable text)")
    image = np.zeros((len(read), network.image_features), dtype=np.float32)
    shown = [number for number, seen in enumerate(pictures) if seen is not None]
    if shown and network.image_features:
        image[shown] = encoder.image_features([seen for seen in pictures if seen is not None])
    words = encoder.text_features(texts) if network.text_features else np.zeros((len(read), 0), dtype=np.float32)
    device = next(network.parameters()).device
    return torch.from_numpy(np.concatenate([image, words], 1)).to(device)


def given_features(given: Tensor | np.ndarray, network: OutfitNetwork, where: str) -> Tensor:
    """Features as they are, checked.

    Raises:
        InputError: Another shape, or a value that is not finite.
    """
    features = torch.as_tensor(given, dtype=torch.float32, device=next(network.parameters()).device)
    if features.ndim != 2 or features.shape[1] != network.features or not len(features):
        raise InputError(f"{where}: shape {tuple(features.shape)} given, expected (items, {network.features})")
    if not torch.isfinite(features).all():
        raise InputError(f"{where}: item {int((~torch.isfinite(features)).nonzero()[0, 0])} is not finite")
    return features
