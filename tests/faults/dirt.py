"""Plants faults into a data set: images of every kind, tables and lists, for any domain's files.

``plant(folder)`` damages a copy of a synthesized set; ``Dirt.clean`` takes what was damaged out of another copy, as
somebody would who had found it all. What a domain's format needs is in a function of its own, by the folder's files;
of other formats the images are damaged, and every entry of a json, csv or text file that names one is taken out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

IMAGES = {".jpg", ".jpeg", ".png"}
TEXTS = {".json", ".csv", ".txt"}


@dataclass
class Dirt:
    """What was planted.

    Attributes:
        faults: Kind, and what a message must name: the image, or the place in a table.
        sources: Names whose entries the clean remainder lacks.
    """

    faults: list[tuple[str, str]] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)

    def add(self, kind: str, named: str, source: str = "") -> None:
        """Notes a fault."""
        self.faults.append((kind, named))
        if source:
            self.sources.append(source)


def texts(folder: Path) -> list[Path]:
    """The json, csv and text files of a set, not those of its samples for ``zoo predict``."""
    return sorted(
        file for file in folder.rglob("*") if file.suffix in TEXTS and "samples" not in file.relative_to(folder).parts
    )


def images(folder: Path, pattern: str = "**/*") -> list[Path]:
    """The images of a set."""
    found = [file for file in folder.glob(pattern) if "samples" not in file.relative_to(folder).parts]
    return sorted(file for file in found if file.suffix in IMAGES)


def edit(file: Path, change: Callable[[Any], Any]) -> None:
    """Changes a json in place."""
    tree = json.loads(file.read_text(encoding="utf-8-sig"))
    changed = change(tree)
    file.write_text(json.dumps(tree if changed is None else changed), encoding="utf-8")


# -- images


def spoil(folder: Path, files: Iterable[Path], dirt: Dirt) -> None:
    """Truncated, of no bytes, of noise, missing where a table names it: one image each."""
    truncated, empty, noise, missing = files
    truncated.write_bytes(truncated.read_bytes()[: truncated.stat().st_size // 2])
    empty.write_bytes(b"")
    noise.write_bytes(np.random.default_rng(0).bytes(300))
    faults = [("damaged", truncated), ("empty", empty), ("damaged", noise)]
    if any(missing.stem in table.read_text(encoding="utf-8") for table in texts(folder)):  # else nobody misses it
        missing.unlink()
        faults.append(("missing", missing))
    for kind, file in faults:
        dirt.add(kind, file.name, file.relative_to(folder).as_posix())


def disguise(files: Iterable[Path]) -> list[Path]:
    """Writes images that can be read in ways that trip readers: CMYK, 16 bits, RGBA, animated, turned, wrong ending."""
    cmyk, deep, clear, moving, turned, ending = chosen = list(files)
    for file in chosen:
        image = Image.open(file).convert("RGB")
        if file == cmyk:
            image.convert("CMYK").save(file, "JPEG")
        elif file == deep:
            Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257).save(file, "PNG")
        elif file == clear:
            image.putalpha(200)
            image.save(file, "PNG")
        elif file == moving:
            image.save(file, "GIF", save_all=True, append_images=[Image.new("RGB", image.size)])
        elif file == turned:
            exif = Image.Exif()
            exif[0x0112] = 3  # upside down: the size stays
            image.save(file, "JPEG", exif=exif)
        elif file == ending:
            image.save(file, "BMP")
    return chosen


def remove(folder: Path, sources: Iterable[str]) -> None:
    """Takes images and all entries that name them out of a set.

    Args:
        folder: Of the set.
        sources: Paths of images below it, or what else lines of its tables name.
    """
    gone = set(sources)
    if (folder / "polyvore_item_metadata.json").is_file():
        return _without_items(folder, gone)
    for name in gone:
        (folder / name).unlink(missing_ok=True)
    for file in texts(folder):
        if file.suffix == ".json":
            part = {name for name in gone if file.parent.name != "annotations" or name.partition("/")[0] in file.name}
            edit(file, partial(_without, gone=part))
        else:
            lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
            file.write_text("".join(line for line in lines if not _names(line, gone)), encoding="utf-8")


def _names(text: str, gone: set[str]) -> bool:
    words = [word for word in re.split(r"[\s,;|]+", text) if word]
    return any(f"/{name}".endswith(f"/{word}") or word.endswith(f"/{name}") for word in words for name in gone)


def _without(tree: Any, gone: set[str]) -> Any:
    if isinstance(tree, dict) and {"images", "annotations"} <= set(tree):  # COCO: annotations name images by number
        kept = [entry for entry in tree["images"] if not _names(str(entry["file_name"]), gone)]
        numbers = {entry["id"] for entry in kept}
        marks = [entry for entry in tree["annotations"] if entry["image_id"] in numbers]
        return {**tree, "images": kept, "annotations": marks}
    if isinstance(tree, list):
        return [
            entry
            for entry in tree
            if not (isinstance(entry, dict) and any(isinstance(v, str) and _names(v, gone) for v in entry.values()))
        ]
    return tree


# -- formats


def plant(folder: Path) -> Dirt:
    """Plants what the set's format can have; the caller removes ``Dirt.sources`` from a copy."""
    dirt = Dirt()
    for marker, act in FORMATS.items():
        if list(folder.glob(marker)):
            act(folder, dirt)
            return dirt
    spoil(folder, _spread(images(folder, "train/**/*") or images(folder), 4), dirt)
    return dirt


