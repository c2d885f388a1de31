import time
from functools import partial
from pathlib import Path

import pytest
import torch

from zoo import bench
from zoo.bench import Timing, plot, startup, training
from zoo.cli.list import KINDS
from zoo.errors import InputError, ZooError
from zoo.training.speed import Case


def sleeper(seconds, result=1):
    def build():
        def work():
            time.sleep(seconds)
            return result

        return work

    return build


def same(ours, theirs):
    assert ours == theirs, f"{ours} against {theirs}"


def test_ratio_is_peer_over_ours_and_an_absent_peer_is_told():
    case = Case("sleep", sleeper(0.002), {"json": sleeper(0.006), "no_such_package": sleeper(0)}, same)
    ours, peer, absent = bench.run(case, rounds=5)
    assert (ours.who, peer.who, absent.who) == ("zoo", "json", "no_such_package")
    assert ours.low <= ours.seconds <= ours.high
    assert peer.ratio == pytest.approx(peer.seconds / ours.seconds)
    assert peer.ratio > 1
    assert absent.seconds is None
    assert absent.note == "not installed"


def test_a_peer_that_computes_something_else_is_refused():
    with pytest.raises(ZooError, match="sleep: json gives another result than zoo: 1 against 2"):
        bench.run(Case("sleep", sleeper(0), {"json": sleeper(0, 2)}, same))


def test_against_chooses_peers():
    case = Case("sleep", sleeper(0), {"json": sleeper(0), "csv": sleeper(0)})
    assert [timing.who for timing in bench.run(case, against=["csv"], rounds=1)] == ["zoo", "csv"]


def test_peak_memory_is_that_of_the_work():
    def build():
        return lambda: len(bytearray(64 * 2**20))

    (timing,) = bench.run(Case("memory", build), rounds=1)
    assert 60 < timing.memory < 100


def test_a_peer_out_of_memory_is_a_result():
    def build():
        return lambda: torch.empty(8 * 2**30, dtype=torch.uint8).numel()  # more than an allocator may hold back

    case = Case("memory", sleeper(0), {"torch": build, "json": sleeper(0)}, same, line="memory", size=4)
    ours, other, lost = bench.run(case, rounds=1, limit=100)
    assert (lost.who, lost.seconds, lost.note) == ("torch", None, "out of memory (100 MiB)")
    assert (ours.who, other.who, ours.line, lost.size) == ("zoo", "json", "memory", 4)
    with pytest.raises(ZooError, match="memory: out of memory under 100 MiB"):
        bench.run(Case("memory", build), rounds=1, limit=100)


def test_growth_is_read_off_the_larger_sizes(tmp_path):
    points = [
        Timing("x", who, 1e-9 * n**power + 1e-6, memory=n / 1e3, line="x", size=n)
        for who, power in (("zoo", 1), ("torch", 2))
        for n in (10, 1000, 10_000, 100_000)
    ]
    points.append(Timing("x", "torch", None, note="out of memory (1 GiB)", line="x", size=10**6))
    rows = plot.growth_rows(points)
    assert [row[:2] for row in rows] == [("x", "zoo"), ("x", "torch")]
    assert [float(value) for row in rows for value in row[2:]] == pytest.approx([1, 1, 2, 1], abs=0.06)
    plot.draw(points, tmp_path / "growth.png")
    assert (tmp_path / "growth.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("subject", ["losses", "metrics", "layers"])  # loops of demos and start-up: below
def test_our_work_agrees_with_every_peer_at_hand(subject, monkeypatch):
    """The smallest case of each kind; what is not installed beside the zoo is agreed upon in the bench itself."""
    checked = 0
    for case in bench.cases(subject, quick=True):
        if case.size > 256 or "512" in case.name.partition("D =")[0] or not case.agree:
            continue
        peers = {name: build for name, build in case.peers.items() if name in ("torch", "torchmetrics", "transformers")}
        for build in peers.values():
            case.agree(case.ours()(), build()())
            checked += 1
    assert checked > 1


def test_unknown_domains():
    with pytest.raises(
        InputError, match="no domain 'nothing' to be timed; besides domains there are losses, metrics, layers"
    ):
        bench.cases("nothing")


def test_the_command_prints_a_table_and_writes_json(zoo, tmp_path):
    import json

    result = zoo(
        "bench", "losses", "--only", "ListNet, 64 lists of 128", "--rounds", 1, "--json", "bench.json", cwd=tmp_path
    )
    assert result.returncode == 0, result.stderr
    assert "peer / zoo" in result.stdout
    rows = json.loads((tmp_path / "bench.json").read_text())
    assert {row["who"] for row in rows} == {"zoo", "allrank"}
    assert rows[0]["seconds"] > 0
    wrong = zoo("bench", "ltr", "--against", "allrank", cwd=tmp_path)
    assert wrong.returncode == 2
    assert "known peers of ltr are none" in wrong.stderr


def test_both_loops_of_a_demo_end_at_the_same_weights():
    demo = training.Demo("ltr")
    ours, peer = (demo.weights(partial(loop, demo)) for loop in (training.lightning_loop, training.plain_loop))
    torch.testing.assert_close(ours, peer)
    assert not torch.equal(ours, demo.weights(lambda: None))


def test_the_training_loop_of_every_demo_is_timed():
    demos = {file.parent.name for file in Path("recipes").glob("*/demo.yaml")}
    assert {case.name.partition("/")[0] for case in bench.cases("training")} == demos


def test_start_up_is_that_of_a_process_that_ended_well():
    cases = {case.name: case for case in bench.cases("startup")}
    bare = {"sys (bare interpreter)", "time (bare interpreter and 0.1 s)"}
    assert set(cases["zoo --help"].peers) == {*bare, "lightning"}
    assert all(set(case.peers) == bare for name, case in cases.items() if name != "zoo --help")
    assert {f"zoo list {kind}" for kind in KINDS} | {"zoo show anomaly/demo", "zoo check anomaly/demo"} <= set(cases)
    cases["zoo --help"].ours()()
    with pytest.raises(RuntimeError, match="no-such-verb"):
        startup.process("-m", "zoo", "no-such-verb")()


def test_the_memory_of_a_start_is_that_of_its_process():
    small, large = ("-c", "pass"), ("-c", "b'x' * (50 << 20)")
    case = Case("start", partial(startup.process, *large), {"sys": partial(startup.process, *small)})
    ours, bare = bench.run(case, rounds=1)
    assert 4 < bare.memory < 30  # far less than this process, which holds torch
    assert ours.memory == pytest.approx(bare.memory + 50, abs=5)


def test_a_first_start_finds_nothing_remembered(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    write = "import os, pathlib; pathlib.Path(os.environ['ZOO_CACHE'], 'seen').touch(exist_ok=False)"
    startup.process("-c", write, first=True)()
    startup.process("-c", write, first=True)()
    assert not list(tmp_path.iterdir())
