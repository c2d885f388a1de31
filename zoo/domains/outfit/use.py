"""What people do with a trained model: score, fill, retrieve, and ``zoo predict``."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from zoo.domains.outfit.encoders import ItemEncoder
from zoo.domains.outfit.files import read_table
from zoo.domains.outfit.items import (
    Gallery,
    OutfitItem,
    Ranking,
    Retrieved,
    as_item,
    given_features,
    is_outfit,
    item_features,
)
from zoo.domains.outfit.network import OutfitNetwork, OutfitOutput
from zoo.domains.outfit.picture import GOOD, Line, Shown, draw
from zoo.errors import InputError
from zoo.training import IMAGE_SUFFIXES, Row, ZooModule

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TOP = 5
_CHUNK = 256


class OutfitUse(ZooModule):
    """The part of the module that people use; the network and the encoder come from the subclass.

    Wherever an outfit is asked for, it is a list of items (``OutfitItem``, a tuple ``(image, text, category)``, a
    dictionary or a picture file), or features ``(L, F)`` as a tensor or array.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".csv",)
    requests: ClassVar[tuple[str, ...]] = ("outfit", "complete", "gallery", "top")
    network: OutfitNetwork
    encoder: ItemEncoder
    fill_by: str

    def features_of(self, outfit: Any, name: str = "outfit") -> Tensor:
        """Features ``(L, F)`` of an outfit.

        Raises:
            InputError: It is no outfit, has no item, or an item cannot be used.
        """
        if isinstance(outfit, Tensor | np.ndarray):
            return given_features(outfit, self.network, name)
        if not isinstance(outfit, Sequence) or isinstance(outfit, str) or not len(outfit):
            raise InputError(f"{name}: expected a list of items or features (items, {self.network.features})")
        return item_features(outfit, self.encoder, self.network, f"{name}: item")

    @torch.no_grad()
    def score(self, outfits: Any) -> Tensor:
        """How well the items of each outfit go together.

        Args:
            outfits: One outfit or a list of outfits.

        Returns:
            ``(B,)`` in [0, 1]; one outfit is a batch of one.

        Raises:
            InputError: There is no outfit, or one cannot be used.
        """
        self.eval()
        given = self._many(outfits, "outfits")
        return torch.cat([self.network.score(given[at : at + _CHUNK]) for at in range(0, len(given), _CHUNK)])

    @torch.no_grad()
    def predict(self, outfits: Any, target: str | Sequence[str] = "", preprocess: bool = True) -> OutfitOutput:
        """Score and query embedding of outfits.

        Args:
            outfits: One outfit or a list of outfits.
            target: What the query is told of what is looked for, one text or one per outfit; "" tells nothing.
            preprocess: False hands tensors to the network as they are: a padded ``(B, L, F)``, or a list of ``(L, F)``.
        """
        self.eval()
        given = self._many(outfits, "outfits") if preprocess else list(outfits)
        return OutfitOutput(
            self.network.score(given), self.network.embed_query(given, self._target(target, len(given)))
        )

    @torch.no_grad()
    def fill(self, partial: Any, candidates: Any) -> Ranking:
        """Ranks candidates for the blank of a partial outfit.

        Args:
            partial: The items that are there.
            candidates: A list of items, or features ``(C, F)``.

        Returns:
            Places of the candidates, best first, and the distance of each (with ``fill: score`` minus the score of the
            outfit that it completes).
        """
        self.eval()
        given, offered = self.features_of(partial, "partial"), self.features_of(candidates, "candidates")
        if self.fill_by == "distance":
            query = self.network.embed_query([given])
            distance = torch.linalg.vector_norm(query - self.network.embed_item(offered), dim=1)
        else:
            distance = -self.network.score([torch.cat([one.unsqueeze(0), given]) for one in offered])
        return Ranking(distance.argsort(stable=True), distance)

    @torch.no_grad()
    def index(self, items: Any, ids: Sequence[str] | None = None, categories: Sequence[str] | None = None) -> Gallery:
        """Embeds the items of a gallery once.

        Args:
            items: A list of items, or features ``(N, F)``.
            ids: Their names; of picture files the file names by default.
            categories: Their categories; those of the items by default.
        """
        self.eval()
        if not isinstance(items, Tensor | np.ndarray):
            read = [as_item(item, f"gallery: item {number}") for number, item in enumerate(items)]
            if ids is None and all(isinstance(item.image, str | Path) for item in read):
                ids = [str(item.image) for item in read]
            if categories is None and any(item.category for item in read):
                categories = [item.category for item in read]
            parts = [
                item_features(read[at : at + _CHUNK], self.encoder, self.network, "gallery: item")
                for at in range(0, len(read), _CHUNK)
            ]
            items = torch.cat(parts) if parts else torch.zeros(0, self.network.features)
        features = given_features(items, self.network, "gallery")
        embedded = [self.network.embed_item(features[at : at + _CHUNK]) for at in range(0, len(features), _CHUNK)]
        return Gallery(torch.cat(embedded), ids, categories)

    @torch.no_grad()
    def retrieve(self, partial: Any, target: str, gallery: Any, k: int = 10) -> Retrieved:
        """Finds what completes a partial outfit.

        Args:
            partial: The items that are there.
            target: The category that is looked for, or a text that describes it. Where the gallery has that category
                only its items come; where it has not, the text alone guides a network that can be told (``paper``),
                and another one warns that it means nothing.
            gallery: A :class:`Gallery` (:meth:`index`), or what it is made of.
            k: How many; all where there are fewer.
        """
        self.eval()
        searched = gallery if isinstance(gallery, Gallery) else self.index(gallery)
        told, members = self._target(target, 1), searched.members(target) if target else None
        if target and told is None and members is None:
            kinds = "has no such category" if searched.categories is not None else "names no categories"
            warnings.warn(
                f"retrieve: {target!r} has no influence: the gallery {kinds}, and this network cannot be told what is "
                "looked for",
                stacklevel=2,
            )
        query = self.network.embed_query([self.features_of(partial, "partial")], told)[0]
        return searched.search(query, k, members)

    def _many(self, outfits: Any, name: str) -> list[Tensor]:
        if isinstance(outfits, Tensor | np.ndarray) and outfits.ndim == 3:
            outfits = list(outfits)
        if not isinstance(outfits, Tensor | np.ndarray) and (not isinstance(outfits, Sequence) or not len(outfits)):
            raise InputError(f"{name}: expected an outfit or a list of outfits, got {type(outfits).__name__}")
        if is_outfit(outfits):
            return [self.features_of(outfits, "outfit 0")]
        return [self.features_of(outfit, f"outfit {number}") for number, outfit in enumerate(outfits)]

    def _target(self, target: str | Sequence[str], count: int) -> Tensor | None:
        texts = [target] * count if isinstance(target, str) else list(target)
        if len(texts) != count:
            raise InputError(f"target: {len(texts)} texts given for {count} outfits")
        if not self.network.takes_target or not any(texts) or not self.network.text_features:
            return None
        features = torch.from_numpy(self.encoder.text_features(texts))
        return features.to(next(self.network.parameters()).device)

    # -- zoo predict

    def predict_file(self, file: Path) -> tuple[list[Row], Figure]:
        """Scores the outfits of a csv: ``outfit``, and any of ``image`` (relative to it), ``text`` and ``category``.

        Returns:
            A row per outfit, in the order of the file, and a picture of them from best to worst.

        Raises:
            InputError: The table or a picture cannot be used; names the line.
        """
        outfits: dict[str, list[OutfitItem]] = {}
        for place, row in read_table(file, ("outfit",)):
            item = _table_item(file, row)
            if item.image is None and not item.text and not item.category:
                raise InputError(f"{place}: the item has no image, no text and no category")
            outfits.setdefault(row["outfit"], []).append(item)
        scores = self.score([list(items) for items in outfits.values()]).tolist()
        rows: list[Row] = [
            {"outfit": name, "items": len(items), "score": score}
            for (name, items), score in zip(outfits.items(), scores, strict=True)
        ]
        best = sorted(zip(outfits.items(), scores, strict=True), key=lambda pair: -pair[1])
        return rows, draw(
            [Line(f"{name}: score {score:.3f}", [_shown(i) for i in items]) for (name, items), score in best]
        )

    def predict_request(self, request: Mapping[str, Any], out: Path | None) -> tuple[list[Row], dict[str, Figure]]:
        """``--outfit a.jpg b.jpg`` scores; with ``--complete CATEGORY --gallery FOLDER`` it is completed too."""
        if "outfit" not in request:
            raise InputError("--complete and --gallery need an outfit: --outfit a.jpg b.jpg")
        files = [Path(file) for file in request["outfit"]]
        items = [OutfitItem(image=file) for file in files]
        if ("complete" in request) != ("gallery" in request):
            raise InputError("--complete CATEGORY and --gallery FOLDER go together")
        score = float(self.score([items])[0])
        shown = [_shown(item)._replace(note=Path(item.image).stem[:18]) for item in items]
        if "complete" not in request:
            names = " ".join(map(str, files))
            return [{"outfit": names, "items": len(items), "score": score}], {
                "outfit": draw([Line(f"score {score:.3f}", shown)])
            }
        category, top = str(request["complete"]), int(request.get("top", TOP))
        offered = read_gallery(Path(request["gallery"]), category)
        used = {file.resolve() for file in files}
        offered = [item for item in offered if Path(item.image).resolve() not in used]
        if not offered:
            raise InputError(f"{request['gallery']}: holds nothing but the outfit itself")
        found = self.retrieve(items, category, self.index(offered), top)
        rows: list[Row] = []
        more = []
        for rank, (place, distance) in enumerate(zip(found.places.tolist(), found.distance.tolist(), strict=True), 1):
            completed = float(self.score([[*items, offered[place]]])[0])
            rows.append({"rank": rank, "item": str(offered[place].image), "category": offered[place].category,
                         "distance": distance, "score": completed})  # fmt: skip
            more.append(_shown(offered[place])._replace(note=f"{rank}: {distance:.3g}", mark=GOOD if rank == 1 else ""))
        title = f"score {score:.3f}; completed with {category}, nearest first"
        return rows, {"completed": draw([Line(title, shown, more)])}


