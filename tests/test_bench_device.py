"""The bench on a GPU: what can be told without one."""

import json

import pytest
import torch

from zoo import bench
from zoo.bench import timing
from zoo.bench.place import place, placed_on
from zoo.errors import InputError, ZooError
from zoo.training.speed import Case


def test_cases_build_where_they_are_placed():
    case = next(case for case in bench.cases("losses", device="cuda") if case.name == "AUC hinge, n = 256")
    with placed_on("meta"):
        found = case.ours()()
    assert [x.device.type for x in found] == ["meta", "meta"]
    assert place() == torch.device("cpu")


def test_the_products_are_a_floor_and_not_compared():
    case = next(case for case in bench.cases("losses") if case.name.startswith("TAL both ways, N = 256"))
    floor = case.peers["torch (products)"]()
    assert floor() is None
    case.agree((torch.ones(()), torch.ones(2)), None)
    large = {
        device: [c for c in bench.cases("losses", device=device) if "32,768" in c.name] for device in ("cpu", "cuda")
    }
    assert [list(c.peers) for c in large["cpu"]] == [[], [], []]
    assert [list(c.peers) for c in large["cuda"]] == [["torch (products)"]] * 3


def test_subjects_without_a_gpu_form_are_told():
    with pytest.raises(InputError, match="zoo bench startup is for the cpu; on cuda there are losses, layers"):
        bench.cases("startup", device="cuda")
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match=r"--device cuda: this torch .* sees no GPU"):
            bench.check_device("cuda")


def test_a_peer_that_fails_is_a_result_and_ours_is_not(monkeypatch):
    def broken():
        raise RuntimeError("expected all tensors on one device\nmore")

    monkeypatch.setattr(timing, "_memory", lambda build, limit: build() and 0.0)
    case = Case("x", lambda: lambda: 1, {"torch": broken})
    ours, lost = bench.run(case, rounds=1)
    assert (ours.who, lost.note) == ("zoo", "fails: expected all tensors on one device")
    with pytest.raises(RuntimeError, match="one device"):
        bench.run(Case("x", broken), rounds=1)


def test_memory_that_is_not_enough_for_all_is_told():
    def lacking():
        def work():
            raise torch.OutOfMemoryError("no more")

        return work

    with pytest.raises(ZooError, match="x: out of memory"):
        bench.run(Case("x", lacking), rounds=1)


def test_a_disagreement_leaves_the_other_cases_their_figures(monkeypatch, tmp_path, capsys):
    from zoo.cli import main

    def refuse(ours, peer):
        raise AssertionError("1 against 2")

    good, bad = Case("good", lambda: lambda: 1), Case("bad", lambda: lambda: 1, {"torch": lambda: lambda: 2}, refuse)
    monkeypatch.setattr(bench, "cases", lambda *_: [bad, good])
    assert main(["bench", "losses", "--rounds", "1", "--json", str(tmp_path / "found.json")]) == 1
    assert "bad: torch gives another result than zoo: 1 against 2" in capsys.readouterr().err
    assert [row["case"] for row in json.loads((tmp_path / "found.json").read_text())] == ["good"]