def harmless(folder: Path) -> None:
    """Images in six disguises; text files with a byte order mark and the line ends of Windows."""
    files = images(folder)
    if len(files) >= 20:
        disguise(files[5:11])


def rename(folder: Path) -> None:
    """One image gets a name that is not of ASCII, in the tables too."""
    files = images(folder)
    if len(files) < 20 or (folder / "polyvore_item_metadata.json").is_file():  # whose names are numbers of items
        return
    file, name = files[4], f"é图{files[4].name}"
    file.rename(file.with_name(name))
    for table in texts(folder):
        table.write_text(table.read_text(encoding="utf-8").replace(file.name, name), encoding="utf-8")


def quirk(folder: Path) -> None:
    """A byte order mark and CRLF in every text file."""
    for file in texts(folder):
        if "x264" not in file.name:  # features
            content = file.read_text(encoding="utf-8").replace("\n", "\r\n")
            file.write_bytes(b"\xef\xbb\xbf" + content.encode())


def _spread(files: list[Path], count: int) -> list[Path]:
    return [files[int(place)] for place in np.linspace(11, len(files) - 1, count)]


def _points(folder: Path, dirt: Dirt) -> None:
    spoil(folder, _spread([folder / "images" / f"train_{number:02d}.png" for number in range(20)], 4), dirt)
    names = [f"images/train_{number:02d}.png" for number in (20, 21, 22)]

    def change(entries: list[dict[str, Any]]) -> None:
        for entry in entries:
            if entry["file"] == names[0]:
                entry["points_xy"][0] = [float("nan"), 3.0]
            elif entry["file"] == names[1]:
                entry["points_xy"][0] = [9000.0, 3.0]
            elif entry["file"] == names[2]:
                entry["count"] = 1000
        entries.append(dict(entries[0]))

    edit(folder / "points.json", change)
    for kind, name in zip(("not a finite number", "out of bounds", "malformed"), names, strict=True):
        dirt.add(kind, name, name)
    dirt.add("duplicate", "stands twice")


def _coco(folder: Path, dirt: Dirt) -> None:
    spoil(folder, _spread(images(folder, "train/*")[:100], 4), dirt)

    def change(tree: dict[str, Any]) -> None:
        marked = sorted({entry["image_id"] for entry in tree["annotations"]})[120:123]
        bad = [[900.0, 900.0, 5.0, 5.0], [1.0, float("nan"), 5.0, 5.0], [1.0, 1.0, -5.0, 5.0]]
        files = {entry["id"]: entry["file_name"] for entry in tree["images"]}
        for image, box in zip(marked, bad, strict=True):
            place, entry = next((n, e) for n, e in enumerate(tree["annotations"]) if e["image_id"] == image)
            entry["bbox"] = box
            dirt.add("out of bounds", f"annotations[{place}]", f"train/{files[image]}")
        tree["images"].append(dict(tree["images"][0]))
        dirt.add("duplicate", "stands there twice")

    edit(next(folder.glob("annotations/*train*.json")), change)


