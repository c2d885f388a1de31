"""Rows that cannot be used, in every table that a reader takes: named when stopping, left out when skipping."""

import json
import re
import shutil
from collections.abc import Callable
from functools import partial
from importlib import import_module

import pytest
from batches import differences, seen

from zoo.training import DataError

QUALITY = {"resize": 64, "crop": 56}
DETECTION = {"sizes": [64], "longest": 128, "crop_sizes": [], "test_size": 64, "test_longest": 128}
ENCODER = {"image": "colours", "pretrained": False, "size": 32, "text": "words", "words": 64}


class Rows:
    """Adds rows to a table that the clean remainder lacks, and takes those of a spoilt image out of the remainder.

    Args:
        table: Below the root.
        bad: Rows; ``{first}`` stands for the first row of the table.
        spoilt: Image that is cut in half; its rows are not in the remainder.
    """

    def __init__(self, table: str, bad: list[str], spoilt: str = "") -> None:
        self.table, self.bad, self.spoilt = table, bad, spoilt

    def __call__(self, dirty, clean) -> list[str]:
        lines = (dirty / self.table).read_text().splitlines()
        added = [row.replace("{first}", lines[1]) for row in self.bad]
        middle = len(lines) // 2
        (dirty / self.table).write_text("\n".join([*lines[:middle], *added[:-1], *lines[middle:], added[-1]]) + "\n")
        places = [*range(middle + 1, middle + len(added)), len(lines) + len(added)]
        named = [f"{self.table}:{place}" for place in places]
        if self.spoilt:
            image = dirty / self.spoilt
            image.write_bytes(image.read_bytes()[:200])
            name = image.name
            kept = [line for line in lines if not re.search(rf"(^|[/\\]){re.escape(name)}(,|$)", line.split(",")[0])]
            assert len(kept) < len(lines)
            (clean / self.table).write_text("\n".join(kept) + "\n")
            named.append(name)
        return named


class Entries:
    """Adds entries to a list in a json file.

    Args:
        table: Below the root.
        bad: Entries.
        word: What a message calls them.
        first: Number of the first entry in messages.
    """

    def __init__(self, table: str, bad: list[object], word: str, first: int = 0) -> None:
        self.table, self.bad, self.word, self.first = table, bad, word, first

    def __call__(self, dirty, clean) -> list[str]:
        content = json.loads((dirty / self.table).read_text())
        (dirty / self.table).write_text(json.dumps([*content, *self.bad]))
        return [f"{self.table}: {self.word} {len(content) + self.first + place}" for place in range(len(self.bad))]


def polyvore(dirty, clean) -> list[str]:
    """An outfit without items, one that is none, one whose item nobody knows; an item that is no entry."""
    table, items = "nondisjoint/train.json", "polyvore_item_metadata.json"
    unknown = {"set_id": "901", "items": [{"item_id": "no such item", "index": 1}]}
    lost = {"set_id": "902", "items": [{"item_id": "lost", "index": 1}]}
    bad = [{"set_id": "900"}, "an outfit", unknown, lost, {"set_id": "903", "items": [3]}]
    named = Entries(table, bad, "entry")(dirty, clean)
    known = json.loads((dirty / items).read_text())
    (dirty / items).write_text(json.dumps({**known, "lost": "no entry"}))
    questions = dirty / "nondisjoint" / "compatibility_valid.txt"
    lines = questions.read_text().splitlines()
    questions.write_text("\n".join([*lines, "2 " + lines[0][2:], "1 nobody_1"]) + "\n")
    return [*named, f"{items}: item lost", *(f"{questions.name}:{len(lines) + more}" for more in (1, 2))]


