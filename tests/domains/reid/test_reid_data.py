"""Data: official layouts, own files, splits, noise, augmentation, and what is wrong with a file."""

import json
import shutil
from itertools import chain, pairwise

import numpy as np
import pytest
import torch
from PIL import Image

from zoo.domains.reid import CUHKPEDES, ICFGPEDES, CUHK01Pedes, Flickr8k, Flickr30k, ImageText, RSTPReid, synthesize
from zoo.domains.reid.augment import augment_image, augment_tokens, caption_draws, erase, resize
from zoo.domains.reid.noise import read_permutation, shuffled
from zoo.domains.reid.tokenizers import HashedWords
from zoo.errors import InputError
from zoo.training import DataError

SIZE = (24, 12)
SETS = {
    "cuhk_pedes": (CUHKPEDES, {}),
    "icfg_pedes": (ICFGPEDES, {"select_on": "test"}),
    "rstpreid": (RSTPReid, {}),
    "cuhk01_pedes": (CUHK01Pedes, {}),
    "flickr8k": (Flickr8k, {}),
    "flickr30k": (Flickr30k, {}),
    "imagetext": (ImageText, {}),
}


@pytest.fixture(scope="module")
def layouts(tmp_path_factory):
    """Every layout, tiny."""
    folder = tmp_path_factory.mktemp("reid")
    for name in SETS:
        (folder / name).mkdir()
        synthesize(folder / name, name, seed=1, persons=(6, 2, 3), images=2)
    return folder


@pytest.fixture
def own(layouts, tmp_path):
    """A CUHK-PEDES to be damaged: its root and its list of records."""
    shutil.copytree(layouts / "cuhk_pedes", tmp_path / "set")
    file = tmp_path / "set" / "CUHK-PEDES" / "reid_raw.json"
    return tmp_path / "set", file, json.loads(file.read_text())


def opened(kind, root, **options):
    return kind(root=str(root), image_size=SIZE, batch_size=4, **options)


