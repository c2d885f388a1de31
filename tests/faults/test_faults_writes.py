"""Files that a killed process, a full disk or a place that is taken must not leave broken, whatever writes them."""

import errno
import io
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from zoo.cli import main
from zoo.errors import InputError
from zoo.hub.rows import write_row
from zoo.training.whole import whole, whole_folder, write_whole

VERBS = {
    "eval": ("eval", "ltr-small", "--out", "out", "--predictions", "rows.json"),
    "predict": ("predict", "ltr-small", "--sample", "--out", "out"),
    "publish": ("publish", "ltr-small", "--name", "mine"),
    "export": ("export", "ltr-small", "--format", "torch", "--out", "net.pt2"),
    "make": ("data", "make", "MQ2008", "--out", "made"),
}
opened: list[Path] = []


@pytest.fixture(scope="module")
def noted():
    """Every file of the current folder that is opened to be written to, by its name at that time."""

    def note(event, arguments):
        if watching and event == "open" and isinstance(arguments[0], str) and arguments[2] & (os.O_WRONLY | os.O_RDWR):
            opened.append(Path(arguments[0]))

    watching = [True]
    sys.addaudithook(note)
    yield opened
    watching.clear()


@pytest.mark.parametrize("verb", VERBS)
def test_no_verb_writes_under_a_final_name(verb, noted, tmp_path, monkeypatch, capsys):
    """Pictures, cards, pages and tables did."""
    monkeypatch.chdir(tmp_path)
    noted.clear()
    assert main(VERBS[verb]) == 0, capsys.readouterr().err
    written = [file for file in noted if file.absolute().is_relative_to(tmp_path)]
    assert written or verb == "export"
    assert [file for file in written if not any(part.endswith(".tmp") for part in file.parts)] == []
    assert not list(tmp_path.rglob(".*.tmp"))


@pytest.mark.parametrize("verb", VERBS)
def test_a_full_disk_is_told_in_one_line_and_leaves_nothing_half(verb, tmp_path, monkeypatch):
    """Export ended with the process, others told no name."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    assert main(("eval", "ltr-small")) == 0  # its made-up data is in the cache now
    child = os.fork()
    if child == 0:
        sys.stdout, sys.stderr = io.StringIO(), (tmp_path / "said").open("w")
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))  # Python ignores the signal that comes with it
        code = main(VERBS[verb])
        sys.stderr.flush()
        os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    (line,) = (tmp_path / "said").read_text().splitlines()
    assert re.fullmatch(r"error: (out|made|published|net|rows)\b.*(file too large|File too large).*", line), line
    assert all(file.stat().st_size < 1000 for file in (tmp_path / "work").rglob("*") if file.is_file())
    assert [file for file in (tmp_path / "work").rglob("*") if file.name.startswith(".")] == []


def test_links_are_followed_and_pipes_written_to(tmp_path):
    """A device that was named as the output was replaced by a file."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "a.csv").symlink_to("disk/a.csv")
    write_whole(tmp_path / "a.csv", "1")
    assert (tmp_path / "a.csv").is_symlink()
    assert (tmp_path / "disk/a.csv").read_text() == "1"
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_whole(tmp_path / "pipe", "1")
    assert os.read(reader, 9) == b"1"
    assert not (tmp_path / "pipe").is_file()
    os.close(reader)


def test_an_index_that_is_no_file_is_not_read(tmp_path):
    """A device was read until there was no memory left."""
    os.mkfifo(tmp_path / "index.yaml")
    with pytest.raises(InputError, match=r"index\.yaml: is no file$"):
        write_row(tmp_path / "index.yaml", {"name": "a"})


@pytest.mark.parametrize("place", [".", "/"])
def test_a_folder_is_no_place_for_a_file(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(IsADirectoryError):
        write_whole(Path(place), "1")


def test_a_figure_that_cannot_be_finished_leaves_the_one_before(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    from zoo.training.whole import draw_whole

    file = tmp_path / "picture.png"
    file.write_text("before")
    monkeypatch.setattr(Figure, "savefig", lambda *given, **named: full(given[1]))
    with pytest.raises(OSError, match=r"picture\.png"):
        draw_whole(file, Figure())
    assert file.read_text() == "before"
    assert list(tmp_path.iterdir()) == [file]


def full(place):
    """Writes a part and fails as a full disk does where a library tells no name."""
    Path(place).write_text("par")
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_what_killed_processes_left_goes_and_what_others_write_stays(tmp_path):
    """Every kill left another file."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    for name in (f".a.csv.{gone.pid}.tmp", f".b\n.png.{gone.pid}.tmp", f".c.{2**70}.tmp"):
        (tmp_path / name).write_text("half")
    (tmp_path / f".set.12345678.{gone.pid}.tmp").mkdir()
    (tmp_path / f".set.12345678.{gone.pid}.tmp/1.csv").write_text("1")
    living = [f".d.csv.{os.getppid()}.tmp", ".e.tmp", ".f.csv.7.part", "g.7.tmp"]
    for name in living:
        (tmp_path / name).write_text("not ours to remove")
    write_whole(tmp_path / "a.csv", "1")
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted([*living, "a.csv"])


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    place = tmp_path / "sets/one"

    def fill(fails):
        with whole_folder(place) as working:
            (working / "a.csv").write_text("1")
            if fails:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill(True)
    assert list(place.parent.iterdir()) == []
    fill(False)
    assert [file.name for file in place.parent.rglob("*")] == ["one", "a.csv"]


@pytest.mark.parametrize("name", ["a" * 251 + ".png", "图" * 80 + ".png"], ids=["letters", "characters"])
def test_names_as_long_as_the_system_takes_can_be_written(name, tmp_path):
    write_whole(tmp_path / name, "1")
    assert (tmp_path / name).read_text() == "1"


def test_a_place_that_is_taken_is_told_by_its_own_name(tmp_path):
    (tmp_path / "best.ckpt/inside").mkdir(parents=True)
    with pytest.raises(OSError, match="directory") as caught, whole(tmp_path / "best.ckpt") as working:
        working.write_text("1")
    assert caught.value.filename == str(tmp_path / "best.ckpt")
    assert [file.name for file in tmp_path.iterdir()] == ["best.ckpt"]


def test_publishing_that_was_cut_off_can_be_done_again(tmp_path, monkeypatch, capsys):
    """It was refused for the file that it had left."""
    monkeypatch.chdir(tmp_path)
    command = ("publish", "ltr-small", "--name", "mine")
    assert main(command) == 0
    (tmp_path / "published/mine.md").unlink()
    (tmp_path / "published/index.yaml").unlink()
    assert main(command) == 0, capsys.readouterr().err
    assert {file.suffix for file in (tmp_path / "published").iterdir()} == {".md", ".yaml", ".safetensors"}
    assert main(command) == 2
    assert "exists already" in capsys.readouterr().err
    shutil.rmtree(tmp_path / "published")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_an_evaluation_that_is_stopped_is_no_success(number, monkeypatch, capsys):
    """It ended with code 0, and without a word."""
    from zoo.domains.ltr import MLPRanker

    evaluate = MLPRanker.evaluate_batch

    def stopped(*given):
        os.kill(os.getpid(), number)
        return evaluate(*given)

    monkeypatch.setattr(MLPRanker, "evaluate_batch", stopped)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it is ignored
    try:
        assert main(("eval", "ltr-small")) == 1
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().err.splitlines()[-1] == "error: interrupted"
