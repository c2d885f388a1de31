"""Every key and class name of every recipe, misspelt in every way: each is named with its line and the right word.

No mistake may be found in a recipe as it stands. A misspelling that happens to be another right word is left out; what
is right is asked of the imported classes, not of the check.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from zoo.recipe import RecipeError
from zoo.recipe.checking import static
from zoo.recipe.imports import import_object
from zoo.recipe.mistakes import Mistake
from zoo.recipe.recipe import Recipe, read_text
from zoo.recipe.shape import TRAINER
from zoo.recipe.trust import Trust

ROOT = Path(__file__).resolve().parents[2]
RECIPES = sorted((ROOT / "recipes").rglob("*.yaml"))
# one recipe of each domain in every run; the others, of much the same keys, with make test-long
SOURCES = [
    pytest.param(file, marks=[] if file == "sample" or file.stem == "demo" else pytest.mark.long)
    for file in ["sample", *RECIPES]
]
FREE = {"weights", "init_from"}  # mappings whose keys mean nothing to the check: of the sample, of part files


@dataclass(frozen=True)
class Word:
    """A word of a recipe: where it stands, what it is, and the mapping it is a key of."""

    path: tuple[str | int, ...]
    text: str
    start: int
    end: int
    line: int


@pytest.fixture(params=SOURCES, ids=lambda p: p if p == "sample" else p.relative_to(ROOT).as_posix())
def text(request: pytest.FixtureRequest, workshop) -> str:
    sys.path.append(str(workshop.folder))
    if request.param == "sample":
        return workshop.sample.replace("MODULE", workshop.module)
    return request.param.read_text()


def _read(text: str, overrides: tuple[tuple[str, str], ...] = ()) -> Recipe:
    return read_text(text, "recipe", "recipe.yaml", Trust(), overrides)


def _seen(text: str, overrides: tuple[tuple[str, str], ...] = ()) -> list[Mistake]:
    return static(_read(text, overrides)).mistakes


def _keys(node: yaml.Node, path: tuple[str | int, ...] = ()) -> Iterator[Word]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            mark = key.start_mark
            yield Word(path, key.value, mark.index, key.end_mark.index, mark.line + 1)
            yield from _keys(value, (*path, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _keys(item, (*path, index))


def _class_paths(node: yaml.Node) -> Iterator[Word]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == "class_path":
                yield Word((), value.value, value.start_mark.index, value.end_mark.index, value.start_mark.line + 1)
            yield from _class_paths(value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _class_paths(item)


def _misspellings(word: str, text: str) -> set[str]:
    """A letter dropped, two swapped, one added: in the middle; in the sample also at the beginning and the end."""
    found = set()
    for at in {0, len(word) // 2, len(word) - 1} if "workshop" in text else {(len(word) - 1) // 2}:
        found.add(word[:at] + word[at + 1 :])
        found.add(word[:at] + "q" + word[at:])
        if at + 1 < len(word):
            found.add(word[:at] + word[at + 1] + word[at] + word[at + 2 :])
    return {other for other in found if other.isidentifier() and other != word}


def _right(tree: object, path: tuple[str | int, ...]) -> set[str]:
    """The keys that the imported class knows beside a key of its arguments."""
    owner = tree
    for part in path[:-1]:
        owner = owner[part]  # type: ignore[index]
    if path == ("trainer",):
        return set(inspect.signature(import_object(TRAINER)).parameters)
    if path and path[-1] == "init_args":
        return set(inspect.signature(import_object(owner["class_path"])).parameters)  # type: ignore[index, call-overload]
    return set()


def test_recipes_have_no_mistakes(text: str) -> None:
    assert _seen(text) == []


def test_every_misspelt_key_is_named(text: str) -> None:
    tree = _read(text).tree
    words = [word for word in _keys(yaml.compose(text)) if word.path[-1:] not in {(key,) for key in FREE}]
    assert len(words) > 10
    for word in words:
        siblings = _right(tree, word.path)
        for wrong in _misspellings(word.text, text) - siblings:
            said = _seen(text[: word.start] + wrong + text[word.end :])
            here = [m.text for m in said if m.place.line == word.line and f"'{wrong}'" in m.text]
            assert here, f"{'.'.join(map(str, word.path))}: {word.text} -> {wrong}: {[str(m) for m in said]}"
            assert f"did you mean '{word.text}'?" in here[0], (word, here)


def test_every_key_that_is_quite_another_word_is_named(text: str) -> None:
    for word in _keys(yaml.compose(text)):
        if word.path[-1:] not in {(key,) for key in FREE}:
            said = _seen(text[: word.start] + "xyzzy" + text[word.end :])
            assert any(m.place.line == word.line and "'xyzzy'" in m.text for m in said), (word, said)


def test_every_misspelt_part_of_a_class_path_is_named(text: str) -> None:
    for word in _class_paths(yaml.compose(text)):
        parts = word.text.split(".")
        for index, part in enumerate(parts):
            for wrong in _misspellings(part, text):
                path = ".".join([*parts[:index], wrong, *parts[index + 1 :]])
                if _importable(path):
                    continue
                said = _seen(text[: word.start] + path + text[word.end :])
                here = [m.text for m in said if m.place.line == word.line]
                assert any(f"did you mean '{word.text}'?" in message for message in here), (path, said)


def _importable(path: str) -> bool:
    try:
        import_object(path)
    except ImportError:
        return False
    return True


def test_every_key_that_stands_twice_is_named(text: str) -> None:
    lines = text.splitlines(keepends=True)
    for node, path in _entries(yaml.compose(text)):
        key, value = node
        block_style = isinstance(value, yaml.CollectionNode) and not value.flow_style
        first, last = key.start_mark.line, value.end_mark.line + (not block_style)
        if lines[first][: key.start_mark.column].strip() or last <= first:
            continue  # inside braces, or beside the dash of a list item
        block = lines[first:last]
        said = _seen("".join(lines[:last] + block + lines[last:]))
        wanted = f"recipe.yaml:{last + 1}: '{key.value}' stands twice; first on line {first + 1}"
        assert wanted in [str(m) for m in said], path


def _entries(
    node: yaml.Node, path: tuple[str | int, ...] = ()
) -> Iterator[tuple[tuple[yaml.Node, yaml.Node], tuple[str | int, ...]]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield (key, value), (*path, key.value)
            yield from _entries(value, (*path, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _entries(item, (*path, index))


def test_every_misspelt_key_of_an_override_is_named(text: str) -> None:
    tree = _read(text).tree
    for word in _keys(yaml.compose(text)):
        parts = [str(part) for part in (*word.path, word.text) if part != "init_args"]
        if word.text in ("class_path", "init_args") or FREE & set(parts) or not word.path:
            continue
        siblings = _right(tree, word.path)
        for wrong in _misspellings(word.text, text) - siblings:
            option = ".".join([*parts[:-1], wrong])
            said = _seen(text, ((option, "1"),))
            assert [str(m).partition("; ")[2] for m in said] == [f"did you mean '{word.text}'?"], (option, said)
            assert said[0].place == (f"--{option}", 0)


def test_every_misspelt_section_of_an_override_is_named(text: str) -> None:
    for word in [word for word in _keys(yaml.compose(text)) if not word.path]:
        for wrong in _misspellings(word.text, text):
            said = [str(m) for m in _seen(text, ((f"{wrong}.x", "1"),))]
            assert said == [f"--{wrong}.x: there is no section '{wrong}'; did you mean '{word.text}'?"]


def test_mistakes_reach_the_user_as_one_error(text: str) -> None:
    mistakes = _seen(text.replace("model:", "modle:", 1))
    assert str(RecipeError(mistakes)).splitlines() == [str(m) for m in mistakes]
    assert RecipeError(mistakes).exit_code == 2
