"""Splits, negatives, blanks, galleries and curricula: the rules that the docstrings give."""

from collections import Counter

import numpy as np
import pytest

from zoo.domains.outfit.catalogue import Blank, Catalogue, Item, Outfit
from zoo.domains.outfit.questions import (
    Replacements,
    check_curriculum,
    level_at,
    make_blanks,
    make_galleries,
    make_labelled,
)
from zoo.domains.outfit.splits import split_outfits
from zoo.errors import InputError


def catalogue(*sizes):
    """Items of fine categories ``a, b, c, ...``; two neighbouring categories share a coarse one."""
    items = []
    for number, size in enumerate(sizes):
        for _ in range(size):
            name = str(len(items))
            items.append(Item(name, "", "abcdefgh"[number], f"g{number // 2}", None, f"items.csv:{name}"))
    return Catalogue(items)


@pytest.fixture
def shop():
    return catalogue(20, 20, 20, 3)


@pytest.fixture
def outfits():
    rng = np.random.default_rng(3)
    return [Outfit(str(n), tuple(int(20 * kind + rng.integers(20)) for kind in range(3))) for n in range(40)]


def test_negatives_keep_the_category_and_are_no_outfit(shop, outfits):
    known = {frozenset(outfit.items) for outfit in outfits}
    worn = {item for outfit in outfits for item in outfit.items}
    found = make_labelled(outfits, Replacements(shop, list(worn)), known, seed=0)
    assert [one.label for one in found] == [1, 0] * 40
    for real, made in zip(found[::2], found[1::2], strict=True):
        assert [shop.fine[i] for i in made.items] == [shop.fine[i] for i in real.items]
        assert not set(made.items) & set(real.items)
        assert set(made.items) <= worn
        assert frozenset(made.items) not in known
    assert make_labelled(outfits, Replacements(shop, list(worn)), known, seed=0) == found
    assert make_labelled(outfits, Replacements(shop, list(worn)), known, seed=1) != found


def test_a_made_up_outfit_that_exists_is_drawn_again():
    shop = catalogue(3, 3)
    taken = {frozenset((a, b)) for a in (1, 2) for b in (4, 5)} - {frozenset((2, 5))}
    replacements = Replacements(shop, range(6))
    made = {replacements.outfit((0, 3), taken, np.random.default_rng(seed)) for seed in range(20)}
    assert made == {(2, 5)}
    everything = taken | {frozenset((2, 5))}
    assert replacements.outfit((0, 3), everything, np.random.default_rng(0)) is None


def test_blanks_have_three_wrong_answers_of_the_category(shop, outfits):
    known = {frozenset(outfit.items) for outfit in outfits}
    blanks = make_blanks(outfits, Replacements(shop, range(60)), known, seed=0)
    for blank, outfit in zip(blanks, outfits, strict=True):
        assert len(set(blank.answers)) == 4
        right = blank.answers[blank.correct]
        assert set(blank.items) | {right} == set(outfit.items)
        assert {int(shop.fine[i]) for i in blank.answers} == {int(shop.fine[right])}
        for answer in blank.answers:
            assert (frozenset((*blank.items, answer)) in known) == (answer == right)
    places = Counter(blank.correct for blank in blanks)
    assert set(places) == {0, 1, 2, 3}  # the right answer stands anywhere


def test_a_wrong_answer_never_completes_another_outfit():
    shop = catalogue(1, 5)
    outfits = [Outfit("x", (0, 1)), Outfit("y", (0, 2))]
    known = {frozenset(outfit.items) for outfit in outfits}
    for seed in range(10):
        for blank in make_blanks(outfits, Replacements(shop, range(6)), known, seed):
            if 0 in blank.items:
                assert set(blank.answers) == {blank.answers[blank.correct], 3, 4, 5}


def test_small_categories_are_widened_to_coarse_then_any():
    shop = catalogue(2, 4, 9)
    replacements, rng = Replacements(shop, range(15)), np.random.default_rng(0)
    assert replacements.draw(0, 1, (), "fine", rng) == (1,)
    found = replacements.draw(0, 4, (), "fine", rng)
    assert found[0] == 1
    assert {int(shop.coarse[i]) for i in found} == {0}
    assert len(set(replacements.draw(0, 14, (), "fine", rng))) == 14
    assert len(replacements.draw(0, 99, (3,), "fine", rng)) == 13
    assert {int(shop.fine[i]) for i in replacements.draw(0, 40, (), "any", rng)} == {0, 1, 2}


