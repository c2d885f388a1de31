"""What ``zoo data make`` and ``zoo data verify`` do; imports torch."""

from __future__ import annotations

import inspect
import shutil
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.cli.arguments import did_you_mean
from zoo.cli.catalogue import DataSet
from zoo.cli.progress import track
from zoo.errors import InputError

if TYPE_CHECKING:
    from zoo.training import ZooData

MARK = ".synthesized"
"""Stands in every folder that ``make`` wrote; only such a folder may be overwritten."""

WRONG = 2


def build(dataset: DataSet, overrides: Sequence[tuple[str, str]]) -> ZooData:
    """Builds the data class of a data set from its defaults and ``data.*`` overrides.

    Args:
        dataset: From the catalogue.
        overrides: As typed, e.g. ``("data.root", "sample")``.

    Raises:
        InputError: The class takes no such argument, needs one that is not given, or the value does not fit.
    """
    from jsonargparse import ArgumentError, ArgumentParser

    cls = getattr(import_module(dataset.definition.module), dataset.name)
    known = list(inspect.signature(cls).parameters)
    given = [(key.removeprefix("data.").removeprefix("init_args."), value) for key, value in overrides]
    for key, _ in given:
        if key.split(".")[0] not in known:
            raise InputError(f"--data.{key}: {dataset.name} takes no {key!r}{did_you_mean(key, known)}")
    parser = ArgumentParser(exit_on_error=False, allow_abbrev=False)
    parser.add_class_arguments(cls, "data")
    try:
        values = parser.parse_args([f"--data.{key}={value}" for key, value in given])
    except ArgumentError as error:
        raise InputError(f"{dataset.name}: {' '.join(str(error).split())}") from error
    data: ZooData = parser.instantiate(values).data
    return data


def make(data: ZooData, dataset: DataSet, place: Path, seed: int, overwrite: bool) -> int:
    """Writes a synthesized set; the folder appears whole or not at all.

    Args:
        data: The data class, built.
        dataset: Its entry in the catalogue.
        place: The folder to write.
        seed: Seed of the made-up data.
        overwrite: Whether to replace a set that an earlier ``make`` wrote.

    Returns:
        The exit code.

    Raises:
        InputError: The folder is in use, or the data set cannot be synthesized.
    """
    from zoo.training.whole import whole_folder

    _refuse(place, overwrite)
    data.seed = seed
    with whole_folder(place) as working:
        data.make(working)
        (working / MARK).write_text(f"made up by zoo data make {dataset.name} --seed {seed}; no real data\n")
        count = sum(1 for file in working.rglob("*") if file.is_file()) - 1
        if place.is_dir():
            shutil.rmtree(place)
    print(f"{place}: {dataset.domain}/{dataset.dataset}, made up with seed {seed}, {count} files")
    print(f"check it: zoo data verify {dataset.name} --root {place}")
    return 0


def prepare(data: ZooData, dataset: DataSet, source: Path, place: Path) -> int:
    """Makes a data set from raw files, e.g. features from videos; goes on where an earlier call was stopped.

    Args:
        data: The data class, built.
        dataset: Its entry in the catalogue.
        source: Folder of the raw files.
        place: The folder to write.

    Returns:
        The exit code.

    Raises:
        InputError: The raw files or the folder cannot be used.
    """
    if not source.is_dir():
        raise InputError(f"--from {source}: there is no such folder")
    if (place / MARK).is_file():
        raise InputError(f"{place} holds made-up data; name another folder with --out")
    if place.exists() and not place.is_dir():
        raise InputError(f"{place} is a file; name a folder with --out")
    place.mkdir(parents=True, exist_ok=True)
    data.prepare(source, place)
    print(f"{place}: {dataset.domain}/{dataset.dataset}, made from {source}")
    print(f"check it: zoo data verify {dataset.name} --root {place}")
    return 0


def verify(data: ZooData, dataset: DataSet) -> int:
    """Reads every item of every split, counts them, and names each that cannot be read.

    Args:
        data: The data class, built; its own root or the usual places are read, never a synthesized set.
        dataset: Its entry in the catalogue.

    Returns:
        0, or 2 where something is wrong.

    Raises:
        InputError: There is no such folder.
    """
    from zoo.training import DataError

    data.use_synthesized, data.on_error = False, "skip"
    root = data.folder()
    note = " (made up by zoo data make)" if (root / MARK).is_file() else ""
    print(f"{dataset.domain}/{dataset.dataset} in {root}{note}", flush=True)
    told: dict[str, None] = {}  # a row of a table of all splits is met in each
    for split in data.splits:
        data.skipped.clear()
        try:
            found = data.items(split)
        except DataError as error:
            bad, good = [*data.skipped, f"{split}: {error}"], 0
        else:
            bad, good = list(data.skipped), len(found)
        bad = [line for line in bad if line not in told]
        told.update(dict.fromkeys(bad))
        print(f"  {split:<5}  {good} items" + (f", {len(bad)} wrong" if bad else ""), flush=True)
        for line in bad:
            print(line, file=sys.stderr, flush=True)
    wrong = len(told)
    if not wrong:
        _report_twins(data)
    if wrong:
        print(f"error: {root}: {wrong} {'thing is' if wrong == 1 else 'things are'} wrong", file=sys.stderr)
    return WRONG if wrong else 0


def _report_twins(data: ZooData) -> None:
    """Counts images of the test split (the last one where there is no test) that look like one of another split."""
    from zoo.training import read_image
    from zoo.training.near_duplicates import DISTANCE, near_duplicates, perceptual_hash

    files = {split: list(dict.fromkeys(data.image_files(split))) for split in data.splits}
    held_out = "test" if "test" in files else data.splits[-1]
    if not files[held_out]:
        return
    hashes = {
        split: [perceptual_hash(read_image(file)) for file in track(found, f"compare {split}")]
        for split, found in files.items()
    }
    for split in [name for name in files if name != held_out]:
        pairs = near_duplicates(hashes[split], hashes[held_out])
        seen = {right for _, right, _ in pairs}
        print(
            f"  {len(seen)} of {len(files[held_out])} {held_out} images have a near-duplicate in {split} "
            f"(perceptual hash, distance <= {DISTANCE})"
        )


def _refuse(place: Path, overwrite: bool) -> None:
    if place.exists() and not place.is_dir():
        raise InputError(f"{place} is a file; name a folder with --out")
    if not place.is_dir() or not any(place.iterdir()):
        return
    if not (place / MARK).is_file():
        raise InputError(f"{place} is not empty, and zoo data make did not write it; name another folder with --out")
    if not overwrite:
        raise InputError(f"{place} holds made-up data already; --overwrite replaces it, --out names another folder")
