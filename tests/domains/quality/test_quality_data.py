"""Readers of PIQ23, KonIQ-10k, AGIQA-3K and scored csv files: layouts, splits, batches, what is wrong with a folder."""

import csv
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from zoo.domains.quality import AGIQA3K, PIQ23, GradedDistortions, KonIQ10k, ScoredImages
from zoo.domains.quality.data import below, split_by_seed
from zoo.domains.quality.synthesis import synthesize_piq23, synthesize_scored
from zoo.domains.quality.views import evaluation_views
from zoo.errors import InputError
from zoo.training import read_image

SMALL = {"resize": 32, "crop": 24}
CLASSES = (PIQ23, KonIQ10k, AGIQA3K, ScoredImages, GradedDistortions)


@pytest.fixture(scope="module")
def piq23(tmp_path_factory):
    folder = tmp_path_factory.mktemp("piq23")
    synthesize_piq23(folder)
    return folder


@pytest.fixture
def own(piq23, tmp_path):
    """A copy that a test may spoil."""
    return shutil.copytree(piq23, tmp_path / "own")


@pytest.fixture
def scored(tmp_path):
    folder = tmp_path / "scored"
    folder.mkdir()
    synthesize_scored(folder)
    return folder


def names(data, split):
    items = data.items(split)
    return [items.items.name(int(index)) for index in items.subset]


def message(root, call):
    with pytest.raises(InputError) as error:
        call()
    return str(error.value).replace(str(root), "ROOT")


# -- what all of them share


@pytest.mark.parametrize("cls", CLASSES)
def test_batches_keep_the_contract(cls):
    data = cls(synthesize=True, batch_size=8, **SMALL)
    batch = next(iter(data.train_dataloader()))
    size = len(batch["id"])
    paired = data.pairs != "batch"
    assert size == (16 if paired else 8)
    for name in ("image", "face"):
        assert batch[name].shape == (size, 3, 24, 24)
        assert batch[name].dtype == torch.float32
    assert (batch["score"].dtype, batch["scene"].dtype) == (torch.float32, torch.int64)
    assert batch["score"].shape == batch["scene"].shape == (size,)
    assert len(batch["scene_name"]) == size
    assert "aux" not in batch
    if paired:
        assert batch["pair"].tolist() == [[row, 8 + row] for row in range(8)]
        assert torch.equal(batch["scene"][:8], batch["scene"][8:])
    else:
        assert "pair" not in batch
    tested = next(iter(data.test_dataloader()))
    assert tested["image"].shape[1:] == tested["face"].shape[1:] == (5, 3, 24, 24)
    assert "pair" not in tested


@pytest.mark.parametrize("cls", CLASSES)
def test_splits_share_no_image_and_are_a_function_of_the_seed(cls):
    data, again = cls(synthesize=True, **SMALL), cls(synthesize=True, **SMALL)
    parts = {split: names(data, split) for split in ("train", "val", "test")}
    assert all(parts.values())
    together = [name for part in parts.values() for name in part]
    assert len(set(together)) == len(together)
    assert parts == {split: names(again, split) for split in parts}


@pytest.mark.parametrize("cls", CLASSES)
def test_epochs_repeat_and_augmentation_differs_between_them(cls):
    def epoch(number):
        data = cls(synthesize=True, batch_size=8, steps_per_epoch=2, **SMALL)
        data.resume(number, 0)
        return [(batch["id"], batch["image"]) for batch in data.train_dataloader()]

    one, same, other = epoch(1), epoch(1), epoch(2)
    assert [ids for ids, _ in one] == [ids for ids, _ in same]
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(one, same, strict=True))
    assert [ids for ids, _ in one] != [ids for ids, _ in other]


def test_workers_change_nothing():
    def batches(workers):
        data = GradedDistortions(synthesize=True, batch_size=8, steps_per_epoch=2, workers=workers, **SMALL)
        return list(data.train_dataloader())

    for alone, shared in zip(batches(0), batches(2), strict=True):
        assert alone["id"] == shared["id"]
        assert torch.equal(alone["image"], shared["image"])


def test_an_evaluation_cuts_the_five_crops_of_prediction(piq23):
    data = PIQ23(root=str(piq23), **SMALL)
    item = data.items("test")[0, 3]
    expected = evaluation_views(read_image(piq23 / item["id"]), 32, 24)
    assert torch.equal(item["image"], expected)
    assert torch.equal(item["face"], expected)  # without faces the whole image


