"""MQ2008: folds, batches, synthesized data, what is wrong with a folder."""

import filecmp
import shutil

import pytest
import torch

from zoo.domains.ltr import MQ2008, synthesize
from zoo.domains.ltr.data import collate, split_files
from zoo.errors import InputError
from zoo.training import DataError

OFFICIAL = {  # README.txt of the data: train, validation, test
    1: ("S1 S2 S3", "S4", "S5"),
    2: ("S2 S3 S4", "S5", "S1"),
    3: ("S3 S4 S5", "S1", "S2"),
    4: ("S4 S5 S1", "S2", "S3"),
    5: ("S5 S1 S2", "S3", "S4"),
}


@pytest.mark.parametrize("fold", [1, 2, 3, 4, 5])
def test_official_folds(made, fold):
    found = tuple(" ".join(file.stem for file in split_files(made, fold, split)) for split in ("train", "val", "test"))
    assert found == OFFICIAL[fold]


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_fold_folders_hold_the_same(made, tmp_path, split):
    for fold, parts in OFFICIAL.items():
        (tmp_path / f"Fold{fold}").mkdir()
        for name, stems in zip(("train", "vali", "test"), parts, strict=True):
            text = "".join((made / f"{stem}.txt").read_text() for stem in stems.split())
            (tmp_path / f"Fold{fold}" / f"{name}.txt").write_text(text)
    plain, folds = (MQ2008(root=str(root), fold=3).items(split) for root in (made, tmp_path))
    assert len(plain) == len(folds) > 0
    for index in range(len(plain)):
        one, other = plain[0, index], folds[0, index]
        assert one["id"] == other["id"]
        assert torch.equal(one["features"], other["features"])


def test_splits_share_no_query(made):
    data = MQ2008(root=str(made), fold=2)
    names = [
        {data.items(split)[0, i]["id"] for i in range(len(data.items(split)))} for split in ("train", "val", "test")
    ]
    assert [len(found) for found in names] == [96, 32, 32]
    assert len(set.union(*names)) == 160


def test_batches_are_padded_and_masked(made):
    data = MQ2008(root=str(made), batch_size=8)
    items = [data.items("train")[0, index] for index in range(8)]
    batch = collate(items)
    longest = max(len(item["target"]) for item in items)
    assert batch["features"].shape == (8, longest, 46)
    assert batch["mask"].dtype == torch.bool
    for row, item in enumerate(items):
        size = len(item["target"])
        assert batch["mask"][row].tolist() == [True] * size + [False] * (longest - size)
        assert torch.equal(batch["features"][row, :size], item["features"])
        assert torch.equal(batch["target"][row, :size], item["target"])
        assert not batch["features"][row, size:].any()
    assert batch["id"] == [item["id"] for item in items]
    assert batch["index"].tolist() == list(range(8))


def test_order_is_a_function_of_the_seed(made):
    def ids(seed: int) -> list[str]:
        data = MQ2008(root=str(made))
        data.seed = seed
        return [qid for batch in data.train_dataloader() for qid in batch["id"]]

    assert ids(1) == ids(1) != ids(2)
    assert sorted(ids(1)) == sorted(ids(2))


def test_synthesized_data_is_a_function_of_the_seed(tmp_path):
    folders = [tmp_path / name for name in ("a", "b", "c")]
    for folder, seed in zip(folders, (0, 0, 1), strict=True):
        folder.mkdir()
        synthesize(folder, seed)
    names = [f"S{part}.txt" for part in range(1, 6)]
    assert filecmp.cmpfiles(folders[0], folders[1], names, shallow=False) == (names, [], [])
    assert filecmp.cmpfiles(folders[0], folders[2], names, shallow=False) == ([], names, [])


def test_synthesized_features_are_scaled_within_the_query(made):
    items = MQ2008(root=str(made)).items("test")
    for index in range(len(items)):
        features = items[0, index]["features"]
        assert features.min(0).values.eq(0).all()
        assert features.max(0).values.eq(1).all()


def test_synthesize_goes_to_the_cache(own_cache):
    data = MQ2008(synthesize=True)
    assert own_cache in data.folder().parents
    assert len(data.items("test")) == 32


def test_fold_out_of_range():
    with pytest.raises(InputError) as error:
        MQ2008(fold=6)
    assert str(error.value) == "data.fold must be 1 to 5, got 6"


def test_missing_part(made, tmp_path):
    shutil.copy(made / "S5.txt", tmp_path / "S5.txt")
    data = MQ2008(root=str(tmp_path))
    assert len(data.items("test")) == 32
    with pytest.raises(DataError) as error:
        data.items("train")
    both = "S1.txt to S5.txt, or Fold1/train.txt, vali.txt and test.txt"
    assert str(error.value) == f"{tmp_path}: no S1.txt, S2.txt, S3.txt; fold 1 of MQ2008 needs {both}"


def test_missing_and_empty_folder(tmp_path):
    with pytest.raises(InputError, match="no data for mq2008: looked in"):
        MQ2008(root=str(tmp_path / "nowhere")).items("train")
    with pytest.raises(InputError, match="the data folder of mq2008 is empty"):
        MQ2008(root=str(tmp_path)).items("train")


def test_query_in_two_parts(made, tmp_path):
    for part in (1, 2, 3):
        shutil.copy(made / "S1.txt", tmp_path / f"S{part}.txt")
    with pytest.raises(DataError) as error:
        MQ2008(root=str(tmp_path)).items("train")
    assert str(error.value) == f"{tmp_path}/S2.txt:1: query 1 stands at {tmp_path}/S1.txt:1 too"


def test_bad_line_stops_or_skips_its_query(made, tmp_path):
    for part in range(1, 6):
        shutil.copy(made / f"S{part}.txt", tmp_path / f"S{part}.txt")
    file = tmp_path / "S4.txt"
    lines = file.read_text().splitlines(keepends=True)
    lines[2] = lines[2][:40] + "\n"
    file.write_text("".join(lines))
    reason = f"{file}:3: the line ends after 3 of 46 features (truncated file?)"
    with pytest.raises(DataError) as error:
        MQ2008(root=str(tmp_path)).items("val")
    assert str(error.value) == reason
    data = MQ2008(root=str(tmp_path), on_error="skip")
    assert len(data.items("val")) == 31
    assert dict(data.skipped) == {f"val: {reason}": 1}
