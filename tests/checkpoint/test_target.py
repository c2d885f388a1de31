"""From what a user names to a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from zoo.checkpoint import locate
from zoo.errors import InputError


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("anomaly/demo/best.ckpt", "anomaly/demo/last.ckpt", "counting/demo/last.ckpt"):
        path = Path("runs", name)
        path.parent.mkdir(parents=True) if not path.parent.exists() else None
        path.write_bytes(b"x")
    for seed in range(3):
        path = Path(f"runs/reid/three/seed{seed}/best.ckpt")
        path.parent.mkdir(parents=True)
        path.write_bytes(b"x")
    return Path("runs")


def refusal(target: str | Path) -> str:
    with pytest.raises(InputError) as caught:
        locate(target)
    return str(caught.value)


def test_files_and_run_folders_are_found(runs: Path) -> None:
    assert locate("runs/anomaly/demo") == runs / "anomaly/demo/best.ckpt"
    assert locate(runs / "anomaly/demo/") == runs / "anomaly/demo/best.ckpt"
    assert locate("runs/anomaly/demo/last.ckpt") == runs / "anomaly/demo/last.ckpt"
    Path("published.safetensors").write_bytes(b"x")
    assert locate("published.safetensors") == Path("published.safetensors")


def test_a_home_folder_is_expanded(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(Path.cwd()))
    assert locate("~/runs/anomaly/demo") == Path.cwd() / "runs/anomaly/demo/best.ckpt"


def test_a_run_without_best_says_how_to_name_the_last(runs: Path) -> None:
    assert refusal("runs/counting/demo").endswith("name runs/counting/demo/last.ckpt")


def test_a_folder_of_seeds_names_them(runs: Path) -> None:
    message = refusal("runs/reid/three")
    assert "several seeds" in message
    assert "runs/reid/three/seed0, runs/reid/three/seed1, runs/reid/three/seed2" in message


def test_a_folder_of_runs_names_them(runs: Path) -> None:
    message = refusal("runs")
    assert "a folder of runs" in message
    assert "runs/anomaly/demo, runs/counting/demo, runs/reid/three/seed0" in message


def test_a_folder_of_files_names_them(tmp_path: Path) -> None:
    (tmp_path / "b.safetensors").write_bytes(b"x")
    (tmp_path / "a.ckpt").write_bytes(b"x")
    assert refusal(tmp_path).endswith(f"name a file in it: {tmp_path}/a.ckpt, {tmp_path}/b.safetensors")


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    assert refusal(tmp_path) == f"{tmp_path}: holds no checkpoint; a run folder holds best.ckpt"


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("runs/anomaly/demoo", "did you mean runs/anomaly/demo?"),
        ("runs/anomoly/demo", "did you mean runs/anomaly/demo"),
        ("anomaly/demo", "did you mean runs/anomaly/demo?"),
        ("runs/anomaly/demo/bset.ckpt", "did you mean runs/anomaly/demo/best.ckpt"),
    ],
)
def test_a_misspelling_names_the_nearest(runs: Path, wrong: str, right: str) -> None:
    assert right in refusal(wrong)


def test_nothing_near_says_what_a_target_is(runs: Path) -> None:
    assert refusal("zzzzzz") == (
        "zzzzzz: there is no such checkpoint; name a .ckpt, a .safetensors or the folder of a run"
    )


def test_other_files_say_what_to_do(tmp_path: Path) -> None:
    for name, hint in (("weights.pth", "zoo convert RECIPE"), ("w.mat", "zoo convert RECIPE"), ("r.yaml", "zoo train")):
        (tmp_path / name).write_bytes(b"x")
        assert hint in refusal(tmp_path / name)


@pytest.mark.parametrize("target", ["", "  ", "x" * 5000, "a\0b"])
def test_impossible_names_are_refused(target: str) -> None:
    assert refusal(target)
