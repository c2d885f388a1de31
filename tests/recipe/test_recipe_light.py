"""Classes of fields: as those of ``dataclasses``, as far as a recipe needs them."""

from __future__ import annotations

import pytest

from zoo.recipe.light import Fields, Frozen, field


class Point(Frozen):
    x: int
    y: int = 2


class Named(Point):
    name: str = ""
    notes: list[str] = field(default_factory=list, compare=False)


class Bag(Fields):
    items: list[int] = field(default_factory=list)


class Alone(Fields, eq=False):
    x: int


def test_positions_names_and_defaults() -> None:
    assert Point(1) == Point(x=1, y=2) == Point(1, y=2)
    assert Named(1, 3, "a").contents() == (1, 3, "a", [])
    assert repr(Point(1)) == "Point(x=1, y=2)"


@pytest.mark.parametrize(
    ("values", "words", "said"),
    [
        ((), {}, "Point needs 'x'"),
        ((1, 2, 3), {}, "Point takes x, y, each once"),
        ((1,), {"x": 2}, "Point takes x, y, each once"),
        ((1,), {"z": 2}, "Point takes no z"),
        ((1, 2), {"z": 2}, "Point takes no z"),
    ],
)
def test_wrong_arguments(values: tuple[int, ...], words: dict[str, int], said: str) -> None:
    with pytest.raises(TypeError, match=said):
        Point(*values, **words)


def test_frozen_ones_are_equal_by_class_and_value() -> None:
    assert Point(1) != Named(1)
    assert len({Point(1), Point(1, 2), Point(2), Named(1)}) == 3
    assert Named(1, notes=["a"]) == Named(1, notes=["b"])
    with pytest.raises(AttributeError, match=r"Point\.x never changes"):
        Point(1).x = 2  # type: ignore[misc]
    assert Point(1).changed(y=5) == Point(1, 5)


def test_others_change_and_have_no_hash() -> None:
    bag = Bag()
    bag.items.append(1)
    assert Bag().items == []
    assert bag == Bag([1])
    with pytest.raises(TypeError, match="unhashable"):
        hash(bag)
    assert Alone(1) != Alone(1)
    assert len({Alone(1), Alone(1)}) == 2