def test_image_and_face_are_cut_independently_in_training(piq23):
    items = PIQ23(root=str(piq23), **SMALL).items("train")
    pairs = [(item["image"], item["face"]) for item in (items[0, index] for index in range(10))]
    assert not all(torch.equal(image, face) for image, face in pairs)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"pairs": "both"}, "data.pairs must be one of csv, batch, epoch, got 'both'"),
        ({"faces": "dlib"}, "data.faces must be one of none, csv, cascade, yunet, got 'dlib'"),
        ({"partners": 0}, "data.partners must be at least 1, got 0"),
        ({"crop": 400, "resize": 384}, "data.crop must be 1 to data.resize, got 400 and 384"),
        ({"margin": -1}, "data.margin must not be negative, got -1"),
        ({"pairs": "epoch", "pairs_file": "exp.csv"}, "data.pairs_file belongs to the plan csv, data.pairs is epoch"),
        ({"attribute": "sharpness"}, "data.attribute must be one of details, exposure, overall, got 'sharpness'"),
        ({"split": "random"}, "data.split must be one of device, scene, got 'random'"),
        ({"validation": "test"}, "data.validation must be one of holdout, official, got 'test'"),
    ],
)
def test_arguments_out_of_range(arguments, expected):
    assert message("/nowhere", lambda: PIQ23(**arguments)) == expected


# -- PIQ23


@pytest.mark.parametrize("attribute", ["details", "exposure", "overall"])
@pytest.mark.parametrize("split", ["device", "scene"])
def test_piq23_attributes_and_official_splits(piq23, attribute, split):
    data = PIQ23(root=str(piq23), attribute=attribute, split=split, validation="official", **SMALL)
    train, test = names(data, "train"), names(data, "test")
    assert len(train) + len(test) == 17 * 6
    assert all(name.startswith(f"{attribute.capitalize()}/") for name in train)
    scenes = [{name.partition("_")[2].split(".")[0] for name in part} for part in (train, test)]
    if split == "scene":
        assert not scenes[0] & scenes[1]
        assert scenes[1] == {f"Indoor_Scene_{n}" for n in (1, 5)} | {
            "Lowlight_Scene_16",
            "Night_Scene_28",
            "Outdoor_Scene_33",
        }
    else:
        assert scenes[0] == scenes[1]
    assert names(data, "val") == test  # as released


def test_scene_numbers_are_the_same_in_all_splits(piq23):
    data = PIQ23(root=str(piq23), split="device", **SMALL)
    numbers = {
        split: {
            item["scene_name"]: item["scene"]
            for item in (data.items(split)[0, index] for index in range(len(data.items(split))))
        }
        for split in ("train", "val", "test")
    }
    assert numbers["train"] == numbers["test"]
    assert set(numbers["val"].items()) <= set(numbers["train"].items())


def test_holdout_takes_whole_scenes_of_every_condition_in_the_scene_split(piq23):
    data = PIQ23(root=str(piq23), **SMALL)
    held, trained = (
        {name.partition("_")[2].split(".")[0] for name in names(data, split)} for split in ("val", "train")
    )
    assert not held & trained
    assert sorted(scene.split("_")[0] for scene in held) == ["Indoor", "Lowlight", "Night", "Outdoor"]
    others = PIQ23(root=str(piq23), holdout_seed=1, **SMALL)
    assert names(others, "val") != names(data, "val")
    assert names(others, "test") == names(data, "test")


def test_holdout_takes_images_of_every_scene_in_the_device_split(piq23):
    data = PIQ23(root=str(piq23), split="device", **SMALL)
    official = PIQ23(root=str(piq23), split="device", validation="official", **SMALL)
    assert sorted([*names(data, "train"), *names(data, "val")]) == sorted(names(official, "train"))
    assert len({name.partition("_")[2].split(".")[0] for name in names(data, "val")}) == 17


def test_scores_of_the_attribute_are_used(piq23):
    for attribute in ("details", "exposure"):
        with (piq23 / f"Scores_{attribute.capitalize()}.csv").open() as stream:
            table = {row["IMAGE"]: float(row["JOD"]) for row in csv.DictReader(stream)}
        items = PIQ23(root=str(piq23), attribute=attribute, **SMALL).items("test")
        for index in range(len(items)):
            assert items[0, index]["score"] == table[items[0, index]["id"].split("/")[1]]


