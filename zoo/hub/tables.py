"""The table of pretrained models in README.md: ``python -m zoo.hub.tables README.md`` writes it anew from the index."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from zoo.errors import InputError
from zoo.hub.index import INDEX, Entry, entries

BEGIN, END = "<!-- models: begin -->", "<!-- models: end -->"
FIGURES = 2


def models_table() -> str:
    """Markdown: our own models with figures and sizes, then those of the authors."""
    own = [entry for entry in entries().values() if entry.source == "ours" and entry.origin == INDEX]
    others = [entry for entry in entries().values() if entry.source == "authors" and entry.origin == INDEX]
    lines = [
        "| model | figures, 95 % interval | measured on | size |",
        "|---|---|---|---|",
        *(f"| `{entry.name}` | {_figures(entry)} | {entry.data} | {entry.bytes / 2**20:.2f} MiB |" for entry in own),
        "",
        "Released by authors, fetched by hand and converted (`zoo show NAME` gives link and command):",
        "",
        "| model | figures as quoted there | file | weights |",
        "|---|---|---|---|",
        *(
            f"| `{entry.name}` | {_figures(entry) or 'none stated'} | [{entry.file}]({entry.urls[0]}) "
            f"| {entry.licence.weights} |"
            for entry in others
        ),
    ]
    return "\n".join(lines)


def _figures(entry: Entry) -> str:
    return ", ".join(f"{name} {figure}" for name, figure in list(entry.metrics.items())[:FIGURES])


def write_table(file: Path) -> bool:
    """Writes the table between the marks of a file.

    Args:
        file: A Markdown file.

    Returns:
        Whether it changed.

    Raises:
        InputError: The marks are missing.
    """
    text = file.read_text(encoding="utf-8")
    found = re.search(rf"{re.escape(BEGIN)}\n.*?{re.escape(END)}", text, re.DOTALL)
    if found is None:
        raise InputError(f"{file}: has no place for the table, {BEGIN} ... {END}")
    new = text[: found.start()] + f"{BEGIN}\n{models_table()}\n{END}" + text[found.end() :]
    if new != text:
        file.write_text(new, encoding="utf-8")
    return new != text


if __name__ == "__main__":
    place = Path(sys.argv[1] if len(sys.argv) > 1 else "README.md")
    print(f"{place}: {'written' if write_table(place) else 'as it was'}")
