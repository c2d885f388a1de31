"""Rows that cannot be used, in every table that a reader takes: named when stopping, left out when skipping."""

import json
import re
import shutil
from collections.abc import Callable
from functools import partial
from importlib import import_module

import numpy as np
import pytest
from batches import differences, seen
from dirt import remove

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
    listed.write_bytes("\n".join([*stems, stems[4], "nobody", "zellk\xf6rper"]).encode("latin-1"))
    size = re.sub(r"<width>.*?</width>", "<width>inf</width>", (dirty / "Annotations" / f"{stems[3]}.xml").read_text())
    (dirty / "Annotations" / f"{stems[3]}.xml").write_text(size)
    (clean / "ImageSets/Main/train.txt").write_text("\n".join(stems[4:]) + "\n")
    more = [f"train.txt:{len(stems) + place}" for place in (1, 2, 3)]
    return [*(file.name for file in files), f"{stems[3]}.xml", *more]


def coco(dirty, clean) -> list[str]:
    """Entries without an id, of an id or an image that is there, of no finite number; an image larger than any."""
    name = "annotations/train.json"
    tree = json.loads((dirty / name).read_text())
    images, marks, first = tree["images"], tree["annotations"], len(tree["images"])
    bad_images = [3, {"file_name": "x.jpg"}, {**images[0], "id": 900}, {**images[0], "file_name": "y.jpg"},
                  {"id": 901, "file_name": "z.jpg", "width": float("inf"), "height": 9}]  # fmt: skip
    bad_marks = [
        "x",
        {"bbox": [1, 1, 2, 2]},
        {**marks[0], "bbox": [0, 0, 3, 3]},
        {**marks[0], "id": 901, "image_id": 77},
    ]
    last = [image["id"] for image in images[-4:]]
    bad_values = (
        {"area": float("nan")},
        {"iscrowd": float("nan")},
        {"bbox": [10**400, 1.5, 2, 2]},
        {"category_id": 99},
    )
    for number, (image, value) in enumerate(zip(last, bad_values, strict=True)):
        bad_marks.append({**marks[0], "id": 910 + number, "image_id": image, **value})
    (dirty / name).write_text(
        json.dumps({**tree, "images": [*images, *bad_images], "annotations": [*marks, *bad_marks]})
    )
    kept = [mark for mark in marks if mark["image_id"] not in last]
    (clean / name).write_text(json.dumps({**tree, "images": images[:-4], "annotations": kept}))
    named = [f"images[{first + place}]" for place in range(4)]
    return [*named, "image 901", *(f"annotations[{len(marks) + place}]" for place in range(len(bad_marks)))]


def boxes(drawn: bool) -> Callable[..., list[str]]:
    """Rows of a table of boxes whose splits are said, or are drawn from the images that can be used."""

    def plant(dirty, clean) -> list[str]:
        table = "boxes.csv"
        head, *lines = (dirty / table).read_text().splitlines()
        files = list(dict.fromkeys(line.split(",")[0] for line in lines))
        lines = [line.rpartition(",")[0] for line in lines] if drawn else lines
        head, end = (head.rpartition(",")[0], "") if drawn else (head, ",train")
        bad = [f"{files[1]},1,1,9", f'"{files[2]},1,1,9,9,disc{end}', f"{files[3]},1,1,9,9,nan{end}",
               f"{files[4]},900,1,990,9,rare{end}", f"{files[5]},1e40,1,2e40,9,rare{end}",
               f"images/no.jpg,1,1,9,9,disc{end}", f",1,1,9,9,disc{end}",
               f"{files[6]},1,1,9,9,disc{end},more"]  # fmt: skip
        (dirty / table).write_text("\n".join([head, *lines, *bad]) + "\n")
        spoilt = dirty / files[7]
        spoilt.write_bytes(spoilt.read_bytes()[:300])
        kept = [line for line in lines if line.split(",")[0] not in files[1:8]]
        (clean / table).write_text("\n".join([head, *kept]) + "\n")
        return [spoilt.name, *(f"{table}:{len(lines) + 2 + place}" for place in range(len(bad)))]

    return plant


