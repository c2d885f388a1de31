"""The gallery of a search: embeddings of many images, exact search, and the file they are kept in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from zoo.domains.reid.network import Embeddings, unit
from zoo.errors import InputError
from zoo.training.whole import whole

_KEY = "zoo_gallery"
_BLOCK = 1 << 24  # similarities that are held at once: 64 MB


def joined(embeddings: Embeddings) -> Tensor:
    """Both embeddings, each of unit length, side by side: half the dot product of two such rows is their similarity."""
    return torch.cat([unit(embeddings.bge), unit(embeddings.tse)], dim=1)


@dataclass
class GalleryIndex:
    """Images that can be searched.

    Attributes:
        folder: Folder of the images.
        names: Of the images, relative to the folder.
        features: ``(N, D + T)`` float32, see :func:`joined`.
        split: D, where the second embedding starts.
        made_by: Fingerprint of the weights that made it.
        marks: Size and time of change of each file, to see which are new.
    """

    folder: Path
    names: list[str]
    features: Tensor
    split: int
    made_by: str
    marks: list[list[int]]

    def search(self, texts: Embeddings, top: int = 10) -> tuple[Tensor, Tensor]:
        """The images most similar to captions by the fused similarity; exact: every image is compared.

        Args:
            texts: Q captions.
            top: How many images.

        Returns:
            Similarities ``(Q, k)``, best first, and places ``(Q, k)``; k is ``top``, or N where that is less. Of equal
            similarities the earlier image stands first.
        """
        step = max(1, _BLOCK // len(self.names))
        found = [self._search(part, top) for part in joined(texts).to(self.features).split(step)]
        values, places = (torch.cat(parts) for parts in zip(*found, strict=True))
        return values, places

    def _search(self, queries: Tensor, top: int) -> tuple[Tensor, Tensor]:
        scores = queries @ self.features.T / 2
        # a few more than asked for, so that ties at the edge are settled by place and not by the sort
        count = min(max(1, top), len(self.names))
        values, places = scores.topk(min(len(self.names), 2 * count + 16), dim=1)
        order = places.argsort(dim=1)
        values, places = values.gather(1, order), places.gather(1, order)
        order = values.argsort(dim=1, descending=True, stable=True)[:, :count]
        return values.gather(1, order), places.gather(1, order)

    def parts(self, texts: Embeddings, places: Tensor) -> tuple[Tensor, Tensor]:
        """The two similarities ``(Q, k)`` that make up the fused one, of the images at ``places (Q, k)``."""
        chosen = self.features[places]
        bge = (chosen[..., : self.split] * unit(texts.bge).unsqueeze(1)).sum(-1)
        tse = (chosen[..., self.split :] * unit(texts.tse).unsqueeze(1)).sum(-1)
        return bge, tse

    def save(self, file: Path) -> None:
        """Writes the index; a file under the final name is always whole."""
        file.parent.mkdir(parents=True, exist_ok=True)
        said = {
            "folder": str(self.folder), "names": self.names, "split": self.split, "made_by": self.made_by,
            "marks": self.marks,
        }  # fmt: skip
        with whole(file) as working:
            save_file({"features": self.features.contiguous()}, working, {_KEY: json.dumps(said)})
            working.chmod(0o644)

    @staticmethod
    def load(file: Path, made_by: str) -> GalleryIndex:
        """Reads an index.

        Args:
            file: What :meth:`save` wrote.
            made_by: Fingerprint of the weights that captions are embedded with.

        Raises:
            InputError: The file is no gallery index, is damaged, or was made by another checkpoint.
        """
        try:
            with safe_open(file, framework="pt") as opened:
                metadata = opened.metadata() or {}
                if _KEY not in metadata:
                    raise InputError(f"{file}: is no gallery index")
                said = json.loads(metadata[_KEY])
                if said["made_by"] != made_by:
                    raise InputError(
                        f"{file}: was made by another checkpoint (weights {said['made_by'][:12]}, these are "
                        f"{made_by[:12]}); search its folder instead to make a new one: --gallery {said['folder']}"
                    )
                features = opened.get_tensor("features")
                index = GalleryIndex(
                    Path(said["folder"]), said["names"], features, said["split"], said["made_by"], said["marks"]
                )
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{file}: cannot be read as a gallery index: {error}") from None
        if len(index.names) != len(features) or len(index.marks) != len(features) or not len(features):
            raise InputError(f"{file}: names {len(index.names)} images and holds {len(features)}; is it damaged?")
        return index


def mark(file: Path) -> list[int]:
    """Size and time of change of a file."""
    state = file.stat()
    return [state.st_size, state.st_mtime_ns]


def known_features(index: GalleryIndex | None, names: Sequence[str], marks: Sequence[list[int]]) -> dict[str, Tensor]:
    """Features of an earlier index that still hold: of files of the same name, size and time of change."""
    if index is None:
        return {}
    before = {name: (mark, row) for name, mark, row in zip(index.names, index.marks, index.features, strict=True)}
    return {
        name: before[name][1]
        for name, mark in zip(names, marks, strict=True)
        if name in before and list(before[name][0]) == list(mark)
    }