def test_made_pairs_are_of_the_attribute_and_can_be_read_back(piq23, tmp_path):
    data = PIQ23(root=str(piq23), attribute="exposure", **SMALL)
    data.prepare(piq23, tmp_path)
    file = tmp_path / "pairs_exposure_scene.csv"
    again = PIQ23(root=str(piq23), attribute="exposure", pairs_file=str(file), **SMALL)
    one, two = (
        sorted(
            tuple(batch["id"][row] for row in pair)
            for batch in made.train_dataloader()
            for pair in batch["pair"].tolist()
        )
        for made in (data, again)
    )
    assert one == two
    assert len(one) == 2 * len(data.items("train"))
    other = PIQ23(root=str(piq23), attribute="details", pairs_file=str(file), **SMALL)
    assert "are these pairs of another attribute?" in message(piq23, other.train_dataloader)


def test_pairs_of_images_that_are_not_trained_on_are_counted(piq23, tmp_path):
    PIQ23(root=str(piq23), validation="official", **SMALL).prepare(piq23, tmp_path)
    file = tmp_path / "pairs_overall_scene.csv"
    data = PIQ23(root=str(piq23), pairs_file=str(file), batch_size=6, **SMALL)
    loader = data.train_dataloader()
    used = sum(len(batch["pair"]) for batch in loader)
    assert used == 2 * len(data.items("train"))
    total = 2 * (len(data.items("train")) + len(data.items("val")))
    assert list(data.skipped) == [
        f"train: {file}: {total - used} of {total} pairs hold an image that is not trained on"
    ]


def test_piq23_folder_without_an_image(own):
    (own / "Overall" / "0_Indoor_Scene_0.jpg").unlink()
    place = "ROOT/Scores_Overall.csv:2 (Overall/0_Indoor_Scene_0.jpg)"
    for split in ("train", "val"):
        data = PIQ23(root=str(own), **SMALL)
        if "Overall/0_Indoor_Scene_0.jpg" in {photo.name for photo in data.photos(own) if photo.split == split}:
            count = sum(photo.split == split for photo in data.photos(own))
            assert message(own, lambda data=data, split=split: data.items(split)) == (
                f"{place}: there is no image ROOT/Overall/0_Indoor_Scene_0.jpg; 1 of {count} images of the {split} "
                "split are missing"
            )
    skipping = PIQ23(root=str(own), on_error="skip", **SMALL)
    total = len(skipping.items("train")) + len(skipping.items("val"))
    assert total == 12 * 6 - 1
    assert len(skipping.skipped) == 1
    assert f"{own}/Scores_Overall.csv:2 (Overall/0_Indoor_Scene_0.jpg): there is no image" in next(
        iter(skipping.skipped)
    )


def test_skipped_images_are_no_partners(own):
    spoilt = [f"{number}_Indoor_Scene_0.jpg" for number in range(1, 6)]
    for name in spoilt:
        (own / "Overall" / name).write_bytes(b"")
    data = PIQ23(root=str(own), on_error="skip", split="device", validation="official", pairs="epoch", **SMALL)
    seen = {name for batch in data.train_dataloader() for name in batch["id"]}
    assert not seen & {f"Overall/{name}" for name in spoilt}
    assert len(data.skipped) == sum(number % 3 != 2 for number in range(1, 6))


def test_truncated_image_is_named(own):
    file = own / "Overall" / "0_Indoor_Scene_0.jpg"
    file.write_bytes(file.read_bytes()[:200])
    data = PIQ23(root=str(own), split="device", validation="official", **SMALL)
    index = names(data, "train").index("Overall/0_Indoor_Scene_0.jpg")
    told = message(own, lambda: data.items("train")[0, index])
    assert told.startswith("ROOT/Scores_Overall.csv:2 (Overall/0_Indoor_Scene_0.jpg): the image is damaged (")


def test_piq23_missing_tables(own):
    (own / "Scores_Exposure.csv").unlink()
    data = PIQ23(root=str(own), attribute="exposure", **SMALL)
    assert message(own, lambda: data.items("train")) == (
        "ROOT: there is no Scores_Exposure.csv, nor Scores/Scores_Exposure.csv; zoo data show piq23 says the layout"
    )
    shutil.rmtree(own / "Test split")
    device = PIQ23(root=str(own), split="device", **SMALL)
    assert message(own, lambda: device.items("train")) == (
        "ROOT: there is no Device Split.csv, nor Test split/Device Split.csv; zoo data show piq23 says the layout"
    )
    assert len(names(PIQ23(root=str(own), **SMALL), "test")) == 30  # the scene split is known without its table


