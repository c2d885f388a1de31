"""Downloads from a server that lies, stalls, breaks off and comes back: the right file, or one clear refusal."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import zoo
from zoo.cli import main
from zoo.errors import InputError, ZooError
from zoo.hub import downloads, transfer
from zoo.hub.cache import models_dir
from zoo.hub.downloads import DownloadError, sources
from zoo.hub.index import find

from .conftest import row_of
from .server import Server

SIZE = 200_003
Index = Callable[..., Path]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that is asked for."""
    file = tmp_path_factory.mktemp("data") / "model.safetensors"
    file.write_bytes(b"".join(hashlib.sha256(str(number).encode()).digest() for number in range(SIZE // 32 + 1))[:SIZE])
    return file


@pytest.fixture
def server(data: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = Server(data.read_bytes())
    yield server
    server.stop()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between attempts, which are not really made."""
    made: list[float] = []
    monkeypatch.setattr(transfer, "sleep", made.append)
    return made


def left() -> list[str]:
    """What lies in the cache; locks are empty and stay."""
    folder = models_dir()
    return sorted(file.name for file in folder.iterdir() if not file.name.endswith(".lock")) if folder.is_dir() else []


def name_of(data: Path) -> str:
    return f"m-{hashlib.sha256(data.read_bytes()).hexdigest()[:8]}.safetensors"


@pytest.mark.parametrize(
    ("way", "visits"),
    [("ok", 1), ("norange", 2), ("refuse", 3), ("truncate", 5), ("stall", 2), ("redirect", 1), ("unsaid", 1)],
)
def test_the_file_arrives_whole(index: Index, server: Server, data: Path, waits: list[float], way: str, visits: int):
    index(row_of(data, "m", [server.url(way)]))
    file = zoo.pretrained("m")
    assert file.read_bytes() == data.read_bytes()
    assert left() == [name_of(data)]
    assert oct(file.stat().st_mode & 0o777) == "0o644"
    assert server.visits[way] == visits
    assert zoo.pretrained("m") == file
    assert server.visits[way] == visits  # from the cache


def test_a_server_that_dies_midway_and_comes_back_is_gone_on_with(
    index: Index, server: Server, data: Path, waits: list[float]
):
    index(row_of(data, "m", [server.url("dies")]))
    assert zoo.pretrained("m").read_bytes() == data.read_bytes()
    third = SIZE // 3
    assert [asked for _, asked in server.asked] == [None, *[f"bytes={third}-"] * 3]
    assert len(waits) == 3
    assert 7 <= waits[1] < 8  # as long as the server asked


@pytest.mark.parametrize(
    ("way", "says"),
    [
        ("truncate_always", "the transfer was cut off at byte 0 of 200003 (given up after 4 attempts)"),
        ("drip", "the transfer stalled at byte "),
        ("slow_head", "the transfer was cut off at byte 0 of 200003"),
        ("babble", "no answer: a b c"),
        ("loop", "infinite loop"),
        ("to_file", "Redirection to url 'file:///etc/hostname' is not allowed"),
        ("to_ftp", "unknown url type: ftp"),
        ("shorter", "the server offers 199993 bytes, the file has 200003"),
        ("longer", "the server offers 200013 bytes, the file has 200003"),
        ("endless", "the server sends more than the 200003 bytes of the file"),
        ("other_range", "the server sends another range than asked for"),
        ("other_total", "the server offers 200010 bytes, the file has 200003"),
        ("page", "the server offers 15 bytes, a web page, the file has 200003"),
        ("packed", "the server sends the file compressed, unasked"),
        ("gone", "the server answers 404 Not Found"),
        ("down", "the server answers 503 Service Unavailable (given up after 4 attempts)"),
    ],
)
def test_a_bad_server_is_refused_in_one_line(
    index: Index, server: Server, data: Path, waits: list[float], monkeypatch: pytest.MonkeyPatch, way: str, says: str
):
    if way in ("drip", "slow_head"):
        monkeypatch.setenv("ZOO_RETRIES", "0")
    index(row_of(data, "m", [server.url(way)]))
    with pytest.raises(DownloadError) as caught:
        zoo.pretrained("m")
    first, second = str(caught.value).splitlines()
    assert first == "m: could not be downloaded:"
    assert second.startswith(f"  {server.url(way)}: ")
    assert says in second
    assert not (models_dir() / name_of(data)).exists()


def test_wrong_bytes_leave_nothing_behind_and_say_expected_and_got(
    index: Index, server: Server, data: Path, waits: list[float]
):
    index(row_of(data, "m", [server.url("wrong")]))
    with pytest.raises(DownloadError) as caught:
        zoo.pretrained("m")
    expected, got = (hashlib.sha256(content).hexdigest() for content in (data.read_bytes(), bytes(SIZE)))
    assert f"expected sha256 {expected}, got {got}" in str(caught.value)
    assert left() == []
    assert server.visits["wrong"] == 1


def test_the_next_source_is_asked_and_a_wrong_beginning_is_thrown_away(
    index: Index, server: Server, data: Path, waits: list[float]
):
    index(row_of(data, "m", [server.url("gone"), server.url("wrong"), server.url("half_wrong"), server.url("ok")]))
    assert zoo.pretrained("m").read_bytes() == data.read_bytes()
    ranges = [asked for path, asked in server.asked if path.startswith("/ok/")]
    assert ranges == [f"bytes={SIZE // 2}-", None]  # gone on with, found wrong, fetched anew


def test_no_server_at_all(index: Index, data: Path, waits: list[float], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    index(row_of(data, "m", [f"http://127.0.0.1:{port}/m", "http://127.0.0.1:notaport/m"]))
    with pytest.raises(DownloadError) as caught:
        zoo.pretrained("m")
    assert "no answer: [Errno 111] Connection refused (given up after 4 attempts)" in str(caught.value)
    assert "no usable address" in str(caught.value)
    assert len(waits) == 3
    assert all(0.37 <= wait / 2**step <= 0.63 for step, wait in enumerate(waits))


def test_a_damaged_file_of_the_cache_is_noticed_and_fetched_anew(
    index: Index, server: Server, data: Path, capsys: pytest.CaptureFixture[str]
):
    index(row_of(data, "m", [server.url("ok")]))
    file = zoo.pretrained("m")
    file.write_bytes(bytes(SIZE))
    assert main(["cache", "verify"]) == 1
    assert "expected sha256" in capsys.readouterr().out
    assert zoo.pretrained("m").read_bytes() == data.read_bytes()
    assert "damaged (expected sha256" in capsys.readouterr().err
    file.write_bytes(bytes(SIZE))
    with pytest.raises(InputError, match="is not in the cache and the network is off"):
        zoo.pretrained("m", offline=True)


@pytest.mark.parametrize("variable", ["ZOO_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_nothing_is_asked(
    index: Index, server: Server, data: Path, monkeypatch: pytest.MonkeyPatch, variable: str
):
    index(row_of(data, "m", [server.url("ok")]))
    monkeypatch.setenv(variable, "1")
    with pytest.raises(InputError, match="once online: zoo download m"):
        zoo.pretrained("m")
    assert not server.asked
    assert not models_dir().exists()
    monkeypatch.setenv(variable, "0")
    zoo.pretrained("m")
    monkeypatch.setenv(variable, "1")
    assert zoo.pretrained("m").is_file()


def test_a_full_disk_is_seen_before(index: Index, server: Server, data: Path, monkeypatch: pytest.MonkeyPatch):
    index(row_of(data, "m", [server.url("ok")], bytes=300 * 2**30))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(2**40, 2**40 - 2**30, 2**30))
    with pytest.raises(InputError, match=r"needs 307200 MiB more in .*, 1024 MiB are free; make room"):
        zoo.pretrained("m")
    assert not server.asked


def test_a_cache_that_cannot_be_written_is_told(index: Index, server: Server, data: Path, tmp_path: Path, monkeypatch):
    index(row_of(data, "m", [server.url("ok")]))
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match=r"the cache cannot be written .*set ZOO_CACHE"):
        zoo.pretrained("m")


def test_a_mirror_goes_first_and_hugging_face_has_an_endpoint(
    index: Index, server: Server, data: Path, waits: list[float], monkeypatch: pytest.MonkeyPatch
):
    index(row_of(data, "m", ["hf://owner/repo@v1/files/a+b.safetensors"]))
    base = server.url("ok", "").rstrip("/")
    monkeypatch.setenv("HF_ENDPOINT", base)
    assert sources(find("m")) == [f"{base}/owner/repo/resolve/v1/files/a%2Bb.safetensors"]
    monkeypatch.setenv("ZOO_MIRROR", server.url("gone", ""))
    assert zoo.pretrained("m").read_bytes() == data.read_bytes()
    paths = [path for path, _ in server.asked]
    assert paths == [f"/gone/{name_of(data)}", "/ok/owner/repo/resolve/v1/files/a%2Bb.safetensors"]
    monkeypatch.setenv("ZOO_MIRROR", "mirror")
    with pytest.raises(InputError, match="ZOO_MIRROR must start with http"):
        sources(find("m"))


def test_the_usual_proxy_is_used(index: Index, server: Server, data: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("http_proxy", server.url("", "").rstrip("/"))
    monkeypatch.setenv("no_proxy", "")
    index(row_of(data, "m", ["http://models.invalid/ok/m"]))
    assert zoo.pretrained("m").read_bytes() == data.read_bytes()
    assert server.asked == [("http://models.invalid/ok/m", None)]


def _get(results: Any) -> None:
    try:
        results.put(zoo.pretrained("m").read_bytes())
    except ZooError as error:
        results.put(str(error))


def test_eight_processes_make_one_download(index: Index, server: Server, data: Path):
    index(row_of(data, "m", [server.url("slow")]))
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    workers = [context.Process(target=_get, args=(results,)) for _ in range(8)]
    for worker in workers:
        worker.start()
    found = [results.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join(60)
    assert found == [data.read_bytes()] * 8
    assert server.visits["slow"] == 1
    assert left() == [name_of(data)]


def test_a_killed_download_is_gone_on_with_by_the_next(index: Index, server: Server, data: Path, monkeypatch):
    index(row_of(data, "m", [server.url("slow")]))
    worker = multiprocessing.get_context("fork").Process(target=zoo.pretrained, args=("m",))
    worker.start()
    part = models_dir() / f".{name_of(data)}.part"
    deadline = time.monotonic() + 30
    while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.005)
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    worker.join(30)
    have = part.stat().st_size
    assert 0 < have < SIZE
    assert zoo.pretrained("m").read_bytes() == data.read_bytes()
    assert server.asked[-1][1] == f"bytes={have}-"
    assert left() == [name_of(data)]


@pytest.mark.parametrize("text", ["x", "-1", "0"])
def test_settings_that_are_no_numbers_are_told(index: Index, server: Server, data: Path, monkeypatch, text: str):
    index(row_of(data, "m", [server.url("ok")]))
    monkeypatch.setenv("ZOO_TIMEOUT", text)
    with pytest.raises(InputError, match=f"ZOO_TIMEOUT must be a number above 0, not '{text}'"):
        zoo.pretrained("m")


def test_the_verb_fetches_names_globs_and_domains(index: Index, server: Server, data: Path, capsys):
    index(row_of(data, "m-one", [server.url("ok")]), row_of(data, "m-two", [server.url("gone")]))
    assert main(["download", "m-one"]) == 0
    assert "sha256 verified" in capsys.readouterr().out
    assert main(["download", "m-*"]) == 1  # what fails keeps nothing else from being fetched
    out, err = capsys.readouterr()
    assert "m-one: " in out
    assert "error: m-two: could not be downloaded:" in err
    assert "404" in err
    assert main(["download", "--all", "ltr"]) == 1
    assert main(["download", "m-on"]) == 2
    assert "did you mean 'm-one'" in capsys.readouterr().err
    for wrong in (["download"], ["download", "m-one", "--all", "ltr"], ["download", "--all", "zebra"]):
        assert main(wrong) == 2


def test_the_cache_is_listed_and_cleared_and_nothing_else(index: Index, server: Server, data: Path, capsys):
    index(row_of(data, "m", [server.url("ok")]))
    zoo.pretrained("m")
    foreign = models_dir().parent / "letters.txt"
    foreign.write_text("mine")
    (models_dir().parent / "synthesized/Set-1").mkdir(parents=True)
    (models_dir().parent / "synthesized/Set-1/a").write_bytes(bytes(1000))
    assert main(["cache", "list"]) == 0
    out = capsys.readouterr().out
    assert [line.split() for line in out.splitlines()[1:3]] == [
        ["models", name_of(data), "200", "kB", "whole"],
        ["synthesized", "Set-1", "1", "kB"],
    ]
    assert main(["cache", "clear"]) == 2
    assert main(["cache", "clear", "nothing"]) == 2
    assert main(["cache", "clear", "m"]) == 0
    assert left() == []
    assert main(["cache", "clear", "--all"]) == 0
    assert foreign.read_text() == "mine"
    assert not list((models_dir().parent / "synthesized").iterdir())
    assert main(["cache", "verify"]) == 0


def test_a_terminal_shows_speed_and_time_left(index: Index, server: Server, data: Path, monkeypatch, capsys):
    index(row_of(data, "m", [server.url("slow")]))
    monkeypatch.setattr(downloads.sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", "120")
    zoo.pretrained("m")
    err = capsys.readouterr().err
    assert "100%" in err or "KiB" in err
    assert "/s" in err
    assert "0:00:0" in err
