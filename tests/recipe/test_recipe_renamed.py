"""Renamed arguments: the old name in files, options and checkpoints, and when it is a mistake."""

from __future__ import annotations

import pytest

from zoo.recipe import renamed
from zoo.recipe.checking import static
from zoo.recipe.recipe import read_text
from zoo.recipe.renamed import Renamed
from zoo.recipe.trust import Trust


@pytest.fixture
def rows(workshop, monkeypatch):
    """``breadth`` of Net became ``width``, ``steepness`` of the base of Steep ``slope``."""
    found = [
        Renamed(f"{workshop.module}.Net", "breadth", "width", "0.1.0", "9.0.0"),
        Renamed(f"{workshop.module}.Steep", "steepness", "slope", "0.1.0", "9.0.0"),
    ]
    monkeypatch.setattr(renamed, "RENAMED", found)
    return found


def test_old_names_in_a_file_are_read_and_told(workshop, rows):
    text = workshop.change("    width: 3", "    breadth: 3").replace("slope: 2", "steepness: 2")
    recipe = workshop.read(text)
    assert static(recipe).mistakes == []
    assert recipe.tree["model"]["init_args"]["width"] == 3
    assert recipe.tree["model"]["init_args"]["loss"]["init_args"]["inner"]["init_args"] == {"slope": 2}
    line = workshop.line(text, "breadth")
    assert recipe.notes == [
        f"recipe.yaml:{line}: Net's 'breadth' is called 'width' since 0.1.0; it is taken until 9.0.0",
        f"recipe.yaml:{workshop.line(text, 'steepness')}: Steep's 'steepness' is called 'slope' since 0.1.0; "
        "it is taken until 9.0.0",
    ]


@pytest.mark.parametrize("written", ["width: 3", "breadth: 3"])
def test_an_option_by_the_old_name_changes_the_same_argument(workshop, rows, written):
    text = workshop.change("width: 3", written)
    recipe = workshop.read(text, [("model.breadth", "7"), ("model.loss.inner.steepness", "5")])
    assert static(recipe).mistakes == []
    assert recipe.tree["model"]["init_args"]["width"] == 7
    assert recipe.tree["model"]["init_args"]["loss"]["init_args"]["inner"]["init_args"]["slope"] == 5
    assert any(note.startswith("--model.breadth: Net's 'breadth' is called 'width'") for note in recipe.notes)


def test_subclasses_inherit_a_renaming(workshop, rows, python):
    name = python(f"from {workshop.module} import Net\n\n\nclass Wider(Net):\n    pass\n")
    text = workshop.change("width: 3", "breadth: 3").replace("class_path: MODULE.Net", f"class_path: {name}.Wider")
    recipe = workshop.read(text)
    assert static(recipe).mistakes == []
    assert recipe.tree["model"]["init_args"]["width"] == 3


def test_old_beside_new_is_a_mistake(workshop, rows):
    text = workshop.change("    width: 3", "    width: 3\n    breadth: 4")
    assert workshop.seen(text) == [
        f"recipe.yaml:{workshop.line(text, 'breadth')}: Net's 'breadth' is called 'width' since 0.1.0; here are both"
    ]


def test_after_its_time_the_old_name_is_a_mistake_that_names_the_new_one(workshop, rows, monkeypatch):
    monkeypatch.setattr(renamed, "__version__", "9.0.0")
    text = workshop.change("width: 3", "breadth: 3")
    assert workshop.seen(text) == [
        f"recipe.yaml:{workshop.line(text, 'breadth')}: Net's 'breadth' is called 'width' since 0.1.0"
    ]
    assert workshop.seen(workshop.sample, [("model.breadth", "3")]) == [
        "--model.breadth: Net's 'breadth' is called 'width' since 0.1.0"
    ]


def test_a_name_that_belongs_to_another_class_stays_wrong(workshop, rows):
    text = workshop.change("slope: 2", "breadth: 2")
    assert any("Steep takes no 'breadth'" in mistake for mistake in workshop.seen(text))


def test_what_a_checkpoint_carries_is_read_for_ever_and_in_silence(workshop, rows, monkeypatch):
    monkeypatch.setattr(renamed, "__version__", "99.0.0")
    text = (
        "model:\n  class_path: zoo.domains.ltr.MLPRanker\n  init_args:\n    loss: zoo.ranking.Hinge\n"
        "    monitor: val/ndcg10\n    mode: max\ndata:\n  class_path: zoo.domains.ltr.MQ2008\n"
    )
    monkeypatch.setattr(
        renamed, "RENAMED", [Renamed("zoo.domains.ltr.module.MLPRanker", "loss", "ranking", "0.1.0", "0.3.0")]
    )
    recipe = read_text(text, "old", "old.ckpt", Trust(whole=False), ())
    assert recipe.notes == []
    assert recipe.found == []
    assert recipe.tree["model"]["init_args"]["ranking"]["class_path"] == "zoo.ranking.Hinge"
