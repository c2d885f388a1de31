"""``zoo init``: for each domain a recipe for data in a user's own layout, which passes the check and trains."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from zoo.cli import main
from zoo.starts import DOMAINS, Place, batch_of, domains, epochs_of, start_of

OWN = {
    "anomaly": "VideoTable",
    "calibration": "ImageFolder",
    "counting": "PointTable",
    "detection": "BoxesCSV",
    "ltr": "LetorFiles",
    "outfit": "OutfitCSV",
    "quality": "ScoredImages",
    "reid": "ImageText",
}
OTHERS = [
    ("calibration", "ImageTable"),
    ("counting", "BoxTable"),
    ("counting", "PointsJSON"),
    ("detection", "COCOFormat"),
    ("detection", "VOCFormat"),
    ("detection", "YOLOFormat"),
    ("ltr", "MQ2008"),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder in the layout of a data class, ``made("counting", "PointTable")``; written once."""
    done: dict[str, Path] = {}

    def get(domain: str, name: str) -> Path:
        if name not in done:
            done[name] = tmp_path_factory.mktemp(name)
            getattr(import_module(f"zoo.domains.{domain}"), name)(synthesize=True).make(done[name])
        return done[name]

    return get


def test_every_domain_declares_a_start():
    folders = sorted(file.parent.name for file in DOMAINS.glob("*/module.py"))
    assert domains() == folders == sorted(OWN)


