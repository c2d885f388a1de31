"""Images with captions and no identities: Flickr8k, Flickr30k, and any json or csv of a user's own."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

from zoo.domains.reid.data import Selection, TextImageData
from zoo.domains.reid.records import Record, read_records
from zoo.domains.reid.synthesis import synthesize
from zoo.training import DataError, Split


def read_tokens(file: Path, images: Path, splits: dict[str, Split]) -> list[Record]:
    """Reads the original caption file of Flickr8k or Flickr30k: ``name.jpg#0<tab>caption`` per line.

    Args:
        file: ``Flickr8k.token.txt`` or ``results_20130124.token``.
        images: Folder of the images.
        splits: The split of each image, by its name without ending; images of no split are left out, as in the
            official splits.

    Raises:
        DataError: A line is malformed, or a split names an image without captions; names file and line.
    """
    captions: dict[str, tuple[list[str], str]] = {}
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: not a text file ({error.reason} at byte {error.start})") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        head, tab, caption = line.partition("\t")
        name, mark, _ = head.partition("#")
        if not tab or not mark or not caption.strip():
            raise DataError(f"{file}:{number}: expected 'name.jpg#0<tab>caption', found {line!r:.60}")
        captions.setdefault(name, ([], f"{file}:{number}"))[0].append(caption.strip())
    by_stem = {Path(name).stem: name for name in captions}
    absent = next((stem for stem in splits if stem not in by_stem), None)
    if absent is not None:
        raise DataError(f"{file}: has no caption of {absent}, which a split names")
    records = []
    for identity, (stem, split) in enumerate(splits.items()):
        name = by_stem[stem]
        texts, place = captions[name]
        records.append(Record(images / name, identity, tuple(texts), split, place))
    return records


def read_split_lists(root: Path, files: dict[Split, str]) -> dict[str, Split]:
    """Names of images without their ending, and the split of each.

    Args:
        root: Folder of the lists.
        files: A list of image names, one a line, per split.

    Raises:
        DataError: A list is missing, or names an image twice; names file and line.
    """
    splits: dict[str, Split] = {}
    for split, name in files.items():
        file = root / name
        if not file.is_file():
            raise DataError(f"{file}: there is no such list of images of the {split} split")
        for number, line in enumerate(file.read_text(encoding="utf-8-sig").splitlines(), start=1):
            stem = Path(line.strip()).stem
            if stem in splits:
                raise DataError(f"{file}:{number}: {stem} is named twice")
            if stem:
                splits[stem] = split
    return splits


def _images(root: Path, *names: str) -> Path:
    """The first of the folders that is there, or the root."""
    return next((root / name for name in names if (root / name).is_dir()), root)


class Flickr8k(TextImageData):
    """Flickr8k (Hodosh et al., JAIR 2013): photographs with five captions each; every image is an identity of its own.

    The original files, Karpathy's json, or the list of a subset are read, whichever is there.
    """

    dataset = "flickr8k"
    source = "https://hockenmaier.cs.illinois.edu/8k-pictures.html; splits also in Karpathy's caption_datasets.zip"
    terms = "non-commercial research and education; the photographs belong to their owners on Flickr"
    layout = """
    Flickr8k.token.txt, Flickr_8k.{trainImages,devImages,testImages}.txt, Flicker8k_Dataset/   the original files
    dataset_flickr8k.json, images/                                                              or Karpathy's
    captions.json, images/                                         or a list of {file, split, captions} of a subset
    """

    def records(self, root: Path) -> list[Record]:
        """Reads the layout that is there."""
        if (root / "captions.json").is_file():
            return read_records(
                root / "captions.json", root, ("file",), ("captions",), needs_id=False, spare=self.spare
            )
        if (root / "dataset_flickr8k.json").is_file():
            return _karpathy(root / "dataset_flickr8k.json", _images(root, "images", "Flicker8k_Dataset"))
        if (root / "Flickr8k.token.txt").is_file():
            files: dict[Split, str] = {
                "train": "Flickr_8k.trainImages.txt",
                "val": "Flickr_8k.devImages.txt",
                "test": "Flickr_8k.testImages.txt",
            }
            splits = read_split_lists(root, files)
            return read_tokens(root / "Flickr8k.token.txt", _images(root, "Flicker8k_Dataset", "images"), splits)
        raise DataError(
            f"{root}: no Flickr8k.token.txt, dataset_flickr8k.json or captions.json (zoo data show flickr8k)"
        )

    def make(self, root: Path) -> None:
        """Writes tiny data in the format of the subset."""
        synthesize(root, "flickr8k", self.seed)


class Flickr30k(TextImageData):
    """Flickr30k (Young et al., TACL 2014): 31,014 photographs with five captions each."""

    dataset = "flickr30k"
    source = "https://shannon.cs.illinois.edu/DenotationGraph/; splits in Karpathy's caption_datasets.zip"
    terms = "non-commercial research and education; the photographs belong to their owners on Flickr"
    layout = """
    dataset_flickr30k.json, flickr30k-images/                                         Karpathy's json
    results_20130124.token, train.txt, val.txt, test.txt, flickr30k-images/           or the original captions and lists
    """

    def records(self, root: Path) -> list[Record]:
        """Reads the layout that is there."""
        images = _images(root, "flickr30k-images", "images")
        if (root / "dataset_flickr30k.json").is_file():
            return _karpathy(root / "dataset_flickr30k.json", images)
        if (root / "results_20130124.token").is_file():
            splits = read_split_lists(root, {"train": "train.txt", "val": "val.txt", "test": "test.txt"})
            return read_tokens(root / "results_20130124.token", images, splits)
        raise DataError(f"{root}: no dataset_flickr30k.json or results_20130124.token (zoo data show flickr30k)")

    def make(self, root: Path) -> None:
        """Writes tiny data in the format of Karpathy's json."""
        synthesize(root, "flickr30k", self.seed)


