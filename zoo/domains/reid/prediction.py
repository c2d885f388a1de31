"""What a trained model does for a user: embeddings, similarities, a searchable gallery, files of captions."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from zoo.domains.reid.augment import resize
from zoo.domains.reid.gallery import GalleryIndex, joined, known_features, mark
from zoo.domains.reid.network import Embeddings, RDENetwork, Similarities, similarities
from zoo.domains.reid.picture import Search, draw
from zoo.domains.reid.records import read_records
from zoo.errors import InputError
from zoo.training import Row, ZooModule
from zoo.training.features import counted
from zoo.training.images import IMAGE_SUFFIXES, as_images, normalise, read_image
from zoo.training.root import cache_dir

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Texts = str | Sequence[str] | Tensor | np.ndarray  # strings, or token ids
BATCH = 64
SHOWN = 8
TOP = 10


class RDEPrediction(ZooModule):
    """Embeds images and captions, compares them, searches galleries."""

    domain, unit = "reid", "identity"
    suffixes: ClassVar[tuple[str, ...]] = (".json", ".csv")
    requests: ClassVar[tuple[str, ...]] = ("gallery", "query", "top")
    network: RDENetwork

    @property
    def preprocess(self) -> dict[str, Any]:
        """Size and normalisation of images, tokenizer and length of captions."""
        image, text = self.network.image_tower, self.network.text_tower
        return {
            "image_size": list(image.image_size),
            "resize": "bilinear, antialiased, to exactly this size",
            "mean": list(image.mean),
            "std": list(image.std),
            "tokenizer": type(text.tokenizer).__name__,
            "context": text.context,
        }

    # -- embeddings

    @torch.no_grad()
    def encode_image(self, images: Any, preprocess: bool = True) -> Embeddings:
        """Embeds images.

        Args:
            images: ``(B, 3, H, W)``, ``(3, H, W)`` or a list of ``(3, H, W)``; RGB as uint8 or float in [0, 1].
            preprocess: Resize and normalise; False hands a tensor to the network as it is.

        Returns:
            ``.bge (B, D)`` and ``.tse (B, T)``, raw.

        Raises:
            InputError: These are no images; says why.
        """
        if not preprocess:
            return self._evaluating(self.network.encode_image, torch.as_tensor(images).to(self.device))
        size = self.network.image_tower.image_size
        pixels = torch.stack([resize(image.cpu(), size) for image in as_images(images)])
        return self._evaluating(self.network.encode_image, self.normalised(pixels.to(self.device)))

    @torch.no_grad()
    def encode_text(self, texts: Texts, preprocess: bool = True) -> Embeddings:
        """Embeds captions.

        Args:
            texts: Strings, or token ids ``(B, L)`` or ``(L,)``.
            preprocess: Without effect: strings are tokenized, token ids are not.

        Returns:
            ``.bge (B, D)`` and ``.tse (B, T)``, raw.

        Raises:
            InputError: A caption is empty or no text, or the ids do not fit; names it.
        """
        if isinstance(texts, np.ndarray) and texts.dtype.kind in "US":
            texts = texts.reshape(-1).tolist()
        if isinstance(texts, Tensor | np.ndarray):
            tokens = torch.as_tensor(texts)
            tokens = tokens.unsqueeze(0) if tokens.ndim == 1 else tokens
        else:
            if not isinstance(texts, Iterable):
                raise InputError(f"texts: expected strings or token ids, got a {type(texts).__name__}")
            captions = [texts] if isinstance(texts, str) else list(texts)
            if not captions:
                raise InputError("texts: the list holds no caption")
            tokens = self.network.text_tower.tokenizer(captions)
        return self._evaluating(self.network.encode_text, tokens.to(self.device))

    @staticmethod
    def similarity(image_embeddings: Embeddings, text_embeddings: Embeddings) -> Similarities:
        """Cosine similarities of captions and images: ``.bge``, ``.tse`` and their mean ``.fused``, each ``(T, I)``."""
        return similarities(image_embeddings, text_embeddings)

    def predict(self, images: Any, texts: Texts, preprocess: bool = True) -> Similarities:
        """Similarities ``(T, I)`` of captions and images; see :meth:`encode_image` and :meth:`encode_text`."""
        return self.similarity(self.encode_image(images, preprocess), self.encode_text(texts, preprocess))

    def normalised(self, pixels: Tensor) -> Tensor:
        """Images in [0, 1] as the image tower takes them."""
        return normalise(pixels, self.network.image_tower.mean, self.network.image_tower.std)

    def _evaluating(self, encode: Any, inputs: Tensor) -> Embeddings:
        training = self.training
        self.eval()
        try:
            found: Embeddings = encode(inputs)
        except ValueError as error:
            raise InputError(str(error)) from error
        finally:
            self.train(training)
        return found

    # -- galleries

    def fingerprint(self) -> str:
        """A digest of the weights and of what happens before them: the same for the same checkpoint in any file."""
        digest = hashlib.sha256(repr(sorted(self.preprocess.items())).encode())
        for name, tensor in sorted(self.network.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().float().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def gallery(self, folder: Path) -> GalleryIndex:
        """The index of all images below a folder, kept in the cache; images that are new or changed are embedded.

        Args:
            folder: Of images, or the file of an index.

        Raises:
            InputError: There is no image, one cannot be read, or the file was made by another checkpoint.
        """
        weights = self.fingerprint()
        if folder.is_file():
            return GalleryIndex.load(folder, weights)
        if not folder.is_dir():
            raise InputError(f"{folder}: there is no such folder of images, nor an index of one")
        seen = (file for file in folder.rglob("*") if not file.name.startswith("."))  # a Mac's archives hold such files
        files = sorted(file for file in seen if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file())
        if not files:
            raise InputError(f"{folder}: holds no image ({', '.join(IMAGE_SUFFIXES)})")
        where = folder.resolve()
        place = gallery_file(where, weights)
        names, marks = [str(file.relative_to(folder)) for file in files], [mark(file) for file in files]
        before = GalleryIndex.load(place, weights) if place.is_file() else None
        known = known_features(before, names, marks)
        new = [name for name in names if name not in known]
        if new or before is None or before.names != names:
            try:
                for start in counted(range(0, len(new), BATCH), "gallery", len(new), BATCH):
                    some = new[start : start + BATCH]
                    rows = joined(self.encode_image([read_image(folder / name) for name in some])).cpu()
                    known.update(zip(some, rows, strict=True))
            finally:  # an interruption keeps what was embedded
                there = [index for index, name in enumerate(names) if name in known]
                if there:
                    features = torch.stack([known[names[index]] for index in there])
                    split = self.network.image_tower.embed
                    kept = [names[index] for index in there], [marks[index] for index in there]
                    before = GalleryIndex(where, kept[0], features, split, weights, kept[1])
                    before.save(place)
        assert before is not None  # all images are known here
        print(f"gallery of {len(names)} images, {len(new)} embedded anew: {place}", file=sys.stderr)
        return before

    def predict_request(self, request: Mapping[str, Any], out: Path | None) -> tuple[list[Row], dict[str, Figure]]:
        """Searches a gallery for each query.

        Args:
            request: ``gallery``: a folder of images or an index file; ``query``: texts; ``top``: how many images.
            out: Folder of the predictions.

        Returns:
            A row per query and image (``query``, ``rank``, ``image``, ``score``, ``bge``, ``tse``), and a picture per
            query.
        """
        absent = [f"--{name}" for name in ("gallery", "query") if not request.get(name)]
        if absent:
            raise InputError(f"a search needs --gallery FOLDER and --query TEXT, {' and '.join(absent)} is missing")
        queries, top = list(request["query"]), TOP if request.get("top") is None else int(request["top"])
        if top < 1:
            raise InputError(f"--top must be at least 1, got {top}")
        texts = Embeddings(*(feature.cpu() for feature in self.encode_text(queries)))
        index = self.gallery(Path(request["gallery"]))
        scores, places = index.search(texts, top)
        bge, tse = index.parts(texts, places)
        rows: list[Row] = []
        figures: dict[str, Figure] = {}
        for number, query in enumerate(queries):
            images = [index.folder / index.names[place] for place in places[number].tolist()]
            for rank, image in enumerate(images):
                values = (float(part[number, rank]) for part in (scores, bge, tse))
                rows.append({"query": query, "rank": rank + 1, "image": str(image),
                             **dict(zip(("score", "bge", "tse"), values, strict=True))})  # fmt: skip
            search = Search(query, images[:TOP], scores[number, :TOP].tolist())
            figures[f"{number + 1:02d}_{_slug(query)}"] = draw([search])
        return rows, figures

    # -- files

    def predict_file(self, file: Path) -> tuple[list[Row], Figure]:
        """Ranks the images of a json or csv of image, caption and id for each of its captions.

        Args:
            file: As :class:`zoo.domains.reid.ImageText` reads; images are relative to it.

        Returns:
            A row per caption: its ``image``, its ``rank`` among all images of the file (the best of its identity), its
            ``score``, the image that stands ``first`` and the score of that; and a picture of the first captions.
        """
        records = read_records(file, file.parent, needs_id=False, default_split="test")
        pairs = [(row, caption) for row, record in enumerate(records) for caption in record.captions]
        if not pairs:
            raise InputError(f"{file}: holds no caption")
        images = _joined_parts([
            self.encode_image([read_image(record.file, record.place) for record in records[start : start + BATCH]])
            for start in range(0, len(records), BATCH)
        ])  # fmt: skip
        texts = _joined_parts([
            self.encode_text([caption for _, caption in pairs[start : start + BATCH]])
            for start in range(0, len(pairs), BATCH)
        ])  # fmt: skip
        scores = self.similarity(images, texts).fused.cpu()
        identity = torch.tensor([record.identity for record in records])
        rows: list[Row] = []
        searches: list[Search] = []
        for (own, caption), line in zip(pairs, scores, strict=True):
            right = identity == identity[own]
            best = line.argsort(descending=True, stable=True)
            rank = int((line > line[right].max()).sum()) + 1
            first = int(best[0])
            rows.append({
                "image": records[own].file.name, "caption": caption, "rank": rank, "score": float(line[own]),
                "first": records[first].file.name, "first_score": float(line[first]),
            })  # fmt: skip
            if len(searches) < SHOWN:
                chosen = best[:TOP].tolist()
                found = [records[place].file for place in chosen]
                searches.append(Search(caption, found, line[chosen].tolist(), right[chosen].tolist()))
        return rows, draw(searches, len(pairs) - len(searches))


def gallery_file(folder: Path, weights: str) -> Path:
    """Where the index of a folder made by these weights is kept."""
    key = hashlib.sha256(f"{folder} {weights}".encode()).hexdigest()[:16]
    return cache_dir() / "galleries" / f"{folder.name}-{key}.safetensors"


def _joined_parts(parts: Sequence[Embeddings]) -> Embeddings:
    return Embeddings(*(torch.cat(features) for features in zip(*parts, strict=True)))


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:40] or "query"