def test_piq23_tables_as_the_repository_has_them(own, piq23):
    (own / "Scores").mkdir()
    for file in own.glob("Scores_*.csv"):
        file.rename(own / "Scores" / file.name)
    rows = "\n".join(f"{scene},{'Test' if 'Night' in scene else 'Train'},6" for scene in sorted(
        {name.partition("_")[2].split(".")[0] for split in ("train", "val", "test")
         for name in names(PIQ23(root=str(piq23), **SMALL), split)}))  # fmt: skip
    (own / "Test split" / "Scene Split.csv").write_text(f"SCENE,SPLIT,NB IMAGES\n{rows}\n")
    tested = names(PIQ23(root=str(own), **SMALL), "test")
    assert {name.split("_")[1] for name in tested} == {"Night"}
    (own / "Test split" / "Scene Split.csv").write_text("SCENE,SPLIT,NB IMAGES\nIndoor_Scene_0,Train,6\n")
    told = message(own, lambda: PIQ23(root=str(own), **SMALL).items("test"))
    assert told == "ROOT/Scores/Scores_Overall.csv:8: Scene Split.csv does not say where Indoor_Scene_2 belongs"


def test_piq23_tables_of_one_split(own, piq23):
    whole = PIQ23(root=str(piq23), split="device", **SMALL)
    expected = {split: sorted(names(whole, split)) for split in ("train", "val", "test")}
    with (own / "Scores_Overall.csv").open(newline="") as stream:
        rows = list(csv.reader(stream))
    test = {name.split("/")[1] for name in expected["test"]}
    folder = own / "Test split" / "Device Split"
    folder.mkdir()
    for part in ("Train", "Test"):
        with (folder / f"DeviceSplit_{part}_Scores_Overall.csv").open("w", newline="") as stream:
            chosen = [row for row in rows[1:] if (row[9] in test) == (part == "Test")]
            csv.writer(stream).writerows([[*rows[0], "SPLIT"], *([*row, part] for row in chosen)])
    for file in (own / "Scores_Overall.csv", own / "Test split" / "Device Split.csv"):
        file.unlink()
    data = PIQ23(root=str(own), split="device", **SMALL)
    assert {split: sorted(names(data, split)) for split in expected} == expected
    table = folder / "DeviceSplit_Test_Scores_Overall.csv"
    text = (folder / "DeviceSplit_Train_Scores_Overall.csv").read_text().splitlines()
    table.write_text("\n".join([*table.read_text().splitlines(), text[1]]))
    told = message(own, lambda: PIQ23(root=str(own), split="device", **SMALL).items("test"))
    assert told == (
        "ROOT/Test split/Device Split/DeviceSplit_Test_Scores_Overall.csv: 0_Indoor_Scene_0.jpg stands in "
        "DeviceSplit_Train_Scores_Overall.csv too"
    )


def test_path_of_another_attribute(own):
    shutil.copy(own / "Scores_Exposure.csv", own / "Scores_Overall.csv")
    told = message(own, lambda: PIQ23(root=str(own), **SMALL).items("train"))
    assert told == (
        "ROOT/Scores_Overall.csv:2: IMAGE PATH is Exposure/0_Indoor_Scene_0.jpg, expected Overall/0_Indoor_Scene_0.jpg"
    )


# -- KonIQ-10k, AGIQA-3K


def test_koniq_official_sets_and_other_tables(tmp_path):
    data = KonIQ10k(synthesize=True, **SMALL)
    assert [len(data.items(split)) for split in ("train", "val", "test")] == [16, 6, 8]
    scaled = KonIQ10k(synthesize=True, score_unit=15.0, **SMALL)
    assert scaled.items("test")[0, 0]["score"] == data.items("test")[0, 0]["score"] / 15
    assert message(tmp_path, lambda: KonIQ10k(score_unit=0)) == "data.score_unit must be above 0, got 0"
    root = shutil.copytree(data.folder(), tmp_path / "koniq")
    official = root / "koniq10k_distributions_sets.csv"
    with official.open() as stream:
        rows = list(csv.DictReader(stream))
    lines = (f"1024x768/{row['image_name']}\t{row['MOS']}\tblur\thuman\tinvalid\tinvalid\n" for row in rows)
    (root / "koniq10k_all_clip.txt").write_text("".join(lines))
    official.unlink()
    drawn = KonIQ10k(root=str(root), **SMALL)
    assert [len(drawn.items(split)) for split in ("train", "val", "test")] == [21, 3, 6]  # 70, 10, 20 %
    (root / "koniq10k_all_clip.txt").unlink()
    assert message(root, lambda: KonIQ10k(root=str(root), **SMALL).items("train")) == (
        "ROOT: there is none of the tables koniq10k_distributions_sets.csv, koniq10k_scores_and_distributions.csv, "
        "koniq10k_all_clip.txt"
    )


