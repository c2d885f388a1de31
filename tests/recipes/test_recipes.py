"""Every recipe is a test: all are free of mistakes; every demo trains, resumes, evaluates, predicts from its file."""

import json
import shutil
import signal
from importlib import import_module
from pathlib import Path

import pandas as pd
import pytest
import yaml

from zoo.checkpoint import load as zoo_load
from zoo.recipe import check, names, read, text

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "recipes").rglob("*.yaml"))
LONG = 4  # epochs of a demo that is killed with fewer of them
DEMOS = sorted(file.parent.name for file in FILES if file.name == "demo.yaml")
LARGE = {"counting", "detection", "outfit", "quality", "reid"}  # of these also make test-long and make evidence-faults
BRIEF = [pytest.param(name, marks=[pytest.mark.long] if name in LARGE else []) for name in DEMOS]


def test_there_are_recipes_and_they_are_found_by_name():
    assert DEMOS
    assert {f"{file.parent.name}/{file.stem}" for file in FILES} <= set(names())


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_recipe_is_free_of_mistakes_and_its_head_tells_what_it_is(file):
    recipe = read(file)
    assert [str(mistake) for mistake in check(recipe, imports=True)] == []
    head = "\n".join(recipe.head).lower()
    for word in ("paper", "hardware", "expected", f"zoo train {file.parent.name}/{file.stem}"):
        assert word in head, f"the head of {file.name} does not say {word!r}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_carried_text_names_every_argument_of_zoo_classes(file):
    carried = yaml.safe_load(text(read(file)))
    assert carried["model"]["init_args"]["monitor"]
    assert {"root", "batch_size", "workers", "limit", "on_error"} <= set(carried["data"]["init_args"])


@pytest.mark.parametrize("domain", DEMOS)
def test_demo_trains(demo, domain):
    folder, result = demo(domain)
    run = folder / "runs" / domain / "demo"
    assert {"recipe.yaml", "metrics.csv", "best.ckpt", "last.ckpt", "pictures"} <= {file.name for file in run.iterdir()}
    assert list(run.glob("events.out.tfevents.*"))
    assert list((run / "pictures").glob("*.png"))
    table = pd.read_csv(run / "metrics.csv")
    assert list(table.columns[:2]) == ["epoch", "step"]
    losses = table["train/loss"].dropna()
    assert losses.iloc[-1] < losses.iloc[0]
    assert "Tip:" not in result.stdout + result.stderr
    assert "epoch 1/" in result.stdout  # no terminal: a plain line per epoch


@pytest.mark.parametrize("domain", BRIEF)
def test_killed_demo_resumes_to_the_same_end(domain, zoo, faulty, evidence, tmp_path):
    epochs = read(f"{domain}/demo").tree["trainer"]["max_epochs"]
    options = ["train", f"{domain}/demo", "--trainer.limit_train_batches", 6]  # every epoch, but not all of its steps
    if epochs > LONG:  # two epochs against one and one
        options += ["--trainer.max_epochs", 2]
    short = zoo(*options, "--name", "short", cwd=tmp_path)
    assert short.returncode == 0, short.stderr
    whole = tmp_path / "runs" / "short"
    options += ["--name", "parts"]
    # the first epoch writes best.ckpt and last.ckpt; the next checkpoint is cut in its middle
    assert faulty("half:3", *options, cwd=tmp_path).returncode == -signal.SIGKILL
    killed = tmp_path / "runs" / "parts"
    assert list(killed.glob(".*.ckpt.*.tmp"))
    kill = evidence("kill")
    assert kill.broken(killed) == []
    resumed = zoo(*options, "--resume", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert kill.compare(whole, killed) == []


@pytest.mark.parametrize("domain", DEMOS)
def test_checkpoint_alone_evaluates_and_predicts_elsewhere(demo, domain, zoo, tmp_path):
    folder, _ = demo(domain)  # moved since it was trained: what pointed there leads nowhere
    alone = tmp_path / "given.ckpt"
    shutil.copy(folder / "runs" / domain / "demo" / "best.ckpt", alone)
    result = zoo("eval", alone, "--json", "--predictions", "rows.csv", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)  # one object and nothing else
    assert set(report) == {"target", "data", "protocol", "metrics"}
    assert all(isinstance(value, float) for value in report["metrics"].values())
    rows = pd.read_csv(tmp_path / "rows.csv")
    assert len(rows) > 1
    method = type(zoo_load(alone))
    measured = method.measured(rows, report["protocol"])
    assert measured == pytest.approx({name: report["metrics"][name] for name in measured}, rel=1e-4)
    assert method.unit in rows
    sample = _sample(domain, zoo, tmp_path)
    predicted = zoo("predict", alone, *sample, cwd=tmp_path)
    assert predicted.returncode == 0, predicted.stderr
    assert len(pd.read_csv(tmp_path / "predictions" / "table.csv")) >= len(sample)
    pictures = {file.name for file in (tmp_path / "predictions").glob("*.png")} - {"overview.png"}
    assert len(pictures) == len(sample)


def _sample(domain: str, zoo, folder: Path) -> list[Path]:
    """Two files that the demo's model takes, out of its made-up data."""
    place = read(f"{domain}/demo").tree["data"]["class_path"]
    module, _, name = place.rpartition(".")
    made = zoo("data", "make", name, "--out", "made", cwd=folder)
    assert made.returncode == 0, made.stderr
    pattern = getattr(import_module(module), name).sample
    assert pattern, f"{name} does not say which of its files can be predicted"
    return sorted((folder / "made").glob(pattern))[:2]


@pytest.mark.parametrize("domain", BRIEF)
def test_demo_exports_or_says_why_not(demo, domain, zoo, tmp_path):
    folder, _ = demo(domain)
    run = folder / "runs" / domain / "demo"
    module = zoo_load(run)
    for form, suffix in (("torch", "pt2"), ("onnx", "onnx")):
        result = zoo("export", run, "--format", form, "--out", f"net.{suffix}", cwd=tmp_path)
        if module.export_refusal:
            assert result.returncode == 2
            assert module.export_refusal in result.stderr
        else:
            assert result.returncode == 0, result.stderr
            assert (tmp_path / f"net.{suffix}").stat().st_size > 0
            assert "equal to eager" in result.stdout
