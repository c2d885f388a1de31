"""The handbook: generates the pages that follow from the code, executes the notebooks, and leaves the rest to mkdocs.

    python docs/make_docs.py            # then: mkdocs build --strict

Everything is written below ``build/handbook``; nothing generated is committed.
"""

from __future__ import annotations

import inspect
import re
import shutil
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import make_notebooks
import make_pictures

import zoo.ranking
from zoo.cli.heads import recipe_rows
from zoo.starts import domains, start_of
from zoo.training import ZooData, ZooModule

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "build" / "handbook"
DOMAINS = sorted(place.parent.name for place in (ROOT / "zoo/domains").glob("*/README.md"))
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "data/README.md": "data.md",
    **{f"docs/{page.name}": page.name for page in sorted((ROOT / "docs").glob("*.md"))},
    **{f"zoo/domains/{domain}/README.md": f"cards/{domain}.md" for domain in DOMAINS},
    "zoo/ranking/__init__.py": "api/zoo.ranking.md",
}
"""Files of the repository and the pages they become; links between them are led from page to page."""

PACKAGES = ("ranking", "metrics", "layers", "training", "recipe", "checkpoint", "hub", "report")
API = ("zoo", *(f"zoo.{name}" for name in (*PACKAGES, *(f"domains.{domain}" for domain in DOMAINS))))
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
COMMON = {"self", "args", "kwargs"}


def main() -> None:
    """Writes every page."""
    shutil.rmtree(OUT, ignore_errors=True)
    for source, page in PAGES.items():
        if source.endswith(".md"):
            write(page, led(ROOT / source, page))
    write("core.md", (OUT / "core.md").read_text() + objectives(make_pictures.main(OUT / "core")))
    write("recipes.md", recipes())
    write("own.md", own())
    for package in API:
        write(f"api/{package}.md", api(package))
    write("api/index.md", "# API\n\n" + "".join(f"* [`{package}`]({package}.md)\n" for package in API))
    for page, text in make_notebooks.run_all(ROOT / "docs" / "notebooks", OUT / "notebooks"):
        write(f"notebooks/{page}", text)


def write(page: str, text: str) -> None:
    """Writes one page."""
    file = OUT / page
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def led(source: Path, page: str) -> str:
    """A file of the repository with its links led to pages; pictures come along, links to other files become text.

    Raises:
        FileNotFoundError: A link leads nowhere.
    """

    def lead(match: re.Match[str]) -> str:
        mark, text, target = match.groups()
        if target.startswith(("http://", "https://", "#")):
            return match[0]
        path, _, anchor = target.partition("#")
        file = (source.parent / path).resolve()
        if not file.exists():
            raise FileNotFoundError(f"{source}: the link to {target} leads nowhere")
        name = file.relative_to(ROOT).as_posix()
        if mark:
            place = (OUT / page).parent / f"{Path(page).stem}_{file.name}"
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, place)
            return f"![{text}]({place.name})"
        if name not in PAGES:
            return text
        up = "../" * page.count("/")
        return f"[{text}]({up}{PAGES[name]}{'#' + anchor if anchor else ''})"

    return LINK.sub(lead, source.read_text(encoding="utf-8"))


def objectives(drawn: Iterable[str]) -> str:
    """One objective after the other, with its picture and what its docstring says first."""
    text = ""
    for name in drawn:
        doc = inspect.getdoc(getattr(zoo.ranking, name)) or ""
        said = doc.partition("\nArgs:")[0].strip()
        alternative = f"{name}: cost of exchanging two items, loss of two items, and the gradient of a list"
        text += f"\n### {name}\n\n{said}\n\n![{alternative}](core/{name}.svg)\n"
    return text


