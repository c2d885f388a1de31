"""The main job as a user runs it: the verbs in subprocesses, on the anomaly demo."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

import zoo as package

ROOT = Path(__file__).resolve().parents[2]
SHORT = ("--trainer.max_epochs", "2")


@pytest.fixture(scope="module")
def run(tmp_path_factory, zoo):
    """A short training of the demo."""
    folder = tmp_path_factory.mktemp("run")
    result = zoo("train", "anomaly/demo", *SHORT, "--name", "short", cwd=folder)
    assert result.returncode == 0, result.stderr
    return folder


def test_a_run_folder_is_not_used_twice(run, zoo):
    before = (run / "runs/short/best.ckpt").read_bytes()
    result = zoo("train", "anomaly/demo", *SHORT, "--name", "short", cwd=run)
    assert result.returncode == 2
    assert "runs/short holds a run; --resume goes on with it, --overwrite deletes it" in result.stderr
    assert "Traceback" not in result.stderr
    assert (run / "runs/short/best.ckpt").read_bytes() == before


def test_resume_refuses_another_recipe_and_names_the_key(run, zoo):
    result = zoo("train", "anomaly/demo", *SHORT, "--name", "short", "--resume", "--model.dropout", "0.1", cwd=run)
    assert result.returncode == 2
    assert "runs/short was trained with another model.dropout" in result.stderr


def test_a_foreign_folder_is_never_deleted(zoo, tmp_path):
    own = tmp_path / "runs/mine"
    own.mkdir(parents=True)
    (own / "thesis.txt").write_text("years of work")
    result = zoo("train", "anomaly/demo", "--name", "mine", "--overwrite", cwd=tmp_path)
    assert result.returncode == 2
    assert "is no run folder" in result.stderr
    assert (own / "thesis.txt").exists()


def test_nothing_to_resume(zoo, tmp_path):
    result = zoo("train", "anomaly/demo", "--resume", cwd=tmp_path)
    assert result.returncode == 2
    assert "nothing to resume: runs/anomaly/demo does not exist" in result.stderr


def test_print_shows_the_resolved_recipe_and_stops(zoo, tmp_path):
    result = zoo("train", "anomaly/demo", "--model.dropout", "0.25", "--print", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "dropout: 0.25" in result.stdout
    assert not (tmp_path / "runs").exists()


def test_missing_data_is_named_and_nothing_is_written(zoo, tmp_path):
    result = zoo("train", "anomaly/demo", "--data.root", "nowhere", cwd=tmp_path)
    assert result.returncode == 2
    assert "nowhere" in result.stderr
    assert not (tmp_path / "runs").exists()


def test_limit_takes_part_of_the_data(zoo, tmp_path):
    result = zoo("train", "anomaly/demo", *SHORT, "--data.limit", "12", cwd=tmp_path)
    assert result.returncode == 0, result.stderr


def test_seeds_give_runs_and_a_table(zoo, tmp_path):
    result = zoo("train", "anomaly/demo", *SHORT, "--name", "many", "--seeds", "0,1", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    table = pd.read_csv(tmp_path / "runs/many/seeds.csv")
    assert list(table["seed"]) == [0, 1]
    assert "deviation" in result.stdout
    weights = [torch.load(tmp_path / f"runs/many/seed{k}/last.ckpt")["state_dict"] for k in (0, 1)]
    assert any(not torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_init_starts_from_trained_weights_and_names_what_does_not_fit(run, zoo, tmp_path):
    target = run / "runs/short"
    frozen = ("--optimizer.lr", "1e-12")
    result = zoo("train", "anomaly/demo", *SHORT, "--init", target, *frozen, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    old = torch.load(target / "best.ckpt")["state_dict"]
    new = torch.load(tmp_path / "runs/anomaly/demo/last.ckpt")["state_dict"]
    for name in old:
        torch.testing.assert_close(new[name], old[name], rtol=0, atol=1e-6)
    result = zoo("train", "anomaly/demo", "--init", target, "--model.features", "32", "--name", "x", cwd=tmp_path)
    assert result.returncode == 2
    assert "network.fc1.weight" in result.stderr
    assert not (tmp_path / "runs/x").exists()


def test_python_api_is_the_same_job(run, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    folder = package.train("anomaly/demo", {"trainer.max_epochs": 2}, name="api")
    assert folder == Path("runs/api")
    by_cli = torch.load(run / "runs/short/last.ckpt")["state_dict"]
    by_api = torch.load(folder / "last.ckpt")["state_dict"]
    assert all(torch.equal(by_api[name], by_cli[name]) for name in by_cli)
    metrics = package.evaluate(folder)
    assert 0 <= metrics["auc"] <= 1
    module = package.load(folder)
    assert not module.training
    assert module.class_names
    assert module.card["metrics"]
    with pytest.raises(package.errors.InputError, match="holds a run"):
        package.train("anomaly/demo", {"trainer.max_epochs": 2}, name="api")


def test_two_processes_evaluate_like_one(run, zoo):
    target = run / "runs/short"
    one = zoo("eval", target, "--json", "--predictions", "one.csv", cwd=run)
    ddp = ("--trainer.accelerator", "cpu", "--trainer.devices", "2", "--trainer.strategy", "ddp")
    two = zoo("eval", target, "--json", "--predictions", "two.csv", *ddp, cwd=run)
    assert two.returncode == 0, two.stderr
    told = two.stdout[two.stdout.find("{") :]  # gloo of torch 2.8 writes a line of its own before it
    assert json.loads(told)["metrics"] == json.loads(one.stdout)["metrics"]
    tables = [pd.read_csv(run / name) for name in ("one.csv", "two.csv")]
    pd.testing.assert_frame_equal(*tables)


def test_two_processes_learn_like_one(zoo, tmp_path):
    steady = ("--model.dropout", "0.0", *SHORT)
    half = ("--trainer.accelerator", "cpu", "--trainer.devices", "2", "--trainer.strategy", "ddp")
    batch = json.loads(zoo("train", "anomaly/demo", "--print", cwd=tmp_path).stdout.split("batch_size: ")[1].split()[0])
    runs = []
    for name, extra in (("one", ("--data.batch_size", batch)), ("two", ("--data.batch_size", batch // 2, *half))):
        result = zoo("train", "anomaly/demo", *steady, "--name", name, *extra, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        runs.append(pd.read_csv(tmp_path / "runs" / name / "metrics.csv").drop(columns="time"))
    pd.testing.assert_frame_equal(*runs, check_exact=False, rtol=1e-5, atol=1e-5)


def test_killed_at_hard_moments_it_ends_the_same(run, zoo, faulty, evidence, tmp_path):
    """Inside a step, after a row, around a checkpoint's rename, and one of the loader processes."""
    kill, killed = evidence("kill"), tmp_path / "runs/killed"
    options = ("train", "anomaly/demo", *SHORT, "--name", "killed")
    for index, fault in enumerate(("step:9", "row:3", "flushed:1", "renamed:2")):
        result = faulty(fault, *options, *("--resume",)[: index > 0], cwd=tmp_path)
        assert result.returncode == -signal.SIGKILL, result.stderr
        assert kill.broken(killed) == []
    result = faulty("worker:3", *options, "--resume", "--data.workers", "2", cwd=tmp_path)
    assert result.returncode == 1
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error:")]
    assert re.fullmatch(r"error: a data loader process died \(.+\); --resume goes on from runs/killed/last.ckpt", line)
    assert kill.broken(killed) == []
    result = zoo(*options, "--resume", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert kill.compare(run / "runs/short", killed) == []


def test_predict_names_the_file_that_cannot_be_used_and_keeps_the_others(run, zoo, tmp_path):
    made = zoo("data", "make", "ucf_crime", "--out", "made", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    good = sorted((tmp_path / "made").glob("**/Normal_Videos*.txt"))[0]
    bad = tmp_path / "bad.txt"
    bad.write_text("1.0 2.0\n")
    result = zoo("predict", run / "runs/short", good, bad, "--out", "out", cwd=tmp_path)
    assert result.returncode == 2
    assert "bad.txt" in result.stderr
    assert "1 of 2 inputs cannot be used; the other 1 are in out/table.csv" in result.stderr
    assert set(pd.read_csv(tmp_path / "out/table.csv")["file"]) == {str(good)}


def test_predict_takes_folders_globs_and_lists(run, zoo, tmp_path):
    zoo("data", "make", "ucf_crime", "--out", "made", cwd=tmp_path)
    files = sorted((tmp_path / "made").glob("**/Normal_Videos*.txt"))[:3]
    (tmp_path / "folder").mkdir()
    for file in files:
        shutil.copy(file, tmp_path / "folder")
    (tmp_path / "list.csv").write_text("file\n" + "".join(f"folder/{file.name}\n" for file in files))
    tables = []
    for index, given in enumerate(("folder", "folder/*.txt", "list.csv")):
        result = zoo("predict", run / "runs/short", given, "--out", f"out{index}", cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        tables.append(pd.read_csv(tmp_path / f"out{index}/table.csv"))
    pd.testing.assert_frame_equal(tables[0], tables[1])
    assert len(tables[2]) == len(tables[0])


def test_interrupt_saves_and_says_how_to_go_on(zoo, tmp_path):
    command = [sys.executable, "-m", "zoo", "train", "anomaly/demo", "--trainer.max_epochs", "500"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ}
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("epoch 3/"):
            break
    process.terminate()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "--resume goes on from it" in errors
    assert "Traceback" not in errors
    last = torch.load(tmp_path / "runs/anomaly/demo/last.ckpt")
    assert last["global_step"] > 0