def yolo(dirty, clean) -> list[str]:
    """A line of words, a class that is none, places beyond the image; their images go."""
    files = sorted((dirty / "labels/train").glob("*.txt"))[:3]
    for file, line in zip(files, ("0 a b c d", "77 0.5 0.5 0.1 0.1", "0 0.5 7.5 0.1 0.1"), strict=True):
        with file.open("a") as stream:
            stream.write(f"{line}\n")
        for image in (clean / "images/train").glob(f"{file.stem}.*"):
            image.unlink()
    return [f"{file.name}:{len(file.read_text().splitlines())}" for file in files]


class Spoilt:
    """Spoils images, and takes them and the entries that name them out of the remainder.

    The first becomes a link to nowhere, the second a folder, the third is half zeros, others are cut in half.

    Args:
        pattern: Of images below the root; every fifth is spoilt.
    """

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern

    def __call__(self, dirty, clean) -> list[str]:
        files = sorted(dirty.glob(self.pattern))[1::5]
        assert len(files) > 2
        for place, file in enumerate(files):
            half = file.read_bytes()[: file.stat().st_size // 2]
            file.unlink()
            if place == 0:
                file.symlink_to(dirty / "nowhere.jpg")
            elif place == 1:
                file.mkdir()
            else:
                file.write_bytes(half + bytes(len(half)) if place == 2 else half)
        remove(clean, [file.relative_to(dirty).as_posix() for file in files])
        return [file.name for file in files]


def unseen(dirty, clean, features=False) -> list[str]:
    """An item of training outfits without a picture, or with features that are not finite; its outfits go."""
    rows = [line.split(",") for line in (dirty / "outfits.csv").read_text().splitlines()]
    elsewhere = {row[1] for row in rows[1:] if row[2] != "train"}
    item = next(row[1] for row in rows[1:] if row[1] not in elsewhere)
    gone = {row[0] for row in rows if row[1] == item}
    kept = [",".join(row) for row in rows if row[0] not in gone]
    (clean / "outfits.csv").write_text("".join(f"{line}\n" for line in kept))
    lines = (dirty / "items.csv").read_text().splitlines()
    place = next(number for number, line in enumerate(lines) if line.startswith(f"{item},"))
    if features:
        ids = np.array([line.split(",")[0] for line in lines[1:]])
        values = np.random.default_rng(0).normal(size=(len(ids), 112))
        np.savez(clean / "f.npz", ids=ids, embeddings=values)
        values[place - 1, 3] = np.nan
        np.savez(dirty / "f.npz", ids=ids, embeddings=values)
        return [f"f.npz: the features of item {item} are not finite"]
    lines[place] = re.sub(r"images/[^,]*", "", lines[place])
    (dirty / "items.csv").write_text("\n".join(lines))
    return [f"items.csv:{place + 1}: item {item} has no picture"]


def undivided(dirty, clean) -> list[str]:
    """A damaged picture where no column says which split an outfit is of: what is left decides."""
    rows = [line.split(",")[:2] for line in (dirty / "outfits.csv").read_text().splitlines()]
    item = rows[40][1]
    gone = {row[0] for row in rows if row[1] == item}
    for root, kept in ((dirty, rows), (clean, [row for row in rows if row[0] not in gone])):
        (root / "outfits.csv").write_text("".join(f"{','.join(row)}\n" for row in kept))
    image = dirty / "images" / f"{item}.jpg"
    image.write_bytes(image.read_bytes()[:200])
    items = [line.split(",")[0] for line in (dirty / "items.csv").read_text().splitlines()]
    return [f"items.csv:{items.index(item) + 1}: {image}: the image is damaged"]


def metadata(dirty, clean) -> list[str]:
    """An outfit that stands there twice, a question whose label is none, a negative in no text; the pairs go."""
    sets = json.loads((dirty / "valid.json").read_text())
    (dirty / "valid.json").write_text(json.dumps([*sets, sets[4]]))
    file = "compatibility_valid.txt"
    lines = (dirty / file).read_text().splitlines()
    half = len(lines) // 2
    kept = ["" if number % half in (3, 8) else line for number, line in enumerate(lines)]  # questions are named by line
    (clean / file).write_text("\n".join(kept))
    lines[3], lines[half + 8] = f"nan{lines[3][1:]}", f"{lines[half + 8]} caf\udce9"
    (dirty / file).write_bytes("\n".join(lines).encode(errors="surrogateescape"))
    return [f"valid.json: entry {len(sets)}: ", f"{file}:4: ", f"{file}:{half + 9}: "]


def queries(dirty, clean) -> list[str]:
    """Lines of three queries that go; lines of no query, and of one that stands elsewhere, which alone go."""
    lines = (dirty / "train.txt").read_text().splitlines()
    names = list(dict.fromkeys(line.split()[1] for line in lines))
    first = {name: next(place for place, line in enumerate(lines) if line.split()[1] == name) for name in names}
    lines[first[names[3]]] = "9" * 5000 + lines[first[names[3]]][1:]
    lines[first[names[5]]] += " caf\udce9"
    lines[first[names[7]]] = lines[first[names[7]]][:60]
    gone = [names[place] for place in (3, 5, 7)]
    (clean / "train.txt").write_text("".join(f"{line}\n" for line in lines if line.split()[1] not in gone))
    lines.append(lines[0])
    at = first[names[-1]]
    text = "\n".join([*lines[:at], "words", "1 qi", *lines[at:]])
    (dirty / "train.txt").write_bytes(text.encode(errors="surrogateescape"))
    places = [*(first[name] + 1 for name in gone), at + 1, at + 2, len(lines) + 2]
    return [f"train.txt:{place}" for place in places]


def archives(dirty, clean, features, labels="") -> list[str]:
    """Arrays of clips: not finite (the first), wide as no other, one that is none; labels out of range."""
    held = {file: dict(np.load(dirty / file)) for file in (features, labels) if file}
    names = list(held[features])
    first, wide, scalar, other = names[0], names[3], names[5], names[7]
    spoilt = held[features]
    spoilt[first] = spoilt[first].astype(np.float32) * np.nan
    spoilt[wide], spoilt[scalar] = spoilt[wide][:, :-1], np.zeros(3)
    named = [f"{features}[{name}]" for name in (first, wide, scalar)]
    if labels:
        held[labels][other] = held[labels][other] + 2
        named.append(f"{labels}[{other}]")
    for file, arrays in held.items():
        np.savez(dirty / file, **arrays)
        whole = dict(np.load(clean / file))
        gone = {first, wide, scalar, *([other] if labels else [])}
        np.savez(clean / file, **{name: array for name, array in whole.items() if name not in gone})
    if not labels:  # the clips of a list
        entries = json.loads((clean / "clips.json").read_text())
        (clean / "clips.json").write_text(json.dumps([entry for entry in entries if entry["clip"] not in gone]))
        (dirty / "clips.json").write_text(json.dumps([*entries, entries[1]]))
        named.append(f"clips.json: clip {len(entries) + 1}: ")
    return named


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
    "lists of crowds": ("counting.NWPU", {"crop": 64, "batch_size": 4}, Rows("train.txt", ["{first}", "9999 1 2"])),
    "points of a mosaic": (
        "counting.Yosemite",
        {"crop": 64, "batch_size": 4, "block": 64},
        Rows("trees.csv", ["1", "nan,3", '"1,2', "word,3", "1,2,3", ",7"]),
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
    "paths twice and labels that are no numbers": (
        "calibration.ImageTable",
        {"size": 16},
        Rows("images.csv", ["{first}", "images/x.jpg,NaN", 'images/y.jpg,"amber', "images/z.jpg,amber,birch"]),
    ),
    "lines of Tiny-ImageNet": (
        "calibration.TinyImageNet",
        {},
        Rows("val/val_annotations.txt", ["{first}", "x.JPEG\tn99999999\t0\t0\t9\t9", "y.JPEG", "z.JPEG\tn00000001"]),
    ),
    "lines of CUB": (
        "calibration.CUB200",
        {"batch_size": 8},
        Rows("images.txt", ["{first}", "99 001.Amber_Bird/x.jpg", "98"]),
    ),
    "images in folders": (
        "calibration.ImageFolder", {"size": 16, "batch_size": 8}, Spoilt("train/*/*.jpg"),
    ),
    "images of Tiny-ImageNet": ("calibration.TinyImageNet", {"batch_size": 8}, Spoilt("train/*/images/*.JPEG")),
    "photographs": (
        "quality.GradedDistortions", {**QUALITY, "kinds": ["contrast"], "steps_per_epoch": 3},
        Spoilt("photographs/0[0-2]*.png"),
    ),
    "images of CUB": ("calibration.CUB200", {"batch_size": 4}, Spoilt("images/*/*.jpg")),
    "videos": (
        "anomaly.VideoTable",
        {"steps_per_epoch": 3},
        Rows(
            "videos.csv",
            ["{first}", "x,,,train", "y,fight,9-3,train", "z,0,1-5,train", '"p,1,,train', "o,nan,,train", "q,1,,both",
             "n" * 300 + ",1,,train", "r"],
        ),
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
    "queries": ("ltr.LetorFiles", {"val": None, "test": None}, queries),
    "arrays of clips": (
        "anomaly.UCSDPed2",
        {"steps_per_epoch": 3},
        partial(archives, features="features_efflite0_every4_fp16.npz", labels="labels.npz"),
    ),
    "arrays of a list": (
        "anomaly.SurvCameraFight",
        {"steps_per_epoch": 3, "timelines": 6},
        partial(archives, features="features_efflite0_12f_fp16.npz"),
    ),
    "products": (
        "outfit.MANGO",
        {"gallery": 0},
        Rows("product_data.csv", ["{first}", "x", '"y,,,,,,,', ",a,b,c,d,e,f,g"]),
    ),
    "outfits of Maryland": (
        "outfit.MarylandPolyvore",
        {"gallery": 0},
        Entries("train_no_dup.json", ["x", {"set_id": "9"}, {"set_id": "8", "items": [{}]}, {"items": []},
                                       {"set_id": "900000", "items": [{"index": 1}]}], "entry"),
    ),
    "outfits in json": ("outfit.PolyvoreOutfits", {"gallery": 0}, polyvore),
    "outfits in a csv": (
        "outfit.OutfitCSV",
        {"gallery": 0},
        Rows("outfits.csv", ["901,no such item", "{first}", "902,", ",x"]),
    ),
    "pictures of a csv": ("outfit.OutfitCSV", {"gallery": 0}, unseen),
    "features of a csv": ("outfit.OutfitCSV", {"gallery": 0, "features": "f.npz"}, partial(unseen, features=True)),
    "outfits of no split": ("outfit.OutfitCSV", {"gallery": 0}, undivided),
    "outfits of the metadata": ("outfit.PolyvoreMetadata", {"gallery": 0, "encoder": None}, metadata),
    "voc": ("detection.VOCFormat", DETECTION, voc),
    "yolo": ("detection.YOLOFormat", DETECTION, yolo),
    "coco": ("detection.COCOFormat", DETECTION, coco),
    "boxes in a csv": ("detection.BoxesCSV", DETECTION, boxes(False)),
    "boxes in a csv, splits drawn": ("detection.BoxesCSV", DETECTION, boxes(True)),
}  # fmt: skip


@pytest.fixture(scope="module", params=CASES, ids=lambda name: f"{CASES[name][0].partition('.')[0]} {name}")
def planted(request, tmp_path_factory):
    """How to open the dirty set and the clean remainder, and what was planted."""
    name, options, plant = CASES[request.param]
    module, _, cls = name.partition(".")
    kind, place = getattr(import_module(f"zoo.domains.{module}"), cls), tmp_path_factory.mktemp(cls)
    if module == "outfit":
        encoder = import_module("zoo.domains.outfit").ItemEncoder
        options = {"encoder": encoder(**ENCODER), **options}
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


def spoil_svhn(root):
    from scipy.io import loadmat, savemat

    file = root / "train_32x32.mat"
    content = loadmat(file)
    labels = content["y"].astype(np.float64)
    labels[[3, 5, 7, 9], 0] = np.nan, 12, -1, 1.5
    savemat(file, {"X": content["X"], "y": labels})
    return [3, 5, 7, 9], file, lambda kept: savemat(file, {"X": content["X"][..., kept], "y": content["y"][kept]})


def spoil_cifar(root):
    import pickle

    file = root / "cifar-10-batches-py" / "data_batch_2"
    content = pickle.loads(file.read_bytes())

    def write(labels, pixels):
        file.write_bytes(pickle.dumps({"labels": labels, "data": pixels}))

    labels = [
        float("nan") if n == 3 else float("inf") if n == 5 else label for n, label in enumerate(content["labels"])
    ]
    write(labels, content["data"])
    return [3, 5], file, lambda kept: write([content["labels"][n] for n in kept], content["data"][kept])


def spoil_jpeg(root):
    file = root / "train.npz"
    content = dict(np.load(file))
    jpeg, labels, offset = content["jpeg"].copy(), content["label"].astype(np.float32), content["offset"]
    labels[7] = np.nan
    jpeg[(offset[9] + offset[10]) // 2 : offset[10]] = 0
    np.savez(file, **{**content, "jpeg": jpeg, "label": labels})

    def write(kept):
        parts = [content["jpeg"][offset[n] : offset[n + 1]] for n in kept]
        places = np.cumsum([0, *map(len, parts)])
        names = {"name": content["name"][kept]} if "name" in content else {}
        np.savez(file, jpeg=np.concatenate(parts), offset=places, label=content["label"][kept], **names)

    return [7, 9], file, write


@pytest.mark.parametrize(
    ("kind", "spoil"), [("SVHN", spoil_svhn), ("CIFAR10", spoil_cifar), ("CIFAR10JPEG", spoil_jpeg)]
)
def test_images_in_archives_are_left_out_one_by_one(tmp_path, kind, spoil):
    kind = getattr(import_module("zoo.domains.calibration"), kind)
    kind().make(tmp_path)
    bad, file, write = spoil(tmp_path)
    with pytest.raises(DataError, match=rf"{file.name}: image {bad[0]} (has the label nan|\(.*\) cannot be decoded)"):
        opened_calibration(kind, tmp_path, "stop")
    skipping = opened_calibration(kind, tmp_path, "skip")
    assert sum(skipping.skipped.values()) == len(bad)
    assert all(any(f"{file.name}: image {number} " in told for told in skipping.skipped) for number in bad)
    seen_skipping = [(batch["image"], batch["label"]) for batch in seen(skipping, tmp_path, "train", 2)]
    length = len(skipping.items("train")) + len(skipping.items("val")) + len(bad)
    write([number for number in range(length if kind.__name__ != "CIFAR10" else 80) if number not in bad])
    whole = opened_calibration(kind, tmp_path, "stop")
    wanted = [(batch["image"], batch["label"]) for batch in seen(whole, tmp_path, "train", 2)]
    assert differences([list(pair) for pair in seen_skipping], [list(pair) for pair in wanted]) == []


def opened_calibration(kind, root, on_error):
    data = kind(root=str(root), on_error=on_error, batch_size=16)
    data.seed = 0
    for split in ("train", "val"):
        data.items(split)
    return data