@pytest.mark.parametrize("subject", sorted(OWN))
def test_the_recipe_passes_the_check_and_trains(subject, made, zoo, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(made(subject, OWN[subject]), tmp_path / "mine")
    assert main(["init", subject, "--data", "mine"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"{OWN[subject]}: ")
    assert f"zoo train {subject}.yaml" in said
    text = (tmp_path / f"{subject}.yaml").read_text()
    tree = yaml.safe_load(text)
    assert tree["data"]["class_path"] == f"zoo.domains.{subject}.{OWN[subject]}"
    assert tree["data"]["init_args"]["root"] == "mine"
    assert str(tmp_path) not in text
    assert sum("  # " in line for line in text.splitlines()) > 8
    assert re.findall(r"\{(?!split)\w+\}", text) == []  # nothing was left open
    assert main(["check", f"{subject}.yaml"]) == 0
    assert capsys.readouterr().out.strip() == f"{subject}.yaml: ok"
    short = ("--trainer.max_epochs", 1, "--trainer.limit_train_batches", 2, "--data.limit", 40)
    done = zoo("train", f"{subject}.yaml", *short, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs" / subject / "best.ckpt").is_file()


@pytest.mark.parametrize(("subject", "name"), OTHERS)
def test_other_layouts_are_known_by_their_files(subject, name, made, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder = made(subject, name)
    assert main(["init", subject, "--data", str(folder), "--out", "mine.yaml"]) == 0
    assert capsys.readouterr().out.startswith(f"{name}: ")
    data = yaml.safe_load((tmp_path / "mine.yaml").read_text())["data"]
    assert data["class_path"] == f"zoo.domains.{subject}.{name}"
    assert data["init_args"]["root"] == folder.as_posix()  # the user gave it so


def test_folders_of_classes_need_no_train_folder(made, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(made("calibration", "ImageFolder") / "train", tmp_path / "photos")
    assert main(["init", "calibration", "--data", "photos"]) == 0
    assert "there is a folder for each of" in capsys.readouterr().out
    tree = yaml.safe_load((tmp_path / "calibration.yaml").read_text())
    assert tree["model"]["init_args"]["classes"] == len(list((tmp_path / "photos").iterdir()))


def test_a_table_of_another_name_is_named(made, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(made("quality", "ScoredImages"), tmp_path / "mine")
    (tmp_path / "mine" / "scores.csv").rename(tmp_path / "mine" / "votes.csv")
    assert main(["init", "quality", "--data", "mine/votes.csv", "--out", "sub/q.yaml"]) == 0
    capsys.readouterr()
    arguments = yaml.safe_load((tmp_path / "sub" / "q.yaml").read_text())["data"]["init_args"]
    assert (arguments["root"], arguments["table"]) == ("mine", "votes.csv")


def test_queries_of_one_file_and_any_number_of_features(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    lines = [f"{doc % 5} qid:{query} 1:0.{doc} 2:0.{query}\n" for query in range(1, 9) for doc in range(5)]
    (tmp_path / "mine.txt").write_text("".join(lines))
    assert main(["init", "ltr", "--data", "mine.txt"]) == 0
    assert "val and test queries are held out" in capsys.readouterr().out
    tree = yaml.safe_load((tmp_path / "ltr.yaml").read_text())
    assert tree["model"]["init_args"]["features"] == 2
    given = tree["data"]["init_args"]
    assert (given["features"], given["grades"], given["val"], given["test"]) == (2, 5, None, None)
    assert "runs/ltr" in (tmp_path / "ltr.yaml").read_text()


def test_a_layout_that_does_not_fit_shows_those_that_do(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "list.csv").write_text("photo,points\na.jpg,3\n")
    assert main(["init", "detection", "--data", "mine"]) == 2
    said = capsys.readouterr().err
    assert "mine: has none of the layouts that detection takes (there is list.csv (columns photo, points))" in said
    for layout in start_of("detection").layouts:
        assert layout.title in said
        assert layout.example.splitlines()[0] in said
    assert not (tmp_path / "detection.yaml").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["countin", "--data", "."], "there is no domain 'countin'; did you mean 'counting'?"),
        (["counting", "--data", "Nowhere"], "--data Nowhere: there is no such folder or file"),
        (["counting", "--data", "Empty"], "--data Empty: the folder is empty"),
        (["counting", "--data", "empty"], "did you mean Empty?"),
        (["counting"], "--data"),
        (["counting", "--data", ".", "--out", "x.txt"], "--out x.txt: a recipe's name ends in .yaml"),
        (["counting", "--data", ".", "--out", "there.yaml"], "there.yaml: exists already; pass --overwrite"),
    ],
)
def test_mistakes_are_told(arguments, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Empty").mkdir()
    (tmp_path / "there.yaml").write_text("mine\n")
    assert main(["init", *arguments]) == 2
    assert says in capsys.readouterr().err
    assert (tmp_path / "there.yaml").read_text() == "mine\n"


def test_data_that_cannot_be_read_is_told_by_file_and_line_and_nothing_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.txt").write_text("1 qid:1 1:0.1 2:0.2\n0 qid:1 1:0.1 2:x\n")
    assert main(["init", "ltr", "--data", "mine.txt"]) == 2
    assert "mine.txt:2: feature 2 has the value 'x'" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.yaml"))
    assert not list(tmp_path.glob(".ltr*"))


def test_a_relative_folder_that_a_recipe_would_look_up_elsewhere(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_DATA", str(tmp_path / "elsewhere"))
    for folder in (tmp_path / "mine", tmp_path / "elsewhere" / "mine"):
        folder.mkdir(parents=True)
        (folder / "points.csv").write_text("image,x,y\n")
    assert main(["init", "counting", "--data", "mine"]) == 2
    assert f"because ZOO_DATA goes first; give the whole path: --data {tmp_path / 'mine'}" in capsys.readouterr().err


def test_a_look_costs_no_torch(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.csv").write_text("b,c\n")
    program = (
        "import sys\nfrom zoo.starts import Place, domains, start_of\nfrom pathlib import Path\n"
        "for name in domains():\n    for layout in start_of(name).layouts:\n"
        "        assert layout.fits(Place(Path('mine'))) is None\nassert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_numbers_follow_the_size_of_the_data():
    assert [batch_of(items) for items in (3, 20, 100, 1000)] == [2, 2, 8, 32]
    assert batch_of(1) == 1
    assert epochs_of(10, 2) == 100
    assert epochs_of(100_000, 32) == 5


def test_heads_of_tables_are_read_whatever_their_delimiter(tmp_path):
    (tmp_path / "a.csv").write_bytes("\ufeffimage; x ;y\n1;2;3\n".encode())
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00")
    place = Place(tmp_path)
    assert place.head("a.csv") == ["image", "x", "y"]
    assert place.head("b.csv") == []
    assert place.tables("b.csv") == ["b.csv", "a.csv"]
