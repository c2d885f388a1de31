"""Files as other people's tools write them: delimiters, headers, byte order marks, Windows' paths, named ids."""

import json
import shutil

import pytest
import torch
from PIL import Image

from zoo.domains.reid import CUHKPEDES, Flickr8k, ImageText, synthesize
from zoo.training import DataError

BOM = b"\xef\xbb\xbf"
SMALL = {"image_size": (24, 12), "batch_size": 2}


def written(file, text):
    """A text as Windows' editors write it."""
    file.write_bytes(BOM + text.replace("\n", "\r\n").encode())


def images(folder, *names):
    """Pictures of 12 x 24 pixels."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (12, 24)).save(folder / name)


def told(data):
    """Name of the image, captions, identity and split of each record."""
    return [(one.file.name, one.captions, one.identity, one.split) for one in data.records(data.folder())]


@pytest.mark.parametrize("mark", ",;\t|")
def test_tables_of_any_delimiter_and_case(tmp_path, mark):
    images(tmp_path, "sub/a.png", "sub/b.png", "c.png")
    rows = ["Image,Caption,ID,Split", "sub\\a.png,a red coat,7,Training", "sub\\a.png,boots,7,Training"]
    rows += ["sub\\b.png,a hat,8,dev", "c.png,a bag,9,TEST"]
    written(tmp_path / "captions.csv", "\n".join([*rows, ""]).replace(",", mark))
    data = ImageText(root=str(tmp_path), **SMALL)
    assert told(data) == [
        ("a.png", ("a red coat", "boots"), 7, "train"),
        ("b.png", ("a hat",), 8, "val"),
        ("c.png", ("a bag",), 9, "test"),
    ]
    assert sorted(next(iter(data.train_dataloader()))["caption"]) == ["a red coat", "boots"]


def test_identities_may_be_texts(tmp_path):
    images(tmp_path, *(f"{letter}.png" for letter in "abcd"))
    people = {"a": "person_9", "b": 12, "c": "person_9", "d": "Ä"}
    records = [
        {"image": f"{name}.png", "caption": f"coat {name}", "id": person, "split": "train" if name < "d" else "test"}
        for name, person in people.items()
    ]
    written(tmp_path / "captions.json", json.dumps(records))
    data = ImageText(str(tmp_path), file="captions.json")
    first, second, third, fourth = (identity for _, _, identity, _ in told(data))
    assert first == third
    assert len({first, second, fourth}) == 3
    records[1]["id"] = None
    written(tmp_path / "captions.json", json.dumps(records))
    with pytest.raises(DataError, match=r"captions\.json: record 2: id is None, expected a whole number"):
        told(data)


@pytest.mark.parametrize("word", ["trian", "", "holdout"])
def test_other_words_for_a_split_are_refused(tmp_path, word):
    (tmp_path / "captions.csv").write_text(f"image,caption,split\na.png,a red coat,{word}\n")
    hint = "; did you mean 'train'\\?" if word == "trian" else ""
    with pytest.raises(DataError, match=rf"captions\.csv:2: split is '{word}', expected train, val or test{hint}"):
        told(ImageText(root=str(tmp_path)))


def test_a_table_of_another_encoding_is_named(tmp_path):
    for text in ("image,caption,split\na.png,a café,test\n", "imagé,caption\n"):
        (tmp_path / "captions.csv").write_bytes(text.encode("latin-1"))
        with pytest.raises(DataError, match=r"captions\.csv:\d+: is no text in UTF-8"):
            told(ImageText(root=str(tmp_path)))


def test_official_files_with_a_mark_and_paths_of_windows(tmp_path):
    synthesize(tmp_path / "set", "cuhk_pedes", seed=1, persons=(4, 2, 2), images=2)
    plain = CUHKPEDES(root=str(tmp_path / "set"), **SMALL)
    shutil.copytree(tmp_path / "set", tmp_path / "other")
    file = tmp_path / "other" / "CUHK-PEDES" / "reid_raw.json"
    records = json.loads(file.read_text())
    assert all("/" in record["file_path"] for record in records)
    written(file, json.dumps([{**one, "file_path": one["file_path"].replace("/", "\\")} for one in records], indent=1))
    other = CUHKPEDES(root=str(tmp_path / "other"), **SMALL)
    for split in ("train", "val", "test"):
        one, two = plain.items(split)[(0, 0)], other.items(split)[(0, 0)]
        assert torch.equal(one["image"], two["image"])


def test_the_original_flickr8k_with_marks_and_an_image_of_no_split(tmp_path):
    """The official caption file names 2258277193_586949ec62.jpg.1, which no list does and no archive holds."""
    images(tmp_path, *(f"Flicker8k_Dataset/{name}.jpg" for name in ("a1", "b2", "c3")))
    lines = [f"{name}.jpg#{number}\ta dog {number}" for name in ("a1", "b2", "c3") for number in range(2)]
    written(tmp_path / "Flickr8k.token.txt", "\n".join([*lines, "2258277193_586949ec62.jpg.1#0\tpeople", ""]))
    for split, name in (("train", "a1"), ("dev", "b2"), ("test", "c3")):
        written(tmp_path / f"Flickr_8k.{split}Images.txt", f"{name}.jpg\n")
    data = Flickr8k(root=str(tmp_path), **SMALL)
    assert [len(data.items(split)) for split in ("train", "val", "test")] == [2, 1, 1]