def test_agiqa_prompts_stand_in_one_split(tmp_path):
    data = AGIQA3K(synthesize=True, **SMALL)
    numbers = [{name.rsplit("_", 1)[1] for name in names(data, split)} for split in ("train", "val", "test")]
    assert [len(found) for found in numbers] == [7, 1, 2]
    assert len(set.union(*numbers)) == 10
    align = AGIQA3K(synthesize=True, score="align", **SMALL)
    assert align.items("test")[0, 0]["score"] != data.items("test")[0, 0]["score"]
    moved = shutil.copytree(data.folder(), tmp_path / "agiqa")
    (moved / "images").mkdir()
    for file in moved.glob("*.jpg"):
        file.rename(moved / "images" / file.name)
    assert len(AGIQA3K(root=str(moved), **SMALL).items("test")) == len(data.items("test"))


# -- any csv


def test_scored_csv_with_split_and_without_scene(scored):
    with (scored / "scores.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 50
    splits = ["train", "train", "train", "val", "test"]
    text = "".join(f"{row['path']},{row['score']},{splits[place % 5]}\n" for place, row in enumerate(rows))
    (scored / "own.csv").write_text(f"path,score,split\n{text}")
    data = ScoredImages(root=str(scored), table="own.csv", **SMALL)
    assert [len(data.items(split)) for split in ("train", "val", "test")] == [30, 10, 10]
    assert set(next(iter(data.test_dataloader()))["scene_name"]) == {"all"}


def test_scenes_stand_in_one_split(scored):
    data = ScoredImages(root=str(scored), **SMALL)
    scenes = [{name[:9] for name in names(data, split)} for split in ("train", "val", "test")]
    assert [len(found) for found in scenes] == [7, 1, 2]
    assert len(set.union(*scenes)) == 10


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "path,scores\na.jpg,1\n",
            "ROOT/scores.csv:1: has no column 'score', only path, scores; did you mean 'scores'?",
        ),
        ("path,score,split\na.jpg,1,dev\n", "ROOT/scores.csv:2: split is 'dev', expected train, val, test"),
        ("path,score\na.jpg,high\n", "ROOT/scores.csv:2: score is 'high', no number"),
        ("path,score,scene\na.jpg,1,\n", "ROOT/scores.csv:2: scene is empty"),
        (
            "path,score,split\ngone.jpg,1,train\n",
            "ROOT/scores.csv:2 (gone.jpg): there is no image ROOT/gone.jpg; "
            "1 of 1 images of the train split are missing",
        ),
        (None, "ROOT/scores.csv: there is no such table"),
    ],
)
def test_bad_scored_csv(scored, text, expected):
    table = scored / "scores.csv"
    table.unlink()
    if text is not None:
        table.write_text(text)
    assert message(scored, lambda: ScoredImages(root=str(scored), **SMALL).items("train")) == expected


def test_no_two_images_of_a_scene(scored):
    lines = [f"images/{scene:02d}_0.jpg,{scene},scene {scene}" for scene in range(10)]
    (scored / "scores.csv").write_text("\n".join(["path,score,scene", *lines]))
    told = message(scored, ScoredImages(root=str(scored), **SMALL).train_dataloader)
    assert told == "ROOT: no two of 7 training images are of one scene; nothing pairs"


def test_empty_split(scored):
    (scored / "scores.csv").write_text("path,score,split\nimages/00_0.jpg,1,train\nimages/00_1.jpg,2,train\n")
    data = ScoredImages(root=str(scored), **SMALL)
    assert message(scored, lambda: data.items("test")) == "ROOT: the test split of scored holds no usable item"


# -- faces, orientation, LIQE logits