@pytest.mark.parametrize("name", SETS)
def test_every_layout_is_read(layouts, name):
    kind, options = SETS[name]
    data = opened(kind, layouts / name, **options)
    assert [len(data.items(split)) for split in ("train", "val", "test")] == [24, 6 if "icfg" in name else 4, 6]
    batch = next(iter(data.train_dataloader()))
    assert batch["image"].shape == (4, 3, *SIZE)
    assert batch["image"].min() >= 0
    assert len(batch["caption"]) == len(batch["id"]) == 4
    test = next(iter(data.test_dataloader()))
    assert test["owner"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert len(test["captions"]) == 8
    shared = {"train": set(), "test": set()}
    for split, found in shared.items():
        found.update(record.file for record in data.split_records(data.records(data.folder()), split))
    assert not shared["train"] & shared["test"]


def test_synthesized_data_are_a_function_of_the_seed(tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        (tmp_path / name).mkdir()
        synthesize(tmp_path / name, seed=seed, persons=(3, 1, 1), images=1)
    files = {name: {str(f.relative_to(tmp_path / name)): f.read_bytes() for f in (tmp_path / name).rglob("*.*")}
             for name in "abc"}  # fmt: skip
    assert files["a"] == files["b"] != files["c"]


def test_cameras_of_cuhk01_and_distractors(layouts, tmp_path):
    root = tmp_path / "set"
    shutil.copytree(layouts / "cuhk01_pedes", root)
    shutil.copy(root / "images" / "0001001.jpg", root / "images" / "0900004.jpg")
    data = opened(CUHK01Pedes, root, distractors=True)
    test = data.items("test").items.records
    assert [(record.file.name, record.identity, record.camera, record.captions) for record in test][-1] == (
        "0900004.jpg", 900, 1, (),
    )  # fmt: skip
    assert {record.camera for record in test[:-1]} == {0}  # images 1 and 2 of a person
    assert len(opened(CUHK01Pedes, root).items("test")) == len(test) - 1
    batch = data.collate([data.items("test")[0, len(test) - 1]])
    assert batch["captions"] == []
    assert batch["owner"].shape == (0,)


def test_official_split_lists_and_token_file_of_flickr8k(tmp_path):
    names = ["a1", "b2", "c3", "unused"]
    (tmp_path / "Flicker8k_Dataset").mkdir()
    for name in names:
        Image.new("RGB", (8, 8)).save(tmp_path / "Flicker8k_Dataset" / f"{name}.jpg")
    lines = [f"{name}.jpg#{k}\tcaption {k} of {name} .\n" for name in names for k in range(2)]
    (tmp_path / "Flickr8k.token.txt").write_text("".join(lines))
    for split, name in (("train", "a1"), ("dev", "b2"), ("test", "c3")):
        (tmp_path / f"Flickr_8k.{split}Images.txt").write_text(f"{name}.jpg\n")
    data = opened(Flickr8k, tmp_path)
    assert [len(data.items(split)) for split in ("train", "val", "test")] == [2, 1, 1]
    assert data.items("val").items.records[0].captions == ("caption 0 of b2 .", "caption 1 of b2 .")
    (tmp_path / "Flickr8k.token.txt").write_text("a1.jpg caption\n")
    with pytest.raises(DataError, match=r"Flickr8k.token.txt:1: expected 'name.jpg#0<tab>caption'"):
        opened(Flickr8k, tmp_path).items("train")


def test_csv_rows_of_one_image_are_joined_and_a_contradiction_named(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "b.png")
    table = tmp_path / "captions.csv"
    table.write_text("image,caption,id,split\na.png,one,4,test\nb.png,two,5,test\na.png,three,4,test\n")
    records = opened(ImageText, tmp_path).records(tmp_path)
    assert [(record.file.name, record.captions, record.identity) for record in records] == [
        ("a.png", ("one", "three"), 4), ("b.png", ("two",), 5),
    ]  # fmt: skip
    table.write_text("image,caption,id,split\na.png,one,4,test\na.png,three,5,test\n")
    with pytest.raises(DataError, match=r"captions.csv:3: image 'a.png' has another id or split than in .*csv:2"):
        opened(ImageText, tmp_path).records(tmp_path)
    table.write_text("image,caption,split\na.png,one,test\nb.png,two,test\na.png,three,test\n")
    assert [record.identity for record in opened(ImageText, tmp_path).records(tmp_path)] == [0, 1]


def test_validation_is_held_out_by_identity(layouts):
    root = layouts / "icfg_pedes"
    data = opened(ICFGPEDES, root, val_fraction=0.34)
    train, val = (
        {r.identity for r in data.split_records(data.records(data.folder()), split)} for split in ("train", "val")
    )
    assert len(train) == 4
    assert len(val) == 2
    assert not train & val
    with pytest.raises(DataError, match="icfg_pedes has no validation split: hold out a share"):
        opened(ICFGPEDES, root).items("val")
    with pytest.raises(InputError, match="cuhk_pedes has a validation split of its own"):
        opened(CUHKPEDES, layouts / "cuhk_pedes", val_fraction=0.5).items("train")


def test_selection_on_the_test_split_is_said(layouts, capsys):
    data = opened(CUHKPEDES, layouts / "cuhk_pedes", select_on="test")
    assert len(data.items("val")) == len(data.items("test")) == 6
    assert "best.ckpt is picked on the test split" in capsys.readouterr().err


# -- what is wrong with a file


def expect(root, message, split="train", **options):
    with pytest.raises(DataError, match=message):
        opened(CUHKPEDES, root, **options).items(split)


def test_missing_and_damaged_files_are_named(own):
    root, file, _ = own
    text = file.read_text()
    file.write_text(text[: len(text) // 2])
    expect(root, r"reid_raw.json:\d+: is no json: .*truncated file")
    file.write_text("[]")
    expect(root, r"reid_raw.json: the file holds no record")
    file.write_text('{"a": 1}')
    expect(root, r"reid_raw.json: expected a list of records, found a dict")
    file.rename(file.with_name("reid_row.json"))
    expect(root, r"reid_raw.json: there is no such file; did you mean 'reid_row.json'\?")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"captions": ["a man", "  "]}, r"record 2: caption 2 is '  ', expected a text with at least one word"),
        ({"captions": None}, r"record 2: caption 1 is None"),
        ({"id": "x"}, r"record 2: id is 'x', expected a whole number"),
        ({"id": -3}, r"record 2: id is -3, out of range: expected 0 or more"),
        ({"file_path": ""}, r"record 2: the image is '', expected a text"),
        ({"split": 3}, r"record 2: split is 3, expected a text"),
        ({"file_path": "cam_a/none.png"}, r"record 2: there is no image .*none.png"),
        ({"id": 99}, r"record 2: id 99 is out of range: the 7 training ids of CUHK-PEDES run from 1 to 7"),
    ],
)
def test_malformed_records_are_named(own, change, message):
    root, file, records = own
    records[1] = {**records[1], **change}
    file.write_text(json.dumps(records))
    expect(root, message)


