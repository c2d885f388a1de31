"""Person data sets: CUHK-PEDES, ICFG-PEDES and RSTPReid in their official layouts, and the CUHK01 part of the first."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from zoo.domains.reid.data import Selection, TextImageData
from zoo.domains.reid.records import ID_KEYS, Record, contiguous, read_records
from zoo.domains.reid.synthesis import synthesize
from zoo.training import DataError, usable

_CAMERA_NAME = re.compile(r"(\d+)(\d{3})")


def _inside(root: Path, folder: str, file: str) -> Path:
    """The folder of the data set: the root itself, or the folder of the official name in it."""
    return root if (root / file).is_file() or not (root / folder).is_dir() else root / folder


class CUHKPEDES(TextImageData):
    """CUHK-PEDES (Li et al., CVPR 2017): 11,003 / 1,000 / 1,000 identities for training, validation and test."""

    dataset = "cuhk_pedes"
    source = "https://github.com/ShuangLI59/Person-Search-with-Natural-Language-Description (on request)"
    terms = "research use, on request to the authors; the images are of CUHK01, CUHK03, Market-1501, SSM and VIPeR"
    layout = """
    CUHK-PEDES/reid_raw.json   a list of {split, captions, file_path, id, processed_tokens}
    CUHK-PEDES/imgs/           cam_a, cam_b, CUHK01, CUHK03, Market, test_query, train_query: what file_path names
    noiseindex/                optional: CUHK-PEDES_0.2.npy, _0.5, _0.8 of the authors (data.noise_file)
    """

    def records(self, root: Path) -> list[Record]:
        """Reads ``reid_raw.json``."""
        folder = _inside(root, "CUHK-PEDES", "reid_raw.json")
        return _official(folder / "reid_raw.json", folder / "imgs", "file_path", 1, "CUHK-PEDES", self.spare)

    def make(self, root: Path) -> None:
        """Writes tiny data in the official format."""
        synthesize(root, "cuhk_pedes", self.seed)


class ICFGPEDES(TextImageData):
    """ICFG-PEDES (Ding et al., arXiv:2107.12666): 3,102 training and 1,000 test identities, no validation split."""

    splits = ("train", "test")
    dataset = "icfg_pedes"
    source = "https://github.com/zifyloo/SSAN (on request)"
    terms = "research use, on request to the authors; the images are of MSMT17"
    layout = """
    ICFG-PEDES/ICFG-PEDES.json   a list of {split, captions, file_path, id, processed_tokens}
    ICFG-PEDES/imgs/             train, test: what file_path names
    noiseindex/                  optional: ICFG-PEDES_0.2.npy, _0.5, _0.8 of the authors (data.noise_file)
    """

    def records(self, root: Path) -> list[Record]:
        """Reads ``ICFG-PEDES.json``; the authors' readme writes it with an underscore, which is taken too."""
        folder = _inside(root, "ICFG-PEDES", "ICFG-PEDES.json")
        file = folder / "ICFG-PEDES.json"
        if not file.is_file() and (folder / "ICFG_PEDES.json").is_file():
            file = folder / "ICFG_PEDES.json"
        return _official(file, folder / "imgs", "file_path", 0, "ICFG-PEDES", self.spare)

    def make(self, root: Path) -> None:
        """Writes tiny data in the official format."""
        synthesize(root, "icfg_pedes", self.seed)


class RSTPReid(TextImageData):
    """RSTPReid (Zhu et al., ACM MM 2021): 3,701 / 200 / 200 identities, five images of each, two captions an image."""

    dataset = "rstpreid"
    source = "https://github.com/NjtechCVLab/RSTPReid-Dataset (on request)"
    terms = "research use, on request to the authors; the images are of MSMT17"
    layout = """
    RSTPReid/data_captions.json   a list of {split, captions, img_path, id}
    RSTPReid/imgs/                what img_path names
    noiseindex/                   optional: RSTPReid_0.2.npy, _0.5, _0.8 of the authors (data.noise_file)
    """

    def records(self, root: Path) -> list[Record]:
        """Reads ``data_captions.json``."""
        folder = _inside(root, "RSTPReid", "data_captions.json")
        return _official(folder / "data_captions.json", folder / "imgs", "img_path", 0, "RSTPReid", self.spare)

    def make(self, root: Path) -> None:
        """Writes tiny data in the official format."""
        synthesize(root, "rstpreid", self.seed)


