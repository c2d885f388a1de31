"""Publishing: measured then, with intervals; one checkpoint always gives the same bytes; the row works at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

import zoo
from zoo.checkpoint import card, header
from zoo.cli import main
from zoo.cli.publish import default_name
from zoo.errors import InputError
from zoo.hub import publish
from zoo.hub.rows import write_row

from .conftest import row_of


@pytest.fixture(scope="module")
def published(model_file, tmp_path_factory):
    """The little model, published once."""
    return publish(model_file, "my-ranker", tmp_path_factory.mktemp("published"), licence="MIT", data_licence="none")


def test_the_file_says_how_it_was_measured(published):
    said = card(published.file)
    assert published.file.name == f"my-ranker-{published.row['sha256'][:8]}.safetensors"
    assert said["metrics"]["val/ndcg10"] == 0.5
    value, low, high = said["published"]["metrics"]["ndcg10"]
    assert said["metrics"]["test/ndcg10"] == value
    assert low < value < high
    assert said["published"]["data"] == "ltr/mq2008, test split, made up"
    assert said["published"]["code"].startswith("zoo ")
    assert len(said["published"]["data_version"]) == 16
    assert said["published"]["licence"] == {"weights": "MIT", "data": "none"}
    assert published.measured.values == pytest.approx(zoo.evaluate(published.file), rel=1e-5)
    assert oct(published.file.stat().st_mode & 0o777) == "0o644"


def test_the_row_is_an_index_that_works_at_once(published, monkeypatch, tmp_path):
    monkeypatch.setenv("ZOO_INDEX", str(published.index))
    assert zoo.pretrained("my-ranker") == published.file
    said = str(zoo.load("my-ranker").card)
    assert "my-ranker" in said
    assert "ndcg10 0." in said
    assert "weights: MIT" in said


def test_the_card_has_the_front_matter_of_hugging_face(published):
    _, front, body = published.card.read_text().split("---\n", 2)
    said = yaml.safe_load(front)
    assert said["license"] == "mit"
    assert said["library_name"] == "rankzoo"
    results = said["model-index"][0]["results"][0]
    assert {"type": "ndcg10", "value": published.measured.values["ndcg10"]} in results["metrics"]
    assert "| ndcg10 |" in body
    assert "class_path: zoo.domains.ltr.MLPRanker" in body


@pytest.mark.long
def test_one_checkpoint_gives_the_same_bytes(published, model_file, tmp_path):
    """Also in another process, folder and order of hashing."""
    here = publish(model_file, "my-ranker", tmp_path / "a", licence="MIT", data_licence="none")
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    command = ["publish", str(model_file), "--name", "my-ranker", "--licence", "MIT", "--data-licence", "none"]
    done = subprocess.run(
        [sys.executable, "-m", "zoo", *command], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    there = tmp_path / "published" / published.file.name
    assert here.file.read_bytes() == there.read_bytes() == published.file.read_bytes()
    assert here.card.read_text() == published.card.read_text()
    assert here.row == published.row
    # published again from what was published: only where it came from differs, and that is not in it
    again = publish(there, "my-ranker", tmp_path / "b", licence="MIT", data_licence="none")
    assert again.file.read_bytes() == there.read_bytes()


def test_half_the_size_if_the_figure_holds(published, model_file, tmp_path):
    done = publish(model_file, "half", tmp_path, half=True)
    kinds = {entry["dtype"] for entry in header(done.file)["tensors"].values()}
    assert kinds == {"F16"}
    assert done.file.stat().st_size < 0.75 * published.file.stat().st_size
    assert zoo.load(done.file).network is not None
    assert all(tensor.dtype == torch.float32 for tensor in zoo.load(done.file).state_dict().values())


def test_half_is_refused_where_it_costs(model_file, tmp_path, monkeypatch):
    monkeypatch.setattr("zoo.hub.publishing._halved", lambda state: {k: torch.zeros_like(v) for k, v in state.items()})
    with pytest.raises(InputError, match=r"--half: ndcg10 changes from .* to .* with float16 weights"):
        publish(model_file, "half", tmp_path / "out", half=True)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_what_is_there_is_kept_unless_asked(published, model_file, capsys):
    folder = published.file.parent
    before = published.file.read_bytes()
    assert main(["publish", str(model_file), "--name", "my-ranker", "--out", str(folder)]) == 2
    assert "exists already; pass --overwrite" in capsys.readouterr().err
    assert published.file.read_bytes() == before
    assert not [file for file in folder.iterdir() if file.name.startswith(".")]
    assert main(["publish", str(model_file), "--name", "My Ranker"]) == 2
    assert "small letters" in capsys.readouterr().err


def test_rows_are_written_in_place_between_comments(tmp_path, model_file):
    index = tmp_path / "index.yaml"
    index.write_text("# mine\nmodels:\n# first\nbackbones: []\n")
    for name in ("a", "b"):
        write_row(index, row_of(model_file, name, ["https://host/x"]))
    write_row(index, row_of(model_file, "a", ["https://host/other"]))
    text = index.read_text()
    assert text.startswith("# mine\nmodels:\n# first\n")
    rows = yaml.safe_load(text)["models"]
    assert [(row["name"], row["urls"]) for row in rows] == [("a", ["https://host/other"]), ("b", ["https://host/x"])]
    assert text.rstrip().endswith("backbones: []")
    with pytest.raises(InputError, match=r"models\[2\] \(c\): sha256 must be"):
        write_row(index, row_of(model_file, "c", ["https://host/x"], sha256="x"))
    assert index.read_text() == text


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("runs/anomaly/demo", "anomaly-demo"),
        ("runs/anomaly/demo/best.ckpt", "demo"),
        ("My Model.ckpt", "my-model"),
        ("net-1234abcd.safetensors", "net"),
    ],
)
def test_names_by_default(target, name):
    assert default_name(target) == name


def test_metadata_stands_in_order(published):
    raw = published.file.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    assert length % 8 == 0
    keys = list(json.loads(raw[8 : 8 + length])["__metadata__"])
    assert keys == sorted(keys)
    assert {"zoo_published", "zoo_recipe", "zoo_metrics", "zoo_preprocess", "zoo_classes"} <= set(keys)
    assert Path(published.index).read_text().count("- name: my-ranker") == 1
