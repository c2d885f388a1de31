"""Every reader on files in its format, and what it says of broken ones."""

import csv
import json
import pickle
import shutil

import numpy as np
import pytest
import torch

from zoo.domains.outfit import MANGO, ItemEncoder, MarylandPolyvore, OutfitCSV, PolyvoreMetadata, PolyvoreOutfits
from zoo.domains.outfit.polyvore import read_polyvore
from zoo.domains.outfit.precomputed import read_features
from zoo.errors import InputError
from zoo.training import DataError

TEXT = ItemEncoder(image=None, text="words", words=16)


@pytest.fixture
def own(polyvore, tmp_path):
    """A copy to be damaged."""
    shutil.copytree(polyvore, tmp_path / "own")
    return tmp_path / "own"


def repack(root, out):
    """The same set in the third-party code's json form; their own categories are the coarse ones."""
    whole = read_polyvore(root, "nondisjoint")
    items = whole.catalogue.items
    ids = lambda numbers: [int(items[n].id) for n in numbers]  # noqa: E731
    out.mkdir()
    entries = [{"item_id": int(i.id), "semantic_category": i.group, "title": i.text, "url_name": ""} for i in items]
    (out / "item_metadata.json").write_text(json.dumps(entries))
    for split, word in (("train", "train"), ("val", "valid"), ("test", "test")):
        for folder in ("", "compatibility", "fill_in_the_blank"):
            (out / "nondisjoint" / folder).mkdir(parents=True, exist_ok=True)
        place = out / "nondisjoint"
        (place / f"{word}.json").write_text(json.dumps([{"item_ids": ids(o.items)} for o in whole.outfits[split]]))
        labelled = [{"label": one.label, "question": ids(one.items)} for one in whole.labelled[split]]
        (place / "compatibility" / f"{word}.json").write_text(json.dumps(labelled))
        blanks = [
            {"question": ids(b.items), "answers": ids(b.answers), "label": b.correct} for b in whole.blanks[split]
        ]
        (place / "fill_in_the_blank" / f"{word}.json").write_text(json.dumps(blanks))
    shutil.copytree(root / "images", out / "images")
    return whole


def test_official_files(polyvore):
    found = read_polyvore(polyvore, "nondisjoint")
    assert {split: len(outfits) for split, outfits in found.outfits.items()} == {"train": 240, "val": 60, "test": 60}
    assert {split: len(one) for split, one in found.labelled.items()} == {"train": 480, "val": 120, "test": 120}
    assert len(found.catalogue.items) == 384
    first = json.loads((polyvore / "nondisjoint" / "test.json").read_text())[0]
    assert [found.catalogue.items[n].id for n in found.outfits["test"][0].items] == [
        i["item_id"] for i in first["items"]
    ]
    entry = json.loads((polyvore / "polyvore_item_metadata.json").read_text())
    for item in found.catalogue.items:
        said = entry[item.id]
        assert item.text == (said["title"] or said["url_name"])
        assert item.group == said["semantic_category"]
        assert item.category in said["url_name"]
        assert item.image.name == f"{item.id}.jpg"
        assert item.image.is_file()
    question = json.loads((polyvore / "nondisjoint" / "fill_in_blank_test.json").read_text())[5]
    blank = found.blanks["test"][5]
    right = next(
        i for i, a in enumerate(question["answers"]) if a.split("_")[0] == question["question"][0].split("_")[0]
    )
    assert blank.correct == right
    assert set(blank.items) | {blank.answers[right]} == set(found.outfits["test"][5].items)


def test_no_item_of_the_disjoint_version_stands_in_two_splits(polyvore):
    found = read_polyvore(polyvore, "disjoint")
    items = {split: {n for outfit in outfits for n in outfit.items} for split, outfits in found.outfits.items()}
    for one, other in (("train", "val"), ("train", "test"), ("val", "test")):
        assert not items[one] & items[other]


def test_repacked_files_hold_the_same(polyvore, tmp_path):
    whole = repack(polyvore, tmp_path / "repacked")
    found = read_polyvore(tmp_path / "repacked", "nondisjoint")
    names = [item.id for item in found.catalogue.items]
    assert names == [item.id for item in whole.catalogue.items]
    assert [item.text for item in found.catalogue.items] == [item.text for item in whole.catalogue.items]
    for split in ("train", "val", "test"):
        assert [o.items for o in found.outfits[split]] == [o.items for o in whole.outfits[split]]
        assert [(o.items, o.label) for o in found.labelled[split]] == [
            (o.items, o.label) for o in whole.labelled[split]
        ]
        ours, theirs = found.blanks[split], whole.blanks[split]
        assert [(b.items, b.answers, b.correct) for b in ours] == [(b.items, b.answers, b.correct) for b in theirs]