class CUHK01Pedes(TextImageData):
    """The CUHK01 images of CUHK-PEDES' validation and test captions: 263 captioned identities, 178 / 30 / 55.

    The name of an image, ``PPPPNNN.jpg``, tells its camera: 1 and 2 are camera A, 3 and 4 camera B.

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
        val_fraction: Of no use here: there is a validation split.
        split_seed: Of no use here.
        memory: Keep resized training images in memory once read.
        distractors: Add the images without captions to the gallery of the test.
    """

    dataset = "cuhk01_pedes"
    source = "images: github.com/manideep2510/CUHK03_dataset; captions: github.com/Gutianpei/text-based-person-search"
    terms = "CUHK01: research use, respect the privacy of the persons; captions of CUHK-PEDES: research use on request"
    layout = """
    captions.json       a list of {file, id, split, captions}
    images/PPPPNNN.jpg  identity PPPP, image NNN: 001 and 002 of camera A, 003 and 004 of camera B
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
        distractors: bool = False,
    ) -> None:
        super().__init__(
            root, batch_size, workers, synthesize, limit, on_error, image_size, augment_image, augment_text,
            noise, noise_file, noise_seed, select_on, val_fraction, split_seed, memory,
        )  # fmt: skip
        self.distractors = distractors

    def records(self, root: Path) -> list[Record]:
        """Reads ``captions.json``; the cameras from the names of the images."""
        known = read_records(root / "captions.json", root, ("file",), ("captions",), ID_KEYS, spare=self.spare)
        records = usable(
            known, lambda record: dataclasses.replace(record, camera=camera_of(record.file, record.place)), self.spare
        )
        if not self.distractors:
            return records
        captioned = {record.file for record in known}
        others = (file for file in sorted((root / "images").glob("*.jpg")) if file not in captioned)
        return records + usable(others, _distractor, self.spare)

    def make(self, root: Path) -> None:
        """Writes tiny data in the same format."""
        synthesize(root, "cuhk01_pedes", self.seed)


def _official(
    file: Path, images: Path, image_key: str, first: int, name: str, spare: Callable[[DataError], None]
) -> list[Record]:
    """The records of an official json, whose training identities are numbered from ``first`` on."""
    left_out: list[DataError] = []

    def told(error: DataError) -> None:
        spare(error)
        left_out.append(error)

    records = read_records(file, images, (image_key,), ("captions",), ("id",), spare=told)
    return contiguous(records, first, name, len(left_out), spare)


def _distractor(file: Path) -> Record:
    """An image without captions."""
    return Record(file, identity_of(file), (), "test", str(file), camera_of(file, str(file)))


def identity_of(file: Path) -> int:
    """The identity in the name of a CUHK01 image."""
    return int(_parts(file, str(file))[0])


def camera_of(file: Path, place: str) -> int:
    """The camera of a CUHK01 image: 0 for A, 1 for B.

    Raises:
        DataError: The name does not tell; names the record.
    """
    number = int(_parts(file, place)[1])
    if not 1 <= number <= 4:
        raise DataError(f"{place}: {file.name}: image {number} of an identity, expected 1 to 4")
    return int(number > 2)


def _parts(file: Path, place: str) -> tuple[str, str]:
    found = _CAMERA_NAME.fullmatch(file.stem)
    if found is None:
        raise DataError(f"{place}: {file.name} is no name of a CUHK01 image, expected PPPPNNN")
    return found[1], found[2]