class ImageText(TextImageData):
    """A user's own images and captions: a json list or a csv of image, caption and, if there are any, id and split.

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
        noise_file: A permutation in the released format (``.npy``); null shuffles by ``noise_seed``.
        noise_seed: Which captions are shuffled, and how.
        select_on: The split that picks ``best.ckpt``.
        val_fraction: Share of the training identities held out for validation, where no record is of the split val.
        split_seed: Which identities are held out.
        memory: Keep resized training images in memory once read.
        file: The json or csv below the root. A json record or a csv row names its image (``image``, ``file``,
            ``file_path``, ...), its ``caption`` or list of ``captions``, and its ``split``; ``id`` and ``camera`` may
            be given; an id may be a number or a text. Without ids every image is an identity of its own.
        images: Folder below the root that image names are relative to.
    """

    dataset = "imagetext"
    source = "files of your own"
    terms = "yours"
    layout = """
    captions.csv   image,caption,id,split: a row per caption, parted by , ; | or tab
    captions.json  or a list of {image, captions, id, split}
    <images>       what the column image names, relative to data.images
    """

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
        file: str = "captions.csv",
        images: str = ".",
    ) -> None:
        super().__init__(
            root, batch_size, workers, synthesize, limit, on_error, image_size, augment_image, augment_text,
            noise, noise_file, noise_seed, select_on, val_fraction, split_seed, memory,
        )  # fmt: skip
        self.file, self.images = file, images

    def records(self, root: Path) -> list[Record]:
        """Reads the json or csv."""
        return read_records(root / self.file, root / self.images, needs_id=False, spare=self.spare)

    def make(self, root: Path) -> None:
        """Writes tiny data as a csv."""
        synthesize(root, "imagetext", self.seed)


def _karpathy(file: Path, images: Path) -> list[Record]:
    """Karpathy's json; his ``sentid`` and ``imgid`` are not needed: every image is an identity of its own."""
    records = read_records(file, images, ("filename",), ("captions",), ("identity",), needs_id=False)
    return [dataclasses.replace(record, identity=number) for number, record in enumerate(records)]