def edit(file, change):
    value = json.loads(file.read_text())
    change(value)
    file.write_text(json.dumps(value))


DAMAGES = {
    "neither form": (lambda root: (root / "polyvore_item_metadata.json").unlink(),
                     "has neither polyvore_item_metadata.json (official form) nor item_metadata.json (repacked form)"),
    "no split": (lambda root: (root / "nondisjoint" / "valid.json").unlink(), "valid.json: there is no such file"),
    "truncated": (lambda root: (root / "nondisjoint" / "test.json").write_text('[{"set_id": "1", '),
                  "test.json:1: no valid JSON"),
    "no list": (lambda root: (root / "nondisjoint" / "test.json").write_text("{}"),
                "test.json: the file is {}, expected list"),
    "unknown item": (lambda root: edit(root / "nondisjoint" / "test.json",
                                       lambda v: v[3]["items"][0].update(item_id="77")),
                     "test.json: entry 3 (set 902003): there is no item 77"),
    "no item": (lambda root: edit(root / "nondisjoint" / "test.json", lambda v: v[0].update(items=[])),
                "test.json: entry 0: the outfit has no item"),
    "label": (lambda root: (root / "nondisjoint" / "compatibility_test.txt").write_text("1 902000_1\n2 902000_1\n"),
              "compatibility_test.txt:2: label '2' is out of range, expected 0 or 1"),
    "token": (lambda root: (root / "nondisjoint" / "compatibility_test.txt").write_text("1 902000_1 902000_9\n"),
              "compatibility_test.txt:1: 902000_9 is in no outfit of this split"),
    "empty line": (lambda root: (root / "nondisjoint" / "compatibility_test.txt").write_text("1\n"),
                   "compatibility_test.txt:1: the outfit has no item"),
    "empty file": (lambda root: (root / "nondisjoint" / "compatibility_test.txt").write_text("\n"),
                   "compatibility_test.txt: the file holds no question"),
    "two right": (lambda root: edit(root / "nondisjoint" / "fill_in_blank_test.json",
                                    lambda v: v[2].update(answers=[*v[2]["question"][:2], *v[2]["answers"]])),
                  "fill_in_blank_test.json: question 2: 3 of 6 answers are of the question's set, expected one"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_official_files_are_named(own, damage):
    change, message = DAMAGES[damage]
    change(own)
    with pytest.raises(DataError) as error:
        read_polyvore(own, "nondisjoint")
    assert message in str(error.value)
    assert str(own) in str(error.value)


def test_a_missing_picture_stops_or_skips(own, encoder, capsys):
    whole = read_polyvore(own, "nondisjoint")
    number = whole.outfits["test"][0].items[0]
    image = whole.catalogue.items[number].image
    image.unlink()
    arguments = {"root": str(own), "encoder": encoder(), "task": "joint"}
    with pytest.raises(DataError) as error:
        PolyvoreOutfits(**arguments).items("test")
    assert str(error.value).endswith(f"item {whole.catalogue.items[number].id}: there is no image {image}")
    skipping = PolyvoreOutfits(**arguments, on_error="skip")
    wanted = [number in {*s.items, *s.candidates} for s in (*_samples(whole),)]
    assert len(skipping.items("test")) == 180 - sum(wanted)
    assert sum(skipping.skipped.values()) == sum(wanted) > 0
    assert all("there is no image" in reason or "no such image" in reason for reason in skipping.skipped)


def _samples(whole):
    from zoo.domains.outfit.samples import Sample

    for one in whole.labelled["test"]:
        yield Sample(one.id, 0, one.items)
    for blank in whole.blanks["test"]:
        yield Sample(blank.id, 1, blank.items, candidates=blank.answers)


def test_a_corrupt_picture_stops_or_skips(own, encoder):
    whole = read_polyvore(own, "nondisjoint")
    image = whole.catalogue.items[whole.outfits["train"][0].items[0]].image
    image.write_bytes(image.read_bytes()[:100])
    for pixels, name in ((False, "colours"), (True, "test_vit")):
        arguments = {"root": str(own), "encoder": encoder(image=name), "pixels": pixels, "task": "retrieval"}
        with pytest.raises(DataError) as error:
            [PolyvoreOutfits(**arguments).items("train")[0, index] for index in range(240)]
        assert str(image) in str(error.value)
        skipping = PolyvoreOutfits(**arguments, on_error="skip")
        # a picture that only random negatives may need is met in training, not here
        assert 0 < len(skipping.items("train")) < 240
        assert sum(skipping.skipped.values()) == 240 - len(skipping.items("train"))


def mango(root):
    """Twelve products and six outfits in the datathon's tables."""
    root.mkdir(exist_ok=True)
    columns = ["cod_modelo_color", "cod_color_code", "des_color_specification_esp", "des_agrup_color_eng", "des_sex",
               "des_age", "des_line", "des_fabric", "des_product_category", "des_product_aggregated_family",
               "des_product_family", "des_product_type", "des_filename"]  # fmt: skip
    kinds = [("Tops", "Shirt", "Blouse"), ("Bottoms", "Trousers", "Trousers"), ("Outerwear", "Coats", "Coat")]
    with (root / "product_data.csv").open("w", newline="") as stream:
        writer = csv.writer(stream, quoting=csv.QUOTE_ALL)
        writer.writerow(columns)
        for n in range(30):
            group, family, kind = kinds[n % 3]
            row = [
                f"5{n:03d}-02",
                "02",
                "CRUDO",
                "WHITE",
                "Female",
                "Adult",
                "SHE",
                "P-PLANA",
                group,
                family,
                family,
                kind,
            ]
            writer.writerow([*row, f"datathon/images/2019_5{n:03d}_02.jpg"])
    rng = np.random.default_rng(0)
    lines = [f"{o},5{3 * rng.integers(10) + k:03d}-02" for o in range(40) for k in range(3)]
    (root / "outfit_data.csv").write_text("\n".join(["cod_outfit,cod_modelo_color", *lines]) + "\n")
    return root


def test_mango_tables(tmp_path, capsys):
    data = MANGO(root=str(mango(tmp_path)), encoder=TEXT, task="joint")
    whole = data.whole(tmp_path)
    item = whole.catalogue.items[1]
    assert (item.id, item.category, item.group) == ("5001-02", "Trousers", "Bottoms")
    assert item.text == "white p-plana trousers trousers female"
    assert item.image == tmp_path / "images" / "2019_5001_02.jpg"
    assert len(whole.outfits["train"]) == 28
    assert "outfits share 3 or more products with a training outfit and are left out" in capsys.readouterr().err
    batch = next(iter(data.train_dataloader()))
    assert batch["text"].shape[1] == 16
    assert batch["image"].shape[1] == 0


def test_mango_rows_that_point_nowhere(tmp_path):
    file = mango(tmp_path) / "outfit_data.csv"
    file.write_text(file.read_text() + "41,9999-99\n")
    with pytest.raises(DataError, match=r"outfit_data.csv:122: there is no item 9999-99"):
        MANGO(root=str(tmp_path), encoder=TEXT).items("train")
    file.write_text("cod_outfit,modelo\n1,2\n")
    with pytest.raises(
        DataError, match=r"outfit_data.csv:1: no column cod_modelo_color; columns are cod_outfit, modelo"
    ):
        MANGO(root=str(tmp_path), encoder=TEXT).items("train")
    products = tmp_path / "product_data.csv"
    products.write_text(products.read_text()[:-40])
    with pytest.raises(DataError, match=r"product_data.csv:31: "):
        MANGO(root=str(tmp_path), encoder=TEXT).items("train")


def shop(root, split=True):
    words = ["red", "blue"]
    rows = [f"i{n},{words[n % 2]} thing,{'shoe' if n < 8 else 'hat'}" for n in range(16)]
    (root / "items.csv").write_text("item,text,category\n" + "\n".join(rows) + "\n")
    parts = ["train"] * 6 + ["val"] * 2 + ["test"] * 2
    header = "outfit,item,split" if split else "outfit,item"
    lines = [f"o{o},i{n}{',' + parts[o] if split else ''}" for o in range(10) for n in (o % 8, 8 + (o * 3) % 8)]
    (root / "outfits.csv").write_text(header + "\n" + "\n".join(lines) + "\n")


def test_any_csv(tmp_path):
    shop(tmp_path)
    data = OutfitCSV(root=str(tmp_path), encoder=TEXT, task="joint", batch_size=4)
    whole = data.whole(tmp_path)
    assert [len(whole.outfits[split]) for split in ("train", "val", "test")] == [6, 2, 2]
    assert whole.catalogue.categories == ["hat", "shoe"]
    assert next(iter(data.train_dataloader()))["image"].shape[1] == 0
    shop(tmp_path, split=False)
    again = OutfitCSV(root=str(tmp_path), encoder=TEXT).whole(tmp_path)
    assert [len(again.outfits[split]) for split in ("train", "val", "test")] == [7, 1, 2]


def test_csv_mistakes(tmp_path):
    shop(tmp_path)
    file = tmp_path / "outfits.csv"
    good = file.read_text()
    for change, message in (
        (
            good.replace("o1,i1,train", "o1,i1,trian"),
            "outfits.csv:4: split 'trian' is unknown, expected train, val or test",
        ),
        (good.replace("o1,i1,train", "o1,i1,test"), "outfit o1 is in train here and in test at"),
        (good.replace("o1,i1,train", "o1,i99,train"), "outfits.csv:4: there is no item i99"),
        (good.replace("o1,i1,train", "o1,,train"), "outfits.csv:4: column item is empty"),
        (good.replace("o1,i1,train", "o1"), "outfits.csv:4: the row does not have the 3 columns of line 1"),
        ("outfit,item,split\n", "outfits.csv: the table has no row"),
    ):
        file.write_text(change)
        with pytest.raises(DataError) as error:
            OutfitCSV(root=str(tmp_path), encoder=TEXT).items("train")
        assert message in str(error.value)
    items = tmp_path / "items.csv"
    items.write_text(items.read_text() + "i3,again,hat\n")
    with pytest.raises(DataError, match=r"items.csv:18: item i3 stands at .*items.csv:5 too"):
        OutfitCSV(root=str(tmp_path), encoder=TEXT).items("train")


def test_maryland_files(tmp_path):
    rng = np.random.default_rng(0)
    number = 100
    for file, count in (("train_no_dup.json", 8), ("valid_no_dup.json", 3), ("test_no_dup.json", 3)):
        sets = []
        for _ in range(count):
            items = [{"index": i, "name": f"thing {i}", "categoryid": 10 + i % 2, "price": 1.0} for i in (1, 2, 3)]
            sets.append({"name": "x", "set_id": str(number), "items": items, "views": int(rng.integers(9))})
            number += 1
        (tmp_path / file).write_text(json.dumps(sets))
    (tmp_path / "category_id.txt").write_text("10 Ankle boots\n11 Hats\n")
    (tmp_path / "fashion_compatibility_prediction.txt").write_text("1 111_1 111_2 111_3\n0 112_1 113_2\n")
    blank = {"question": ["111_1", "111_3"], "blank_position": 2, "answers": ["111_2", "112_2", "113_2", "113_1"]}
    (tmp_path / "fill_in_blank_test.json").write_text(json.dumps([blank]))
    whole = MarylandPolyvore(root=str(tmp_path), encoder=TEXT).whole(tmp_path)
    items = whole.catalogue.items
    assert [len(whole.outfits[split]) for split in ("train", "val", "test")] == [8, 3, 3]
    assert (items[0].id, items[0].category, items[0].text) == ("100_1", "Hats", "thing 1")
    assert items[0].image == tmp_path / "images" / "100" / "1.jpg"
    assert [(one.label, [items[n].id for n in one.items]) for one in whole.labelled["test"]] == [
        (1, ["111_1", "111_2", "111_3"]), (0, ["112_1", "113_2"])]  # fmt: skip
    assert [items[n].id for n in whole.blanks["test"][0].answers] == blank["answers"]
    assert whole.blanks["test"][0].correct == 0
    data = MarylandPolyvore(root=str(tmp_path), encoder=TEXT, task="joint", batch_size=4)
    assert len(data.items("test")) == 3
    assert len(data.items("val")) == 9  # the validation part lists no questions: they are made up


def test_precomputed_features_in_the_released_pickles(polyvore, tmp_path, encoder):
    whole = read_polyvore(polyvore, "nondisjoint")
    ids = [int(item.id) for item in whole.catalogue.items]
    rows = np.random.default_rng(0).normal(size=(len(ids), 80)).astype(np.float32)
    folder = tmp_path / "precomputed_clip_embeddings"
    folder.mkdir()
    for rank in range(2):
        with (folder / f"polyvore_{rank}.pkl").open("wb") as stream:
            pickle.dump({"ids": ids[rank::2], "embeddings": rows[rank::2]}, stream)
    data = PolyvoreOutfits(root=str(polyvore), encoder=encoder(), features=str(folder), task="joint")
    batch = next(iter(data.val_dataloader()))
    at = batch["numbers"].numpy()
    np.testing.assert_array_equal(torch.cat([batch["image"], batch["text"]], 1).numpy(), rows[at])
    (folder / "polyvore_1.pkl").unlink()
    with pytest.raises(DataError, match=r"has no features of item \d+ \(\d+ of \d+ missing\)"):
        PolyvoreOutfits(root=str(polyvore), encoder=encoder(), features=str(folder)).items("train")
    np.savez(folder / "all.npz", ids=np.array(ids), embeddings=rows)
    with pytest.raises(DataError, match=r"features of width 80, the encoder's have \(48, 16\)"):
        PolyvoreOutfits(root=str(polyvore), encoder=encoder(words=16), features=str(folder)).items("train")


class Hostile:
    def __reduce__(self):
        return print, ("owned",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            pickle.dumps({"ids": [1], "embeddings": Hostile()}),
            "asks for builtins.print; only lists and arrays are read",
        ),
        (pickle.dumps([1, 2]), "expected a dictionary of ids and embeddings"),
        (pickle.dumps({"ids": [1, 2], "embeddings": np.ones((1, 4))}), "2 ids and embeddings of shape (1, 4)"),
        (pickle.dumps({"ids": ["a"], "embeddings": np.ones((1, 4))})[:-9], "cannot be read"),
        (b"\x80\x04", "cannot be read"),
    ],
)
def test_pickles_that_are_no_features(tmp_path, content, message, capsys):
    file = tmp_path / "polyvore_0.pkl"
    file.write_bytes(content)
    with pytest.raises(DataError) as error:
        read_features(file)
    assert message in str(error.value)
    assert "owned" not in capsys.readouterr().out