def own() -> str:
    """What ``zoo init`` knows of each domain."""
    text = (
        "# Your own data\n\n`zoo init DOMAIN --data PLACE` looks at a folder or a csv of yours and writes a commented "
        "recipe that trains on it. These are the layouts it knows; there are more classes of data (`zoo list data`).\n"
    )
    for domain in domains():
        text += f"\n## {domain}\n\n```bash\nzoo init {domain} --data PLACE\nzoo train {domain}.yaml\n```\n"
        for layout in start_of(domain).layouts:
            text += f"\n{layout.title}\n\n```text\n{layout.example}\n```\n"
    return text


def recipes() -> str:
    """Every recipe, and every class that its sections name, with arguments from its signature."""
    text = (
        "# Recipes\n\nEvery recipe of the zoo, and what the classes that recipes name take. `zoo show RECIPE` prints "
        "one, `zoo check` names every mistake of one; any key is an option, `--model.KEY VALUE`.\n"
    )
    rows = recipe_rows()
    for domain in DOMAINS:
        text += f"\n## {domain}\n\n| recipe | method | what it is |\n|---|---|---|\n"
        text += "".join(
            f"| `{name}` | `{method}` | {cell(what)} |\n" for name, of, method, what in rows if of == domain
        )
        for kind in classes(import_module(f"zoo.domains.{domain}")):
            text += arguments(kind)
    text += "\n## Learning rates\n"
    for kind in classes(import_module("zoo.training"), (import_module("zoo.training.schedules").Schedule,)):
        text += arguments(kind)
    return text


def classes(package: ModuleType, bases: tuple[type, ...] = (ZooModule, ZooData)) -> list[type]:
    """The public classes of a package that descend from some base, and are none."""
    found = [getattr(package, name) for name in package.__all__]
    return [
        kind
        for kind in found
        if inspect.isclass(kind) and issubclass(kind, bases) and kind not in bases and not inspect.isabstract(kind)
    ]


def arguments(kind: type) -> str:
    """A heading and a table of the constructor's arguments: name, type, default, what its docstring says."""
    said = documented(inspect.getdoc(kind) or "")
    rows = "".join(
        f"| `{name}` | `{typed(parameter)}` | {default(parameter)} | {cell(said.get(name, ''))} |\n"
        for name, parameter in inspect.signature(kind).parameters.items()
        if name not in COMMON
    )
    table = f"\n| argument | type | default | |\n|---|---|---|---|\n{rows}" if rows else ""
    return f"\n### {kind.__name__}\n\n{(inspect.getdoc(kind) or '').partition(chr(10))[0]}\n{table}"


def typed(parameter: inspect.Parameter) -> str:
    """The annotation as it is written."""
    return str(parameter.annotation) if parameter.annotation is not inspect.Parameter.empty else ""


def default(parameter: inspect.Parameter) -> str:
    """The default value, or that there is none."""
    return "required" if parameter.default is inspect.Parameter.empty else f"`{parameter.default!r}`"


def documented(doc: str) -> dict[str, str]:
    """What a Google docstring says of each argument."""
    block = re.search(r"^Args:\n((?:[ ]+.*\n?|\n)*)", doc, re.MULTILINE)
    found: dict[str, str] = {}
    for match in re.finditer(r"^    (\w+): (.*(?:\n      +.*)*)", block[1] if block else "", re.MULTILINE):
        found[match[1]] = " ".join(match[2].split())
    return found


def cell(text: str) -> str:
    """Text that does not end its cell, without the roles of references."""
    return re.sub(r":\w+:`~?", "`", text).replace("|", "\\|")


def api(package: str) -> str:
    """A page of the public names of a package, in the order of their names."""
    module: Any = import_module(package)
    first = (inspect.getdoc(module) or "").partition("\n")[0]
    text = f"# {package}\n\n{first}\n"
    for name in sorted(module.__all__):
        thing = getattr(module, name)
        if (inspect.isclass(thing) or inspect.isfunction(thing)) and thing.__module__.startswith("zoo."):
            text += f"\n::: {thing.__module__}.{thing.__qualname__}\n"
    return text


if __name__ == "__main__":
    main()
