"""Graded distortions as a data set: versions, scenes, hidden scales, windows, the same images on the disk."""

import csv

import numpy as np
import pytest
import torch
from PIL import Image

from zoo.domains.quality import KINDS, GradedDistortions, ScoredImages, distort
from zoo.domains.quality.graded import Version, versions
from zoo.domains.quality.synthesis import photograph, synthesize_photographs
from zoo.errors import InputError
from zoo.training import read_image

SMALL = {"resize": 0, "crop": 48}


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("graded")
    synthesize_photographs(folder, count=20)
    return folder


def graded(root, split="test", **options):
    return GradedDistortions(root=str(root), **{**SMALL, **options}).items(split)


def test_a_scene_is_a_photograph_in_36_versions(photographs):
    items = graded(photographs)
    assert len(items) == 4 * 36
    rows = [items[0, index] for index in range(36)]
    assert len({row["scene_name"] for row in rows}) == 1
    assert [row["score"] for row in rows] == [0.0, *[-float(level) for _ in KINDS for level in range(1, 6)]]
    name = rows[0]["scene_name"]
    assert [row["id"] for row in rows[:3]] == [f"{name}#clean", f"{name}#blur-1", f"{name}#blur-2"]
    assert rows[-1]["id"] == f"{name}#downscale-5"


def test_the_clean_version_is_the_photograph_and_the_others_are_its_distortions(photographs):
    items = graded(photographs).items
    image, box = items.pixels(0)
    assert torch.equal(image, read_image(items.photos[0].file))
    assert box is None
    for index in range(1, 36):
        kind, level = items.name(index).split("#")[1].split("-")
        got, _ = items.pixels(index)
        assert not torch.equal(got, image)
        if kind not in ("noise", "exposure"):
            assert torch.equal(got, distort(image, kind, int(level), 0))


def test_versions_do_not_depend_on_when_they_are_read(photographs):
    one, two = graded(photographs).items, graded(photographs).items
    forwards = [one.pixels(index)[0] for index in range(len(one))]
    backwards = [two.pixels(index)[0] for index in reversed(range(len(two)))][::-1]
    assert all(torch.equal(a, b) for a, b in zip(forwards, backwards, strict=True))
    other = graded(photographs, distortion_seed=1).items
    noise = next(index for index in range(36) if other.name(index).endswith("#noise-3"))
    assert not torch.equal(other.pixels(noise)[0], forwards[noise])


def test_photographs_of_one_content_get_noise_of_their_own(tmp_path):
    image = photograph(np.random.default_rng(0)).permute(1, 2, 0).contiguous().numpy()
    for number in range(12):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    items = graded(tmp_path, kinds=["noise"]).items
    assert not torch.equal(items.pixels(3)[0], items.pixels(6 + 3)[0])


def test_photographs_thins_out_scenes_and_limit_images(photographs):
    assert len(graded(photographs, "train", photographs=3)) == 3 * 36
    assert len(set(map(graded(photographs, "train", photographs=3).items.scene, range(108)))) == 3
    assert len(graded(photographs, "train", limit=10)) == 10


def test_hidden_scales_keep_the_order_of_a_scene_and_hide_it_across(photographs):
    plain = graded(photographs, "train").items
    hidden = graded(photographs, "train", scale_spread=0.5, offset_spread=3.0).items
    factors, offsets = [], []
    for first in range(0, len(plain), 36):
        shown, levels = (np.array([items.score(first + place) for place in range(36)]) for items in (hidden, plain))
        factor, offset = np.polyfit(levels, shown, 1)
        np.testing.assert_allclose(offset + factor * levels, shown, atol=1e-9)
        factors.append(factor)
        offsets.append(offset)
    assert min(factors) > 0
    assert 0.2 < np.std(np.log(factors)) < 0.9
    assert 1.2 < np.std(offsets) < 6


def test_windows_are_distorted_inside_or_outside(photographs):
    options = {"kinds": ["contrast"], "where": "window", "faces": "csv", "boxes": "boxes.csv"}
    items = graded(photographs, **options).items
    assert [items.name(index).split("#")[1] for index in range(11)] == [
        "clean",
        *[f"contrast-{level}-{part}" for part in ("inside", "outside") for level in range(1, 6)],
    ]
    clean, box = items.pixels(0)
    with (photographs / "boxes.csv").open() as stream:
        row = next(row for row in csv.DictReader(stream) if row["file"] == items.photos[0].name)
    assert [str(value) for value in box] == [row[side] for side in ("left", "top", "right", "bottom")]
    window = torch.zeros(clean.shape[-2:], dtype=torch.bool)
    window[box.top : box.bottom, box.left : box.right] = True
    inside, outside = items.pixels(5)[0], items.pixels(10)[0]
    assert (inside != clean).any(0)[window].float().mean() > 0.9
    assert not (inside != clean)[:, ~window].any()
    assert (outside != clean).any(0)[~window].float().mean() > 0.9
    assert not (outside != clean)[:, window].any()
    item = graded(photographs, crop=24, resize=24, **options)[0, 0]
    assert not torch.equal(item["image"], item["face"])


