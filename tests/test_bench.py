import time

import pytest

from zoo import bench
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


def test_unknown_domains():
    with pytest.raises(InputError, match="no domain 'nothing'"):
        bench.cases("nothing")


def test_the_command_prints_a_table_and_writes_json(zoo, tmp_path):
    import json

    result = zoo("bench", "ltr", "--rounds", 1, "--json", "bench.json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "peer / zoo" in result.stdout
    rows = json.loads((tmp_path / "bench.json").read_text())
    assert {row["who"] for row in rows} == {"zoo"}
    assert all(row["seconds"] > 0 for row in rows)
    wrong = zoo("bench", "ltr", "--against", "allrank", cwd=tmp_path)
    assert wrong.returncode == 2
    assert "known peers of ltr are none" in wrong.stderr