def test_a_record_without_a_field_and_a_repeated_image_are_named(own):
    root, file, records = own
    file.write_text(json.dumps([{**records[0], "file_path": records[1]["file_path"]}, *records[1:]]))
    expect(root, r"record 2: image '.*' stands in .*record 1 too")
    del records[0]["file_path"]
    file.write_text(json.dumps(records))
    expect(root, r"record 1: has no image: expected 'file_path', found 'split', 'captions', 'processed_tokens', 'id'")


def test_a_corrupt_image_stops_or_is_skipped_and_counted(own):
    root, _, records = own
    (root / "CUHK-PEDES" / "imgs" / records[0]["file_path"]).write_bytes(b"no image")
    with pytest.raises(DataError, match=r"reid_raw.json: record 1: .*png: is no image that can be read"):
        opened(CUHKPEDES, root).items("train")[0, 0]
    data = opened(CUHKPEDES, root, on_error="skip")
    assert len(data.items("train")) == 22
    assert sum(data.skipped.values()) == 2


def test_wrong_options_are_named():
    for options, message in (
        ({"noise": 1.5}, r"data.noise must be in \[0, 1\], got 1.5"),
        ({"noise_file": "x.npy"}, "data.noise_file is given, but data.noise is 0"),
        ({"val_fraction": 1.0}, r"data.val_fraction must be in \[0, 1\), got 1.0"),
        ({"select_on": "best"}, "data.select_on is 'val' or 'test', got 'best'"),
        ({"image_size": (0, 3)}, r"data.image_size must be a height and a width of at least 1"),
    ):
        with pytest.raises(InputError, match=message):
            CUHKPEDES(**options)


# -- noise


def test_shuffled_captions_move_texts_alone(layouts):
    clean, noisy = (opened(CUHKPEDES, layouts / "cuhk_pedes", augment_image=False, noise=n) for n in (0.0, 0.5))
    one, two = clean.items("train"), noisy.items("train")
    assert sorted(one[0, i]["caption"] for i in range(24)) == sorted(two[0, i]["caption"] for i in range(24))
    differ = [i for i in range(24) if one[0, i]["caption"] != two[0, i]["caption"]]
    assert differ
    assert all(torch.equal(one[0, i]["image"], two[0, i]["image"]) for i in range(24))
    assert all(one[0, i]["identity"] == two[0, i]["identity"] for i in range(24))
    known = np.flatnonzero(two.items.noisy)
    assert len(known) <= 12
    assert not one.items.noisy.any()
    persons = {record.identity: record for record, _ in two.items.pairs}
    for i in known:
        caption = two[0, i]["caption"]
        assert all(caption not in r.captions for r, _ in two.items.pairs if r.identity == two[0, i]["identity"])
    assert len(persons) == 6


