"""Images with captions and no identities: Flickr8k, Flickr30k, and any json or csv of a user's own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from zoo.domains.reid.data import Selection, TextImageData
from zoo.domains.reid.records import Record, read_records
from zoo.domains.reid.synthesis import synthesize
from zoo.domains.reid.tokenizers import clean
from zoo.training import DataError, Split, refuse, usable
from zoo.training.lines import as_text, text_lines


def read_tokens(
    file: Path, images: Path, splits: dict[str, tuple[Split, str]], spare: Callable[[DataError], None] = refuse
) -> list[Record]:
    """Reads the original caption file of Flickr8k or Flickr30k: ``name.jpg#0<tab>caption`` per line.

    Args:
        file: ``Flickr8k.token.txt`` or ``results_20130124.token``.
        images: Folder of the images.
        splits: Of each image, by its name without ending, the split and where it is named; images of no split are left
            out, as in the official splits.
        spare: What is done with a line that cannot be used, and with an image without captions; they are left out.

    Raises:
        DataError: A line is malformed, or a split names an image without captions; names file and line.
    """
    captions: dict[str, tuple[list[str], str]] = {}

    def read(numbered: tuple[str, str]) -> None:
        place, line = numbered
        head, tab, caption = as_text(place, line).partition("\t")
        name, mark, _ = head.partition("#")
        if not tab or not mark or not clean(caption):
            raise DataError(f"{place}: expected 'name.jpg#0<tab>caption', found {line!r:.60}")
        captions.setdefault(name, ([], place))[0].append(caption.strip())

    usable((numbered for numbered in text_lines(file) if numbered[1].strip()), read, spare)
    by_stem = {Path(name).stem: name for name in captions}

    def record(numbered: tuple[int, tuple[str, tuple[Split, str]]]) -> Record:
        identity, (stem, (split, named)) = numbered
        if stem not in by_stem:
            raise DataError(f"{named}: {stem} has no caption in {file}")
        texts, place = captions[by_stem[stem]]
        return Record(images / by_stem[stem], identity, tuple(texts), split, place)

    return usable(enumerate(splits.items()), record, spare)


def read_split_lists(
    root: Path, files: dict[Split, str], spare: Callable[[DataError], None] = refuse
) -> dict[str, tuple[Split, str]]:
    """Names of images without their ending, the split of each, and where it is named.

    Args:
        root: Folder of the lists.
        files: A list of image names, one a line, per split.
        spare: What is done with a line that cannot be used; such a line is left out.

    Raises:
        DataError: A list is missing, or names an image twice; names file and line.
    """
    splits: dict[str, tuple[Split, str]] = {}
    for split, name in files.items():
        if not (root / name).is_file():
            raise DataError(f"{root / name}: there is no such list of images of the {split} split")

        def read(numbered: tuple[str, str], split: Split = split) -> None:
            place, line = numbered
            stem = Path(as_text(place, line).strip()).stem
            if stem in splits:
                raise DataError(f"{place}: {stem} is named twice")
            if stem:
                splits[stem] = split, place

        usable(text_lines(root / name), read, spare)
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
            return _karpathy(root / "dataset_flickr8k.json", _images(root, "images", "Flicker8k_Dataset"), self.spare)
        if (root / "Flickr8k.token.txt").is_file():
            files: dict[Split, str] = {
                "train": "Flickr_8k.trainImages.txt",
                "val": "Flickr_8k.devImages.txt",
                "test": "Flickr_8k.testImages.txt",
            }
            splits = read_split_lists(root, files, self.spare)
            folder = _images(root, "Flicker8k_Dataset", "images")
            return read_tokens(root / "Flickr8k.token.txt", folder, splits, self.spare)
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
            return _karpathy(root / "dataset_flickr30k.json", images, self.spare)
        if (root / "results_20130124.token").is_file():
            files: dict[Split, str] = {"train": "train.txt", "val": "val.txt", "test": "test.txt"}
            splits = read_split_lists(root, files, self.spare)
            return read_tokens(root / "results_20130124.token", images, splits, self.spare)
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


def _karpathy(file: Path, images: Path, spare: Callable[[DataError], None]) -> list[Record]:
    """Karpathy's json; his ``sentid`` and ``imgid`` are not needed: every image is an identity of its own."""
    records = read_records(file, images, ("filename",), ("captions",), ("identity",), needs_id=False, spare=spare)
    return [dataclasses.replace(record, identity=number) for number, record in enumerate(records)]