def test_boxes_are_cut_out_with_their_margin(piq23, tmp_path):
    data = PIQ23(root=str(piq23), **SMALL)
    name = names(data, "test")[0]
    (tmp_path / "boxes.csv").write_text(f"file,left,top,right,bottom\n{name},20,10,70,60\n")
    boxed = PIQ23(root=str(piq23), faces="csv", boxes=str(tmp_path / "boxes.csv"), margin=5, **SMALL)
    item = boxed.items("test")[0, 0]
    image = read_image(piq23 / name)
    assert torch.equal(item["image"], evaluation_views(image, 32, 24))
    assert torch.equal(item["face"], evaluation_views(image[:, 5:65, 15:75], 32, 24))
    whole = boxed.items("test")[0, 1]
    assert torch.equal(whole["image"], whole["face"])  # a photograph without a row


def test_box_that_points_nowhere(piq23, tmp_path):
    file = tmp_path / "boxes.csv"
    file.write_text("file,left,top,right,bottom\nOverall/0_Indoor_Scene_0.jpeg,20,10,70,60\n")
    told = message(tmp_path, lambda: PIQ23(root=str(piq23), faces="csv", boxes=str(file), **SMALL).items("test"))
    assert told == (
        "ROOT/boxes.csv:2: 'Overall/0_Indoor_Scene_0.jpeg' is no image of the data; "
        "did you mean 'Overall/0_Indoor_Scene_0.jpg'?"
    )


def test_box_outside_its_image(piq23, tmp_path):
    file = tmp_path / "boxes.csv"
    name = names(PIQ23(root=str(piq23), **SMALL), "test")[0]
    file.write_text(f"file,left,top,right,bottom\n{name},200,10,250,60\n")
    data = PIQ23(root=str(piq23), faces="csv", boxes=str(file), **SMALL)
    line = next(photo.place for photo in data.photos(piq23) if photo.name == name)
    told = message(tmp_path, lambda: data.items("test")[0, 0])
    assert told == f"{line}: the face box (200, 10, 250, 60) lies outside the image of 96 x 72 pixels"


def test_orientation_is_respected_once_for_both_branches(scored):
    name = "images/00_0.jpg"
    upright = read_image(scored / name)
    stored = Image.fromarray(upright.rot90(1, (1, 2)).permute(1, 2, 0).contiguous().numpy())
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise to see it upright
    stored.save(scored / "turned.png", exif=exif)
    (scored / "boxes.csv").write_text("file,left,top,right,bottom\nturned.png,10,20,60,70\n")
    (scored / "scores.csv").write_text("path,score,split\nturned.png,1,test\n")
    data = ScoredImages(root=str(scored), faces="csv", boxes="boxes.csv", margin=0, **SMALL)
    item = data.items("test")[0, 0]
    assert torch.equal(item["image"], evaluation_views(upright, 32, 24))
    assert torch.equal(item["face"], evaluation_views(upright[:, 20:70, 10:60], 32, 24))


def test_liqe_logits_come_along(scored):
    folder = scored / "LIQE"
    folder.mkdir()
    for file in (scored / "images").glob("*.jpg"):
        np.save(folder / f"{file.stem}.npy", np.full((1, 495), float(file.stem[:2]), dtype=np.float16))
    data = ScoredImages(root=str(scored), aux="LIQE", batch_size=4, **SMALL)
    batch = next(iter(data.train_dataloader()))
    assert (batch["aux"].shape, batch["aux"].dtype) == ((8, 495), torch.float32)
    assert batch["aux"][:, 7].tolist() == [float(name[7:9]) for name in batch["id"]]
    gone = names(data, "test")[0]
    (folder / f"{gone[7:-4]}.npy").unlink()
    told = message(scored, lambda: data.items("test")[0, 0])
    assert gone in told
    assert "zoo data make liqe" in told


# -- small helpers


def test_shares_are_exact_and_do_not_depend_on_the_order():
    every = [f"{number}" for number in range(1000)]
    split = split_by_seed(every, 0, 0.1, 0.2)
    assert [list(split.values()).count(part) for part in ("train", "val", "test")] == [700, 100, 200]
    assert split == split_by_seed(every[::-1], 0, 0.1, 0.2) != split_by_seed(every, 1, 0.1, 0.2)


def test_paths_of_a_recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "root"
    root.mkdir()
    (root / "boxes.csv").touch()
    (tmp_path / "outside.csv").touch()
    assert below(root, None) is None
    assert below(root, "boxes.csv") == root / "boxes.csv"
    assert str(below(root, "outside.csv")) == "outside.csv"
    assert below(root, "nowhere.csv") == root / "nowhere.csv"
    assert below(root, str(tmp_path / "outside.csv")) == tmp_path / "outside.csv"