def voc(dirty, clean) -> list[str]:
    """An xml that is cut off, one with a class that is none, one whose box is no box; their lines go."""
    listed = dirty / "ImageSets/Main/train.txt"
    stems = listed.read_text().split()
    files = [dirty / "Annotations" / f"{stem}.xml" for stem in stems[:3]]
    texts = [file.read_text() for file in files]
    files[0].write_text(texts[0][: len(texts[0]) // 2])
    files[1].write_text(re.sub(r"<xmin>.*?</xmin>", "<xmin>word</xmin>", texts[1], count=1))
    files[2].write_text(re.sub(r"<bndbox>.*?</bndbox>", "", texts[2], count=1, flags=re.DOTALL))
    (clean / "ImageSets/Main/train.txt").write_text("\n".join(stems[3:]) + "\n")
    return [file.name for file in files]


def yolo(dirty, clean) -> list[str]:
    """A line of words, a class that is none, places beyond the image; their images go."""
    files = sorted((dirty / "labels/train").glob("*.txt"))[:3]
    for file, line in zip(files, ("0 a b c d", "77 0.5 0.5 0.1 0.1", "0 0.5 7.5 0.1 0.1"), strict=True):
        with file.open("a") as stream:
            stream.write(f"{line}\n")
        for image in (clean / "images/train").glob(f"{file.stem}.*"):
            image.unlink()
    return [f"{file.name}:{len(file.read_text().splitlines())}" for file in files]


Plant = Callable[..., list[str]]
CASES: dict[str, tuple[str, dict[str, object], Plant]] = {
    "piq23 device": (
        "quality.PIQ23",
        {**QUALITY, "split": "device"},
        Rows(
            "Scores_Overall.csv",
            ["{first}", "Overall\\x.jpg,nan,0,0,0,0,1,0,1,x.jpg,Indoor_Scene_0,Overall,0,Indoor", "Overall\\y.jpg,1",
             "Details\\z.jpg,1,0,0,0,0,1,0,1,z.jpg,Indoor_Scene_0,Overall,0,Indoor"],
            "Overall/0_Indoor_Scene_0.jpg",
        ),
    ),
    "piq23 split": (
        "quality.PIQ23",
        {**QUALITY, "split": "device"},
        Rows("Test split/Device Split.csv", ["{first}", "x.jpg,Both", "y.jpg"]),
    ),
    "koniq": (
        "quality.KonIQ10k",
        QUALITY,
        Rows(
            "koniq10k_distributions_sets.csv",
            ["{first}", "1.jpg,0,0,0,0,0,1,inf,1,training", "2.jpg,0,0,0,0,0,1,9,1,both", "3.jpg"],
        ),
    ),
    "agiqa": (
        "quality.AGIQA3K",
        QUALITY,
        Rows("data.csv", ["{first}", "a.jpg,,,,,1,1,1,1", "b.jpg,cat,,,,word,1,1,1", "c"], "AttnGAN_normal_000.jpg"),
    ),
    "scored": (
        "quality.ScoredImages",
        QUALITY,
        Rows("scores.csv", ["{first}", ",1,scene 00", "images/x.jpg,nan,scene 00", "x"], "images/00_0.jpg"),
    ),
    "boxes": (
        "quality.GradedDistortions",
        {**QUALITY, "faces": "csv", "boxes": "boxes.csv", "kinds": ["contrast"], "steps_per_epoch": 3},
        Rows("boxes.csv", ["{first}", "photographs/none.png,1,2,3,4", ",1,2,3,4", "x.png,5,5,4,9", "y.png,a,1,2,3"]),
    ),
    "points": (
        "counting.PointTable",
        {"crop": 64, "batch_size": 4},
        Rows("points.csv", ["images/x.png,nan,3", "images/y.png,word,3", "images/z.png", ",1,2"], "images/03.png"),
    ),
    "boxes of trees": (
        "counting.BoxTable",
        {"crop": 64, "batch_size": 4},
        Rows("train.csv", ["x.tif,1,2,1,2,Tree", "y.tif,a,2,3,4,Tree", "z.tif,1"], "plot_03.tif"),
    ),
    "images and labels": (
        "calibration.ImageTable",
        {"size": 16},
        Rows("images.csv", ["images/x.jpg,", ",amber", "images/y.jpg"], "images/003.jpg"),
    ),
    "videos": (
        "anomaly.VideoTable",
        {"steps_per_epoch": 3},
        Rows("videos.csv", ["{first}", "x,,,train", "y,fight,9-3,train", "z,0,1-5,train", "q,1,,both", "r"]),
    ),
    "events": (
        "anomaly.XDViolence",
        {"steps_per_epoch": 3},
        Rows(
            "XD_Annotation.txt",
            ["{first}", "v=x__#1_label_A 1 2", "v=y__#1_label_B1-0-0 9 3", "v=z__#1_label_B1-0-0 1 2", "v=z 1"],
        ),
    ),
    "names of videos": (
        "anomaly.ShanghaiTech",
        {"steps_per_epoch": 3},
        Rows("RTFM_SH_Train.txt", ["{first}", "words", "01_0001 more"]),
    ),
    "clips": (
        "anomaly.SurvCameraFight",
        {"steps_per_epoch": 3},
        Entries("clips.json", [3, {"clip": "x", "label": 2}, {"label": 1}], "clip", 1),
    ),
    "products": ("outfit.MANGO", {"gallery": 0}, Rows("product_data.csv", ["{first}", "x", ",,,,,,,"])),
    "outfits of Maryland": (
        "outfit.MarylandPolyvore",
        {"gallery": 0},
        Entries("train_no_dup.json", ["x", {"set_id": "9"}, {"set_id": "8", "items": [{}]}, {"items": []}], "entry"),
    ),
    "outfits in json": ("outfit.PolyvoreOutfits", {"gallery": 0}, polyvore),
    "outfits in a csv": (
        "outfit.OutfitCSV",
        {"gallery": 0},
        Rows("outfits.csv", ["901,no such item", "902,", ",x"]),
    ),
    "voc": ("detection.VOCFormat", DETECTION, voc),
    "yolo": ("detection.YOLOFormat", DETECTION, yolo),
}  # fmt: skip


@pytest.fixture(scope="module", params=CASES, ids=lambda name: f"{CASES[name][0].partition('.')[0]} {name}")
def planted(request, tmp_path_factory):
    """How to open the dirty set and the clean remainder, and what was planted."""
    name, options, plant = CASES[request.param]
    module, _, cls = name.partition(".")
    kind, place = getattr(import_module(f"zoo.domains.{module}"), cls), tmp_path_factory.mktemp(cls)
    if module == "outfit":
        encoder = import_module("zoo.domains.outfit").ItemEncoder
        options = {**options, "encoder": encoder(**ENCODER)}
    (place / "dirty").mkdir()
    kind().make(place / "dirty")
    shutil.copytree(place / "dirty", place / "clean")
    named = plant(place / "dirty", place / "clean")
    return partial(_open, kind, options, place), named, place


def _open(kind, options, place, name, on_error):
    data = kind(root=str(place / name), on_error=on_error, **options)
    data.seed = 0
    return data


def test_the_first_bad_row_stops_and_is_named(planted):
    opened, named, _ = planted

    def everything():
        for split in ("train", "val", "test"):
            items = opened("dirty", "stop").items(split)
            for index in range(len(items)):
                items[0, index]

    with pytest.raises(DataError) as caught:
        everything()
    assert len(str(caught.value).splitlines()) == 1
    assert any(name in str(caught.value) for name in named), str(caught.value)


def test_skipping_bad_rows_gives_what_the_remainder_gives(planted):
    opened, named, place = planted
    skipping, whole = opened("dirty", "skip"), opened("clean", "stop")
    for split, epochs in (("train", 2), ("val", 1)):
        got, wanted = (
            seen(data, place / name, split, epochs) for data, name in ((skipping, "dirty"), (whole, "clean"))
        )
        assert len(got) == len(wanted) > 0
        for batch, expected in zip(got, wanted, strict=True):
            assert differences(batch, expected) == []
    assert skipping.class_names == whole.class_names
    skipping.items("test")
    told = list(skipping.skipped)
    for name in named:
        assert any(name in reason for reason in told), f"{name} is not told: {told}"
    assert not whole.skipped
