"""Data sets of image folders with an annotation file per image: KCL-London, Jiangsu, ShanghaiTech, NWPU-Crowd."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from zoo.domains.counting.data import CountingData, Outside
from zoo.domains.counting.data_items import Picture
from zoo.domains.counting.synthesis import image_info, save_image, save_matlab, scenes, write_json
from zoo.training import IMAGE_SUFFIXES, DataError, Split, usable
from zoo.training.choices import nearest
from zoo.training.lines import as_text, text_lines
from zoo.training.paths import is_there

TRUTH_FOLDERS = ("ground_truth", "ground-truth")


def images_of(folder: Path) -> list[Path]:
    """The images in a folder, by name; hidden files, as a Mac leaves them in archives, are none.

    Raises:
        DataError: There is no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise _no_folder(folder)
    seen = (file for file in folder.iterdir() if not file.name.startswith("."))
    files = sorted(file for file in seen if file.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        raise DataError(f"{folder}: holds no image ({', '.join(IMAGE_SUFFIXES)})")
    return files


def _no_folder(folder: Path) -> DataError:
    """The first part of the path that is not there, with the nearest name that is."""
    while not folder.parent.is_dir():
        folder = folder.parent
    hint = nearest(folder.name, [path.name for path in folder.parent.iterdir()])
    return DataError(f"{folder.parent}: there is no folder {folder.name} in it{hint}")


def with_truth(root: Path, part: str, split: Split, marked: bool = True) -> list[Picture]:
    """The images of ``part/images``, with ``part/ground_truth/GT_<stem>.mat`` (or ``ground-truth``).

    Args:
        root: Folder of the data.
        part: Folder of the split below it.
        split: Of these images.
        marked: Whether they have annotations.

    Raises:
        DataError: A folder is missing; names it.
    """
    files = images_of(root / part / "images")
    if not marked:
        return [Picture(_name(file, root), file, None, split) for file in files]
    folder = next((root / part / name for name in TRUTH_FOLDERS if (root / part / name).is_dir()), None)
    if folder is None:
        raise _no_folder(root / part / TRUTH_FOLDERS[0])
    return [Picture(_name(file, root), file, folder / f"GT_{file.stem}.mat", split) for file in files]


def _name(file: Path, root: Path) -> str:
    return (file.relative_to(root) if file.is_relative_to(root) else file).as_posix()  # a list may name any place


class KCLLondon(CountingData):
    """KCL-London: 1024 x 1024 aerial images of London, 0.2 m a pixel; 613 with 95,067 trees, 308 without points.

    The 308 images of ``train_data_ul`` are unlabelled images beside those whose points are kept back. The authors'
    validation images (``valid_data``) were carved out of the others, their list is not published; where that folder is
    absent, ``val`` takes some. The density files beside the points are not read: no loss needs them.

    Args:
        root: Folder of the data.
        batch_size: Labelled crops per process and step.
        workers: Loader processes.
        synthesize: Use tiny made-up data in the same format.
        limit: Use only so many images of each split.
        on_error: ``stop`` at the first image that cannot be used, or ``skip`` such images, count and report them.
        crop: Side of the training crops in pixels, a multiple of 4.
        labelled_fraction: Share of the training images whose points are used, in (0, 1].
        label_seed: Which images that are.
        unlabelled_batch: Unlabelled crops per process and step; null for as many as ``batch_size``, 0 for none.
        steps_per_epoch: Steps of an epoch; null for every labelled image once.
        val: Validation images where there is no ``valid_data``: a share below 1, or a number.
        split_seed: Which images those are.
        outside: A point outside its image is an error (``stop``), or is left out (``drop``).
        keep_images: Decode every image once and keep it in memory.
        extra_unlabelled: Whether ``train_data_ul`` is used, where it is there.
    """

    dataset = "kcl_london"
    source = (
        "Google Drive 1xcjv8967VvvzcDM4aqAi7Corkb11T0i2 (Data.rar), named at https://github.com/HAAClassic/TreeFormer"
    )
    terms = "none stated; the imagery has owners of its own"
    layout = """
    train_data/images/*.jpg          valid_data, test_data: the same; valid_data may be absent
    train_data/ground_truth/GT_<stem>.mat    image_info{1,1}.location: (N, 2) x, y in pixels
    train_data/ground_truth/<stem>_densitymap.npy    not read
    train_data_ul/images/*.jpg       images without points; may be absent
    """
    sample = "test_data/images/*.jpg"

    def __init__(
        self,
        root: str | None = None,
        batch_size: int = 16,
        workers: int = 0,
        synthesize: bool = False,
        limit: int | None = None,
        on_error: Literal["stop", "skip"] = "stop",
        crop: int = 256,
        labelled_fraction: float = 1.0,
        label_seed: int = 0,
        unlabelled_batch: int | None = None,
        steps_per_epoch: int | None = None,
        val: float = 0.1,
        split_seed: int = 0,
        outside: Outside = "stop",
        keep_images: bool = False,
        extra_unlabelled: bool = True,
    ) -> None:
        super().__init__(
            root, batch_size, workers, synthesize, limit, on_error, crop, labelled_fraction, label_seed,
            unlabelled_batch, steps_per_epoch, val, split_seed, outside, keep_images,
        )  # fmt: skip
        self.extra_unlabelled = extra_unlabelled

    def pictures(self, root: Path) -> list[Picture]:
        """The images of the official folders."""
        found = [*with_truth(root, "train_data", "train"), *with_truth(root, "test_data", "test")]
        if (root / "valid_data").is_dir():
            found += with_truth(root, "valid_data", "val")
        if self.extra_unlabelled and (root / "train_data_ul").is_dir():
            found += with_truth(root, "train_data_ul", "train", marked=False)
        return found

    def make(self, root: Path) -> None:
        """Writes tiny data in the official format."""
        counts = {"train_data": 16, "valid_data": 4, "test_data": 6, "train_data_ul": 6}
        _make(root, self.seed, counts, "ground_truth", unmarked=("train_data_ul",))


class Jiangsu(CountingData):
    """Jiangsu: Gaofen-2 satellite images, 0.8 m a pixel, with tree points, in the folders that TreeFormer reads.

    The archive of Zenodo has to be brought into these folders first. Where there is no ``valid_data``, ``val`` takes
    some training images.
    """

    dataset = "jiangsu"
    source = "https://doi.org/10.5281/zenodo.4771236 (https://github.com/sddpltwanqiu/TreeCountNet)"
    terms = "see the Zenodo record"
    layout = """
    train_data/images/*.jpg (.png, .tif)     valid_data, test_data: the same; valid_data may be absent
    train_data/ground_truth/GT_<stem>.mat    image_info{1,1}.location: (N, 2) x, y in pixels
    """
    sample = "test_data/images/*.jpg"

    def pictures(self, root: Path) -> list[Picture]:
        """The images of the folders."""
        found = [*with_truth(root, "train_data", "train"), *with_truth(root, "test_data", "test")]
        return [*found, *with_truth(root, "valid_data", "val")] if (root / "valid_data").is_dir() else found

    def make(self, root: Path) -> None:
        """Writes tiny data in the same format."""
        _make(root, self.seed, {"train_data": 12, "test_data": 4}, "ground_truth")


class ShanghaiTechA(CountingData):
    """ShanghaiTech part A: 300 training and 182 test images of crowds, 241,677 heads; ``val`` takes some of the 300."""

    dataset = "shanghaitech_a"
    source = "https://github.com/desenzhou/ShanghaiTechDataset (Zhang et al., CVPR 2016)"
    terms = "for research; see the page"
    layout = """
    part_A/train_data/images/IMG_<n>.jpg             test_data: the same; part_A_final is taken too
    part_A/train_data/ground-truth/GT_IMG_<n>.mat    image_info{1,1}.location: (N, 2) x, y in pixels
    """
    sample = "part_A/test_data/images/*.jpg"

    def pictures(self, root: Path) -> list[Picture]:
        """The images of the official folders."""
        return _shanghaitech(root, ("part_A", "part_A_final"))

    def make(self, root: Path) -> None:
        """Writes tiny data in the official format."""
        _make(root / "part_A", self.seed, {"train_data": 10, "test_data": 4}, "ground-truth")


class ShanghaiTechB(CountingData):
    """ShanghaiTech part B: 400 training and 316 test images of streets, 88,488 heads; ``val`` takes some of the 400."""

    dataset = "shanghaitech_b"
    source = "https://github.com/desenzhou/ShanghaiTechDataset (Zhang et al., CVPR 2016)"
    terms = "for research; see the page"
    layout = """
    part_B/train_data/images/IMG_<n>.jpg             test_data: the same; part_B_final is taken too
    part_B/train_data/ground-truth/GT_IMG_<n>.mat    image_info{1,1}.location: (N, 2) x, y in pixels
    """
    sample = "part_B/test_data/images/*.jpg"

    def pictures(self, root: Path) -> list[Picture]:
        """The images of the official folders."""
        return _shanghaitech(root, ("part_B", "part_B_final"))

    def make(self, root: Path) -> None:
        """Writes tiny data in the official format."""
        _make(root / "part_B", self.seed, {"train_data": 10, "test_data": 4}, "ground-truth")


def _shanghaitech(root: Path, names: Sequence[str]) -> list[Picture]:
    part = next((name for name in names if (root / name).is_dir()), None)
    if part is None and (root / "train_data").is_dir():
        part = "."  # the root is the part itself
    if part is None:
        raise _no_folder(root / names[0])
    return [
        *with_truth(root, f"{part}/train_data", "train"),
        *with_truth(root, f"{part}/test_data", "test"),
    ]


class NWPU(CountingData):
    """NWPU-Crowd: 3,109 training, 500 validation and 1,500 test images of crowds; the test points are not public.

    So the official validation images are the test split here, and ``val`` takes some training images.
    """

    dataset = "nwpu_crowd"
    source = "https://www.crowdbenchmark.com/nwpucrowd.html (Wang et al., TPAMI 2020)"
    terms = "for research; see the page"
    layout = """
    images/0001.jpg                   or images_part1 ... images_part5; or another ending of images
    mats/0001.mat                     annPoints: (N, 2) x, y in pixels; or
    jsons/0001.json                   points: [[x, y], ...]; taken where there is no mats
    train.txt, val.txt                a line per image: its number first
    """
    sample = "images/*.jpg"

    def pictures(self, root: Path) -> list[Picture]:
        """The images of the official lists."""
        folder, suffix = ("mats", ".mat") if (root / "mats").is_dir() else ("jsons", ".json")
        if not (root / folder).is_dir():
            raise DataError(f"{root}: there is no folder mats in it, nor jsons")
        parts = [root / "images", *sorted(root.glob("images_part*"))]
        found, seen = list[Picture](), dict[str, str]()
        listed: tuple[tuple[str, Split], ...] = (("train.txt", "train"), ("val.txt", "test"))
        for file, split in listed:
            for place, name in _listed(root / file, self.spare):
                files = [part / f"{name}{ending}" for ending in IMAGE_SUFFIXES for part in parts]
                image = next((one for one in files if is_there(one)), files[0])
                first = seen.setdefault(name, place)
                if first != place:
                    self.spare(DataError(f"{place}: {name} stands twice, first in {first}"))
                    continue
                found.append(Picture(_name(image, root), image, root / folder / f"{name}{suffix}", split, place=place))
        return found

    def make(self, root: Path) -> None:
        """Writes tiny data in the official format."""
        made = scenes(self.seed, 16)
        for number, (image, points) in enumerate(made, start=1):
            save_image(root / "images" / f"{number:04d}.jpg", image)
            save_matlab(root / "mats" / f"{number:04d}.mat", {"annPoints": points})
            content = {"img_id": f"{number:04d}.jpg", "human_num": len(points), "points": points.tolist()}
            write_json(root / "jsons" / f"{number:04d}.json", content)
        for file, numbers in (("train.txt", range(1, 13)), ("val.txt", range(13, 17))):
            (root / file).write_text("".join(f"{number:04d} 1 2\n" for number in numbers))


def _listed(file: Path, spare: Callable[[DataError], None]) -> list[tuple[str, str]]:
    """Line and name of each image of a list of NWPU-Crowd."""
    lines = ((place, line) for place, line in text_lines(file, "list") if line.strip())
    found = usable(lines, lambda numbered: (numbered[0], _stem(as_text(*numbered).split()[0])), spare)
    if not found:
        raise DataError(f"{file}: the list names no image")
    return found


def _stem(name: str) -> str:
    return Path(name).stem if Path(name).suffix.lower() in IMAGE_SUFFIXES else name


def _make(root: Path, seed: int, counts: dict[str, int], truth: str, unmarked: Sequence[str] = ()) -> None:
    """Tiny data in folders of images with a .mat of ShanghaiTech's form each."""
    made = iter(scenes(seed, sum(counts.values())))
    for part, count in counts.items():
        for number in range(1, count + 1):
            image, points = next(made)
            save_image(root / part / "images" / f"IMG_{number}.jpg", image)
            if part not in unmarked:
                save_matlab(root / part / truth / f"GT_IMG_{number}.mat", image_info(points))