@pytest.mark.parametrize(("count", "rate", "chosen"), [(68126, 0.2, 13625), (34674, 0.5, 17337), (37010, 0.8, 29608)])
def test_a_share_of_the_captions_is_shuffled(count, rate, chosen):
    order = shuffled(count, rate, seed=1)
    assert np.array_equal(np.sort(order), np.arange(count))
    moved = int((order != np.arange(count)).sum())
    assert chosen - 10 <= moved <= chosen
    assert np.array_equal(order, shuffled(count, rate, 1))
    assert not np.array_equal(order, shuffled(count, rate, 2))


def test_released_permutations_are_read_and_wrong_ones_named(layouts, tmp_path):
    file = tmp_path / "noise.npy"
    order = shuffled(24, 0.5, 0)
    np.save(file, order)
    data = opened(CUHKPEDES, layouts / "cuhk_pedes", noise=0.5, noise_file=str(file))
    assert np.array_equal(data.pairs.permutation, order)
    for wrong, message in (
        (np.arange(23), r"noise.npy: is for 23 captions, the training split has 24"),
        (np.zeros(24, int), r"noise.npy: is no permutation of 0 to 23"),
        (np.zeros(24), r"noise.npy: expected whole numbers of shape \(24,\), found float64 of \(24,\)"),
        (np.roll(np.arange(24), 1), r"noise.npy: moves 24 of 24 captions, more than the share of 0.5"),
    ):
        np.save(file, wrong)
        with pytest.raises(DataError, match=message):
            read_permutation(file, 24, 0.5)
    file.write_bytes(b"\x93NUMPY")
    with pytest.raises(DataError, match=r"noise.npy: cannot be read as .npy"):
        read_permutation(file, 24, 0.5)
    with pytest.raises(DataError, match="there is no such file of a permutation"):
        read_permutation(tmp_path / "none.npy", 24, 0.5)


# -- augmentation


