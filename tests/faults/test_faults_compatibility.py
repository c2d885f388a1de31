"""Released files stay loadable; nothing asks for a network that was not asked to; the lock is what is installed."""

import os
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
import torch

import zoo as package

HERE = Path(__file__).parent
RELEASED = sorted((HERE / "released").glob("*.*"))
SCORES = [-0.0545, -0.0643, -0.0665]  # of the network in each of these files, for the features below


@pytest.mark.parametrize("file", RELEASED, ids=lambda file: file.name)
def test_a_released_file_loads_and_gives_what_it_gave(file):
    module = package.load(file)
    found = module.network(torch.linspace(0, 1, 3 * 46).view(1, 3, 46)).scores
    torch.testing.assert_close(found[0], torch.tensor(SCORES), rtol=0, atol=1e-4)
    assert module.card["version"].startswith("0.1")
    assert module.card["metrics"]["val/ndcg10"] == pytest.approx(0.6810, abs=1e-4)


def test_there_is_a_file_of_every_released_form():
    assert {file.suffix for file in RELEASED} == {".ckpt", ".safetensors"}


def test_a_released_training_goes_on(zoo, tmp_path):
    run = tmp_path / "runs/old"
    run.mkdir(parents=True)
    state = torch.load(HERE / "released/ltr_0.1.ckpt", weights_only=True)
    (run / "recipe.yaml").write_text(state["zoo_recipe"])
    rows = next(callback["rows"] for name, callback in state["callbacks"].items() if "Journal" in name)
    (run / "metrics.csv").write_text("epoch,step,time,train/loss\n" + "0,1,0.1,1.0\n" * rows)
    (run / "last.ckpt").write_bytes((HERE / "released/ltr_0.1.ckpt").read_bytes())
    result = zoo("train", "ltr/demo", "--name", "old", "--trainer.max_epochs", 2, "--resume", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "epoch 2/2" in result.stdout
    assert torch.load(run / "last.ckpt", weights_only=True)["global_step"] == 2 * state["global_step"]


def test_nothing_asks_for_a_network(tmp_path):
    command = [sys.executable, str(HERE / "offline_worker.py"), str(tmp_path / "out.txt")]
    done = subprocess.run(command, cwd=tmp_path, env={**os.environ}, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.txt").read_text() == "status 0\n"


def test_the_audit_sees_a_connection():
    code = (
        f"import sys; sys.path.insert(0, {str(HERE)!r}); import offline_worker, socket\n"
        "s = socket.socket(); s.settimeout(0.01)\n"
        "try: s.connect(('127.0.0.1', 9))\n"
        "except OSError: pass\n"
        "print(offline_worker.ASKED)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200)
    assert "socket.connect (('127.0.0.1', 9),)" in done.stdout, done.stderr


def test_the_lock_names_every_dependency():
    root = HERE.parents[1]
    locked = dict(re.findall(r"^([\w.-]+)==(\S+)$", (root / "constraints.txt").read_text(), re.MULTILINE))
    known = {re.sub(r"[-_.]+", "-", name).lower() for name in locked}
    text = (root / "pyproject.toml").read_text()
    wanted = set(re.findall(r'^ +"([A-Za-z0-9_.-]+)[\[>]', text, re.MULTILINE)) - {"rankzoo"}
    assert len(wanted) > 20
    for name in wanted:
        try:
            version(name)
        except PackageNotFoundError:
            continue
        assert re.sub(r"[-_.]+", "-", name).lower() in known, f"{name} is not in constraints.txt: make lock"