def read_gallery(folder: Path, category: str) -> list[OutfitItem]:
    """The pictures of a folder; where categories are known only those of the one that is asked for.

    Categories are known from ``items.csv`` in the folder (columns ``image``, ``category``, maybe ``text``), else from
    sub-folders that are named like them.

    Raises:
        InputError: There is no such folder, no picture, or no such category; names the nearest.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder")
    table = folder / "items.csv"
    if table.is_file():
        items = [_table_item(table, row) for _, row in read_table(table, ("image",))]
    else:
        files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES)
        items = [OutfitItem(file, "", file.parent.name if file.parent != folder else "") for file in files]
    if not items:
        raise InputError(f"{folder}: no picture in this folder ends in {', '.join(IMAGE_SUFFIXES)}")
    known = sorted({item.category for item in items if item.category})
    if not known:
        return items
    chosen = [item for item in items if item.category.lower() == category.strip().lower()]
    if not chosen:
        near = get_close_matches(category.lower(), [name.lower() for name in known], n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known[:8])}"
        raise InputError(f"{folder}: no item of the category {category!r}; {hint}")
    return chosen


def _table_item(file: Path, row: Mapping[str, str]) -> OutfitItem:
    image = (row.get("image") or "").strip()
    return OutfitItem(file.parent / image if image else None, (row.get("text") or "").strip(),
                      (row.get("category") or "").strip())  # fmt: skip


def _shown(item: OutfitItem) -> Shown:
    image = item.image if item.image is None or isinstance(item.image, Path) else Path(item.image)
    return Shown(image, item.text or item.category)