def test_augmentation_is_a_function_of_the_generator_and_stays_in_place():
    image = torch.rand(3, 48, 24)
    one, two, other = (augment_image(image, np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert one.shape == image.shape


def test_crops_flips_and_erased_areas_have_the_released_shares():
    marks = torch.arange(48 * 24.0).view(1, 48, 24).expand(3, -1, -1) + 1
    flips, erased, shares, tops = 0, 0, [], set()
    fill = 0.48145466 * (1 + 0.26862954)
    for seed in range(400):
        out = augment_image(marks, np.random.default_rng(seed))
        area = (out[0] - fill).abs() < 1e-6
        erased += bool(area.any())
        shares += [area.float().mean().item()] if area.any() else []
        real = (out[0] >= 1) & ~area
        row = next(r for r in range(48) if real[r, 1:].logical_and(real[r, :-1]).any())
        columns = real[row].nonzero()[:, 0]
        pair = next((a, b) for a, b in pairwise(columns) if b == a + 1)
        flips += bool(out[0, row, pair[1]] < out[0, row, pair[0]])
        tops.add(int((out[0, :, 12] == 0).sum()))
    assert 160 < flips < 240
    assert 160 < erased < 240
    assert max(shares) < 0.45
    assert min(shares) > 0.01
    assert max(tops) == 10


def test_erased_pixels_hold_the_mean_after_normalising():
    from zoo.domains.reid.towers import CLIP_MEAN, CLIP_STD
    from zoo.training.images import normalise

    image = torch.rand(3, 60, 30)
    out = erase(image, np.random.default_rng(0), probability=1.0)
    changed = (out != image).all(0)
    assert changed.any()
    got = normalise(out, CLIP_MEAN, CLIP_STD)[:, changed]
    torch.testing.assert_close(got, torch.tensor(CLIP_MEAN)[:, None].expand_as(got))


def test_resizing_is_that_of_pillow():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (90, 70, 3)).astype(np.uint8)
    image = Image.fromarray(pixels)
    ours = resize(torch.from_numpy(pixels).permute(2, 0, 1), (38, 16))
    theirs = torch.from_numpy(np.array(image.resize((16, 38), Image.Resampling.BILINEAR))).permute(2, 0, 1)
    assert ((ours * 255).round() - theirs.float()).abs().max() <= 1
    assert torch.equal(resize(ours, (38, 16)), ours)


def test_words_are_masked_replaced_and_left_out_in_the_released_shares():
    tokenizer = HashedWords(64, 40)
    tokens = torch.tensor([[62, *[7] * 30, 63, *[0] * 8]] * 500)
    draws = torch.stack([caption_draws(np.random.default_rng(seed)) for seed in range(500)])
    out = augment_tokens(tokens, draws, tokenizer)
    left_out = 30 - ((out != 0).sum(1) - 2)
    masked = (out == tokenizer.mask).sum().item()
    replaced = ((out != 7) & (out != tokenizer.mask) & (out != 62) & (out != 63) & (out != 0)).sum().item()
    total = 500 * 30
    assert left_out.sum().item() / total == pytest.approx(0.04, abs=0.006)
    assert masked / total == pytest.approx(0.12, abs=0.01)
    assert replaced / total == pytest.approx(0.04, abs=0.006)
    assert (out[:, 0] == 62).all()
    ends = out.argmax(1)
    assert torch.equal(ends, (out != 0).sum(1) - 1)  # moved up, padding behind
    assert out.max() <= 63
    assert torch.equal(augment_tokens(tokens, torch.full_like(draws, 0.5), tokenizer), tokens)


def test_a_caption_never_loses_all_its_words():
    tokenizer = HashedWords(64, 8)
    tokens = torch.tensor([[62, 5, 63, 0, 0, 0, 0, 0], [62, 5, 6, 63, 0, 0, 0, 0], [62, 5, 61, 63, 0, 0, 0, 0]])
    draws = torch.zeros(3, 3, 256)
    draws[:, 1] = 0.99  # every ordinary word is changed, and left out
    out = augment_tokens(tokens, draws, tokenizer)
    assert out.tolist() == [
        [62, 5, 63, 0, 0, 0, 0, 0], [62, 5, 63, 0, 0, 0, 0, 0], [62, 61, 63, 0, 0, 0, 0, 0],
    ]  # fmt: skip


def test_loaders_repeat_and_the_division_has_draws_of_its_own(layouts):
    one, two = (opened(CUHKPEDES, layouts / "cuhk_pedes", memory=memory) for memory in (False, True))
    for _ in range(2):  # the second time out of memory
        a, b = (torch.cat([batch["image"] for batch in data.train_dataloader()]) for data in (one, two))
        assert torch.equal(a, b)
    division = [batch["index"].tolist() for batch in one.division_dataloader(0)]
    training = [batch["index"].tolist() for batch in one.train_dataloader()]
    assert sorted(chain.from_iterable(division)) == sorted(chain.from_iterable(training)) == list(range(24))
    assert division != training
    assert division != [batch["index"].tolist() for batch in one.division_dataloader(1)]
    assert division == [batch["index"].tolist() for batch in one.division_dataloader(0)]


@pytest.mark.realdata
def test_the_shared_sets_have_the_sizes_of_their_readmes(real_data):
    cuhk = opened(CUHK01Pedes, real_data / "reid" / "cuhk01_pedes")
    records = cuhk.records(cuhk.folder())
    assert len(records) == 1051
    assert {record.camera for record in records} == {0, 1}
    counts = {split: [r for r in records if r.split == split] for split in ("train", "val", "test")}
    assert {split: (len({r.identity for r in rows}), len(rows)) for split, rows in counts.items()} == {
        "train": (178, 712), "val": (30, 120), "test": (55, 219),
    }  # fmt: skip
    flickr = opened(Flickr8k, real_data / "imagetext" / "flickr8k_1000", val_fraction=0.1)
    assert [len(flickr.items(split)) for split in ("train", "val", "test")] == [3600, 80, 200]
