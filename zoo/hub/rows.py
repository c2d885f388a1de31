"""Rows of an index file, written in place: the other rows and the comments stay as they are. Imports no torch."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from zoo.errors import InputError
from zoo.hub.schema import check_index
from zoo.training.whole import write_whole


def write_row(index: Path, row: dict[str, Any]) -> None:
    """Puts a row into an index, in place of the one of that name or behind the others of its section.

    Args:
        index: The file; made if absent.
        row: Of a model.

    Raises:
        InputError: The file is no index, or would be none with the row.
    """
    if index.exists() and not index.is_file():
        raise InputError(f"{index}: is no file")
    try:
        text = index.read_text(encoding="utf-8") if index.exists() else "models:\n"
    except UnicodeDecodeError as error:
        raise InputError(f"{index}: is no text in UTF-8 ({error.reason} at byte {error.start})") from error
    block = _block(row)
    found = re.search(rf"^- name: {re.escape(row['name'])}\n(?:[ ].*\n|\n(?=[ ]))*", text, re.MULTILINE)
    if found:
        text = text[: found.start()] + block + text[found.end() :]
    else:
        section = re.search(r"^models:[ ]*(?:\[\])?[ ]*\n(?:(?:[- #].*)?\n)*", text, re.MULTILINE)
        if section is None:
            raise InputError(f"{index}: has no list `models:`")
        head = re.sub(r"^models:.*", "models:", section[0].rstrip("\n"))
        text = f"{text[: section.start()]}{head}\n{block}\n{text[section.end() :]}".rstrip("\n") + "\n"
    try:
        mistakes = check_index(yaml.safe_load(text))
    except yaml.YAMLError as error:
        mistakes = [" ".join(str(error).split())[:200]]
    if mistakes:
        raise InputError("\n".join(f"{index}: {mistake}" for mistake in mistakes[:5]))
    index.parent.mkdir(parents=True, exist_ok=True)
    write_whole(index, text)


class _Dumper(yaml.SafeDumper):
    """Lists of plain values on one line, everything else in blocks."""


def _list(dumper: yaml.SafeDumper, value: list[Any]) -> yaml.Node:
    flow = all(not isinstance(item, list | dict) for item in value)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=flow)


_Dumper.add_representer(list, _list)


def _block(row: dict[str, Any]) -> str:
    lines = yaml.dump(row, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000).splitlines()
    return "".join(f"{'- ' if place == 0 else '  '}{line}\n" for place, line in enumerate(lines))