def test_working_size_scales_the_window_with_the_photograph(photographs):
    options = {"where": "window", "faces": "csv", "boxes": "boxes.csv", "resize": 36, "crop": 36}
    full, half = (graded(photographs, side=side, **options).items for side in (0, 36))
    for index in range(0, len(full), 71):
        (large, box), (small, shrunk) = full.pixels(index), half.pixels(index)
        assert small.shape == (3, 36, 48)
        assert large.shape == (3, 72, 96)
        assert all(abs(one - two / 2) <= 0.5 for one, two in zip(shrunk, box, strict=True))


def test_small_photographs_are_not_enlarged_before_they_are_distorted(photographs):
    assert graded(photographs, side=500).items.pixels(1)[0].shape == (3, 72, 96)


def test_set_on_the_disk_holds_the_same(photographs, tmp_path, capsys):
    options = {"kinds": ["jpeg", "noise"], "photographs": 2}
    data = GradedDistortions(root=str(photographs), **options, **SMALL)
    data.prepare(photographs, tmp_path)
    written = sorted(tmp_path.rglob("*.png"))
    assert len(written) == 3 * 2 * 11  # 3 splits of 2 photographs
    stamps = [file.stat().st_mtime_ns for file in written]
    written[0].unlink()
    data.prepare(photographs, tmp_path)  # goes on where it was stopped
    assert [file.stat().st_mtime_ns for file in written[1:]] == stamps[1:]
    for split in ("train", "val", "test"):
        made, stored = data.items(split).items, ScoredImages(root=str(tmp_path), **SMALL).items(split).items
        assert len(made) == len(stored)
        for index in range(len(made)):
            assert torch.equal(made.pixels(index)[0], stored.pixels(index)[0])
            assert made.score(index) == stored.score(index)
            assert made.scene(index) == stored.scene(index)


def test_clean_photographs_are_compared_for_near_duplicates(photographs):
    data = GradedDistortions(root=str(photographs), **SMALL)
    files = [data.image_files(split) for split in ("train", "val", "test")]
    assert [len(found) for found in files] == [14, 2, 4]
    assert len({file for found in files for file in found}) == 20


def test_a_photograph_that_cannot_be_read_is_skipped_with_its_versions(tmp_path):
    synthesize_photographs(tmp_path, count=20)
    bad = tmp_path / "photographs" / "007.png"
    bad.write_bytes(bad.read_bytes()[:100])
    data = GradedDistortions(root=str(tmp_path), on_error="skip", faces="csv", boxes="boxes.csv", **SMALL)
    items = [data.items(split) for split in ("train", "val", "test")]
    assert sum(map(len, items)) == 19 * 36
    assert not any("007.png" in found.items.name(int(index)) for found in items for index in found.subset)
    (told,) = data.skipped
    assert f"{bad}: the image is damaged (" in told


def test_made_up_photographs_are_a_function_of_the_seed(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        synthesize_photographs(tmp_path / name, seed, count=2)
    one, two, three = (sorted((tmp_path / name).rglob("*.*")) for name in "abc")
    assert [file.read_bytes() for file in one] == [file.read_bytes() for file in two]
    assert [file.read_bytes() for file in one] != [file.read_bytes() for file in three]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {"kinds": ["blurr"]},
            "data.kinds must be one of blur, noise, jpeg, exposure, contrast, colour, downscale, got 'blurr'",
        ),
        ({"kinds": ["blur", "blur"]}, "data.kinds must name distortions once each, got ['blur', 'blur']"),
        ({"kinds": []}, "data.kinds must name distortions once each, got []"),
        (
            {"where": "window"},
            "data.where: window needs to know the window; give data.faces csv and data.boxes FILE",
        ),
        ({"val": 0.6, "test": 0.4}, "data.val and data.test must be above 0 and below 1 together, got 0.6 and 0.4"),
        ({"side": -1}, "data.side must not be negative, got -1"),
        ({"photographs": 0}, "data.photographs must be at least 1, got 0"),
        ({"offset_spread": -0.5}, "data.offset_spread must not be negative, got -0.5"),
    ],
)
def test_arguments_out_of_range(options, expected):
    with pytest.raises(InputError) as error:
        GradedDistortions(**options)
    assert str(error.value) == expected


def test_too_few_photographs(tmp_path):
    synthesize_photographs(tmp_path, count=2)
    with pytest.raises(InputError) as error:
        graded(tmp_path)
    assert str(error.value) == (
        f"{tmp_path}: holds 2 photographs, too few to share out to train, val (0.1) and test (0.2)"
    )


def test_photograph_without_a_window(photographs, tmp_path):
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("file,left,top,right,bottom\nphotographs/000.png,0,0,40,30\n")
    items = graded(photographs, where="window", faces="csv", boxes=str(boxes))
    bad = next(index for index in range(len(items)) if "000.png" not in items.items.name(index) and index % 71)
    with pytest.raises(InputError) as error:
        items[0, bad]
    file = items.items.photos[bad // 71].file
    assert str(error.value) == f"{file}: has no window to be distorted inside or outside of"


def test_versions_of_both_kinds():
    assert versions(["blur"], "whole")[:2] == [Version("blur", 0), Version("blur", 1)]
    assert len(versions(KINDS, "whole")) == 36
    assert len(versions(KINDS, "window")) == 71
