"""Executes notebooks (Python files in jupytext's percent format) and turns them into pages with their outputs."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Iterator
from pathlib import Path

import jupytext
from nbclient import NotebookClient
from nbformat import NotebookNode

SECONDS = 900


def run_all(sources: Path, out: Path) -> Iterator[tuple[str, str]]:
    """Executes every notebook of a folder, each in an empty folder of its own.

    Args:
        sources: Folder of ``*.py``.
        out: Where pictures of the outputs go, as ``<notebook>_<number>.png``.

    Yields:
        The name of each page and its text.

    Raises:
        nbclient.exceptions.CellExecutionError: A cell failed; shows it.
    """
    out.mkdir(parents=True, exist_ok=True)
    for source in sorted(sources.glob("*.py")):
        notebook = jupytext.read(source)
        with tempfile.TemporaryDirectory() as place:
            NotebookClient(
                notebook, timeout=SECONDS, startup_timeout=SECONDS, resources={"metadata": {"path": place}}
            ).execute()
        yield f"{source.stem}.md", page(notebook, source.stem, out)


def page(notebook: NotebookNode, name: str, out: Path) -> str:
    """Markdown of an executed notebook."""
    parts: list[str] = []
    count = 0
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        parts.append(f"```python\n{cell.source}\n```")
        for output in cell.outputs:
            if "data" in output and "image/png" in output.data:
                count += 1
                file = out / f"{name}_{count}.png"
                file.write_bytes(base64.b64decode(output.data["image/png"]))
                parts.append(f"![output {count} of the notebook {name}]({file.name})")
            elif text := printed(output):
                parts.append(f"```text\n{text}\n```")
    return "\n\n".join(parts) + "\n"


def printed(output: NotebookNode) -> str:
    """What a cell printed or gave, as text; of standard error nothing."""
    if output.output_type == "stream":
        return output.text.rstrip() if output.name == "stdout" else ""
    return str(output.get("data", {}).get("text/plain", "")).rstrip()
