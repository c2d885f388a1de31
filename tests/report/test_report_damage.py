"""Run folders whose files were damaged: the page is refused by the name of the file."""

import json

import pytest

from zoo.errors import InputError
from zoo.report import read_run

RESULT = {"data": "ltr/mq2008", "protocol": "standard", "metrics": {"ndcg10": 0.5, "map": None}}
CASES = {
    "recipe.yaml": {
        "": "has no model.class_path",
        "- a": "has no model.class_path",
        "a: [": "cannot be read as yaml",
        "a: \0": "cannot be read as yaml",
        "[" * 5000: "nested too deep",
        "model: {class_path: antigravity.Model}": r"'antigravity.Model' is not imported: .* --trust antigravity",
        "model: {class_path: zoo.none.Model}": "model.class_path zoo.none.Model is no method of the zoo",
    },
    "metrics.csv": {"\0\0": "1: there is no column step", "step,train/loss\n1,abc\n": "column train/loss holds"},
    "evaluation/metrics.json": {
        "": "delete that folder to have the run evaluated again",
        "[1]": "must hold data, protocol and metrics",
        "[" * 5000: "nested too deep",
        json.dumps({**RESULT, "metrics": {"ndcg10": "a"}}): "metric ndcg10 must be a number, got 'a'; delete",
    },
    "evaluation/predictions.csv": {"a,b\n1,2\n": r"gives no figures \(KeyError: .*\); delete that folder"},
}  # fmt: skip


@pytest.fixture
def run(tmp_path):
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "recipe.yaml").write_text("model: {class_path: zoo.domains.ltr.MLPRanker}\n")
    (tmp_path / "metrics.csv").write_text("epoch,step,time,train/loss\n0,1,0.1,\n0,2,0.1,1.5\n")
    (tmp_path / "evaluation/metrics.json").write_text(json.dumps(RESULT))
    (tmp_path / "evaluation/predictions.csv").write_text("\n")
    return tmp_path


def test_a_whole_one_is_read(run):
    assert read_run(run).metrics["ndcg10"] == 0.5


@pytest.mark.parametrize(("name", "content"), [(name, content) for name in CASES for content in CASES[name]])
def test_damage_is_named(name, content, run):
    (run / name).write_text(content)
    with pytest.raises(InputError, match=CASES[name][content]) as caught:
        read_run(run)
    assert str(caught.value).startswith(f"{run / name}:")
    assert "\n" not in str(caught.value)


def test_modules_that_are_trusted_are_imported(run):
    (run / "recipe.yaml").write_text("model: {class_path: argparse.Namespace}")
    with pytest.raises(InputError, match=r"Namespace is no method of the zoo"):
        read_run(run, ["argparse"])


def test_a_recipe_that_is_no_text_is_named(run):
    (run / "recipe.yaml").write_bytes(b"a: \xff")
    with pytest.raises(InputError, match=r"recipe\.yaml: cannot be read as yaml"):
        read_run(run)
