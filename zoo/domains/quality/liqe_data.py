"""LIQE logits on the disk: made once from photographs (``zoo data make liqe``), read by training and prediction."""

from __future__ import annotations

import hashlib
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Literal

import numpy as np

from zoo.domains.quality.liqe import LIQE, MAKE, WINDOWS, load_clip, read_logits
from zoo.errors import InputError
from zoo.training import IMAGE_SUFFIXES, DataError, FeatureStore, Items, Split, ZooData, read_image


class _Features:
    """Feature files by index."""

    def __init__(self, files: list[Path]) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def item(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """``id`` and ``aux (495,)``."""
        return {"id": str(self.files[index]), "aux": read_logits(self.files[index])}


class LIQEFeatures(ZooData):
    """LIQE logits of photographs: 495 numbers an image, the third input of the quality network.

    Made by ``zoo data make liqe --from PHOTOS --out FOLDER --data.weights LIQE.pt``, about two seconds an image on a
    CPU core; kept by content in the cache, so that it goes on where it was stopped. The recipes of quality take the
    folder as ``data.init_args.aux``, prediction as ``model.init_args.aux``.

    Args:
        root: Folder with the features.
        batch_size: Items of a batch.
        workers: Loader processes.
        synthesize: There is no made-up set.
        limit: Use only this many items.
        on_error: ``stop`` at the first image that cannot be read, or ``skip`` such images, count and report them.
        weights: ``LIQE.pt``, or the part file made of it (``zoo convert RECIPE LIQE.pt OUT --part liqe``).
        device: Where to compute.
    """

    domain = "quality"
    dataset = "liqe"
    source = "LIQE.pt: Google Drive 1jEG9IwyqJqplUtCrR49MjVEswPXA9V6S, linked by github.com/sunwei925/DN-PIQA"
    terms = "LIQE.pt is distributed by its authors without stated terms; CLIP is MIT"
    layout = """
    <path of the image>.npy   float32 (495,), in the folders of the photographs; (1, 495) and float16 are read too
    """

    def __init__(
        self,
        root: str | None = None,
        batch_size: int = 32,
        workers: int = 0,
        synthesize: bool = False,
        limit: int | None = None,
        on_error: Literal["stop", "skip"] = "stop",
        weights: str | None = None,
        device: str = "cpu",
    ) -> None:
        super().__init__(root, batch_size, workers, synthesize, limit, on_error)
        self.weights, self.device = weights, device

    def read(self, root: Path, split: Split) -> Items:
        """All features: they have no splits of their own."""
        files = sorted(root.rglob("*.npy"))
        if not files:
            raise DataError(f"{root}: holds no .npy; make them: {MAKE.format(folder=root)}")
        return _Features(files)

    def prepare(self, source: Path, out: Path) -> None:
        """Computes the features of all images below a folder.

        Raises:
            InputError: No weights are given or they do not fit, there is no image, or two images would share a file.
            DataError: An image cannot be read, where ``on_error`` is ``stop``.
        """
        if self.weights is None:
            raise InputError("zoo data make liqe needs LIQE's CLIP weights: --data.weights LIQE.pt")
        weights = Path(self.weights).expanduser()
        clip = load_clip(weights).to(self.device)
        files = self._readable(source)
        liqe = LIQE(clip)
        store = FeatureStore("liqe", {"weights": _digest(weights), "windows": WINDOWS})
        arrays = store.get(files, lambda paths: [liqe.logits(read_image(path))[0].numpy() for path in paths], 1, "LIQE")
        for file, array in zip(files, arrays, strict=True):
            place = out / file.relative_to(source).with_suffix(".npy")
            place.parent.mkdir(parents=True, exist_ok=True)
            working = place.with_suffix(".part")
            with working.open("wb") as stream:
                np.save(stream, array, allow_pickle=False)
            os.replace(working, place)
        liqe.note()
        print(f"{len(files)} images: {store.computed} computed, {store.reused} from the cache", file=sys.stderr)

    def _readable(self, source: Path) -> list[Path]:
        files = sorted(file for file in source.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES)
        if self.limit is not None:
            files = files[: self.limit]
        if not files:
            raise InputError(f"{source}: no file in this folder ends in {', '.join(IMAGE_SUFFIXES)}")
        twice = [stem for stem, count in Counter(file.with_suffix("") for file in files).items() if count > 1]
        if twice:
            raise InputError(f"{twice[0]}: several images of this name differ in their ending only; rename one")
        if self.on_error == "stop":
            return files
        good = []
        for file in files:
            try:
                read_image(file)
            except DataError as error:
                self.skipped[str(error)] += 1
                print(error, file=sys.stderr)
            else:
                good.append(file)
        if self.skipped:
            print(f"{len(self.skipped)} of {len(files)} images cannot be read and have no features", file=sys.stderr)
        if not good:
            raise InputError(f"{source}: none of {len(files)} images can be read")
        return good


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
