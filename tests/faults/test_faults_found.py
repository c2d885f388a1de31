"""What fuzzing and faults found, each as a test."""

import json
import os
import re
import signal
from contextlib import suppress

import pytest

from zoo.cli import training
from zoo.domains.counting import PointsJSON
from zoo.errors import InputError, ZooError
from zoo.training import DataError
from zoo.training.checkpoints import AtomicCheckpointIO
from zoo.training.documents import parse_json, parse_yaml, read_rows


@pytest.mark.parametrize("text", ["[" * 2000, '{"a": ' * 2000, "[1, " + "9" * 5000 + "]"], ids=["list", "dict", "long"])
def test_json_that_is_too_deep_or_too_long_is_named(text, tmp_path):
    with pytest.raises(DataError, match=r"^a\.json: cannot be read as json: \S"):
        parse_json(text, "a.json")
    (tmp_path / "points.json").write_text(text)
    with pytest.raises(DataError, match=r"points\.json: cannot be read as json"):
        PointsJSON(root=str(tmp_path)).items("train")


def test_json_that_is_cut_off_is_told_by_its_line():
    with pytest.raises(json.JSONDecodeError):
        parse_json('{"a": ', "a.json")


@pytest.mark.parametrize("text", ["[" * 2000, "a: 2001-99-99", "9" * 5000], ids=["deep", "date", "long"])
def test_yaml_that_is_too_deep_or_no_value_is_named(text):
    with pytest.raises(DataError, match=r"^a\.yaml: cannot be read as yaml: \S"):
        parse_yaml(text, "a.yaml")


def test_an_index_that_is_too_deep_is_named(tmp_path, monkeypatch):
    from zoo.hub import list_models

    file = tmp_path / "index.yaml"
    file.write_text("[" * 2000)
    monkeypatch.setenv("ZOO_INDEX", str(file))
    with pytest.raises(InputError, match=r"index\.yaml: cannot be read as an index: it is nested too deep"):
        list_models()


def test_a_full_disk_is_told_as_such_and_leaves_the_old_checkpoint(faulty, zoo, tmp_path):
    """torch.save says ``unexpected pos 64 vs 0``."""
    options = ("train", "ltr/demo", "--trainer.max_epochs", 2, "--name", "full")
    result = faulty("full:3", *options, cwd=tmp_path)
    assert result.returncode == 1
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error:")]
    assert re.fullmatch(
        r"error: runs/full/(best|last)\.ckpt: no space left on device; "
        r"when that is cured, --resume goes on from runs/full/last\.ckpt",
        line,
    )
    assert not list((tmp_path / "runs/full").glob(".*.tmp"))
    assert zoo(*options, "--resume", cwd=tmp_path).returncode == 0


def test_a_killed_process_of_two_is_told_in_one_line(faulty, tmp_path):
    two = ("--trainer.devices", 2, "--trainer.strategy", "ddp", "--trainer.max_epochs", 2)
    result = faulty("rank1:8", "train", "ltr/demo", *two, "--name", "two", cwd=tmp_path)
    assert result.returncode == 1
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error:")]
    assert re.fullmatch(
        r"error: process 0 lost another process of this training \([^()]+\); "
        r"--resume goes on from runs/two/last\.ckpt",
        line,
    )


def test_errors_of_saving_that_are_no_fault_of_the_disk_stay_what_they_are(tmp_path):
    with pytest.raises((AttributeError, TypeError, RuntimeError)) as caught:
        AtomicCheckpointIO().save_checkpoint({"a": lambda: 0}, tmp_path / "last.ckpt")
    assert not isinstance(caught.value, OSError | ZooError)
    assert not list(tmp_path.iterdir())


def test_a_run_that_is_killed_while_it_begins_can_be_started_again(faulty, zoo, tmp_path):
    """It left half a recipe, and the folder counted as somebody else's."""
    options = ("train", "ltr/demo", "--trainer.max_epochs", 1, "--name", "young")
    assert faulty("recipe", *options, cwd=tmp_path).returncode == -signal.SIGKILL
    assert [file.suffix for file in (tmp_path / "runs/young").iterdir()] == [".tmp"]
    assert zoo(*options, cwd=tmp_path).returncode == 0
    assert not list((tmp_path / "runs/young").glob(".*.tmp"))


