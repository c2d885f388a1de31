"""Where recipes are found, how they are called, and files that cannot be read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from zoo.errors import InputError
from zoo.recipe import check, find, names, read, source


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder, a wheel's folder and one beside an editable install, each with recipes."""
    for folder, recipes in {
        "here/recipes": ["a/one", "a/two"],
        "wheel/_recipes": ["a/two", "b/three"],
        "editable/recipes": ["b/three", "c/four"],
    }.items():
        for name in recipes:
            file = tmp_path / folder / f"{name}.yaml"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"# {folder}\n")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(
        source, "folders", lambda: [Path("recipes"), tmp_path / "wheel/_recipes", tmp_path / "editable/recipes"]
    )
    return tmp_path


def test_the_nearest_of_equal_names_wins(places: Path) -> None:
    found = {name: path.read_text() for name, path in names().items()}
    assert found == {
        "a/one": "# here/recipes\n",
        "a/two": "# here/recipes\n",
        "b/three": "# wheel/_recipes\n",
        "c/four": "# editable/recipes\n",
    }
    for name in found:
        assert find(name).read_text() == found[name]


def test_paths_go_before_names(places: Path) -> None:
    Path("mine.yaml").write_text("# mine\n")
    Path("a").mkdir()
    Path("a/two.yaml").write_text("# beside\n")
    assert find("mine.yaml") == Path("mine.yaml")
    assert find("mine") == Path("mine.yaml")
    assert find("a/two").read_text() == "# beside\n"
    assert find(Path("recipes/a/two.yaml")).read_text() == "# here/recipes\n"
    assert find("recipes/a/two").read_text() == "# here/recipes\n"
    assert find(places / "editable/recipes/c/four.yaml").is_absolute()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a/on", "there is no recipe 'a/on'; did you mean 'a/one' or 'a/two'?"),
        ("four", "there is no recipe 'four'; did you mean 'c/four'?"),
        ("fuor", "there is no recipe 'fuor'"),
        ("recipes/a/twoo.yaml", "there is no recipe 'recipes/a/twoo.yaml'; did you mean 'a/two'?"),
        ("qqqqqq", "there is no recipe 'qqqqqq'; see: zoo list recipes"),
        ("recipes", "recipes is a folder; name a recipe file, or one of: zoo list recipes"),
        ("", "a recipe needs a name or a path"),
        ("a\0b", "a recipe needs a name or a path"),
    ],
)
def test_what_is_not_there_is_an_input_error(places: Path, name: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        find(name)
    assert str(caught.value).startswith(message)
    assert caught.value.exit_code == 2


def test_names_and_origins(places: Path) -> None:
    Path("mine.yaml").write_text("model: 1\n")
    assert (read("a/one").name, read("a/one").origin) == ("a/one", "recipes/a/one.yaml")
    assert (read("mine.yaml").name, read("mine.yaml").origin) == ("mine", "mine.yaml")
    assert read("./mine.yaml").origin == "mine.yaml"
    four = places / "editable/recipes/c/four.yaml"
    assert (read("c/four").name, read("c/four").origin) == ("c/four", str(four))
    os.chdir(places / "here/recipes")
    assert read("a/one.yaml").name == "a/one"


def test_unreadable_files(places: Path) -> None:
    Path("bytes.yaml").write_bytes(b"model: 1\nx: \xff\xfe\n")
    assert [str(m) for m in check(read("bytes.yaml"))] == ["bytes.yaml:2: this is no UTF-8 text (byte 0xff)"]
    Path("marked.yaml").write_bytes("\ufeffmodel: {class_path: 3}\r\ndata: 3\r\n".encode())
    assert [m.place.line for m in check(read("marked.yaml"))] == [1, 2]
    Path("huge.yaml").write_bytes(b"# x\n" * 2_000_000)
    with pytest.raises(InputError, match=r"huge\.yaml: too large for a recipe \(8000000 bytes\)"):
        read("huge.yaml")
    Path("large.yaml").write_bytes(b"a: 1\n" * 300_000)
    assert [str(m) for m in check(read("large.yaml"))] == ["large.yaml:1: too large: more than 1000000 characters"]


def test_the_head_is_kept(places: Path) -> None:
    Path("headed.yaml").write_text("# Paper: x\n# Hours: 2\nmodel: 1\n# not this\n")
    assert read("headed.yaml").head == ["Paper: x", "Hours: 2"]
