"""Files that nobody should have to trust, mangled at random: whatever comes, only our own errors may come of it.

A target is a set of good files and what reads them. ``attempt`` mangles one of them by a seed, reads, and puts it back.
Data sets, annotation readers among them, are found in the catalogue; so are later ones.
"""

from __future__ import annotations

import random
import re
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import FrameType

import torch

from zoo.cli.catalogue import Catalogue
from zoo.errors import ZooError
from zoo.training import ZooData

ROOT = Path(__file__).resolve().parents[2]
SECONDS, MEMORY = 60, 6 << 30  # of one reading; far above what any good file needs
TEXT = {".json", ".csv", ".txt", ".xml", ".yaml", ".data", ".names", ".md", ".tsv"}
WORDS = (
    "nan", "-1", "0", "1e999", "1e-320", "9" * 30, "null", "true", "[]", "{}", '""', '"a"', "-", ".", "../..", "/",
    "\0", "\ufeff", "é图", " ", "", "a" * 5000, "[" * 2000, "!!python/object:os.system", "${oc.env:HOME}", "*a",
    "&a", "9" * 5000,
)  # fmt: skip


@dataclass
class Target:
    """Good files and their reader.

    Attributes:
        name: For messages.
        files: What is mangled, one at a time.
        read: Reads them all; small enough to be called hundreds of times.
    """

    name: str
    files: list[Path]
    read: Callable[[], object]


def mangle(content: bytes, chance: random.Random, text: bool) -> bytes:
    """Damages the content of a file in one to three ways."""
    for _ in range(chance.randint(1, 3)):
        act = chance.choice((_words, _words, _words, _slices) if text else (_bits, _bits, _slices))
        content = act(content, chance)
    return content


def _words(content: bytes, chance: random.Random) -> bytes:
    """Another word in the place of a number, of a text or of a name."""
    places = list(re.finditer(rb'"[^"\n]*"|[\w.+-]+|[\[\]{},:;|<>\t]', content[:200_000]))
    if not places:
        return chance.choice(WORDS).encode()
    place, word = chance.choice(places), chance.choice(WORDS).encode()
    return content[: place.start()] + word + content[place.end() :]


def _slices(content: bytes, chance: random.Random) -> bytes:
    """Cuts the end off, takes a piece out, or has one twice."""
    first, last = sorted(chance.randint(0, len(content)) for _ in range(2))
    return chance.choice((content[:first], content[:first] + content[last:], content[:last] + content[first:]))


def _bits(content: bytes, chance: random.Random) -> bytes:
    """Other bytes at a few places, most of them near the head."""
    changed = bytearray(content)
    for _ in range(chance.randint(1, 8)):
        if changed:
            place = chance.randrange(min(len(changed), chance.choice((16, 256, len(changed)))))
            changed[place] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
    return bytes(changed)


@contextmanager
def bounded() -> Iterator[None]:
    """Ends a reading that takes too long or too much memory, by an error that is not ours."""

    def stop(signum: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"still reading after {SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop)
    limits = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, limits[1]))
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, limits)


def attempt(target: Target, seed: int) -> BaseException | None:
    """One reading of a mangled file: the error that is not ours, if there was one.

    Args:
        target: Its files are as before afterwards.
        seed: Decides which file and what happens to it.
    """
    chance = random.Random(seed)
    file = chance.choice(target.files)
    good = file.read_bytes()
    file.write_bytes(mangle(good, chance, file.suffix in TEXT))
    try:
        with bounded():
            target.read()
    except ZooError as error:
        return None if str(error).strip() else error
    except (Exception, SystemExit) as error:
        error.add_note(f"{target.name}, seed {seed}, {file}")
        return error
    finally:
        file.write_bytes(good)
    return None


def data_sets() -> list[type[ZooData]]:
    """Every data set that can be made up."""
    found = [getattr(import_module(data.definition.module), data.name) for data in Catalogue().data()]
    return [cls for cls in found if cls.make is not ZooData.make]


def data_target(cls: type[ZooData], folder: Path) -> Target | None:
    """A data set made up in a folder, read stopping and skipping; None where it is no files of its own."""
    root = folder / cls.__name__
    root.mkdir()
    cls().make(root)
    files = [file for file in sorted(root.rglob("*")) if file.is_file()]
    # tables and lists matter more than the many images
    tables = [file for file in files if file.suffix in TEXT] or files
    kinds = {file.suffix: file for file in files if file.suffix not in TEXT}
    return Target(cls.__name__, [*tables, *kinds.values()], _reader(cls, root)) if files else None


def _reader(cls: type[ZooData], root: Path) -> Callable[[], object]:
    turns = iter(range(1 << 60))

    def read() -> None:
        turn = next(turns)
        data = cls(root=str(root), **({"on_error": "skip", "limit": 4} if turn % 4 == 3 else {"limit": 4}))
        split = cls.splits[turn % len(cls.splits)]
        items = data.items(split)
        for position in range(min(3, len(items))):
            items[0, position]

    return read


def others(folder: Path) -> Iterator[Target]:
    """Recipes, checkpoints in both forms, authors' files, the index."""
    from zoo import checkpoint
    from zoo.hub import index
    from zoo.recipe import check, read

    for source in sorted((ROOT / "recipes").glob("*/demo.yaml")):
        recipe = folder / f"{source.parent.name}.yaml"
        recipe.write_bytes(source.read_bytes())
        yield Target(f"recipe {source.parent.name}", [recipe], lambda recipe=recipe: check(read(str(recipe))))
    tensors = folder / "model.safetensors"
    tensors.write_bytes(next((ROOT / "zoo/hub/models").glob("ltr-small*.safetensors")).read_bytes())
    yield Target("safetensors", [tensors], lambda: (checkpoint.card(tensors), checkpoint.load(tensors)))
    state = checkpoint.read(tensors).state
    ours, released = folder / "model.ckpt", folder / "released.pth"
    known = checkpoint.read(tensors)
    torch.save({"state_dict": state, "zoo_recipe": known.recipe, "zoo_version": "0.1.0", "zoo_classes": [],
                "zoo_metrics": {}, "zoo_preprocess": {}}, ours)  # fmt: skip
    yield Target("ckpt", [ours], lambda: checkpoint.load(ours))
    torch.save({"model": dict(state), "epoch": 3}, released)
    legacy = folder / "legacy.pth"
    torch.save(dict(state), legacy, _use_new_zipfile_serialization=False)
    for file in (released, legacy):
        yield Target(f"converter {file.stem}", [file], lambda file=file: checkpoint.read_released(file))
    out = folder / "out.safetensors"
    for domain in sorted(file.parent.name for file in (ROOT / "zoo/domains").glob("*/convert.py")):
        yield Target(
            f"convert {domain}",
            [released],
            lambda domain=domain: checkpoint.convert(f"{domain}/demo", released, out, overwrite=True),
        )
    import scipy.io

    mat = folder / "points.mat"
    scipy.io.savemat(mat, {"a": [[1.0, 2.0]], "s": {"b": "text", "c": [1, 2, 3]}}, do_compression=True)
    yield Target("mat", [mat], lambda: checkpoint.read_released(mat))
    rows = folder / "index.yaml"
    rows.write_bytes((ROOT / "zoo/hub/index.yaml").read_bytes())
    yield Target("index", [rows], lambda: index._read(rows, (0, random.getrandbits(60))))
