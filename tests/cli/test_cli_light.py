"""Help, lists, shows and checks of text answer at once: no torch in ``sys.modules``."""

from __future__ import annotations

import json
import resource
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from zoo.cli import VERBS

HEAVY = ("torch", "lightning", "torchmetrics", "torchvision", "timm", "numpy", "pandas", "matplotlib", "rich")
SCRIPT = """
import sys
from zoo.cli import main
code = main(sys.argv[1:])
print("LOADED", *(name for name in {heavy!r} if name in sys.modules), file=sys.stderr)
sys.exit(code)
"""


def run(*argv: str, cwd: Path | None = None) -> tuple[int, str, str, list[str]]:
    """Exit code, stdout, stderr and the heavy modules that were imported."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(heavy=HEAVY), *argv], capture_output=True, text=True, cwd=cwd, timeout=120
    )
    *err, last = done.stderr.splitlines()
    assert last.startswith("LOADED"), done.stderr
    return done.returncode, done.stdout, "\n".join(err), last.split()[1:]


COMMANDS = [
    ["--help"],
    ["--version"],
    [],
    *([verb, "--help"] for verb in VERBS),
    ["list"],
    ["list", "recipes"],
    ["list", "models"],
    ["list", "losses"],
    ["list", "metrics"],
    ["list", "data"],
    ["data", "list"],
]


@pytest.mark.parametrize("argv", COMMANDS, ids=" ".join)
def test_no_heavy_import(argv):
    code, out, err, loaded = run(*argv)
    assert (code, err, loaded) == (0, "", [])
    assert out


def named_recipes() -> list[str]:
    from zoo.recipe import names

    return list(names())


SHOWS = """
import contextlib, io, json, sys
from zoo.cli import main
for name in sys.argv[1:]:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        code = main(["show", name])
    heavy = [module for module in {heavy!r} if module in sys.modules]
    print(json.dumps([name, code, out.getvalue(), heavy]))
"""


@pytest.fixture(scope="module")
def shown() -> dict[str, tuple[int, str, list[str]]]:
    """Exit code, stdout and the heavy modules so far, of ``zoo show`` of each recipe, in one process."""
    command = [sys.executable, "-c", SHOWS.format(heavy=HEAVY), *named_recipes()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return {name: tuple(found) for name, *found in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("name", named_recipes())
def test_show_recipe_without_torch(shown, name):
    code, out, loaded = shown[name]
    assert (code, loaded) == (0, [])
    assert "class_path: zoo.domains." in out


def test_show_of_one_recipe_is_that_of_many(shown):
    code, out, _, loaded = run("show", "quality/demo")
    assert (code, out, loaded) == shown["quality/demo"]


def test_check_of_every_recipe_without_torch():
    recipes = named_recipes()
    code, out, err, loaded = run("check", "*/*")
    assert (code, err, loaded) == (0, "", [])
    assert len(out.splitlines()) == len([line for line in out.splitlines() if line.endswith(": ok")]) == len(recipes)


MISTAKES = """\
model:
  class_path: zoo.domains.anomaly.MILRankng
trainer:
  max_epoch: 3
dataa: 1
"""


def test_check_of_visible_mistakes_without_torch(tmp_path):
    (tmp_path / "bad.yaml").write_text(MISTAKES)
    code, out, err, loaded = run("check", "bad.yaml", cwd=tmp_path)
    assert (code, out, loaded) == (2, "", [])
    lines = err.splitlines()
    assert any(line.startswith("bad.yaml:4: ") and "'max_epoch'" in line and "'max_epochs'" in line for line in lines)
    assert any(line.startswith("bad.yaml:5: ") and "'dataa'" in line and "'data'" in line for line in lines)


def test_show_recipe_with_mistakes_without_torch(tmp_path):
    (tmp_path / "bad.yaml").write_text(MISTAKES)
    code, out, err, loaded = run("show", "bad.yaml", cwd=tmp_path)
    assert (code, out, loaded) == (2, "", [])
    assert "bad.yaml:4: " in err


def write_safetensors(file: Path, metadata: dict[str, str]) -> None:
    """A file of the format, made by hand: 6 + 4 float32, 3 float16, one integer."""
    shapes = {
        "network.fc.weight": ("F32", [2, 3], 4),
        "network.norm.running_mean": ("F32", [4], 4),
        "network.fc.half": ("F16", [3], 2),
        "network.norm.num_batches_tracked": ("I64", [], 8),
    }
    table: dict = {"__metadata__": metadata}
    end = 0
    for name, (dtype, shape, bytes_each) in shapes.items():
        count = bytes_each
        for side in shape:
            count *= side
        table[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + count]}
        end += count
    head = json.dumps(table).encode()
    file.write_bytes(struct.pack("<Q", len(head)) + head + bytes(end))


def test_show_safetensors_without_torch(tmp_path):
    file = tmp_path / "model-12345678.safetensors"
    metadata = {
        "zoo_recipe": "model:\n  class_path: zoo.domains.toy.ToyNet\n  # \x1b[31mred\n",
        "zoo_version": "0.1.0",
        "zoo_classes": '["normal", "fight"]',
        "zoo_metrics": '{"val/auc": 0.9345678}',
        "zoo_preprocess": '{"mean": 0.5}',
        "zoo_source": "weights.mat (sha256 abc)",
    }
    write_safetensors(file, metadata)
    code, out, err, loaded = run("show", str(file), "--tensors")
    assert (code, err, loaded) == (0, "", [])
    for said in (
        "ToyNet",
        "0.1.0",
        "9 in 4 tensors, and 5 other values",
        "float32 (2), float16 (1), int64 (1)",
        "2: normal, fight",
        "val/auc 0.934568",
        "mean 0.5",
        "weights.mat (sha256 abc)",
        "class_path: zoo.domains.toy.ToyNet",
    ):
        assert said in out
    assert any(line.split() == ["network.fc.weight", "float32", "2x3"] for line in out.splitlines())
    assert "\x1b" not in out  # what a stranger's file says must not steer the terminal
    assert r"\x1b[31mred" in out


SOON = [["--help"], ["list"], ["list", "losses"], ["train", "--help"], ["show", "ltr/demo"], ["check", "ltr/demo"]]


@pytest.mark.parametrize("argv", SOON, ids=" ".join)
def test_answers_at_once(argv):
    times = []
    for _ in range(3):
        start = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        subprocess.run([sys.executable, "-m", "zoo", *argv], check=True, capture_output=True, timeout=60)
        times.append(resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - start)
    assert min(times) < 0.9  # of a processor, whatever else runs on it; importing torch alone takes more than a second
