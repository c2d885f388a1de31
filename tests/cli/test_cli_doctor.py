"""``zoo doctor``: what it finds, and what a recipe would miss."""

import pytest

from zoo.cli import doctor


def test_packages_machine_and_places_are_told(zoo, tmp_path):
    (tmp_path / "data/ltr/mq2008").mkdir(parents=True)
    (tmp_path / "data/ltr/mq2008/Fold1").mkdir()
    result = zoo("doctor", cwd=tmp_path, ZOO_DATA="")
    assert result.returncode == 0, result.stderr
    lines = [line.split() for line in result.stdout.splitlines()]
    for words in (["zoo"], ["torch"], ["processor"], ["cache"], ["ltr/mq2008", "MQ2008", "data/ltr/mq2008"]):
        assert any(line[: len(words)] == words for line in lines), words


def test_an_extra_that_is_absent_is_told_with_how_to_install_it(monkeypatch):
    wanted = ["torch<3,>=2.8", "no-such-package>=1; extra == 'video'", "ruff; extra == 'dev'"]
    monkeypatch.setattr(doctor, "requires", lambda name: wanted)
    rows = dict(doctor.packages())
    assert rows["no-such-package"] == "not installed (pip install 'rankzoo[video]')"
    assert "torch" in rows
    assert "ruff" not in rows


def test_a_recipe_that_has_all_and_one_that_has_not(zoo, tmp_path):
    whole = zoo("doctor", "ltr/demo", cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr
    assert "there  data of MQ2008" in whole.stdout
    lacking = zoo("doctor", "reid/rde_cuhkpedes", cwd=tmp_path, ZOO_DATA="")
    assert lacking.returncode == 2
    assert "missing  data" in lacking.stdout
    assert "looked in data/reid/cuhk_pedes" in lacking.stdout
    assert "reid/rde_cuhkpedes would miss 2 of 2 things here" in lacking.stderr
    unknown = zoo("doctor", "ltr/dmeo", cwd=tmp_path)
    assert unknown.returncode == 2
    assert "did you mean 'ltr/demo'?" in unknown.stderr


@pytest.mark.parametrize("name", ["a.yaml", "nowhere/demo"])
def test_no_such_recipe(zoo, tmp_path, name):
    result = zoo("doctor", name, cwd=tmp_path)
    assert result.returncode == 2
    assert f"there is no recipe '{name}'" in result.stderr
