"""Records of an image and its captions: the official json layouts, and any json or csv of image, caption, id."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from zoo.domains.reid.tokenizers import clean
from zoo.training import DataError, Split, refuse, usable
from zoo.training.choices import nearest
from zoo.training.documents import Cells, parse_json, read_rows, read_text
from zoo.training.paths import below

SPLITS = ("train", "val", "test")
WORDS: dict[str, Split] = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test", "restval": "train",
}  # fmt: skip
"""Of a user's own files; Karpathy's rest of the validation images is for training."""
DELIMITERS = ",;\t|"
IMAGE_KEYS = ("file_path", "img_path", "image", "file", "filename", "image_name", "path")
CAPTION_KEYS = ("captions", "caption", "text", "comment", "sentence", "query")
NO_NAMES = ("nan", "+nan", "-nan", "inf", "+inf", "-inf")  # what a missing or broken number is written as
LONGEST = 18  # digits of a number
ID_KEYS = ("id", "identity", "pid", "person", "person_id")


@dataclass(frozen=True)
class Record:
    """An image and what is said of it.

    Attributes:
        file: Where the image lies.
        identity: Whose image it is; images of one person share it.
        captions: Texts, none for an image that only fills a gallery.
        split: ``train``, ``val`` or ``test``.
        place: Which record of which file this is, for messages.
        camera: Number of the camera, -1 where the data does not know it.
    """

    file: Path
    identity: int
    captions: tuple[str, ...]
    split: Split
    place: str
    camera: int = -1


def read_json(file: Path) -> Any:
    """The contents of a json file.

    Raises:
        DataError: The file is missing, no text or no json; names the line.
    """
    if not file.is_file():
        near = get_close_matches(file.name, [other.name for other in file.parent.glob("*")], n=1)
        raise DataError(f"{file}: there is no such file" + (f"; did you mean {near[0]!r}?" if near else ""))
    try:
        return parse_json(read_text(file, "file"), str(file))
    except json.JSONDecodeError as error:
        raise DataError(f"{file}:{error.lineno}: is no json: {error.msg} (truncated file?)") from None


def read_records(
    file: Path,
    images: Path,
    image_keys: Sequence[str] = IMAGE_KEYS,
    caption_keys: Sequence[str] = CAPTION_KEYS,
    id_keys: Sequence[str] = ID_KEYS,
    needs_id: bool = True,
    default_split: Split | None = None,
    spare: Callable[[DataError], None] = refuse,
) -> list[Record]:
    """Reads a json list of records, or a csv with a row per caption or per image.

    Args:
        file: ``.json`` or ``.csv``.
        images: Folder that the image names are relative to.
        image_keys: Names of the field of the image, the first found counts.
        caption_keys: Names of the field of the captions, a text or a list of texts.
        id_keys: Names of the field of the identity.
        needs_id: Whether a record must have an identity, a whole number, and what is neither train nor test is val, as
            in the official files; otherwise an identity may be a text too, without any each image is one of its own,
            and other words for a split are refused.
        default_split: The split of records that name none; None makes that an error.
        spare: What is done with a malformed record; such a record is left out.

    Returns:
        A record per image, in the order of the file; csv rows of one image are joined.

    Raises:
        DataError: The file or a record is malformed; names file and record (from 1; of a csv: the line).
    """
    rows = _csv_rows(file) if file.suffix.lower() == ".csv" else _json_rows(file)
    usual = [row for _, row in rows if isinstance(row, dict)]
    named = {} if needs_id else _names(usual, id_keys)
    with_ids = needs_id or any(key in row for row in usual for key in id_keys)
    records: dict[str, Record] = {}

    def take(place: str, row: Any) -> None:
        if isinstance(row, DataError):
            raise row
        if not isinstance(row, dict):
            raise DataError(f"{place}: expected a record with names, found {row!r:.60}")
        name = _text(row, image_keys, place, "image")
        captions = _captions(row, caption_keys, place)
        identity = _identity(row, id_keys, place, named) if with_ids else None
        known = records.get(name)
        if identity is None:
            identity = known.identity if known else len(records)
        split = _split(row, place, default_split, official=needs_id)
        camera = _whole(row, "camera", place) if row.get("camera") not in (None, "") else -1
        if known is not None:
            if file.suffix.lower() != ".csv":
                raise DataError(f"{place}: image {name!r} stands in {known.place} too")
            if (known.identity, known.split) != (identity, split):
                raise DataError(f"{place}: image {name!r} has another id or split than in {known.place}")
            captions = (*known.captions, *captions)
            place = known.place
        records[name] = Record(below(images, name), identity, captions, split, place, camera)

    for place, row in rows:
        try:
            take(place, row)
        except DataError as error:
            spare(error)
    if not records:
        raise DataError(f"{file}: the file holds no record")
    return list(records.values())


def _json_rows(file: Path) -> list[tuple[str, Any]]:
    content = read_json(file)
    if isinstance(content, dict) and isinstance(content.get("images"), list):
        content = content["images"]
    if not isinstance(content, list):
        raise DataError(f"{file}: expected a list of records, found a {type(content).__name__}")
    return [(f"{file}: record {number}", row) for number, row in enumerate(content, start=1)]


def _csv_rows(file: Path) -> list[tuple[str, Any]]:
    """Place and values of every row; the error of one that cannot be read."""
    rows = list(read_rows(file, "file", DELIMITERS))
    head = [name.strip().lower() for name in rows.pop(0).values] if rows else []

    def values(row: Cells, place: str) -> dict[str, str] | DataError:
        if row.problem is None and len(row.values) != len(head):
            return DataError(f"{place}: has {len(row.values)} cells, the head has {len(head)}")
        return row.problem or {name: text.strip() for name, text in zip(head, row.values, strict=True)}

    places = [f"{file}:{row.number}" for row in rows]
    return [(place, values(row, place)) for place, row in zip(places, rows, strict=True)]


def _find(row: Mapping[str, Any], keys: Sequence[str], place: str, what: str) -> Any:
    key = next((key for key in keys if key in row), None)
    if key is None:
        raise DataError(
            f"{place}: has no {what}: expected {' or '.join(repr(key) for key in keys[:3])}, "
            f"found {', '.join(map(repr, row)) or 'nothing'}"
        )
    return row[key]


def _text(row: Mapping[str, Any], keys: Sequence[str], place: str, what: str) -> str:
    value = _find(row, keys, place, what)
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{place}: the {what} is {value!r}, expected a text")
    return value.strip()


def _captions(row: Mapping[str, Any], keys: Sequence[str], place: str) -> tuple[str, ...]:
    if not any(key in row for key in keys) and "sentences" in row:  # Karpathy's json
        value = row["sentences"]
        if isinstance(value, list):
            value = [sentence.get("raw") if isinstance(sentence, dict) else sentence for sentence in value]
    else:
        value = _find(row, keys, place, "caption")
    found = value if isinstance(value, list) else [value]
    if not found:
        raise DataError(f"{place}: the captions are [], expected at least one")
    texts: list[str] = []
    for number, caption in enumerate(found, start=1):
        if not isinstance(caption, str) or not clean(caption):
            raise DataError(f"{place}: caption {number} is {caption!r}, expected a text with at least one word")
        texts.append(caption.strip())
    return tuple(texts)


def _identity(row: Mapping[str, Any], keys: Sequence[str], place: str, named: Mapping[str, int]) -> int:
    key = next((key for key in keys if key in row), None)
    if key is None:
        _find(row, keys, place, "id")
    number = named.get(_name(row, str(key)))
    return _whole(row, str(key), place) if number is None else number


def _names(rows: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> dict[str, int]:
    """Numbers of identities that are written as texts, the same for the same texts; none where all are numbers."""
    found = {_name(row, key) for row in rows for key in keys if key in row} - {""}
    return {} if all(_is_whole(name) for name in found) else {name: number for number, name in enumerate(sorted(found))}


def _name(row: Mapping[str, Any], key: str) -> str:
    """The identity of a row as a text; empty where it is none."""
    value = row[key]
    name = str(value).strip() if isinstance(value, int | str) and not isinstance(value, bool) else ""
    return "" if name.lower() in NO_NAMES else name


def _is_whole(text: str) -> bool:
    return text.lstrip("-").isdigit()


def _whole(row: Mapping[str, Any], key: str, place: str) -> int:
    value = row[key]
    if isinstance(value, str) and _is_whole(value) and len(value) < LONGEST:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise DataError(f"{place}: {key} is {value!r}, expected a whole number")
    if value < 0:
        raise DataError(f"{place}: {key} is {value}, out of range: expected 0 or more")
    return value


def _split(row: Mapping[str, Any], place: str, default: Split | None, official: bool) -> Split:
    value = row.get("split", default)
    if value is None:
        raise DataError(f"{place}: has no split: expected 'train', 'val' or 'test'")
    if not isinstance(value, str):
        raise DataError(f"{place}: split is {value!r}, expected a text")
    if official:  # everything that is neither train nor test is val, as in the released readers
        return "train" if value == "train" else "test" if value == "test" else "val"
    found = WORDS.get(value.lower())
    if found is None:
        raise DataError(f"{place}: split is {value!r}, expected train, val or test{nearest(value, list(WORDS))}")
    return found


def contiguous(
    records: Sequence[Record], first: int, name: str, left_out: int, spare: Callable[[DataError], None] = refuse
) -> list[Record]:
    """The records without those of training identities behind a gap, which the official files do not have.

    Args:
        records: Of all splits.
        first: The lowest training identity of the official file.
        name: Of the data set.
        left_out: Records that could not be used; each may have been the only one of an identity.
        spare: What is done with a record that is left out.

    Raises:
        DataError: Names the first identity that is missing or out of range, where it is not spared.
    """
    found = {record.identity for record in records if record.split == "train"}
    last = first + len(found) + left_out - 1
    missing = next((number for number in range(first, last + 1) if number not in found), None)

    def in_range(record: Record) -> Record:
        if record.split == "train" and not first <= record.identity <= last:
            raise DataError(
                f"{record.place}: id {record.identity} is out of range: the {len(found)} training ids of {name} run "
                f"from {first} to {last} without gaps, and {missing} is missing"
            )
        return record

    return usable(records, in_range, spare)