def test_missing_empty_and_wrong_arguments(tmp_path, encoder):
    with pytest.raises(InputError, match="no data for polyvore_outfits: looked in"):
        PolyvoreOutfits(root=str(tmp_path / "nowhere")).items("train")
    with pytest.raises(InputError, match="the data folder of mango_outfits is empty"):
        MANGO(root=str(tmp_path)).items("train")
    for arguments, message in (
        ({"task": "ranking"}, "data.task must be one of compatibility, retrieval, joint, got 'ranking'"),
        ({"version": "random"}, "data.version must be one of nondisjoint, disjoint"),
        ({"negatives": -1}, "data.negatives must be at least 0, got -1"),
        ({"pixels": True, "encoder": encoder()}, "data.pixels needs an encoder.image of timm"),
    ):
        with pytest.raises(InputError, match=message):
            PolyvoreOutfits(**arguments)


@pytest.mark.realdata
def test_polyvore_metadata_counts(real_data):
    data = PolyvoreMetadata(root=str(real_data / "outfit/polyvore_outfits_meta"), encoder=TEXT, task="joint")
    whole = data.whole(data.folder())
    assert len(whole.catalogue.items) == 25_132
    assert [len(whole.outfits[split]) for split in ("train", "val", "test")] == [3500, 500, 1000]
    assert [len(whole.labelled[split]) for split in ("train", "val", "test")] == [7000, 1000, 2000]
    assert whole.notes == ["5070 of 25132 items have no known category"]
    assert sum(one.label for one in whole.labelled["test"]) == 1000


@pytest.mark.realdata
def test_mango_counts(real_data):
    for version, counts, left in (("nondisjoint", [4950, 373, 732], None), ("disjoint", None, 0)):
        data = MANGO(root=str(real_data / "outfit/mango_outfits"), encoder=TEXT, version=version)
        whole = data.whole(data.folder())
        assert len(whole.catalogue.items) == 9222
        if counts:
            assert [len(whole.outfits[split]) for split in ("train", "val", "test")] == counts
        else:
            items = {split: {n for o in chosen for n in o.items} for split, chosen in whole.outfits.items()}
            assert len(items["train"] & items["test"]) == left == len(items["train"] & items["val"])
