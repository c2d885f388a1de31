"""``zoo show`` and ``zoo check`` on recipes made by the test, in a folder of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from zoo.cli import main
from zoo.cli.show import is_target, plain, size

GOOD = """\
# A toy.
# zoo train mine
seed_everything: 3
model:
  class_path: zoo_cli_toy.ToyModule
data:
  class_path: zoo_cli_toy.ToyData
  init_args:
    size: ${seed_everything}
optimizer:
  class_path: torch.optim.SGD
  init_args:
    lr: 0.1
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy = Path(__file__).parents[1] / "training" / "toy.py"
    (tmp_path / "zoo_cli_toy.py").write_text(toy.read_text())
    (tmp_path / "good.yaml").write_text(GOOD)
    (tmp_path / "bad.yaml").write_text(GOOD.replace("size:", "sise:").replace("lr:", "lrr:"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))


def run(capsys, *argv: str) -> tuple[int, list[str], list[str]]:
    code = main(list(argv))
    out, err = capsys.readouterr()
    return code, out.splitlines(), err.splitlines()


def test_show_recipe(capsys):
    code, out, err = run(capsys, "show", "good.yaml")
    assert (code, err) == (0, [])
    assert out[:3] == ["# good.yaml", "# A toy.", "# zoo train mine"]
    assert yaml.safe_load("\n".join(out))["data"]["init_args"]["size"] == 3  # what it prints is a recipe again


def test_show_recipe_with_mistakes(capsys):
    code, out, err = run(capsys, "show", "bad.yaml")
    assert (code, out) == (2, [])
    assert [line.split(":")[:2] for line in err] == [["bad.yaml", "9"], ["bad.yaml", "13"]]
    assert "'size'" in err[0]


def test_check_good(capsys):
    assert run(capsys, "check", "good.yaml") == (0, ["good.yaml: ok"], [])


def test_check_names_all_mistakes_of_all(capsys):
    code, out, err = run(capsys, "check", "bad.yaml", "good.yaml", "nowhere")
    assert (code, out) == (2, ["good.yaml: ok"])
    assert [line.split(":")[:2] for line in err[:2]] == [["bad.yaml", "9"], ["bad.yaml", "13"]]
    assert err[2].startswith("error: there is no recipe 'nowhere'")
    assert err[3:] == ["error: 2 of 3 recipes cannot be used"]


def test_check_folder(capsys):
    code, out, err = run(capsys, "check", ".")
    assert (code, out) == (2, ["good.yaml: ok"])
    assert err[-1] == "error: 1 of 2 recipes cannot be used"


def test_check_folder_without_recipes(capsys):
    Path("empty").mkdir()
    assert run(capsys, "check", "empty") == (2, [], ["error: empty: this folder holds no recipe (*.yaml)"])


def test_check_pattern_of_names(capsys):
    folder = Path("recipes/toy")
    folder.mkdir(parents=True)
    (folder / "one.yaml").write_text(GOOD)
    (folder / "two.yaml").write_text(GOOD)
    code, out, _ = run(capsys, "check", "toy/*", "toy/one")
    assert (code, out) == (0, ["recipes/toy/one.yaml: ok", "recipes/toy/two.yaml: ok"])
    assert run(capsys, "check", "zebra/*")[2] == ["error: no recipe matches 'zebra/*'; see: zoo list recipes"]


def test_check_overrides(capsys):
    code, out, err = run(capsys, "check", "good.yaml", "--data.sise", "3", "--trainer.max_epoch=3")
    assert (code, out) == (2, [])
    assert [line.partition(":")[0] for line in err] == ["--data.sise", "--trainer.max_epoch"]
    assert run(capsys, "check", "--data.size", "5", "good.yaml")[0] == 0


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("good.yaml", False),
        ("toy/demo", False),
        ("nowhere.yaml", False),
        ("nowhere.ckpt", True),
        ("x.safetensors", True),
        ("runs/nowhere", True),
        ("run", True),
        ("toy", True),
        ("zoo_cli_toy.py", True),
    ],
)
def test_what_is_meant(text, target):
    Path("run").mkdir()
    Path("run/best.ckpt").write_bytes(b"")
    Path("toy").mkdir()
    assert is_target(text) is target


def test_a_recipe_whose_name_is_also_a_folder_stays_a_recipe():
    Path("recipes").mkdir()
    Path("recipes/toy.yaml").write_text(GOOD)
    Path("toy").mkdir()
    assert not is_target("toy")
    Path("toy/best.ckpt").write_bytes(b"")
    assert is_target("toy")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["show", "nowhere.ckpt"], "error: nowhere.ckpt: there is no such checkpoint"),
        (["show", "nowhere"], "error: there is no recipe 'nowhere'"),
        (["show", "zoo_cli_toy.py"], "error: zoo_cli_toy.py: is no checkpoint of zoo"),
    ],
)
def test_nothing_there(capsys, argv, message):
    code, out, err = run(capsys, *argv)
    assert (code, out) == (2, [])
    assert err[0].startswith(message)


def test_show_ckpt(capsys):
    import torch

    torch.save(
        {
            "state_dict": {"network.a.weight": torch.zeros(3, 2), "network.b.running_mean": torch.zeros(5)},
            "zoo_recipe": "model:\n  class_path: zoo_cli_toy.ToyModule\n",
            "zoo_version": "0.1.0",
            "zoo_classes": ["a", "b"],
            "zoo_metrics": {"val/error": 0.25},
            "zoo_preprocess": {},
        },
        "best.ckpt",
    )
    for target in ("best.ckpt", "."):
        code, out, _ = run(capsys, "show", target)
        assert code == 0
        said = dict(line.split(maxsplit=1) for line in out[:8])
        assert said["model"] == "ToyModule"
        assert said["parameters"] == "6 in 2 tensors, and 5 other values"
        assert said["metrics"] == "val/error 0.25"
        assert said["classes"] == "2: a, b"


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (8_456_000, "8.46 MB"), (999_999, "1 MB"), (5 * 10**15, "5e+03 TB")],
)
def test_size(count, text):
    assert size(count) == text


def test_plain():
    assert plain("a\tb\x1b[1m\nü") == "a\\tb\\x1b[1m\nü"