def test_drawing_is_even():
    shop = catalogue(8)
    replacements, rng = Replacements(shop, range(8)), np.random.default_rng(0)
    counts = Counter(i for _ in range(3000) for i in replacements.draw(0, 2, (1,), "fine", rng))
    assert set(counts) == {2, 3, 4, 5, 6, 7}
    assert all(abs(count - 1000) < 120 for count in counts.values())


def test_galleries_hold_the_answers_then_the_split_then_training():
    shop = catalogue(10, 30, 3)
    blanks = [Blank(str(i), (0,), (i, 11, 12, 13), 0) for i in (10, 14, 15, 40)]
    asked, entries = make_galleries(blanks, shop, [10, 11, 12, 13, 14, 15, 40], range(16, 40), 20, seed=0)
    assert asked.tolist() == [1, 1, 1, -1]  # the category of item 40 has three items
    items = [item for _, item in entries]
    assert {category for category, _ in entries} == {1}
    assert len(set(items)) == len(items) == 20
    assert {10, 14, 15, 11, 12, 13} <= set(items)
    small, few = make_galleries(blanks, shop, [10, 11, 14, 15], range(16, 40), 2, seed=0)
    assert sorted(small.tolist()) == [-1, -1, 1, 1]  # of three answers two are drawn, the third is not asked
    assert [category for category, _ in few] == [1, 1]


def test_curriculum():
    stages = [{"level": "coarse"}, {"level": "fine", "from_epoch": 3}]
    check_curriculum(stages)
    assert [level_at(stages, epoch) for epoch in (0, 2, 3, 9)] == ["coarse", "coarse", "fine", "fine"]
    for wrong, message in (
        ([], "must start at epoch 0"),
        ([{"level": "fine", "from_epoch": 1}], r"must start at epoch 0 and rise, these start at \[1\]"),
        ([*stages, {"level": "any", "from_epoch": 2}], "rise"),
        ([{"level": "hard"}], "level 'hard' given, expected one of any, coarse, fine"),
    ):
        with pytest.raises(InputError, match=message):
            check_curriculum(wrong)


def many(count=400, items=300, seed=0):
    rng = np.random.default_rng(seed)
    popular = 1 / np.arange(1, items + 1) ** 0.7
    return [
        Outfit(str(n), tuple(int(i) for i in rng.choice(items, size=4, replace=False, p=popular / popular.sum())))
        for n in range(count)
    ]


def test_nondisjoint_split_leaves_near_copies_out():
    outfits = many()
    outfits += [Outfit(f"copy {o.id}", (*o.items[:3], 400 + int(o.id))) for o in outfits[:100]]
    parts, notes = split_outfits(outfits, "nondisjoint", seed=4)
    train = [set(outfit.items) for outfit in parts["train"]]
    assert len(train) == 350
    for split in ("val", "test"):
        assert all(len(set(outfit.items) & other) < 3 for outfit in parts[split] for other in train)
    left = {split: size - len(parts[split]) for split, size in (("val", 50), ("test", 100))}
    assert left["test"] > 10
    assert notes == [
        f"{split}: {left[split]} of {size} outfits share 3 or more products with a training outfit and are left out"
        for split, size in (("val", 50), ("test", 100))
    ]
    assert split_outfits(outfits, "nondisjoint", seed=4)[0] == parts
    assert split_outfits(outfits, "nondisjoint", seed=5)[0] != parts


def test_disjoint_split_shares_no_product():
    outfits = many(300, 3000, seed=1)
    parts, notes = split_outfits(outfits, "disjoint", seed=0)
    items = {split: {i for outfit in chosen for i in outfit.items} for split, chosen in parts.items()}
    assert all(parts.values())
    assert not items["train"] & items["val"]
    assert not items["train"] & items["test"]
    assert not items["val"] & items["test"]
    left = 300 - sum(map(len, parts.values()))
    assert notes == [f"{left} of 300 outfits have products of two parts and are left out"]


def test_unknown_version():
    with pytest.raises(InputError, match=r"data.version must be one of nondisjoint, disjoint, got 'random'"):
        split_outfits([], "random", 0)
