"""What the data sets of images and captions share: items, noise, held-out identities, loaders."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from zoo.domains.reid.augment import augment_image, caption_draws, resize
from zoo.domains.reid.noise import read_permutation, shuffled
from zoo.domains.reid.records import Record
from zoo.errors import InputError
from zoo.training import DataError, EpochOrder, Items, Split, ZooData
from zoo.training.images import read_image
from zoo.training.paths import is_there

Selection = Literal["val", "test"]
_DIVISION = 1 << 40  # epochs of the division have numbers, and so random numbers, of their own


class Pairs:
    """Training pairs, one for each caption.

    Args:
        records: Images with their captions.
        size: Height and width that images are resized to.
        permutation: ``(N,)``: pair i has the caption of pair ``permutation[i]``.
        augment_image: Flip, crop and erase.
        augment_text: Give the random numbers that the module changes captions with.
        memory: Keep the resized images.

    Attributes:
        noisy: ``(N,)`` bool: the caption speaks of another person than the image shows.
    """

    def __init__(
        self,
        records: Sequence[Record],
        size: tuple[int, int],
        permutation: np.ndarray | None = None,
        augment_image: bool = True,
        augment_text: bool = True,
        memory: bool = False,
    ) -> None:
        self.pairs = [(record, number) for record in records for number in range(len(record.captions))]
        self.permutation = np.arange(len(self.pairs)) if permutation is None else permutation
        self.size, self.augment_image, self.augment_text = size, augment_image, augment_text
        self._kept: dict[Path, Tensor] | None = {} if memory else None
        identity = np.array([record.identity for record, _ in self.pairs])
        self.noisy: np.ndarray = identity[self.permutation] != identity

    def __len__(self) -> int:
        return len(self.pairs)

    def made_of(self, index: int) -> str:
        """The image: which identities are held out, and which captions are shuffled, depends on all."""
        return str(self.pairs[index][0].file)

    def item(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """One pair: ``image (3, H, W)`` in [0, 1], ``caption``, ``identity``, ``index``, and ``draws`` for its text."""
        record, number = self.pairs[index]
        other, spoken = self.pairs[int(self.permutation[index])]
        image = self._image(record)
        item = {
            "id": f"{record.file.name}#{number}",
            "index": index,
            "image": augment_image(image, rng) if self.augment_image else image,
            "caption": other.captions[spoken],
            "identity": record.identity,
        }
        return {**item, "draws": caption_draws(rng)} if self.augment_text else item

    def _image(self, record: Record) -> Tensor:
        """The resized image; what is kept is 8 bits a value, which is what resizing gives."""
        if self._kept is not None and record.file in self._kept:
            return self._kept[record.file].float() / 255
        image = resize(read_image(record.file, record.place), self.size)
        if self._kept is not None:
            self._kept[record.file] = (image * 255).round().to(torch.uint8)
        return image


class Gallery:
    """Images of an evaluation, each with its captions (none for one that only fills the gallery).

    Args:
        records: The images.
        size: Height and width that they are resized to.
    """

    def __init__(self, records: Sequence[Record], size: tuple[int, int]) -> None:
        self.records, self.size = list(records), size

    def __len__(self) -> int:
        return len(self.records)

    def made_of(self, index: int) -> str:
        """The image."""
        return str(self.records[index].file)

    def item(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """One image: ``image (3, H, W)`` in [0, 1], ``captions``, ``identity``, ``camera`` (-1: unknown), ``index``."""
        record = self.records[index]
        return {
            "id": str(record.file),
            "index": index,
            "image": resize(read_image(record.file, record.place), self.size),
            "captions": list(record.captions),
            "identity": record.identity,
            "camera": record.camera,
        }


class TextImageData(ZooData):
    """Base of the data sets: a subclass reads its records.

    Args:
        root: Folder of the data.
        batch_size: Pairs per process and step.
        workers: Loader processes.
        synthesize: Use tiny made-up data in the same format.
        limit: Use only so many pairs or images of each split.
        on_error: ``stop`` at the first unusable image, or ``skip`` and report.
        image_size: Height and width; that of the image tower.
        augment_image: Flip, crop and erase training images.
        augment_text: Mask, replace and leave out words of training captions.
        noise: Share of the training captions that are shuffled, in [0, 1].
        noise_file: A permutation in the released format (``.npy``), relative to the root or the current folder; null
            shuffles by ``noise_seed``.
        noise_seed: Which captions are shuffled, and how.
        select_on: The split that picks ``best.ckpt``: ``val``, or ``test`` as the released code does.
        val_fraction: Share of the training identities held out for validation, where the data has no such split.
        split_seed: Which identities are held out.
        memory: Keep resized training images in memory once read (147 kB each at 384x128, in each loader process).
    """

    domain = "reid"
    sample = "samples/*.json"

    def __init__(
        self,
        root: str | None = None,
        batch_size: int = 64,
        workers: int = 0,
        synthesize: bool = False,
        limit: int | None = None,
        on_error: Literal["stop", "skip"] = "stop",
        image_size: tuple[int, int] = (384, 128),
        augment_image: bool = True,
        augment_text: bool = True,
        noise: float = 0.0,
        noise_file: str | None = None,
        noise_seed: int = 1,
        select_on: Selection = "val",
        val_fraction: float = 0.0,
        split_seed: int = 0,
        memory: bool = False,
    ) -> None:
        super().__init__(root, batch_size, workers, synthesize, limit, on_error)
        if min(image_size) < 1 or len(image_size) != 2:
            raise InputError(f"data.image_size must be a height and a width of at least 1, got {image_size}")
        if not 0 <= noise <= 1:
            raise InputError(f"data.noise must be in [0, 1], got {noise}")
        if noise_file is not None and not noise:
            raise InputError("data.noise_file is given, but data.noise is 0: say which share of captions it shuffles")
        if not 0 <= val_fraction < 1:
            raise InputError(f"data.val_fraction must be in [0, 1), got {val_fraction}")
        if select_on not in ("val", "test"):
            raise InputError(f"data.select_on is 'val' or 'test', got {select_on!r}")
        self.image_size = (int(image_size[0]), int(image_size[1]))
        self.augment_image, self.augment_text = augment_image, augment_text
        self.noise, self.noise_file, self.noise_seed = noise, noise_file, noise_seed
        self.select_on, self.val_fraction, self.split_seed = select_on, val_fraction, split_seed
        self.memory = memory
        self._division: tuple[DataLoader[dict[str, Any]], EpochOrder] | None = None

    def records(self, root: Path) -> list[Record]:
        """All records of the data set, of every split.

        Raises:
            DataError: A file is missing or a record malformed; names it.
        """
        raise InputError(f"{type(self).__name__} does not say how to read its records")

    def read(self, root: Path, split: Split) -> Items:
        """The pairs of the training split, or the images of another.

        Raises:
            DataError: A file is missing or a record malformed, or the split is empty; names it.
        """
        if split == "val" and self.select_on == "test":
            print(
                f"{self.dataset}: best.ckpt is picked on the test split (select_on: test, as the released code does); "
                "its test figures are those of the best epoch, not of a fair choice",
                file=sys.stderr,
            )
        chosen: Split = "test" if split == "val" and self.select_on == "test" else split
        records = self.split_records(self.kept(self.records(root), lambda record: str(record.file)), chosen)
        for record in records:
            if self.on_error == "stop" and not is_there(record.file):
                raise DataError(f"{record.place}: there is no image {record.file}")
        if split != "train":
            if not any(record.captions for record in records):
                raise DataError(f"{root}: the {split} split of {self.dataset} has no caption")
            return Gallery(records, self.image_size)
        permutation = self._permutation(root, sum(len(record.captions) for record in records))
        return Pairs(records, self.image_size, permutation, self.augment_image, self.augment_text, self.memory)

    def split_records(self, records: Sequence[Record], split: Split) -> list[Record]:
        """The records of a split; a share of the training identities where validation is held out.

        Raises:
            DataError: There is no such split.
        """
        official = any(record.split == "val" for record in records)
        if official and self.val_fraction:
            raise InputError(f"data.val_fraction: {self.dataset} has a validation split of its own")
        held: set[int] = set() if official else self._held_out(records)
        if split == "val" and not official and not held:
            raise DataError(
                f"{self.dataset} has no validation split: hold out a share of the training identities "
                "(data.val_fraction), or select on the test split as the released code does (data.select_on: test)"
            )
        if split == "val" and not official:
            return [record for record in records if record.split == "train" and record.identity in held]
        out = held if split == "train" else set()
        return [record for record in records if record.split == split and record.identity not in out]

    def _held_out(self, records: Sequence[Record]) -> set[int]:
        identities = np.array(sorted({record.identity for record in records if record.split == "train"}), dtype=int)
        count = round(self.val_fraction * len(identities))
        if self.val_fraction and not 0 < count < len(identities):
            of = f"{self.val_fraction:g} of {len(identities)} training identities"
            raise DataError(f"data.val_fraction: {of} is {count}, expected at least one, and one left to train on")
        return set(np.random.default_rng(self.split_seed).permutation(identities)[:count].tolist())

    def _permutation(self, root: Path, count: int) -> np.ndarray | None:
        if not self.noise:
            return None
        if self.noise_file is None:
            return shuffled(count, self.noise, self.noise_seed)
        below = root / self.noise_file
        return read_permutation(below if below.is_file() else Path(self.noise_file), count, self.noise)

    def collate(self, batch: list[dict[str, Any]]) -> dict[str, Any]:
        """Stacks a batch; captions of an evaluation stand one after another, ``owner`` says whose they are."""
        if "captions" not in batch[0]:
            return super().collate(batch)
        return {
            "id": [item["id"] for item in batch],
            "image": torch.stack([item["image"] for item in batch]),
            **{name: torch.tensor([item[name] for item in batch]) for name in ("index", "identity", "camera")},
            "captions": [caption for item in batch for caption in item["captions"]],
            "owner": torch.tensor([row for row, item in enumerate(batch) for _ in item["captions"]], dtype=torch.long),
        }

    def division_dataloader(self, epoch: int) -> DataLoader[dict[str, Any]]:
        """Every training pair once, shuffled and augmented by draws of its own: what the division looks at.

        Args:
            epoch: From 0.
        """
        items = self.items("train")
        if self._division is None:
            rank, world_size = self._place()
            order = EpochOrder(len(items), self.batch_size, self.seed, rank, world_size)
            self._division = (self._loader(items, order), order)
        loader, order = self._division
        order.epoch = _DIVISION + epoch
        return loader

    @property
    def pairs(self) -> Pairs:
        """The training pairs."""
        found: Any = self.items("train").items
        return found

    def image_files(self, split: Split) -> list[Path]:
        """The images of a split."""
        return [record.file for record in self.split_records(self.records(self.folder()), split)]
