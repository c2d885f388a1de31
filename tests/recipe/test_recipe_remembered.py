"""What is remembered of source files: never older than the files, never needed, never more than a text."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from zoo.recipe import remembered
from zoo.recipe.remembered import Lines, stamp_of

OLD = (1, 10, 20)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "sources" / "lines.txt"


def kept(file: Path, key: str, stamp: tuple[int, int, int], value: object) -> Lines:
    """The file as another process finds it after something was remembered."""
    lines = Lines(file)
    lines.put(key, stamp, value)
    lines.save()
    return Lines(file)


def test_what_was_kept_is_found_by_another_process(file: Path) -> None:
    lines = kept(file, f"a {file.parent.parent}", OLD, {"names": ["é", "\t", "\n"]})
    assert lines.get(f"a {file.parent.parent}", OLD) == {"names": ["é", "\t", "\n"]}
    assert lines.get(f"b {file.parent.parent}", OLD) is None
    assert [path.name for path in file.parent.iterdir()] == ["lines.txt"]


def test_any_name_of_a_file_will_do(file: Path, tmp_path: Path) -> None:
    odd = os.fsdecode(os.fsencode(tmp_path / "é\r") + b"\xff")
    Path(odd).touch()
    assert kept(file, f"a {odd}", OLD, 1).get(f"a {odd}", OLD) == 1


@pytest.mark.parametrize("stamp", [(2, 10, 20), (1, 11, 20), (1, 10, 21)])
def test_a_file_in_another_state_is_read_again(file: Path, stamp: tuple[int, int, int]) -> None:
    assert kept(file, f"a {file.parent.parent}", OLD, [1]).get(f"a {file.parent.parent}", stamp) is None


def test_a_file_that_changed_just_now_is_not_kept(file: Path) -> None:
    file.parent.mkdir()
    source = file.parent / "module.py"
    source.write_text("x = 1\n")
    assert kept(file, f"module {source}", stamp_of(source.stat()), [1]).get(f"module {source}", OLD) is None
    assert not file.exists()


def test_the_same_size_and_time_of_content_is_another_state(tmp_path: Path) -> None:
    source = tmp_path / "module.py"
    source.write_text("x = 1\n")
    before = source.stat()
    stamp = stamp_of(before)
    while source.stat().st_ctime_ns == before.st_ctime_ns:  # as coarse as the clock of the file system
        source.write_text("x = 2\n")
        os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (source.stat().st_size, source.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert stamp_of(source.stat()) != stamp


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "binary", "no json"])
def test_damage_is_as_if_nothing_was_kept(file: Path, damage: str) -> None:
    key = f"a {file.parent.parent}"
    kept(file, key, OLD, {"long": "text" * 10})
    data = file.read_bytes()
    changed = {
        "cut": data[:-9],
        "flipped": data.replace(b"texttext", b"textTEXT", 1),
        "empty": b"",
        "binary": b"\xff\xfe\0",
        "no json": data.partition(b'{"')[0] + b"{\n",
    }
    file.write_bytes(changed[damage])
    assert Lines(file).get(key, OLD) is None
    assert kept(file, key, OLD, [2]).get(key, OLD) == [2]  # and it mends itself


def test_lines_of_another_version_are_not_read(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = f"a {file.parent.parent}"
    kept(file, key, OLD, 1)
    monkeypatch.setattr(remembered, "_form", lambda: "another")
    assert Lines(file).get(key, OLD) is None


def test_two_processes_keep_both(file: Path) -> None:
    first, second = Lines(file), Lines(file)
    first.put(f"a {file.parent.parent}", OLD, 1)
    second.put(f"b {file.parent.parent}", OLD, 2)
    first.save()
    second.save()
    assert [Lines(file).get(f"{name} {file.parent.parent}", OLD) for name in "ab"] == [1, 2]


def test_files_that_are_gone_are_forgotten(file: Path, tmp_path: Path) -> None:
    source = tmp_path / "gone.py"
    source.touch()
    kept(file, f"gone {source}", OLD, 1)
    source.unlink()
    assert kept(file, f"a {tmp_path}", OLD, 2).get(f"gone {source}", OLD) is None


def test_a_folder_that_cannot_be_written_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "sources").touch()  # a file where the folder should be
    assert kept(tmp_path / "sources" / "lines.txt", f"a {tmp_path}", OLD, 1).get(f"a {tmp_path}", OLD) is None


def test_an_edited_module_is_seen_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from zoo.recipe.symbols import Class, Symbols

    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(remembered, "SETTLED", 0)  # keeps even what was written a moment ago
    source = tmp_path / "edited_module.py"

    def found(text: str, later: int) -> list[str]:
        source.write_text(text)
        os.utime(source, ns=(later, later))
        module = Symbols([tmp_path]).finder.module("edited_module")
        remembered._lines(*remembered._place()).save()
        remembered._lines.cache_clear()
        return [name for name in ("A", "B") if isinstance(Symbols([tmp_path]).member(module, name), Class)]

    assert found("class A: ...\n", 10**9) == ["A"]
    assert found("class B: ...\n", 2 * 10**9) == ["B"]
    (kept_file,) = (tmp_path / "cache" / "sources").iterdir()
    rows = [line.split("\t") for line in kept_file.read_text().splitlines()[1:]]
    assert [json.loads(row[3])["methods"] for row in rows if row[0].startswith("edited_module")] == [{"B": []}]
