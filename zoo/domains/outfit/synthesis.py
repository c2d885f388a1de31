"""A tiny made-up Polyvore Outfits in the official files, with drawn pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

OUTFITS = {"train": 240, "valid": 60, "test": 60}
_PER_STYLE = {"train": 6, "valid": 3, "test": 3}  # items of one style and category
_SIDE = 48
# palettes: two colours each; what stands together is of one palette
_STYLES = (((178, 34, 34), (240, 180, 170)), ((30, 60, 150), (150, 200, 240)), ((35, 110, 55), (205, 220, 120)),
           ((70, 70, 70), (225, 190, 60)))  # fmt: skip
# fine category: id, coarse category, polygon in a unit square
_KINDS: dict[str, tuple[str, str, list[tuple[float, float]]]] = {
    "t-shirt": ("21", "tops", [(.1, .2), (.35, .1), (.65, .1), (.9, .2), (.8, .4), (.7, .35), (.7, .9), (.3, .9),
                         (.3, .35)]),
    "blouse": ("17", "tops", [(.3, .1), (.7, .1), (.85, .7), (.7, .75), (.65, .9), (.35, .9), (.3, .75), (.15, .7)]),
    "jeans": ("27", "bottoms", [(.3, .05), (.7, .05), (.78, .95), (.56, .95), (.5, .4), (.44, .95), (.22, .95)]),
    "skirt": ("8", "bottoms", [(.35, .15), (.65, .15), (.9, .9), (.1, .9)]),
    "sneakers": ("49", "shoes", [(.08, .5), (.3, .4), (.5, .55), (.9, .65), (.94, .8), (.08, .8)]),
    "boots": ("41", "shoes", [(.2, .1), (.5, .1), (.52, .6), (.9, .7), (.9, .85), (.2, .85)]),
    "tote bag": ("36", "bags", [(.2, .4), (.35, .4), (.4, .15), (.6, .15), (.65, .4), (.8, .4), (.85, .9), (.15, .9)]),
    "hat": ("55", "hats", [(.05, .7), (.3, .6), (.35, .25), (.65, .25), (.7, .6), (.95, .7), (.5, .8)]),
}  # fmt: skip
_WORDS = ("cotton", "soft", "classic", "urban", "new", "light")


def synthesize(root: Path, seed: int = 0) -> None:
    """Writes both versions, the same for the same seed.

    A compatible outfit has three to five items of one palette, at most one of each coarse category; the palette shows
    in the pictures alone. A negative replaces each item within its fine category at random; a blank's wrong answers
    are of other palettes. No item stands in two splits, so both versions hold the same outfits.

    Args:
        root: An existing folder.
        seed: Which items and outfits there are.
    """
    rng = np.random.default_rng([seed, 7])
    items: dict[str, dict[str, Any]] = {}
    pools: dict[tuple[str, str, int], list[str]] = {}
    (root / "images").mkdir(parents=True, exist_ok=True)
    for split, count in _PER_STYLE.items():
        for kind, (number, coarse, _) in _KINDS.items():
            for style in range(len(_STYLES)):
                for _ in range(count):
                    name = str(200000000 + len(items))
                    word = _WORDS[int(rng.integers(len(_WORDS)))]
                    items[name] = {
                        "url_name": f"{word} {kind}",
                        "title": f"{word} {kind}" if rng.random() < 0.8 else "",
                        "category_id": number,
                        "semantic_category": coarse,
                    }
                    pools.setdefault((split, kind, style), []).append(name)
                    _draw(kind, style, rng).save(root / "images" / f"{name}.jpg", quality=90)
    (root / "polyvore_item_metadata.json").write_text(json.dumps(items, indent=0))
    lines = [f"{number},{kind},{coarse}\n" for kind, (number, coarse, _) in _KINDS.items()]
    (root / "categories.csv").write_text("".join(lines))
    for version in ("nondisjoint", "disjoint"):
        (root / version).mkdir()
    for split, count in OUTFITS.items():
        files = _split(split, count, pools, rng)
        for version in ("nondisjoint", "disjoint"):
            for name, text in files.items():
                (root / version / name).write_text(text)
    _samples(root, items, pools, rng)


def _draw(kind: str, style: int, rng: np.random.Generator) -> Any:
    """A garment in the colours of its palette on white."""
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", (_SIDE, _SIDE), (255, 255, 255))
    pencil = ImageDraw.Draw(picture)
    shift = rng.uniform(-0.04, 0.04, size=2)
    shape = [(_SIDE * (x + shift[0]), _SIDE * (y + shift[1])) for x, y in _KINDS[kind][2]]
    first, second = (_near(colour, rng) for colour in _STYLES[style])
    if rng.random() < 0.5:
        first, second = second, first
    pencil.polygon(shape, fill=first, outline=(40, 40, 40))
    centre = np.mean(shape, axis=0)
    radius = _SIDE * rng.uniform(0.05, 0.1)
    pencil.ellipse([*(centre - radius), *(centre + radius)], fill=second)
    return picture


def _near(colour: tuple[int, int, int], rng: np.random.Generator) -> tuple[int, ...]:
    return tuple(int(value) for value in np.clip(np.array(colour) + rng.normal(0, 14, size=3), 0, 255))


def _split(
    split: str, count: int, pools: dict[tuple[str, str, int], list[str]], rng: np.random.Generator
) -> dict[str, str]:
    """The three files of one split."""
    sets, labels, blanks = [], [], []
    tokens: dict[str, list[str]] = {}
    coarse: dict[str, list[str]] = {}
    for kind, (_, group, _) in _KINDS.items():
        coarse.setdefault(group, []).append(kind)
    made: list[tuple[str, list[tuple[str, str]], int]] = []
    for number in range(count):
        style, size = int(rng.integers(len(_STYLES))), int(rng.integers(3, 6))
        groups = [list(coarse)[i] for i in rng.permutation(len(coarse))[:size]]
        chosen = [(kind, str(rng.choice(pools[split, kind, style]))) for kind in
                  (str(rng.choice(coarse[group])) for group in groups)]  # fmt: skip
        name = str(900000 + 1000 * list(OUTFITS).index(split) + number)
        made.append((name, chosen, style))
        for index, (_, item) in enumerate(chosen, start=1):
            tokens.setdefault(item, []).append(f"{name}_{index}")
        entries = [{"item_id": item, "index": index} for index, (_, item) in enumerate(chosen, start=1)]
        sets.append({"set_id": name, "items": entries})
    worn = {(kind, style): [item for item in pools[split, kind, style] if item in tokens]
            for kind in _KINDS for style in range(len(_STYLES))}  # fmt: skip
    for name, chosen, style in made:
        labels.append(" ".join(["1", *(f"{name}_{index}" for index in range(1, len(chosen) + 1))]))
        mixed = [str(rng.choice([i for s in range(len(_STYLES)) for i in worn[kind, s]])) for kind, _ in chosen]
        labels.append(" ".join(["0", *(tokens[item][0] for item in mixed)]))
        place = int(rng.integers(len(chosen)))
        question = [f"{name}_{index}" for index in range(1, len(chosen) + 1) if index != place + 1]
        others = [i for s in range(len(_STYLES)) if s != style for i in worn[chosen[place][0], s]]
        wrong = [tokens[str(item)][0] for item in rng.choice(others, size=min(3, len(others)), replace=False)]
        right = int(rng.integers(len(wrong) + 1))
        answers = [*wrong[:right], f"{name}_{place + 1}", *wrong[right:]]
        blanks.append({"question": question, "blank_position": place + 1, "answers": answers})
    return {
        f"{split}.json": json.dumps(sets),
        f"compatibility_{split}.txt": "\n".join(labels) + "\n",
        f"fill_in_blank_{split}.json": json.dumps(blanks),
    }


def _samples(
    root: Path, items: dict[str, dict[str, Any]], pools: dict[tuple[str, str, int], list[str]], rng: np.random.Generator
) -> None:
    """Two tables that ``zoo predict`` takes: outfits that go together, and mixed ones."""
    folder = root / "samples"
    folder.mkdir()
    for name in ("matching", "mixed"):
        lines = ["outfit,image,text,category"]
        for number in range(3):
            for kind in ("t-shirt", "jeans", "sneakers", "tote bag"):
                style = number if name == "matching" else int(rng.integers(len(_STYLES)))
                item = str(rng.choice(pools["test", kind, style]))
                lines.append(f"{name} {number + 1},../images/{item}.jpg,{items[item]['url_name']},{kind}")
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
