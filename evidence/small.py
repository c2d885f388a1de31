"""The packed models: trains recipes/<domain>/small.yaml, publishes the best checkpoint into the package, with a sample.

    python evidence/small.py [DOMAIN ...] [--keep]

Each takes one to ten minutes on two cores. ``--keep`` publishes a run that is there already, without training.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
from pathlib import Path
from typing import Any

from zoo.cli.training import train
from zoo.errors import InputError
from zoo.hub import publish
from zoo.hub.index import HOME, INDEX
from zoo.recipe import build_data, names, read

SAMPLES = {"anomaly": "Explosion/Explosion1*.txt", "ltr": "S5.txt"}  # others: the `sample` of the data class
LICENCES = {"calibration": "scikit-learn's digits (UCI, CC BY 4.0)"}
QUERIES = 2  # of a LETOR file


def pack(domain: str, keep: bool) -> None:
    """Trains and publishes one model."""
    name, recipe = f"{domain}-small", f"{domain}/small"
    run = Path("runs") / "small" / domain
    if not keep or not (run / "best.ckpt").is_file():
        train(recipe, name=f"small/{domain}", overwrite=True)
    sample = bundle(domain, recipe, HOME / "samples" / name)
    options: dict[str, Any] = {
        "index": INDEX,
        "data_licence": LICENCES.get(domain, ""),
        "sample": sample.relative_to(HOME).as_posix(),
        "overwrite": True,
    }
    try:
        done = publish(run, name, HOME / "models", half=True, **options)
    except InputError as error:  # the figure does not hold at float16
        print(error)
        done = publish(run, name, HOME / "models", **options)
    main = done.measured.main
    print(f"{name}: {done.row['bytes']:,} bytes, {main} {done.measured.values[main]:.4g}, sample {sample.name}")


def bundle(domain: str, recipe: str, place: Path) -> Path:
    """Copies one input out of the made-up data into the package, with the files that it names."""
    data: Any = build_data(read(recipe))
    source = made(data, place.with_name(f".{place.name}"))
    file = sorted(source.glob(SAMPLES.get(domain, data.sample)))[0]
    shutil.rmtree(place, ignore_errors=True)
    for one in [file, *named_in(file)]:
        target = place / one.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(one, target)
    copied = place / file.relative_to(source)
    if domain == "ltr":
        shorten(copied)
    if source.name.startswith("."):
        shutil.rmtree(source)
    return copied


def made(data: Any, working: Path) -> Path:
    """The folder of the data; a set inside a package is written out first."""
    if data.use_synthesized:
        return Path(data.folder())
    shutil.rmtree(working, ignore_errors=True)
    working.mkdir(parents=True)
    data.make(working)
    return working


def named_in(file: Path) -> list[Path]:
    """The files that a table or a JSON file names, as seen from it."""
    if file.suffix == ".csv":
        with file.open(newline="", encoding="utf-8") as stream:
            words = [word for row in csv.reader(stream) for word in row]
    elif file.suffix == ".json":
        words = [str(value) for row in json.loads(file.read_text()) for value in row.values()]
    else:
        return []
    return sorted({found for word in words if word and (found := (file.parent / word).resolve()).is_file()})


def shorten(file: Path) -> None:
    """Keeps the first queries of a LETOR file."""
    kept: list[str] = []
    queries: list[str] = []
    for line in file.read_text().splitlines(keepends=True):
        query = line.split()[1]
        if query not in queries:
            queries.append(query)
        if len(queries) > QUERIES:
            break
        kept.append(line)
    file.write_text("".join(kept))


def main() -> None:
    """Packs the domains that are named, or all that have a recipe `small`."""
    known = [name.split("/")[0] for name in names() if name.endswith("/small")]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("domains", nargs="*", metavar="DOMAIN", help=f"of {', '.join(known)}; default: all")
    parser.add_argument("--keep", action="store_true", help="publish finished runs without training")
    args = parser.parse_args()
    for domain in args.domains or known:
        if domain not in known:
            parser.error(f"there is no recipe {domain}/small")
        pack(domain, args.keep)


if __name__ == "__main__":
    main()
