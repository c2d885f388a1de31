"""Tables of scores: what is read, and what is wrong with file, line and column."""

import pytest

from zoo.domains.quality.agiqa import read_agiqa
from zoo.domains.quality.koniq import read_koniq
from zoo.domains.quality.piq23 import TEST_SCENES, read_device_split, read_portraits
from zoo.domains.quality.tables import read_table
from zoo.training import DataError

HEADER = "IMAGE PATH,JOD,IMAGE,SCENE,CONDITION"
GOOD = "Overall\\7_Night_Scene_22.jpg,-0.25,7_Night_Scene_22.jpg,Night_Scene_22,Night"


def told(tmp_path, name, text, reader, **options):
    """The message about a file, its path as FILE."""
    file = tmp_path / name
    if isinstance(text, bytes):
        file.write_bytes(text)
    elif text is not None:
        file.write_text(text)
    with pytest.raises(DataError) as error:
        reader(file, **options)
    return str(error.value).replace(str(file), "FILE")


def test_a_portrait(tmp_path):
    file = tmp_path / "Scores_Overall.csv"
    file.write_text(f"\ufeff{HEADER}\r\n{GOOD}\r\n\r\n")
    (found,) = read_portraits(file)
    assert (found.image, found.path, found.jod, found.scene) == (
        "7_Night_Scene_22.jpg",
        "Overall/7_Night_Scene_22.jpg",
        -0.25,
        "Night_Scene_22",
    )
    assert found.line.place == f"{file}:2"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "FILE: there is no such table"),
        ("", "FILE: the table holds no line with an image"),
        (f"{HEADER}\n", "FILE: the table holds no line with an image"),
        (b"\xff\xd8\xff\xe0", "FILE:1: is no text in UTF-8 (invalid start byte)"),
        (
            f"{HEADER.replace('JOD', 'JODs')}\n{GOOD}\n",
            "FILE:1: has no column 'JOD', only IMAGE PATH, JODs, IMAGE, SCENE, CONDITION; did you mean 'JODs'?",
        ),
        (f"{HEADER}\n{GOOD}\nOverall\\8_Nig", "FILE:3: has 1 values, expected 5 (truncated file?)"),
        (f"{HEADER}\n{GOOD.replace('-0.25', 'good')}\n", "FILE:2: JOD is 'good', no number"),
        (f"{HEADER}\n{GOOD.replace('-0.25', 'nan')}\n", "FILE:2: JOD is nan, not a finite number"),
        (f"{HEADER}\n{GOOD.replace('-0.25', '')}\n", "FILE:2: JOD is empty"),
        (f"{HEADER}\n{GOOD}\n{GOOD}\n", "FILE:3: 7_Night_Scene_22.jpg stands in line 2 too"),
    ],
)
def test_bad_portraits(tmp_path, text, message):
    assert told(tmp_path, "Scores_Overall.csv", text, read_portraits) == message


def test_bad_splits(tmp_path):
    message = told(tmp_path, "Device Split.csv", "IMAGE,SPLIT\na.jpg,Train\nb.jpg,Validation\n", read_device_split)
    assert message == "FILE:3: SPLIT is 'Validation', expected Train or Test"


def test_koniq_in_its_three_tables(tmp_path):
    official, plain, liqe = (
        tmp_path / name
        for name in (
            "koniq10k_distributions_sets.csv",
            "koniq10k_scores_and_distributions.csv",
            "koniq10k_all_clip.txt",
        )
    )
    official.write_text("image_name,c1,c2,c3,c4,c5,c_total,MOS,SD,set\n1.jpg,0,0,0,1,0,100,71.5,0.5,validation\n")
    plain.write_text("image_name,c1,c2,c3,c4,c5,c_total,MOS,SD,MOS_zscore\n1.jpg,0,0,0,1,0,100,3.9,0.5,71.5\n")
    liqe.write_text("1024x768/1.jpg\t3.9\toverexposure\thuman\tinvalid\tinvalid\n")
    assert read_koniq(official)[0][:3] == ("1.jpg", 71.5, "val")
    assert read_koniq(plain)[0][:3] == ("1.jpg", 3.9, None)
    assert read_koniq(liqe)[0][:3] == ("1.jpg", 3.9, None)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "koniq10k_distributions_sets.csv",
            "image_name,MOS,set\n1.jpg,3,dev\n",
            "FILE:2: set is 'dev', expected training, validation, test",
        ),
        ("koniq10k_all_clip.txt", "1024x768/1.jpg\t3.9\n", "FILE:1: has 2 values, expected 6 (truncated file?)"),
    ],
)
def test_bad_koniq(tmp_path, name, text, message):
    assert told(tmp_path, name, text, read_koniq) == message


def test_prompts_with_commas(tmp_path):
    file = tmp_path / "data.csv"
    file.write_text('name,prompt,mos_quality,mos_align\na.jpg,"a cat, red, sitting",3.5,2.5\n')
    assert read_agiqa(file)[0][:4] == ("a.jpg", "a cat, red, sitting", 3.5, 2.5)


@pytest.fixture
def labels(real_data):
    return real_data / "quality" / "labels_only"


@pytest.mark.realdata
def test_ntire_tables_hold_the_official_scene_split(labels):
    train = read_portraits(labels / "ntire24_overall_scene_train.csv")
    test = read_portraits(labels / "ntire24_overall_scene_test.csv", scored=False)
    assert (len(train), len(test)) == (3630, 1486)
    assert len({one.image for one in [*train, *test]}) == 5116
    assert {one.scene for one in test} == set(TEST_SCENES)
    assert len({one.scene for one in train}) == 35
    assert not {one.scene for one in train} & set(TEST_SCENES)
    counts = [sum(one.scene == scene for one in test) for scene in TEST_SCENES]
    assert counts == [124, 50, 125, 94, 87, 102, 125, 112, 114, 112, 119, 45, 125, 78, 74]  # the sheet's, section 6
    for scene in {one.scene for one in train}:
        mean = sum(one.jod for one in train if one.scene == scene) / sum(one.scene == scene for one in train)
        assert abs(mean) < 1e-9  # scores of two scenes cannot be compared
    assert (min(one.jod for one in train), max(one.jod for one in train)) == pytest.approx((-7.13, 4.97), abs=0.005)


@pytest.mark.realdata
def test_a_table_without_scores_cannot_be_trained_on(labels):
    file = labels / "ntire24_overall_scene_test.csv"
    with pytest.raises(DataError) as error:
        read_portraits(file)
    assert str(error.value) == (
        f"{file}:1: has no column 'JOD', only IMAGE PATH, CI LOW, CI HIGH, CI RANGE, QUALITY LEVEL, IMAGE, SCENE, "
        "CONDITION"
    )


@pytest.mark.realdata
def test_koniq_labels(labels):
    rated = read_koniq(labels / "koniq10k_all_clip.txt")
    assert len(rated) == 10073
    assert min(one.mos for one in rated) == pytest.approx(1.096154)
    assert max(one.mos for one in rated) == pytest.approx(4.31)


@pytest.mark.realdata
def test_agiqa_labels(labels):
    generated = read_agiqa(labels / "agiqa3k_data.csv")
    assert len(generated) == 2982
    assert len({one.prompt for one in generated}) == 300
    assert 0 <= min(one.quality for one in generated) < max(one.quality for one in generated) <= 5


def test_line_numbers_count_quoted_line_breaks(tmp_path):
    file = tmp_path / "scores.csv"
    file.write_text('path,score\n"a\nb.jpg",1\nc.jpg,x\n')
    lines = read_table(file, ("path", "score"))
    assert [line.number for line in lines] == [2, 4]