@pytest.mark.parametrize("killed", range(8))
def test_a_run_that_is_killed_while_another_is_cleared_away_stays_one(tmp_path, monkeypatch, killed):
    """Its recipe went first, and the folder counted as somebody else's."""
    folder, files = tmp_path / "run", ("recipe.yaml", "a.csv", "last.ckpt", "best.ckpt", "pictures/1.png", "z.json")
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("a: 1\n")
    left = iter(range(killed))
    unlink = os.unlink

    def dying(*given, **named):
        if next(left, None) is None:
            raise KeyboardInterrupt
        unlink(*given, **named)

    monkeypatch.setattr(os, "unlink", dying)
    with suppress(KeyboardInterrupt):
        training._clear(folder)
    monkeypatch.undo()
    assert (folder / "recipe.yaml").is_file()
    names = {file.name for file in folder.iterdir()}
    assert killed < 2 or not names & {"last.ckpt", "best.ckpt"}
    assert killed < 5 or names == {"recipe.yaml"}
    if killed >= 2:
        training._guard(folder, "a: 1\n", resume=False, overwrite=False)  # it starts anew


def test_labels_in_a_damaged_archive_are_named(tmp_path):
    import numpy as np

    from zoo.domains.anomaly.ucsd_ped2 import FEATURES, read_clips

    np.savez(tmp_path / FEATURES, a=np.zeros((25, 4)))
    file = tmp_path / "labels.npz"
    np.savez(file, a=np.zeros(100, dtype=np.int64))
    whole = bytearray(file.read_bytes())
    for place in (len(whole) // 2, len(whole) - 3, 0):  # an entry's sum, the table of entries, the mark of an archive
        damaged = whole.copy()
        damaged[place] ^= 0xFF
        file.write_bytes(damaged)
        with pytest.raises(DataError, match=r"labels\.npz(\[a\])?: cannot be read as a numpy file"):
            read_clips(tmp_path)


def test_a_name_that_no_file_can_have_is_that_of_none(tmp_path):
    from zoo.training.paths import below, is_there

    assert not is_there(tmp_path / ("a" * 5000))
    assert not is_there(below(tmp_path, "b\\" + "a" * 5000))
    (tmp_path / "c").touch()
    assert is_there(tmp_path / "c")


def test_a_data_set_without_an_outfit_left_is_named(tmp_path, monkeypatch):
    from zoo.domains.outfit.data_tables import MANGO

    data = MANGO(root=str(tmp_path))
    monkeypatch.setattr(data, "whole", lambda root: type("Collection", (), {"catalogue": None, "outfits": {}})())
    with pytest.raises(DataError, match="holds no outfit that can be used"):
        data.table(tmp_path)


def test_what_a_file_holds_never_breaks_the_line_that_tells_of_it():
    """Names with line ends, NUL, or bytes that are no UTF-8, as a list of files or a damaged table may have."""
    error = DataError("a.csv:3: there is no image 'a\nb\0c\u2028\udce9 e\u0301 \u56fe'")
    assert str(error) == "a.csv:3: there is no image 'a\\nb\\x00c\\u2028\\udce9 e\u0301 \u56fe'"
    assert str(DataError(str(error))) == str(error)
    long = str(DataError("a.csv:1: has no column 'x', only " + "y, " * 100_000))
    assert len(long) < 1000
    assert long.startswith("a.csv:1: has no column 'x'")
    assert str(DataError(long)) == long


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_row_that_cannot_be_read_takes_no_other_with_it(tmp_path, end):
    """A quote that is not closed swallowed every row behind it, and one byte of latin-1 the whole table."""
    file = tmp_path / "a.csv"
    lines = [b"name;x", b'"a', b'b";1', b'c;"2', b'"d;3', b"e\xe9;4", b'"f"g;5', b"", b'"h;""";6']
    file.write_bytes(b"\xef\xbb\xbf" + end.encode().join(lines))
    rows = list(read_rows(file, "table", ",;\t"))
    assert [(row.number, row.values) for row in rows if row.problem is None] == [
        (1, ["name", "x"]),
        (2, ["a\nb", "1"]),
        (9, ['h;"', "6"]),
    ]
    assert [(str(row.problem).removeprefix(f"{file}:"), row.values) for row in rows if row.problem is not None] == [
        ("4: is no row of a csv (a quote is not closed)", ["c", "2"]),
        ("5: is no row of a csv (a quote is not closed)", ["d", "3"]),
        ("6: is no text in UTF-8 (invalid continuation byte)", ["e\ufffd", "4"]),
        ("7: is no row of a csv (';' expected after '\"')", ['f"g', "5"]),
    ]
    file.write_bytes(b'"name,x\na,1\n')
    with pytest.raises(DataError, match=r"a\.csv:1: is no row of a csv \(a quote is not closed\)"):
        list(read_rows(file, "table"))
    for text in (b"", b"\xef\xbb\xbf", b"\n\n"):
        file.write_bytes(text)
        assert not list(read_rows(file, "table"))
    with pytest.raises(DataError, match=r"cannot be read \(is a directory\)"):
        list(read_rows(tmp_path, "table"))


def test_a_name_that_is_no_text_does_not_end_a_table(tmp_path):
    """A file called in latin-1: its name was written to split.csv, and to the tables of predict and eval, as UTF-8."""
    import shutil

    data = PointsJSON(synthesize=True)
    shutil.copytree(data.folder(), tmp_path / "data")
    text = (tmp_path / "data/points.json").read_text()
    (tmp_path / "data/points.json").write_text(text.replace("train_05", "train_\\udce9"))
    (tmp_path / "data/images/train_05.png").rename(tmp_path / "data/images" / "train_\udce9.png")
    data = PointsJSON(root=str(tmp_path / "data"))
    data.items("train")
    data.write_split(tmp_path / "split.csv")
    assert "images/train_\\udce9.png,train,yes\n" in (tmp_path / "split.csv").read_text()


def test_a_name_that_is_no_text_or_no_formula_does_not_end_a_picture(tmp_path):
    from matplotlib import pyplot

    from zoo.training.whole import draw_whole

    figure, axis = pyplot.subplots(figsize=(2, 2))
    axis.set_title("a\udce9.jpg")
    axis.text(0, 0, "$\\frac$ and $x.jpg")
    axis.set_xscale("log")
    draw_whole(tmp_path / "a.png", figure)
    pyplot.close(figure)
    assert [axis.get_title(), axis.texts[0].get_text()] == ["a?.jpg", "$\\frac$ and $x.jpg"]
    assert (tmp_path / "a.png").stat().st_size > 0


def test_a_row_that_every_split_reads_is_told_once(tmp_path, capsys):
    from types import SimpleNamespace

    from zoo.cli.data_files import verify
    from zoo.domains.anomaly import VideoTable

    VideoTable().make(tmp_path)
    with (tmp_path / "videos.csv").open("a") as stream:
        stream.write("clip,1,,both\n")
    assert verify(VideoTable(root=str(tmp_path)), SimpleNamespace(domain="anomaly", dataset="video_table")) == 2
    captured = capsys.readouterr()
    assert [line.partition("items")[2] for line in captured.out.splitlines()[1:]] == [", 1 wrong", "", ""]
    assert len(captured.err.splitlines()) == 2
    assert captured.err.endswith("1 thing is wrong\n")


def test_a_picture_that_is_written_does_not_stay_in_memory(tmp_path):
    """Each picture of a training stayed: pyplot keeps what nobody closes."""
    from matplotlib import pyplot

    from zoo.training.whole import draw_whole

    figure, _ = pyplot.subplots()
    draw_whole(tmp_path / "a.png", figure)
    assert not pyplot.fignum_exists(figure.number)
