"""Dirty data, of every domain: stopping names the first fault; skipping learns what the clean remainder teaches."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
from batches import differences, seen
from dirt import harmless, plant, quirk, remove, rename

from zoo.recipe import build_data, read
from zoo.training import DataError
from zoo.training.faults import KINDS, by_kind, kind_of, listing, summary, told

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
DEMOS = sorted(file.parent.name for file in RECIPES.glob("*/demo.yaml"))
# a demo whose data are not files of its own
OTHERS = {"calibration": {"data": "zoo.domains.calibration.ImageFolder", "data.size": "16", "data.synthesize": "true"}}


def opened(domain, root=None, on_error="stop"):
    options = {} if root is None else {"data.root": str(root)}
    data = build_data(read(f"{domain}/demo", {**OTHERS.get(domain, {}), **options, "data.on_error": on_error}))
    data.seed = 0
    return data


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """Per domain the dirty folder, the clean remainder, and what was planted."""
    made = {}

    def get(domain):
        if domain not in made:
            place = tmp_path_factory.mktemp(domain)
            for name in ("dirty", "clean"):
                shutil.copytree(opened(domain).folder(), place / name)
                harmless(place / name)
                rename(place / name)
            dirt = plant(place / "dirty")
            remove(place / "clean", dirt.sources)
            quirk(place / "dirty")
            made[domain] = place / "dirty", place / "clean", dirt
        return made[domain]

    return get


@pytest.mark.parametrize("domain", DEMOS)
def test_the_first_fault_stops_and_is_named(sets, domain):
    dirty, _, dirt = sets(domain)
    assert dirt.faults

    def everything():
        data = opened(domain, dirty)
        items = data.items("train")
        for index in range(len(items)):
            items[0, index]

    with pytest.raises(DataError) as caught:
        everything()
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert any(named in message for _, named in dirt.faults), message


@pytest.mark.parametrize("domain", DEMOS)
def test_skipping_gives_what_the_clean_remainder_gives(sets, domain):
    dirty, clean, dirt = sets(domain)
    skipping, whole = opened(domain, dirty, "skip"), opened(domain, clean)
    for split, epochs in (("train", 2), ("val", 1)):
        got, wanted = seen(skipping, dirty, split, epochs), seen(whole, clean, split, epochs)
        assert len(got) == len(wanted) > 0
        for batch, expected in zip(got, wanted, strict=True):
            assert differences(batch, expected) == []
    assert skipping.class_names == whole.class_names
    skipping.items("test")
    reasons = list(skipping.skipped)
    for kind, named in dirt.faults:
        assert any(named in reason for reason in reasons), f"{kind} {named} is not told"
    assert not whole.skipped
    assert len(by_kind(reasons)) >= 2
    assert set(by_kind(reasons)) <= {*KINDS, "malformed entry"}


def test_a_run_counts_what_it_skipped_and_learns_the_same(sets, zoo, tmp_path):
    dirty, clean, dirt = sets("ltr")
    options = ("--trainer.max_epochs", 1, "--data.on_error", "skip", "--data.root")
    results = [zoo("train", "ltr/demo", *options, root, "--name", root.name, cwd=tmp_path) for root in (dirty, clean)]
    assert [result.returncode for result in results] == [0, 0], results[0].stderr
    weights = [torch.load(tmp_path / "runs" / name / "last.ckpt")["state_dict"] for name in ("dirty", "clean")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[1])
    tables = [pd.read_csv(tmp_path / "runs" / name / "metrics.csv").drop(columns="time") for name in ("dirty", "clean")]
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    assert f"skipped {len(dirt.faults)} unusable items (" in results[0].stdout
    told = (tmp_path / "runs/dirty/skipped.txt").read_text().splitlines()
    counts = told[: told.index("")]
    assert sum(int(line.split()[0]) for line in counts) == len(dirt.faults) == len(told) - len(counts) - 1
    assert not (tmp_path / "runs/clean/skipped.txt").exists()


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("train: a.jpg: the image is damaged (image file is truncated)", "damaged file"),
        ("a.json: record 3: there is no image a.jpg", "missing file"),
        ("val: a.jpg: the file is empty", "empty file"),
        ("a.csv:3: image 'a.jpg' stands in a.csv:2 too", "duplicate"),
        ("S1.txt:4: feature 3 is nan, not a finite float32", "not a finite number"),
        ("a.json: annotations[3]: the box 900, 900, 905, 905 lies outside of the image, 64 x 64", "out of bounds"),
        ("a.json: record 5: the caption is '', expected a text", "empty text"),
        ("a.txt:3: has 4 columns, expected 6", "malformed entry"),
        # what files are called says nothing
        ("/damaged/nan/a.csv:3: has 4 columns, expected 6", "malformed entry"),
        ("train: /a truncated set/twice.csv:3: image 'nan.png' stands in a.csv:2 too", "duplicate"),
        ("val: /is empty/again.jpg: the image is damaged (cut)", "damaged file"),
        ("train: inf.txt:3: number 1 is 'nan', not a finite number", "not a finite number"),
        ("a.csv:4: label is 'nan', expected 0 or normal", "not a finite number"),
        ("b/000001.fc6-1: has 20 bytes, a blob of shape [1] has 24", "malformed entry"),
        ("items.csv:3: column item is empty", "malformed entry"),
    ],
)
def test_kinds(reason, kind):
    assert kind_of(reason) == kind


def test_counts_in_words():
    reasons = ["a: the file is empty", "b: the file is empty", "c:2: has 4 columns"]
    assert summary(reasons) == "2 empty file, 1 malformed entry"
    assert told(dict.fromkeys(reasons, 1)) == "3 unusable items (2 empty file, 1 malformed entry)"
    assert told({reasons[0]: 2, reasons[2]: 0}) == "2 unusable items (1 empty file, 1 malformed entry)"
    assert told({reasons[0]: 2}) == "2 unusable items by 1 fault (1 empty file)"
    assert listing(reasons).splitlines()[:3] == ["2 empty file", "1 malformed entry", ""]
