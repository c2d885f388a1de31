"""Rows, lines and records that cannot be used: named when stopping; skipping leaves the records of the remainder."""

import json

import pytest

from zoo.domains.reid import CUHKPEDES, CUHK01Pedes, Flickr30k, ImageText
from zoo.training import DataError

CSV = ["image,caption,id,split"] + [f"{n}.jpg,a man {n},{n % 4},train" for n in range(8)]
PERSONS = [{"file_path": f"{n}.jpg", "captions": [f"a man {n}"], "id": n // 2 + 1, "split": "train"} for n in range(8)]
KARPATHY = [{"filename": f"{n}.jpg", "sentences": [{"raw": f"a dog {n}"}], "split": "train"} for n in range(6)]
TOKENS = [f"{n}.jpg#{k}\ta dog {n} {k}" for n in range(6) for k in range(2)]
CUHK01 = [{"file": f"images/{n:04d}001.jpg", "captions": ["a man"], "id": n, "split": "train"} for n in range(4)]


def csv(root, rows):
    (root / "captions.csv").write_bytes("\n".join(rows).encode(errors="surrogateescape"))


def persons(root, records):
    (root / "reid_raw.json").write_text(json.dumps(records))


def karpathy(root, records):
    (root / "dataset_flickr30k.json").write_text(json.dumps({"images": records}))


def cuhk01(root, records):
    (root / "captions.json").write_text(json.dumps(records))


def tokens(root, given):
    lines, train = given
    (root / "results_20130124.token").write_text("\n".join(lines))
    (root / "train.txt").write_bytes("\n".join(train).encode(errors="surrogateescape"))
    for name in ("val.txt", "test.txt"):
        (root / name).write_text("")


STEMS = list("012345")
# the class, how its files are written, what is dirty, the clean remainder, what must be named in this order
CASES = {
    "a csv": (
        ImageText, csv,
        [*CSV[:3], '"x.jpg,a man,1,train', "x.jpg,a man, with a hat,1,train", "x.jpg,&nbsp;,1,train", *CSV[3:],
         "x.jpg,a man,nan,train", "x.jpg,caf\udce9,1,train", "x.jpg", 'x.jpg,"a"man,1,train'],
        CSV,
        ["csv:4", "csv:5", "csv:6", "csv:13", "csv:14", "csv:15", "csv:16"],
    ),
    "ids that only some have": (
        ImageText, csv, [*CSV, "x.jpg,a man,,train"], CSV, ["csv:10"],
    ),
    "persons": (
        CUHKPEDES, persons,
        [*PERSONS[:6], {**PERSONS[6], "captions": []}, {**PERSONS[7], "captions": ["\u00a0"]}, None,
         {**PERSONS[0], "file_path": "x.jpg", "id": 99999}, {**PERSONS[0], "file_path": "y.jpg", "id": float("nan")}],
        PERSONS[:6],
        ["record 7", "record 8", "record 9", "record 11", "record 10"],
    ),
    "an identity that is gone": (  # all of one, so that the numbers of the others have a gap
        CUHKPEDES, persons,
        [*PERSONS[:2], *({**record, "captions": [""]} for record in PERSONS[2:4]), *PERSONS[4:]],
        PERSONS[:2] + [{**record, "id": record["id"] - 1} for record in PERSONS[4:]],
        ["record 3", "record 4"],
    ),
    "Karpathy": (
        Flickr30k, karpathy,
        [KARPATHY[0], {**KARPATHY[1], "sentences": None}, *KARPATHY[2:5], {**KARPATHY[5], "sentences": []}, 3,
         KARPATHY[0]],
        [KARPATHY[0], *KARPATHY[2:5]],
        ["record 2", "record 6", "record 7", "record 8"],
    ),
    "tokens": (
        Flickr30k, tokens,
        (["words", *TOKENS, "0.jpg#2\t ", "1.jpg#2\ta \u2028 dog"], [*STEMS, "0", "nobody", "caf\udce9"]),
        ([*TOKENS, "1.jpg#2\ta \u2028 dog"], STEMS),
        ["train.txt:7", "train.txt:9", "token:1:", "token:14", "train.txt:8"],
    ),
    "names of CUHK01": (CUHK01Pedes, cuhk01, [*CUHK01, {**CUHK01[0], "file": "images/x.jpg"}], CUHK01, ["record 5"]),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_cannot_be_used_takes_nothing_with_it(tmp_path, case):
    kind, write, dirty, clean, named = CASES[case]
    roots = {name: tmp_path / name for name in ("dirty", "clean")}
    for root, content in zip(roots.values(), (dirty, clean), strict=True):
        root.mkdir()
        write(root, content)
    with pytest.raises(DataError) as caught:
        kind(root=str(roots["dirty"])).records(roots["dirty"])
    assert len(str(caught.value).splitlines()) == 1
    assert any(name in str(caught.value) for name in named)
    skipping = kind(root=str(roots["dirty"]), on_error="skip")
    got = skipping.records(roots["dirty"])
    wanted = kind(root=str(roots["clean"])).records(roots["clean"])
    assert [(r.file.name, r.captions, r.split) for r in got] == [(r.file.name, r.captions, r.split) for r in wanted]
    assert len({r.identity for r in got}) == len({r.identity for r in wanted})
    assert len(skipping.skipped) == len(named)
    for reason, name in zip(skipping.skipped, named, strict=True):
        assert name in reason


def test_a_record_without_an_id_among_others_with_one_is_named(tmp_path):
    """It became an identity of its own, whose number another may have."""
    records = [{"image": f"{n}.jpg", "captions": ["a man"], "id": n, "split": "train"} for n in (1, 2)]
    (tmp_path / "a.json").write_text(json.dumps([records[0], {**records[1], "id": 1}, {"image": "3.jpg", **{
        key: records[0][key] for key in ("captions", "split")}}]))  # fmt: skip
    with pytest.raises(DataError, match=r"a\.json: record 3: has no id"):
        ImageText(root=str(tmp_path), file="a.json").records(tmp_path)
