"""What an index file must look like; every departure is named by row and key."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

LIBRARIES = ("timm", "torchvision", "transformers", "package", "url")
SOURCES = ("ours", "authors")

IN_THE_FILE = "in the file"
"""The recipe of a model that none of the zoo's recipes gives; every published file carries its own."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}")
_RECIPE = re.compile(rf"[a-z0-9_]+/[a-z0-9_]+|{IN_THE_FILE}")
_URL = re.compile(r"(?:https?://[^\s/]+/\S*|hf://[^\s/]+/[^\s/]+/\S+|file://\S+)")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PLACE = re.compile(r"(?!.*(?:^|/)\.\.(?:/|$))[^/\s][^\s]*")

LARGEST = 1 << 50  # bytes of a file; so is a larger number no mistake of arithmetic further on

Test = Callable[[Any], bool]


def _text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _whole(value: Any) -> bool:
    return type(value) is int and 0 < value <= LARGEST


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -1e300 <= value <= 1e300


def _figure(value: Any) -> bool:
    if isinstance(value, list):
        return len(value) == 3 and all(map(_number, value)) and value[1] <= value[2]
    return _number(value)


def _matches(pattern: re.Pattern[str]) -> Test:
    return lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None


def _urls(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_matches(_URL), value))


def _metrics(value: Any) -> bool:
    if not isinstance(value, dict) or not {"data", "protocol", "values"} <= set(value):
        return False
    known = set(value) <= {"data", "protocol", "values", "measured"}
    values = value["values"]
    said = all(_text(value[key]) for key in set(value) - {"values"})
    return known and said and isinstance(values, dict) and all(_text(k) and _figure(v) for k, v in values.items())


def _licence(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == {"weights", "data"} and all(map(_text, value.values()))


def _shown(value: Any) -> str:
    """The beginning of a value; Python does not write down a whole number of any length."""
    try:
        return str(value)[:60]
    except ValueError:
        return "a number of thousands of digits"


def _or_none(test: Test) -> Test:
    return lambda value: value is None or test(value)


REQUIRED: dict[str, tuple[Test, str]] = {
    "name": (_matches(_NAME), "small letters, digits, . _ -"),
    "domain": (_text, "a folder under zoo/domains"),
    "recipe": (_matches(_RECIPE), "a name such as anomaly/demo"),
    "urls": (_urls, "a list of https://, hf://OWNER/REPO/FILE or file:// places"),
    "sha256": (_or_none(_matches(_SHA256)), "64 hexadecimal digits"),
    "bytes": (_or_none(_whole), "a whole number above 0"),
    "metrics": (_metrics, "data, protocol and values (a number, or [value, low, high])"),
    "licence": (_licence, "weights and data, both texts"),
    "source": (lambda value: value in SOURCES, f"one of {', '.join(SOURCES)}"),
}
OPTIONAL: dict[str, tuple[Test, str]] = {
    "converter": (_or_none(_text), "the domain whose convert.py reads the file"),
    "manual": (lambda value: isinstance(value, bool), "true or false"),
    "file": (_text, "name of the authors' file"),
    "convert": (lambda value: _text(value) and value.startswith("zoo convert ") and "{out}" in value, "a command"),
    "sample": (_matches(_PLACE), "a place inside the package"),
    "note": (_text, "a text"),
}
BACKBONE: dict[str, tuple[Test, str]] = {
    "name": (_text, "as recipes write it"),
    "library": (lambda value: value in LIBRARIES, f"one of {', '.join(LIBRARIES)}"),
    "source": (_text, "where the library takes them from"),
    "bytes": (lambda value: value == 0 or _whole(value), "a whole number, 0 where it is not known"),
    "licence": (_text, "a text"),
}


def check_index(tree: Any) -> list[str]:
    """Names every mistake of an index.

    Args:
        tree: What the YAML file holds.

    Returns:
        One line per mistake; empty where there is none.
    """
    if not isinstance(tree, dict) or not set(tree) <= {"models", "backbones"}:
        return ["an index holds `models` and `backbones`, nothing else"]
    found: list[str] = []
    for section, check in (("models", _model), ("backbones", _backbone)):
        rows = tree.get(section) or []
        if not isinstance(rows, list):
            found.append(f"{section} must be a list of rows")
            continue
        names: set[str] = set()
        for place, row in enumerate(rows):
            name = row.get("name") if isinstance(row, dict) else None
            where = f"{section}[{place}] ({name if isinstance(name, str) else 'without a name'})"
            if not isinstance(row, dict):
                found.append(f"{where}: a row holds values by key")
                continue
            found += [f"{where}: {mistake}" for mistake in check(row)]
            if isinstance(name, str) and name in names:
                found.append(f"{where}: the name stands twice")
            names.add(str(name))
    return found


def _keys(row: dict[str, Any], required: dict[str, tuple[Test, str]], optional: set[str]) -> Iterator[str]:
    for key in required:
        if key not in row:
            yield f"lacks {key!r}"
    for key in row:
        if key not in required and key not in optional:
            yield f"has the unknown key {key!r}"


def _model(row: dict[str, Any]) -> Iterator[str]:
    yield from _keys(row, REQUIRED, set(OPTIONAL))
    for key, (fits, what) in {**REQUIRED, **OPTIONAL}.items():
        if key in row and not fits(row[key]):
            yield f"{key} must be {what}, not {_shown(row[key])!r}"
    if row.get("manual") is True:
        missing = [key for key in ("file", "convert", "converter") if not row.get(key)]
        if missing:
            yield f"is manual, so it needs {', '.join(missing)}"
    elif row.get("sha256") is None or row.get("bytes") is None:
        yield "only manual rows may leave sha256 and bytes open"


def _backbone(row: dict[str, Any]) -> Iterator[str]:
    yield from _keys(row, BACKBONE, {"package", "module"})
    for key, (fits, what) in BACKBONE.items():
        if key in row and not fits(row[key]):
            yield f"{key} must be {what}, not {_shown(row[key])!r}"
    if row.get("library") == "package" and not (_text(row.get("package")) and _text(row.get("module"))):
        yield "of the library `package` needs package and module"