def _persons(folder: Path, dirt: Dirt) -> None:
    spoil(folder, _spread(images(folder, "**/cam_a/*")[:60], 4), dirt)

    def change(records: list[dict[str, Any]]) -> None:
        for record in [record for record in records if record["split"] == "train"][100:102]:
            record["captions"] = [""]
            dirt.add("empty text", f"record {records.index(record) + 1}", f"CUHK-PEDES/imgs/{record['file_path']}")
        records.append(dict(records[0]))
        dirt.add("duplicate", f"record {len(records)}")

    edit(folder / "CUHK-PEDES" / "reid_raw.json", change)


def _letor(folder: Path, dirt: Dirt) -> None:
    lines = (folder / "S1.txt").read_text().splitlines()
    queries = list(dict.fromkeys(line.split()[1] for line in lines))
    damages = {queries[2]: "3:nan", queries[4]: "3:word", queries[6]: "3:"}
    for query, word in damages.items():
        number = next(n for n, line in enumerate(lines) if line.split()[1] == query)
        lines[number] = re.sub(r" 3:\S+", f" {word}", lines[number], count=1)
        dirt.add("malformed", f"S1.txt:{number + 1}", query)
    number = next(n for n, line in enumerate(lines) if line.split()[1] == queries[8])
    lines[number] = lines[number][:40]
    dirt.add("damaged", f"S1.txt:{number + 1}", queries[8])
    (folder / "S1.txt").write_text("\n".join(lines) + "\n")
    again = [line for line in lines if line.split()[1] == queries[0]]
    with (folder / "S2.txt").open("a") as stream:
        stream.write("\n".join(again) + "\n")
    dirt.add("duplicate", "S2.txt")


def _videos(folder: Path, dirt: Dirt) -> None:
    files = sorted((folder / "Training_Normal_Videos_Anomaly").glob("*.txt"))[10:14]
    lines = files[0].read_text().splitlines(keepends=True)
    files[0].write_text("".join(lines[:20]))
    files[1].write_text("")
    files[2].write_text("".join([re.sub(r"^\S+", "nan", lines[0]), *lines[1:]]))
    files[3].unlink()
    for kind, file in zip(("damaged", "empty", "not a finite number", "missing"), files, strict=True):
        dirt.add(kind, file.name, f"{file.stem}.mp4")
    listed = folder / "Anomaly_Train.txt"
    rows = listed.read_text().splitlines()
    listed.write_text("\n".join([*rows, "Abuse/Abuse900_x264.mp4 12 words", rows[0]]) + "\n")
    dirt.add("malformed", f"Anomaly_Train.txt:{len(rows) + 1}")
    dirt.add("duplicate", f"Anomaly_Train.txt:{len(rows) + 2}")


def _outfits(folder: Path, dirt: Dirt) -> None:
    def numbers(word: str) -> list[str]:
        tree = json.loads((folder / "nondisjoint" / f"{word}.json").read_text())
        return [part["item_id"] for entry in tree for part in entry["items"]]

    only = [name for name in dict.fromkeys(numbers("train")) if name not in {*numbers("valid"), *numbers("test")}]
    spoil(folder, [folder / "images" / f"{name}.jpg" for name in only[:4]], dirt)


def _without_items(folder: Path, gone: set[str]) -> None:
    """Takes the training outfits of these items away; the listed training questions, of which none is used, too."""
    for name in gone:
        (folder / name).unlink()
    items = {Path(name).stem for name in gone}
    for version in (folder / "disjoint", folder / "nondisjoint"):
        edit(version / "train.json", lambda sets: [s for s in sets if not items & {p["item_id"] for p in s["items"]}])
        (version / "compatibility_train.txt").unlink()
        (version / "fill_in_blank_train.json").unlink()


FORMATS: dict[str, Callable[[Path, Dirt], None]] = {
    "points.json": _points,
    "annotations/*train*.json": _coco,
    "CUHK-PEDES/reid_raw.json": _persons,
    "S1.txt": _letor,
    "Anomaly_Train.txt": _videos,
    "polyvore_item_metadata.json": _outfits,
}
