"""README.md says what is so: its commands are run, its links lead somewhere, its figures stand in the cards."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest

from zoo.hub import entries
from zoo.recipe import names

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)

NOT_RUN = {
    "make demo": "sets up an environment; its commands are the next test's",
    "make test": "this is it",
    "pip install .": "tests/test_install.py installs the wheel",
    "zoo train RECIPE --trainer.devices 4 --trainer.strategy ddp": "wants four devices; tests/training runs two",
    "torchrun --nnodes 2 --nproc-per-node 4 --rdzv-endpoint HOST:29500 -m zoo train RECIPE "
    "--trainer.num_nodes 2 --trainer.devices 4 --trainer.strategy ddp": "wants two machines",
}
"""Commands of README.md that this test does not run, and why not."""


def commands(block: str) -> list[str]:
    """The commands of a block, comments cut off, continued lines joined."""
    lines = block.replace("\\\n", " ").splitlines()
    return [shlex.join(words) for line in lines if (words := shlex.split(line, comments=True))]


SHELL = [command for kind, text in BLOCKS if kind == "bash" for command in commands(text)]


def test_every_block_is_a_command_or_python():
    assert {kind for kind, _ in BLOCKS} == {"bash", "python"}
    assert all(command.startswith("zoo ") or command in NOT_RUN for command in SHELL)


def test_what_is_not_run_stands_in_the_readme():
    assert set(NOT_RUN) <= set(SHELL)
    assert len(NOT_RUN) < len(SHELL) / 3


@pytest.mark.timeout(1800)  # on a machine that is busy with other things
def test_commands_and_python_run_one_after_another(warm, zoo, tmp_path):
    ran = 0
    for kind, text in BLOCKS:
        if kind == "python":
            first, _, rest = text.partition("\n")
            if re.fullmatch(r"# \w+\.py", first):
                (tmp_path / first.removeprefix("# ")).write_text(rest)
                continue
            (tmp_path / "block.py").write_text(text)
            done = [warm.run(["block.py"], tmp_path, os.environ, 120)]
        else:
            wanted = [command for command in commands(text) if command not in NOT_RUN]
            done = [zoo(*shlex.split(command)[1:], cwd=tmp_path) for command in wanted]
        for result in done:
            assert result.returncode == 0, (result.args, result.stdout, result.stderr)
            print(*result.args)
            ran += 1
    assert ran > 20
    assert (tmp_path / "report.html").stat().st_size > 10_000
    assert (tmp_path / "ranked" / "table.csv").is_file()
    assert (tmp_path / "answers" / "table.csv").is_file()


def test_the_demo_asks_every_packed_model_and_its_recipe_is_there():
    makefile = (ROOT / "Makefile").read_text()
    asked = re.search(r"^MODELS = \$\(addsuffix -small, (.*)\)$", makefile, re.MULTILINE)
    assert asked
    assert {f"{domain}-small" for domain in asked[1].split()} == {
        entry.name for entry in entries().values() if entry.source == "ours"
    }
    recipe = makefile.partition("\ndemo: setup\n")[2].partition("\n\n")[0]
    named = re.findall(r"zoo train (\S+/\S+)", recipe)
    assert named
    assert set(named) <= set(names())


@pytest.mark.parametrize(
    "file", sorted({*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")}), ids=lambda path: path.name
)
def test_links_lead_somewhere(file):
    for target in re.findall(r"\]\(([^)]+)\)", file.read_text(encoding="utf-8")):
        if not target.startswith(("http://", "https://", "#")):
            assert (file.parent / target.partition("#")[0]).exists(), target


TABLE = re.search(r"^\| domain \| method .*?\n\n", README, re.MULTILINE | re.DOTALL)
DOMAINS = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in TABLE[0].splitlines()[2:] if line]


@pytest.mark.parametrize("row", DOMAINS, ids=lambda row: row[0])
def test_a_row_of_the_table_has_its_figures_from_card_recipes_or_index(row):
    domain = re.match(r"\[(\w+)\]", row[0])[1]
    known = (ROOT / "zoo/domains" / domain / "README.md").read_text()
    known += "".join(file.read_text() for file in (ROOT / "recipes" / domain).glob("*.yaml"))
    known += " ".join(str(figure) for figure in entries()[f"{domain}-small"].metrics.values())
    figures = re.findall(r"\d+\.\d+", f"{row[2]} {row[3]}")
    assert figures
    assert [figure for figure in figures if figure not in known] == []
    assert row[4] == f"`{domain}-small`"
    assert row[5].strip("`") in names()


def test_every_domain_has_a_row():
    folders = {place.parent.name for place in (ROOT / "zoo/domains").glob("*/README.md")}
    assert {re.match(r"\[(\w+)\]", row[0])[1] for row in DOMAINS} == folders
