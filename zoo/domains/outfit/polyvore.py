"""Polyvore Outfits (Vasileva et al., ECCV 2018): the official files, and the repacked json of the third-party code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from zoo.domains.outfit.catalogue import Blank, Catalogue, Collection, Item, Labelled, Outfit, Spare, check_outfit
from zoo.domains.outfit.files import expect, read_json, read_lines
from zoo.training import DataError, Split, refuse, usable
from zoo.training.lines import as_text, text_lines

Made = TypeVar("Made")
FILES: dict[Split, str] = {"train": "train", "val": "valid", "test": "test"}
OFFICIAL, REPACKED = "polyvore_item_metadata.json", "item_metadata.json"


def read_polyvore(root: Path, version: str, spare: Spare = refuse) -> Collection:
    """Reads one version of the data set in whichever form lies at ``root``.

    Args:
        root: Folder with ``polyvore_item_metadata.json`` (official) or ``item_metadata.json`` (repacked).
        version: ``disjoint`` or ``nondisjoint``, a folder below.
        spare: What is done about an entry that cannot be used; it is left out, and what needs it too.

    Raises:
        DataError: Neither form is there, or a file is malformed; names file and entry.
    """
    if (root / OFFICIAL).is_file():
        return _official(root, version, spare)
    if (root / REPACKED).is_file():
        return _repacked(root, version, spare)
    raise DataError(f"{root}: has neither {OFFICIAL} (official form) nor {REPACKED} (repacked form)")


# -- official


def _official(root: Path, version: str, spare: Spare) -> Collection:
    fine = category_names(root / "categories.csv", spare) if (root / "categories.csv").is_file() else {}
    metadata = expect(read_json(root / OFFICIAL), dict, "the file", str(root / OFFICIAL))

    def item(named: tuple[str, Any]) -> Item:
        name, entry = named
        place = f"{root / OFFICIAL}: item {name}"
        expect(entry, dict, "the entry", place)
        # the released files spell the key catgeory_id in places
        number = str(entry.get("category_id") or entry.get("catgeory_id") or "")
        group = str(entry.get("semantic_category") or "unknown")
        image = root / "images" / f"{name}.jpg"
        return Item(name, _title(entry), fine.get(number, ("", ""))[0] or number or group, group, image, place)

    catalogue = Catalogue(usable(metadata.items(), item, spare), spare)
    collection = Collection(catalogue, {})
    for split, word in FILES.items():
        outfits, tokens = read_outfits(root / version / f"{word}.json", catalogue, spare)
        collection.outfits[split] = outfits
        labels, blanks = root / version / f"compatibility_{word}.txt", root / version / f"fill_in_blank_{word}.json"
        if labels.is_file():
            collection.labelled[split] = read_compatibility(labels, tokens, spare)
        if blanks.is_file():
            collection.blanks[split] = read_blanks(blanks, tokens, spare)
    return collection


def category_names(file: Path, spare: Spare = refuse) -> dict[str, tuple[str, str]]:
    """Fine and coarse name of each category id; of several names of one id the first.

    Raises:
        DataError: A line has no three fields, where it is not spared.
    """
    names: dict[str, tuple[str, str]] = {}

    def read(numbered: tuple[str, str]) -> None:
        place, line = numbered
        fields = [field.strip() for field in as_text(place, line).split(",")]
        if len(fields) == 3:
            names.setdefault(fields[0], (fields[1], fields[2] or "unknown"))
        elif line.strip():
            raise DataError(f"{place}: expected 'id,fine category,coarse category', found {line!r}")

    usable(text_lines(file), read, spare)
    return names


def _title(entry: dict[str, Any]) -> str:
    return str(entry.get("title") or entry.get("url_name") or "").strip()


def read_outfits(file: Path, catalogue: Catalogue, spare: Spare = refuse) -> tuple[list[Outfit], dict[str, int]]:
    """The outfits of ``[{set_id, items: [{item_id, index}]}]``, and the item behind every ``<set_id>_<index>``.

    Raises:
        DataError: An entry is malformed, or an item is not in the catalogue; names it.
    """
    tokens: dict[str, int] = {}

    def outfit(given: tuple[str, str, dict[str, str]]) -> Outfit:
        place, name, items = given
        numbers = catalogue.numbers(list(items.values()), f"{place} (set {name})")
        tokens.update(zip(items, numbers, strict=True))
        return Outfit(name, check_outfit(numbers, place))

    return usable(read_sets(file, spare), outfit, spare), tokens


def read_sets(file: Path, spare: Spare = refuse) -> list[tuple[str, str, dict[str, str]]]:
    """Place and name of every set of ``[{set_id, items: [{item_id, index}]}]``; its item ids by ``<set_id>_<index>``.

    Raises:
        DataError: An entry is malformed, or a set stands there twice; names it.
    """
    seen: dict[str, str] = {}

    def read(numbered: tuple[int, Any]) -> tuple[str, str, dict[str, str]]:
        number, entry = numbered
        place = f"{file}: entry {number}"
        name = set_name(entry, place, seen)
        items: dict[str, str] = {}
        for part in expect(entry.get("items"), list, "items", place):
            if not isinstance(part, dict) or "item_id" not in part or "index" not in part:
                raise DataError(f"{place}: an item has no item_id or no index")
            token = f"{name}_{part['index']}"
            if token in items:
                raise DataError(f"{place}: index {part['index']} stands twice")
            items[token] = str(part["item_id"])
        check_outfit(range(len(items)), place)
        seen[name] = place
        return place, name, items

    return usable(enumerate(expect(read_json(file), list, "the file", str(file))), read, spare)


def set_name(entry: Any, place: str, seen: Mapping[str, str]) -> str:
    """The ``set_id`` of an entry.

    Raises:
        DataError: It has none, or one that stands elsewhere.
    """
    given = expect(entry, dict, "the entry", place).get("set_id")
    if not isinstance(given, str | int):
        raise DataError(f"{place}: set_id is {given!r:.40}, expected a name")
    if str(given) in seen:
        raise DataError(f"{place}: set {given} stands at {seen[str(given)]} too")
    return str(given)


def read_compatibility(file: Path, tokens: dict[str, int], spare: Spare = refuse) -> list[Labelled]:
    """Lines ``label set_index set_index ...``.

    Raises:
        DataError: A label is not 0 or 1, a line has no item, or an item is in no outfit; names the line.
    """

    found = usable(read_lines(file, spare), lambda line: question(*line, tokens), spare)
    if not found:
        raise DataError(f"{file}: the file holds no question")
    return found


def question(place: str, words: list[str], tokens: dict[str, int]) -> Labelled:
    """The question of a line.

    Raises:
        DataError: Its label is not 0 or 1, it has no item, or one that is in no outfit.
    """
    if words[0] not in ("0", "1"):
        raise DataError(f"{place}: label {words[0]!r} is out of range, expected 0 or 1")
    return Labelled(Path(place).name, check_outfit(_resolve(words[1:], tokens, place), place), int(words[0]))


def read_blanks(file: Path, tokens: dict[str, int], spare: Spare = refuse) -> list[Blank]:
    """Questions ``{question: [tokens], blank_position, answers: [tokens]}``; right is the answer of the same set.

    Raises:
        DataError: An entry is malformed, an item is in no outfit, or not exactly one answer is of the question's set.
    """

    def blank(numbered: tuple[int, Any]) -> Blank:
        number, entry = numbered
        place = f"{file}: question {number}"
        expect(entry, dict, "the entry", place)
        words = [str(word) for word in expect(entry.get("question"), list, "question", place)]
        answers = [str(word) for word in expect(entry.get("answers"), list, "answers", place)]
        sets = {word.rpartition("_")[0] for word in words}
        right = [index for index, word in enumerate(answers) if word.rpartition("_")[0] in sets]
        if len(right) != 1 or len(sets) != 1:
            raise DataError(f"{place}: {len(right)} of {len(answers)} answers are of the question's set, expected one")
        items = check_outfit(_resolve(words, tokens, place), place)
        return Blank(f"{file.name}:{number}", items, tuple(_resolve(answers, tokens, place)), right[0])

    return usable(enumerate(expect(read_json(file), list, "the file", str(file))), blank, spare)


def _resolve(words: list[str], tokens: dict[str, int], place: str) -> list[int]:
    for word in words:
        if word not in tokens:
            raise DataError(f"{place}: {word} is in no outfit of this split")
    return [tokens[word] for word in words]


# -- repacked


def _repacked(root: Path, version: str, spare: Spare) -> Collection:
    file = root / REPACKED

    def item(numbered: tuple[int, Any]) -> Item:
        number, entry = numbered
        place = f"{file}: entry {number}"
        if "item_id" not in expect(entry, dict, "the entry", place):
            raise DataError(f"{place}: has no item_id")
        name, group = str(entry["item_id"]), str(entry.get("semantic_category") or "unknown")
        category = str(entry.get("category_id") or group)
        return Item(name, _title(entry), category, group, root / "images" / f"{name}.jpg", place)

    entries = enumerate(expect(read_json(file), list, "the file", str(file)))
    catalogue = Catalogue(usable(entries, item, spare), spare)
    collection = Collection(catalogue, {})
    folder = root / version
    for split, word in FILES.items():
        collection.outfits[split] = _sets(folder / f"{word}.json", catalogue, spare)
        labels, blanks = folder / "compatibility" / f"{word}.json", folder / "fill_in_the_blank" / f"{word}.json"
        if labels.is_file():
            collection.labelled[split] = _labels(labels, catalogue, spare)
        if blanks.is_file():
            collection.blanks[split] = _questions(blanks, catalogue, spare)
    return collection


def _entries(
    file: Path, lists: tuple[str, ...], make: Callable[[int, str, dict[str, Any]], Made], spare: Spare
) -> list[Made]:
    """What is made of number, place and entry of a list of dicts that have the given lists."""

    def checked(numbered: tuple[int, Any]) -> Made:
        number, entry = numbered
        place = f"{file}: entry {number}"
        expect(entry, dict, "the entry", place)
        for name in lists:
            expect(entry.get(name), list, name, place)
        return make(number, place, entry)

    return usable(enumerate(expect(read_json(file), list, "the file", str(file))), checked, spare)


def _sets(file: Path, catalogue: Catalogue, spare: Spare) -> list[Outfit]:
    def outfit(number: int, place: str, entry: dict[str, Any]) -> Outfit:
        return Outfit(str(number), check_outfit(catalogue.numbers([str(i) for i in entry["item_ids"]], place), place))

    return _entries(file, ("item_ids",), outfit, spare)


def _labels(file: Path, catalogue: Catalogue, spare: Spare) -> list[Labelled]:
    def labelled(number: int, place: str, entry: dict[str, Any]) -> Labelled:
        if entry.get("label") not in (0, 1):
            raise DataError(f"{place}: label {entry.get('label')!r} is out of range, expected 0 or 1")
        items = check_outfit(catalogue.numbers([str(i) for i in entry["question"]], place), place)
        return Labelled(f"{file.name}:{number}", items, int(entry["label"]))

    return _entries(file, ("question",), labelled, spare)


def _questions(file: Path, catalogue: Catalogue, spare: Spare) -> list[Blank]:
    def blank(number: int, place: str, entry: dict[str, Any]) -> Blank:
        right = expect(entry.get("label"), int, "label", place)
        if not 0 <= right < len(entry["answers"]):
            raise DataError(f"{place}: label {right} is out of range, there are {len(entry['answers'])} answers")
        items = check_outfit(catalogue.numbers([str(i) for i in entry["question"]], place), place)
        answers = catalogue.numbers([str(i) for i in entry["answers"]], place)
        return Blank(f"{file.name}:{number}", items, answers, right)

    return _entries(file, ("question", "answers"), blank, spare)
